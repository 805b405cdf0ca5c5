/* test_ops_whole.c - whole partitions and accumulators: fe_map_partitions, fe_rows_array, fe_aggregate. */
#include "driver/api/set.h"
#include "tests/unit/local_runner.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

TestSuite(ops_whole, .timeout = 60);

static struct local *l;

static void set_up(void)
{
    l = local_new(&(struct local_config){ .split_bytes = 1 << 20, .parallelism = 2 });
}

static int64_t sum_of(fe_set *set)
{
    int64_t sum = 0;
    fe_rows *rows;
    fe_slice v;
    cr_assert_eq(fe_collect(set, &rows), 0, "%s", l->said.p);
    while (fe_rows_next(rows, NULL, &v))
        sum += fe_i64(v);
    fe_rows_free(&rows);
    return sum;
}

static bool odd(fe_task *t, fe_slice key, fe_slice value)
{
    (void)t, (void)key;
    return fe_i64(value) % 2;
}

static bool large(fe_task *t, fe_slice key, fe_slice value)
{
    (void)t, (void)key;
    return fe_i64(value) >= 10000;
}

static void named(fe_task *t, fe_slice key, fe_slice value)
{
    (void)key;
    char name[32];
    snprintf(name, sizeof name, "n%lld", (long long)fe_i64(value) % 10);
    fe_emit(t, name, fe_i64(value));
}

/* ---- partitions ---------------------------------------------------------------------- */

static int each_of(fe_task *t, fe_rows *in)
{
    fe_slice v;
    int64_t n = 0;
    for (; fe_rows_next(in, NULL, &v); n++)
        fe_emit_value(t, fe_i64(v));
    cr_assert_not(fe_rows_next(in, NULL, &v)); /* once more */
    cr_assert_eq(fe_rows_array(in, NULL, NULL), 0);
    fe_rows_free(&in); /* not its own */
    fe_emit_value(t, n);
    return 0;
}

static int arrays_of(fe_task *t, fe_rows *in)
{
    const void *v, *k = t;
    int64_t sum = 0;
    for (size_t n; (n = fe_rows_array(in, &k, &v)) != 0;)
        for (size_t i = 0; i < n; i++)
            sum += ((const int64_t *)v)[i];
    cr_assert(k == NULL || k == t, "there are no keys");
    fe_emit_value(t, sum);
    return 0;
}

/* One by one, and the rest of each batch as an array. */
static int both_of(fe_task *t, fe_rows *in)
{
    fe_slice v;
    const void *rest;
    int64_t sum = 0;
    while (fe_rows_next(in, NULL, &v)) {
        sum += fe_i64(v);
        if (!fe_rows_next(in, NULL, &v))
            break;
        sum += fe_i64(v);
        for (size_t n = fe_rows_array(in, NULL, &rest); n; n--)
            sum += ((const int64_t *)rest)[n - 1];
    }
    fe_emit_value(t, sum);
    return 0;
}

static int texts_of(fe_task *t, fe_rows *in)
{
    fe_slice k, v;
    const void *values;
    int64_t sum = 0;
    cr_assert_eq(fe_rows_array(in, &values, NULL), 0, "text is no array");
    if (fe_rows_next(in, &k, &v)) {
        cr_assert(k.n == 2 && k.p[0] == 'n' && k.p[1] == '0' + fe_i64(v) % 10);
        sum += fe_i64(v);
    }
    for (size_t n; (n = fe_rows_array(in, NULL, &values)) != 0;)
        for (size_t i = 0; i < n; i++)
            sum += ((const int64_t *)values)[i];
    fe_emit_value(t, sum);
    return 0;
}

static int first_of(fe_task *t, fe_rows *in)
{
    fe_slice v;
    if (fe_rows_next(in, NULL, &v))
        fe_emit(t, "first", fe_i64(v));
    return 0;
}

static int partitions(fe_app *app, int argc, char **argv)
{
    (void)argc, (void)argv;
    const int64_t n = 20000, all = n * (n - 1) / 2, odds = n * n / 4;
    fe_set *numbers = fe_range(app, 0, n, 3), *few = fe_filter(numbers, large);
    fe_set *texts = fe_map(numbers, named, FERRO_TEXT, FERRO_I64);
    cr_expect_eq(sum_of(fe_map_partitions(numbers, each_of, FERRO_NONE, FERRO_I64)), all + n);
    cr_expect_eq(sum_of(fe_map_partitions(numbers, arrays_of, FERRO_NONE, FERRO_I64)), all);
    cr_expect_eq(sum_of(fe_map_partitions(numbers, both_of, FERRO_NONE, FERRO_I64)), all);
    cr_expect_eq(sum_of(fe_map_partitions(fe_filter(numbers, odd), arrays_of, FERRO_NONE, FERRO_I64)), odds);
    cr_expect_eq(sum_of(fe_map_partitions(fe_filter(numbers, odd), both_of, FERRO_NONE, FERRO_I64)), odds);
    cr_expect_eq(sum_of(fe_map_partitions(few, each_of, FERRO_NONE, FERRO_I64)),
                 all - 9999 * 10000 / 2 + 10000);
    cr_expect_eq(sum_of(fe_map_partitions(texts, texts_of, FERRO_NONE, FERRO_I64)), all);
    cr_expect_eq(sum_of(fe_map_partitions(fe_range(app, 0, 2, 5), first_of, FERRO_TEXT, FERRO_I64)), 1);
    fe_set *sums = fe_map_partitions(fe_map_partitions(numbers, each_of, FERRO_NONE, FERRO_I64), arrays_of,
                                     FERRO_NONE, FERRO_I64);
    cr_expect_eq(sum_of(sums), all + n);
    return 0;
}

Test(ops_whole, partitions, .init = set_up)
{
    cr_assert_eq(local_main(l, partitions, 0, NULL), 0, "%s", l->said.p);
    local_free(&l);
}

static int gives_up(fe_task *t, fe_rows *in)
{
    (void)t, (void)in;
    return 7;
}

static int gives_up_with_words(fe_task *t, fe_rows *in)
{
    (void)in;
    fe_fail(t, "no more");
    return -1;
}

static bool breaks(fe_task *t, fe_slice key, fe_slice value)
{
    (void)key;
    if (fe_i64(value) == 5000)
        fe_fail(t, "record 5000");
    return true;
}

/* What it makes of a failure below it doesn't matter. */
static int failing(fe_app *app, int argc, char **argv)
{
    (void)argc, (void)argv;
    int64_t n;
    fe_set *numbers = fe_range(app, 0, 20000, 2);
    cr_expect_eq(fe_count(fe_map_partitions(numbers, gives_up, FERRO_NONE, FERRO_I64), &n), -1);
    cr_expect_eq(fe_count(fe_map_partitions(numbers, gives_up_with_words, FERRO_NONE, FERRO_I64), &n), -1);
    cr_expect_eq(fe_count(fe_map_partitions(fe_filter(numbers, breaks), each_of, FERRO_NONE, FERRO_I64), &n),
                 -1);
    cr_expect_eq(fe_count(fe_map_partitions(numbers, NULL, FERRO_NONE, FERRO_I64), &n), -1);
    cr_expect_eq(fe_count(fe_map_partitions(numbers, each_of, FERRO_NONE, 77), &n), -1);
    cr_expect_eq(fe_count(fe_map_partitions(NULL, each_of, FERRO_NONE, FERRO_I64), &n), -1);
    return -1;
}

Test(ops_whole, partitions_that_fail, .init = set_up)
{
    cr_assert_eq(local_main(l, failing, 0, NULL), 3);
    static const char *const words[] = { "gives_up (tests/unit/test_ops_whole.c:",
                                         "): it returned 7\n",
                                         "gives_up_with_words (",
                                         "): no more\n",
                                         "): record 5000\n",
                                         ": fe_map_partitions: the function is NULL\n",
                                         ": fe_map_partitions: the value's type is none of",
                                         ": fe_map_partitions: the dataset is NULL\n" };
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        cr_expect(strstr((char *)l->said.p, words[i]), "%s: %s", words[i], l->said.p);
    cr_expect_eq(l->failures, 12);
    local_free(&l);
}

static int collected(fe_app *app, int argc, char **argv)
{
    (void)argc, (void)argv;
    fe_rows *rows;
    fe_slice v;
    const void *values;
    size_t rest = 0;
    cr_assert_eq(fe_take(fe_range(app, 0, 5000, 2), 4000, &rows), 0);
    cr_expect_eq(fe_rows_count(rows), 4000);
    cr_expect(fe_rows_next(rows, NULL, &v) && fe_i64(v) == 0);
    for (size_t n; (n = fe_rows_array(rows, NULL, &values)) != 0; rest += n)
        cr_expect_eq(*(const int64_t *)values, (int64_t)rest + 1);
    cr_expect_eq(rest, 3999);
    fe_rows_free(&rows);
    cr_expect_null(rows);
    return 0;
}

Test(ops_whole, collected_rows_are_arrays_too, .init = set_up)
{
    cr_assert_eq(local_main(l, collected, 0, NULL), 0, "%s", l->said.p);
    local_free(&l);
}

/* ---- accumulators --------------------------------------------------------------------- */

struct acc {
    int64_t n, sum, tasks;
    char rest[STRUCT_BYTES_MAX - 3 * sizeof(int64_t)]; /* over what a report has room for */
};

static void add(fe_task *t, void *to, fe_slice key, fe_slice value)
{
    struct acc *acc = to;
    const int64_t *factor = fe_args(t);
    (void)key;
    acc->tasks = 1;
    acc->n++;
    acc->sum += fe_i64(value) * (factor ? *factor : 1);
    acc->rest[fe_i64(value) % (int64_t)sizeof acc->rest] = 'x';
}

static void merge(fe_task *t, void *to, const void *from)
{
    struct acc *acc = to;
    const struct acc *other = from;
    (void)t;
    acc->n += other->n;
    acc->sum += other->sum;
    acc->tasks += other->tasks;
    for (size_t i = 0; i < sizeof acc->rest; i++)
        acc->rest[i] |= other->rest[i];
}

static struct acc total;

static int aggregates(fe_app *app, int argc, char **argv)
{
    (void)argc, (void)argv;
    const int64_t n = 20000, factor = 3;
    fe_set *numbers = fe_range(app, 0, n, 5);
    memset(&total, 7, sizeof total); /* it starts zeroed all the same */
    cr_expect_eq(fe_aggregate(numbers, &total, sizeof total, add, merge), 0);
    cr_expect(total.n == n && total.sum == n * (n - 1) / 2 && total.tasks == 5);
    cr_expect(memchr(total.rest, 0, sizeof total.rest) == total.rest + n);
    fe_set *few = fe_with(fe_filter(fe_filter(numbers, odd), large), &factor, sizeof factor);
    cr_expect_eq(fe_aggregate(few, &total, sizeof total, add, merge), 0);
    cr_expect(total.n == 5000 && total.sum == 3 * 5000 * 15000 && total.tasks == 3);
    memset(&total, 7, sizeof total);
    cr_expect_eq(fe_aggregate(fe_range(app, 0, 0, 3), &total, sizeof total, add, merge), 0);
    static const struct acc zero;
    cr_expect(!memcmp(&total, &zero, sizeof zero));
    return 0;
}

Test(ops_whole, aggregates, .init = set_up)
{
    cr_assert_eq(local_main(l, aggregates, 0, NULL), 0, "%s", l->said.p);
    local_free(&l);
}

static void add_fails(fe_task *t, void *acc, fe_slice key, fe_slice value)
{
    (void)acc, (void)key;
    if (fe_i64(value) == 1500)
        fe_fail(t, "can't add 1500");
    cr_assert(fe_i64(value) <= 1500);
}

static void merge_fails(fe_task *t, void *acc, const void *other)
{
    (void)acc, (void)other;
    fe_fail(t, "can't merge");
}

static int bad(fe_app *app, int argc, char **argv)
{
    (void)argc, (void)argv;
    static char acc[STRUCT_BYTES_MAX + 1];
    fe_set *numbers = fe_range(app, 0, 2000, 2);
    cr_expect_eq(fe_aggregate(numbers, acc, 8, add_fails, merge), -1);
    cr_expect_eq(fe_aggregate(numbers, acc, sizeof(struct acc), add, merge_fails), -1);
    cr_expect_eq(fe_aggregate(numbers, NULL, 8, add, merge), -1);
    cr_expect_eq(fe_aggregate(numbers, acc, 0, add, merge), -1);
    cr_expect_eq(fe_aggregate(numbers, acc, sizeof acc, add, merge), -1);
    cr_expect_eq(fe_aggregate(numbers, acc, 8, NULL, merge), -1);
    cr_expect_eq(fe_aggregate(numbers, acc, 8, add, NULL), -1);
    cr_expect_eq(fe_aggregate(NULL, acc, 8, add, merge), -1);
    return -1;
}

Test(ops_whole, aggregates_that_fail, .init = set_up)
{
    cr_assert_eq(local_main(l, bad, 0, NULL), 3);
    static const char *const words[] = { "): can't add 1500\n",
                                         ": can't merge\n",
                                         ": fe_aggregate: there is no place for the result: `acc` is NULL\n",
                                         ": fe_aggregate: an accumulator of 0 bytes; 1 to 65536\n",
                                         ": fe_aggregate: an accumulator of 65537 bytes; 1 to 65536\n",
                                         ": fe_aggregate: the function is NULL\n",
                                         ": fe_aggregate: the dataset is NULL\n" };
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        cr_expect(strstr((char *)l->said.p, words[i]), "%s: %s", words[i], l->said.p);
    local_free(&l);
}
