/* driven.c - see driven.h. */
#include "tests/unit/driven.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t name_hash(const char *name)
{
    uint64_t h = 1469598103934665603ull;
    for (; *name; name++)
        h = (h ^ (uint8_t)*name) * 1099511628211ull;
    return h;
}

static void count(struct map *m, uint64_t key, uint64_t n)
{
    uint64_t had = 0;
    map_get_u64(m, key, &had);
    map_put_u64(m, key, had + n);
}

uint64_t driven_counted(const struct map *m, uint64_t key)
{
    uint64_t n = 0;
    map_get_u64(m, key, &n);
    return n;
}

uint64_t driven_seen(const struct driven *w, const char *event)
{
    return driven_counted(&w->events, name_hash(event));
}

void driven_put(struct driven *w, struct todo t)
{
    buf_put(&w->queue, &t, sizeof t);
}

void driven_reply(struct driven *w, conn_id conn, uint64_t generation, uint8_t tag, const void *msg)
{
    struct buf b = { 0 };
    proto_encode(&b, &(struct head){ .tag = tag, .epoch = 1, .generation = generation }, msg);
    driven_put(w, (struct todo){ .kind = EV_RECV,
                                 .conn = conn,
                                 .frame = { arena_copy(&w->arena, b.p, b.n), (uint32_t)b.n } });
    buf_fini(&b);
}

/* ---- fakes ------------------------------------------------------------------------------ */

static uint8_t sizes[4];

void driven_tell(struct driven *w, uint32_t k, struct rec_run run, const struct rec_report *r)
{
    struct fake *f = &w->fakes[k];
    struct rec_success ok = { run.stage, run.first, run.count, run.attempt, 3 };
    struct msg_done m = { .app = APP, .seq = ++f->seq, .busy_ns = 1000 };
    if (r)
        m.reports.v = r, m.reports.n = 1;
    else
        m.runs.v = &ok, m.runs.n = 1;
    driven_reply(w, f->control, 100 + k, MSG_DONE, &m);
}

/* The report of a success, by the stage's kind, which its body names. */
void driven_succeed(struct driven *w, uint32_t k, struct rec_run run)
{
    struct rec_report r = {
        .stage = run.stage, .part = run.first, .attempt = run.attempt, .rows = 3, .ms = 1
    };
    char kind = w->fakes[k].stage.body.n ? (char)w->fakes[k].stage.body.p[0] : 'p';
    memset(sizes, w->size_code ? w->size_code : 200, sizeof sizes);
    if (kind == 'm')
        r.out_bytes = 1000, r.sizes = (struct bytes){ sizes, sizeof sizes };
    else if (kind == 'c') /* rows, or a table */
        r.out_bytes = 1000;
    else if (kind == 'r')
        r.result = (struct bytes){ (const uint8_t *)"result", 6 };
    else if (kind == 's')
        r.flags = run.first % 2 ? REPORT_SAVED_HERE : REPORT_SAVE_BLOCK, r.out_bytes = 5;
    driven_tell(w, k, run, kind == 'p' ? NULL : &r);
}

static void begin(struct driven *w, uint32_t k, struct rec_run run)
{
    struct fake *f = &w->fakes[k];
    enum deed deed = w->deed ? w->deed(w, k, run.stage, run.first, run.attempt) : DO_WELL;
    struct rec_report r = { .stage = run.stage, .part = run.first, .attempt = run.attempt, .ms = 12 };
    f->tasks++;
    if (deed == DO_WELL) {
        driven_succeed(w, k, run);
    } else if (deed == DO_HOLD) {
        buf_put(&f->held, &run, sizeof run);
    } else if (deed == DO_FAIL) {
        r.cause = CAUSE_CRASH;
        r.signal = 11;
        r.peak_bytes = 34ull << 20;
        r.words = bytes_of("killed by Segmentation fault");
        r.tail = bytes_of("first line\nlast line");
        driven_tell(w, k, run, &r);
    } else if (deed == DO_HOST) {
        r.cause = CAUSE_HOST;
        r.words = bytes_of("no such symbol");
        driven_tell(w, k, run, &r);
    } else {
        r.cause = CAUSE_FETCH;
        r.words = bytes_of("the block is gone");
        for (uint32_t i = 0; i < f->stage.maps.n; i++)
            if (f->stage.maps.v[i].part == w->lose_part) {
                r.fetch_stage = f->stage.maps.v[i].stage;
                r.fetch_part = w->lose_part;
                r.fetch_attempt = f->stage.maps.v[i].attempt;
            }
        driven_tell(w, k, run, &r);
    }
}

void driven_release(struct driven *w, uint32_t k)
{
    struct buf held = w->fakes[k].held;
    w->fakes[k].held = (struct buf){ 0 };
    for (size_t i = 0; i < held.n / sizeof(struct rec_run); i++)
        driven_succeed(w, k, ((struct rec_run *)held.p)[i]);
    buf_fini(&held);
}

static void fake_tasks(struct driven *w, uint32_t k, const struct msg_tasks *m)
{
    cr_assert_eq(m->version, w->fakes[k].stage_version, "TASKS of a version that was not sent");
    for (uint32_t i = 0; i < m->ranges.n; i++)
        for (uint32_t p = 0; p < m->ranges.v[i].count; p++)
            begin(w, k, (struct rec_run){ m->stage, m->ranges.v[i].first + p, 1, m->ranges.v[i].attempt });
}

static void fake_attach(struct driven *w, uint32_t k, const struct msg_attach *m)
{
    struct fake *f = &w->fakes[k];
    struct msg_attached a = { .app = APP };
    a.leases.v = m->leases.v;
    a.leases.n = m->leases.n;
    a.live.v = (const struct rec_run *)f->held.p;
    a.live.n = (uint32_t)(f->held.n / sizeof(struct rec_run));
    driven_reply(w, f->control, 100 + k, MSG_ATTACHED, &a);
}

static void fake_cancel(struct fake *f, const struct msg_cancel *m)
{
    f->cancels++;
    f->cancelled_runs += m->runs.n;
    for (uint32_t i = 0; i < m->runs.n; i++)
        f->cancelled += m->runs.v[i].count;
}

static void fake_frame(struct driven *w, uint32_t k, conn_id conn, uint8_t tag, const void *m)
{
    struct fake *f = &w->fakes[k];
    struct msg_block_data data = { .total = 5, .bytes = { (const uint8_t *)"part\n", 5 } };
    switch (tag) {
    case MSG_BEAT:
        if (!w->quiet)
            driven_reply(w, conn, 100 + k, MSG_BEAT_ACK,
                         &(struct msg_beat_ack){ ((const struct msg_beat *)m)->seq });
        break;
    case MSG_ATTACH:
        if (!w->mute)
            fake_attach(w, k, m);
        break;
    case MSG_STAGE:
        f->stage = *(const struct msg_stage *)m;
        f->stage_version = f->stage.version;
        break;
    case MSG_TASKS: fake_tasks(w, k, m); break;
    case MSG_DONE_ACK: f->acked = ((const struct msg_done_ack *)m)->seq; break;
    case MSG_BLOCK_FREE: f->frees += ((const struct msg_block_free *)m)->stages.n; break;
    case MSG_CANCEL: fake_cancel(f, m); break;
    case MSG_BLOCK_ERR: w->block_errors[((const struct msg_block_err *)m)->code & 7]++; break;
    case MSG_RECALL: f->recalls++; break;
    case MSG_APP_END: f->app_ends++; break;
    case MSG_BLOCK_GET:
        data.tag = ((const struct msg_block_get *)m)->tag;
        driven_reply(w, conn, 100 + k, MSG_BLOCK_DATA, &data);
        break;
    default: break;
    }
}

/* ---- the manager -------------------------------------------------------------------------- */

void driven_grant(struct driven *w, uint32_t k, uint64_t lease, uint32_t slots)
{
    char address[32];
    struct msg_lease_grant g = {
        .lease = lease, .slots = slots, .generation = 100 + k, .host = bytes_of("h")
    };
    snprintf(address, sizeof address, "h:%u", 10 + k);
    g.host_id = bytes_of(w->host_of_its_own == k ? "another" : "machine");
    g.control = g.data = bytes_of(address);
    g.root = bytes_of("/blocks");
    memset(g.incarnation, (int)k + 1, sizeof g.incarnation);
    g.key[0] = (uint8_t)(k + 1);
    w->fakes[k].known = true;
    driven_reply(w, w->manager, 0, MSG_LEASE_GRANT, &g);
}

static void manager_frame(struct driven *w, uint8_t tag, const void *m)
{
    struct msg_welcome welcome = { .generation = 55, .beat_ms = 1000, .suspect_ms = 5000, .lost_ms = 20000 };
    switch (tag) {
    case MSG_HELLO: driven_reply(w, w->manager, 0, MSG_WELCOME, &welcome); break;
    case MSG_BEAT:
        driven_reply(w, w->manager, 0, MSG_BEAT_ACK,
                     &(struct msg_beat_ack){ ((const struct msg_beat *)m)->seq });
        break;
    case MSG_APP_OPEN:
        w->opens++;
        w->claims = ((const struct msg_app_open *)m)->claims.n;
        driven_reply(w, w->manager, 0, MSG_APP_OK, &(struct msg_app_ok){ .app = APP });
        break;
    case MSG_ASK:
        w->asks++;
        w->asked = ((const struct msg_ask *)m)->slots;
        w->labels = ((const struct msg_ask *)m)->labels;
        for (uint32_t k = 0; k < FAKES && w->slots && w->asked; k++)
            if (!w->fakes[k].known && !w->fakes[k].dead)
                driven_grant(w, k, k + 1, w->slots);
        if (w->waits)
            driven_reply(w, w->manager, 0, MSG_ASK_STATE,
                         &(struct msg_ask_state){ .revision = ((const struct msg_ask *)m)->revision,
                                                  .words = bytes_of(w->waits) });
        break;
    case MSG_LEASE_RETURN: w->returned++; break;
    case MSG_LEASE_BAD: w->bad++; break;
    case MSG_APP_CLOSE:
        w->closes++;
        driven_reply(w, w->manager, 0, MSG_APP_END, &(struct msg_app_end){ .app = APP });
        break;
    default: break;
    }
}

/* ---- the shell ------------------------------------------------------------------------------- */

static void sent(struct driven *w, conn_id conn, struct bytes frame)
{
    struct head h;
    struct error e;
    frame = arena_bytes(&w->arena, frame); /* what is decoded borrows from it */
    cr_assert_neq(proto_admit(frame, ROLE_DRIVER, &e), 0, "%s", e.words);
    const void *m = proto_decode(&w->arena, frame, &h, &e);
    cr_assert_not_null(m, "%s", e.words);
    if (conn == w->manager && !w->away)
        manager_frame(w, h.tag, m);
    for (uint32_t k = 0; k < FAKES; k++)
        if (!w->fakes[k].dead && (conn == w->fakes[k].control || conn == w->fakes[k].data))
            fake_frame(w, k, conn, h.tag, m);
}

static void dialled(struct driven *w, const struct action *a)
{
    struct todo up = { .kind = EV_CONN_UP, .conn = a->conn };
    unsigned port = 0;
    if (a->dial.role == ROLE_MANAGER) {
        w->manager = a->conn;
    } else {
        cr_assert_eq(sscanf(a->dial.address, "h:%u", &port), 1);
        struct fake *f = &w->fakes[port - 10];
        *(a->dial.data ? &f->data : &f->control) = a->conn;
        if (f->dead)
            up = (struct todo){ .kind = EV_CONN_DOWN, .conn = a->conn, .reason = DOWN_REFUSED };
    }
    driven_put(w, up);
}

static void file_work(struct driven *w, const struct action *a)
{
    struct todo done = { .kind = EV_IO_DONE, .id = a->id };
    w->writes += a->io.op == IO_WRITE;
    w->syncs += a->io.op == IO_SYNC;
    w->served += a->io.op == IO_SERVE;
    if (a->io.op == IO_WRITE)
        done.result = a->io.bytes.n;
    if (a->io.op == IO_SERVE)
        done.result = w->serve_result;
    if (a->io.op == IO_COMMIT) {
        w->winners = a->io.bytes.n / (uint32_t)sizeof(struct sched_winner);
        done.result = w->commit_result;
    }
    driven_put(w, done);
}

static void noted(struct driven *w, const struct action *a)
{
    const struct sched_ended *ended = a->call.arg;
    const struct sched_result *r = a->call.arg;
    const struct sched_event *e = a->call.arg;
    if (a->call.what == SCHED_JOB_ENDED) {
        cr_assert_not(w->ended, "a job ended twice");
        w->ended = true;
        w->code = ended->code;
        w->rows = ended->rows;
        snprintf(w->words, sizeof w->words, "%s", ended->words);
    } else if (a->call.what == SCHED_RESULT)
        count(&w->results, r->part, 1);
    else if (a->call.what == SCHED_EVENT) {
        count(&w->events, name_hash(e->name), 1);
        for (uint32_t i = 0; i < e->count && !strcmp(e->name, "task.committed"); i++)
            count(&w->committed, (uint64_t)e->stage << 32 | (e->part + i), 1);
    }
}

static void perform(struct driven *w, const struct action *a)
{
    switch (a->kind) {
    case ACT_SEND: sent(w, a->conn, a->frame); break;
    case ACT_DIAL: dialled(w, a); break;
    case ACT_PROBE:
        driven_put(w, (struct todo){ .kind = EV_PROBED, .id = a->id, .result = w->fakes[a->id].dead });
        break;
    case ACT_IO: file_work(w, a); break;
    case ACT_CALL: noted(w, a); break;
    case ACT_EXIT:
        w->exited = true;
        w->exit_code = a->exit_code;
        break;
    default: break;
    }
}

void driven_step(struct driven *w, struct event *ev)
{
    sched_step(w->s, ev, w->now, &w->out);
    for (uint32_t i = 0; i < w->out.n; i++)
        perform(w, &w->out.v[i]);
    actions_reset(&w->out);
}

/* Everything that is under way, at this moment. */
void driven_settle(struct driven *w)
{
    for (uint32_t n = 0; w->at < w->queue.n; n++) {
        struct todo t;
        cr_assert_lt(n, STEPS_MAX, "it goes on for ever");
        memcpy(&t, w->queue.p + w->at, sizeof t);
        w->at += sizeof t;
        struct event ev = { .kind = t.kind, .id = t.id, .conn = t.conn };
        if (t.kind == EV_RECV)
            ev.recv.frame = t.frame;
        else if (t.kind == EV_CONN_DOWN)
            ev.down.reason = t.reason, ev.down.words = "down";
        else if (t.kind == EV_PROBED)
            ev.probed.refused = t.result;
        else if (t.kind == EV_IO_DONE)
            ev.io.result = t.result;
        driven_step(w, &ev);
    }
    buf_reset(&w->queue);
    w->at = 0;
}

/* Time passes, by the core's own deadlines. */
void driven_pass(struct driven *w, uint64_t ms)
{
    uint64_t until = w->now + ms * MSEC;
    for (uint64_t next; (next = sched_deadline(w->s)) <= until; driven_settle(w)) {
        w->now = next > w->now ? next : w->now;
        driven_step(w, &(struct event){ .kind = EV_TIME });
    }
    w->now = until;
}

void driven_call(struct driven *w, int what, const void *arg)
{
    driven_step(w, &(struct event){ .kind = EV_CALL, .call = { what, arg } });
    driven_settle(w);
}

struct driven *driven_new(uint32_t slots)
{
    static struct driven w;
    struct sched_config config = { .manager = "m:1",
                                   .app = APP,
                                   .epoch = 1,
                                   .slots_max = 1048576,
                                   .memory = 1 << 20,
                                   .labels = "fast,gpu",
                                   .attempts_max = 4,
                                   .idle_ms = 1000,
                                   .copy_ms = 300,
                                   .executor_lost_ms = 20000,
                                   .reduce_bytes = 16 << 20,
                                   .beat_ms = 1000,
                                   .name = "test" };
    memset(&w, 0, sizeof w);
    w.s = sched_new(&config);
    w.now = 1000 * MSEC;
    w.slots = slots;
    w.host_of_its_own = FAKES;
    for (uint32_t k = 1; k < FAKES; k++)
        w.fakes[k].dead = true; /* one executor, unless a test says otherwise */
    driven_step(&w, &(struct event){ .kind = EV_START, .start = { 1, NULL } });
    driven_settle(&w);
    return &w;
}

void driven_free(struct driven *w)
{
    sched_free(&w->s);
    actions_fini(&w->out);
    arena_fini(&w->arena);
    buf_fini(&w->queue);
    for (uint32_t k = 0; k < FAKES; k++)
        buf_fini(&w->fakes[k].held);
    map_fini(&w->results);
    map_fini(&w->committed);
    map_fini(&w->events);
}

void driven_lose(struct driven *w, uint32_t k)
{
    struct fake *f = &w->fakes[k];
    f->dead = true;
    driven_put(w, (struct todo){ .kind = EV_CONN_DOWN, .conn = f->data, .reason = DOWN_CLOSED });
    driven_put(w, (struct todo){ .kind = EV_CONN_DOWN, .conn = f->control, .reason = DOWN_CLOSED });
    driven_settle(w);
}

/* ---- jobs -------------------------------------------------------------------------------------- */

static const struct stage_input source40 = { 40, STAGE_NO_SHUFFLE, STAGE_NO_SHUFFLE };
const struct stage_input driven_of_0 = { 0, 0, 0 };
struct stage_input driven_many;

static const struct stage_spec results40 = { .kind = STAGE_RESULT,
                                             .body = { (const uint8_t *)"r", 1 },
                                             .ninputs = 1,
                                             .inputs = &source40,
                                             .name = "parse_line",
                                             .place = "crash.c:9" };
static const struct stage_spec plain = { .kind = STAGE_RESULT,
                                         .body = { (const uint8_t *)"p", 1 },
                                         .ninputs = 1,
                                         .inputs = &driven_many,
                                         .name = "noop",
                                         .place = "noop.c:1" };
static const struct stage_spec saves40 = { .kind = STAGE_SAVE,
                                           .body = { (const uint8_t *)"s", 1 },
                                           .ninputs = 1,
                                           .inputs = &source40,
                                           .name = "save",
                                           .place = "save.c:1" };
struct stage_spec driven_shuffle[2] = {
    { .kind = STAGE_HASH,
      .body = { (const uint8_t *)"m", 1 },
      .buckets = 4,
      .ninputs = 1,
      .inputs = &source40,
      .name = "split",
      .place = "wordcount.c:24" },
    { .kind = STAGE_RESULT,
      .body = { (const uint8_t *)"r", 1 },
      .ninputs = 1,
      .inputs = &driven_of_0,
      .name = "sum",
      .place = "wordcount.c:30" },
};
const struct job_spec driven_one_stage = { &results40, 1, 0, NULL, { 0 } };
const struct job_spec driven_plain = { &plain, 1, 0, NULL, { 0 } };
const struct job_spec driven_shuffles = { driven_shuffle, 2, 0, NULL, { 0 } };
const struct job_spec driven_saves = { &saves40, 1, 0, "/out", { 1 } };
const struct job_spec driven_takes = { &results40, 1, 7, NULL, { 0 } };

enum deed driven_hold(struct driven *w, uint32_t fake, uint32_t stage, uint32_t part, uint32_t attempt)
{
    (void)w, (void)fake, (void)stage, (void)part, (void)attempt;
    return DO_HOLD;
}
