/* pull.h - fetch a block, or a part of it, from whoever has it: pure, for cores.
 *
 * Asks with BLOCK_GETs of at most CHUNK_BYTES_MAX, at most PULL_WINDOW chunks under
 * way a pull and PULL_TOTAL_WINDOW a connection, whose pulls take turns; a chunk is
 * under way until it is written.  Each that arrives must be exactly the piece that was
 * asked for, and becomes an ACT_IO IO_WRITE (io.block = the copy, io.offset relative
 * to the pull's own start, io.length all that it will write); the pull is done when its last write is.
 */
#ifndef FERRO_CORE_PULL_H
#define FERRO_CORE_PULL_H

#include "common/proto/proto.h"

#define PULL_WINDOW 8
#define PULL_TOTAL_WINDOW 32

struct pull_want {
    uint64_t user; /* the caller's own number */
    uint64_t app;
    struct block_id block;         /* at the peer */
    struct block_id copy;          /* under which name it is written here */
    uint32_t stage, part, attempt; /* put into its ACT_IOs; the copy is freed with the stage */
    conn_id conn;
    uint64_t offset, length; /* length 0: to the end */
    bool tail;               /* offset counts back from the end */
    uint64_t bytes_max;      /* what is longer is refused; 0: none, whatever the peer says is taken */
};
struct pull_result {
    uint64_t user;
    uint32_t code; /* enum block_error, 0: all there */
    uint64_t base, length, total;
    char words[257];
};

struct pulls;
struct pulls *pulls_new(void);
void pulls_free(struct pulls **p);
void pulls_start(struct pulls *p, const struct pull_want *w, const struct head *head, struct actions *out);
/* Each returns true, and a result, when that ended a pull.  Frames that answer nothing known are ignored. */
bool pulls_on_data(struct pulls *p, conn_id from, const struct msg_block_data *m, struct actions *out,
                   struct pull_result *r);
bool pulls_on_err(struct pulls *p, conn_id from, const struct msg_block_err *m, struct actions *out,
                  struct pull_result *r);
bool pulls_on_io(struct pulls *p, const struct event *io_done, struct actions *out, struct pull_result *r);
/* One pull that a lost connection ended; call until false. */
bool pulls_on_down(struct pulls *p, conn_id conn, struct pull_result *r);
void pulls_drop_app(struct pulls *p, uint64_t app);

#endif
