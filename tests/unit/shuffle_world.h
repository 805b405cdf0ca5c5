/* shuffle_world.h - maps and reduces of one shuffle in this process, over files in a temporary folder. */
#ifndef FERRO_TEST_SHUFFLE_WORLD_H
#define FERRO_TEST_SHUFFLE_WORLD_H

#include "engine/ops/op.h"

#define WORLD_MAPS_MAX 128

/* Records, one behind the other. */
struct recs {
    struct buf bytes;
    struct buf places; /* struct { size_t at; uint32_t key, value; } */
    size_t n;
};
struct rec {
    fe_slice key, value;
};
void recs_add(struct recs *r, const void *key, size_t nk, const void *value, size_t nv);
struct rec recs_at(const struct recs *r, size_t i);
void recs_fini(struct recs *r);
/* As bytes, and in the order of records that are equal so. */
int rec_cmp(const struct rec *a, const struct rec *b);
struct rec *recs_sorted(const struct recs *r); /* to be freed */

struct shuffle_world {
    char dir[64];
    struct task_env env;
    uint64_t budget;
    bool remote; /* give only what was asked for, as from another host */
    struct rec_map maps[WORLD_MAPS_MAX];
    struct msg_stage stage;
    struct rec_report report; /* of the last task */
    struct arena arena;       /* the report's */
    uint32_t fetches;
    bool hashed; /* the map's batches carry hashes */
    bool select; /* they also hold rows that don't count */
};

void shuffle_world_init(struct shuffle_world *w, uint64_t budget);
void shuffle_world_fini(struct shuffle_world *w);
char *shuffle_world_path(const struct shuffle_world *w, uint32_t part, char out[128]); /* of a map's output */

/* Run a map over recs[from..to): its output joins the shuffle.  The sink's result. */
int shuffle_world_map(struct shuffle_world *w, const struct plan_node *sink, const struct recs *in,
                      size_t from, size_t to);
/* Run partition `part` of those that the cuts make: `ncuts` bounds or keys for `ntasks`.  Appends to `out`. 0 or -1. */
int shuffle_world_reduce(struct shuffle_world *w, const struct plan_node *leaf, const struct rec_cut *cuts,
                         uint32_t ncuts, uint32_t ntasks, uint32_t part, struct recs *out);
/* The buckets in `n` ranges: n + 1 bounds, in static memory. */
const struct rec_cut *shuffle_world_bounds(uint32_t buckets, uint32_t n);

#endif
