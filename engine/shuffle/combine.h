/* combine.h - the combiner: one slot a key, values merged as they come.
 *
 * Open addressing over 32-byte slots: the upper half of the hash, the key's length, 16 bytes of key and 8 of value
 * in place.  A longer key lies in a region, its whole hash carried in the slot; a wider value in another.
 * Rows are probed 32 at a time, after their slots were prefetched.
 */
#ifndef FERRO_SHUFFLE_COMBINE_H
#define FERRO_SHUFFLE_COMBINE_H

#include "engine/shuffle/buckets.h"
#include "engine/types.h"

struct slot {
    union {
        uint64_t word[2]; /* a key of up to 16 bytes, zeros behind it */
        struct {
            uint32_t at;   /* a longer one: its place in `far`, in 8 bytes */
            uint32_t head; /* its first bytes */
            uint64_t hash;
        } far;
    } key;
    uint32_t n1;    /* the key's length + 1; 0: free */
    uint32_t tag;   /* upper half of the hash */
    uint64_t value; /* up to 8 bytes, or the value's number in `wide` */
};

/* Values are the shuffle's (node->in_value for reads; i64 for FERRO_COUNT). */
struct combine {
    struct run *run; /* borrowed, as node */
    const struct plan_node *node;
    fe_type key, value;
    int mode; /* enum of combine.c */
    type_merge *kernel;
    fe_merge *fn;
    struct emitter *emitter; /* owned; with fn: the task that it is given */
    struct slot *slots;      /* owned region of mask + 1 */
    uint64_t mask;
    uint64_t n, max;   /* slots used; used at most before it grows */
    uint64_t limit;    /* bytes in all */
    struct rows_area { /* long keys, wide values */
        uint8_t *p;
        uint64_t size, used, held, touched;
    } far, wide;
    uint64_t rows_in; /* since combine_init */
};

/* The type of what is merged. */
static inline fe_type combine_value(const struct plan_node *sink)
{
    return sink->kernel == FERRO_COUNT ? FERRO_I64 : sink->value;
}

/* `counts`: each row counts one, whatever its value (the map side of FERRO_COUNT).  `expected`: keys that will come
 * for sure.  0, or -1 after run_fail(). */
int combine_init(struct combine *c, struct run *r, const struct plan_node *node, fe_type key, fe_type value,
                 bool counts, uint64_t limit, uint64_t expected);
/* Add the batch's rows from number *from on; hash[i] is that of the i-th counting row.
 * 0: all in; 1: full, *from is the first that isn't; -1 after run_fail(). */
int combine_add(struct combine *c, const struct batch *b, const uint64_t *hash, uint32_t *from);
/* All as one more run, in the order of its buckets; then it is empty. */
int combine_flush(struct combine *c, struct mapfile *to, const struct split *split);
void combine_clear(struct combine *c); /* empty; memory of the table is kept */
void combine_fini(struct combine *c);

/* The next used slot at or after *at; false: none. */
bool combine_next(const struct combine *c, uint64_t *at, fe_slice *key, fe_slice *value);

#endif
