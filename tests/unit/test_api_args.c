/* test_api_args.c - fe_with: the bytes that a function of the next builder or action gets. */
#include "driver/api/set.h"
#include "tests/unit/local_runner.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

TestSuite(api_args, .timeout = 60);

struct factor {
    int64_t by;
    char name[5];
};

static int64_t factor(fe_task *t, const char *name)
{
    const struct factor *f = FERRO_ARGS(struct factor, t);
    if (!f || (uintptr_t)f % 16 || strcmp(f->name, name))
        fe_fail(t, "%s has the arguments of %s at %p", name, f ? f->name : "none", (const void *)f);
    return f ? f->by : 0;
}

static void scale(fe_task *t, fe_slice key, fe_slice value)
{
    (void)key;
    fe_emit(t, fe_i64(value) % 10, fe_i64(value) * factor(t, "map"));
}

static void scale_values(fe_task *t, fe_slice key, fe_slice value)
{
    (void)key;
    fe_emit_value(t, fe_i64(value) * factor(t, "vals"));
}

static bool above(fe_task *t, fe_slice key, fe_slice value)
{
    (void)key;
    return fe_i64(value) >= factor(t, "filt");
}

static void plus(fe_task *t, void *acc, const void *other)
{
    *(int64_t *)acc += *(const int64_t *)other * factor(t, "sum");
}

static void sum(fe_task *t, fe_slice key, fe_values *values)
{
    fe_slice v;
    int64_t n = 0;
    while (fe_next_value(values, &v))
        n += fe_i64(v);
    fe_emit(t, fe_i64(key), n * factor(t, "grp"));
}

static bool has_none(fe_task *t, fe_slice key, fe_slice value)
{
    (void)key, (void)value;
    if (fe_args(t))
        fe_fail(t, "arguments are left over");
    return true;
}

static fe_set *with(fe_set *set, int64_t by, const char *name)
{
    struct factor f = { .by = by };
    strcpy(f.name, name);
    fe_set *s = fe_with(set, &f, sizeof f);
    f.by = 0; /* they are copied */
    return s;
}

static struct local *runner(void)
{
    return local_new(&(struct local_config){ .split_bytes = 1 << 20, .parallelism = 2 });
}

static int every_function(fe_app *app, int argc, char **argv)
{
    (void)argc, (void)argv;
    int64_t n, total = 0;
    fe_set *pairs = fe_map(with(fe_range(app, 0, 100, 4), 3, "map"), scale, FERRO_I64, FERRO_I64);
    pairs = fe_filter(fe_map_values(with(pairs, 2, "vals"), scale_values, FERRO_I64), has_none);
    fe_set *large = fe_filter(with(pairs, 300, "filt"), above); /* 50..99 */
    cr_expect_eq(fe_count(large, &n), 0);
    cr_expect_eq(n, 50);
    fe_set *sums = fe_reduce_by_key(with(large, 1, "sum"), plus);
    fe_set *groups = fe_group_by_key(with(large, 1, "grp"), sum, FERRO_I64, FERRO_I64);
    cr_expect_eq(fe_reduce(fe_filter(sums, has_none), plus, &total, NULL), -1);
    cr_expect_eq(fe_reduce(with(sums, 1, "sum"), plus, &total, NULL), 0);
    cr_expect_eq(total, 6 * (99 * 100 - 49 * 50) / 2);
    cr_expect_eq(fe_reduce(with(fe_filter(groups, has_none), 1, "sum"), plus, &total, NULL), 0);
    cr_expect_eq(total, 6 * (99 * 100 - 49 * 50) / 2);
    return 0;
}

Test(api_args, every_function_gets_its_own)
{
    struct local *l = runner();
    cr_assert_eq(local_main(l, every_function, 0, NULL), 3); /* one reduce was to fail */
    cr_expect(strstr((char *)l->said.p, "sum has the arguments of none"), "%s", l->said.p);
    cr_expect_eq(l->failures, 4, "%s", l->said.p);
    local_free(&l);
}

static int one_shuffle(fe_app *app, int argc, char **argv)
{
    (void)argc, (void)argv;
    int64_t n;
    fe_set *pairs = fe_map(with(fe_range(app, 0, 100, 4), 1, "map"), scale, FERRO_I64, FERRO_I64);
    fe_set *sums = fe_sum_by_key(pairs);
    fe_set *a = fe_filter(with(sums, 450, "filt"), above), *b = fe_filter(with(sums, 490, "filt"), above);
    cr_expect_eq(fe_count(fe_union(fe_union(a, b), fe_with(sums, NULL, 0)), &n), 0);
    cr_expect_eq(n, 10 + 6 + 10, "%lld", (long long)n);
    return 0;
}

Test(api_args, a_shuffle_with_two_arguments_is_written_once)
{
    struct local *l = runner();
    cr_assert_eq(local_main(l, one_shuffle, 0, NULL), 0, "%s", l->said.p);
    cr_expect_eq(l->stages, 2);
    local_free(&l);
}

static char large[PLAN_INLINE_BYTES_MAX + 1];

static bool is_whole(fe_task *t, fe_slice key, fe_slice value)
{
    (void)key, (void)value;
    return !memcmp(fe_args(t), large, PLAN_INLINE_BYTES_MAX);
}

static int sizes(fe_app *app, int argc, char **argv)
{
    (void)argc, (void)argv;
    int64_t n;
    fe_set *numbers = fe_range(app, 0, 100, 4);
    memset(large, 'x', sizeof large);
    cr_expect_eq(fe_count(fe_filter(fe_with(numbers, large, PLAN_INLINE_BYTES_MAX), is_whole), &n), 0);
    cr_expect_eq(n, 100);
    cr_expect_eq(fe_count(fe_filter(fe_with(numbers, large, sizeof large), is_whole), &n), -1);
    cr_expect_eq(fe_count(fe_with(numbers, NULL, 3), &n), -1);
    cr_expect_eq(fe_count(fe_with(NULL, large, 3), &n), -1);
    return -1;
}

static int nobodys(fe_app *app, int argc, char **argv)
{
    (void)argc, (void)argv;
    int64_t n;
    fe_set *numbers = fe_range(app, 0, 100, 4);
    fe_set *pairs = fe_map(with(numbers, 1, "map"), scale, FERRO_I64, FERRO_I64),
           *given = with(pairs, 1, "none");
    cr_expect_eq(fe_count(fe_union(pairs, given), &n), -1);
    cr_expect_eq(fe_count(fe_filter(fe_sum_by_key(given), has_none), &n), -1);
    cr_expect_eq(fe_count(fe_sort_by_key(given, FERRO_ASCENDING), &n), -1);
    cr_expect_eq(fe_count(given, &n), -1);
    cr_expect_eq(fe_count(fe_with(given, NULL, 0), &n), 0); /* thought better of */
    return -1;
}

Test(api_args, says_what_is_wrong)
{
    struct local *l = runner();
    cr_assert_eq(local_main(l, sizes, 0, NULL), 3);
    const char *said = (char *)l->said.p;
    cr_expect(strstr(said, ": fe_with: 65537 bytes of arguments; at most 65536, fe_broadcast takes more\n"),
              "%s", said);
    cr_expect(strstr(said, ": fe_with: 3 bytes of arguments at NULL\n"), "%s", said);
    cr_expect(strstr(said, ": fe_with: the dataset is NULL\n"), "%s", said);
    cr_assert_eq(local_main(l, nobodys, 0, NULL), 3);
    static const char *const names[] = { "union", "sum_by_key", "sort_by_key", "count" };
    for (size_t i = 0; i < 4; i++) {
        char words[128];
        snprintf(words, sizeof words,
                 ": fe_%s: it has no function that could take the arguments of fe_with\n", names[i]);
        cr_expect(strstr((char *)l->said.p, words), "%s: %s", names[i], l->said.p);
    }
    local_free(&l);
}
