/* spillfile.h - a file of frames being written: a spill, or a map's output.
 *
 * Frames are put into `pending` (frame_put), then spillfile_settle() writes once there is a MiB of it.
 * A spill is unlinked at once: nothing stays of a host that dies.  Errors end the attempt (run_fail), with the
 * folder's name.
 */
#ifndef FERRO_SPILL_SPILLFILE_H
#define FERRO_SPILL_SPILLFILE_H

#include "engine/ops/op.h"

#define SPILL_WRITE_BYTES (1u << 20)

struct spillfile {
    struct run *run;    /* borrowed */
    const char *folder; /* borrowed: for words */
    int fd;             /* owned; -1: not open */
    uint64_t at;        /* bytes written */
    struct buf pending; /* owned: bytes behind them */
    uint64_t held;      /* of the budget */
    bool output;        /* a file with a name, which goes when it is closed before spillfile_finish() */
};

int spillfile_open(struct spillfile *f, struct run *r); /* a temporary one in env->disk */
int spillfile_create(struct spillfile *f,
                     struct run *r); /* "<stage>.<part>.<attempt>", the attempt's output */
static inline uint64_t spillfile_end(const struct spillfile *f)
{
    return f->at + f->pending.n;
}
int spillfile_flush(struct spillfile *f);
static inline int spillfile_settle(struct spillfile *f)
{
    return f->pending.n < SPILL_WRITE_BYTES ? 0 : spillfile_flush(f);
}
int spillfile_finish(struct spillfile *f); /* an output is whole: it stays, and the report says so */
void spillfile_close(struct spillfile *f); /* safe on a zeroed or closed one */

#endif
