/* test_executor.c - the executor's core as a member: joining, leases, applications, silence, draining. */
#include "tests/unit/rig_executor.h"

#include <criterion/criterion.h>
#include <string.h>

Test(executor, says_who_it_is_and_keeps_a_blank_host_a_slot)
{
    struct rig r;
    rig_init(&r, 3);
    rig_step(&r, &(struct event){ .kind = EV_START, .start = { .seed = 1 } });
    cr_assert_eq(rig_count(&r, ACT_SPAWN), 3);
    rig_fini(&r);
}

Test(executor, joins_with_its_throw_away_key)
{
    struct rig r;
    rig_init(&r, 2);
    rig_join(&r);
    rig_time(&r, 1000);
    const struct msg_beat *beat = rig_sent(&r, r.manager, MSG_BEAT);
    cr_assert(beat && beat->seq > 0, "it beats once it has joined");
    rig_fini(&r);
}

Test(executor, exits_when_the_join_key_is_not_admitted)
{
    struct rig r;
    rig_init(&r, 1);
    rig_step(&r, &(struct event){ .kind = EV_START });
    rig_down(&r, rig_action(&r, ACT_DIAL, 0)->conn, DOWN_UNAUTHORISED);
    cr_assert(rig_action(&r, ACT_EXIT, 0));
    cr_assert_eq(rig_action(&r, ACT_EXIT, 0)->exit_code, 5);
    rig_fini(&r);
}

Test(executor, enrols_anew_with_a_manager_that_forgot_it)
{
    struct rig r;
    rig_init(&r, 1);
    rig_join(&r);
    rig_down(&r, r.manager, DOWN_CLOSED);
    cr_assert_null(rig_action(&r, ACT_DIAL, 0), "not at once: with backoff");
    rig_time(&r, 1000);
    cr_assert_eq(rig_action(&r, ACT_DIAL, 0)->dial.own, 0);
    rig_down(&r, rig_action(&r, ACT_DIAL, 0)->conn, DOWN_UNAUTHORISED);
    cr_assert(rig_action(&r, ACT_DIAL, 0), "its key isn't known: the join key admits it again");
    cr_assert_eq(rig_action(&r, ACT_DIAL, 0)->dial.own, 1);
    rig_fini(&r);
}

Test(executor, a_refused_key_right_after_enrolling_waits)
{
    struct rig r;
    rig_init(&r, 1);
    rig_step(&r, &(struct event){ .kind = EV_START });
    r.manager = rig_action(&r, ACT_DIAL, 0)->conn;
    rig_up(&r, r.manager);
    rig_manager(&r, MSG_ENROLLED, NULL);
    rig_down(&r, rig_action(&r, ACT_DIAL, 0)->conn, DOWN_UNAUTHORISED);
    cr_assert_null(rig_action(&r, ACT_DIAL, 0), "no storm of handshakes");
    rig_fini(&r);
}

Test(executor, refuses_a_lower_epoch)
{
    struct rig r;
    rig_init(&r, 1);
    rig_join(&r);
    r.epoch = RIG_EPOCH - 1;
    rig_lease(&r, RIG_LEASE, 1);
    const struct msg_refuse *no = rig_sent(&r, r.manager, MSG_REFUSE);
    cr_assert(no && no->code == REFUSE_EPOCH);
    cr_assert_null(rig_sent(&r, r.manager, MSG_LEASE_OPENED));
    cr_assert_null(rig_action(&r, ACT_ADMIT, 0));
    cr_assert(rig_action(&r, ACT_EXIT, 0));
    rig_fini(&r);
}

Test(executor, starts_afresh_when_given_up)
{
    struct rig r;
    rig_init(&r, 1);
    rig_join(&r);
    rig_manager(&r, MSG_REFUSE, &(struct msg_refuse){ .code = REFUSE_GENERATION, .words = bytes_of("lost") });
    cr_assert_eq(rig_action(&r, ACT_EXIT, 0)->exit_code, EXECUTOR_AGAIN);
    cr_assert(rig_action(&r, ACT_KILL, 0), "its hosts end first");
    rig_fini(&r);
}

Test(executor, a_refusal_of_one_frame_is_not_the_end)
{
    struct rig r;
    rig_init(&r, 1);
    rig_join(&r);
    rig_manager(&r, MSG_REFUSE,
                &(struct msg_refuse){
                    .code = REFUSE_GENERATION, .about = MSG_LEASE_CLOSED, .words = bytes_of("stale") });
    cr_assert_null(rig_action(&r, ACT_EXIT, 0));
    rig_fini(&r);
}

Test(executor, dials_anew_when_the_manager_is_silent)
{
    struct rig r;
    rig_init(&r, 1);
    rig_join(&r);
    for (int i = 0; i < 21; i++) { /* frames come, but no echo: a partition in one direction */
        rig_manager(&r, MSG_BEAT, &(struct msg_beat){ .seq = 1 });
        rig_time(&r, 1000);
        if (rig_action(&r, ACT_CUT, 0))
            break;
        cr_assert_lt(i, 20);
    }
    cr_assert(rig_action(&r, ACT_CUT, 0) && rig_action(&r, ACT_CUT, 0)->conn == r.manager);
    rig_fini(&r);
}

/* ---- leases ------------------------------------------------------------------- */

Test(executor, opens_a_lease_and_admits_its_keys)
{
    struct rig r;
    rig_init(&r, 2);
    rig_join(&r);
    rig_lease(&r, RIG_LEASE, 2);
    const struct msg_lease_opened *m = rig_sent(&r, r.manager, MSG_LEASE_OPENED);
    cr_assert(m && m->lease == RIG_LEASE);
    cr_assert_eq(rig_count(&r, ACT_ADMIT), 2);
    cr_assert_eq(rig_action(&r, ACT_ADMIT, 0)->admit.role, ROLE_DRIVER);
    cr_assert_eq(rig_action(&r, ACT_ADMIT, 1)->admit.role, ROLE_FETCH);
    rig_lease(&r, RIG_LEASE, 2);
    cr_assert(rig_sent(&r, r.manager, MSG_LEASE_OPENED), "a repeated LEASE_OPEN gets the same answer");
    rig_lease(&r, RIG_LEASE + 1, 1);
    cr_assert(rig_sent(&r, r.manager, MSG_LEASE_CLOSED), "no slot is leased twice");
    cr_assert_null(rig_sent(&r, r.manager, MSG_LEASE_OPENED));
    rig_fini(&r);
}

Test(executor, a_lease_that_nobody_attaches_to_closes)
{
    struct rig r;
    rig_init(&r, 1);
    rig_join(&r);
    rig_lease(&r, RIG_LEASE, 1);
    rig_time(&r, 9000);
    cr_assert_null(rig_sent(&r, r.manager, MSG_LEASE_CLOSED));
    rig_time(&r, 1500);
    cr_assert(rig_sent(&r, r.manager, MSG_LEASE_CLOSED));
    rig_fini(&r);
}

Test(executor, slots_come_back_only_when_hosts_are_reaped)
{
    struct rig r;
    rig_ready(&r, 1);
    rig_tasks(&r, 1, 0, 1, 1);
    uint64_t host = rig_action(&r, ACT_HOST_SEND, 0)->id;
    rig_manager(&r, MSG_LEASE_REVOKE,
                &(struct msg_lease_revoke){ .lease = RIG_LEASE, .words = bytes_of("wanted elsewhere") });
    cr_assert(rig_action(&r, ACT_KILL, 0));
    cr_assert_null(rig_sent(&r, r.manager, MSG_LEASE_CLOSED), "its host may still run");
    rig_lease(&r, RIG_LEASE, 1);
    cr_assert_null(rig_sent(&r, r.manager, MSG_LEASE_OPENED), "a closing lease is not opened again");
    rig_exit(&r, host, 0, 9, "");
    cr_assert(rig_sent(&r, r.manager, MSG_LEASE_CLOSED));
    const struct msg_recalled *back = rig_sent(&r, RIG_CONTROL, MSG_RECALLED);
    cr_assert(back && back->runs.n == 1, "its task goes back, and is no failure");
    cr_assert_null(rig_sent(&r, RIG_CONTROL, MSG_DONE));
    rig_fini(&r);
}

Test(executor, a_revoked_lease_with_grace_finishes_what_runs)
{
    struct rig r;
    rig_ready(&r, 1);
    rig_tasks(&r, 1, 0, 5, 1);
    uint64_t host = rig_action(&r, ACT_HOST_SEND, 0)->id;
    rig_manager(&r, MSG_LEASE_REVOKE, &(struct msg_lease_revoke){ .lease = RIG_LEASE, .grace_ms = 5000 });
    cr_assert_null(rig_action(&r, ACT_KILL, 0));
    const struct msg_recalled *back = rig_sent(&r, RIG_CONTROL, MSG_RECALLED);
    cr_assert(back && back->runs.v[0].first == 1 && back->runs.v[0].count == 4,
              "what is unstarted goes back at once");
    rig_done(&r, host, 1, 0, 1, 1, 1000);
    cr_assert(rig_sent(&r, RIG_CONTROL, MSG_DONE));
    cr_assert(rig_action(&r, ACT_KILL, 0), "then it ends");
    rig_exit(&r, host, 0, 9, "");
    cr_assert(rig_sent(&r, r.manager, MSG_LEASE_CLOSED));
    rig_fini(&r);
}

Test(executor, rejoins_with_all_that_it_holds)
{
    struct rig r;
    rig_ready(&r, 2);
    rig_down(&r, r.manager, DOWN_CLOSED);
    rig_manager(&r, MSG_LEASE_REVOKE,
                &(struct msg_lease_revoke){ .lease = RIG_LEASE }); /* of a dead connection */
    rig_time(&r, 1000);
    r.manager = rig_action(&r, ACT_DIAL, 0)->conn;
    rig_up(&r, r.manager);
    const struct msg_join *j = rig_sent(&r, r.manager, MSG_JOIN);
    cr_assert(j && j->holdings.n == 1 && j->holdings.v[0].lease == RIG_LEASE && j->holdings.v[0].slots == 2);
    cr_assert(j->apps.n == 1 && j->epoch_max == RIG_EPOCH);
    rig_manager(&r, MSG_WELCOME, &(struct msg_welcome){ .generation = RIG_GENERATION + 1, .beat_ms = 1000 });
    struct rec_id lease = { RIG_LEASE };
    rig_manager(&r, MSG_JOINED, &(struct msg_joined){ .end = { &lease, 1 } });
    cr_assert_eq(rig_count(&r, ACT_KILL), 2, "a holding that is not kept ends");
    rig_fini(&r);
}

Test(executor, a_lease_that_closed_meanwhile_is_told_after_joining)
{
    struct rig r;
    rig_ready(&r, 1);
    rig_down(&r, r.manager, DOWN_CLOSED);
    conn_id old = r.manager;
    uint64_t host = 0;
    for (int i = 0; i < 20 && host == 0; i++) { /* its driver is silent too */
        rig_time(&r, 1000);
        host = rig_action(&r, ACT_KILL, 0) ? rig_action(&r, ACT_KILL, 0)->id : 0;
        if (rig_action(&r, ACT_DIAL, 0))
            rig_down(&r, rig_action(&r, ACT_DIAL, 0)->conn, DOWN_REFUSED);
    }
    cr_assert_neq(host, 0);
    rig_exit(&r, host, 0, 9, "");
    cr_assert_null(rig_sent(&r, old, MSG_LEASE_CLOSED));
    for (int i = 0; i < 3 && !rig_action(&r, ACT_DIAL, 0); i++)
        rig_time(&r, 1000);
    r.manager = rig_action(&r, ACT_DIAL, 0)->conn;
    rig_up(&r, r.manager);
    rig_manager(&r, MSG_WELCOME, &(struct msg_welcome){ .generation = RIG_GENERATION, .beat_ms = 1000 });
    rig_manager(&r, MSG_JOINED, &(struct msg_joined){ 0 });
    cr_assert(rig_sent(&r, r.manager, MSG_LEASE_CLOSED));
    rig_fini(&r);
}

/* ---- applications -------------------------------------------------------------- */

Test(executor, nothing_is_left_of_an_application_that_ended)
{
    struct rig r;
    rig_ready(&r, 1);
    rig_manager(&r, MSG_APP_END, &(struct msg_app_end){ .app = RIG_APP });
    cr_assert_null(rig_sent(&r, r.manager, MSG_APP_ENDED), "its host is still there");
    rig_exit(&r, rig_action(&r, ACT_KILL, 0)->id, 0, 9, "");
    cr_assert_eq(rig_count(&r, ACT_REVOKE), 2);
    const struct action *gone = rig_io_of(&r, IO_FREE);
    cr_assert(gone && gone->app == RIG_APP && gone->stage == UINT32_MAX);
    cr_assert(rig_sent(&r, r.manager, MSG_LEASE_CLOSED));
    cr_assert(rig_sent(&r, r.manager, MSG_APP_ENDED));
    rig_manager(&r, MSG_APP_END, &(struct msg_app_end){ .app = RIG_APP });
    cr_assert(rig_sent(&r, r.manager, MSG_APP_ENDED), "said again when asked again");
    rig_tasks(&r, 1, 0, 1, 1);
    const struct msg_refuse *no = rig_sent(&r, RIG_CONTROL, MSG_REFUSE);
    cr_assert(no && no->code == REFUSE_NO_APP);
    rig_fini(&r);
}

Test(executor, a_driver_speaks_for_its_own_application_only)
{
    struct rig r;
    rig_ready(&r, 1);
    rig_driver(&r, MSG_APP_END, &(struct msg_app_end){ .app = RIG_APP + 1 });
    const struct msg_refuse *no = rig_sent(&r, RIG_CONTROL, MSG_REFUSE);
    cr_assert(no && no->code == REFUSE_DENIED);
    rig_driver(&r, MSG_APP_END, &(struct msg_app_end){ .app = RIG_APP });
    cr_assert(rig_action(&r, ACT_KILL, 0), "and may end that itself");
    rig_fini(&r);
}

Test(executor, nothing_comes_before_hello_and_attach)
{
    struct rig r;
    rig_init(&r, 1);
    rig_join(&r);
    rig_lease(&r, RIG_LEASE, 1);
    rig_tasks(&r, 1, 0, 1, 1);
    const struct msg_refuse *no = rig_sent(&r, RIG_CONTROL, MSG_REFUSE);
    cr_assert(no && no->code == REFUSE_VERSION);
    rig_driver(&r, MSG_HELLO, &(struct msg_hello){ .major = PROTO_MAJOR + 1, .name = bytes_of("new") });
    no = rig_sent(&r, RIG_CONTROL, MSG_REFUSE);
    cr_assert(no && no->code == REFUSE_VERSION, "another major is refused");
    rig_driver(&r, MSG_HELLO, &(struct msg_hello){ .major = PROTO_MAJOR, .name = bytes_of("driver") });
    rig_tasks(&r, 1, 0, 1, 1);
    no = rig_sent(&r, RIG_CONTROL, MSG_REFUSE);
    cr_assert(no && no->code == REFUSE_NO_LEASE);
    rig_fini(&r);
}

Test(executor, a_replay_of_an_older_epoch_is_refused)
{
    struct rig r;
    rig_ready(&r, 1);
    r.epoch = RIG_EPOCH + 1; /* the manager restarted, and its driver has heard */
    rig_attach(&r, 0);
    cr_assert(rig_sent(&r, RIG_CONTROL, MSG_ATTACHED));
    r.epoch = RIG_EPOCH;
    rig_tasks(&r, 1, 0, 1, 1);
    cr_assert_null(rig_sent(&r, RIG_CONTROL, MSG_REFUSE), "what was on its way then is good");
    rig_attach(&r, 0);
    const struct msg_refuse *no = rig_sent(&r, RIG_CONTROL, MSG_REFUSE);
    cr_assert(no && no->code == REFUSE_EPOCH && no->about == MSG_ATTACH);
    r.epoch = RIG_EPOCH - 1; /* before this application was here */
    rig_tasks(&r, 1, 1, 1, 1);
    no = rig_sent(&r, RIG_CONTROL, MSG_REFUSE);
    cr_assert(no && no->code == REFUSE_EPOCH && no->about == MSG_TASKS);
    rig_fini(&r);
}

Test(executor, a_silent_driver_loses_its_hosts_and_then_its_blocks)
{
    struct rig r;
    uint64_t ms = 0, host = 0;
    rig_ready(&r, 1);
    for (; ms < 40000; ms += 500) {
        rig_time(&r, 500);
        if (rig_io_of(&r, IO_FREE))
            break;
        if (rig_action(&r, ACT_KILL, 0)) {
            host = rig_action(&r, ACT_KILL, 0)->id;
            cr_assert(ms > 14000 && ms < 17000, "hosts end after %d ms", (int)ms);
            rig_exit(&r, host, 0, 9, "");
        }
        for (uint64_t seq = 1; seq < 50; seq++) /* the manager answers */
            rig_manager(&r, MSG_BEAT_ACK, &(struct msg_beat_ack){ .seq = seq });
    }
    cr_assert_neq(host, 0);
    cr_assert(ms > 29000 && ms < 32000, "blocks go after %d ms", (int)ms);
    rig_fini(&r);
}

Test(executor, deadlines_are_never_in_the_past)
{
    struct rig r;
    rig_ready(&r, 1);
    rig_tasks(&r, 1, 0, 1, 1);
    rig_manager(&r, MSG_APP_END, &(struct msg_app_end){ .app = RIG_APP }); /* its host is not reaped yet */
    for (int i = 0; i < 100; i++) {
        rig_time(&r, 700);
        cr_assert_gt(executor_deadline(r.x), r.now, "it would spin");
    }
    rig_fini(&r);
}

/* ---- leaving ---------------------------------------------------------------------- */

Test(executor, an_idle_executor_leaves_at_once)
{
    struct rig r;
    rig_init(&r, 1);
    rig_join(&r);
    rig_step(&r, &(struct event){ .kind = EV_CALL, .call = { .what = EXECUTOR_DRAIN } });
    cr_assert(rig_sent(&r, r.manager, MSG_DRAIN));
    cr_assert(rig_sent(&r, r.manager, MSG_BYE));
    cr_assert_eq(rig_action(&r, ACT_EXIT, 0)->exit_code, 0);
    rig_fini(&r);
}

Test(executor, a_draining_executor_finishes_first_and_takes_nothing_new)
{
    struct rig r;
    rig_ready(&r, 2);
    rig_tasks(&r, 1, 0, 1, 1);
    uint64_t host = rig_action(&r, ACT_HOST_SEND, 0)->id;
    rig_step(&r, &(struct event){ .kind = EV_CALL, .call = { .what = EXECUTOR_DRAIN } });
    cr_assert(rig_sent(&r, r.manager, MSG_DRAIN));
    cr_assert_null(rig_action(&r, ACT_EXIT, 0));
    rig_lease(&r, RIG_LEASE + 1, 1);
    cr_assert(rig_sent(&r, r.manager, MSG_LEASE_CLOSED));
    rig_done(&r, host, 1, 0, 1, 1, 1000);
    cr_assert(rig_sent(&r, RIG_CONTROL, MSG_DONE));
    cr_assert_null(rig_action(&r, ACT_EXIT, 0), "its driver may not have heard");
    rig_driver(&r, MSG_DONE_ACK, &(struct msg_done_ack){ .app = RIG_APP, .seq = 1 });
    cr_assert(rig_sent(&r, r.manager, MSG_BYE), "nothing holds it any more");
    cr_assert(rig_action(&r, ACT_EXIT, 0));
    rig_fini(&r);
}

Test(executor, a_draining_executor_does_not_wait_for_ever)
{
    struct rig r;
    rig_ready(&r, 1);
    rig_tasks(&r, 1, 0, 1, 1);
    rig_step(&r, &(struct event){ .kind = EV_CALL, .call = { .what = EXECUTOR_DRAIN } });
    rig_time(&r, 29000);
    cr_assert_null(rig_action(&r, ACT_EXIT, 0));
    rig_time(&r, 1001);
    cr_assert(rig_sent(&r, r.manager, MSG_BYE));
    cr_assert(rig_action(&r, ACT_EXIT, 0));
    rig_fini(&r);
}
