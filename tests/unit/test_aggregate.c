/* test_aggregate.c - fe_aggregate_by_key, and tables that stop taking keys. */
#include "driver/api/set.h"
#include "tests/unit/local_runner.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#define ROWS 400000
#define RARE 300000 /* keys that occur once a partition */

TestSuite(aggregate, .timeout = 60);

static struct local *l;

static void set_up(void)
{
    l = local_new(&(struct local_config){ .memory = 64 << 20, .parallelism = 2 });
}

struct figures {
    int64_t n, sum, least, most;
};

/* Three of four records have one of ten keys, the others one of their own; the value is text. */
static void keyed(fe_task *t, fe_slice key, fe_slice value)
{
    (void)key;
    char name[64], text[32];
    int64_t i = fe_i64(value);
    if (i % 4)
        snprintf(name, sizeof name, "often%lld", (long long)i % 10);
    else
        snprintf(name, sizeof name, i % 8 ? "rare %lld" : "rare with a long name %lld", (long long)i % RARE);
    snprintf(text, sizeof text, "%lld", (long long)i);
    fe_emit(t, name, text);
}

/* Every record has a key of its own. */
static void unique(fe_task *t, fe_slice key, fe_slice value)
{
    (void)key;
    fe_emit(t, fe_i64(value), "7");
}

static void add(fe_task *t, void *to, fe_slice key, fe_slice value)
{
    struct figures *f = to;
    const int64_t *factor = fe_args(t);
    int64_t v = fe_parse_i64(value, -1) * (factor ? *factor : 1);
    cr_assert(key.n >= 6);
    f->least = f->n == 0 || v < f->least ? v : f->least;
    f->most = f->n == 0 || v > f->most ? v : f->most;
    f->n++;
    f->sum += v;
}

static void merge(fe_task *t, void *to, const void *from)
{
    struct figures *f = to;
    const struct figures *o = from;
    (void)t;
    f->least = o->least < f->least ? o->least : f->least;
    f->most = o->most > f->most ? o->most : f->most;
    f->n += o->n;
    f->sum += o->sum;
}

static void check_key(fe_slice key, const struct figures *f, int64_t factor)
{
    if (!memcmp(key.p, "often", 5)) {
        int64_t digit = key.p[5] - '0', n = 0, sum = 0;
        for (int64_t i = digit; i < ROWS; i += 10) {
            n += i % 4 != 0;
            sum += i % 4 ? i : 0;
        }
        cr_assert_eq(f->n, n);
        cr_assert_eq(f->sum, sum * factor);
        cr_assert(f->most > (ROWS - 20) * factor && f->least < 20 * factor);
        return;
    }
    int64_t i = fe_parse_i64((fe_slice){ memrchr(key.p, ' ', key.n) + 1,
                                         key.n - 1 - (size_t)((char *)memrchr(key.p, ' ', key.n) - key.p) },
                             -1);
    int64_t twice = i + RARE < ROWS;
    cr_assert(i % 4 == 0 && f->n == 1 + twice && f->least == i * factor);
    cr_assert_eq(f->sum, (i + twice * (i + RARE)) * factor);
}

static void check_all(fe_set *all, int64_t factor)
{
    fe_rows *rows;
    fe_slice key, value;
    cr_assert_eq(fe_collect(all, &rows), 0, "%s", l->said.p);
    cr_expect_eq(fe_rows_count(rows), 10 + RARE / 4);
    while (fe_rows_next(rows, &key, &value))
        check_key(key, FERRO_AS(struct figures, value), factor);
    fe_rows_free(&rows);
}

static void add_length(fe_task *t, void *to, fe_slice key, fe_slice value)
{
    (void)t, (void)key;
    *(int64_t *)to += (int64_t)value.n;
}

static void merge_length(fe_task *t, void *to, const void *from)
{
    (void)t;
    *(int64_t *)to += *(const int64_t *)from;
}

static int aggregates(fe_app *app, int argc, char **argv)
{
    (void)argc, (void)argv;
    const int64_t factor = 3;
    int64_t n = 0, sum = 0;
    bool empty;
    fe_set *rows = fe_flat_map(fe_range(app, 0, ROWS, 3), keyed, FERRO_TEXT, FERRO_TEXT);
    check_all(fe_aggregate_by_key(rows, FERRO_STRUCT(struct figures), add, merge), 1);
    check_all(
        fe_aggregate_by_key(fe_with(rows, &factor, sizeof factor), FERRO_STRUCT(struct figures), add, merge),
        3);
    fe_set *ones = fe_map(fe_range(app, 0, ROWS, 2), unique, FERRO_I64, FERRO_TEXT);
    fe_set *lengths = fe_aggregate_by_key(ones, FERRO_I64, add_length, merge_length);
    cr_expect_eq(fe_count(lengths, &n), 0);
    cr_expect_eq(n, ROWS);
    cr_expect_eq(fe_reduce(lengths, merge_length, &sum, &empty), 0);
    cr_expect_eq(sum, ROWS);
    return 0;
}

Test(aggregate, by_key, .init = set_up)
{
    cr_assert_eq(local_main(l, aggregates, 0, NULL), 0, "%s", l->said.p);
    local_free(&l);
}

/* Sixteen times less memory than what there is: runs in the maps, spills in the reduces. */
Test(aggregate, by_key_beyond_memory)
{
    l = local_new(&(struct local_config){ .memory = 2 << 20, .parallelism = 2 });
    cr_assert_eq(local_main(l, aggregates, 0, NULL), 0, "%s", l->said.p);
    local_free(&l);
}

/* ---- counts and sums of the same ------------------------------------------------------- */

static void one(fe_task *t, fe_slice key, fe_slice value)
{
    (void)value;
    fe_emit(t, key, 1);
}

static int counts(fe_app *app, int argc, char **argv)
{
    (void)argc, (void)argv;
    fe_set *rows = fe_flat_map(fe_range(app, 0, ROWS, 3), keyed, FERRO_TEXT, FERRO_TEXT), *both[2];
    int64_t n = 0, sum = 0;
    bool empty;
    both[0] = fe_count_by_key(rows);
    both[1] = fe_sum_by_key(fe_map(rows, one, FERRO_TEXT, FERRO_I64));
    for (int i = 0; i < 2; i++) {
        cr_expect_eq(fe_count(both[i], &n), 0);
        cr_expect_eq(n, 10 + RARE / 4);
        cr_expect_eq(fe_reduce(both[i], merge_length, &sum, &empty), 0);
        cr_expect_eq(sum, ROWS);
    }
    return 0;
}

Test(aggregate, counts_of_frequent_and_rare_keys, .init = set_up)
{
    cr_assert_eq(local_main(l, counts, 0, NULL), 0, "%s", l->said.p);
    local_free(&l);
}

/* ---- what can't be ---------------------------------------------------------------------- */

static void add_fails(fe_task *t, void *acc, fe_slice key, fe_slice value)
{
    (void)key, (void)value;
    cr_assert(++*(int64_t *)acc <= 100);
    if (*(int64_t *)acc == 100)
        fe_fail(t, "a hundred is too much");
}

static int bad(fe_app *app, int argc, char **argv)
{
    (void)argc, (void)argv;
    int64_t n;
    fe_set *numbers = fe_range(app, 0, 1000, 1), *rows = fe_map(numbers, keyed, FERRO_TEXT, FERRO_TEXT);
    cr_expect_eq(fe_count(fe_aggregate_by_key(numbers, FERRO_I64, add_length, merge_length), &n), -1);
    cr_expect_eq(fe_count(fe_aggregate_by_key(rows, FERRO_TEXT, add_length, merge_length), &n), -1);
    cr_expect_eq(fe_count(fe_aggregate_by_key(rows, FERRO_I64, NULL, merge_length), &n), -1);
    cr_expect_eq(fe_count(fe_aggregate_by_key(rows, FERRO_I64, add_length, NULL), &n), -1);
    cr_expect_eq(fe_count(fe_aggregate_by_key(rows, FERRO_I64, add_fails, merge_length), &n), -1);
    return -1;
}

Test(aggregate, says_what_is_wrong, .init = set_up)
{
    cr_assert_neq(local_main(l, bad, 0, NULL), 0);
    cr_expect(strstr((char *)l->said.p, "the dataset has no keys"), "%s", l->said.p);
    cr_expect(strstr((char *)l->said.p, "an accumulator must have a fixed size"), "%s", l->said.p);
    cr_expect(strstr((char *)l->said.p, "a hundred is too much"), "%s", l->said.p);
    local_free(&l);
}

/* ---- a function that sees its rows one by one -------------------------------------------- */

#define SCATTERED (400 << 10) /* rows, each with a key of its own: the map soon only partitions */
static bool failing;
static uint64_t mapped_after;

static void scattered(fe_task *t, fe_slice key, fe_slice value)
{
    (void)key;
    failing &= fe_i64(value) != 0; /* another attempt */
    mapped_after += failing;
    fe_emit(t, fe_i64(value), fe_i64(value));
}

/* What it unquotes lives until it returns: all of it at once would be more than the slot's memory. */
static void add_unquoted(fe_task *t, void *acc, fe_slice key, fe_slice value)
{
    static const char line[] = "\"a \"\"word\"\" in quotes, and so many more that it is worth the copy\";2";
    fe_slice fields[2];
    (void)key;
    *(int64_t *)acc += (int64_t)fe_csv_fields(t, fe_str(line), ';', fields, 2);
    if (fields[1].n != 1 || fe_i64(value) < 0)
        fe_fail(t, "it has other fields");
}

static void add_fails_late(fe_task *t, void *acc, fe_slice key, fe_slice value)
{
    (void)value;
    ++*(int64_t *)acc;
    if (fe_i64(key) == SCATTERED / 2) {
        failing = true;
        fe_fail(t, "in the middle");
    }
}

static int alone(fe_app *app, int argc, char **argv)
{
    (void)argc, (void)argv;
    fe_set *rows = fe_map(fe_range(app, 0, SCATTERED, 1), scattered, FERRO_I64, FERRO_I64);
    int64_t n = 0, sum = 0;
    fe_set *unquoted = fe_aggregate_by_key(rows, FERRO_I64, add_unquoted, merge_length);
    cr_expect_eq(fe_count(unquoted, &n), 0);
    cr_expect_eq(n, SCATTERED);
    cr_expect_eq(fe_reduce(unquoted, merge_length, &sum, NULL), 0);
    cr_expect_eq(sum, 2 * SCATTERED);
    return fe_count(fe_aggregate_by_key(rows, FERRO_I64, add_fails_late, merge_length), &n);
}

Test(aggregate, rows_that_are_not_combined)
{
    l = local_new(&(struct local_config){ .memory = 16 << 20, .parallelism = 1 });
    cr_assert_neq(local_main(l, alone, 0, NULL), 0);
    cr_expect(strstr((char *)l->said.p, "in the middle"), "%s", l->said.p);
    cr_expect_lt(mapped_after, 4 * 4096, "%llu rows were mapped after the failure",
                 (unsigned long long)mapped_after);
    local_free(&l);
}
