/* stream.h - the frames in one stretch of a file, batch by batch. */
#ifndef FERRO_SPILL_STREAM_H
#define FERRO_SPILL_STREAM_H

#include "common/base/error.h"
#include "engine/ops/op.h"

#define STREAM_BYTES (256u << 10) /* a read, when one stretch follows the other */
#define STREAM_BY_FRAME 0         /* a frame a read, when many are read in turns */

struct stream {
    int fd;           /* borrowed */
    uint64_t at, end; /* of the file: what has not been read */
    fe_type key, value;
    uint32_t step;      /* bytes a read; STREAM_BY_FRAME: a frame and the next one's header */
    struct buf buf;     /* owned */
    size_t pos;         /* in buf: frames before it were handed up */
    struct buf scratch; /* owned: of a compressed frame */
};

/* A stretch from `at` to `end` (multiples of 8; anything else is found out as corrupt).  Memory of an earlier stretch is reused. */
void stream_start(struct stream *s, int fd, uint64_t at, uint64_t end, fe_type key, fe_type value,
                  uint32_t step);
/* 1 and a batch (valid until the next call), 0 at the end, -1 and `e`: the file can't be read, is cut or corrupt. */
int stream_next(struct stream *s, struct batch *out, struct error *e);
void stream_fini(struct stream *s);

#endif
