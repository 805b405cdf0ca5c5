/* test_planner.c - where lineages are cut into stages. */
#include "driver/api/set.h"
#include "tests/unit/local_runner.h"

#include <criterion/criterion.h>
#include <stdlib.h>

TestSuite(planner, .timeout = 60);

static struct arena kept;
static struct job_spec job;
static struct plan plans[8];

static void words(fe_task *t, fe_slice key, fe_slice value)
{
    (void)t, (void)key, (void)value;
}

static bool keep(fe_task *t, fe_slice key, fe_slice value)
{
    (void)t, (void)key, (void)value;
    return true;
}

static void cut(fe_set *last, enum op_code op, enum stage_kind kind)
{
    struct error e;
    struct plan_node sink = { .op = op, .fn_name = "test", .file = "test.c", .line = 7 };
    cr_assert_null(last->error, "%s", last->error);
    cr_assert_eq(planner_cut(&kept, last, sink, kind, &job, &e), 0, "%s", e.words);
    for (uint32_t i = 0; i < job.nstages && i < 8; i++)
        cr_assert_eq(plan_decode(&kept, job.stages[i].body, &plans[i], &e), 0, "%s", e.words);
}

static void ops_are(uint32_t stage, const char *expected)
{
    struct buf b = { 0 };
    for (uint32_t i = 0; i < plans[stage].n; i++)
        buf_printf(&b, "%s%s", i ? " " : "", op_name(plans[stage].nodes[i].op));
    cr_assert_str_eq((char *)b.p, expected);
    buf_fini(&b);
}

static int narrow(fe_app *app, int argc, char **argv)
{
    (void)argc, (void)argv;
    cut(fe_filter(fe_flat_map(fe_range(app, 0, 10, 5), words, FERRO_TEXT, FERRO_I64), keep), OP_COUNT,
        STAGE_RESULT);
    cr_assert_eq(job.nstages, 1);
    ops_are(0, "range flat_map filter count");
    cr_assert_str_eq(job.stages[0].name, "words keep");
    cr_assert(!strncmp(job.stages[0].place, "tests/unit/test_planner.c:", 26),
              "the first named function's: %s", job.stages[0].place);
    cr_assert_eq(job.stages[0].ninputs, 1);
    cr_assert_eq(job.stages[0].inputs[0].ntasks, 5);
    cr_assert_eq(job.stages[0].inputs[0].shuffle, STAGE_NO_SHUFFLE);
    cr_assert_eq(plans[0].nodes[3].key, FERRO_TEXT);
    return 0;
}

static int shuffles(fe_app *app, int argc, char **argv)
{
    (void)argc, (void)argv;
    fe_set *pairs = fe_flat_map(fe_range(app, 0, 10, 5), words, FERRO_TEXT, FERRO_F64);
    fe_set *counts = fe_partitions(fe_count_by_key(pairs), 12);
    cut(fe_sort_by_value(counts, FERRO_DESCENDING), OP_SAVE_TEXT, STAGE_SAVE);
    cr_assert_eq(job.nstages, 3);
    ops_are(0, "range flat_map shuffle");
    ops_are(1, "reduce_by_key sort");
    ops_are(2, "sort save_text");
    cr_assert_eq(job.stages[0].kind, STAGE_HASH);
    cr_assert_eq(job.stages[0].buckets, 12);
    cr_assert_eq(job.stages[1].kind, STAGE_RANGE);
    cr_assert_eq(job.stages[2].kind, STAGE_SAVE);
    cr_assert_eq(job.stages[1].inputs[0].shuffle, 0);
    cr_assert_eq(job.stages[1].inputs[0].ntasks, 12);
    cr_assert_eq(job.stages[2].inputs[0].shuffle, 1);
    cr_assert_eq(job.stages[2].inputs[0].ntasks, 0);
    cr_assert_str_eq(job.stages[0].name, "words");
    cr_assert_str_eq(job.stages[1].name, "count_by_key");
    /* Counted in the map task, then summed. */
    cr_assert_eq(plans[0].nodes[2].kernel, FERRO_COUNT);
    cr_assert_eq(plans[0].nodes[2].value, FERRO_F64);
    cr_assert_eq(plans[1].nodes[0].kernel, FERRO_SUM);
    cr_assert_eq(plans[1].nodes[0].in_value, FERRO_I64);
    cr_assert_eq(plans[1].nodes[1].by_value, 1);
    cr_assert_eq(plans[2].nodes[0].order, FERRO_DESCENDING);
    return 0;
}

static int shared(fe_app *app, int argc, char **argv)
{
    (void)argc, (void)argv;
    fe_set *pairs = fe_flat_map(fe_range(app, 0, 10, 5), words, FERRO_TEXT, FERRO_I64);
    fe_set *sums = fe_sum_by_key(pairs);
    cut(fe_union(fe_filter(sums, keep), fe_union(sums, pairs)), OP_COLLECT, STAGE_RESULT);
    cr_assert_eq(job.nstages, 2); /* the shuffle is written once, read twice */
    ops_are(1, "reduce_by_key filter reduce_by_key range flat_map union union collect");
    cr_assert_eq(job.stages[1].ninputs, 3);
    cr_assert_eq(job.stages[1].inputs[0].shuffle, 0);
    cr_assert_eq(job.stages[1].inputs[1].shuffle, 0);
    cr_assert_eq(job.stages[1].inputs[2].shuffle, STAGE_NO_SHUFFLE);
    return 0;
}

static fe_set *over(fe_set *left, enum op_code op)
{
    fe_set *s = set_new(left->app, op, "join", FERRO_PLACE("pair"), FERRO_I64, FERRO_TEXT);
    s->child[0] = left;
    s->node.fn = 1;
    return s;
}

static int joins(fe_app *app, int argc, char **argv)
{
    (void)argc, (void)argv;
    fe_set *left = fe_map(fe_range(app, 0, 10, 5), words, FERRO_I64, FERRO_F64);
    fe_set *join = over(left, OP_JOIN);
    join->child[1] = fe_sum_by_key(left);
    join->parts = 7;
    cut(fe_union(join, join), OP_COUNT, STAGE_RESULT);
    cr_assert_eq(job.nstages, 4);
    ops_are(0, "range map shuffle");
    ops_are(1, "range map shuffle"); /* of sum_by_key */
    ops_are(2, "reduce_by_key shuffle");
    ops_are(3, "join join union count");
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(job.stages[2 * i].kind, STAGE_HASH);
        cr_assert_eq(job.stages[2 * i].buckets, 7);
        cr_assert_eq(plans[2 * i].nodes[plans[2 * i].n - 1].fn, 0);
        cr_assert_eq(job.stages[3].inputs[i].ntasks, 7);
        cr_assert_eq(job.stages[3].inputs[i].shuffle, 0);
        cr_assert_eq(job.stages[3].inputs[i].other, 2);
    }
    cr_assert_str_eq(job.stages[3].name, "pair pair");
    return 0;
}

static int tables(fe_app *app, int argc, char **argv)
{
    (void)argc, (void)argv;
    fe_set *left = fe_map(fe_range(app, 0, 10, 5), words, FERRO_I64, FERRO_F64);
    fe_set *first = over(left, OP_PROBE), *second = over(first, OP_PROBE);
    first->side = left;
    second->side = fe_filter(left, keep);
    cut(second, OP_COUNT, STAGE_RESULT);
    cr_assert_eq(job.nstages, 5);
    ops_are(0, "range map shuffle");
    ops_are(1, "shuffle table");
    ops_are(2, "range map filter shuffle");
    ops_are(3, "shuffle table");
    ops_are(4, "range map join join count");
    cr_assert_eq(job.stages[1].kind, STAGE_TABLE);
    cr_assert_eq(job.stages[1].inputs[0].shuffle, 0);
    cr_assert_eq(plans[1].nodes[1].value, FERRO_F64);
    cr_assert_eq(job.stages[4].ninputs, 1);
    cr_assert_eq(job.stages[4].nsides, 2);
    cr_assert_eq(job.stages[4].sides[0], 1);
    cr_assert_eq(job.stages[4].sides[1], 3);
    cr_assert_eq(plans[4].nodes[2].side, 0);
    cr_assert_eq(plans[4].nodes[3].side, 1);
    return 0;
}

static int cached(fe_app *app, int argc, char **argv)
{
    (void)argc, (void)argv;
    fe_set *lines = fe_map(fe_range(app, 0, 10, 5), words, FERRO_I64, FERRO_F64);
    fe_set *rows = over(lines, OP_READ_ROWS), copy;
    rows->node.fn = 0;
    rows->keep = 3;
    copy = *rows;
    cut(fe_union(fe_filter(rows, keep), &copy), OP_COUNT, STAGE_RESULT);
    cr_assert_eq(job.nstages, 2); /* what is cached is made once */
    ops_are(0, "range map cache");
    ops_are(1, "cache filter cache union count");
    cr_assert_eq(job.stages[0].kind, STAGE_ROWS);
    cr_assert_eq(job.stages[0].keep, 3);
    cr_assert_eq(job.stages[1].keep, 0);
    cr_assert_eq(job.stages[1].inputs[1].shuffle, 0);
    cr_assert_eq(job.stages[1].inputs[1].ntasks, 0);
    return 0;
}

static int too_deep(fe_app *app, int argc, char **argv)
{
    (void)argc, (void)argv;
    struct error e;
    struct plan_node sink = { .op = OP_COUNT, .fn_name = "test", .file = "test.c", .line = 7 };
    fe_set *s = fe_range(app, 0, 1, 1), *wide = s, *shuffled = fe_map(s, words, FERRO_I64, FERRO_I64);
    for (int i = 0; i < 100000; i++)
        s = fe_filter(s, keep);
    cr_assert_eq(planner_cut(&kept, s, sink, STAGE_RESULT, &job, &e), -1);
    cr_assert(strstr(e.words, "over 4096 builders on one another"), "%s", e.words);
    for (int i = 0; i < 40; i++)
        wide = fe_union(wide, wide);
    cr_assert_eq(planner_cut(&kept, wide, sink, STAGE_RESULT, &job, &e), -1);
    cr_assert(strstr(e.words, "the plan of one stage has over 4096 operators"), "%s", e.words);
    for (int i = 0; i < JOB_STAGES_MAX; i++)
        shuffled = fe_sum_by_key(shuffled);
    cr_assert_eq(planner_cut(&kept, shuffled, sink, STAGE_RESULT, &job, &e), -1);
    cr_assert(strstr(e.words, "the job has over 1024 stages"), "%s", e.words);
    return 0;
}

static void run(int (*main)(fe_app *, int, char **))
{
    struct local *l = local_new(&(struct local_config){ .parallelism = 2 });
    cr_assert_eq(local_main(l, main, 0, NULL), 0);
    local_free(&l);
    arena_fini(&kept);
    kept = (struct arena){ 0 };
}

Test(planner, narrow_operators_are_one_stage)
{
    run(narrow);
}

Test(planner, shuffles_cut)
{
    run(shuffles);
}

Test(planner, a_shuffle_is_written_once)
{
    run(shared);
}

Test(planner, a_join_has_a_shuffle_a_side)
{
    run(joins);
}

Test(planner, tables_are_made_beside_the_stage_that_probes_them)
{
    run(tables);
}

Test(planner, what_is_cached_is_a_stage_of_its_own)
{
    run(cached);
}

Test(planner, limits)
{
    run(too_deep);
}
