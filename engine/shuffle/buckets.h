/* buckets.h - rows on their way into the buckets of a map output or a spill.
 *
 * Each bucket has a chunk of a few KiB, to whose end rows are written one behind the other, so that a row touches
 * one cache line however many buckets there are.  A full chunk becomes a frame.  Frames stay in memory until there is no
 * more room or no more rows; then all go into the file in bucket order, as one run.
 */
#ifndef FERRO_SHUFFLE_BUCKETS_H
#define FERRO_SHUFFLE_BUCKETS_H

#include "engine/shuffle/columns.h"
#include "engine/shuffle/mapfile.h"

#define SPILL_BUCKETS 64u /* parts of one level of a spill */
#define SPILL_LEVELS 5

/* How hashes fall into buckets: by the upper half for a shuffle, by six bits of the lower half at each level of a spill. */
struct split {
    uint32_t buckets;
    bool spill;
    uint32_t level;
};

static inline uint32_t split_of(const struct split *s, uint64_t hash)
{
    if (s->spill)
        return (uint32_t)hash >> (26 - 6 * s->level) & (SPILL_BUCKETS - 1);
    return (uint32_t)((hash >> 32) * s->buckets >> 32);
}

struct buckets {
    struct run *run;      /* borrowed, as file */
    struct mapfile *file; /* opened by the first run: no row, no file */
    fe_type key, value;
    struct split split;
    uint8_t *chunks;              /* owned region: one of `chunk` bytes for each bucket, `stride` apart */
    uint32_t chunk, stride, head; /* head: bytes of a row before its key */
    struct bucket {
        uint32_t used;        /* bytes in its chunk */
        uint32_t first, last; /* its frames: places in `frames`, in 8 bytes; 0: none */
    } * buckets;              /* owned */
    uint8_t *frames;          /* owned region */
    uint64_t size, used, touched, held;
    struct columns columns; /* a chunk's rows on their way into a frame */
    struct buf frame;
    uint64_t rows; /* since the last run */
};

/* At most `limit` bytes, unless a single row is larger. */
void buckets_init(struct buckets *b, struct run *r, struct mapfile *file, fe_type key, fe_type value,
                  const struct split *split, uint64_t limit);
/* The row's place is by its hash.  What there was goes into the file first where there is no room.  0, or -1 after
 * run_fail(); as buckets_run(). */
int buckets_put(struct buckets *b, uint64_t hash, fe_slice key, fe_slice value);
int buckets_run(struct buckets *b);   /* all rows into the file, as one run; none: no run */
void buckets_fini(struct buckets *b); /* safe on a zeroed one */

#endif
