/* test_ops.c - users' functions over batches: what they put out, how they fail, what sinks make of it. */
#include "tests/unit/local_runner.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

TestSuite(ops, .timeout = 60);

static struct local *run_main(int (*main)(fe_app *, int, char **), int expected)
{
    struct local *l =
        local_new(&(struct local_config){ .split_bytes = 1 << 20, .parallelism = 3, .memory = 128 << 20 });
    int code = local_main(l, main, 0, NULL);
    cr_assert_eq(code, expected, "%d: %s", code, l->said.p);
    return l;
}

#define RUN(main) \
    do { \
        struct local *ran = run_main(main, 0); \
        local_free(&ran); \
    } while (0)
/* Run, and look for these words in what was said. */
#define FAILS(main, words) \
    do { \
        struct local *ran = run_main(main, 3); \
        cr_expect(strstr((char *)ran->said.p, words), "%s", ran->said.p); \
        cr_expect_eq(ran->failures, 4); \
        local_free(&ran); \
    } while (0)

/* ---- emitting --------------------------------------------------------------------------- */

#define HUGE_ROWS 100000

static void explode(fe_task *t, fe_slice key, fe_slice value)
{
    (void)key;
    int64_t n = fe_i64(value);
    char big[3000];
    memset(big, 'a' + (int)(n % 26), sizeof big);
    for (int64_t i = 0; i < HUGE_ROWS / 10; i++)
        fe_emit(t, i, ((fe_slice){ big, (size_t)(i * 7 % (int64_t)sizeof big) }));
}

static int explode_main(fe_app *app, int argc, char **argv)
{
    (void)argc, (void)argv;
    fe_rows *rows;
    fe_slice key, value;
    int64_t seen = 0;
    cr_assert_eq(fe_collect(fe_flat_map(fe_range(app, 0, 3, 1), explode, FERRO_I64, FERRO_TEXT), &rows), 0);
    while (fe_rows_next(rows, &key, &value)) {
        int64_t i = seen % (HUGE_ROWS / 10), n = seen / (HUGE_ROWS / 10);
        cr_assert_eq(fe_i64(key), i);
        cr_assert_eq(value.n, (size_t)(i * 7 % 3000));
        cr_assert(value.n == 0 || (value.p[0] == 'a' + n && value.p[value.n - 1] == 'a' + n));
        seen++;
    }
    cr_assert_eq(seen, 3 * HUGE_ROWS / 10);
    fe_rows_free(&rows);
    return 0;
}

Test(ops, one_call_puts_out_many_batches)
{
    RUN(explode_main);
}

static void flood(fe_task *t, fe_slice key, fe_slice value)
{
    (void)key, (void)value;
    static char block[1 << 20];
    for (int i = 0; i < 200; i++)
        fe_emit_value(t, ((fe_slice){ block, sizeof block }));
}

static int flood_main(fe_app *app, int argc, char **argv)
{
    (void)argc, (void)argv;
    int64_t n;
    return fe_count(fe_flat_map(fe_range(app, 0, 1, 1), flood, FERRO_NONE, FERRO_TEXT), &n);
}

Test(ops, one_call_may_not_fill_the_memory)
{
    FAILS(flood_main, "flood (tests/unit/test_ops.c:");
    FAILS(flood_main, "one call put out over 64 MiB");
}

static void twice_or_never(fe_task *t, fe_slice key, fe_slice value)
{
    (void)key;
    for (int64_t i = 0; i < fe_i64(value); i++)
        fe_emit_value(t, i);
}

static int map_none(fe_app *app, int argc, char **argv)
{
    (void)argc, (void)argv;
    int64_t n;
    return fe_count(fe_map(fe_range(app, 0, 1, 1), twice_or_never, FERRO_NONE, FERRO_I64), &n);
}

static int map_two(fe_app *app, int argc, char **argv)
{
    (void)argc, (void)argv;
    int64_t n;
    return fe_count(fe_map_values(fe_range(app, 2, 3, 1), twice_or_never, FERRO_I64), &n);
}

Test(ops, map_puts_out_exactly_one)
{
    FAILS(map_none,
          "it put out 0 records in one call; fe_map wants exactly one (fe_flat_map takes any number)");
    FAILS(map_two, "twice_or_never (tests/unit/test_ops.c:");
    FAILS(map_two, "it put out 2 records in one call; fe_map_values wants exactly one");
}

struct pair {
    int32_t a, b, c;
};

static void wrong_type(fe_task *t, fe_slice key, fe_slice value)
{
    (void)key, (void)value;
    struct pair p = { 1, 2, 3 };
    fe_emit(t, "text", FERRO_BYTES(p));
}

static int mismatch(fe_app *app, int argc, char **argv)
{
    (void)argc, (void)argv;
    int64_t n;
    return fe_count(fe_map(fe_range(app, 0, 1, 1), wrong_type, FERRO_TEXT, FERRO_F64), &n);
}

static bool emits(fe_task *t, fe_slice key, fe_slice value)
{
    (void)key, (void)value;
    fe_emit_value(t, 1);
    return true;
}

static int filter_emits(fe_app *app, int argc, char **argv)
{
    (void)argc, (void)argv;
    int64_t n;
    return fe_count(fe_filter(fe_range(app, 0, 1, 1), emits), &n);
}

Test(ops, types_are_checked)
{
    FAILS(mismatch, "the value that it puts out is struct of 12 bytes, its dataset has f64");
    FAILS(filter_emits, "the value that it puts out is i64, its dataset has nothing");
}

static void widen(fe_task *t, fe_slice key, fe_slice value)
{
    (void)key;
    struct pair p = { (int32_t)fe_i64(value), 2, 3 };
    fe_emit(t, FERRO_BYTES(p), (int)fe_i64(value));
}

static int widening(fe_app *app, int argc, char **argv)
{
    (void)argc, (void)argv;
    fe_rows *rows;
    fe_slice key, value;
    int64_t i = 0;
    cr_assert_eq(
        fe_collect(fe_map(fe_range(app, 0, 5000, 2), widen, FERRO_STRUCT(struct pair), FERRO_F64), &rows), 0);
    for (; fe_rows_next(rows, &key, &value); i++) {
        cr_assert_eq(fe_f64(value), (double)i);
        cr_assert_eq(FERRO_AS(struct pair, key)->a, i);
        cr_assert_eq(FERRO_AS(struct pair, key)->c, 3);
    }
    cr_assert_eq(i, 5000);
    fe_rows_free(&rows);
    return 0;
}

Test(ops, integers_widen)
{
    RUN(widening);
}

static bool give_up(fe_task *t, fe_slice key, fe_slice value)
{
    (void)key;
    if (fe_i64(value) == 7 && fe_attempt(t) < 3)
        fe_fail(t, "number %d in partition %u", 7, fe_partition(t));
    return true;
}

static int third_time(fe_app *app, int argc, char **argv)
{
    (void)argc, (void)argv;
    int64_t n = -1;
    cr_assert_eq(fe_count(fe_filter(fe_range(app, 0, 10, 5), give_up), &n), 0);
    cr_assert_eq(n, 10);
    return 0;
}

Test(ops, a_task_that_fails_runs_again)
{
    struct local *l = run_main(third_time, 0);
    cr_assert_eq(l->failures, 2);
    local_free(&l);
}

/* ---- rows with gaps ----------------------------------------------------------------------- */

static bool third(fe_task *t, fe_slice key, fe_slice value)
{
    (void)t, (void)key;
    return fe_i64(value) % 3 == 0;
}

static bool not_seven(fe_task *t, fe_slice key, fe_slice value)
{
    (void)t, (void)key;
    return fe_i64(value) % 7 != 0;
}

static void name(fe_task *t, fe_slice key, fe_slice value)
{
    (void)key;
    char text[32];
    snprintf(text, sizeof text, "key %lld", (long long)fe_i64(value));
    fe_emit(t, (const char *)text, fe_i64(value));
}

static void square(fe_task *t, fe_slice key, fe_slice value)
{
    (void)key;
    fe_emit_value(t, fe_i64(value) * fe_i64(value));
}

static int gaps(fe_app *app, int argc, char **argv)
{
    (void)argc, (void)argv;
    fe_set *named = fe_map(fe_range(app, 0, 10000, 3), name, FERRO_TEXT, FERRO_I64);
    fe_set *some = fe_filter(fe_filter(named, third), not_seven);
    fe_rows *rows;
    fe_slice key, value;
    int64_t i = 0;
    cr_assert_eq(
        fe_collect(fe_union(fe_map_values(some, square, FERRO_I64), fe_map_values(named, square, FERRO_I64)),
                   &rows),
        0);
    for (int round = 0; round < 2; round++)
        for (i = 0; i < 10000; i++) {
            char text[32];
            if (round == 0 && (i % 3 || i % 7 == 0))
                continue;
            cr_assert(fe_rows_next(rows, &key, &value));
            cr_assert_eq(fe_i64(value), i * i);
            snprintf(text, sizeof text, "key %lld", (long long)i);
            cr_assert(key.n == strlen(text) && !memcmp(key.p, text, key.n), "%.*s", (int)key.n, key.p);
        }
    cr_assert(!fe_rows_next(rows, &key, &value));
    fe_rows_free(&rows);
    return 0;
}

Test(ops, rows_with_gaps)
{
    RUN(gaps);
}

/* ---- sources and sinks --------------------------------------------------------------------- */

static int collections(fe_app *app, int argc, char **argv)
{
    (void)argc, (void)argv;
    static const char *texts[] = { "one", "", "three", "four" };
    static struct pair pairs[5000];
    fe_rows *rows;
    fe_slice value;
    size_t i = 0;
    cr_assert_eq(fe_collect(fe_collection(app, FERRO_TEXT, texts, 4, 7), &rows), 0);
    for (; fe_rows_next(rows, NULL, &value); i++)
        cr_assert(value.n == strlen(texts[i]) && !memcmp(value.p, texts[i], value.n));
    cr_assert_eq(i, 4);
    fe_rows_free(&rows);
    for (i = 0; i < 5000; i++)
        pairs[i] = (struct pair){ (int32_t)i, 1, -(int32_t)i };
    /* Large enough to be a block. */
    cr_assert_eq(fe_collect(fe_collection(app, FERRO_STRUCT(struct pair), pairs, 5000, 600), &rows), 0);
    for (i = 0; fe_rows_next(rows, NULL, &value); i++)
        cr_assert(!memcmp(value.p, &pairs[i], sizeof *pairs));
    cr_assert_eq(i, 5000);
    fe_rows_free(&rows);
    return 0;
}

Test(ops, collections)
{
    struct local *l = run_main(collections, 0);
    cr_assert_eq(l->tasks, 607);
    cr_assert(l->bytes_fetched > 60000);
    local_free(&l);
}

static int nothing(fe_app *app, int argc, char **argv)
{
    (void)argc, (void)argv;
    int64_t n = -1, acc = 5;
    bool empty = false;
    fe_rows *rows;
    fe_slice value;
    cr_assert_eq(fe_count(fe_range(app, 3, 3, 4), &n), 0);
    cr_assert_eq(n, 0);
    cr_assert_eq(fe_collect(fe_collection(app, FERRO_I64, NULL, 0, 0), &rows), 0);
    cr_assert(!fe_rows_next(rows, NULL, &value));
    fe_rows_free(&rows);
    cr_assert_eq(fe_take(fe_range(app, 0, 9, 1), 0, &rows), 0);
    cr_assert_eq(fe_rows_count(rows), 0);
    fe_rows_free(&rows);
    cr_assert_null(rows);
    (void)acc, (void)empty;
    return 0;
}

Test(ops, nothing_at_all)
{
    struct local *l = run_main(nothing, 0);
    cr_assert_eq(l->plain, l->tasks);
    local_free(&l);
}

static int taking(fe_app *app, int argc, char **argv)
{
    (void)argc, (void)argv;
    fe_rows *rows;
    fe_slice value;
    cr_assert_eq(fe_take(fe_range(app, INT64_MIN, INT64_MIN + 1000, 100), 25, &rows), 0);
    for (int64_t i = 0; i < 25; i++)
        cr_assert(fe_rows_next(rows, NULL, &value) && fe_i64(value) == INT64_MIN + i);
    cr_assert(!fe_rows_next(rows, NULL, &value));
    fe_rows_free(&rows);
    return 0;
}

Test(ops, take_runs_few_partitions)
{
    struct local *l = run_main(taking, 0);
    cr_assert_eq(l->tasks, 3);
    local_free(&l);
}

static void max_of(fe_task *t, void *acc, const void *other)
{
    int64_t *a = acc, b = *(const int64_t *)other;
    if (b == 9999 && fe_partition(t) == UINT32_MAX)
        fe_fail(t, "never");
    if (b > *a)
        *a = b;
}

static void fails_late(fe_task *t, void *acc, const void *other)
{
    (void)acc, (void)other;
    fe_fail(t, "%s", "these two don't go together");
}

static int reducing(fe_app *app, int argc, char **argv)
{
    (void)argc, (void)argv;
    int64_t acc = 0;
    bool empty = true;
    fe_set *numbers = fe_range(app, -5, 10000, 7);
    cr_assert_eq(fe_reduce(numbers, max_of, &acc, &empty), 0);
    cr_assert_eq(acc, 9999);
    cr_assert(!empty);
    cr_assert_eq(fe_reduce(fe_range(app, 0, 0, 3), max_of, &acc, &empty), 0);
    cr_assert(empty);
    return 0;
}

static int reduce_fails(fe_app *app, int argc, char **argv)
{
    (void)argc, (void)argv;
    int64_t acc;
    return fe_reduce(fe_range(app, 0, 10, 1), fails_late, &acc, NULL);
}

/* Each partition has one value: the function is first called in main's own process. */
static int reduce_fails_in_main(fe_app *app, int argc, char **argv)
{
    (void)argc, (void)argv;
    int64_t acc;
    return fe_reduce(fe_range(app, 0, 2, 2), fails_late, &acc, NULL);
}

Test(ops, reduce)
{
    RUN(reducing);
    FAILS(reduce_fails, "these two don't go together");
    struct local *l = run_main(reduce_fails_in_main, 3);
    cr_assert(strstr((char *)l->said.p, ": fe_reduce: fails_late (tests/unit/test_ops.c:"), "%s", l->said.p);
    local_free(&l);
}

/* ---- save_text ------------------------------------------------------------------------------- */

static char *slurp(const char *path)
{
    struct buf b = { 0 };
    int fd = open(path, O_RDONLY), n;
    cr_assert(fd >= 0, "%s", path);
    while ((n = (int)read(fd, buf_grow(&b, 65536), 65536)) > 0)
        b.n += (size_t)n;
    close(fd);
    buf_put(&b, "", 1);
    return (char *)b.p;
}

static char out_dir[128];

static void halve(fe_task *t, fe_slice key, fe_slice value)
{
    (void)key;
    fe_emit(t, (double)fe_i64(value) / 4, fe_i64(value));
}

static void as_struct(fe_task *t, fe_slice key, fe_slice value)
{
    (void)key;
    struct pair p = { (int32_t)fe_i64(value), 0, 255 };
    fe_emit_value(t, FERRO_BYTES(p));
}

static int saving(fe_app *app, int argc, char **argv)
{
    (void)argc, (void)argv;
    return fe_save_text(fe_map(fe_range(app, -2, 600002, 4), halve, FERRO_F64, FERRO_I64), out_dir);
}

static int printing(fe_app *app, int argc, char **argv)
{
    (void)argc, (void)argv;
    return fe_save_text(fe_map_values(fe_range(app, 10, 12, 2), as_struct, FERRO_STRUCT(struct pair)), "-") ||
           fe_save_text(fe_map(fe_range(app, 0, 20000, 2), halve, FERRO_F64, FERRO_I64), "-");
}

static void save_as(uint32_t mode)
{
    char path[256];
    struct local *l =
        local_new(&(struct local_config){ .split_bytes = 1 << 20, .parallelism = 3, .save = mode });
    snprintf(out_dir, sizeof out_dir, "%s/out", l->dir);
    cr_assert_eq(local_main(l, saving, 0, NULL), 0, "%s", l->said.p);
    int64_t n = -2;
    for (int part = 0; part < 4; part++) {
        snprintf(path, sizeof path, "%s/part-%05d", out_dir, part);
        char *text = slurp(path);
        for (char *at = text; *at; n++) {
            char line[64];
            int length = snprintf(line, sizeof line, "%.17g\t%lld\n", (double)n / 4, (long long)n);
            cr_assert(!strncmp(at, line, (size_t)length), "%.40s is no %s", at, line);
            at += length;
        }
        free(text);
    }
    cr_assert_eq(n, 600002); /* parts of over a MiB: written past the page cache, but for their tails */
    cr_assert_eq(local_main(l, saving, 0, NULL), 3); /* the folder exists */
    cr_assert(strstr((char *)l->said.p, "fe_save_text: ") && strstr((char *)l->said.p, "File exists"), "%s",
              l->said.p);
    local_free(&l);
}

Test(ops, save_text)
{
    save_as(1);
    save_as(2);
}

Test(ops, print)
{
    char path[128];
    struct local *l = local_new(&(struct local_config){ .split_bytes = 1 << 20, .parallelism = 3 });
    snprintf(path, sizeof path, "%s/stdout", l->dir);
    int fd = open(path, O_WRONLY | O_CREAT, 0600), kept = dup(1);
    fflush(stdout);
    dup2(fd, 1);
    int code = local_main(l, printing, 0, NULL);
    fflush(stdout);
    dup2(kept, 1);
    close(fd);
    close(kept);
    cr_assert_eq(code, 0, "%s", l->said.p);
    char *text = slurp(path);
    cr_assert(!strncmp(text, "0a00000000000000ff000000\n0b00000000000000ff000000\n0\t0\n0.25\t1\n", 60),
              "%.100s", text);
    cr_assert(strstr(text, "\n4999.75\t19999\n"));
    free(text);
    local_free(&l);
}
