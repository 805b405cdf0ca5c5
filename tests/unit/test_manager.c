/* test_manager.c - the manager's core: executors come and go, leases open and close, what both sides hold settles. */
#include "tests/unit/test_manager_world.h"

#include "common/core/beat.h"

enum { E1 = 10, E2 = 11, E3 = 12, D1 = 20, D2 = 21, D3 = 22, AGAIN = 30 };

static struct world w;

static void set_up(void)
{
    world_init(&w);
}

static void tear_down(void)
{
    world_fini(&w);
}

TestSuite(manager, .init = set_up, .fini = tear_down);

static void closed(conn_id executor, uint64_t lease)
{
    world_send(&w, executor, MSG_LEASE_CLOSED, &(struct msg_lease_closed){ .lease = lease });
}

static void refused(conn_id conn, enum refusal code)
{
    const struct msg_refuse *r = TAKE(&w, conn, REFUSE, refuse);
    cr_assert_not_null(r);
    cr_assert_eq(r->code, code, "%.*s", (int)r->words.n, r->words.p);
}

/* All live peers echo their beats for that long. */
static void live(uint64_t ns, const conn_id *conns, uint32_t n)
{
    for (uint64_t t = 0; t < ns; t += SECOND / 2) {
        world_time(&w, SECOND / 2);
        for (uint32_t i = 0; i < n; i++) {
            const struct msg_beat *b;
            while ((b = TAKE(&w, conns[i], BEAT, beat)))
                world_send(&w, conns[i], MSG_BEAT_ACK, &(struct msg_beat_ack){ .seq = b->seq });
        }
    }
}

/* ---- joining ----------------------------------------------------------------- */

Test(manager, enrols_and_joins_the_same_key_twice_as_once)
{
    world_executor(&w, E1, 2);
    cr_assert(world_admits(&w, E1));
    world_enrol(&w, E1);
    cr_assert_not_null(TAKE(&w, JOIN_KEY, ENROLLED, enrolled));
    world_join(&w, E1, E1, 2, NULL, 0);
    cr_assert_not_null(TAKE(&w, E1, JOINED, joined));
    struct manager_counters c = world_counters(&w);
    cr_assert_eq(c.executors, 1);
    cr_assert_eq(c.slots, 2);
}

Test(manager, refuses_what_executors_may_not_do)
{
    world_executor(&w, E1, 2);
    world_executor(&w, E2, 2);
    world_join(&w, E1, E2, 2, NULL, 0); /* another incarnation under the same key */
    refused(E1, REFUSE_MALFORMED);
    struct msg_join late = { .epoch_max = w.epoch + 1 };
    memset(late.incarnation, E1, ID_BYTES);
    world_send(&w, E1, MSG_JOIN, &late);
    refused(E1, REFUSE_EPOCH);
    world_enrol(&w, USER); /* a key that is somebody's */
    refused(JOIN_KEY, REFUSE_DENIED);
    world_send(&w, USER, MSG_ENROL, &(struct msg_enrol){ 0 });
    refused(USER, REFUSE_ROLE);
    w.conns[E1].epoch--;
    closed(E1, 1);
    refused(E1, REFUSE_EPOCH);
    w.conns[E1].epoch++;
    w.conns[E1].generation++;
    closed(E1, 1);
    refused(E1, REFUSE_GENERATION);
}

Test(manager, second_connection_of_an_incarnation_replaces_the_first)
{
    world_executor(&w, E1, 2);
    world_key(&w, AGAIN, E1);
    world_hello(&w, AGAIN, ROLE_EXECUTOR);
    world_join(&w, AGAIN, E1, 2, NULL, 0);
    cr_assert_not_null(TAKE(&w, AGAIN, JOINED, joined));
    cr_assert(world_was_cut(&w, E1));
    cr_assert_eq(world_counters(&w).executors, 1);
    cr_assert_eq(w.nprobes, 0);
}

/* ---- leases ------------------------------------------------------------------- */

Test(manager, grants_only_what_the_executor_opened)
{
    uint64_t app = world_app(&w, D1);
    world_executor(&w, E1, 2);
    world_ask(&w, D1, app, 1, 2);
    const struct msg_lease_open *o = TAKE(&w, E1, LEASE_OPEN, lease_open);
    cr_assert_not_null(o);
    cr_assert_eq(o->slots, 2);
    cr_assert_eq(o->memory, WORLD_SLOT_MEMORY);
    cr_assert_eq(o->driver_key[0], D1);
    cr_assert_null(TAKE(&w, D1, LEASE_GRANT, lease_grant));
    world_send(&w, E1, MSG_LEASE_OPENED, &(struct msg_lease_opened){ .lease = o->lease });
    const struct msg_lease_grant *g = TAKE(&w, D1, LEASE_GRANT, lease_grant);
    cr_assert_not_null(g);
    cr_assert_eq(g->lease, o->lease);
    cr_assert_eq(g->generation, w.conns[E1].generation);
    cr_assert_eq(g->incarnation[3], E1);
    cr_assert_eq(g->key[3], E1);
    world_send(&w, E1, MSG_LEASE_OPENED, &(struct msg_lease_opened){ .lease = o->lease });
    cr_assert_null(TAKE(&w, D1, LEASE_GRANT, lease_grant)); /* said twice, granted once */
}

Test(manager, slots_return_only_when_the_executor_closed_the_lease)
{
    uint64_t a = world_app(&w, D1), b = world_app(&w, D2);
    world_executor(&w, E1, 2);
    world_ask(&w, D1, a, 1, 2);
    uint64_t lease = world_open(&w, E1);
    world_ask(&w, D2, b, 1, 1);
    world_ask(&w, D1, a, 2, 0);
    world_send(&w, D1, MSG_LEASE_RETURN, &(struct msg_lease_return){ .lease = lease });
    cr_assert_not_null(TAKE(&w, E1, LEASE_REVOKE, lease_revoke));
    world_time(&w, 3 * SECOND);
    cr_assert_null(TAKE(&w, E1, LEASE_OPEN, lease_open));
    cr_assert_eq(world_counters(&w).slots_used, 2);
    closed(E1, lease);
    const struct msg_lease_open *o = TAKE(&w, E1, LEASE_OPEN, lease_open);
    cr_assert_not_null(o);
    cr_assert_eq(o->app, b);
    cr_assert_eq(world_counters(&w).slots_used, 1);
    cr_assert_null(TAKE(&w, D1, LEASE_REVOKE, lease_revoke)); /* it gave it back itself */
}

Test(manager, tells_the_driver_of_a_lease_that_its_executor_closed)
{
    uint64_t app = world_app(&w, D1);
    world_executor(&w, E1, 1);
    world_ask(&w, D1, app, 1, 1);
    uint64_t lease = world_open(&w, E1);
    closed(E1, lease);
    cr_assert_eq(TAKE(&w, D1, LEASE_REVOKE, lease_revoke)->lease, lease);
    cr_assert_neq(world_open(&w, E1), lease); /* and it gets another */
}

Test(manager, executor_that_refuses_a_lease_is_not_asked_again_at_once)
{
    uint64_t app = world_app(&w, D1);
    world_executor(&w, E1, 1);
    world_ask(&w, D1, app, 1, 1);
    closed(E1, TAKE(&w, E1, LEASE_OPEN, lease_open)->lease);
    cr_assert_null(TAKE(&w, E1, LEASE_OPEN, lease_open));
    world_time(&w, 2 * SECOND);
    cr_assert_not_null(TAKE(&w, E1, LEASE_OPEN, lease_open));
}

Test(manager, bad_lease_bars_that_pair_alone_for_a_time)
{
    uint64_t a = world_app(&w, D1), b = world_app(&w, D2);
    const conn_id all[] = { E1, D1, D2 };
    world_executor(&w, E1, 1);
    world_ask(&w, D1, a, 1, 1);
    uint64_t lease = world_open(&w, E1);
    world_send(&w, D1, MSG_LEASE_BAD,
               &(struct msg_lease_bad){ .lease = lease, .code = 111, .words = bytes_of("refused") });
    closed(E1, lease);
    cr_assert_null(TAKE(&w, E1, LEASE_OPEN, lease_open));
    world_ask(&w, D2, b, 1, 1);
    lease = world_open(&w, E1);
    cr_assert_neq(lease, 0);
    world_ask(&w, D2, b, 2, 0);
    world_send(&w, D2, MSG_LEASE_RETURN, &(struct msg_lease_return){ .lease = lease });
    closed(E1, lease);
    live(29 * SECOND, all, 3);
    cr_assert_null(TAKE(&w, E1, LEASE_OPEN, lease_open));
    live(2 * SECOND, all, 3);
    cr_assert_eq(TAKE(&w, E1, LEASE_OPEN, lease_open)->app, a);
}

Test(manager, other_drivers_leases_are_not_ones_own)
{
    uint64_t a = world_app(&w, D1);
    world_app(&w, D2);
    world_executor(&w, E1, 1);
    world_ask(&w, D1, a, 1, 1);
    uint64_t lease = world_open(&w, E1);
    world_send(&w, D2, MSG_LEASE_RETURN, &(struct msg_lease_return){ .lease = lease });
    cr_assert_null(TAKE(&w, E1, LEASE_REVOKE, lease_revoke));
    world_ask(&w, D2, a, 2, 0);
    refused(D2, REFUSE_DENIED);
    world_executor(&w, E2, 1);
    closed(E2, lease); /* nor another executor's */
    cr_assert_eq(world_counters(&w).slots_used, 1);
}

/* ---- sharing --------------------------------------------------------------------- */

Test(manager, shares_by_need_and_spreads_each_over_executors)
{
    uint64_t a = world_app(&w, D1), b = world_app(&w, D2);
    world_ask(&w, D1, a, 1, 100);
    world_ask(&w, D2, b, 1, 100);
    world_executor(&w, E1, 4); /* one that joins serves running applications at once, evenly */
    const struct msg_lease_open *one = TAKE(&w, E1, LEASE_OPEN, lease_open),
                                *two = TAKE(&w, E1, LEASE_OPEN, lease_open);
    cr_assert_eq(one->app, a);
    cr_assert_eq(one->slots, 2);
    cr_assert_eq(two->app, b);
    cr_assert_eq(two->slots, 2);
    uint64_t c = world_app(&w, D3);
    world_ask(&w, D3, c, 1, 3);
    world_executor(&w, E2, 5); /* the poorest first: three for c (all it wants), one for each other */
    uint32_t got[4] = { 0 };
    for (const struct msg_lease_open *o; (o = TAKE(&w, E2, LEASE_OPEN, lease_open));)
        got[o->app] += o->slots;
    cr_assert_eq(got[c], 3);
    cr_assert_eq(got[a], 1);
    cr_assert_eq(got[b], 1);
}

Test(manager, spreads_one_application_over_executors)
{
    uint64_t a = world_app(&w, D1);
    world_executor(&w, E1, 4);
    world_executor(&w, E2, 4);
    world_executor(&w, E3, 1);
    world_ask(&w, D1, a, 1, 5);
    cr_assert_eq(TAKE(&w, E1, LEASE_OPEN, lease_open)->slots, 2);
    cr_assert_eq(TAKE(&w, E2, LEASE_OPEN, lease_open)->slots, 2);
    cr_assert_eq(TAKE(&w, E3, LEASE_OPEN, lease_open)->slots, 1);
    world_ask(&w, D1, a, 2, 7);
    cr_assert_eq(TAKE(&w, E1, LEASE_OPEN, lease_open)->slots, 1);
    cr_assert_eq(TAKE(&w, E2, LEASE_OPEN, lease_open)->slots, 1);
}

Test(manager, memory_and_labels_are_kept_to)
{
    uint64_t a = world_app(&w, D1);
    world_executor(&w, E1, 4);
    struct msg_ask ask = { .app = a, .revision = 1, .slots = 4, .memory = 2 * WORLD_SLOT_MEMORY };
    world_send(&w, D1, MSG_ASK, &ask);
    cr_assert_eq(TAKE(&w, E1, LEASE_OPEN, lease_open)->slots, 2);
    uint64_t b = world_app(&w, D2);
    ask = (struct msg_ask){ .app = b, .revision = 1, .slots = 1, .labels = bytes_of("gpu") };
    world_send(&w, D2, MSG_ASK, &ask);
    cr_assert_null(TAKE(&w, E1, LEASE_OPEN, lease_open));
    ask = (struct msg_ask){ .app = b, .revision = 2, .slots = 1 };
    world_send(&w, D2, MSG_ASK, &ask);
    cr_assert_not_null(TAKE(&w, E1, LEASE_OPEN, lease_open));
}

Test(manager, serves_more_applications_than_fit_in_a_step)
{
    w.config.apps_max = 100;
    uint64_t last = 0;
    for (uint8_t n = 0; n < 60; n++) /* none of them can be served */
        last = world_app(&w, (uint8_t)(60 + n));
    for (uint8_t n = 0; n < 60; n++)
        world_send(&w, 60u + n, MSG_ASK,
                   &(struct msg_ask){ .app = last - 59 + n, .slots = 1, .memory = 1ull << 50 });
    uint64_t modest[10];
    for (uint8_t n = 0; n < 10; n++) {
        modest[n] = world_app(&w, (uint8_t)(40 + n));
        world_ask(&w, (uint8_t)(40 + n), modest[n], 1, 1);
    }
    world_executor(&w, E1, 10);
    while (manager_deadline(w.m) <= w.now)
        world_event(&w, &(struct event){ .kind = EV_TIME });
    cr_assert_eq(world_counters(&w).slots_used, 10);
}

/* ---- executors go ----------------------------------------------------------------- */

Test(manager, closed_connection_is_suspicion_and_a_refusing_port_is_death)
{
    uint64_t app = world_app(&w, D1);
    world_executor(&w, E1, 2);
    world_ask(&w, D1, app, 1, 1);
    world_open(&w, E1);
    uint64_t generation = w.conns[E1].generation;
    world_down(&w, E1);
    const struct msg_exec_state *s = TAKE(&w, D1, EXEC_STATE, exec_state);
    cr_assert_eq(s->state, EXEC_SUSPECT);
    cr_assert_eq(s->generation, generation);
    cr_assert_eq(w.nprobes, 1);
    world_ask(&w, D1, app, 2, 2);
    cr_assert_eq(manager_deadline(w.m), w.now + 5 * SECOND / 1000);
    world_event(&w, &(struct event){ .kind = EV_PROBED, .id = generation, .probed = { false } });
    cr_assert_eq(world_counters(&w).executors, 1);
    world_time(&w, SECOND);
    cr_assert_eq(w.nprobes, 3);
    world_event(&w, &(struct event){ .kind = EV_PROBED, .id = generation, .probed = { true } });
    cr_assert_eq(TAKE(&w, D1, EXEC_STATE, exec_state)->state, EXEC_LOST);
    struct manager_counters c = world_counters(&w);
    cr_assert_eq(c.executors + c.slots + c.leases, 0);
    world_key(&w, AGAIN, E1); /* and it may not come back */
    world_hello(&w, AGAIN, ROLE_EXECUTOR);
    refused(AGAIN, REFUSE_GENERATION);
    world_enrol(&w, E1);
    refused(JOIN_KEY, REFUSE_GENERATION);
}

Test(manager, only_echoes_renew_and_any_traffic_lifts_suspicion)
{
    uint64_t app = world_app(&w, D1);
    world_executor(&w, E1, 1);
    world_ask(&w, D1, app, 1, 1);
    world_open(&w, E1);
    const conn_id driver[] = { D1 };
    live(6 * SECOND, driver, 1);
    cr_assert_eq(TAKE(&w, D1, EXEC_STATE, exec_state)->state, EXEC_SUSPECT);
    world_send(&w, E1, MSG_BEAT, &(struct msg_beat){ .seq = 1 });
    cr_assert_eq(TAKE(&w, D1, EXEC_STATE, exec_state)->state, EXEC_READY);
    for (int i = 0; i < 20; i++) { /* it is heard, and hears nothing */
        live(SECOND, driver, 1);
        world_send(&w, E1, MSG_BEAT, &(struct msg_beat){ .seq = 2 });
    }
    cr_assert_eq(TAKE(&w, D1, EXEC_STATE, exec_state)->state, EXEC_LOST);
    cr_assert_eq(world_counters(&w).executors, 0);
    refused(E1, REFUSE_GENERATION);
}

Test(manager, bye_is_leaving)
{
    world_executor(&w, E1, 1);
    world_send(&w, E1, MSG_BYE, NULL);
    cr_assert_not_null(TAKE(&w, E1, BYE_OK, bye_ok));
    cr_assert_null(TAKE(&w, E1, REFUSE, refuse));
    cr_assert_eq(world_counters(&w).executors, 0);
}

Test(manager, drain_takes_leases_back_and_gives_no_new_ones)
{
    uint64_t app = world_app(&w, D1);
    world_executor(&w, E1, 2);
    world_ask(&w, D1, app, 1, 1);
    uint64_t lease = world_open(&w, E1);
    world_executor(&w, E2, 1);
    world_send(&w, USER, MSG_DRAIN, &(struct msg_drain){ .executor = bytes_of("0a0a0a0a") });
    refused(USER, REFUSE_ROLE);
    world_send(&w, ADMIN, MSG_DRAIN, &(struct msg_drain){ .executor = bytes_of("0a0a0a0a") });
    cr_assert_not_null(TAKE(&w, ADMIN, BYE_OK, bye_ok));
    cr_assert_not_null(TAKE(&w, E1, DRAIN, drain));
    cr_assert_gt(TAKE(&w, E1, LEASE_REVOKE, lease_revoke)->grace_ms, 0);
    cr_assert_eq(TAKE(&w, D1, EXEC_STATE, exec_state)->state, EXEC_DRAINING);
    cr_assert_eq(TAKE(&w, D1, LEASE_REVOKE, lease_revoke)->lease, lease);
    cr_assert_neq(world_open(&w, E2), 0); /* instead, at once */
    closed(E1, lease);
    world_ask(&w, D1, app, 2, 4);
    cr_assert_null(TAKE(&w, E1, LEASE_OPEN, lease_open));
}

Test(manager, mass_loss_pauses_and_ends)
{
    for (uint8_t n = 10; n < 20; n++)
        world_executor(&w, n, 1);
    world_time(&w, 21 * SECOND);
    uint32_t left = world_counters(&w).executors;
    cr_assert_geq(left, 4);
    cr_assert_lt(left, 10);
    world_time(&w, 31 * SECOND);
    cr_assert_eq(world_counters(&w).executors, 0);
}

Test(manager, revoked_join_key_ends_what_it_admitted)
{
    world_executor(&w, E1, 1);
    struct manager_key user = { .role = ROLE_USER, .name = "user" };
    memset(user.key, USER, KEY_BYTES);
    struct manager_keys keys = { &user, 1 };
    world_event(&w, &(struct event){ .kind = EV_CALL, .call = { .what = MANAGER_KEYS, .arg = &keys } });
    cr_assert_eq(world_counters(&w).executors, 0);
    cr_assert_not(world_admits(&w, E1));
    cr_assert_not(world_admits(&w, JOIN_KEY));
    cr_assert(world_admits(&w, USER));
}

/* ---- reconnection and restart --------------------------------------------------------- */

Test(manager, rejoining_settles_what_was_lost_on_the_way)
{
    uint64_t a = world_app(&w, D1);
    world_executor(&w, E1, 3);
    world_ask(&w, D1, a, 1, 1);
    uint64_t opened = world_open(&w, E1);
    world_ask(&w, D1, a, 2, 2);
    uint64_t opening = TAKE(&w, E1, LEASE_OPEN, lease_open)->lease;
    world_ask(&w, D1, a, 3, 3);
    uint64_t never = TAKE(&w, E1, LEASE_OPEN, lease_open)->lease;
    cr_assert_not_null(TAKE(&w, D1, LEASE_GRANT, lease_grant));
    world_down(&w, E1);
    world_key(&w, AGAIN, E1);
    world_hello(&w, AGAIN, ROLE_EXECUTOR);
    struct rec_holding holds[] = { { opened, a, 1, 0 }, { opening, a, 1, 0 }, { 77, a, 1, 0 } };
    world_join(&w, AGAIN, E1, 3, holds, 3);
    const struct msg_joined *j = TAKE(&w, AGAIN, JOINED, joined);
    cr_assert_eq(j->keep.n, 2);
    cr_assert_eq(j->end.n, 1);
    cr_assert_eq(TAKE(&w, D1, LEASE_GRANT, lease_grant)->lease, opening); /* its LEASE_OPENED was lost */
    cr_assert_eq(TAKE(&w, AGAIN, LEASE_REVOKE, lease_revoke)->lease,
                 never); /* only its own word frees the slot */
    cr_assert_eq(world_counters(&w).slots_used, 3);
    closed(AGAIN, never);
    cr_assert_not_null(TAKE(&w, AGAIN, LEASE_OPEN, lease_open));
}

/* One application with a lease of one slot; then the manager restarts. */
static uint64_t restart_with_lease(uint64_t *app)
{
    *app = world_app(&w, D1);
    world_executor(&w, E1, 2);
    world_ask(&w, D1, *app, 1, 1);
    uint64_t lease = world_open(&w, E1);
    world_restart(&w);
    return lease;
}

static void rejoin(uint64_t lease, uint64_t app)
{
    struct rec_holding h = { lease, app, 1, WORLD_SLOT_MEMORY };
    world_enrol(&w, E1);
    world_hello(&w, E1, ROLE_EXECUTOR);
    world_join(&w, E1, E1, 2, &h, 1);
}

static void reopen(uint64_t app, uint64_t lease)
{
    struct rec_claim c = { .lease = lease, .slots = 1 };
    memset(c.incarnation, E1, ID_BYTES);
    world_hello(&w, D1, ROLE_DRIVER);
    world_send(&w, D1, MSG_APP_OPEN, &(struct msg_app_open){ .app = app, .claims = { &c, lease ? 1 : 0 } });
}

Test(manager, restart_executor_first)
{
    uint64_t app, lease = restart_with_lease(&app);
    rejoin(lease, app);
    cr_assert_eq(TAKE(&w, E1, JOINED, joined)->keep.n, 1);
    cr_assert_eq(world_counters(&w).slots_used, 1);
    reopen(app, lease);
    cr_assert_eq(TAKE(&w, D1, APP_OK, app_ok)->lost.n, 0);
    const struct msg_lease_grant *g = TAKE(&w, D1, LEASE_GRANT, lease_grant);
    cr_assert_eq(g->lease, lease);
    cr_assert_eq(g->generation, w.conns[E1].generation);
    world_ask(&w, D1, app, 2, 2);
    cr_assert_eq(TAKE(&w, E1, LEASE_OPEN, lease_open)->slots, 1); /* it has one already */
}

Test(manager, restart_driver_first)
{
    uint64_t app, lease = restart_with_lease(&app);
    reopen(app, lease);
    cr_assert_eq(TAKE(&w, D1, APP_OK, app_ok)->lost.n, 0);
    world_ask(&w, D1, app, 2, 1);
    world_executor(&w, E2, 1);
    cr_assert_null(TAKE(&w, E2, LEASE_OPEN, lease_open)); /* the claim counts */
    rejoin(lease, app);
    cr_assert_eq(TAKE(&w, D1, LEASE_GRANT, lease_grant)->lease, lease);
}

Test(manager, restart_claim_that_nobody_confirms_is_lost)
{
    uint64_t app, lease = restart_with_lease(&app);
    const conn_id driver[] = { D1 };
    reopen(app, lease);
    live(19 * SECOND, driver, 1);
    cr_assert_null(TAKE(&w, D1, LEASE_REVOKE, lease_revoke));
    live(2 * SECOND, driver, 1);
    cr_assert_eq(TAKE(&w, D1, LEASE_REVOKE, lease_revoke)->lease, lease);
    rejoin(lease, app);
    cr_assert_eq(TAKE(&w, E1, JOINED, joined)->end.n, 1);
}

Test(manager, restart_holding_whose_driver_has_not_got_it_ends)
{
    uint64_t app, lease = restart_with_lease(&app);
    rejoin(lease, app);
    reopen(app, 0);
    cr_assert_eq(TAKE(&w, E1, LEASE_REVOKE, lease_revoke)->lease, lease);
}

Test(manager, restart_application_whose_driver_stays_away_is_lost)
{
    uint64_t app, lease = restart_with_lease(&app);
    const conn_id executor[] = { E1, USER };
    rejoin(lease, app);
    live(29 * SECOND, executor, 2);
    cr_assert_eq(w.npersists, 0);
    live(3 * SECOND, executor, 2);
    cr_assert_eq(w.npersists, 1);
    world_stored(&w);
    cr_assert_eq(TAKE(&w, E1, APP_END, app_end)->app, app);
    cr_assert_str_eq(w.rows[app - 1].state, "lost");
    closed(E1, lease);
    cr_assert_eq(world_counters(&w).slots_used, 0);
}

Test(manager, generations_and_leases_are_never_used_twice)
{
    uint64_t app, generation, lease = restart_with_lease(&app);
    generation = w.conns[E1].generation;
    reopen(app, 0);
    rejoin(lease, app);
    cr_assert_gt(w.conns[E1].generation, generation);
    world_ask(&w, D1, app, 2, 1);
    cr_assert_gt(world_open(&w, E1), lease);
}

/* ---- beats tell of leases ------------------------------------------------------ */

/* The peer's beats, `n` of them, tell of these leases; ours are echoed or not. */
static void beats(conn_id conn, uint64_t digest, uint32_t n, bool echoes)
{
    for (uint32_t i = 1; i <= n; i++) {
        const struct msg_beat *b;
        world_time(&w, SECOND);
        while ((b = TAKE(&w, conn, BEAT, beat)))
            if (echoes)
                world_send(&w, conn, MSG_BEAT_ACK, &(struct msg_beat_ack){ .seq = b->seq });
        world_send(&w, conn, MSG_BEAT, &(struct msg_beat){ .seq = i, .digest = digest });
    }
}

Test(manager, three_beats_that_differ_cut_an_executor)
{
    uint64_t app = world_app(&w, D1);
    world_executor(&w, E1, 2);
    world_ask(&w, D1, app, 1, 2);
    uint64_t lease = world_open(&w, E1);
    beats(E1, lease_digest(lease), 6, true);
    beats(E1, 0, 2, true);
    beats(E1, lease_digest(lease), 1, true);
    beats(E1, 0, 2, true);
    cr_assert_not(world_was_cut(&w, E1));
    beats(E1, 0, 1, true);
    cr_assert(world_was_cut(&w, E1));
    world_clear(&w);
    world_down(&w, E1); /* it hasn't got that lease any more: JOIN settles it */
    world_key(&w, AGAIN, E1);
    world_hello(&w, AGAIN, ROLE_EXECUTOR);
    world_join(&w, AGAIN, E1, 2, NULL, 0);
    cr_assert_eq(TAKE(&w, AGAIN, LEASE_REVOKE, lease_revoke)->lease, lease);
    cr_assert_eq(TAKE(&w, D1, LEASE_REVOKE, lease_revoke)->lease, lease);
}

Test(manager, beats_prove_nothing_while_a_word_about_leases_is_under_way)
{
    uint64_t app = world_app(&w, D1);
    world_executor(&w, E1, 2);
    world_ask(&w, D1, app, 1, 2);
    world_open(&w, E1);
    beats(E1, 0, 4, false); /* it may not have read what we sent last */
    cr_assert_not(world_was_cut(&w, E1));
}

Test(manager, lease_that_never_opens_is_settled_too)
{
    uint64_t app = world_app(&w, D1);
    world_executor(&w, E1, 2);
    world_ask(&w, D1, app, 1, 2);
    cr_assert_not_null(TAKE(&w, E1, LEASE_OPEN, lease_open)); /* and is lost */
    beats(E1, 0, 4, true);
    cr_assert(world_was_cut(&w, E1));
}

Test(manager, what_a_new_connection_did_not_settle_cuts_no_other)
{
    uint64_t app = world_app(&w, D1);
    world_executor(&w, E1, 2);
    world_ask(&w, D1, app, 1, 2);
    struct rec_holding h = { world_open(&w, E1), app, 2, WORLD_SLOT_MEMORY };
    beats(E1, 0, 4, true);
    cr_assert(world_was_cut(&w, E1));
    world_clear(&w);
    world_key(&w, AGAIN, E1);
    world_hello(&w, AGAIN, ROLE_EXECUTOR);
    world_join(&w, AGAIN, E1, 2, &h, 1); /* closing it, by its own will */
    beats(AGAIN, 0, 8, true);
    cr_assert_not(world_was_cut(&w, AGAIN));
}

Test(manager, three_beats_that_differ_cut_a_driver)
{
    uint64_t app = world_app(&w, D1);
    const conn_id e[] = { E1 };
    world_executor(&w, E1, 2);
    world_ask(&w, D1, app, 1, 2);
    uint64_t lease = world_open(&w, E1);
    live(2 * SECOND, e, 1);
    beats(D1, lease_digest(lease), 6, true);
    cr_assert_not(world_was_cut(&w, D1));
    beats(D1, 0, 3, true);
    cr_assert(world_was_cut(&w, D1));
}
