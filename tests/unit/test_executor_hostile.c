/* test_executor_hostile.c - what a driver may not do to the executor that runs its tasks. */
#include "common/core/beat.h"
#include "tests/unit/rig_executor.h"

#include <criterion/criterion.h>
#include <string.h>

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
