/* test_api.c - the job API: what goes wrong is said once, by the action, with the builder's place. */
#include "driver/api/set.h"
#include "tests/unit/local_runner.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

TestSuite(api, .timeout = 60);

static int which; /* of the cases below */

static void each(fe_task *t, fe_slice key, fe_slice value)
{
    (void)key;
    fe_emit_value(t, fe_i64(value));
}

static void merge(fe_task *t, void *acc, const void *other)
{
    (void)t, (void)acc, (void)other;
}

/* The dataset of case `which`, and what the action on it must say behind the place. */
static fe_set *bad_set(fe_app *app, const char **words)
{
    static char *missing[] = { (char *)"/usr/inclued", NULL };
    static char *empty[] = { (char *)"" }, *half[] = { (char *)"/etc/passwd", NULL };
    fe_set *numbers = fe_range(app, 0, 10, 2);
    fe_set *keyed = fe_map(numbers, each, FERRO_TEXT, FERRO_TEXT);
    switch (which) {
    case 0: *words = ": fe_text: /usr/inclued: No such file or directory"; return fe_text(app, 1, missing);
    case 1: *words = ": fe_text: no file is named"; return fe_text(app, 0, missing);
    case 2: *words = ": fe_range: it ends at 3, before its beginning at 5"; return fe_range(app, 5, 3, 1);
    case 3: *words = ": fe_collection: 4 items at NULL"; return fe_collection(app, FERRO_I64, NULL, 4, 1);
    case 4:
        *words = ": fe_collection: the items' type is none of FERRO_TEXT, _I64, _F64 or _STRUCT of 1 to "
                 "65536 bytes";
        return fe_collection(app, 0x50000008, &which, 1, 1);
    case 5: *words = ": fe_map: the function is NULL"; return fe_map(numbers, NULL, FERRO_NONE, FERRO_I64);
    case 6:
        *words = " is not in the job's own library; call it from a function that is";
        return fe_map(numbers, (fe_each *)(uintptr_t)malloc, FERRO_NONE, FERRO_I64);
    case 7:
        *words = ": fe_union: values differ: text and i64";
        return fe_union(fe_map(numbers, each, FERRO_NONE, FERRO_TEXT), numbers);
    case 8: *words = ": fe_sum_by_key: the dataset has no keys"; return fe_sum_by_key(numbers);
    case 9:
        *words = ": fe_max_by_key: values must be i64 or f64, these are text; fe_reduce_by_key takes a "
                 "function";
        return fe_max_by_key(keyed);
    case 10:
        *words = ": fe_reduce_by_key: values must have a fixed size to be merged, these are text; "
                 "fe_group_by_key takes any";
        return fe_reduce_by_key(keyed, merge);
    case 11:
        *words = ": fe_sort_by_key: the dataset has no keys to sort by";
        return fe_sort_by_key(numbers, FERRO_ASCENDING);
    case 12:
        *words =
            ": fe_partitions: it goes right after a shuffle (reduce, group, sort, join), not after fe_map";
        return fe_partitions(keyed, 4);
    case 13:
        *words = ": fe_range: 16777217 partitions; at most 16777216";
        return fe_range(app, 0, 1 << 25, (1 << 24) + 1);
    case 14:
        *words =
            ": fe_map: the value's type is none of FERRO_NONE, _TEXT, _I64, _F64 or _STRUCT of 1 to 65536 "
            "bytes";
        return fe_map(numbers, each, FERRO_NONE, 0x20000004);
    case 15:
        *words = ": fe_flat_map: the key's type is none of FERRO_NONE, _TEXT, _I64, _F64 or _STRUCT of 1 to "
                 "65536 bytes";
        return fe_flat_map(numbers, each, 8, FERRO_I64);
    case 16:
        *words = ": fe_sort_by_value: the dataset is NULL";
        return fe_sort_by_value(NULL, FERRO_ASCENDING);
    case 17: *words = ": fe_union: the dataset is NULL"; return fe_union(numbers, NULL);
    case 18: *words = ": fe_text: a file's name is empty"; return fe_text(app, 1, empty);
    case 19: *words = ": fe_text: name 2 of 2 is NULL"; return fe_text(app, 2, half);
    case 20:
        *words = ": fe_collection: item 2 of 2 is NULL";
        return fe_collection(app, FERRO_TEXT, half, 2, 1);
    case 21: *words = ": fe_range: the application is NULL"; return fe_range(NULL, 0, 1, 1);
    }
    return NULL;
}

static int saved_line;
static int bad(fe_app *app, int argc, char **argv)
{
    (void)argc, (void)argv;
    const char *words;
    int64_t n;
    fe_rows *rows;
    fe_set *s = bad_set(app, &words);
    cr_assert(s && s->error);
    saved_line = s->place.line;
    fe_set *further = fe_filter(fe_union(s, s), NULL); /* the first error stays */
    cr_assert(strstr(further->error, words), "%s", further->error);
    cr_expect_eq(fe_count(s, &n), -1);
    cr_expect_eq(fe_collect(s, &rows), -1);
    cr_expect_null(rows);
    cr_expect_eq(fe_take(s, 3, &rows), -1);
    cr_expect_eq(fe_take(s, 0, &rows), -1);
    cr_expect_eq(fe_save_text(s, "/nonexistent/out"), -1);
    return -1;
}

Test(api, bad_builders)
{
    for (which = 0; which < 22; which++) {
        struct local *l = local_new(&(struct local_config){ .split_bytes = 1 << 20, .parallelism = 2 });
        cr_assert_eq(local_main(l, bad, 0, NULL), 3);
        char line[64];
        int lines = 0;
        snprintf(line, sizeof line, "tests/unit/test_api.c:%d: fe_", saved_line);
        for (char *at = (char *)l->said.p; (at = strstr(at, line)); at++)
            lines++;
        cr_assert_eq(lines, 5, "case %d: %s", which, l->said.p);
        cr_assert_eq(l->tasks, 0);
        local_free(&l);
    }
}

/* ---- what main returns ------------------------------------------------------------------- */

static int quiet_failure(fe_app *app, int argc, char **argv)
{
    (void)app, (void)argc, (void)argv;
    return -1;
}

static int goes_on(fe_app *app, int argc, char **argv)
{
    (void)argc, (void)argv;
    int64_t n;
    fe_say(app, "%s", "on with it");
    return fe_count(fe_range(app, 5, 3, 1), &n) ? 0 : -1;
}

Test(api, exit_codes)
{
    struct local *l = local_new(&(struct local_config){ .parallelism = 2 });
    cr_assert_eq(local_main(l, quiet_failure, 0, NULL), 1);
    cr_assert_eq(l->said.n, 0);
    cr_assert_eq(local_main(l, goes_on, 0, NULL), 3);
    cr_assert(!strncmp((char *)l->said.p, "on with it\n", 11));
    local_free(&l);
}

/* ---- bad arguments of actions ---------------------------------------------------------------- */

static void count_texts(fe_task *t, fe_slice key, fe_slice value)
{
    (void)key, (void)value;
    fe_emit_value(t, "text");
}

static int bad_actions(fe_app *app, int argc, char **argv)
{
    (void)argc, (void)argv;
    int64_t acc;
    fe_rows *rows;
    fe_set *numbers = fe_range(app, 0, 10, 2);
    cr_expect_eq(fe_count(numbers, NULL), -1);
    cr_expect_eq(fe_collect(numbers, NULL), -1);
    cr_expect_eq(fe_take(numbers, 0, NULL), -1);
    cr_expect_eq(fe_reduce(numbers, merge, NULL, NULL), -1);
    cr_expect_eq(fe_collect(NULL, &rows), -1);
    cr_expect(!fe_rows_next(rows, NULL, NULL) && fe_rows_count(rows) == 0);
    fe_rows_free(&rows);
    cr_expect_eq(fe_save_text(numbers, ""), -1);
    cr_expect_eq(fe_save_text(numbers, NULL), -1);
    cr_expect_eq(fe_save_text(numbers, "/nonexistent/out"), -1);
    cr_expect_eq(fe_reduce(numbers, NULL, &acc, NULL), -1);
    cr_expect_eq(fe_reduce(fe_map(numbers, count_texts, FERRO_NONE, FERRO_TEXT), merge, &acc, NULL), -1);
    return -1;
}

Test(api, bad_actions)
{
    struct local *l = local_new(&(struct local_config){ .parallelism = 2 });
    cr_assert_eq(local_main(l, bad_actions, 0, NULL), 3);
    const char *said = (char *)l->said.p;
    cr_expect(strstr(said, ": fe_save_text: no folder is named\n"), "%s", said);
    cr_expect(strstr(said, ": fe_save_text: /nonexistent/out: No such file or directory\n"), "%s", said);
    cr_expect(strstr(said, ": fe_reduce: the function is NULL\n"), "%s", said);
    cr_expect(strstr(said, ": fe_count: there is no place for the result: `out` is NULL\n"), "%s", said);
    cr_expect(strstr(said, ": fe_take: there is no place for the records: `out` is NULL\n"), "%s", said);
    cr_expect(strstr(said, ": fe_collect: the dataset is NULL\n"), "%s", said);
    cr_expect(strstr(said, ": fe_reduce: values must have a fixed size to be merged, these are text\n"), "%s",
              said);
    cr_expect_eq(l->tasks, 0);
    local_free(&l);
}
