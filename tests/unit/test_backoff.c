/* test_backoff.c - waits between tries. */
#include "common/core/backoff.h"

#include <criterion/criterion.h>

TestSuite(backoff);

Test(backoff, doubles_from_50_ms_to_a_second_and_is_jittered)
{
    struct backoff b = { 0 };
    struct prng p;
    prng_seed(&p, 3);
    cr_assert(backoff_fresh(&b));
    uint64_t spread = 0, last = 0;
    for (int i = 0; i < 12; i++) {
        uint64_t most = (50ull << i < 1000 ? 50ull << i : 1000) * 1000000, ns = backoff_next(&b, &p);
        cr_assert(ns >= most / 2 && ns <= most, "try %d: %lu ns", i, ns);
        spread |= i > 6 ? ns ^ last : 0;
        last = ns;
        cr_assert_not(backoff_fresh(&b));
    }
    cr_assert_neq(spread, 0);
    backoff_reset(&b);
    cr_assert(backoff_fresh(&b));
    cr_assert_leq(backoff_next(&b, &p), 50000000);
}
