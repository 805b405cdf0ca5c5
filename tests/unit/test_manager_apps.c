/* test_manager_apps.c - the manager's core: applications open, ask, end; cluster mode; what people ask. */
#include "tests/unit/test_manager_world.h"

enum { E1 = 10, E2 = 11, D1 = 20, D2 = 21, AGAIN = 30 };

static struct world w;

static void set_up(void)
{
    world_init(&w);
}

static void tear_down(void)
{
    world_fini(&w);
}

TestSuite(manager_apps, .init = set_up, .fini = tear_down);

static void refused(conn_id conn, enum refusal code)
{
    const struct msg_refuse *r = TAKE(&w, conn, REFUSE, refuse);
    cr_assert_not_null(r);
    cr_assert_eq(r->code, code, "%.*s", (int)r->words.n, r->words.p);
}

static bool is(struct bytes b, const char *text)
{
    return bytes_eq(b, bytes_of(text));
}

static void waits_for(conn_id driver, const char *words)
{
    const struct msg_ask_state *s = NULL, *next;
    while ((next = TAKE(&w, driver, ASK_STATE, ask_state)))
        s = next;
    cr_assert_not_null(s);
    cr_assert(is(s->words, words), "'%.*s' is not '%s'", (int)s->words.n, s->words.p, words);
}

/* ---- opening --------------------------------------------------------------------- */

static void open_keys(struct msg_app_open *o, uint8_t n)
{
    memset(o->driver_key, n, KEY_BYTES);
    memset(o->fetch_key, n + 100, KEY_BYTES);
}

Test(manager_apps, opens_only_once_it_is_stored)
{
    struct msg_app_open o = { .name = bytes_of("job") };
    open_keys(&o, D1);
    world_send(&w, USER, MSG_APP_OPEN, &o);
    world_time(&w, SECOND);
    cr_assert_null(TAKE(&w, USER, APP_OK, app_ok));
    cr_assert_not(world_admits(&w, D1));
    world_stored(&w);
    cr_assert_not_null(TAKE(&w, USER, APP_OK, app_ok));
    cr_assert(world_admits(&w, D1));
    cr_assert_not(world_admits(&w, D1 + 100)); /* a fetch key is for executors */
    cr_assert_str_eq(w.rows[0].user, "user");
    cr_assert_str_eq(w.rows[0].state, "running");
    world_send(&w, USER, MSG_APP_OPEN, &o); /* the same keys again */
    refused(USER, REFUSE_DENIED);
}

Test(manager_apps, keys_of_one_application_are_not_anothers)
{
    struct msg_app_open o = { .name = bytes_of("job") };
    open_keys(&o, USER); /* a user's key as a driver's */
    world_send(&w, USER, MSG_APP_OPEN, &o);
    refused(USER, REFUSE_DENIED);
    open_keys(&o, D1);
    world_send(&w, USER, MSG_APP_OPEN, &o);
    world_send(&w, OTHER, MSG_APP_OPEN, &o); /* both are under way */
    world_stored(&w);
    cr_assert_not_null(TAKE(&w, USER, APP_OK, app_ok));
    cr_assert_null(TAKE(&w, OTHER, APP_OK, app_ok));
    world_stored(&w);
    refused(OTHER, REFUSE_NO_APP);
    cr_assert(world_admits(&w, D1));
}

Test(manager_apps, limit_of_applications)
{
    manager_free(&w.m);
    w.config.apps_max = 1;
    world_restart(&w);
    world_app(&w, D1);
    struct msg_app_open o = { .name = bytes_of("job") };
    open_keys(&o, D2);
    world_send(&w, USER, MSG_APP_OPEN, &o);
    refused(USER, REFUSE_LIMIT);
}

/* ---- asking -------------------------------------------------------------------------- */

Test(manager_apps, says_what_it_waits_for)
{
    uint64_t app = world_app(&w, D1);
    world_ask(&w, D1, app, 1, 4);
    waits_for(D1, "4 slots with 1 GiB each; no executor is here; start one: ferro-executor");
    world_executor(&w, E1, 2);
    world_open(&w, E1);
    waits_for(D1, "2 more slots with 1 GiB each; all 2 of 1 executor are in use");
    uint64_t big = world_app(&w, D2);
    struct msg_ask ask = { .app = big, .revision = 1, .slots = 1, .memory = 64ull << 30 };
    world_send(&w, D2, MSG_ASK, &ask);
    waits_for(D2, "1 slot with 64 GiB; 1 executor, largest 2 GiB");
    ask = (struct msg_ask){ .app = big, .revision = 2, .slots = 1, .labels = bytes_of("gpu") };
    world_send(&w, D2, MSG_ASK, &ask);
    waits_for(D2, "1 slot with 0 B; 1 executor, none labelled gpu");
    world_ask(&w, D1, app, 2, 2);
    waits_for(D1, "");
    world_clear(&w);
    world_time(&w, SECOND);
    cr_assert_null(TAKE(&w, D1, ASK_STATE, ask_state)); /* nothing new, nothing said */
}

Test(manager_apps, a_stale_ask_has_no_effect)
{
    uint64_t app = world_app(&w, D1);
    world_ask(&w, D1, app, 5, 0);
    world_ask(&w, D1, app, 4, 3);
    refused(D1, REFUSE_MALFORMED);
    world_executor(&w, E1, 2);
    cr_assert_null(TAKE(&w, E1, LEASE_OPEN, lease_open));
    cr_assert_eq(TAKE(&w, D1, ASK_STATE, ask_state)->revision, 5);
    w.conns[D1].generation--;
    world_ask(&w, D1, app, 6, 3);
    refused(D1, REFUSE_GENERATION);
    w.conns[D1].generation++;
    w.conns[D1].epoch--;
    world_ask(&w, D1, app, 6, 3);
    refused(D1, REFUSE_EPOCH);
    cr_assert_null(TAKE(&w, E1, LEASE_OPEN, lease_open));
}

/* ---- the end ---------------------------------------------------------------------------- */

Test(manager_apps, closes_and_tells_all)
{
    uint64_t app = world_app(&w, D1);
    world_executor(&w, E1, 1);
    world_ask(&w, D1, app, 1, 1);
    uint64_t lease = world_open(&w, E1);
    world_send(&w, USER, MSG_WAIT, &(struct msg_wait){ .app = app });
    world_send(&w, D1, MSG_APP_CLOSE,
               &(struct msg_app_close){ .app = app, .exit_code = 3, .words = bytes_of("it broke") });
    cr_assert_null(TAKE(&w, D1, APP_END, app_end)); /* not before it is stored */
    cr_assert_null(TAKE(&w, E1, APP_END, app_end));
    world_stored(&w);
    cr_assert_not_null(TAKE(&w, D1, APP_END, app_end));
    cr_assert_not_null(TAKE(&w, E1, APP_END, app_end));
    const struct msg_apps *a = TAKE(&w, USER, APPS, apps);
    cr_assert(is(a->rows.v[0].state, "failed"));
    cr_assert(is(a->rows.v[0].words, "it broke"));
    cr_assert_eq(a->rows.v[0].exit_code, 3);
    cr_assert_eq(world_counters(&w).slots_used, 1);
    world_send(&w, E1, MSG_LEASE_CLOSED, &(struct msg_lease_closed){ .lease = lease });
    world_send(&w, E1, MSG_APP_ENDED, &(struct msg_app_ended){ .app = app });
    struct manager_counters c = world_counters(&w);
    cr_assert_eq(c.slots_used + c.leases + c.apps, 0);
    world_send(&w, D1, MSG_APP_CLOSE, &(struct msg_app_close){ .app = app }); /* it may not have heard */
    cr_assert_not_null(TAKE(&w, D1, APP_END, app_end));
    world_time(&w, 31 * SECOND);
    cr_assert_not(world_admits(&w, D1));
}

Test(manager_apps, executor_that_was_away_hears_of_ends_when_it_joins)
{
    uint64_t app = world_app(&w, D1);
    world_executor(&w, E1, 1);
    world_ask(&w, D1, app, 1, 1);
    uint64_t lease = world_open(&w, E1);
    world_down(&w, E1);
    world_send(&w, D1, MSG_APP_CLOSE, &(struct msg_app_close){ .app = app });
    world_stored(&w);
    world_key(&w, AGAIN, E1);
    world_hello(&w, AGAIN, ROLE_EXECUTOR);
    struct rec_holding h = { lease, app, 1, 0 };
    struct rec_id has = { app };
    struct msg_join j = { .slots = 1, .holdings = { &h, 1 }, .apps = { &has, 1 } };
    memset(j.incarnation, E1, ID_BYTES);
    world_send(&w, AGAIN, MSG_JOIN, &j);
    const struct msg_joined *answer = TAKE(&w, AGAIN, JOINED, joined);
    cr_assert_eq(answer->end.n, 1);
    cr_assert_eq(answer->end_apps.n, 1);
}

Test(manager_apps, driver_that_stays_away_is_lost_and_one_that_returns_is_not)
{
    uint64_t a = world_app(&w, D1), b = world_app(&w, D2);
    world_down(&w, D1);
    world_down(&w, D2);
    world_time(&w, 20 * SECOND);
    world_key(&w, AGAIN, D2);
    world_hello(&w, AGAIN, ROLE_DRIVER);
    world_send(&w, AGAIN, MSG_APP_OPEN, &(struct msg_app_open){ .app = b });
    world_time(&w, 11 * SECOND);
    world_stored(&w);
    cr_assert_str_eq(w.rows[a - 1].state, "lost");
    cr_assert_str_eq(w.rows[b - 1].state, "running");
}

Test(manager_apps, grant_lost_with_a_connection_is_granted_again)
{
    uint64_t app = world_app(&w, D1);
    world_executor(&w, E1, 1);
    world_ask(&w, D1, app, 1, 1);
    uint64_t lease = world_open(&w, E1);
    world_clear(&w);
    world_down(&w, D1);
    world_key(&w, AGAIN, D1);
    world_hello(&w, AGAIN, ROLE_DRIVER);
    world_send(&w, AGAIN, MSG_APP_OPEN, &(struct msg_app_open){ .app = app });
    cr_assert_eq(TAKE(&w, AGAIN, LEASE_GRANT, lease_grant)->lease, lease);
    struct rec_claim mine[] = { { .lease = lease, .slots = 1 }, { .lease = lease + 1, .slots = 1 } };
    world_send(&w, AGAIN, MSG_APP_OPEN, &(struct msg_app_open){ .app = app, .claims = { mine, 2 } });
    cr_assert_null(TAKE(&w, AGAIN, LEASE_GRANT, lease_grant));
    TAKE(&w, AGAIN, APP_OK, app_ok);
    const struct msg_app_ok *ok = TAKE(&w, AGAIN, APP_OK, app_ok);
    cr_assert_eq(ok->lost.n, 1);
    cr_assert_eq(ok->lost.v[0].id, lease + 1);
}

Test(manager_apps, kill_by_its_owner_or_an_admin)
{
    uint64_t app = world_app(&w, D1);
    world_send(&w, OTHER, MSG_KILL, &(struct msg_kill){ .app = app });
    refused(OTHER, REFUSE_DENIED);
    world_send(&w, ADMIN, MSG_KILL, &(struct msg_kill){ .app = app });
    cr_assert_null(TAKE(&w, ADMIN, APPS, apps));
    world_stored(&w);
    const struct msg_apps *a = TAKE(&w, ADMIN, APPS, apps);
    cr_assert(is(a->rows.v[0].state, "killed"));
    cr_assert(is(a->rows.v[0].words, "killed by admin"));
    cr_assert_not_null(TAKE(&w, D1, APP_END, app_end));
    world_send(&w, USER, MSG_KILL, &(struct msg_kill){ .app = app }); /* again: how it ended */
    cr_assert(is(TAKE(&w, USER, APPS, apps)->rows.v[0].state, "killed"));
    world_send(&w, USER, MSG_KILL, &(struct msg_kill){ .app = 99 });
    refused(USER, REFUSE_NO_APP);
}

/* ---- cluster mode -------------------------------------------------------------------------- */

static uint8_t library[CHUNK_BYTES_MAX + 1000];

static uint64_t submit(void)
{
    static const struct rec_str args[] = { { { (const uint8_t *)"in", 2 } },
                                           { { (const uint8_t *)"out", 3 } } };
    memset(library, 'l', sizeof library);
    world_send(
        &w, USER, MSG_SUBMIT,
        &(struct msg_submit){ .name = bytes_of("wc"), .args = { args, 2 }, .lib_bytes = sizeof library });
    world_stored(&w);
    uint64_t app = TAKE(&w, USER, SUBMITTED, submitted)->app;
    world_send(&w, USER, MSG_CHUNK, &(struct msg_chunk){ .app = app, .bytes = { library, CHUNK_BYTES_MAX } });
    return app;
}

static void submit_rest(uint64_t app)
{
    struct msg_chunk c = { .app = app, .offset = CHUNK_BYTES_MAX, .bytes = { library, 1000 } };
    world_send(&w, USER, MSG_CHUNK, &c);
}

static void serve(conn_id conn, uint64_t app)
{
    struct rec_id has = { app };
    world_send(&w, conn, MSG_SERVE,
               &(struct msg_serve){ .capacity = 2, .host = bytes_of("here"), .apps = { &has, app ? 1 : 0 } });
}

static void service_opens(uint64_t app, uint8_t n)
{
    struct msg_app_open o = { .app = app };
    open_keys(&o, n);
    world_send(&w, SERVICE, MSG_LAUNCHED, &(struct msg_launched){ .app = app });
    world_send(&w, SERVICE, MSG_APP_OPEN, &o);
    world_stored(&w);
}

static void output(uint64_t app, uint64_t offset, const char *text)
{
    world_send(&w, SERVICE, MSG_OUTPUT,
               &(struct msg_output){ .app = app, .stream = 1, .offset = offset, .bytes = bytes_of(text) });
}

Test(manager_apps, submits_launches_runs_and_exits)
{
    uint64_t app = submit();
    serve(SERVICE, 0);
    cr_assert_null(TAKE(&w, SERVICE, LAUNCH, launch)); /* half a library */
    submit_rest(app);
    const struct msg_launch *l = TAKE(&w, SERVICE, LAUNCH, launch);
    cr_assert_eq(l->app, app);
    cr_assert(is(l->args.v[1].s, "out"));
    cr_assert_eq(l->lib_bytes, sizeof library);
    cr_assert_eq(TAKE(&w, SERVICE, CHUNK, chunk)->bytes.n, CHUNK_BYTES_MAX);
    cr_assert_eq(TAKE(&w, SERVICE, CHUNK, chunk)->bytes.n, 1000);
    service_opens(app, D1);
    cr_assert_eq(TAKE(&w, SERVICE, APP_OK, app_ok)->app, app);
    cr_assert(world_admits(&w, D1));
    world_send(&w, USER, MSG_WAIT, &(struct msg_wait){ .app = app });
    world_send(&w, SERVICE, MSG_EXITED, &(struct msg_exited){ .app = app, .signal = 11 });
    world_stored(&w);
    const struct msg_apps *a = TAKE(&w, USER, APPS, apps);
    cr_assert(is(a->rows.v[0].state, "failed"));
    cr_assert(is(a->rows.v[0].words, "its driver was ended by signal 11"));
    cr_assert_eq(a->rows.v[0].exit_code, 139);
}

Test(manager_apps, waits_in_words_for_a_service)
{
    uint64_t app = submit();
    world_send(&w, USER, MSG_LIST_APPS, &(struct msg_list_apps){ 0 });
    cr_assert(
        is(TAKE(&w, USER, APPS, apps)->rows.v[0].words, "its library: 1048576 of 1049576 bytes are here"));
    submit_rest(app);
    world_send(&w, USER, MSG_LIST_APPS, &(struct msg_list_apps){ 0 });
    cr_assert(is(TAKE(&w, USER, APPS, apps)->rows.v[0].words,
                 "no driver service is here; start one: ferro-driver serve"));
}

Test(manager_apps, half_a_library_is_none)
{
    uint64_t app = submit();
    world_send(&w, OTHER, MSG_CHUNK,
               &(struct msg_chunk){ .app = app, .offset = CHUNK_BYTES_MAX, .bytes = bytes_of("x") });
    refused(OTHER, REFUSE_NO_APP);
    world_send(&w, USER, MSG_CHUNK, &(struct msg_chunk){ .app = app, .offset = 1, .bytes = bytes_of("x") });
    refused(USER, REFUSE_MALFORMED);
    world_down(&w, USER);
    world_stored(&w);
    cr_assert_str_eq(w.rows[app - 1].state, "failed");
    cr_assert_eq(world_counters(&w).apps, 0);
}

Test(manager_apps, output_is_kept_and_followed_to_the_end)
{
    uint64_t app = submit();
    submit_rest(app);
    serve(SERVICE, 0);
    service_opens(app, D1);
    output(app, 0, "one ");
    world_send(&w, OTHER, MSG_LOGS, &(struct msg_logs){ .app = app, .follow = 1 });
    refused(OTHER, REFUSE_DENIED);
    world_send(&w, USER, MSG_LOGS, &(struct msg_logs){ .app = app, .follow = 1 });
    cr_assert(is(TAKE(&w, USER, OUTPUT, output)->bytes, "one "));
    output(app, 0, "one two"); /* sent again, with more */
    cr_assert(is(TAKE(&w, USER, OUTPUT, output)->bytes, "two"));
    world_hello(&w, D1, ROLE_DRIVER);
    world_send(&w, D1, MSG_APP_CLOSE, &(struct msg_app_close){ .app = app });
    world_stored(&w);
    cr_assert_not_null(TAKE(&w, SERVICE, APP_END, app_end));
    cr_assert_null(TAKE(&w, USER, OUTPUT, output)); /* its process may have more to say */
    output(app, 7, "!");
    cr_assert(is(TAKE(&w, USER, OUTPUT, output)->bytes, "!"));
    world_send(&w, SERVICE, MSG_EXITED, &(struct msg_exited){ .app = app });
    cr_assert_eq(TAKE(&w, USER, OUTPUT, output)->last, 1);
    world_send(&w, USER, MSG_LOGS, &(struct msg_logs){ .app = app });
    cr_assert(is(TAKE(&w, USER, OUTPUT, output)->bytes, "one two!"));
    cr_assert_eq(TAKE(&w, USER, OUTPUT, output)->last, 1);
    cr_assert_str_eq(w.rows[app - 1].state, "ok");
}

Test(manager_apps, output_keeps_the_last_of_a_stream)
{
    static char kib[1025];
    uint64_t app = submit();
    submit_rest(app);
    serve(SERVICE, 0);
    for (uint32_t i = 0; i < 3000; i++) {
        memset(kib, 'a' + (int)(i % 26), 1024);
        output(app, i * 1024ull, kib);
    }
    world_clear(&w);
    world_send(&w, USER, MSG_LOGS, &(struct msg_logs){ .app = app });
    uint64_t bytes = 0, end = 0;
    for (const struct msg_output *o; (o = TAKE(&w, USER, OUTPUT, output)) && !o->last;) {
        bytes += o->bytes.n;
        end = o->offset + o->bytes.n;
    }
    cr_assert_geq(bytes, 1u << 20);
    cr_assert_leq(bytes, (1u << 20) + (1u << 18));
    cr_assert_eq(end, 3000 * 1024);
}

Test(manager_apps, service_that_goes_before_it_began_gives_the_application_to_another)
{
    uint64_t app = submit();
    submit_rest(app);
    serve(SERVICE, 0);
    cr_assert_not_null(TAKE(&w, SERVICE, LAUNCH, launch));
    world_stored(&w);
    world_down(&w, SERVICE);
    serve(SERVICE_2, 0);
    cr_assert_null(TAKE(&w, SERVICE_2, LAUNCH, launch)); /* it may come back with it */
    for (int i = 0; i < 33; i++) {
        const struct msg_beat *b;
        world_time(&w, SECOND);
        while ((b = TAKE(&w, SERVICE_2, BEAT, beat)))
            world_send(&w, SERVICE_2, MSG_BEAT_ACK, &(struct msg_beat_ack){ .seq = b->seq });
    }
    cr_assert_not_null(TAKE(&w, SERVICE_2, LAUNCH, launch));
}

Test(manager_apps, restart_service_lists_what_it_runs)
{
    uint64_t app = submit();
    submit_rest(app);
    serve(SERVICE, 0);
    service_opens(app, D1);
    world_restart(&w);
    cr_assert(world_admits(&w, D1));
    serve(SERVICE, app);
    cr_assert_null(TAKE(&w, SERVICE, APP_END, app_end));
    world_send(&w, SERVICE, MSG_EXITED, &(struct msg_exited){ .app = app });
    world_stored(&w);
    cr_assert_str_eq(w.rows[app - 1].state, "ok");
    serve(SERVICE_2, 99);
    cr_assert_eq(TAKE(&w, SERVICE_2, APP_END, app_end)->app, 99);
}

Test(manager_apps, restart_loses_what_was_submitted_and_not_launched)
{
    uint64_t app = submit();
    world_restart(&w);
    world_time(&w, 31 * SECOND);
    world_stored(&w);
    cr_assert_str_eq(w.rows[app - 1].state, "lost");
}

/* ---- asking -------------------------------------------------------------------------------------- */

Test(manager_apps, people_see_their_own_and_admins_all)
{
    uint64_t a = world_app(&w, D1), b = world_app(&w, D2);
    world_send(&w, USER, MSG_LIST_APPS, &(struct msg_list_apps){ 0 });
    const struct msg_apps *mine = TAKE(&w, USER, APPS, apps);
    cr_assert_eq(mine->rows.n, 2);
    cr_assert_eq(mine->rows.v[0].app, b); /* newest first */
    cr_assert_eq(mine->rows.v[1].app, a);
    world_send(&w, OTHER, MSG_LIST_APPS, &(struct msg_list_apps){ 0 });
    cr_assert_eq(TAKE(&w, OTHER, APPS, apps)->rows.n, 0);
    world_send(&w, ADMIN, MSG_LIST_APPS, &(struct msg_list_apps){ 0 });
    cr_assert_eq(TAKE(&w, ADMIN, APPS, apps)->rows.n, 2);
    world_send(&w, OTHER, MSG_WAIT, &(struct msg_wait){ .app = a });
    refused(OTHER, REFUSE_DENIED);
}

Test(manager_apps, status_and_executors)
{
    uint64_t app = world_app(&w, D1);
    world_executor(&w, E1, 2);
    world_ask(&w, D1, app, 1, 1);
    world_open(&w, E1);
    serve(SERVICE, 0);
    world_send(&w, USER, MSG_STATUS, NULL);
    const struct msg_status_is *s = TAKE(&w, USER, STATUS_IS, status_is);
    cr_assert_eq(s->executors, 1);
    cr_assert_eq(s->slots, 2);
    cr_assert_eq(s->slots_used, 1);
    cr_assert_eq(s->apps_running, 1);
    cr_assert_eq(s->drivers, 1);
    cr_assert_eq(s->serve_capacity, 2);
    world_send(&w, USER, MSG_LIST_EXECUTORS, NULL);
    const struct rec_executor_row *r = TAKE(&w, USER, EXECUTORS, executors)->rows.v;
    cr_assert(is(r->id, "0a0a0a0a"));
    cr_assert(is(r->state, "ready"));
    cr_assert_eq(r->slots_used, 1);
    cr_assert_eq(r->memory_used, WORLD_SLOT_MEMORY);
}

Test(manager_apps, status_survives_what_peers_claim_of_themselves)
{
    for (conn_id c = 100; c < 140; c++) {
        world_key(&w, c, SERVICE);
        world_hello(&w, c, ROLE_SERVICE);
        world_send(&w, c, MSG_SERVE, &(struct msg_serve){ .capacity = 4096, .host = bytes_of("h") });
    }
    world_send(&w, USER, MSG_STATUS, NULL);
    cr_assert_eq(TAKE(&w, USER, STATUS_IS, status_is)->serve_capacity, 40 * 4096);
}
