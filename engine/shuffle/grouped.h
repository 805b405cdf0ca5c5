/* grouped.h - the rows of one side of a hash shuffle, those of each key one behind the other.
 *
 * They are sorted by their key's hash, then by the key: in memory, or beyond the budget in runs that are merged while
 * somebody iterates.  So what one key has may be larger than memory.
 */
#ifndef FERRO_SHUFFLE_GROUPED_H
#define FERRO_SHUFFLE_GROUPED_H

#include "engine/shuffle/intake.h"
#include "engine/shuffle/merge.h"
#include "engine/shuffle/sorter.h"

/* The key whose values are being taken. */
struct group {
    uint64_t hash;
    struct buf key; /* owned */
};

struct fe_values {
    struct grouped *rows;
    const struct group *group;
};

struct grouped {
    struct run *run; /* borrowed */
    struct order order;
    struct intake intake;
    struct sorter sorter;
    uint64_t at; /* without a spill: the next row of the sorter */
    struct mapfile spill;
    struct merge merge;
    bool stale;              /* the merge's top was handed out, and goes at the next step */
    struct fe_values values; /* what a function sees of the group */
};

/* At most `limit` bytes while gathering.  What partition leaf->part reads, or reads of the input's other shuffle. 0, or -1 after run_fail(). */
int grouped_init(struct grouped *g, struct run *r, const struct leaf *leaf, bool other, fe_type value,
                 uint64_t limit, const struct group *group);
int grouped_gather(struct grouped *g); /* all rows; 0, or -1 after run_fail() */
bool grouped_peek(struct grouped *g,
                  struct row *out);   /* the row that comes next; false: none, or run_fail() */
void grouped_step(struct grouped *g); /* on from it: its value stays valid until the next peek */
void grouped_fini(struct grouped *g); /* safe on a zeroed one */
fe_slice group_key(const struct group *g);

#endif
