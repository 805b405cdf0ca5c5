/* test_manager_world.c - see test_manager_world.h. */
#include "tests/unit/test_manager_world.h"

#include <stdlib.h>

static const struct manager_config defaults = {
    .beat_ms = 1000,
    .suspect_ms = 5000,
    .lost_ms = 20000,
    .driver_lost_ms = 30000,
    .claim_ms = 20000,
    .holding_ms = 30000,
    .bar_ms = 30000,
    .executors_max = 100,
    .apps_max = 100,
};

/* ---- what it did ------------------------------------------------------------- */

static void keep_frame(struct world *w, const struct action *a)
{
    struct error e;
    struct sent *s = &w->sent[w->nsent++];
    cr_assert_lt(w->nsent, WORLD_SENT);
    cr_assert_eq(proto_admit(a->frame, ROLE_MANAGER, &e), a->frame.p[1], "%s", e.words);
    s->conn = a->conn;
    s->seen = false;
    s->msg = proto_decode(&w->keep, arena_bytes(&w->keep, a->frame), &s->head, &e);
    cr_assert_not_null(s->msg, "%s", e.words);
    if (s->head.tag == MSG_WELCOME && a->conn < WORLD_CONNS) {
        w->conns[a->conn].epoch = s->head.epoch;
        w->conns[a->conn].generation = ((const struct msg_welcome *)s->msg)->generation;
    }
}

static void keep_admitted(struct world *w, const uint8_t key[KEY_BYTES], bool in)
{
    if (in) {
        memcpy(w->admitted[w->nadmitted++], key, KEY_BYTES);
        return;
    }
    for (uint32_t i = 0; i < w->nadmitted; i++)
        if (!memcmp(w->admitted[i], key, KEY_BYTES)) {
            memcpy(w->admitted[i], w->admitted[--w->nadmitted], KEY_BYTES);
            return;
        }
    cr_assert_fail("a key revoked that was not admitted");
}

static void keep(struct world *w, const struct action *a)
{
    switch (a->kind) {
    case ACT_SEND: keep_frame(w, a); break;
    case ACT_ADMIT: keep_admitted(w, a->admit.key, true); break;
    case ACT_REVOKE: keep_admitted(w, a->admit.key, false); break;
    case ACT_CUT: w->cut[w->ncuts++] = a->conn; break;
    case ACT_PROBE: w->nprobes++; break;
    case ACT_PERSIST:
        w->writing[w->npersists] = ((const struct store_record *)a->persist.record)->app;
        w->persists[w->npersists++] = a->id;
        break;
    default: break;
    }
}

void world_event(struct world *w, const struct event *ev)
{
    actions_reset(&w->out);
    manager_step(w->m, ev, w->now, &w->out);
    for (uint32_t i = 0; i < w->out.n; i++)
        keep(w, &w->out.v[i]);
}

/* ---- life ---------------------------------------------------------------------- */

static void start(struct world *w)
{
    static const struct {
        enum role role;
        const char *name;
    } people[] = {
        [USER] = { ROLE_USER, "user" },          [OTHER] = { ROLE_USER, "other" },
        [ADMIN] = { ROLE_ADMIN, "admin" },       [JOIN_KEY] = { ROLE_JOIN, "join" },
        [SERVICE] = { ROLE_SERVICE, "service" }, [SERVICE_2] = { ROLE_SERVICE, "second" },
    };
    struct manager_key keys[SERVICE_2] = { 0 };
    struct store_state state = {
        .epoch = ++w->epoch, .next_app = w->nrows + 1, .unix_ms = 1000000, .apps = w->rows, .napps = w->nrows
    };
    w->m = manager_new(&w->config);
    world_event(w, &(struct event){ .kind = EV_START, .start = { .state = &state } });
    for (int i = USER; i <= SERVICE_2; i++) {
        keys[i - 1].role = people[i].role;
        memset(keys[i - 1].key, i, KEY_BYTES);
        strcpy(keys[i - 1].name, people[i].name);
    }
    struct manager_keys all = { keys, SERVICE_2 };
    world_event(w, &(struct event){ .kind = EV_CALL, .call = { .what = MANAGER_KEYS, .arg = &all } });
    for (conn_id c = USER; c <= SERVICE_2; c++)
        world_hello(w, c, people[c].role);
    world_clear(w);
}

void world_init(struct world *w)
{
    memset(w, 0, sizeof *w);
    w->config = defaults;
    w->now = 1000 * SECOND;
    for (int i = 0; i < WORLD_CONNS; i++)
        world_key(w, (conn_id)i, (uint8_t)i);
    start(w);
}

void world_fini(struct world *w)
{
    manager_free(&w->m);
    actions_fini(&w->out);
    arena_fini(&w->keep);
}

void world_restart(struct world *w)
{
    manager_free(&w->m);
    w->npersists = w->nadmitted = 0;
    world_clear(w);
    start(w);
}

void world_clear(struct world *w)
{
    w->nsent = 0;
    w->nprobes = w->ncuts = 0;
    arena_reset(&w->keep);
}

/* ---- events ------------------------------------------------------------------------ */

void world_time(struct world *w, uint64_t ns)
{
    for (uint64_t left = ns, step; left; left -= step) {
        step = left < SECOND / 10 ? left : SECOND / 10;
        w->now += step;
        world_event(w, &(struct event){ .kind = EV_TIME });
    }
}

void world_down(struct world *w, conn_id conn)
{
    world_event(w, &(struct event){ .kind = EV_CONN_DOWN, .conn = conn, .down = { .reason = DOWN_CLOSED } });
}

void world_stored(struct world *w)
{
    for (uint32_t i = 0; i < w->npersists; i++) {
        const struct store_app *a = &w->writing[i];
        w->rows[a->app - 1] = *a;
        w->nrows = a->app > w->nrows ? (uint32_t)a->app : w->nrows;
        world_event(w, &(struct event){ .kind = EV_PERSISTED, .id = w->persists[i] });
    }
    w->npersists = 0;
}

void world_role(struct world *w, conn_id conn, enum role role)
{
    w->conns[conn].role = role;
}

void world_key(struct world *w, conn_id conn, uint8_t fill)
{
    memset(w->conns[conn].key, fill, KEY_BYTES);
}

void world_send(struct world *w, conn_id conn, uint8_t tag, const void *msg)
{
    struct buf b = { 0 };
    struct head h = { .tag = tag, .epoch = w->conns[conn].epoch, .generation = w->conns[conn].generation };
    proto_encode(&b, &h, msg);
    struct event ev = { .kind = EV_RECV,
                        .conn = conn,
                        .recv = { .role = w->conns[conn].role, .frame = { b.p, (uint32_t)b.n } } };
    memcpy(ev.recv.key, w->conns[conn].key, KEY_BYTES);
    world_event(w, &ev);
    buf_fini(&b);
}

/* ---- looking -------------------------------------------------------------------------- */

const void *world_take(struct world *w, conn_id conn, uint8_t tag)
{
    for (uint32_t i = 0; i < w->nsent; i++) {
        struct sent *s = &w->sent[i];
        if (s->seen || s->conn != conn || s->head.tag != tag)
            continue;
        s->seen = true;
        return s->msg;
    }
    return NULL;
}

bool world_admits(const struct world *w, uint8_t fill)
{
    uint8_t key[KEY_BYTES];
    memset(key, fill, sizeof key);
    for (uint32_t i = 0; i < w->nadmitted; i++)
        if (!memcmp(w->admitted[i], key, KEY_BYTES))
            return true;
    return false;
}

bool world_was_cut(const struct world *w, conn_id conn)
{
    for (uint32_t i = 0; i < w->ncuts; i++)
        if (w->cut[i] == conn)
            return true;
    return false;
}

struct manager_counters world_counters(const struct world *w)
{
    struct manager_counters c;
    manager_counters(w->m, &c);
    return c;
}

/* ---- parts played ------------------------------------------------------------------------ */

void world_hello(struct world *w, conn_id conn, enum role role)
{
    world_role(w, conn, role);
    world_send(w, conn, MSG_HELLO,
               &(struct msg_hello){ .major = PROTO_MAJOR, .minor = PROTO_MINOR, .name = bytes_of("test") });
}

void world_enrol(struct world *w, uint8_t n)
{
    struct msg_enrol e;
    memset(e.key, n, KEY_BYTES);
    world_send(w, JOIN_KEY, MSG_ENROL, &e);
}

void world_join(struct world *w, conn_id conn, uint8_t n, uint32_t slots, const struct rec_holding *holdings,
                uint32_t nholdings)
{
    struct msg_join j = {
        .host = bytes_of("host"),
        .host_id = bytes_of("hid"),
        .control = bytes_of("127.0.0.1:1"),
        .data = bytes_of("127.0.0.1:2"),
        .root = bytes_of("/r"),
        .slots = slots,
        .memory = slots * WORLD_SLOT_MEMORY,
        .holdings = { holdings, nholdings },
    };
    memset(j.incarnation, n, ID_BYTES);
    world_send(w, conn, MSG_JOIN, &j);
}

void world_executor(struct world *w, uint8_t n, uint32_t slots)
{
    world_enrol(w, n);
    world_hello(w, n, ROLE_EXECUTOR);
    world_join(w, n, n, slots, NULL, 0);
    cr_assert_not_null(TAKE(w, JOIN_KEY, ENROLLED, enrolled));
    cr_assert_not_null(TAKE(w, n, JOINED, joined));
}

uint64_t world_app(struct world *w, uint8_t n)
{
    struct msg_app_open o = { .name = bytes_of("job") };
    memset(o.driver_key, n, KEY_BYTES);
    memset(o.fetch_key, n + 100, KEY_BYTES);
    memset(o.fetch_secret, n, KEY_BYTES);
    world_send(w, USER, MSG_APP_OPEN, &o);
    world_stored(w);
    const struct msg_app_ok *ok = TAKE(w, USER, APP_OK, app_ok);
    cr_assert_not_null(ok);
    uint64_t app = ok->app;
    world_hello(w, n, ROLE_DRIVER);
    return app;
}

void world_ask(struct world *w, uint8_t n, uint64_t app, uint64_t revision, uint32_t slots)
{
    struct msg_ask a = { .app = app, .revision = revision, .slots = slots, .memory = WORLD_SLOT_MEMORY };
    world_send(w, n, MSG_ASK, &a);
}

uint64_t world_open(struct world *w, uint8_t executor)
{
    const struct msg_lease_open *o = TAKE(w, executor, LEASE_OPEN, lease_open);
    if (!o)
        return 0;
    uint64_t lease = o->lease;
    world_send(w, executor, MSG_LEASE_OPENED, &(struct msg_lease_opened){ .lease = lease });
    return lease;
}
