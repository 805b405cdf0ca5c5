/* test_sched_edges.c - stages that read more than one: both sides of a join, and tables. */
#include "tests/unit/driven.h"

#include <criterion/criterion.h>
#include <string.h>

TestSuite(sched_edges, .timeout = 20);

#define MAP(parts_in) \
    { \
        .kind = STAGE_HASH, .body = { (const uint8_t *)"m", 1 }, .buckets = 4, .ninputs = 1, \
        .inputs = (parts_in), .name = "map", .place = "join.c:1" \
    }

static const struct stage_input four = { 4, STAGE_NO_SHUFFLE, STAGE_NO_SHUFFLE }, of_both = { 0, 0, 1 },
                                two_of_both = { 2, 0, 1 }, of_0 = { 0, 0, 0 };

static struct stage_spec join[3] = {
    MAP(&four),
    MAP(&four),
    { .kind = STAGE_RESULT,
      .body = { (const uint8_t *)"r", 1 },
      .ninputs = 1,
      .inputs = &of_both,
      .name = "join",
      .place = "join.c:9" },
};
static const struct job_spec joins = { join, 3, 0, NULL, { 0 } };

static uint32_t maps_of(const struct driven *w, uint32_t stage)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < w->fakes[0].stage.maps.n; i++)
        n += w->fakes[0].stage.maps.v[i].stage == stage;
    return n;
}

Test(sched_edges, both_sides_of_a_join_are_cut_alike)
{
    struct driven *w = driven_new(2);
    driven_call(w, SCHED_RUN, &joins);
    cr_assert(w->ended);
    cr_assert_eq(w->code, 0, "%s", w->words);
    const struct msg_stage *m = &w->fakes[0].stage;
    cr_assert_eq(m->inputs.v[0].shuffle, 0);
    cr_assert_eq(m->inputs.v[0].other, 1);
    cr_assert_eq(maps_of(w, 0), 4);
    cr_assert_eq(maps_of(w, 1), 4);
    cr_assert_eq(w->results.n, m->inputs.v[0].ntasks);
    uint32_t both = (uint32_t)w->results.n;
    driven_free(w);

    w = driven_new(2); /* of one side alone there are fewer: the sizes of both count */
    join[2].inputs = &of_0;
    driven_call(w, SCHED_RUN, &joins);
    cr_assert_leq(w->results.n, both);
    driven_free(w);

    w = driven_new(2);
    join[2].inputs = &two_of_both;
    driven_call(w, SCHED_RUN, &joins);
    join[2].inputs = &of_both;
    cr_assert_eq(w->results.n, 2);
    driven_free(w);
}

static enum deed hold_right(struct driven *w, uint32_t fake, uint32_t stage, uint32_t part, uint32_t attempt)
{
    (void)w, (void)fake, (void)part, (void)attempt;
    return stage == 1 ? DO_HOLD : DO_WELL;
}

Test(sched_edges, a_join_waits_for_both_sides)
{
    struct driven *w = driven_new(4);
    w->deed = hold_right;
    driven_call(w, SCHED_RUN, &joins);
    cr_assert_not(w->ended);
    cr_assert_eq(driven_seen(w, "stage.begun"), 2);
    w->deed = NULL;
    driven_release(w, 0);
    driven_settle(w);
    cr_assert(w->ended);
    driven_free(w);
}

/* Once: a map of the right side can't be had. */
static enum deed lose_right(struct driven *w, uint32_t fake, uint32_t stage, uint32_t part, uint32_t attempt)
{
    (void)part, (void)attempt;
    struct msg_stage *m = &w->fakes[fake].stage;
    static uint32_t lost;
    if (stage != 2 || lost++)
        return DO_WELL;
    struct rec_map *first =
        (struct rec_map *)m->maps.v; /* driven_begin names the first of this part: the right's */
    for (uint32_t i = 0; i < m->maps.n; i++)
        if (first[i].stage == 0)
            first[i].part += 100;
    w->lose_part = 3;
    return DO_FETCH;
}

Test(sched_edges, what_is_lost_of_the_right_side_is_made_again)
{
    struct driven *w = driven_new(2);
    w->deed = lose_right;
    driven_call(w, SCHED_RUN, &joins);
    driven_pass(w, 5000);
    cr_assert(w->ended);
    cr_assert_eq(w->code, 0, "%s", w->words);
    cr_assert_eq(driven_seen(w, "maps.lost"), 1);
    cr_assert_eq(driven_counted(&w->committed, 1ull << 32 | 3), 2);
    cr_assert_eq(driven_counted(&w->committed, 3), 1, "the left side's is as it was");
    driven_free(w);
}

/* ---- sides ------------------------------------------------------------------------------------ */

static const uint32_t side_1[] = { 1 };
static const struct stage_spec probe[3] = {
    MAP(&four),
    { .kind = STAGE_TABLE,
      .body = { (const uint8_t *)"c", 1 },
      .ninputs = 1,
      .inputs = &of_0,
      .name = "table",
      .place = "join.c:9" },
    { .kind = STAGE_RESULT,
      .body = { (const uint8_t *)"r", 1 },
      .ninputs = 1,
      .inputs = &four,
      .nsides = 1,
      .sides = side_1,
      .name = "probe",
      .place = "join.c:9" },
};
static const struct job_spec probes = { probe, 3, 0, NULL, { 0 } };

static enum deed hold_tables(struct driven *w, uint32_t fake, uint32_t stage, uint32_t part, uint32_t attempt)
{
    (void)w, (void)fake, (void)part, (void)attempt;
    return stage == 1 ? DO_HOLD : DO_WELL;
}

Test(sched_edges, a_stage_waits_for_its_sides_and_is_told_of_them)
{
    struct driven *w = driven_new(4);
    w->deed = hold_tables;
    driven_call(w, SCHED_RUN, &probes);
    cr_assert_eq(driven_seen(w, "stage.begun"), 2);
    w->deed = NULL;
    driven_release(w, 0);
    driven_settle(w);
    cr_assert(w->ended);
    const struct msg_stage *m = &w->fakes[0].stage;
    cr_assert_eq(m->sides.n, 1);
    cr_assert_eq(m->sides.v[0].n, 1);
    cr_assert_eq(m->inputs.v[0].shuffle, UINT32_MAX);
    cr_assert_eq(m->inputs.v[0].other, UINT32_MAX);
    cr_assert_eq(maps_of(w, 0), 0);
    cr_assert_gt(maps_of(w, 1), 0);
    driven_free(w);
}

/* 30 KiB a bucket and map are little for a reduce task, but much for a table in a slot of 1 MiB. */
Test(sched_edges, tables_are_as_small_as_the_slots_memory_asks)
{
    struct driven *w = driven_new(2);
    w->size_code = 60;
    join[2].inputs = &of_0;
    driven_call(w, SCHED_RUN, &joins);
    join[2].inputs = &of_both;
    cr_assert_eq(w->results.n, 1);
    driven_free(w);

    w = driven_new(2);
    w->size_code = 60;
    driven_call(w, SCHED_RUN, &probes);
    cr_assert(w->ended);
    cr_assert_eq(maps_of(w, 1), 4, "a table a bucket");
    driven_free(w);
}

static enum deed hold_probes(struct driven *w, uint32_t fake, uint32_t stage, uint32_t part, uint32_t attempt)
{
    (void)w, (void)fake, (void)part, (void)attempt;
    return stage == 2 ? DO_HOLD : DO_WELL;
}

Test(sched_edges, tables_lost_with_their_executor_are_made_again)
{
    struct driven *w = driven_new(4);
    w->deed = hold_probes;
    driven_call(w, SCHED_RUN, &probes);
    cr_assert_not(w->ended);
    w->fakes[1].dead = false;
    driven_grant(w, 1, 9, 4);
    driven_settle(w);
    w->deed = NULL;
    driven_lose(w, 0);
    driven_pass(w, 5000);
    cr_assert(w->ended);
    cr_assert_eq(w->code, 0, "%s", w->words);
    cr_assert_eq(driven_seen(w, "maps.lost"), 2, "the table, and the shuffle that it is made of");
    driven_free(w);
}
