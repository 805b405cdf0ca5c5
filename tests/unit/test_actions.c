/* test_actions.c - the list of actions and the PRNG of cores. */
#include "common/core/step.h"

#include <criterion/criterion.h>
#include <string.h>

TestSuite(actions);

Test(actions, keeps_order_and_zeroes)
{
    struct actions a = { 0 };
    for (uint32_t i = 0; i < 1000; i++) {
        struct action *act = actions_add(&a, ACT_SEND);
        cr_assert_eq(act->stage, 0);
        cr_assert_null(act->blocks);
        act->stage = i;
        act->blocks = (const struct block_ref *)(const void *)act;
    }
    cr_assert_eq(a.n, 1000);
    for (uint32_t i = 0; i < 1000; i++) {
        cr_assert_eq(a.v[i].kind, ACT_SEND);
        cr_assert_eq(a.v[i].stage, i);
    }
    actions_fini(&a);
}

Test(actions, reset_keeps_memory_and_forgets_content)
{
    struct actions a = { 0 };
    actions_add(&a, ACT_KILL)->id = 7;
    buf_put(&a.scratch, "frame", 5);
    struct action *v = a.v;
    actions_reset(&a);
    cr_assert_eq(a.n, 0);
    cr_assert_eq(a.scratch.n, 0);
    struct action *again = actions_add(&a, ACT_EXIT);
    cr_assert_eq(again, v);
    cr_assert_eq(again->id, 0);
    actions_fini(&a);
    cr_assert_null(a.v);
    cr_assert_eq(a.cap, 0);
}

Test(actions, log_keeps_the_words_whatever_comes_after)
{
    struct actions a = { 0 };
    char big[5000];
    memset(big, 'x', sizeof big - 1);
    big[sizeof big - 1] = 0;
    actions_log(&a, LOG_WARN, "executor %d is %s", 3, "silent");
    actions_log(&a, LOG_INFO, "%s", big);
    for (int i = 0; i < 500; i++)
        actions_log(&a, LOG_DEBUG, "line %d", i);
    cr_assert_eq(a.n, 502);
    cr_assert_eq(a.v[0].kind, ACT_LOG);
    cr_assert_eq(a.v[0].log.level, LOG_WARN);
    cr_assert_str_eq(a.v[0].log.words, "executor 3 is silent");
    cr_assert_str_eq(a.v[1].log.words, big);
    cr_assert_str_eq(a.v[501].log.words, "line 499");
    actions_fini(&a);
}

/* The authors' code, seeded with splitmix64 from 0, gives these. */
Test(actions, prng_is_xoshiro256starstar)
{
    static const uint64_t state[] = { 0xe220a8397b1dcdaf, 0x6e789e6aa1b965f4, 0x06c45d188009454f,
                                      0xf88bb8a8724c81ec };
    static const uint64_t first[] = { 0x99ec5f36cb75f2b4, 0xbf6e1f784956452a, 0x1a5f849d4933e6e0 };
    struct prng p;
    prng_seed(&p, 0);
    for (int i = 0; i < 4; i++)
        cr_assert_eq(p.s[i], state[i]);
    for (int i = 0; i < 3; i++)
        cr_assert_eq(prng_next(&p), first[i]);
}

Test(actions, prng_repeats_by_seed_and_differs_between_seeds)
{
    struct prng a, b, c;
    prng_seed(&a, 41);
    prng_seed(&b, 41);
    prng_seed(&c, 42);
    int same = 0;
    for (int i = 0; i < 1000; i++) {
        uint64_t x = prng_next(&a);
        cr_assert_eq(x, prng_next(&b));
        same += x == prng_next(&c);
    }
    cr_assert_eq(same, 0);
}

Test(actions, plants_are_off_outside_the_simulator)
{
    cr_assert_not(FERRO_PLANT(anything));
}
