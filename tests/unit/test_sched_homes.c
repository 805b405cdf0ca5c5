/* test_sched_homes.c - tasks that read a cached partition go to the executor that has it. */
#include "tests/unit/driven.h"

#include <criterion/criterion.h>
#include <string.h>

TestSuite(sched_homes, .timeout = 20);

#define PARTS 40u

static const struct stage_input source = { PARTS, STAGE_NO_SHUFFLE, STAGE_NO_SHUFFLE },
                                of_0_and_source[2] = { { 0, 0, 0 },
                                                       { 8, STAGE_NO_SHUFFLE, STAGE_NO_SHUFFLE } };
static struct stage_spec cached[2] = {
    { .kind = STAGE_ROWS,
      .body = { (const uint8_t *)"c", 1 },
      .ninputs = 1,
      .inputs = &source,
      .keep = 1,
      .name = "cache",
      .place = "kmeans.c:1" },
    { .kind = STAGE_RESULT,
      .body = { (const uint8_t *)"r", 1 },
      .ninputs = 1,
      .inputs = of_0_and_source,
      .name = "count",
      .place = "kmeans.c:2" },
};
static const struct job_spec job = { cached, 2, 0, NULL, { 0 } };

static uint32_t home[PARTS], at_home, elsewhere; /* where each partition lies; tasks that ran there, or not */

static enum deed note_place(struct driven *w, uint32_t fake, uint32_t stage, uint32_t part, uint32_t attempt)
{
    (void)w, (void)attempt;
    if (stage == 0)
        home[part] = fake;
    else if (part < PARTS)
        *(home[part] == fake ? &at_home : &elsewhere) += 1;
    return DO_WELL;
}

/* Half of the partitions on each of two executors, both idle. */
static struct driven *made_on_two(void)
{
    struct driven *w = driven_new(2);
    w->fakes[1].dead = false;
    w->deed = note_place;
    driven_call(w, SCHED_RUN, &job);
    cr_assert_eq(w->code, 0, "%s", w->words);
    cr_assert_eq(at_home, PARTS, "%u ran elsewhere", elsewhere);
    cr_assert_gt(w->fakes[0].tasks, 0);
    cr_assert_gt(w->fakes[1].tasks, 0);
    at_home = elsewhere = 0;
    w->ended = false;
    map_clear(&w->results);
    return w;
}

Test(sched_homes, every_task_runs_where_its_partition_lies)
{
    struct driven *w = made_on_two();
    for (int i = 0; i < 5; i++) {
        w->ended = false;
        map_clear(&w->results);
        driven_call(w, SCHED_RUN, &job);
        cr_assert(w->ended);
        cr_assert_eq(w->code, 0, "%s", w->words);
    }
    cr_assert_eq(at_home, 5 * PARTS);
    cr_assert_eq(elsewhere, 0);
    driven_free(w);
}

Test(sched_homes, what_has_none_goes_anywhere)
{
    struct driven *w = made_on_two();
    cached[1].ninputs = 2;
    driven_call(w, SCHED_RUN, &job);
    cached[1].ninputs = 1;
    cr_assert(w->ended);
    cr_assert_eq(w->results.n, PARTS + 8);
    cr_assert_eq(at_home, PARTS);
    driven_free(w);
}

Test(sched_homes, leases_that_come_back_find_what_is_theirs)
{
    struct driven *w = made_on_two();
    driven_pass(w, 3000);
    cr_assert_eq(w->returned, 2);
    driven_call(w, SCHED_RUN, &job);
    driven_grant(w, 1, 21, 2);
    driven_settle(w);
    driven_pass(w, 20); /* the other's comes a moment later */
    driven_grant(w, 0, 20, 2);
    driven_settle(w);
    cr_assert(w->ended);
    cr_assert_eq(elsewhere, 0);
    driven_free(w);
}

Test(sched_homes, others_have_them_when_nobody_comes)
{
    struct driven *w = made_on_two();
    driven_pass(w, 3000);
    driven_call(w, SCHED_RUN, &job);
    driven_grant(w, 1, 21, 2);
    driven_settle(w);
    cr_assert_not(w->ended);
    driven_pass(w, 500);
    cr_assert(w->ended);
    cr_assert_eq(w->code, 0, "%s", w->words);
    cr_assert_gt(elsewhere, 0);
    cr_assert_eq(at_home + elsewhere, PARTS);
    driven_free(w);
}

static enum deed hold_on_0(struct driven *w, uint32_t fake, uint32_t stage, uint32_t part, uint32_t attempt)
{
    return fake == 0 ? DO_HOLD : note_place(w, fake, stage, part, attempt);
}

/* All lies on one executor; then another joins. */
Test(sched_homes, others_have_what_a_busy_one_will_not_begin_soon)
{
    struct driven *w = driven_new(2);
    w->deed = note_place;
    driven_call(w, SCHED_RUN, &job);
    w->fakes[1].dead = false;
    driven_grant(w, 1, 9, 2);
    driven_settle(w);
    w->ended = false;
    w->deed = hold_on_0;
    driven_call(w, SCHED_RUN, &job);
    uint32_t held = (uint32_t)(w->fakes[0].held.n / sizeof(struct rec_run));
    cr_assert_eq(elsewhere, 0);
    cr_assert_gt(held, 0);
    driven_pass(w, 50);
    cr_assert_eq(elsewhere, PARTS - held);
    w->deed = NULL;
    driven_release(w, 0);
    driven_settle(w);
    cr_assert(w->ended);
    driven_free(w);
}

Test(sched_homes, what_is_made_again_has_a_new_home)
{
    struct driven *w = made_on_two();
    driven_lose(w, 1);
    driven_pass(w, 100);
    driven_call(w, SCHED_RUN, &job);
    driven_pass(w, 5000);
    cr_assert(w->ended);
    cr_assert_eq(w->code, 0, "%s", w->words);
    cr_assert_eq(at_home, PARTS);
    cr_assert_eq(elsewhere, 0);
    driven_free(w);
}
