/* clock.c - see clock.h. */
#include "common/base/clock.h"

#include <assert.h>
#include <time.h>

static struct timespec read_clock(clockid_t id)
{
    struct timespec t;
    int rc = clock_gettime(id, &t);
    assert(rc == 0);
    (void)rc;
    return t;
}

uint64_t clock_now_ns(void)
{
    struct timespec t = read_clock(CLOCK_BOOTTIME);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t clock_unix_ms(void)
{
    struct timespec t = read_clock(CLOCK_REALTIME);
    return (uint64_t)t.tv_sec * 1000u + (uint64_t)t.tv_nsec / 1000000u;
}
