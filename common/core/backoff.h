/* backoff.h - how long to wait before trying once more: 50 ms, doubling to 1 s, jittered.  Pure.
 *
 *     struct backoff retry = {0};                            // zero-initialise to use
 *     x->retry_ns = x->now + backoff_next(&x->retry, &x->prng);
 *     backoff_reset(&x->retry);                              // it worked
 */
#ifndef FERRO_CORE_BACKOFF_H
#define FERRO_CORE_BACKOFF_H

#include "common/core/step.h"

#define BACKOFF_MS_MIN 50u
#define BACKOFF_MS_MAX 1000u

struct backoff {
    uint32_t tries; /* since it last worked; counts no further than the longest wait */
};

/* Nanoseconds to wait, between the half and the whole of this try's time. */
uint64_t backoff_next(struct backoff *b, struct prng *p);

static inline void backoff_reset(struct backoff *b)
{
    b->tries = 0;
}

/* Nothing has failed yet: what is said once is said now. */
static inline bool backoff_fresh(const struct backoff *b)
{
    return b->tries == 0;
}

#endif
