/* test_api_broadcast.c - fe_broadcast and fe_shared_data: bytes that every task may read. */
#include "driver/api/set.h"
#include "tests/unit/local_runner.h"

#include <criterion/criterion.h>
#include <stdint.h>
#include <stdlib.h>

TestSuite(api_broadcast, .timeout = 60);

enum { NUMBERS = 20000 };
static int64_t table[NUMBERS];

struct args {
    fe_shared small, large, none;
};

static void look_up(fe_task *t, fe_slice key, fe_slice value)
{
    (void)key;
    const struct args *a = FERRO_ARGS(struct args, t);
    const int64_t *small = fe_shared_data(t, a->small), *large = fe_shared_data(t, a->large);
    if (t->failed)
        return;
    if ((uintptr_t)small % 16 || (uintptr_t)large % 16 || !fe_shared_data(t, a->none))
        fe_fail(t, "%p %p", (const void *)small, (const void *)large);
    fe_emit_value(t, large[fe_i64(value)] + small[0]);
}

static void add(fe_task *t, void *acc, fe_slice key, fe_slice value)
{
    (void)t, (void)key;
    *(int64_t *)acc += fe_i64(value);
}

static void merge(fe_task *t, void *acc, const void *other)
{
    (void)t;
    *(int64_t *)acc += *(const int64_t *)other;
}

static struct local *l;

static int loop(fe_app *app, int argc, char **argv)
{
    (void)argc, (void)argv;
    fe_set *numbers = fe_range(app, 0, NUMBERS, 4);
    for (int64_t i = 0; i < 3; i++) {
        for (int64_t k = 0; k < NUMBERS; k++)
            table[k] = i;
        struct args a = { fe_broadcast(app, &i, sizeof i), fe_broadcast(app, table, sizeof table),
                          fe_broadcast(app, NULL, 0) };
        table[0] = 77; /* they are copied */
        int64_t sum;
        uint64_t before = l->bytes_fetched;
        fe_set *found = fe_map(fe_with(numbers, &a, sizeof a), look_up, FERRO_NONE, FERRO_I64);
        cr_assert_eq(fe_aggregate(found, &sum, sizeof sum, add, merge), 0);
        cr_expect_eq(sum, 2 * i * NUMBERS);
        cr_expect_eq(l->bytes_fetched - before, sizeof table + 8, "each is fetched once a stage");
    }
    return 0;
}

Test(api_broadcast, in_a_loop)
{
    l = local_new(&(struct local_config){ .parallelism = 2 });
    cr_assert_eq(local_main(l, loop, 0, NULL), 0, "%s", l->said.p);
    local_free(&l);
}

/* ---- what goes wrong ----------------------------------------------------------------- */

static void merge_looks(fe_task *t, void *acc, const void *other)
{
    (void)acc, (void)other;
    fe_shared_data(t, FERRO_ARGS(struct args, t)->small);
}

static int wrong(fe_app *app, int argc, char **argv)
{
    (void)argc, (void)argv;
    int64_t sum, one = 1;
    fe_set *numbers = fe_range(app, 0, 10, 2);
    struct args a = { .small = fe_broadcast(app, NULL, 5), .large = fe_broadcast(NULL, "x", 1) };
    fe_set *found = fe_map(fe_with(numbers, &a, sizeof a), look_up, FERRO_NONE, FERRO_I64);
    cr_expect_eq(fe_count(found, &sum), -1);
    cr_expect(strstr((char *)l->said.p, "test_api_broadcast.c:") &&
                  strstr((char *)l->said.p, ": fe_broadcast: 5 bytes at NULL\n"),
              "%s", l->said.p);
    cr_expect(!strstr((char *)l->said.p, "the application is NULL"), "the first one is told");
    cr_expect_eq(l->tasks, 0);
    cr_expect_eq(fe_count(found, &sum), -1);
    cr_expect(strstr((char *)l->said.p, "fe_shared_data: no fe_broadcast made this\n"), "%s", l->said.p);
    fe_broadcast(NULL, "x", 1);
    cr_expect_eq(fe_count(numbers, &sum), -1);
    cr_expect(strstr((char *)l->said.p, ": fe_broadcast: the application is NULL\n"), "%s", l->said.p);
    fe_broadcast(app, "x", (size_t)UINT32_MAX + 1);
    cr_expect_eq(fe_count(numbers, &sum), -1);
    cr_expect(strstr((char *)l->said.p, ": fe_broadcast: 4096 MiB of data; at most 4,095\n"), "%s",
              l->said.p);
    a.small = fe_broadcast(app, &one, sizeof one);
    cr_expect_eq(fe_aggregate(fe_with(numbers, &a, sizeof a), &sum, sizeof sum, add, merge_looks), -1);
    cr_expect(strstr((char *)l->said.p, "fe_shared_data is for tasks; main has the bytes itself\n"), "%s",
              l->said.p);
    a.large = a.none = a.small;
    found = fe_map(fe_with(numbers, &a, sizeof a), look_up, FERRO_NONE, FERRO_I64);
    local_forget(l);
    cr_expect_eq(fe_count(found, &sum), -1);
    cr_expect(strstr((char *)l->said.p,
                     "fe_shared_data: a broadcast of 8 bytes can't be had; the driver: no such block"),
              "%s", l->said.p);
    app->served = SERVED_MAX;
    fe_broadcast(app, &one, sizeof one);
    cr_expect_eq(fe_count(numbers, &sum), -1);
    cr_expect(strstr((char *)l->said.p,
                     ": fe_broadcast: over 65536 broadcasts, and datasets of more than 64 KiB\n"),
              "%s", l->said.p);
    cr_expect_eq(fe_count(numbers, &sum), 0, "it was said");
    return -1;
}

Test(api_broadcast, says_what_is_wrong)
{
    l = local_new(&(struct local_config){ .parallelism = 2 });
    cr_assert_eq(local_main(l, wrong, 0, NULL), 3);
    local_free(&l);
}
