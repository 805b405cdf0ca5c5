/* test_executor_tasks.c - the executor's core at work: stages, tasks, hosts, reports, blocks. */
#include "tests/unit/rig_executor.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <string.h>

static const struct rec_report *only_report(struct rig *r)
{
    const struct msg_done *m = rig_sent(r, RIG_CONTROL, MSG_DONE);
    cr_assert(m && m->reports.n == 1, "one report");
    return &m->reports.v[0];
}

static bool text_is(struct bytes b, const char *text)
{
    return bytes_eq(b, bytes_of(text));
}

/* ---- tasks ------------------------------------------------------------------------ */

Test(executor_tasks, run_and_are_told)
{
    struct rig r;
    rig_ready(&r, 1);
    rig_tasks(&r, 1, 0, 1, 1);
    const struct action *told = rig_action(&r, ACT_HOST_SEND, 0);
    cr_assert(told && told->frame.p[1] == MSG_HOST_STAGE && told->sealed.n, "the stage first, whole");
    uint64_t host = told->id;
    const struct msg_tasks *t = rig_told(&r, host, MSG_TASKS);
    cr_assert(t && t->ranges.n == 1 && t->ranges.v[0].count == 1);
    rig_done(&r, host, 1, 0, 1, 1, 1000);
    const struct msg_done *done = rig_sent(&r, RIG_CONTROL, MSG_DONE);
    cr_assert(done && done->seq == 1 && done->runs.n == 1 && done->busy_ns == 1000);
    rig_tasks(&r, 1, 1, 1, 1);
    cr_assert_null(rig_told(&r, host, MSG_HOST_STAGE), "once is enough");
    rig_fini(&r);
}

/* What is neither a success nor this host's, or is told twice, adds nothing. */
Test(executor_tasks, successes_of_as_many_rows_are_one_run)
{
    struct rig r;
    rig_ready(&r, 1);
    rig_tasks(&r, 1, 10, 1, 1);
    uint64_t host = rig_action(&r, ACT_HOST_SEND, 0)->id;
    for (uint32_t part = 10; part < 60; part++) { /* until it is known that they are short */
        rig_done(&r, host, 1, part, 1, 1, 500);
        rig_tasks(&r, 1, part + 1, 1, 1);
    }
    rig_tasks(&r, 1, 0, 6, 1);
    struct rec_success ok[] = { { 1, 0, 2, 1, 7 }, { 1, 2, 2, 1, 7 }, { 1, 4, 1, 1, 8 }, { 1, 4, 1, 1, 8 } };
    rig_host(&r, host, MSG_DONE, &(struct msg_done){ .app = RIG_APP, .runs = { ok, 4 }, .busy_ns = 10 });
    const struct msg_done *done = rig_sent(&r, RIG_CONTROL, MSG_DONE);
    cr_assert(done && done->runs.n == 2 && done->reports.n == 0);
    cr_assert(done->runs.v[0].first == 0 && done->runs.v[0].count == 4 && done->runs.v[0].rows == 7);
    cr_assert(done->runs.v[1].first == 4 && done->runs.v[1].count == 1 && done->runs.v[1].rows == 8);
    rig_fini(&r);
}

Test(executor_tasks, long_ones_go_one_by_one_and_short_ones_by_the_hundred)
{
    struct rig r;
    rig_ready(&r, 1);
    rig_tasks(&r, 1, 0, 100000, 1);
    uint64_t host = rig_action(&r, ACT_HOST_SEND, 0)->id;
    uint32_t first = 0, most = 0;
    const struct msg_tasks *t = rig_told(&r, host, MSG_TASKS);
    for (int i = 0; i < 400 && t; i++) {
        uint32_t n = t->ranges.v[0].count;
        most = n > most ? n : most;
        cr_assert_eq(t->ranges.v[0].first, first, "in order");
        rig_done(&r, host, 1, first, n, 1, n * 500ull);
        first += n;
        t = rig_told(&r, host, MSG_TASKS);
        if (i == 0)
            cr_assert_leq(n, 1, "until it is known how long they take");
    }
    cr_assert_eq(most, 256);
    rig_fini(&r);
}

Test(executor_tasks, are_shared_between_hosts)
{
    struct rig r;
    rig_ready(&r, 2);
    rig_tasks(&r, 1, 0, 2, 1);
    cr_assert_neq(rig_action(&r, ACT_HOST_SEND, 0)->id, rig_action(&r, ACT_HOST_SEND, 2)->id);
    rig_fini(&r);
}

Test(executor_tasks, of_an_unknown_stage_are_refused_and_go_back)
{
    struct rig r;
    rig_ready(&r, 1);
    rig_tasks(&r, 9, 3, 4, 1);
    const struct msg_refuse *no = rig_sent(&r, RIG_CONTROL, MSG_REFUSE);
    const struct msg_recalled *back = rig_sent(&r, RIG_CONTROL, MSG_RECALLED);
    cr_assert(no && no->code == REFUSE_NO_LEASE);
    cr_assert(back && back->runs.v[0].stage == 9 && back->runs.v[0].first == 3 && back->runs.v[0].count == 4);
    rig_fini(&r);
}

Test(executor_tasks, past_the_last_number_are_malformed)
{
    struct rig r;
    rig_ready(&r, 1);
    rig_tasks(&r, 1, UINT32_MAX - 1, 10, 1);
    const struct msg_refuse *no = rig_sent(&r, RIG_CONTROL, MSG_REFUSE);
    cr_assert(no && no->code == REFUSE_MALFORMED);
    cr_assert_null(rig_action(&r, ACT_HOST_SEND, 0));
    rig_fini(&r);
}

Test(executor_tasks, recall_gives_back_what_is_unstarted)
{
    struct rig r;
    rig_ready(&r, 1);
    rig_tasks(&r, 1, 0, 10, 1);
    rig_driver(&r, MSG_RECALL, &(struct msg_recall){ .app = RIG_APP, .stage = 1, .count = 4 });
    const struct msg_recalled *back = rig_sent(&r, RIG_CONTROL, MSG_RECALLED);
    cr_assert(back && back->runs.n == 1 && back->runs.v[0].first == 1 && back->runs.v[0].count == 4);
    rig_fini(&r);
}

Test(executor_tasks, a_cancelled_one_that_runs_costs_its_host)
{
    struct rig r;
    struct rec_run run = { 1, 0, 1, 1 };
    rig_ready(&r, 1);
    rig_tasks(&r, 1, 0, 2, 1);
    uint64_t host = rig_action(&r, ACT_HOST_SEND, 0)->id;
    rig_driver(&r, MSG_CANCEL, &(struct msg_cancel){ .app = RIG_APP, .runs = { &run, 1 } });
    cr_assert(rig_action(&r, ACT_KILL, 0) && rig_action(&r, ACT_KILL, 0)->id == host);
    rig_exit(&r, host, 0, SIGKILL, "");
    cr_assert_null(rig_sent(&r, RIG_CONTROL, MSG_DONE), "nothing is reported of it");
    cr_assert_null(rig_sent(&r, RIG_CONTROL, MSG_RECALLED));
    cr_assert(rig_action(&r, ACT_SPAWN, 0), "its host is replaced");
    cr_assert(rig_told(&r, rig_action(&r, ACT_SPAWN, 0)->id, MSG_HOST_ASSIGN),
              "by one that goes on with the rest");
    rig_fini(&r);
}

Test(executor_tasks, a_host_reports_only_what_it_was_given)
{
    struct rig r;
    rig_ready(&r, 1);
    rig_tasks(&r, 1, 0, 1, 1);
    uint64_t host = rig_action(&r, ACT_HOST_SEND, 0)->id;
    rig_done(&r, host, 1, 0, 4000000000u, 2, 1000);
    cr_assert_null(rig_sent(&r, RIG_CONTROL, MSG_DONE), "that attempt is not its own");
    rig_done(&r, host, 1, 0, 4000000000u, 1, 1000);
    const struct msg_done *done = rig_sent(&r, RIG_CONTROL, MSG_DONE);
    cr_assert(done && done->runs.v[0].count == 1);
    rig_fini(&r);
}

Test(executor_tasks, a_host_that_speaks_nonsense_ends)
{
    struct rig r;
    rig_ready(&r, 1);
    rig_tasks(&r, 1, 0, 1, 1);
    uint64_t host = rig_action(&r, ACT_HOST_SEND, 0)->id;
    rig_host(&r, host, MSG_BEAT, &(struct msg_beat){ 0 });
    cr_assert(rig_action(&r, ACT_KILL, 0));
    rig_fini(&r);
}

/* ---- failures ------------------------------------------------------------------------ */

Test(executor_failures, a_crash_is_told_with_signal_and_last_words)
{
    struct rig r;
    rig_ready(&r, 1);
    rig_tasks(&r, 1, 5, 1, 2);
    uint64_t host = rig_action(&r, ACT_HOST_SEND, 0)->id;
    rig_exit(&r, host, 0, SIGSEGV, "assertion failed");
    const struct rec_report *p = only_report(&r);
    cr_assert(p->stage == 1 && p->part == 5 && p->attempt == 2);
    cr_assert(p->cause == CAUSE_CRASH && p->signal == SIGSEGV);
    cr_assert(text_is(p->tail, "assertion failed"));
    rig_fini(&r);
}

Test(executor_failures, the_task_that_it_was_in_is_blamed_and_no_other)
{
    struct rig r;
    rig_ready(&r, 1);
    rig_tasks(&r, 1, 0, 1, 1);
    uint64_t host = rig_action(&r, ACT_HOST_SEND, 0)->id;
    for (uint32_t i = 0; i < 40; i++) { /* until it knows that they are short */
        rig_done(&r, host, 1, i, 1, 1, 100);
        rig_tasks(&r, 1, i + 1, i == 39 ? 20 : 1, 1);
    }
    struct event ev = { .kind = EV_HOST_EXITED, .id = host };
    ev.exited.signal = SIGSEGV;
    ev.exited.ran = true;
    ev.exited.stage = 1;
    ev.exited.part = 44;
    ev.exited.attempt = 1;
    rig_step(&r, &ev);
    cr_assert_eq(only_report(&r)->part, 44);
    rig_fini(&r);
}

Test(executor_failures, over_its_memory)
{
    struct rig r;
    rig_ready(&r, 1);
    struct event ev = { .kind = EV_HOST_MEMORY, .memory = { 101 << 20 } };
    rig_tasks(&r, 1, 0, 1, 1);
    ev.id = rig_action(&r, ACT_HOST_SEND, 0)->id;
    rig_step(&r, &ev);
    cr_assert(rig_action(&r, ACT_KILL, 0));
    rig_exit(&r, ev.id, 0, SIGKILL, "");
    cr_assert_eq(only_report(&r)->cause, CAUSE_MEMORY);
    rig_fini(&r);
}

Test(executor_failures, over_its_time)
{
    struct rig r;
    rig_ready(&r, 1);
    rig_driver(&r, MSG_STAGE,
               &(struct msg_stage){ .app = RIG_APP, .stage = 2, .version = 1, .time_ms_max = 3000 });
    rig_tasks(&r, 2, 0, 1, 1);
    uint64_t host = rig_action(&r, ACT_HOST_SEND, 0)->id;
    cr_assert_leq(executor_deadline(r.x), r.now + 3000 * RIG_MS);
    rig_time(&r, 2900);
    cr_assert_null(rig_action(&r, ACT_KILL, 0));
    rig_time(&r, 101);
    cr_assert(rig_action(&r, ACT_KILL, 0));
    rig_exit(&r, host, 0, SIGKILL, "");
    cr_assert_eq(only_report(&r)->cause, CAUSE_TIME);
    rig_fini(&r);
}

Test(executor_failures, what_finished_before_the_kill_is_finished)
{
    struct rig r;
    struct event ev = { .kind = EV_HOST_MEMORY, .memory = { 101 << 20 } };
    rig_ready(&r, 1);
    rig_tasks(&r, 1, 0, 1, 1);
    ev.id = rig_action(&r, ACT_HOST_SEND, 0)->id;
    rig_step(&r, &ev);
    rig_done(&r, ev.id, 1, 0, 1, 1, 1000); /* it was on its way */
    cr_assert(rig_sent(&r, RIG_CONTROL, MSG_DONE));
    rig_exit(&r, ev.id, 0, SIGKILL, "");
    cr_assert_null(rig_sent(&r, RIG_CONTROL, MSG_DONE), "nobody is left to blame");
    rig_fini(&r);
}

Test(executor_failures, a_report_of_failure_gets_its_stderr)
{
    struct rig r;
    rig_ready(&r, 1);
    rig_tasks(&r, 1, 0, 1, 1);
    uint64_t host = rig_action(&r, ACT_HOST_SEND, 0)->id;
    struct rec_report p = { .stage = 1, .attempt = 1, .cause = CAUSE_ERROR, .words = bytes_of("no") };
    rig_host(&r, host, MSG_DONE, &(struct msg_done){ .app = RIG_APP, .reports = { &p, 1 } });
    cr_assert(text_is(only_report(&r)->tail, "its stderr"));
    rig_fini(&r);
}

/* A library that no host can load fails tasks, one a try, and doesn't spin when there are none. */
Test(executor_failures, a_job_that_can_not_be_loaded)
{
    struct rig r;
    rig_ready(&r, 1);
    rig_tasks(&r, 1, 0, 1, 1);
    rig_exit(&r, rig_action(&r, ACT_HOST_SEND, 0)->id, 0, SIGSEGV, "");
    uint64_t next = rig_action(&r, ACT_SPAWN, 0)->id;
    rig_tasks(&r, 1, 1, 1, 1);
    rig_host(&r, next, MSG_HOST_READY, &(struct msg_host_ready){ .words = bytes_of("no such symbol") });
    const struct rec_report *p = only_report(&r);
    cr_assert(p->cause == CAUSE_HOST && p->part == 1 && text_is(p->words, "no such symbol"));
    rig_exit(&r, next, 0, SIGKILL, "");
    cr_assert(rig_action(&r, ACT_SPAWN, 0));
    cr_assert_null(rig_action(&r, ACT_HOST_SEND, 0), "nothing waits: not tried again until something does");
    rig_tasks(&r, 1, 2, 1, 1);
    cr_assert(rig_action(&r, ACT_HOST_SEND, 0));
    rig_fini(&r);
}

Test(executor_failures, hosts_that_can_not_start_are_not_started_in_a_storm)
{
    struct rig r;
    rig_init(&r, 1);
    rig_step(&r, &(struct event){ .kind = EV_START });
    rig_exit(&r, rig_action(&r, ACT_SPAWN, 0)->id, 127, 0, "no such file");
    cr_assert_null(rig_action(&r, ACT_SPAWN, 0));
    cr_assert_leq(executor_deadline(r.x), r.now + 100 * RIG_MS);
    rig_time(&r, 100);
    cr_assert(rig_action(&r, ACT_SPAWN, 0));
    rig_fini(&r);
}

/* ---- DONE and the driver's connection -------------------------------------------------- */

Test(executor_done, is_resent_until_acknowledged)
{
    struct rig r;
    rig_ready(&r, 1);
    rig_tasks(&r, 1, 0, 1, 1);
    uint64_t host = rig_action(&r, ACT_HOST_SEND, 0)->id;
    rig_done(&r, host, 1, 0, 1, 1, 1000);
    rig_driver(&r, MSG_DONE_ACK, &(struct msg_done_ack){ .app = RIG_APP, .seq = 1 });
    rig_tasks(&r, 1, 1, 3, 1);
    rig_done(&r, host, 1, 1, 1, 1, 1000);
    rig_down(&r, RIG_CONTROL, DOWN_CLOSED);
    rig_done(&r, host, 1, 2, 1, 1, 1000);
    cr_assert_null(rig_sent(&r, RIG_CONTROL, MSG_DONE), "nobody listens");
    rig_attach(&r, 1);
    cr_assert_eq(rig_sent_count(&r, RIG_CONTROL, MSG_DONE), 2);
    const struct msg_done *first = rig_sent(&r, RIG_CONTROL, MSG_DONE);
    cr_assert_eq(first->seq, 2, "in order");
    const struct msg_attached *at = rig_sent(&r, RIG_CONTROL, MSG_ATTACHED);
    cr_assert(at && at->live.n == 1 && at->live.v[0].first == 3, "and what is alive here");
    rig_attach(&r, 3);
    cr_assert_eq(rig_sent_count(&r, RIG_CONTROL, MSG_DONE), 0);
    rig_fini(&r);
}

Test(executor_done, resent_under_a_new_epoch_carries_that)
{
    struct rig r;
    struct head head;
    rig_ready(&r, 1);
    rig_tasks(&r, 1, 0, 1, 1);
    rig_done(&r, rig_action(&r, ACT_HOST_SEND, 0)->id, 1, 0, 1, 1, 1000);
    r.epoch++;
    rig_manager(&r, MSG_BEAT, &(struct msg_beat){ .seq = 1 });
    rig_attach(&r, 0);
    const struct action *a = NULL;
    for (uint32_t i = 0; (a = rig_action(&r, ACT_SEND, i)) && a->frame.p[1] != MSG_DONE; i++)
        ;
    cr_assert(a && proto_decode(&r.arena, a->frame, &head, NULL));
    cr_assert_eq(head.epoch, RIG_EPOCH + 1);
    rig_fini(&r);
}

Test(executor_done, a_driver_that_acknowledges_nothing_gets_no_more_work_done)
{
    struct rig r;
    rig_ready(&r, 1);
    rig_tasks(&r, 1, 0, 100000, 1);
    uint64_t host = rig_action(&r, ACT_HOST_SEND, 0)->id;
    uint32_t first = 0;
    const struct msg_tasks *t;
    while ((t = rig_told(&r, host, MSG_TASKS)) != NULL && first < 50000) {
        for (uint32_t k = 0; k < t->ranges.v[0].count; k++)
            rig_done(&r, host, 1, first++, 1, 1, 1000000);
        arena_reset(&r.arena);
    }
    cr_assert_lt(first, 5000);
    rig_driver(&r, MSG_DONE_ACK, &(struct msg_done_ack){ .app = RIG_APP, .seq = 1000 });
    cr_assert(rig_told(&r, host, MSG_TASKS), "it goes on when it does");
    rig_fini(&r);
}

/* ---- blocks -------------------------------------------------------------------------------- */

static uint64_t run_one_with_output(struct rig *r, uint32_t part, int64_t size)
{
    rig_tasks(r, 1, part, 1, 1);
    uint64_t host = rig_action(r, ACT_HOST_SEND, 0)->id;
    struct rec_report p = { .stage = 1, .part = part, .attempt = 1, .out_bytes = 1000, .rows = 5 };
    rig_host(r, host, MSG_DONE, &(struct msg_done){ .app = RIG_APP, .reports = { &p, 1 } });
    cr_assert_null(rig_sent(r, RIG_CONTROL, MSG_DONE), "not before its file is ours");
    const struct action *adopt = rig_io_of(r, IO_ADOPT);
    cr_assert(adopt && adopt->io.host == host);
    rig_io(r, adopt->id, size);
    return host;
}

Test(executor_blocks, an_output_is_adopted_before_it_is_told_and_then_served)
{
    struct rig r;
    rig_ready(&r, 1);
    run_one_with_output(&r, 0, 1234);
    const struct rec_report *p = only_report(&r);
    cr_assert(p->cause == CAUSE_OK && p->out_bytes == 1234 && p->rows == 5);
    struct block_id id = block_output(1, 0, 1);
    struct msg_block_get get = { .app = RIG_APP, .tag = 9, .offset = 100, .length = 0, .flags = BLOCK_TAIL };
    memcpy(get.block, id.b, ID_BYTES);
    rig_data(&r, MSG_BLOCK_GET, &get);
    const struct action *serve = rig_io_of(&r, IO_SERVE);
    cr_assert(serve && serve->io.offset == 1134 && serve->io.length == 100 && serve->io.tag == 9);
    rig_io(&r, serve->id, -5);
    struct msg_block_get past = get;
    past.flags = 0;
    past.offset = 1235;
    const struct msg_block_err *end =
        (rig_data(&r, MSG_BLOCK_GET, &past), rig_sent(&r, RIG_DATA, MSG_BLOCK_ERR));
    cr_assert(end && end->code == BLOCK_CORRUPT, "asking again would not help");
    rig_data(&r, MSG_BLOCK_GET, &get);
    rig_io(&r, rig_io_of(&r, IO_SERVE)->id, -5);
    const struct msg_block_err *err = rig_sent(&r, RIG_DATA, MSG_BLOCK_ERR);
    cr_assert(err && err->code == BLOCK_IO);
    struct rec_num stage = { 1 };
    rig_driver(&r, MSG_BLOCK_FREE, &(struct msg_block_free){ .app = RIG_APP, .stages = { &stage, 1 } });
    rig_data(&r, MSG_BLOCK_GET, &get);
    err = rig_sent(&r, RIG_DATA, MSG_BLOCK_ERR);
    cr_assert(err && err->code == BLOCK_GONE);
    rig_fini(&r);
}

Test(executor_blocks, an_output_that_is_not_there_is_a_failure)
{
    struct rig r;
    rig_ready(&r, 1);
    run_one_with_output(&r, 0, -2);
    cr_assert_eq(only_report(&r)->cause, CAUSE_ERROR);
    rig_fini(&r);
}

Test(executor_blocks, over_the_budget_outputs_go_to_the_disk)
{
    struct rig r;
    rig_ready(&r, 1);
    uint64_t host = run_one_with_output(&r, 0, 2 << 20);
    rig_tasks(&r, 1, 1, 1, 1);
    const struct msg_host_stage *m = rig_told(&r, host, MSG_HOST_STAGE);
    cr_assert(m && m->to_disk);
    cr_assert_eq(rig_action(&r, ACT_HOST_SEND, 0)->sealed.n, 0, "the stage itself it knows");
    rig_fini(&r);
}

static struct rec_peer peer_of(const char *incarnation, const char *host_id)
{
    struct rec_peer p = { .host_id = bytes_of(host_id),
                          .data = bytes_of("p:2"),
                          .root = bytes_of("/their/blocks") };
    memcpy(p.incarnation, incarnation, ID_BYTES);
    return p;
}

/* Host and executor must mean the same peer, also when a newer version is here already. */
Test(executor_blocks, fetches_are_read_by_the_version_that_the_host_knows)
{
    struct rig r;
    struct rec_peer old = peer_of("incarnation two.", "elsewhere"),
                    new = peer_of("incarnation 3...", "elsewhere");
    rig_ready(&r, 1);
    rig_driver(&r, MSG_STAGE,
               &(struct msg_stage){ .app = RIG_APP, .stage = 2, .version = 1, .peers = { &old, 1 } });
    rig_tasks(&r, 2, 0, 2, 1);
    uint64_t host = rig_action(&r, ACT_HOST_SEND, 0)->id;
    rig_driver(&r, MSG_STAGE,
               &(struct msg_stage){ .app = RIG_APP, .stage = 2, .version = 2, .peers = { &new, 1 } });
    cr_assert_null(rig_action(&r, ACT_HOST_SEND, 0), "not while it is in a task of the older one");
    struct rec_want want = { .kind = WANT_BLOCK, .stage = 2 };
    rig_host(&r, host, MSG_FETCH, &(struct msg_fetch){ .wants = { &want, 1 } });
    const struct action *dial = rig_action(&r, ACT_DIAL, 0);
    cr_assert(dial && dial->dial.data && dial->dial.own == 2, "by the application's fetch key");
    rig_down(&r, dial->conn, DOWN_REFUSED);
    const struct msg_fetched *got = rig_told(&r, host, MSG_FETCHED);
    cr_assert(got && got->got.v[0].code == BLOCK_UNREACHABLE);
    rig_done(&r, host, 2, 0, 1, 1, 1000000);
    const struct msg_host_stage *m = rig_told(&r, host, MSG_HOST_STAGE);
    cr_assert(m && m->version == 2);
    rig_fini(&r);
}

Test(executor_blocks, a_neighbours_are_opened_and_anothers_are_pulled)
{
    struct rig r;
    struct rec_peer peers[2] = { peer_of("incarnation two.", "machine"),
                                 peer_of("incarnation 3...", "elsewhere") };
    rig_ready(&r, 1);
    rig_driver(&r, MSG_STAGE,
               &(struct msg_stage){ .app = RIG_APP, .stage = 2, .version = 1, .peers = { peers, 2 } });
    rig_tasks(&r, 2, 0, 1, 1);
    uint64_t host = rig_action(&r, ACT_HOST_SEND, 0)->id;
    struct rec_want wants[2] = { { .kind = WANT_BLOCK, .peer = 0, .bytes = 10, .stage = 2 },
                                 { .kind = WANT_BLOCK, .peer = 1, .bytes = 10, .stage = 2 } };
    rig_host(&r, host, MSG_FETCH, &(struct msg_fetch){ .wants = { wants, 2 } });
    const struct action *look = rig_io_of(&r, IO_LOOK), *dial = rig_action(&r, ACT_DIAL, 0);
    cr_assert(look && !strcmp(look->blocks[0].root, "/their/blocks"));
    uint64_t look_id = look->id;
    conn_id conn = dial->conn;
    rig_up(&r, conn);
    const struct msg_block_get *get = rig_sent(&r, conn, MSG_BLOCK_GET);
    cr_assert(get);
    struct buf frame = { 0 };
    proto_encode(&frame, &(struct head){ .tag = MSG_BLOCK_DATA, .epoch = RIG_EPOCH },
                 &(struct msg_block_data){ .tag = get->tag, .total = 10, .bytes = bytes_of("0123456789") });
    struct event ev = { .kind = EV_RECV, .conn = conn };
    ev.recv.role = ROLE_EXECUTOR;
    ev.recv.frame = (struct bytes){ frame.p, (uint32_t)frame.n };
    rig_step(&r, &ev);
    rig_io(&r, rig_io_of(&r, IO_WRITE)->id, 10);
    cr_assert_null(rig_told(&r, host, MSG_FETCHED), "not before all is there");
    rig_io(&r, look_id, 0);
    const struct msg_fetched *got = rig_told(&r, host, MSG_FETCHED);
    cr_assert(got && got->got.n == 2 && !got->got.v[0].code && !got->got.v[1].code &&
              got->got.v[1].total == 10);
    const struct action *told = rig_action(&r, ACT_HOST_SEND, 0);
    cr_assert(told->nblocks == 2 && told->blocks[0].root && !told->blocks[1].root);
    buf_fini(&frame);
    rig_fini(&r);
}

Test(executor_blocks, a_source_that_owes_an_answer_for_too_long_is_given_up)
{
    struct rig r;
    struct rec_peer far = peer_of("incarnation two.", "elsewhere");
    rig_ready(&r, 1);
    rig_driver(&r, MSG_STAGE,
               &(struct msg_stage){ .app = RIG_APP, .stage = 2, .version = 1, .peers = { &far, 1 } });
    rig_tasks(&r, 2, 0, 1, 1);
    uint64_t host = rig_action(&r, ACT_HOST_SEND, 0)->id, seq = 0;
    struct rec_want want = { .kind = WANT_BLOCK, .stage = 2 };
    rig_host(&r, host, MSG_FETCH, &(struct msg_fetch){ .wants = { &want, 1 } });
    rig_up(&r, rig_action(&r, ACT_DIAL, 0)->conn);
    for (int i = 0; i < 25 && !rig_told(&r, host, MSG_FETCHED); i++) {
        rig_time(&r, 1000);
        if (rig_told(&r, host, MSG_FETCHED))
            break;
        const struct msg_beat *b = rig_sent(&r, RIG_CONTROL, MSG_BEAT);
        seq = b ? b->seq : seq;
        rig_driver(&r, MSG_BEAT_ACK, &(struct msg_beat_ack){ .seq = seq });
    }
    const struct msg_fetched *got = rig_told(&r, host, MSG_FETCHED);
    cr_assert(got && got->got.v[0].code == BLOCK_UNREACHABLE);
    rig_fini(&r);
}

Test(executor_blocks, a_library_waits_for_the_data_connection)
{
    struct rig r;
    struct rec_lib lib = { .bytes = 4, .name = bytes_of("job.so") };
    struct rec_id lease = { RIG_LEASE };
    rig_init(&r, 1);
    memcpy(lib.id, r.library, ID_BYTES);
    rig_join(&r);
    rig_lease(&r, RIG_LEASE, 1);
    rig_driver(&r, MSG_HELLO, &(struct msg_hello){ .major = PROTO_MAJOR, .name = bytes_of("driver") });
    rig_driver(&r, MSG_ATTACH, &(struct msg_attach){ .app = RIG_APP, .leases = { &lease, 1 } });
    rig_driver(&r, MSG_STAGE,
               &(struct msg_stage){ .app = RIG_APP, .stage = 1, .version = 1, .libs = { &lib, 1 } });
    rig_tasks(&r, 1, 0, 1, 1);
    rig_data(&r, MSG_HELLO,
             &(struct msg_hello){ .major = PROTO_MAJOR, .plane = 1, .name = bytes_of("driver") });
    cr_assert(rig_sent(&r, RIG_DATA, MSG_BLOCK_GET));
    rig_down(&r, RIG_DATA, DOWN_CLOSED);
    cr_assert_null(rig_sent(&r, RIG_CONTROL, MSG_DONE), "a lost connection is no task's failure");
    rig_data(&r, MSG_HELLO,
             &(struct msg_hello){ .major = PROTO_MAJOR, .plane = 1, .name = bytes_of("driver") });
    cr_assert(rig_sent(&r, RIG_DATA, MSG_BLOCK_GET), "asked for again");
    rig_fini(&r);
}

Test(executor_blocks, a_saved_part_is_synced_before_it_is_told)
{
    struct rig r;
    struct msg_stage stage = { .app = RIG_APP, .stage = 2, .version = 1, .save_dir = bytes_of("/out") };
    rig_ready(&r, 1);
    rig_driver(&r, MSG_STAGE, &stage);
    const struct action *token = rig_io_of(&r, IO_TOKEN);
    cr_assert(token && !strcmp(token->io.path, "/out/_ferro/7/token"));
    uint64_t id = token->id;
    rig_tasks(&r, 2, 0, 1, 1);
    cr_assert_null(rig_action(&r, ACT_HOST_SEND, 0), "not before it is known where to");
    rig_io(&r, id, 0);
    uint64_t host = rig_action(&r, ACT_HOST_SEND, 0)->id;
    const struct msg_host_stage *m = rig_told(&r, host, MSG_HOST_STAGE);
    cr_assert(m && m->save == 1);
    struct rec_want want = { .kind = WANT_SAVE, .stage = 2, .part = 1, .attempt = 1 };
    rig_host(&r, host, MSG_FETCH, &(struct msg_fetch){ .wants = { &want, 1 } });
    const struct msg_fetched *got = rig_told(&r, host, MSG_FETCHED);
    cr_assert(got && got->got.v[0].code == BLOCK_DENIED, "another task's file");
    want.part = 0;
    rig_host(&r, host, MSG_FETCH, &(struct msg_fetch){ .wants = { &want, 1 } });
    const struct action *told = rig_action(&r, ACT_HOST_SEND, 0);
    cr_assert(told->nblocks == 1 && told->blocks[0].save && told->stage == 2);
    struct rec_report p = { .stage = 2, .attempt = 1, .flags = REPORT_SAVED_HERE, .out_bytes = 3 };
    rig_host(&r, host, MSG_DONE, &(struct msg_done){ .app = RIG_APP, .reports = { &p, 1 } });
    cr_assert_null(rig_sent(&r, RIG_CONTROL, MSG_DONE));
    cr_assert(rig_io_of(&r, IO_SYNC));
    rig_io(&r, rig_io_of(&r, IO_SYNC)->id, 0);
    cr_assert_eq(only_report(&r)->cause, CAUSE_OK);
    rig_fini(&r);
}
