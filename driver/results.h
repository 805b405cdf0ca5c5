/* results.h - what a job's result stage gives back, in memory, until the job's main takes it.
 *
 * One job at a time.  A result comes whole with its report, or was pulled before as chunks; only
 * what was accepted is handed over.  Past `limit` bytes nothing more is kept, and `full` says so.
 */
#ifndef FERRO_DRIVER_RESULTS_H
#define FERRO_DRIVER_RESULTS_H

#include "common/base/map.h"
#include "common/core/step.h"

struct results {
    uint64_t limit, bytes;
    bool full;
    uint32_t stage;
    struct map pulled;   /* part and attempt -> struct buf, owned */
    struct map accepted; /* part -> struct buf, owned */
};

void results_init(struct results *r, uint64_t limit);
void results_fini(struct results *r);
void results_reset(struct results *r); /* a new job */

/* A chunk that was pulled. */
void results_write(struct results *r, uint32_t stage, uint32_t part, uint32_t attempt, uint64_t offset,
                   struct bytes bytes);
/* That attempt's result counts; bytes.p NULL: it was pulled.  A part's first one stays. */
void results_accept(struct results *r, uint32_t stage, uint32_t part, uint32_t attempt, struct bytes bytes);
void results_forget(struct results *r, uint32_t stage); /* what was pulled for it and not accepted */

/* All accepted, by part: an array of malloc'd bytes, itself malloc'd; then the caller's.  Returns their number. */
uint64_t results_take(struct results *r, struct bytes **out);

#endif
