/* intake.h - the rows of one side of a hash shuffle, batch by batch: what all maps wrote, or one part of a spill. */
#ifndef FERRO_SHUFFLE_INTAKE_H
#define FERRO_SHUFFLE_INTAKE_H

#include "engine/shuffle/read.h"

struct intake {
    struct run *run; /* borrowed */
    fe_type key, value;
    struct read read;            /* of maps: */
    const struct mapfile *spill; /* borrowed; NULL: maps */
    uint32_t part;               /* of the spill */
    uint32_t next;               /* the run that comes next, of the window or of the spill */
    bool open;                   /* a run is under way: */
    struct stream stream;
    uint64_t rows; /* that must still come of it */
    struct batch frame, batch;
    uint32_t at; /* rows of the frame that were handed up */
    uint64_t hash[BATCH_ROWS];
};

/* What partition leaf->part reads of its input, or of the input's other shuffle.  0, or -1 after run_fail(). */
int intake_maps(struct intake *t, struct run *r, const struct leaf *leaf, bool other, fe_type key,
                fe_type value);
/* The rows of one part of a spill (MAP_HASH, all written).  Memory of an earlier use is reused. */
void intake_part(struct intake *t, struct run *r, const struct mapfile *spill, uint32_t part, fe_type key,
                 fe_type value);
/* 1 and a batch without `sel` (valid until the next call), 0 at the end, -1 after run_fail(). */
int intake_next(struct intake *t, const struct batch **out);
/* The keys' hashes of the batch handed up last. */
const uint64_t *intake_hash(struct intake *t);
void intake_fini(struct intake *t); /* safe on a zeroed one */

#endif
