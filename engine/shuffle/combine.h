/* combine.h - the combiner: one slot a key, values merged as they come.
 *
 * Open addressing over 32-byte slots: the upper half of the hash, the key's length, 16 bytes of key and 8 of value
 * in place.  A longer key lies in a region, its whole hash carried in the slot; a wider value in another.
 * Groups of rows with short keys only take a path of their own; in others, keys of up to 32 bytes are treated alike.
 * Rows are hashed and their slots prefetched 32 at a time, while the 32 before them are merged.
 *
 * In a map the table grows beyond a cache only while rows shrink well.  Where they don't, it is frozen: what it has goes
 * on being merged, as the frequent keys are among the first, and rows of others are left to the caller.
 */
#ifndef FERRO_SHUFFLE_COMBINE_H
#define FERRO_SHUFFLE_COMBINE_H

#include "engine/shuffle/buckets.h"
#include "engine/types.h"

struct slot {
    union {
        uint64_t word[2]; /* a key of up to 16 bytes, zeros behind it */
        struct {
            uint64_t at; /* a longer one: its place in `far`, with zeros up to 32 bytes behind it */
            uint64_t hash;
        } far;
    } key;
    uint32_t n1;    /* the key's length + 1; 0: free */
    uint32_t tag;   /* upper half of the hash */
    uint64_t value; /* up to 8 bytes, or the value's number in `wide` */
};

enum combine_side { COMBINE_MAP, COMBINE_REDUCE }; /* rows are the user's, or what maps made of them */

/* Values are the shuffle's (node->in_value for reads; i64 for FERRO_COUNT; the accumulator for FERRO_AGGREGATE). */
struct combine {
    struct run *run; /* borrowed, as node */
    const struct plan_node *node;
    enum combine_side side;
    fe_type key, value;
    int mode; /* enum of combine.c */
    type_merge *kernel;
    fe_merge *fn;
    fe_add *add;
    struct emitter *emitter; /* owned; with fn or add: the task that it is given */
    uint8_t *one;            /* owned; with add: an accumulator of one row */
    struct slot *slots;      /* owned region of mask + 1 */
    uint64_t mask;
    uint64_t n, max;   /* slots used; used at most before it grows */
    uint64_t limit;    /* bytes in all */
    struct rows_area { /* long keys, wide values */
        uint8_t *p;
        uint64_t size, used, held, touched;
    } far, wide;
    uint64_t rows_in; /* since it was empty */
    bool frozen;      /* takes no more keys */
    bool wide_group;  /* the last group of rows had keys that are not short */
    uint32_t nmissed; /* rows of other keys in the last combine_add() */
    struct missed {
        uint64_t hash;
        uint32_t row; /* of the batch */
    } missed[BATCH_ROWS];
};

/* The type of what a map's sink merges into. */
static inline fe_type combine_value(const struct plan_node *sink)
{
    return sink->kernel == FERRO_COUNT ? FERRO_I64 : sink->value;
}

/* `expected`: keys that will come for sure.  0, or -1 after run_fail(). */
int combine_init(struct combine *c, struct run *r, const struct plan_node *node, enum combine_side side,
                 fe_type key, uint64_t limit, uint64_t expected);
/* Add the batch's rows (at most BATCH_ROWS) from number *from on, but those in `missed`.
 * 0: all in; 1: full, *from is the first that isn't; -1 after run_fail(). */
int combine_add(struct combine *c, const struct batch *b, uint32_t *from);
/* Full: do rows shrink enough that an empty table would be worth it? */
bool combine_pays(const struct combine *c);
/* Rows of this batch come to combine_alone() next, without combine_add() before it. */
void combine_see(struct combine *c, const struct batch *b);
/* The value that one row of the batch makes, valid until the next call. */
fe_slice combine_alone(struct combine *c, const struct batch *b, uint32_t row);
/* All rows into buckets; then it is empty.  0, or -1 after run_fail(). */
int combine_drain(struct combine *c, struct buckets *to);
void combine_clear(struct combine *c); /* empty; memory of the table is kept, and it may take keys again */
void combine_fini(struct combine *c);

/* The next used slot at or after *at; false: none. */
bool combine_next(const struct combine *c, uint64_t *at, fe_slice *key, fe_slice *value);

#endif
