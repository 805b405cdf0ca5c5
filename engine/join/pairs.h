/* pairs.h - a join at work: streamed rows, each with the rows of the other side that a lookup has, given to the function. */
#ifndef FERRO_JOIN_PAIRS_H
#define FERRO_JOIN_PAIRS_H

#include "engine/join/lookup.h"

#define PAIRS_GROUP 32u /* rows that take a step together */
#define PAIRS_AHEAD (4 * PAIRS_GROUP)

/* The next batch of streamed rows: as an operator's next().  It may change what is looked in. */
typedef int pairs_pull(void *user, const struct batch **out);

struct pairs {
    const struct lookups *lookups; /* borrowed */
    bool swapped;                  /* they have the left records */
    pairs_pull *pull;
    void *user;
    fe_pair *fn;
    struct emitter emitter;
    const struct batch *in; /* under way; NULL: none */
    bool plain
        [2]; /* by swapped: records are a number and a value, so that no key is compared and none lies far */
    uint32_t at, settled;                        /* rows that are done with, and whose matches are known */
    uint64_t hash[BATCH_ROWS], word[BATCH_ROWS]; /* of the i-th row that counts: lookup_word() */
    struct match match[PAIRS_AHEAD];             /* of row i: i % PAIRS_AHEAD */
};

void pairs_init(struct pairs *p, struct run *r, const struct plan_node *node, pairs_pull *pull, void *user);
/* As an operator's next(): what the function puts out.  However many pairs one row has, it goes on where it was full. */
int pairs_next(struct pairs *p, const struct batch **out);
void pairs_fini(struct pairs *p); /* safe on a zeroed one */

#endif
