/* merge.h - sorted runs, merged: any number of them, within the budget.
 *
 * Runs are added, then merge_start() opens them.  More of them than the budget lets be open at once are first merged
 * into longer ones on disk.  A loser tree (Knuth, volume 3, 5.4.1) tells the next row with one comparison a level.
 */
#ifndef FERRO_SHUFFLE_MERGE_H
#define FERRO_SHUFFLE_MERGE_H

#include "engine/shuffle/columns.h"
#include "engine/shuffle/mapfile.h"
#include "engine/shuffle/order.h"
#include "engine/spill/stream.h"

#define MERGE_WIDTH_MAX 1024u
#define MERGE_CURSOR_BYTES (192u << 10) /* of the budget: what a run that is open holds */

struct merge_run {
    int fd; /* borrowed; -1: in the merge's own spill */
    uint64_t at, end;
    const struct rec_map *map; /* whose fault it is when the run can't be read; NULL: a spill */
    bool first, last;          /* rows below the lower cut may come, rows beyond the upper one */
};

/* An open run, at its next row. */
struct cursor {
    struct merge_run run;
    struct stream stream;
    struct batch batch;
    struct buf hashes; /* of the batch's keys, when they did not come along */
    const uint64_t *hash;
    uint32_t row;
    bool over;
    struct prefix prefix;
    fe_slice key, value;
};

/* A run in the tree.  The prefix is the cursor's, here since it mostly decides; all ones when the run is over. */
struct player {
    struct prefix prefix;
    uint32_t run;
};

struct merge {
    struct run *run; /* borrowed */
    struct order order;
    struct bytes low, high;    /* cuts, borrowed */
    struct prefix high_prefix; /* rows with a lower one lie below the upper cut */
    struct buf runs;           /* owned: struct merge_run, from `next` on */
    uint32_t next;
    uint32_t foreign;     /* of them: not in our spill */
    struct mapfile spill; /* of merged runs */
    struct cursor *cursors;
    struct player *tree; /* of n: [0] the winner, then the losers */
    uint32_t n;
    uint64_t held;
};

void merge_init(struct merge *m, struct run *r, const struct order *o);
void merge_add(struct merge *m, const struct merge_run *run);
uint32_t merge_width(const struct merge *m); /* how many runs may be open at once */
static inline uint32_t merge_count(const struct merge *m)
{
    return (uint32_t)(m->runs.n / sizeof(struct merge_run)) - m->next;
}
/* Merge all runs that aren't spills into some: their descriptors are not needed any more. 0, or -1 after run_fail(). */
int merge_settle(struct merge *m);
int merge_start(struct merge *m);
/* The smallest row that is left; NULL: none. */
static inline struct cursor *merge_top(struct merge *m)
{
    return m->n && !m->cursors[m->tree[0].run].over ? &m->cursors[m->tree[0].run] : NULL;
}
/* On from the top's row: its key and value are gone. */
int merge_advance(struct merge *m);
void merge_fini(struct merge *m); /* safe on a zeroed one */

#endif
