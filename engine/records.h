/* records.h - records one after the other, out of batches: what fe_rows is, in a task and in a job's main. */
#ifndef FERRO_ENGINE_RECORDS_H
#define FERRO_ENGINE_RECORDS_H

#include "common/base/bytes.h"
#include "engine/batch.h"

/* Part of something larger, which knows where batches come from. */
struct fe_rows {
    /* The next batch that has rows, valid until the next call: 1, 0 when there is none, -1. */
    int (*next)(fe_rows *, struct batch *);
    void (*free)(fe_rows *); /* fe_rows_free; NULL: they aren't the caller's */
    uint64_t count;          /* of collected ones */
    uint64_t left;           /* so many more at most */
    struct batch batch;
    uint32_t row; /* of the batch: the next one, by `sel` where there is one */
    bool ended;
    struct buf keys, values; /* fe_rows_array: rows of a batch with gaps, without them */
};

void records_fini(fe_rows *r); /* what fe_rows_array copied */

#endif
