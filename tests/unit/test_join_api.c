/* test_join_api.c - builders of joins: what is wrong with them, and which side becomes a table. */
#include "driver/api/set.h"
#include "tests/unit/local_runner.h"

#include <criterion/criterion.h>
#include <stdlib.h>

TestSuite(join_api, .timeout = 60);

static void by_number(fe_task *t, fe_slice key, fe_slice value)
{
    (void)key;
    fe_emit(t, fe_i64(value), 1);
}

static void pair(fe_task *t, fe_slice key, fe_slice left, fe_slice right)
{
    fe_emit(t, fe_i64(key), fe_i64(left) + fe_i64(right));
}

static void both(fe_task *t, fe_slice key, fe_values *left, fe_values *right)
{
    (void)left, (void)right;
    fe_emit(t, fe_i64(key), 1);
}

static fe_set *keyed(fe_app *app, int64_t n)
{
    return fe_map(fe_range(app, 0, n, 2), by_number, FERRO_I64, FERRO_I64);
}

static void fails(const fe_set *s, const char *words)
{
    cr_assert(s->error);
    cr_expect(strstr(s->error, words), "%s, not %s", s->error, words);
}

static int bad(fe_app *app, int argc, char **argv)
{
    (void)argc, (void)argv;
    fe_set *numbers = fe_range(app, 0, 10, 2), *good = keyed(app, 10);
    fe_set *text = fe_map(numbers, by_number, FERRO_TEXT, FERRO_I64);
    fe_app other = *app;
    fe_set *foreign = arena_copy(&app->arena, good, sizeof *good);
    foreign->app = &other;
    fails(fe_join(good, text, pair, FERRO_I64, FERRO_I64), ": fe_join: keys differ: i64 and text");
    fails(fe_cogroup(text, good, both, FERRO_I64, FERRO_I64), ": fe_cogroup: keys differ: text and i64");
    fails(fe_join(numbers, numbers, pair, FERRO_I64, FERRO_I64), ": fe_join: the datasets have no keys");
    fails(fe_join(numbers, good, pair, FERRO_I64, FERRO_I64), ": fe_join: keys differ: nothing and i64");
    fails(fe_join(NULL, good, pair, FERRO_I64, FERRO_I64), ": fe_join: the dataset is NULL");
    fails(fe_cogroup(good, NULL, both, FERRO_I64, FERRO_I64), ": fe_cogroup: the dataset is NULL");
    fails(fe_join(good, foreign, pair, FERRO_I64, FERRO_I64), "belong to different applications");
    fails(fe_join(good, good, NULL, FERRO_I64, FERRO_I64), ": fe_join: the function is NULL");
    fails(fe_cogroup(good, good, (fe_cogroup_fn *)(uintptr_t)malloc, FERRO_I64, FERRO_I64),
          "is not in the job's own library");
    fails(fe_join(good, good, pair, 7, FERRO_I64), ": fe_join: the key's type is none of");
    fails(fe_cogroup(good, good, both, FERRO_I64, 7), ": fe_cogroup: the value's type is none of");
    fails(fe_join_at(good, good, pair, FERRO_I64, FERRO_I64, 65537, FERRO_PLACE("pair")),
          ": fe_join: 65537 partitions; at most 65536");
    fails(fe_partitions(fe_join(good, good, pair, FERRO_I64, FERRO_I64), 65537), "65537 partitions");
    fails(fe_count_by_key(fe_join(text, good, pair, FERRO_I64, FERRO_I64)), ": fe_join: keys differ");
    return 0;
}

Test(join_api, bad_builders)
{
    struct local *l = local_new(&(struct local_config){ .parallelism = 2 });
    cr_assert_eq(local_main(l, bad, 0, NULL), 0);
    local_free(&l);
}

/* Which of the two was made a table; NULL: none. */
static const fe_set *side_of(const fe_set *join, const fe_set *left, const fe_set *right)
{
    cr_assert_null(join->error, "%s", join->error);
    cr_expect_eq(join->bytes,
                 left->bytes < UINT64_MAX - right->bytes ? left->bytes + right->bytes : UINT64_MAX);
    if (join->node.op == OP_PROBE) {
        cr_expect_eq(join->side, join->node.swapped ? left : right);
        cr_expect_eq(join->child[0], join->node.swapped ? right : left);
        cr_expect_null(join->child[1]);
        return join->side;
    }
    cr_expect(join->node.op == OP_JOIN && !join->side);
    cr_expect(join->child[0] == left && join->child[1] == right);
    return NULL;
}

static int choices(fe_app *app, int argc, char **argv)
{
    (void)argc, (void)argv;
    fe_set *small = keyed(app, 1000), *large = keyed(app, 1 << 28), *huge = keyed(app, INT64_MAX);
    fe_set *half = keyed(app, 1 << 24), *more = fe_union(half, small); /* 128 MiB, and a little more */
    cr_expect_eq(side_of(fe_join(small, large, pair, FERRO_I64, FERRO_I64), small, large), small);
    cr_expect_eq(side_of(fe_join(large, small, pair, FERRO_I64, FERRO_I64), large, small), small);
    cr_expect_eq(side_of(fe_join(large, half, pair, FERRO_I64, FERRO_I64), large, half), half);
    cr_expect_null(side_of(fe_join(large, more, pair, FERRO_I64, FERRO_I64), large, more));
    cr_expect_null(side_of(fe_join(huge, huge, pair, FERRO_I64, FERRO_I64), huge, huge));
    cr_expect_eq(side_of(fe_join(small, small, pair, FERRO_I64, FERRO_I64), small, small), small);
    for (int swapped = 0; swapped < 2; swapped++) {
        fe_set *left = swapped ? small : large, *right = swapped ? large : small;
        fe_set *join = fe_join(left, right, pair, FERRO_I64, FERRO_I64);
        cr_expect_null(side_of(fe_partitions(join, 8), left, right));
        cr_expect_eq(fe_partitions(join, 8)->parts, 8);
        cr_expect_eq(side_of(fe_partitions(join, 0), left, right), small);
        cr_expect_eq(side_of(join, left, right), small, "the join itself has changed");
    }
    cr_expect_eq(fe_partitions(fe_cogroup(large, small, both, FERRO_I64, FERRO_I64), 5)->parts, 5);
    return 0;
}

Test(join_api, the_small_side_becomes_a_table)
{
    struct local *l = local_new(&(struct local_config){ .parallelism = 2 });
    cr_assert_eq(local_main(l, choices, 0, NULL), 0, "%s", l->said.p);
    local_free(&l);
}
