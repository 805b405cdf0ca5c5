/* backoff.c - see backoff.h. */
#include "common/core/backoff.h"

uint64_t backoff_next(struct backoff *b, struct prng *p)
{
    uint64_t ms = (uint64_t)BACKOFF_MS_MIN << b->tries;
    if (ms >= BACKOFF_MS_MAX)
        ms = BACKOFF_MS_MAX;
    else
        b->tries++;
    uint64_t half_ns = ms * 1000000u / 2;
    return half_ns + prng_next(p) % (half_ns + 1);
}
