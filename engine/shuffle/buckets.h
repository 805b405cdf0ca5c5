/* buckets.h - rows in bucket order on their way into a run of a map output or a spill. */
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

struct bucket_writer {
    struct mapfile *file; /* borrowed */
    struct columns rows;
    uint32_t bucket;
};

/* A run begins.  Rows must come in bucket order.  All return 0, or -1 after run_fail(). */
int bucket_writer_begin(struct bucket_writer *w, struct mapfile *file, fe_type key, fe_type value);
int bucket_writer_put(struct bucket_writer *w, uint32_t bucket, uint64_t hash, fe_slice key, fe_slice value);
int bucket_writer_end(struct bucket_writer *w); /* frees, whether it worked or not */

#endif
