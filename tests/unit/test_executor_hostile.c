/* test_executor_hostile.c - what a driver may not do to the executor that runs its tasks. */
#include "common/core/beat.h"
#include "tests/unit/rig_executor.h"

#include <criterion/criterion.h>
#include <string.h>
#include <time.h>

Test(executor_hostile, a_lease_named_many_times_is_attached_once)
{
    struct rig r;
    static struct rec_id ids[4096];
    rig_ready(&r, 1);
    for (int i = 0; i < 4096; i++)
        ids[i].id = RIG_LEASE;
    rig_driver(&r, MSG_ATTACH, &(struct msg_attach){ .app = RIG_APP, .leases = { ids, 4096 } });
    const struct msg_attached *m = rig_sent(&r, RIG_CONTROL, MSG_ATTACHED);
    cr_assert(m && m->leases.n == 1 && m->leases.v[0].id == RIG_LEASE);
    rig_fini(&r);
}

Test(executor_hostile, a_data_connection_carries_no_word_on_tasks)
{
    struct rig r;
    rig_init(&r, 1);
    rig_join(&r);
    rig_lease(&r, RIG_LEASE, 1);
    rig_data(&r, MSG_HELLO, &(struct msg_hello){ .major = PROTO_MAJOR, .plane = 1, .name = bytes_of("d") });
    rig_data(&r, MSG_STAGE,
             &(struct msg_stage){ .app = RIG_APP, .stage = 1, .version = 1, .body = bytes_of("p") });
    const struct msg_refuse *no = rig_sent(&r, RIG_DATA, MSG_REFUSE);
    cr_assert(no && no->code == REFUSE_ROLE && no->about == MSG_STAGE);
    rig_data(&r, MSG_APP_END, &(struct msg_app_end){ .app = RIG_APP });
    cr_assert(rig_sent(&r, RIG_DATA, MSG_REFUSE));
    cr_assert_null(rig_action(&r, ACT_REVOKE, 0));
    rig_data(&r, MSG_BEAT, &(struct msg_beat){ .seq = 4 });
    cr_assert(rig_sent(&r, RIG_DATA, MSG_BEAT_ACK));
    rig_fini(&r);
}

Test(executor_hostile, a_library_is_no_longer_than_was_said)
{
    struct rig r;
    static uint8_t mb[1 << 20];
    struct rec_lib lib = { .bytes = 3, .name = bytes_of("x") };
    memset(lib.id, 7, ID_BYTES);
    rig_init(&r, 1);
    rig_join(&r);
    rig_lease(&r, RIG_LEASE, 1);
    rig_attach(&r, 0);
    rig_driver(&r, MSG_STAGE,
               &(struct msg_stage){
                   .app = RIG_APP, .stage = 1, .version = 1, .body = bytes_of("p"), .libs = { &lib, 1 } });
    const struct msg_block_get *get = rig_sent(&r, RIG_DATA, MSG_BLOCK_GET);
    cr_assert(get);
    rig_data(&r, MSG_BLOCK_DATA,
             &(struct msg_block_data){ .tag = get->tag, .total = 1ull << 50, .bytes = { mb, sizeof mb } });
    cr_assert_null(rig_io_of(&r, IO_WRITE));
    rig_fini(&r);
}

Test(executor_hostile, key_numbers_are_used_again)
{
    struct rig r;
    uint32_t gone = 0;
    rig_init(&r, 1);
    rig_join(&r);
    for (uint64_t i = 0; i < 5000; i++) {
        rig_lease(&r, RIG_LEASE + i, 1);
        const struct action *a = rig_action(&r, ACT_CALL, 0);
        cr_assert(a && a->call.what == EXECUTOR_KEY);
        uint32_t own = ((const struct executor_key *)a->call.arg)->own;
        cr_assert(own >= 2 && own < 10, "application %d dials with key %u", (int)i, own);
        rig_manager(&r, MSG_APP_END, &(struct msg_app_end){ .app = RIG_APP });
        a = rig_action(&r, ACT_CALL, 0);
        cr_assert(a && a->call.what == EXECUTOR_KEY_GONE && *(const uint32_t *)a->call.arg == own);
        gone++;
    }
    cr_assert_eq(gone, 5000);
    rig_fini(&r);
}

/* Said once, counted always, and at some point enough. */
Test(executor_hostile, who_is_refused_all_the_time_is_cut)
{
    struct rig r;
    struct executor_counters c;
    uint32_t logged = 0, answered = 0, cut = 0, n = 0;
    rig_ready(&r, 1);
    for (; n < 5000 && !cut; n++) {
        rig_driver(&r, MSG_TASKS, &(struct msg_tasks){ .app = RIG_APP + 1, .stage = 1 });
        logged += rig_count(&r, ACT_LOG);
        answered += rig_sent(&r, RIG_CONTROL, MSG_REFUSE) != NULL;
        cut += rig_action(&r, ACT_CUT, 0) != NULL;
    }
    cr_assert(cut == 1 && n == 1001, "%u", n);
    cr_assert_eq(answered, 1000);
    cr_assert_eq(logged, 2, "the first refusal, and the cut");
    executor_counters(r.x, &c);
    cr_assert_eq(c.refused, 1001);
    rig_attach(&r, 0);
    cr_assert(rig_sent(&r, RIG_CONTROL, MSG_ATTACHED), "it may begin anew");
    rig_fini(&r);
}

/* Beats say which leases are held; one that is closing isn't. */
Test(executor_hostile, beats_carry_a_digest_of_leases)
{
    struct rig r;
    const struct msg_beat *beat;
    rig_init(&r, 2);
    rig_join(&r);
    rig_lease(&r, RIG_LEASE, 1);
    rig_lease(&r, RIG_LEASE + 1, 1);
    rig_time(&r, 1000);
    beat = rig_sent(&r, r.manager, MSG_BEAT);
    cr_assert(beat && beat->digest &&
              beat->digest == (lease_digest(RIG_LEASE) ^ lease_digest(RIG_LEASE + 1)));
    rig_manager(&r, MSG_LEASE_REVOKE, &(struct msg_lease_revoke){ .lease = RIG_LEASE });
    rig_time(&r, 1000);
    beat = rig_sent(&r, r.manager, MSG_BEAT);
    cr_assert(beat && beat->digest == lease_digest(RIG_LEASE + 1));
    rig_fini(&r);
}

/* ---- floods ---------------------------------------------------------------------------- */

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void queue_many(struct rig *r, uint32_t step)
{
    static struct rec_range v[4096];
    for (uint32_t k = 0; k < 8; k++) {
        for (uint32_t i = 0; i < 4096; i++)
            v[i] = (struct rec_range){ (k * 4096 + i) * step, 1, 1 };
        rig_driver(r, MSG_TASKS,
                   &(struct msg_tasks){ .app = RIG_APP, .stage = 1, .version = 1, .ranges = { v, 4096 } });
    }
}

Test(executor_hostile, a_cancel_costs_what_it_names_and_one_pass, .timeout = 60)
{
    struct rig r;
    static struct rec_run v[65536];
    rig_ready(&r, 4);
    queue_many(&r, 4);
    for (uint32_t i = 0; i < 65536; i++)
        v[i] = (struct rec_run){ i % 2 ? 2 : 1, i * 4 + 1, 3, 1 };
    double began = seconds();
    for (int k = 0; k < 10; k++) {
        rig_driver(&r, MSG_CANCEL, &(struct msg_cancel){ .app = RIG_APP, .runs = { v, 65536 } });
        rig_driver(&r, MSG_RECALL, &(struct msg_recall){ .app = RIG_APP, .stage = 2, .count = 1 });
    }
    cr_assert_lt(seconds() - began, 5, "%.1f s", seconds() - began);
    rig_fini(&r);
}

/* Splitting a run in its middle makes two: what is too many goes back. */
Test(executor_hostile, a_queue_that_cancels_cut_to_pieces_stays_bounded, .timeout = 60)
{
    struct rig r;
    static struct rec_run v[65536];
    uint64_t back = 0;
    rig_ready(&r, 1);
    rig_tasks(&r, 1, 0, 1000000, 1);
    for (uint32_t i = 0; i < 65536; i++)
        v[i] = (struct rec_run){ 1, i * 2 + 1001, 1, 1 };
    rig_driver(&r, MSG_CANCEL, &(struct msg_cancel){ .app = RIG_APP, .runs = { v, 65536 } });
    cr_assert(rig_sent(&r, RIG_CONTROL, MSG_RECALLED));
    rig_driver(&r, MSG_RECALL, &(struct msg_recall){ .app = RIG_APP, .stage = 1, .count = UINT32_MAX });
    for (uint32_t i = 0; rig_action(&r, ACT_SEND, i); i++)
        back++;
    cr_assert(back <= 32768 / 4096, "%d messages", (int)back);
    rig_fini(&r);
}

Test(executor_hostile, a_task_named_twice_runs_once)
{
    struct rig r;
    struct rec_range v[3] = { { 10, 20, 1 }, { 5, 10, 1 }, { 12, 3, 1 } };
    uint32_t n = 0;
    rig_ready(&r, 1);
    rig_tasks(&r, 1, 0, 1, 1); /* keeps the host busy */
    rig_driver(&r, MSG_TASKS,
               &(struct msg_tasks){ .app = RIG_APP, .stage = 1, .version = 1, .ranges = { v, 3 } });
    rig_driver(&r, MSG_RECALL, &(struct msg_recall){ .app = RIG_APP, .stage = 1, .count = 1000 });
    const struct msg_recalled *m = rig_sent(&r, RIG_CONTROL, MSG_RECALLED);
    for (uint32_t i = 0; m && i < m->runs.n; i++)
        n += m->runs.v[i].count;
    cr_assert_eq(n, 25);
    rig_fini(&r);
}

Test(executor_hostile, cancels_leave_what_they_do_not_name)
{
    struct rig r;
    struct rec_run v[4] = { { 1, 50, 10, 1 }, { 1, 20, 5, 1 }, { 1, 22, 8, 1 }, { 1, 0, 100, 2 } };
    static const uint32_t left[3][2] = { { 10, 10 }, { 30, 20 }, { 60, 30 } };
    rig_ready(&r, 1);
    rig_tasks(&r, 1, 0, 1, 1);
    rig_tasks(&r, 1, 10, 80, 1);
    rig_driver(&r, MSG_CANCEL, &(struct msg_cancel){ .app = RIG_APP, .runs = { v, 4 } });
    rig_driver(&r, MSG_RECALL, &(struct msg_recall){ .app = RIG_APP, .stage = 1, .count = 1000 });
    const struct msg_recalled *m = rig_sent(&r, RIG_CONTROL, MSG_RECALLED);
    cr_assert(m && m->runs.n == 3);
    for (int i = 0; i < 3; i++)
        cr_expect(m->runs.v[i].first == left[i][0] && m->runs.v[i].count == left[i][1], "%d: %u+%u", i,
                  m->runs.v[i].first, m->runs.v[i].count);
    rig_fini(&r);
}

/* Versions take each other's place, and what is freed is free. */
Test(executor_hostile, stages_have_a_budget_of_bytes, .timeout = 60)
{
    struct rig r;
    static struct rec_cut cuts[400000];
    struct rec_input in = { .cuts = { cuts, 400000 } };
    struct msg_stage m = { .app = RIG_APP, .version = 1, .inputs = { &in, 1 } };
    for (uint32_t i = 0; i < 400000; i++)
        cuts[i].key = bytes_of("fourteen bytes");
    rig_ready(&r, 1);
    for (; m.version < 40; m.version++) {
        m.stage = 9;
        rig_driver(&r, MSG_STAGE, &m);
        cr_assert_null(rig_sent(&r, RIG_CONTROL, MSG_REFUSE), "version %u", m.version);
    }
    for (m.stage = 10; m.stage < 100; m.stage++) {
        rig_driver(&r, MSG_STAGE, &m);
        if (rig_sent(&r, RIG_CONTROL, MSG_REFUSE))
            break;
    }
    const struct msg_refuse *no = rig_sent(&r, RIG_CONTROL, MSG_REFUSE);
    cr_assert(no && no->code == REFUSE_LIMIT && no->about == m.stage);
    cr_assert(m.stage > 20 && m.stage < 10 + 40, "%u", m.stage);
    struct rec_num freed = { 10 };
    rig_driver(&r, MSG_BLOCK_FREE, &(struct msg_block_free){ .app = RIG_APP, .stages = { &freed, 1 } });
    rig_driver(&r, MSG_STAGE, &m);
    cr_assert_null(rig_sent(&r, RIG_CONTROL, MSG_REFUSE));
    rig_fini(&r);
}

Test(executor_hostile, a_list_of_stages_is_freed_at_once_and_unknown_ones_not_at_all)
{
    struct rig r;
    static struct rec_num v[65536];
    struct msg_block_free m = { .app = RIG_APP, .stages = { v, 65536 } };
    uint32_t frees = 0;
    rig_ready(&r, 1);
    for (uint32_t i = 0; i < 65536; i++)
        v[i].n = i + 1000;
    rig_driver(&r, MSG_BLOCK_FREE, &m);
    cr_assert_null(rig_action(&r, ACT_IO, 0));
    for (uint32_t i = 0; i < 5; i++)
        rig_stage(&r, 2000 + i, 1);
    rig_driver(&r, MSG_BLOCK_FREE, &m);
    cr_assert_eq(rig_count(&r, ACT_IO), 1);
    cr_assert_eq(rig_io_of(&r, IO_FREE)->io.bytes.n, 4 * sizeof(uint32_t));
    uint64_t id = rig_io_of(&r, IO_FREE)->id;
    for (m.stages.n = 1; frees < 10000; frees++) {
        v[0].n = 70000 + frees;
        rig_stage(&r, v[0].n, 1);
        rig_driver(&r, MSG_BLOCK_FREE, &m);
        if (rig_sent(&r, RIG_CONTROL, MSG_REFUSE))
            break;
    }
    cr_assert_eq(frees, 4095, "%u are under way", frees);
    rig_io(&r, id, 0);
    rig_driver(&r, MSG_BLOCK_FREE, &m);
    cr_assert(rig_io_of(&r, IO_FREE), "that was kept, and goes when there is room");
    rig_tasks(&r, 1, 0, 1, 1);
    cr_assert(rig_action(&r, ACT_HOST_SEND, 0), "tasks don't wait for it");
    rig_fini(&r);
}

/* What is on its way counts before it is here, and by all that it will be. */
Test(executor_hostile, copies_keep_to_the_blocks_budget)
{
    struct rig r;
    static uint8_t bytes[700 << 10];
    uint64_t hosts[2], writes[2];
    rig_ready(&r, 2);
    rig_tasks(&r, 1, 0, 2, 1);
    for (int i = 0; i < 2; i++)
        hosts[i] = rig_action(&r, ACT_HOST_SEND, i ? 2 : 0)->id;
    for (int i = 0; i < 2; i++) {
        struct rec_want want = { .kind = WANT_DRIVER, .stage = 1, .part = (uint32_t)i };
        memset(want.block, 40 + i, ID_BYTES);
        rig_host(&r, hosts[i], MSG_FETCH, &(struct msg_fetch){ .wants = { &want, 1 } });
        const struct msg_block_get *get = rig_sent(&r, RIG_DATA, MSG_BLOCK_GET);
        cr_assert(get);
        rig_data(&r, MSG_BLOCK_DATA,
                 &(struct msg_block_data){
                     .tag = get->tag, .total = sizeof bytes, .bytes = { bytes, sizeof bytes } });
        const struct action *w = rig_io_of(&r, IO_WRITE);
        cr_assert(w && w->io.length == sizeof bytes);
        cr_expect_eq(w->io.last, i == 1, "of 1 MiB, copy %d", i);
        writes[i] = w->id;
    }
    for (int i = 0; i < 2; i++)
        rig_io(&r, writes[i], sizeof bytes);
    rig_fini(&r);
}
