/* sorter.h - rows gathered up to the budget, sorted, and put away as a run. */
#ifndef FERRO_SHUFFLE_SORTER_H
#define FERRO_SHUFFLE_SORTER_H

#include "engine/shuffle/mapfile.h"
#include "engine/shuffle/order.h"

#define SORTED_FRAME_BYTES (64u << 10) /* small: a merge holds one of each run */

struct sorter {
    struct run *run; /* borrowed */
    struct order order;
    struct rows rows;
    struct sorted *v; /* owned region of `max` */
    uint64_t n, max, held, touched;
    uint64_t limit;
};

/* At most `limit` bytes in all. */
void sorter_init(struct sorter *s, struct run *r, const struct order *o, uint64_t limit);
bool sorter_put(struct sorter *s, fe_slice key, fe_slice value, uint64_t hash); /* false: full, flush first */
void sorter_sort(struct sorter *s);
/* All, sorted already, as a run of `to` (MAP_RANGE); then it is empty.  0, or -1 after run_fail(). */
int sorter_flush(struct sorter *s, struct mapfile *to);
void sorter_fini(struct sorter *s); /* safe on a zeroed one */

#endif
