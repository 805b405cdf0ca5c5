/* rig_executor.c - see rig_executor.h. */
#include "tests/unit/rig_executor.h"

#include <criterion/criterion.h>
#include <string.h>

static const uint8_t driver_key[KEY_BYTES] = "the driver's key", fetch_key[KEY_BYTES] = "the fetch key";

void rig_init(struct rig *r, uint32_t slots)
{
    struct executor_config config = {
        .manager = "m:1",
        .host = "here",
        .host_id = "machine",
        .control = "e:1",
        .data = "e:2",
        .root = "/blocks",
        .labels = "",
        .slots = slots,
        .memory = 1 << 30,
        .block_bytes_max = 1 << 20,
        .driver_silent_ms = 15000,
        .app_keep_ms = 30000,
        .attach_ms = 10000,
        .manager_lost_ms = 20000,
        .drain_ms = 30000,
        .confine = true,
    };
    memset(r, 0, sizeof *r);
    memcpy(config.public_key, "the throw-away key", 18);
    memcpy(config.incarnation, "incarnation one.", ID_BYTES);
    r->x = executor_new(&config);
    r->now = 1000 * RIG_MS;
    r->epoch = RIG_EPOCH;
    memcpy(r->library, "the library's id", ID_BYTES);
}

void rig_fini(struct rig *r)
{
    executor_free(&r->x);
    actions_fini(&r->out);
    arena_fini(&r->arena);
    buf_fini(&r->scratch);
}

/* ---- events ----------------------------------------------------------------- */

void rig_step(struct rig *r, const struct event *ev)
{
    actions_reset(&r->out);
    executor_step(r->x, ev, r->now, &r->out);
}

void rig_time(struct rig *r, uint64_t ms)
{
    r->now += ms * RIG_MS;
    rig_step(r, &(struct event){ .kind = EV_TIME });
}

void rig_up(struct rig *r, conn_id conn)
{
    rig_step(r, &(struct event){ .kind = EV_CONN_UP, .conn = conn });
}

void rig_down(struct rig *r, conn_id conn, enum down_reason reason)
{
    rig_step(r, &(struct event){ .kind = EV_CONN_DOWN, .conn = conn, .down = { reason, "gone" } });
}

static void receive(struct rig *r, conn_id conn, enum role role, const uint8_t key[KEY_BYTES], uint64_t epoch,
                    uint8_t tag, const void *msg)
{
    struct event ev = { .kind = EV_RECV, .conn = conn };
    struct buf frame = { 0 };
    proto_encode(&frame, &(struct head){ .tag = tag, .epoch = epoch, .generation = 1 }, msg);
    ev.recv.role = role;
    memcpy(ev.recv.key, key, KEY_BYTES);
    ev.recv.frame = (struct bytes){ frame.p, (uint32_t)frame.n };
    rig_step(r, &ev);
    buf_fini(&frame);
}

void rig_manager(struct rig *r, uint8_t tag, const void *msg)
{
    static const uint8_t key[KEY_BYTES] = "the manager's key";
    receive(r, r->manager, ROLE_MANAGER, key, r->epoch, tag, msg);
}

void rig_driver(struct rig *r, uint8_t tag, const void *msg)
{
    receive(r, RIG_CONTROL, ROLE_DRIVER, driver_key, r->epoch, tag, msg);
}

void rig_data(struct rig *r, uint8_t tag, const void *msg)
{
    receive(r, RIG_DATA, ROLE_DRIVER, driver_key, r->epoch, tag, msg);
}

void rig_host(struct rig *r, uint64_t host, uint8_t tag, const void *msg)
{
    struct buf frame = { 0 };
    proto_encode(&frame, &(struct head){ .tag = tag }, msg);
    struct event ev = { .kind = EV_HOST_RECV, .id = host };
    ev.host.frame = (struct bytes){ frame.p, (uint32_t)frame.n };
    ev.host.tail = "its stderr";
    rig_step(r, &ev);
    buf_fini(&frame);
}

void rig_io(struct rig *r, uint64_t id, int64_t result)
{
    rig_step(r, &(struct event){ .kind = EV_IO_DONE, .id = id, .io = { result } });
}

void rig_exit(struct rig *r, uint64_t host, int code, int signal, const char *tail)
{
    struct event ev = { .kind = EV_HOST_EXITED, .id = host };
    ev.exited.code = code;
    ev.exited.signal = signal;
    ev.exited.tail = tail;
    rig_step(r, &ev);
}

/* ---- actions ------------------------------------------------------------------ */

const struct action *rig_action(const struct rig *r, enum action_kind kind, uint32_t nth)
{
    for (uint32_t i = 0; i < r->out.n; i++)
        if (r->out.v[i].kind == kind && nth-- == 0)
            return &r->out.v[i];
    return NULL;
}

uint32_t rig_count(const struct rig *r, enum action_kind kind)
{
    uint32_t n = 0;
    while (rig_action(r, kind, n))
        n++;
    return n;
}

static const void *decoded(struct rig *r, struct bytes frame)
{
    struct head head;
    struct error e;
    const void *m = proto_decode(&r->arena, frame, &head, &e);
    cr_assert(m, "%s", e.words);
    return m;
}

const void *rig_sent(struct rig *r, conn_id conn, uint8_t tag)
{
    const struct action *a;
    for (uint32_t i = 0; (a = rig_action(r, ACT_SEND, i)) != NULL; i++)
        if (a->conn == conn && a->frame.p[1] == tag)
            return decoded(r, a->frame);
    return NULL;
}

uint32_t rig_sent_count(const struct rig *r, conn_id conn, uint8_t tag)
{
    const struct action *a;
    uint32_t n = 0;
    for (uint32_t i = 0; (a = rig_action(r, ACT_SEND, i)) != NULL; i++)
        n += a->conn == conn && a->frame.p[1] == tag;
    return n;
}

const void *rig_told(struct rig *r, uint64_t host, uint8_t tag)
{
    const struct action *a;
    for (uint32_t i = 0; (a = rig_action(r, ACT_HOST_SEND, i)) != NULL; i++)
        if (a->id == host && a->frame.p[1] == tag)
            return decoded(r, a->frame);
    return NULL;
}

const struct action *rig_io_of(const struct rig *r, enum io_op op)
{
    const struct action *a;
    for (uint32_t i = 0; (a = rig_action(r, ACT_IO, i)) != NULL; i++)
        if (a->io.op == op)
            return a;
    return NULL;
}

/* ---- passages ------------------------------------------------------------------- */

void rig_join(struct rig *r)
{
    rig_step(r, &(struct event){ .kind = EV_START, .start = { .seed = 1 } });
    const struct action *dial = rig_action(r, ACT_DIAL, 0);
    cr_assert(dial && dial->dial.own == 1, "it begins with the join key");
    r->manager = dial->conn;
    rig_up(r, r->manager);
    cr_assert(rig_sent(r, r->manager, MSG_HELLO));
    cr_assert(rig_sent(r, r->manager, MSG_ENROL));
    rig_manager(r, MSG_ENROLLED, NULL);
    dial = rig_action(r, ACT_DIAL, 0);
    cr_assert(dial && dial->dial.own == 0, "then it dials with its throw-away key");
    r->manager = dial->conn;
    rig_up(r, r->manager);
    cr_assert(rig_sent(r, r->manager, MSG_JOIN));
    rig_manager(r, MSG_WELCOME,
                &(struct msg_welcome){
                    .generation = RIG_GENERATION, .beat_ms = 1000, .suspect_ms = 5000, .lost_ms = 20000 });
    rig_manager(r, MSG_JOINED, &(struct msg_joined){ 0 });
}

void rig_lease(struct rig *r, uint64_t lease, uint32_t slots)
{
    struct msg_lease_open m = { .lease = lease, .app = RIG_APP, .slots = slots, .memory = 100 << 20 };
    memcpy(m.driver_key, driver_key, KEY_BYTES);
    memcpy(m.fetch_key, fetch_key, KEY_BYTES);
    rig_manager(r, MSG_LEASE_OPEN, &m);
}

void rig_attach(struct rig *r, uint64_t done_seq)
{
    struct rec_id lease = { RIG_LEASE };
    rig_driver(r, MSG_HELLO, &(struct msg_hello){ .major = PROTO_MAJOR, .name = bytes_of("driver") });
    rig_data(r, MSG_HELLO,
             &(struct msg_hello){ .major = PROTO_MAJOR, .plane = 1, .name = bytes_of("driver") });
    rig_driver(r, MSG_ATTACH,
               &(struct msg_attach){ .app = RIG_APP, .done_seq = done_seq, .leases = { &lease, 1 } });
}

void rig_stage(struct rig *r, uint32_t stage, uint32_t version)
{
    rig_driver(
        r, MSG_STAGE,
        &(struct msg_stage){ .app = RIG_APP, .stage = stage, .version = version, .body = bytes_of("plan") });
}

/* Answer the one BLOCK_GET of the last step with `bytes`, written whole. */
static void give_library(struct rig *r)
{
    const struct msg_block_get *get = rig_sent(r, RIG_DATA, MSG_BLOCK_GET);
    cr_assert(get && !memcmp(get->block, r->library, ID_BYTES), "the library is asked for");
    rig_data(r, MSG_BLOCK_DATA,
             &(struct msg_block_data){ .tag = get->tag, .total = 4, .bytes = bytes_of("code") });
    cr_assert(rig_io_of(r, IO_WRITE));
    rig_io(r, rig_io_of(r, IO_WRITE)->id, 4);
    cr_assert(rig_io_of(r, IO_LIBRARY), "it is checked before any host gets it");
    rig_io(r, rig_io_of(r, IO_LIBRARY)->id, 0);
}

void rig_load(struct rig *r)
{
    struct rec_lib lib = { .bytes = 4, .name = bytes_of("job.so") };
    memcpy(lib.id, r->library, ID_BYTES);
    rig_driver(r, MSG_STAGE,
               &(struct msg_stage){
                   .app = RIG_APP, .stage = 1, .version = 1, .body = bytes_of("plan"), .libs = { &lib, 1 } });
    give_library(r);
    uint64_t hosts[16];
    uint32_t n = rig_count(r, ACT_HOST_SEND);
    cr_assert(n >= 1 && n <= 16, "hosts are assigned");
    for (uint32_t i = 0; i < n; i++)
        hosts[i] = rig_action(r, ACT_HOST_SEND, i)->id;
    for (uint32_t i = 0; i < n; i++)
        rig_host(r, hosts[i], MSG_HOST_READY, &(struct msg_host_ready){ .words = bytes_of("") });
}

void rig_tasks(struct rig *r, uint32_t stage, uint32_t first, uint32_t count, uint32_t attempt)
{
    struct rec_range range = { first, count, attempt };
    rig_driver(r, MSG_TASKS,
               &(struct msg_tasks){ .app = RIG_APP, .stage = stage, .version = 1, .ranges = { &range, 1 } });
}

void rig_done(struct rig *r, uint64_t host, uint32_t stage, uint32_t first, uint32_t count, uint32_t attempt,
              uint64_t busy_ns)
{
    struct rec_success run = { stage, first, count, attempt, 1 };
    rig_host(r, host, MSG_DONE,
             &(struct msg_done){ .app = RIG_APP, .runs = { &run, 1 }, .busy_ns = busy_ns });
}

void rig_ready(struct rig *r, uint32_t slots)
{
    rig_init(r, slots);
    rig_join(r);
    rig_lease(r, RIG_LEASE, slots);
    cr_assert(rig_sent(r, r->manager, MSG_LEASE_OPENED));
    rig_attach(r, 0);
    rig_load(r);
}
