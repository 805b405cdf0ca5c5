/* test_sched_faults.c - the scheduler by its own frames: failures, losses, and peers that lie. */
#include "tests/unit/driven.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

TestSuite(sched_faults, .timeout = 20);

static enum deed fail_17_twice(struct driven *w, uint32_t fake, uint32_t stage, uint32_t part,
                               uint32_t attempt)
{
    (void)w, (void)fake, (void)stage;
    return part == 17 && attempt <= 2 ? DO_FAIL : DO_WELL;
}

static enum deed fail_17(struct driven *w, uint32_t fake, uint32_t stage, uint32_t part, uint32_t attempt)
{
    (void)w, (void)fake, (void)stage, (void)attempt;
    return part == 17 ? DO_FAIL : DO_WELL;
}

Test(sched_faults, a_failure_is_tried_again)
{
    struct driven *w = driven_new(2);
    w->deed = fail_17_twice;
    driven_call(w, SCHED_RUN, &driven_one_stage);
    driven_pass(w, 10000);
    cr_assert(w->ended);
    cr_assert_eq(w->code, 0, "%s", w->words);
    cr_assert_eq(driven_seen(w, "task.failed"), 2);
    cr_assert_eq(w->fakes[0].tasks, 42);
    driven_free(w);
}

Test(sched_faults, the_fourth_failure_ends_the_job_with_the_story_of_all)
{
    struct driven *w = driven_new(2);
    w->deed = fail_17;
    driven_call(w, SCHED_RUN, &driven_one_stage);
    driven_pass(w, 20000);
    cr_assert(w->ended);
    cr_assert_eq(w->code, -1);
    cr_assert_eq(driven_seen(w, "task.failed"), 4);
    cr_assert_not_null(strstr(w->words, "stage 0, parse_line (crash.c:9), partition 17/40, 4 attempts\n"),
                       "%s", w->words);
    cr_assert_not_null(strstr(w->words, "attempt 1 on h/0101: crash, SIGSEGV, 12 ms, peak 34 MiB"), "%s",
                       w->words);
    cr_assert_not_null(strstr(w->words, "attempt 4 on"), "%s", w->words);
    cr_assert_lt(strstr(w->words, "attempt 1 on"), strstr(w->words, "attempt 4 on"));
    cr_assert_not_null(strstr(w->words, "    first line\n    last line\n"), "%s", w->words);
    driven_free(w);
}

static uint32_t failed_on;
static enum deed fail_17_once(struct driven *w, uint32_t fake, uint32_t stage, uint32_t part,
                              uint32_t attempt)
{
    (void)w, (void)stage;
    if (part != 17)
        return DO_WELL;
    if (attempt > 1) {
        cr_assert_neq(fake, failed_on, "again where it failed");
        return DO_WELL;
    }
    failed_on = fake;
    return DO_FAIL;
}

Test(sched_faults, a_retry_goes_to_another_executor_first)
{
    struct driven *w = driven_new(1);
    w->fakes[1].dead = false;
    w->deed = fail_17_once;
    driven_call(w, SCHED_RUN, &driven_one_stage);
    driven_pass(w, 100);
    cr_assert(w->ended);
    cr_assert_eq(w->code, 0, "%s", w->words);
    driven_free(w);
}

static enum deed fail_on_0(struct driven *w, uint32_t fake, uint32_t stage, uint32_t part, uint32_t attempt)
{
    (void)stage, (void)part, (void)attempt;
    w->fakes[1].dead = false; /* from now on it can be had */
    return fake == 0 ? DO_FAIL : DO_WELL;
}

Test(sched_faults, a_retry_asks_for_another_executor_and_waits_for_it)
{
    struct driven *w = driven_new(1);
    driven_many = (struct stage_input){ 1, STAGE_NO_SHUFFLE, STAGE_NO_SHUFFLE };
    w->deed = fail_on_0;
    driven_call(w, SCHED_RUN, &driven_plain);
    driven_pass(w, 100);
    cr_assert(w->ended);
    cr_assert_eq(w->code, 0, "%s", w->words);
    cr_assert_eq(w->fakes[0].tasks, 1);
    cr_assert_eq(w->fakes[1].tasks, 1);
    driven_free(w);
}

static enum deed fail_all(struct driven *w, uint32_t fake, uint32_t stage, uint32_t part, uint32_t attempt)
{
    (void)w, (void)fake, (void)stage, (void)part, (void)attempt;
    return DO_FAIL;
}

Test(sched_faults, a_retry_does_not_wait_when_no_other_executor_can_be_had)
{
    struct driven *w = driven_new(1);
    w->waits = "1 more slot; all in use";
    driven_many = (struct stage_input){ 1, STAGE_NO_SHUFFLE, STAGE_NO_SHUFFLE };
    w->deed = fail_all;
    driven_call(w, SCHED_RUN, &driven_plain);
    driven_pass(w, 100);
    cr_assert(w->ended);
    cr_assert_eq(w->fakes[0].tasks, 4);
    driven_free(w);
}

static enum deed no_host_on_0(struct driven *w, uint32_t fake, uint32_t stage, uint32_t part,
                              uint32_t attempt)
{
    (void)w, (void)stage, (void)part, (void)attempt;
    return fake == 0 ? DO_HOST : DO_WELL;
}

Test(sched_faults, an_executor_that_cannot_begin_tasks_is_not_held_against_them)
{
    struct driven *w = driven_new(2);
    w->fakes[1].dead = false;
    w->deed = no_host_on_0;
    driven_call(w, SCHED_RUN, &driven_one_stage);
    driven_pass(w, 10000);
    cr_assert(w->ended);
    cr_assert_eq(w->code, 0, "%s", w->words);
    cr_assert_eq(driven_seen(w, "task.failed"), 0);
    cr_assert_gt(driven_seen(w, "task.unstarted"), 0);
    driven_free(w);
}

Test(sched_faults, what_no_executor_can_begin_fails_with_their_words)
{
    struct driven *w = driven_new(1);
    w->waits = "1 more slot; all in use";
    driven_many = (struct stage_input){ 1, STAGE_NO_SHUFFLE, STAGE_NO_SHUFFLE };
    w->deed = no_host_on_0;
    driven_call(w, SCHED_RUN, &driven_plain);
    driven_pass(w, 5000);
    cr_assert(w->ended);
    cr_assert_eq(w->code, -1);
    cr_assert_not_null(strstr(w->words, "4 attempts"), "%s", w->words);
    cr_assert_not_null(strstr(w->words, "host, 12 ms: no such symbol\n"), "%s", w->words);
    cr_assert_not_null(strstr(w->words, "host, 12 ms: the same\n"), "%s", w->words);
    driven_free(w);
}

static enum deed fetch_all(struct driven *w, uint32_t fake, uint32_t stage, uint32_t part, uint32_t attempt)
{
    (void)w, (void)fake, (void)stage, (void)part, (void)attempt;
    return DO_FETCH;
}

Test(sched_faults, a_task_that_never_ends_says_why_it_was_begun_again)
{
    struct driven *w = driven_new(1);
    driven_many = (struct stage_input){ 1, STAGE_NO_SHUFFLE, STAGE_NO_SHUFFLE };
    w->deed = fetch_all;
    driven_call(w, SCHED_RUN, &driven_plain);
    driven_pass(w, 300000);
    cr_assert(w->ended);
    cr_assert_not_null(strstr(w->words, "begun 250 times and never came to an end"), "%s", w->words);
    cr_assert_not_null(strstr(w->words, "fetch, 0 ms: the block is gone"), "%s", w->words);
    driven_free(w);
}

Test(sched_faults, only_what_ran_on_a_lost_executor_is_a_rerun)
{
    struct sched_progress p;
    struct driven *w = driven_new(1);
    driven_many = (struct stage_input){ 40, STAGE_NO_SHUFFLE, STAGE_NO_SHUFFLE };
    w->fakes[1].dead = false;
    w->deed = driven_hold;
    driven_call(w, SCHED_RUN, &driven_plain);
    driven_pass(w, 10);
    cr_assert_gt(w->fakes[1].held.n, sizeof(struct rec_run), "some wait there");
    driven_lose(w, 1);
    driven_pass(w, 10);
    cr_assert_eq(driven_seen(w, "executor.lost"), 1);
    sched_progress(w->s, &p);
    cr_assert_eq(p.reruns, 1);
    driven_free(w);
}

Test(sched_faults, who_leaves_is_not_lost)
{
    struct driven *w = driven_new(1);
    w->deed = driven_hold;
    driven_call(w, SCHED_RUN, &driven_one_stage);
    driven_reply(
        w, w->manager, 0, MSG_EXEC_STATE,
        &(struct msg_exec_state){ .generation = 100, .state = EXEC_LOST, .words = bytes_of("left") });
    driven_settle(w);
    cr_assert_eq(driven_seen(w, "executor.left"), 1);
    cr_assert_eq(driven_seen(w, "executor.lost"), 0);
    driven_free(w);
}

static enum deed hold_reduces(struct driven *w, uint32_t fake, uint32_t stage, uint32_t part,
                              uint32_t attempt)
{
    (void)w, (void)fake, (void)part, (void)attempt;
    return stage == 1 ? DO_HOLD : DO_WELL;
}

Test(sched_faults, a_lost_executors_maps_run_again_and_nothing_else_does)
{
    struct driven *w = driven_new(1);
    w->fakes[1].dead = false;
    w->deed = hold_reduces;
    driven_call(w, SCHED_RUN, &driven_shuffles);
    uint32_t lost = w->fakes[1].tasks, first = w->fakes[0].tasks;
    cr_assert_not(w->ended);
    cr_assert_gt(lost, 0);
    uint32_t held = (uint32_t)(w->fakes[1].held.n / sizeof(struct rec_run));
    driven_lose(w, 1);
    cr_assert_eq(driven_seen(w, "executor.lost"), 1, "its port refuses");
    cr_assert_eq(driven_seen(w, "maps.lost"), 1);
    w->deed = NULL;
    driven_pass(w, 10);
    uint32_t again = 0;
    for (uint32_t p = 0; p < 40; p++)
        again += driven_counted(&w->committed, p) == 2;
    cr_assert_eq(again, lost - held, "exactly the maps that lay there: %u, not %u - %u", again, lost, held);
    if (w->fakes[0].held.n)
        driven_release(w, 0);
    driven_settle(w);
    driven_pass(w, 10);
    cr_assert(w->ended);
    cr_assert_eq(w->code, 0, "%s", w->words);
    cr_assert_eq(w->fakes[0].tasks, first + again + held);
    cr_assert_eq(driven_seen(w, "task.failed"), 0);
    for (uint32_t i = 0; held && i < w->fakes[0].stage.maps.n; i++)
        cr_assert_eq(w->fakes[0].stage.peers.v[w->fakes[0].stage.maps.v[i].peer].key[0], 1);
    driven_free(w);
}

static bool lost_once;
static enum deed lose_map_5(struct driven *w, uint32_t fake, uint32_t stage, uint32_t part, uint32_t attempt)
{
    (void)fake, (void)part, (void)attempt;
    if (stage == 0 || lost_once)
        return DO_WELL;
    lost_once = true;
    w->lose_part = 5;
    return DO_FETCH;
}

Test(sched_faults, a_map_that_cannot_be_fetched_runs_again_and_the_reducer_is_not_blamed)
{
    struct driven *w = driven_new(2);
    lost_once = false;
    w->deed = lose_map_5;
    driven_call(w, SCHED_RUN, &driven_shuffles);
    driven_pass(w, 4000);
    cr_assert(w->ended);
    cr_assert_eq(w->code, 0, "%s", w->words);
    cr_assert_eq(driven_seen(w, "task.failed"), 0);
    cr_assert_eq(driven_seen(w, "fetch.failed"), 1);
    for (uint32_t p = 0; p < 40; p++)
        cr_assert_eq(driven_counted(&w->committed, p), p == 5 ? 2 : 1);
    cr_assert_eq(w->fakes[0].stage_version, 2, "the reducers must learn the new place");
    driven_free(w);
}

Test(sched_faults, a_repeated_done_and_an_unknown_attempt_count_for_nothing)
{
    struct driven *w = driven_new(2);
    w->deed = driven_hold;
    driven_call(w, SCHED_RUN, &driven_one_stage);
    struct rec_run *held = (struct rec_run *)w->fakes[0].held.p, first = held[0], other = held[0];
    other.attempt += 7;
    driven_succeed(w, 0, other); /* never sent */
    driven_settle(w);
    cr_assert_eq(w->results.n, 0);
    driven_succeed(w, 0, first);
    w->fakes[0].seq--; /* the same number once more */
    driven_succeed(w, 0, first);
    driven_succeed(w, 0, first); /* a new number for what is done */
    driven_settle(w);
    cr_assert_eq(w->results.n, 1);
    cr_assert_eq(driven_counted(&w->results, first.first), 1);
    cr_assert_eq(driven_counted(&w->committed, first.first), 1);
    cr_assert_eq(w->fakes[0].acked, w->fakes[0].seq);
    driven_free(w);
}

Test(sched_faults, a_returning_executor_keeps_its_attempts_and_what_neither_side_has_runs_again)
{
    struct driven *w = driven_new(2);
    w->deed = driven_hold;
    driven_call(w, SCHED_RUN, &driven_one_stage);
    struct fake *f = &w->fakes[0];
    cr_assert_eq(f->held.n, 4 * sizeof(struct rec_run));
    f->held.n -= sizeof(struct rec_run); /* one was lost on the way */
    driven_put(w, (struct todo){ .kind = EV_CONN_DOWN, .conn = f->control, .reason = DOWN_CLOSED });
    driven_settle(w);
    cr_assert_eq(driven_seen(w, "executor.away"), 1);
    driven_pass(w, 200);
    cr_assert_eq(driven_seen(w, "executor.attached"), 2);
    cr_assert_eq(driven_seen(w, "executor.lost"), 0);
    w->deed = NULL;
    driven_release(w, 0);
    driven_settle(w);
    driven_pass(w, 10);
    cr_assert(w->ended);
    cr_assert_eq(f->tasks, 41);
    cr_assert_eq(w->results.n, 40);
    driven_free(w);
}

Test(sched_faults, a_silent_executor_is_suspect_then_lost)
{
    struct driven *w = driven_new(2);
    w->deed = driven_hold;
    driven_call(w, SCHED_RUN, &driven_one_stage);
    w->quiet = true;
    w->slots = 0;
    driven_pass(w, 4000);
    cr_assert_eq(driven_seen(w, "executor.suspect"), 0);
    driven_pass(w, 17500);
    cr_assert_geq(driven_seen(w, "executor.lost"), 1);
    cr_assert_eq(w->bad, 1, "the manager is told that its lease is of no use");
    driven_free(w);
}

Test(sched_faults, a_straggler_is_run_a_second_time_and_the_first_success_counts)
{
    struct driven *w = driven_new(2);
    w->fakes[1].dead = false;
    w->deed = driven_hold;
    driven_call(w, SCHED_RUN, &driven_one_stage);
    struct rec_run slow = *(struct rec_run *)w->fakes[1].held.p;
    for (int i = 0; i < 60 && w->results.n < 39; i++) {
        struct fake *f = &w->fakes[1];
        driven_release(w, 0);
        for (size_t k = 0; k < f->held.n / sizeof(struct rec_run); k++)
            if (((struct rec_run *)f->held.p)[k].first != slow.first)
                driven_succeed(w, 1, ((struct rec_run *)f->held.p)[k]);
        buf_reset(&f->held);
        driven_settle(w);
        driven_pass(w, 5);
    }
    cr_assert_eq(w->results.n, 39);
    cr_assert_not(w->ended);
    w->deed = NULL;
    driven_pass(w, 400);
    cr_assert_eq(driven_seen(w, "task.straggles"), 1);
    cr_assert_eq(w->rows, 40 * 3);
    cr_assert(w->ended);
    cr_assert_eq(driven_counted(&w->results, slow.first), 1);
    cr_assert_geq(w->fakes[1].cancels, 1, "the slow one is called off");
    driven_succeed(w, 1, slow);
    driven_settle(w);
    cr_assert_eq(driven_counted(&w->results, slow.first), 1);
    driven_free(w);
}

Test(sched_faults, an_executor_out_of_reach_is_a_bad_lease)
{
    struct driven *w = driven_new(2);
    w->slots = 0;
    driven_call(w, SCHED_RUN, &driven_one_stage);
    driven_grant(w, 1, 5, 2);
    driven_settle(w);
    driven_pass(w, 10);
    cr_assert_eq(w->bad, 1);
    cr_assert_not(w->ended);
    driven_free(w);
}

/* Executors 0..n-1 of the many run a part each, and hold it. */
static struct driven *several(uint32_t n)
{
    struct driven *w = driven_new(1);
    for (uint32_t k = 1; k < n; k++)
        w->fakes[k].dead = false;
    driven_many = (struct stage_input){ 3 * n, STAGE_NO_SHUFFLE, STAGE_NO_SHUFFLE };
    w->deed = driven_hold;
    driven_call(w, SCHED_RUN, &driven_plain);
    driven_pass(w, 10);
    return w;
}

Test(sched_faults, when_most_are_silent_at_once_none_is_given_up_for_a_while)
{
    struct driven *w = several(6);
    w->quiet = true;
    driven_pass(w, 34000);
    cr_assert_eq(driven_seen(w, "executors.away"), 1);
    cr_assert_eq(driven_seen(w, "executor.lost"), 0);
    driven_pass(w, 8000);
    cr_assert_eq(driven_seen(w, "executor.lost"), 6, "30 s at most");
    driven_free(w);
}

Test(sched_faults, when_most_are_silent_and_come_back_nothing_runs_again)
{
    struct driven *w = several(6);
    struct sched_progress p;
    w->quiet = true;
    driven_pass(w, 25000);
    w->quiet = false;
    driven_pass(w, 15000);
    cr_assert_eq(driven_seen(w, "executor.lost"), 0);
    w->deed = NULL;
    for (uint32_t k = 0; k < 6; k++)
        driven_release(w, k);
    driven_settle(w);
    cr_assert(w->ended);
    sched_progress(w->s, &p);
    cr_assert_eq(p.reruns, 0);
    driven_free(w);
}

Test(sched_faults, a_port_that_refuses_is_believed_however_many_they_are)
{
    struct driven *w = several(6);
    for (uint32_t k = 1; k < 6; k++)
        driven_lose(w, k);
    driven_pass(w, 100);
    cr_assert_eq(driven_seen(w, "executor.lost"), 5);
    driven_free(w);
}

/* ---- peers that lie ------------------------------------------------------------------------ */

/* An executor that attaches again, with these attempts alive. */
static void attached(struct driven *w, const struct rec_run *live, uint32_t n)
{
    struct fake *f = &w->fakes[0];
    struct rec_id lease = { 1 };
    struct msg_attached m = { .app = APP, .leases = { &lease, 1 }, .live = { live, n } };
    w->mute = true; /* the fake's own answer to ATTACH */
    driven_put(w, (struct todo){ .kind = EV_CONN_DOWN, .conn = f->control, .reason = DOWN_CLOSED });
    driven_settle(w);
    driven_pass(w, 60);
    driven_reply(w, f->control, 100, MSG_ATTACHED, &m);
    driven_settle(w);
}

Test(sched_faults, what_only_the_executor_knows_of_is_cancelled_a_stretch_at_a_time)
{
    struct driven *w = driven_new(2);
    const struct rec_run live[] = { { 0, 0, 2, 9 }, { 0, 0, 1, 1 }, { 7, 5, 1, 1 } };
    driven_many = (struct stage_input){ 20, STAGE_NO_SHUFFLE, STAGE_NO_SHUFFLE };
    w->deed = driven_hold;
    driven_call(w, SCHED_RUN, &driven_plain);
    attached(w, live, 3);
    cr_assert_eq(driven_seen(w, "executor.lost"), 0);
    cr_assert_eq(w->fakes[0].cancels, 1);
    cr_assert_eq(w->fakes[0].cancelled_runs, 2);
    cr_assert_eq(w->fakes[0].cancelled, 3);
    driven_free(w);
}

Test(sched_faults, many_cancelled_runs_go_in_several_messages)
{
    struct driven *w = driven_new(2);
    struct rec_run *live = calloc(10000, sizeof *live);
    driven_many = (struct stage_input){ 40000, STAGE_NO_SHUFFLE, STAGE_NO_SHUFFLE };
    driven_call(w, SCHED_RUN, &driven_plain); /* so many were given */
    cr_assert(w->ended);
    for (uint32_t i = 0; i < 10000; i++)
        live[i] = (struct rec_run){ 0, 2 * i, 1, 9 };
    attached(w, live, 10000);
    cr_assert_eq(w->fakes[0].cancels, 3);
    cr_assert_eq(w->fakes[0].cancelled_runs, 10000);
    free(live);
    driven_free(w);
}

Test(sched_faults, an_executor_that_names_more_than_it_was_given_is_lost)
{
    struct driven *w = driven_new(2);
    w->deed = driven_hold;
    driven_call(w, SCHED_RUN, &driven_one_stage);
    uint32_t given = w->fakes[0].tasks;
    driven_tell(w, 0, (struct rec_run){ 0, 1000, given, 9 }, NULL);
    driven_settle(w);
    cr_assert_eq(driven_seen(w, "executor.lost"), 0);
    driven_tell(w, 0, (struct rec_run){ 0, 0, UINT32_MAX, 9 }, NULL);
    driven_settle(w);
    cr_assert_eq(driven_seen(w, "executor.lost"), 1);
    cr_assert_not(w->ended);
    driven_free(w);
}
