/* kept.h - cached partitions that a task host has mapped, kept between its tasks and over stages: the next job over the same
 * dataset reads them where they are, and their checksums are not computed again.
 *
 * A mapping goes when others need its place, when no task has asked for it for some stages, or when the host has nothing
 * to do (ferro_kept_drop): what fe_uncache gave up must not stay in memory.
 */
#ifndef FERRO_ENGINE_KEPT_H
#define FERRO_ENGINE_KEPT_H

#include "common/base/error.h"
#include "common/proto/proto.h"
#include "include/ferro.h"

#define KEPT_BLOCKS_MAX 256 /* more than these: the one not asked for longest goes */
#define KEPT_STAGES_MAX 16  /* not asked for by this many stages, it goes */

struct kept_block {
    struct block_id id;
    const uint8_t *p;
    uint64_t bytes;
    uint64_t checked; /* frames before this were found to be whole */
    uint64_t stage;   /* that asked for it last, as kept.stage counts */
};

struct kept {
    struct kept_block *v; /* owned */
    uint32_t n;
    uint64_t stage; /* stages so far */
};

/* Another stage begins: what has been of no use goes. */
void kept_stage(struct kept *k);
/* The block, if it is mapped; valid until the next call with `k`. */
struct kept_block *kept_find(struct kept *k, struct block_id id);
/* Map it from `fd`, which stays the caller's.  NULL and `e`: it can't be, or hasn't `bytes` bytes.  Blocks are immutable once
 * adopted: only the host that made one could still cut it, by a descriptor that its own job kept, and that
 * would cost a host of that same job its life (SIGBUS). */
struct kept_block *kept_map(struct kept *k, struct block_id id, int fd, uint64_t bytes, struct error *e);
void kept_forget(struct kept *k, struct kept_block *b); /* it is broken */
FERRO_API void ferro_kept_drop(struct kept *k);

#endif
