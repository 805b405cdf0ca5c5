/* maker.h - gathers the rows of one side of a join within a limit of memory, and makes a lookup of them, or a spill. */
#ifndef FERRO_JOIN_MAKER_H
#define FERRO_JOIN_MAKER_H

#include "engine/join/lookup.h"
#include "engine/shuffle/buckets.h"
#include "engine/shuffle/rows.h"

struct maker {
    struct run *run; /* borrowed */
    fe_type key, value;
    bool far;
    uint32_t stride;
    uint64_t limit;
    struct rows rows;        /* far ones */
    uint8_t *records, *made; /* owned regions: as they came; directory and records of the lookup */
    uint64_t n, max, room;   /* records: gathered, at most, paid for */
    uint64_t held;           /* of the budget */
    uint64_t touched, made_touched;
};

/* At most `limit` bytes in all. */
void maker_init(struct maker *m, struct run *r, fe_type key, fe_type value, uint64_t limit);
/* Add the batch's rows from number *from on; hash[i] is that of its i-th counting row.
 * 0: all in; 1: full, *from is the first that isn't.  Never full while empty. */
int maker_add(struct maker *m, const struct batch *b, const uint64_t *hash, uint32_t *from);
/* A lookup of what is gathered, all of buckets lo..hi-1; it borrows from the maker until the next call. */
void maker_finish(struct maker *m, uint32_t lo, uint32_t hi, uint32_t buckets, struct lookup *out);
/* All as one more run of a spill; then it is empty.  0, or -1 after run_fail(). */
int maker_flush(struct maker *m, struct mapfile *to, const struct split *split);
void maker_clear(struct maker *m); /* empty; memory is kept */
void maker_fini(struct maker *m);  /* safe on a zeroed one */

#endif
