/* test_sched.c - the scheduler by its own frames: jobs that run well, and how applications end. */
#include "tests/unit/driven.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

TestSuite(sched, .timeout = 20);

static const struct stage_input named3 = { 3, 0, 0 };

Test(sched, one_stage_runs_and_gives_each_result_once)
{
    struct driven *w = driven_new(2);
    driven_call(w, SCHED_RUN, &driven_one_stage);
    cr_assert(w->ended);
    cr_assert_eq(w->code, 0, "%s", w->words);
    cr_assert_eq(w->results.n, 40);
    for (uint32_t p = 0; p < 40; p++)
        cr_assert_eq(driven_counted(&w->results, p), 1);
    cr_assert_eq(w->fakes[0].tasks, 40);
    cr_assert_eq(w->fakes[0].acked, w->fakes[0].seq);
    cr_assert_eq(w->fakes[0].frees, 1);
    driven_free(w);
}

Test(sched, asks_for_what_it_needs_and_returns_what_lies_idle)
{
    struct driven *w = driven_new(2);
    w->deed = driven_hold;
    driven_call(w, SCHED_RUN, &driven_one_stage);
    cr_assert_eq(w->asked, 40);
    cr_assert(bytes_eq(w->labels, bytes_of("fast,gpu")));
    cr_assert_eq(w->fakes[0].held.n / sizeof(struct rec_run), 4, "twice its slots are sent ahead");
    w->deed = NULL;
    driven_release(w, 0);
    driven_settle(w);
    cr_assert(w->ended);
    cr_assert_eq(w->returned, 0);
    driven_pass(w, 1500);
    cr_assert_eq(w->returned, 1);
    cr_assert_eq(w->asked, 0);
    driven_free(w);
}

Test(sched, many_tasks_are_few_messages)
{
    struct driven *w = driven_new(2);
    struct sched_progress p;
    driven_many = (struct stage_input){ 100000, STAGE_NO_SHUFFLE, STAGE_NO_SHUFFLE };
    driven_call(w, SCHED_RUN, &driven_plain);
    cr_assert(w->ended);
    cr_assert_eq(w->code, 0, "%s", w->words);
    cr_assert_eq(w->committed.n, 100000);
    cr_assert_eq(w->rows, 300000, "the rows of all, once each");
    sched_progress(w->s, &p);
    cr_assert_lt(p.task_messages, 100000 / 20);
    driven_free(w);
}

Test(sched, a_shuffle_waits_for_its_maps_and_is_cut_by_size)
{
    struct driven *w = driven_new(2);
    driven_call(w, SCHED_RUN, &driven_shuffles);
    cr_assert(w->ended);
    cr_assert_eq(w->code, 0, "%s", w->words);
    cr_assert_eq(w->fakes[0].stage.maps.n, 40);
    cr_assert_eq(w->fakes[0].stage.inputs.v[0].cuts.n, w->fakes[0].stage.inputs.v[0].ntasks + 1);
    cr_assert_eq(w->fakes[0].stage.inputs.v[0].shuffle, 0);
    cr_assert_eq(w->results.n, w->fakes[0].stage.inputs.v[0].ntasks);
    cr_assert_eq(w->fakes[0].frees, 2);
    driven_free(w);
}

Test(sched, a_named_number_of_reduce_tasks_is_kept)
{
    struct driven *w = driven_new(2);
    driven_shuffle[1].inputs = &named3;
    driven_call(w, SCHED_RUN, &driven_shuffles);
    driven_shuffle[1].inputs = &driven_of_0;
    cr_assert_eq(w->code, 0, "%s", w->words);
    cr_assert_eq(w->results.n, 3);
    cr_assert_eq(w->fakes[0].stage.inputs.v[0].cuts.n, 4);
    driven_free(w);
}

Test(sched, a_newcomer_gets_what_the_others_have_not_begun)
{
    struct driven *w = driven_new(2);
    driven_many = (struct stage_input){ 4, STAGE_NO_SHUFFLE, STAGE_NO_SHUFFLE };
    w->deed = driven_hold;
    driven_call(w, SCHED_RUN, &driven_plain);
    cr_assert_eq(w->fakes[0].tasks, 4);
    w->fakes[1].dead = false;
    driven_grant(w, 1, 9, 2);
    driven_settle(w);
    driven_pass(w, 2);
    cr_assert_eq(w->fakes[0].recalls, 1);
    struct rec_run back[2];
    memcpy(back, (struct rec_run *)w->fakes[0].held.p + 2, sizeof back);
    w->fakes[0].held.n -= sizeof back;
    driven_reply(w, w->fakes[0].control, 100, MSG_RECALLED,
                 &(struct msg_recalled){ .app = APP, .runs = { back, 2 } });
    driven_settle(w);
    cr_assert_eq(w->fakes[1].tasks, 2);
    driven_free(w);
}

static enum deed hold_from_4(struct driven *w, uint32_t fake, uint32_t stage, uint32_t part, uint32_t attempt)
{
    (void)w, (void)fake, (void)stage, (void)attempt;
    return part < 4 ? DO_WELL : DO_HOLD;
}

/* By the average these would be done at once; but one of them is long, and they stand behind it. */
Test(sched, short_tasks_move_from_behind_a_long_one)
{
    struct driven *w = driven_new(2);
    driven_many = (struct stage_input){ 8, STAGE_NO_SHUFFLE, STAGE_NO_SHUFFLE };
    w->deed = hold_from_4;
    driven_call(w, SCHED_RUN, &driven_plain);
    cr_assert_eq(w->fakes[0].tasks, 8);
    w->fakes[1].dead = false;
    driven_grant(w, 1, 9, 2);
    driven_settle(w);
    cr_assert_eq(w->fakes[0].recalls, 0, "a microsecond each: not worth moving");
    driven_pass(w, 3);
    cr_assert_eq(w->fakes[0].recalls, 1);
    driven_free(w);
}

Test(sched, take_runs_only_as_many_tasks_as_it_needs)
{
    struct driven *w = driven_new(4);
    driven_call(w, SCHED_RUN, &driven_takes);
    cr_assert(w->ended);
    cr_assert_eq(w->code, 0, "%s", w->words);
    cr_assert_leq(w->fakes[0].tasks, 4); /* three rows each; two tasks, then two more */
    cr_assert_geq(w->results.n, 3);
    for (uint32_t p = 0; p < 3; p++)
        cr_assert_eq(driven_counted(&w->results, p), 1);
    driven_free(w);
}

Test(sched, parts_come_here_or_are_there_and_one_commit_names_the_winners)
{
    struct driven *w = driven_new(2);
    struct sched_progress p;
    driven_call(w, SCHED_RUN, &driven_saves);
    cr_assert(w->ended);
    cr_assert_eq(w->code, 0, "%s", w->words);
    cr_assert_eq(w->winners, 40);
    cr_assert_eq(w->writes, 20);
    cr_assert_eq(w->syncs, 20);
    sched_progress(w->s, &p);
    cr_assert_eq(p.parts_by_driver, 20);
    cr_assert_eq(p.parts_by_executors, 20);
    driven_free(w);
}

Test(sched, a_commit_that_fails_fails_the_job)
{
    struct driven *w = driven_new(2);
    w->commit_result = -ENOENT;
    driven_call(w, SCHED_RUN, &driven_saves);
    cr_assert(w->ended);
    cr_assert_eq(w->code, -1);
    cr_assert_not_null(strstr(w->words, "/out"), "%s", w->words);
    driven_free(w);
}

Test(sched, jobs_of_one_application_have_stages_of_their_own)
{
    struct driven *w = driven_new(2);
    driven_call(w, SCHED_RUN, &driven_shuffles);
    cr_assert(w->ended);
    w->ended = false;
    driven_call(w, SCHED_RUN, &driven_one_stage);
    cr_assert(w->ended);
    cr_assert_eq(w->code, 0, "%s", w->words);
    cr_assert_eq(w->fakes[0].stage.stage, 2);
    cr_assert_eq(driven_counted(&w->committed, 2ull << 32), 1);
    driven_free(w);
}

static void ask_block(struct driven *w, uint8_t first, uint64_t offset, uint32_t flags)
{
    struct msg_block_get get = { .app = APP, .tag = 1, .length = 100, .offset = offset, .flags = flags };
    get.block[0] = first;
    driven_reply(w, w->fakes[0].data, 100, MSG_BLOCK_GET, &get);
    driven_settle(w);
}

Test(sched, the_driver_serves_its_blocks_and_its_files)
{
    struct driven *w = driven_new(2);
    struct served_block b = { .id = { { 9 } }, .bytes = { (const uint8_t *)"table", 5 } };
    driven_call(w, SCHED_SERVE, &b);
    w->deed = driven_hold;
    driven_call(w, SCHED_RUN, &driven_one_stage);
    ask_block(w, 9, 0, 0);
    ask_block(w, 9, 3, BLOCK_TAIL);
    ask_block(w, 8, 1 << 20, 0); /* the shell knows whether that is a file */
    cr_assert_eq(w->served, 3);
    ask_block(w, 9, 6, 0);
    cr_assert_eq(w->block_errors[BLOCK_CORRUPT], 1, "past its end");
    ask_block(w, 8, 3, BLOCK_TAIL);
    cr_assert_eq(w->block_errors[BLOCK_GONE], 1, "where a file ends is not known here");
    cr_assert_eq(w->served, 3);
    w->serve_result = -ENOENT;
    ask_block(w, 8, 0, 0);
    cr_assert_eq(w->block_errors[BLOCK_GONE], 2);
    w->serve_result = -ESTALE;
    ask_block(w, 8, 0, 0);
    cr_assert_eq(w->block_errors[BLOCK_CORRUPT], 2);
    w->serve_result = -EACCES;
    ask_block(w, 8, 0, 0);
    cr_assert_eq(w->block_errors[BLOCK_IO], 1);
    driven_free(w);
}

Test(sched, a_restarted_manager_hears_of_the_leases_and_nothing_else_changes)
{
    struct driven *w = driven_new(2);
    w->deed = driven_hold;
    driven_call(w, SCHED_RUN, &driven_one_stage);
    uint32_t tasks = w->fakes[0].tasks;
    driven_put(w, (struct todo){ .kind = EV_CONN_DOWN, .conn = w->manager, .reason = DOWN_CLOSED });
    driven_settle(w);
    driven_pass(w, 100);
    cr_assert_eq(w->opens, 2);
    cr_assert_eq(w->claims, 1);
    cr_assert_eq(w->fakes[0].tasks, tasks);
    cr_assert_eq(driven_seen(w, "executor.away"), 0);
    driven_free(w);
}

Test(sched, close_tells_everybody_and_exits_when_the_manager_knows)
{
    struct driven *w = driven_new(2);
    struct sched_close close = { 3, "why" };
    driven_call(w, SCHED_RUN, &driven_one_stage);
    driven_call(w, SCHED_CLOSE, &close);
    cr_assert_eq(w->closes, 1);
    cr_assert_eq(w->fakes[0].app_ends, 1);
    cr_assert(w->exited);
    cr_assert_eq(w->exit_code, 3);
    driven_free(w);
}

Test(sched, close_gives_up_on_a_manager_that_stays_away)
{
    struct driven *w = driven_new(2);
    struct sched_close close = { 0, "" };
    w->away = true;
    driven_call(w, SCHED_CLOSE, &close);
    driven_pass(w, 29000);
    cr_assert_not(w->exited);
    driven_pass(w, 2000);
    cr_assert(w->exited);
    driven_free(w);
}

Test(sched, an_interrupt_fails_the_job_and_closes)
{
    struct driven *w = driven_new(2);
    w->deed = driven_hold;
    driven_call(w, SCHED_RUN, &driven_one_stage);
    driven_call(w, SCHED_INTERRUPT, NULL);
    cr_assert(w->ended);
    cr_assert_eq(w->code, -1);
    cr_assert_geq(w->fakes[0].cancels, 1);
    cr_assert(w->exited);
    cr_assert_eq(w->exit_code, 130);
    driven_free(w);
}

Test(sched, the_managers_end_of_the_application_ends_its_job)
{
    struct driven *w = driven_new(2);
    w->deed = driven_hold;
    driven_call(w, SCHED_RUN, &driven_one_stage);
    driven_reply(w, w->manager, 0, MSG_APP_END,
                 &(struct msg_app_end){ .app = APP, .words = bytes_of("killed by ann") });
    driven_settle(w);
    cr_assert(w->ended);
    cr_assert_not_null(strstr(w->words, "killed by ann"), "%s", w->words);
    cr_assert(w->exited);
    driven_free(w);
}

Test(sched, a_stage_says_whether_its_executors_are_spread_over_hosts)
{
    for (uint32_t apart = 0; apart < 2; apart++) {
        struct driven *w = driven_new(2);
        w->fakes[1].dead = false;
        w->host_of_its_own = apart ? 1 : FAKES;
        driven_call(w, SCHED_RUN, &driven_shuffles);
        cr_assert(w->ended);
        cr_assert_eq(w->fakes[1].stage.spread, apart);
        driven_free(w);
    }
}
