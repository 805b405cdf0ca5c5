/* test_sched_keep.c - cached datasets in the scheduler: kept over jobs, made again where lost, forgotten. */
#include "tests/unit/driven.h"

#include <criterion/criterion.h>
#include <string.h>

TestSuite(sched_keep, .timeout = 20);

#define PARTS 40u
#define KEEP 3u

static const struct stage_input source = { PARTS, STAGE_NO_SHUFFLE, STAGE_NO_SHUFFLE }, of_0 = { 0, 0, 0 },
                                of_1 = { 0, 1, 1 };

#define ROWS(in, number) \
    { \
        .kind = STAGE_ROWS, .body = { (const uint8_t *)"c", 1 }, .ninputs = 1, .inputs = (in), \
        .keep = (number), .name = "cache", .place = "kmeans.c:1" \
    }
#define RESULT(in) \
    { \
        .kind = STAGE_RESULT, .body = { (const uint8_t *)"r", 1 }, .ninputs = 1, .inputs = (in), \
        .name = "count", .place = "kmeans.c:2" \
    }
#define MAP(in) \
    { \
        .kind = STAGE_HASH, .body = { (const uint8_t *)"m", 1 }, .buckets = 4, .ninputs = 1, .inputs = (in), \
        .name = "map", .place = "kmeans.c:3" \
    }

static const struct stage_spec cached[2] = { ROWS(&source, KEEP), RESULT(&of_0) };
static const struct stage_spec of_shuffle[3] = { MAP(&source), ROWS(&of_0, KEEP), RESULT(&of_1) };
static const struct job_spec job = { cached, 2, 0, NULL, { 0 } }, deep = { of_shuffle, 3, 0, NULL, { 0 } };

static void again(struct driven *w, const struct job_spec *spec)
{
    w->ended = false;
    map_clear(&w->results);
    map_clear(&w->committed);
    driven_call(w, SCHED_RUN, spec);
}

static void ended_well(const struct driven *w, uint32_t results)
{
    cr_assert(w->ended);
    cr_assert_eq(w->code, 0, "%s", w->words);
    cr_assert_eq(w->results.n, results);
}

Test(sched_keep, the_second_job_runs_its_own_stage_alone)
{
    struct driven *w = driven_new(2);
    driven_call(w, SCHED_RUN, &job);
    ended_well(w, PARTS);
    cr_assert_eq(w->fakes[0].tasks, 2 * PARTS);
    cr_assert_eq(w->fakes[0].frees, 1, "what is cached stays");
    again(w, &job);
    ended_well(w, PARTS);
    cr_assert_eq(w->fakes[0].tasks, 3 * PARTS);
    cr_assert_eq(w->fakes[0].stage.maps.n, PARTS);
    cr_assert_eq(w->fakes[0].stage.maps.v[0].stage, 0);
    cr_assert_eq(w->fakes[0].frees, 2);
    driven_free(w);
}

Test(sched_keep, a_job_counts_the_stages_that_it_begins)
{
    struct driven *w = driven_new(2);
    struct sched_progress p;
    driven_call(w, SCHED_RUN, &deep);
    sched_progress(w->s, &p);
    cr_assert_eq(p.stages, 3);
    again(w, &deep);
    sched_progress(w->s, &p);
    cr_assert_eq(p.stages, 1, "not those that an earlier job left whole");
    driven_free(w);
}

Test(sched_keep, what_it_was_made_of_runs_no_more)
{
    struct driven *w = driven_new(2);
    driven_call(w, SCHED_RUN, &deep);
    uint32_t tasks = w->fakes[0].tasks, rows = tasks - PARTS - (uint32_t)w->results.n;
    again(w, &deep);
    ended_well(w, rows);
    cr_assert_eq(w->fakes[0].tasks, tasks + rows);
    driven_free(w);
}

Test(sched_keep, outlives_its_leases)
{
    struct driven *w = driven_new(2);
    driven_call(w, SCHED_RUN, &job);
    driven_pass(w, 5000);
    cr_assert_eq(w->returned, 1);
    driven_grant(w, 0, 8, 2);
    again(w, &job);
    ended_well(w, PARTS);
    cr_assert_eq(w->fakes[0].tasks, 3 * PARTS);
    driven_free(w);
}

static uint32_t outputs_on(const struct driven *w, uint32_t stage)
{
    uint32_t n = 0;
    for (uint32_t p = 0; p < PARTS; p++)
        n += driven_counted(&w->committed, (uint64_t)stage << 32 | p) > 0;
    return n;
}

/* Two executors have it; one is lost between the jobs. */
Test(sched_keep, what_is_lost_between_jobs_is_made_again)
{
    struct driven *w = driven_new(1);
    w->fakes[1].dead = false;
    driven_call(w, SCHED_RUN, &job);
    ended_well(w, PARTS);
    uint32_t lost = w->fakes[1].tasks;
    cr_assert_gt(lost, 0);
    driven_lose(w, 1);
    driven_pass(w, 100);
    again(w, &job);
    driven_pass(w, 5000);
    ended_well(w, PARTS);
    uint32_t made = outputs_on(w, 0);
    cr_assert_gt(made, 0);
    cr_assert_lt(made, PARTS, "only what was lost");
    driven_free(w);
}

Test(sched_keep, what_it_was_made_of_runs_where_it_is_lost)
{
    struct driven *w = driven_new(2);
    driven_call(w, SCHED_RUN, &deep);
    uint32_t rows = (uint32_t)w->results.n;
    driven_lose(w, 0);
    driven_pass(w, 100);
    w->fakes[1].dead = false;
    again(w, &deep);
    driven_pass(w, 5000);
    ended_well(w, rows);
    cr_assert_eq(w->fakes[1].tasks, PARTS + 2 * rows);
    driven_free(w);
}

static enum deed hold_counts(struct driven *w, uint32_t fake, uint32_t stage, uint32_t part, uint32_t attempt)
{
    (void)w, (void)fake, (void)part, (void)attempt;
    return stage % 2 ? DO_HOLD : DO_WELL;
}

Test(sched_keep, what_is_lost_in_mid_job_is_made_again)
{
    struct driven *w = driven_new(2);
    driven_call(w, SCHED_RUN, &job);
    w->deed = hold_counts;
    again(w, &job); /* its own stages are 2 and 3 */
    cr_assert_not(w->ended);
    w->fakes[1].dead = false;
    driven_grant(w, 1, 9, 2);
    driven_settle(w);
    w->deed = NULL;
    driven_lose(w, 0);
    driven_release(w, 1);
    driven_pass(w, 5000);
    ended_well(w, PARTS);
    cr_assert_eq(outputs_on(w, 0), PARTS);
    driven_free(w);
}

static enum deed fail_3(struct driven *w, uint32_t fake, uint32_t stage, uint32_t part, uint32_t attempt)
{
    (void)w, (void)fake, (void)stage, (void)attempt;
    return part == 3 ? DO_FAIL : DO_WELL;
}

Test(sched_keep, a_job_that_fails_leaves_what_it_made)
{
    struct driven *w = driven_new(2);
    w->deed = fail_3;
    driven_call(w, SCHED_RUN, &job);
    driven_pass(w, 20000);
    cr_assert(w->ended);
    cr_assert_eq(w->code, -1);
    uint32_t made = outputs_on(w, 0);
    cr_assert_gt(made, 0);
    w->deed = NULL;
    driven_grant(w, 0, 8, 2); /* the lease lay idle meanwhile */
    again(w, &job);
    ended_well(w, PARTS);
    cr_assert_eq(outputs_on(w, 0), PARTS - made);
    driven_free(w);
}

Test(sched_keep, is_forgotten_when_told)
{
    struct driven *w = driven_new(2);
    uint64_t keep = KEEP;
    driven_call(w, SCHED_RUN, &job);
    cr_assert_eq(w->fakes[0].frees, 1);
    driven_call(w, SCHED_FORGET, &keep);
    cr_assert_eq(w->fakes[0].frees, 2);
    again(w, &job);
    ended_well(w, PARTS);
    cr_assert_eq(w->fakes[0].tasks, 4 * PARTS, "made anew");
    cr_assert_eq(w->fakes[0].stage.maps.v[0].stage, 2, "as another stage");
    driven_free(w);
}

Test(sched_keep, is_forgotten_at_the_end_of_the_job_that_reads_it)
{
    struct driven *w = driven_new(2);
    uint64_t keep = KEEP;
    w->deed = hold_counts;
    driven_call(w, SCHED_RUN, &job);
    driven_call(w, SCHED_FORGET, &keep);
    cr_assert_eq(w->fakes[0].frees, 0);
    w->deed = NULL;
    driven_release(w, 0);
    driven_settle(w);
    ended_well(w, PARTS);
    cr_assert_eq(w->fakes[0].frees, 2);
    driven_free(w);
}

Test(sched_keep, too_many_are_refused_in_words)
{
    struct driven *w = driven_new(2);
    static const struct stage_input one = { 1, STAGE_NO_SHUFFLE, STAGE_NO_SHUFFLE };
    struct stage_spec specs[2] = { ROWS(&one, 0), RESULT(&of_0) };
    const struct job_spec many = { specs, 2, 0, NULL, { 0 } };
    for (uint64_t keep = 1; keep <= 1025; keep++) {
        specs[0].keep = keep;
        again(w, &many);
        cr_assert(w->ended);
        cr_assert_eq(w->code, keep <= 1024 ? 0 : -1, "%s", w->words);
    }
    cr_assert(strstr(w->words, "over 1024 datasets are cached; fe_uncache"), "%s", w->words);
    driven_free(w);
}
