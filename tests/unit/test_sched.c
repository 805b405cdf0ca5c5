/* test_sched.c - the scheduler by its own frames: a manager and small executors that answer at once. */
#include "common/base/map.h"
#include "common/proto/proto.h"
#include "driver/sched/sched.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MSEC 1000000ull
#define APP 7
#define FAKES 3
#define STEPS_MAX 200000

/* What a fake executor does with an attempt. */
enum deed { DO_WELL, DO_HOLD, DO_FAIL, DO_FETCH };

struct fake {
    bool known, dead;
    conn_id control, data;
    uint64_t seq, acked;
    uint32_t tasks; /* attempts begun */
    uint32_t stage_version;
    struct msg_stage stage; /* the last; lists in the world's arena */
    uint32_t frees, app_ends, cancels, recalls;
    struct buf held; /* of struct rec_run */
};

struct world {
    struct sched *s;
    struct actions out;
    struct arena arena;
    uint64_t now;
    conn_id manager;
    uint64_t generation;
    uint32_t asked, asks, closes, opens, claims, returned, bad;
    uint32_t slots; /* that each fake gives; 0: no grants */
    struct fake fakes[FAKES];
    enum deed (*deed)(struct world *w, uint32_t fake, uint32_t stage, uint32_t part, uint32_t attempt);
    uint32_t lose_fake, lose_part; /* DO_FETCH: which output can't be had */
    /* what came of it */
    bool ended, exited;
    int code, exit_code;
    char words[4096];
    struct map results, committed; /* part -> times; stage << 32 | part -> times */
    struct map events;             /* hash of name -> times */
    uint32_t winners, syncs, writes, served;
    int64_t commit_result;
    struct buf queue; /* of struct todo */
    size_t at;
    bool quiet; /* executors do not echo beats */
    bool away;  /* the manager answers nothing */
};

/* Events that happen next: frames to the core, answers to its actions. */
struct todo {
    enum event_kind kind;
    conn_id conn;
    uint64_t id;
    int64_t result;
    enum down_reason reason;
    struct bytes frame;
};

static void step(struct world *w, struct event *ev);

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

static uint64_t counted(const struct map *m, uint64_t key)
{
    uint64_t n = 0;
    map_get_u64(m, key, &n);
    return n;
}

static uint64_t seen(const struct world *w, const char *event)
{
    return counted(&w->events, name_hash(event));
}

static void put(struct world *w, struct todo t)
{
    buf_put(&w->queue, &t, sizeof t);
}

static void reply(struct world *w, conn_id conn, uint64_t generation, uint8_t tag, const void *msg)
{
    struct buf b = { 0 };
    proto_encode(&b, &(struct head){ .tag = tag, .epoch = 1, .generation = generation }, msg);
    put(w, (struct todo){
               .kind = EV_RECV, .conn = conn, .frame = { arena_copy(&w->arena, b.p, b.n), (uint32_t)b.n } });
    buf_fini(&b);
}

/* ---- fakes ------------------------------------------------------------------------------ */

static uint8_t sizes[4];

static void tell(struct world *w, uint32_t k, struct rec_run run, const struct rec_report *r)
{
    struct fake *f = &w->fakes[k];
    struct msg_done m = { .app = APP, .seq = ++f->seq, .busy_ns = 1000 };
    if (r)
        m.reports.v = r, m.reports.n = 1;
    else
        m.runs.v = &run, m.runs.n = 1;
    reply(w, f->control, 100 + k, MSG_DONE, &m);
}

/* The report of a success, by the stage's kind, which its body names. */
static void succeed(struct world *w, uint32_t k, struct rec_run run)
{
    struct rec_report r = {
        .stage = run.stage, .part = run.first, .attempt = run.attempt, .rows = 3, .ms = 1
    };
    char kind = w->fakes[k].stage.body.n ? (char)w->fakes[k].stage.body.p[0] : 'p';
    memset(sizes, 200, sizeof sizes);
    if (kind == 'm')
        r.out_bytes = 1000, r.sizes = (struct bytes){ sizes, sizeof sizes };
    else if (kind == 'r')
        r.result = (struct bytes){ (const uint8_t *)"result", 6 };
    else if (kind == 's')
        r.flags = run.first % 2 ? REPORT_SAVED_HERE : REPORT_SAVE_BLOCK, r.out_bytes = 5;
    tell(w, k, run, kind == 'p' ? NULL : &r);
}

static void begin(struct world *w, uint32_t k, struct rec_run run)
{
    struct fake *f = &w->fakes[k];
    enum deed deed = w->deed ? w->deed(w, k, run.stage, run.first, run.attempt) : DO_WELL;
    struct rec_report r = { .stage = run.stage, .part = run.first, .attempt = run.attempt, .ms = 12 };
    f->tasks++;
    if (deed == DO_WELL) {
        succeed(w, k, run);
    } else if (deed == DO_HOLD) {
        buf_put(&f->held, &run, sizeof run);
    } else if (deed == DO_FAIL) {
        r.cause = CAUSE_CRASH;
        r.signal = 11;
        r.peak_bytes = 34ull << 20;
        r.words = bytes_of("killed by Segmentation fault");
        r.tail = bytes_of("first line\nlast line");
        tell(w, k, run, &r);
    } else {
        r.cause = CAUSE_FETCH;
        for (uint32_t i = 0; i < f->stage.maps.n; i++)
            if (f->stage.maps.v[i].part == w->lose_part) {
                r.fetch_stage = f->stage.maps.v[i].stage;
                r.fetch_part = w->lose_part;
                r.fetch_attempt = f->stage.maps.v[i].attempt;
            }
        tell(w, k, run, &r);
    }
}

static void release(struct world *w, uint32_t k)
{
    struct buf held = w->fakes[k].held;
    w->fakes[k].held = (struct buf){ 0 };
    for (size_t i = 0; i < held.n / sizeof(struct rec_run); i++)
        succeed(w, k, ((struct rec_run *)held.p)[i]);
    buf_fini(&held);
}

static void fake_tasks(struct world *w, uint32_t k, const struct msg_tasks *m)
{
    cr_assert_eq(m->version, w->fakes[k].stage_version, "TASKS of a version that was not sent");
    for (uint32_t i = 0; i < m->ranges.n; i++)
        for (uint32_t p = 0; p < m->ranges.v[i].count; p++)
            begin(w, k, (struct rec_run){ m->stage, m->ranges.v[i].first + p, 1, m->ranges.v[i].attempt });
}

static void fake_attach(struct world *w, uint32_t k, const struct msg_attach *m)
{
    struct fake *f = &w->fakes[k];
    struct msg_attached a = { .app = APP };
    a.leases.v = m->leases.v;
    a.leases.n = m->leases.n;
    a.live.v = (const struct rec_run *)f->held.p;
    a.live.n = (uint32_t)(f->held.n / sizeof(struct rec_run));
    reply(w, f->control, 100 + k, MSG_ATTACHED, &a);
}

static void fake_frame(struct world *w, uint32_t k, conn_id conn, uint8_t tag, const void *m)
{
    struct fake *f = &w->fakes[k];
    struct msg_block_data data = { .total = 5, .bytes = { (const uint8_t *)"part\n", 5 } };
    switch (tag) {
    case MSG_BEAT:
        if (!w->quiet)
            reply(w, conn, 100 + k, MSG_BEAT_ACK,
                  &(struct msg_beat_ack){ ((const struct msg_beat *)m)->seq });
        break;
    case MSG_ATTACH: fake_attach(w, k, m); break;
    case MSG_STAGE:
        f->stage = *(const struct msg_stage *)m;
        f->stage_version = f->stage.version;
        break;
    case MSG_TASKS: fake_tasks(w, k, m); break;
    case MSG_DONE_ACK: f->acked = ((const struct msg_done_ack *)m)->seq; break;
    case MSG_BLOCK_FREE: f->frees += ((const struct msg_block_free *)m)->stages.n; break;
    case MSG_CANCEL: f->cancels++; break;
    case MSG_RECALL: f->recalls++; break;
    case MSG_APP_END: f->app_ends++; break;
    case MSG_BLOCK_GET:
        data.tag = ((const struct msg_block_get *)m)->tag;
        reply(w, conn, 100 + k, MSG_BLOCK_DATA, &data);
        break;
    default: break;
    }
}

/* ---- the manager -------------------------------------------------------------------------- */

static void grant(struct world *w, uint32_t k, uint64_t lease, uint32_t slots)
{
    char address[32];
    struct msg_lease_grant g = {
        .lease = lease, .slots = slots, .generation = 100 + k, .host = bytes_of("h")
    };
    snprintf(address, sizeof address, "h:%u", 10 + k);
    g.host_id = bytes_of("machine");
    g.control = g.data = bytes_of(address);
    g.root = bytes_of("/blocks");
    memset(g.incarnation, (int)k + 1, sizeof g.incarnation);
    g.key[0] = (uint8_t)(k + 1);
    w->fakes[k].known = true;
    reply(w, w->manager, 0, MSG_LEASE_GRANT, &g);
}

static void manager_frame(struct world *w, uint8_t tag, const void *m)
{
    struct msg_welcome welcome = { .generation = 55, .beat_ms = 1000, .suspect_ms = 5000, .lost_ms = 20000 };
    switch (tag) {
    case MSG_HELLO: reply(w, w->manager, 0, MSG_WELCOME, &welcome); break;
    case MSG_BEAT:
        reply(w, w->manager, 0, MSG_BEAT_ACK, &(struct msg_beat_ack){ ((const struct msg_beat *)m)->seq });
        break;
    case MSG_APP_OPEN:
        w->opens++;
        w->claims = ((const struct msg_app_open *)m)->claims.n;
        reply(w, w->manager, 0, MSG_APP_OK, &(struct msg_app_ok){ .app = APP });
        break;
    case MSG_ASK:
        w->asks++;
        w->asked = ((const struct msg_ask *)m)->slots;
        for (uint32_t k = 0; k < FAKES && w->slots && w->asked; k++)
            if (!w->fakes[k].known && !w->fakes[k].dead)
                grant(w, k, k + 1, w->slots);
        break;
    case MSG_LEASE_RETURN: w->returned++; break;
    case MSG_LEASE_BAD: w->bad++; break;
    case MSG_APP_CLOSE:
        w->closes++;
        reply(w, w->manager, 0, MSG_APP_END, &(struct msg_app_end){ .app = APP });
        break;
    default: break;
    }
}

/* ---- the shell ------------------------------------------------------------------------------- */

static void sent(struct world *w, conn_id conn, struct bytes frame)
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

static void dialled(struct world *w, const struct action *a)
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
    put(w, up);
}

static void file_work(struct world *w, const struct action *a)
{
    struct todo done = { .kind = EV_IO_DONE, .id = a->id };
    w->writes += a->io.op == IO_WRITE;
    w->syncs += a->io.op == IO_SYNC;
    w->served += a->io.op == IO_SERVE;
    if (a->io.op == IO_WRITE)
        done.result = a->io.bytes.n;
    if (a->io.op == IO_COMMIT) {
        w->winners = a->io.bytes.n / (uint32_t)sizeof(struct sched_winner);
        done.result = w->commit_result;
    }
    put(w, done);
}

static void noted(struct world *w, const struct action *a)
{
    const struct sched_ended *ended = a->call.arg;
    const struct sched_result *r = a->call.arg;
    const struct sched_event *e = a->call.arg;
    if (a->call.what == SCHED_JOB_ENDED) {
        cr_assert_not(w->ended, "a job ended twice");
        w->ended = true;
        w->code = ended->code;
        snprintf(w->words, sizeof w->words, "%s", ended->words);
    } else if (a->call.what == SCHED_RESULT)
        count(&w->results, r->part, 1);
    else if (a->call.what == SCHED_EVENT) {
        count(&w->events, name_hash(e->name), 1);
        for (uint32_t i = 0; i < e->count && !strcmp(e->name, "task.committed"); i++)
            count(&w->committed, (uint64_t)e->stage << 32 | (e->part + i), 1);
    }
}

static void perform(struct world *w, const struct action *a)
{
    switch (a->kind) {
    case ACT_SEND: sent(w, a->conn, a->frame); break;
    case ACT_DIAL: dialled(w, a); break;
    case ACT_PROBE:
        put(w, (struct todo){ .kind = EV_PROBED, .id = a->id, .result = w->fakes[a->id].dead });
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

static void step(struct world *w, struct event *ev)
{
    sched_step(w->s, ev, w->now, &w->out);
    for (uint32_t i = 0; i < w->out.n; i++)
        perform(w, &w->out.v[i]);
    actions_reset(&w->out);
}

/* Everything that is under way, at this moment. */
static void settle(struct world *w)
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
        step(w, &ev);
    }
    buf_reset(&w->queue);
    w->at = 0;
}

/* Time passes, by the core's own deadlines. */
static void pass(struct world *w, uint64_t ms)
{
    uint64_t until = w->now + ms * MSEC;
    for (uint64_t next; (next = sched_deadline(w->s)) <= until; settle(w)) {
        w->now = next > w->now ? next : w->now;
        step(w, &(struct event){ .kind = EV_TIME });
    }
    w->now = until;
}

static void call(struct world *w, int what, const void *arg)
{
    step(w, &(struct event){ .kind = EV_CALL, .call = { what, arg } });
    settle(w);
}

static struct world *world_new(uint32_t slots)
{
    static struct world w;
    struct sched_config config = { .manager = "m:1",
                                   .app = APP,
                                   .epoch = 1,
                                   .slots_max = 1048576,
                                   .memory = 1 << 20,
                                   .attempts_max = 4,
                                   .idle_ms = 1000,
                                   .copy_ms = 300,
                                   .executor_lost_ms = 20000,
                                   .reduce_bytes = 16 << 20,
                                   .beat_ms = 1000,
                                   .name = "test",
                                   .user = "u" };
    memset(&w, 0, sizeof w);
    w.s = sched_new(&config);
    w.now = 1000 * MSEC;
    w.slots = slots;
    for (uint32_t k = 1; k < FAKES; k++)
        w.fakes[k].dead = true; /* one executor, unless a test says otherwise */
    step(&w, &(struct event){ .kind = EV_START, .start = { 1, NULL } });
    settle(&w);
    return &w;
}

static void world_free(struct world *w)
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

static void lose(struct world *w, uint32_t k)
{
    struct fake *f = &w->fakes[k];
    f->dead = true;
    put(w, (struct todo){ .kind = EV_CONN_DOWN, .conn = f->data, .reason = DOWN_CLOSED });
    put(w, (struct todo){ .kind = EV_CONN_DOWN, .conn = f->control, .reason = DOWN_CLOSED });
    settle(w);
}

/* ---- jobs -------------------------------------------------------------------------------------- */

static const struct stage_input source40 = { 40, STAGE_NO_SHUFFLE }, of_stage_0 = { 0, 0 }, named3 = { 3, 0 };
static struct stage_input many;

static const struct stage_spec results40 = { .kind = STAGE_RESULT,
                                             .body = { (const uint8_t *)"r", 1 },
                                             .ninputs = 1,
                                             .inputs = &source40,
                                             .name = "parse_line",
                                             .place = "crash.c:9" };
static const struct stage_spec plain = { .kind = STAGE_RESULT,
                                         .body = { (const uint8_t *)"p", 1 },
                                         .ninputs = 1,
                                         .inputs = &many,
                                         .name = "noop",
                                         .place = "noop.c:1" };
static const struct stage_spec saves40 = { .kind = STAGE_SAVE,
                                           .body = { (const uint8_t *)"s", 1 },
                                           .ninputs = 1,
                                           .inputs = &source40,
                                           .name = "save",
                                           .place = "save.c:1" };
static struct stage_spec shuffle[2] = {
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
      .inputs = &of_stage_0,
      .name = "sum",
      .place = "wordcount.c:30" },
};
static const struct job_spec one_stage = { &results40, 1, 0, NULL, { 0 } };
static const struct job_spec plain_job = { &plain, 1, 0, NULL, { 0 } };
static const struct job_spec two_stages = { shuffle, 2, 0, NULL, { 0 } };
static const struct job_spec save_job = { &saves40, 1, 0, "/out", { 1 } };
static const struct job_spec take_job = { &results40, 1, 7, NULL, { 0 } };

static enum deed hold(struct world *w, uint32_t fake, uint32_t stage, uint32_t part, uint32_t attempt)
{
    (void)w, (void)fake, (void)stage, (void)part, (void)attempt;
    return DO_HOLD;
}

TestSuite(sched, .timeout = 20);

Test(sched, one_stage_runs_and_gives_each_result_once)
{
    struct world *w = world_new(2);
    call(w, SCHED_RUN, &one_stage);
    cr_assert(w->ended);
    cr_assert_eq(w->code, 0, "%s", w->words);
    cr_assert_eq(w->results.n, 40);
    for (uint32_t p = 0; p < 40; p++)
        cr_assert_eq(counted(&w->results, p), 1);
    cr_assert_eq(w->fakes[0].tasks, 40);
    cr_assert_eq(w->fakes[0].acked, w->fakes[0].seq);
    cr_assert_eq(w->fakes[0].frees, 1);
    world_free(w);
}

Test(sched, asks_for_what_it_needs_and_returns_what_lies_idle)
{
    struct world *w = world_new(2);
    w->deed = hold;
    call(w, SCHED_RUN, &one_stage);
    cr_assert_eq(w->asked, 40);
    cr_assert_eq(w->fakes[0].held.n / sizeof(struct rec_run), 4, "twice its slots are sent ahead");
    w->deed = NULL;
    release(w, 0);
    settle(w);
    cr_assert(w->ended);
    cr_assert_eq(w->returned, 0);
    pass(w, 1500);
    cr_assert_eq(w->returned, 1);
    cr_assert_eq(w->asked, 0);
    world_free(w);
}

Test(sched, many_tasks_are_few_messages)
{
    struct world *w = world_new(2);
    struct sched_progress p;
    many = (struct stage_input){ 100000, STAGE_NO_SHUFFLE };
    call(w, SCHED_RUN, &plain_job);
    cr_assert(w->ended);
    cr_assert_eq(w->code, 0, "%s", w->words);
    cr_assert_eq(w->committed.n, 100000);
    sched_progress(w->s, &p);
    cr_assert_lt(p.task_messages, 100000 / 20);
    world_free(w);
}

Test(sched, a_shuffle_waits_for_its_maps_and_is_cut_by_size)
{
    struct world *w = world_new(2);
    call(w, SCHED_RUN, &two_stages);
    cr_assert(w->ended);
    cr_assert_eq(w->code, 0, "%s", w->words);
    cr_assert_eq(w->fakes[0].stage.maps.n, 40);
    cr_assert_eq(w->fakes[0].stage.inputs.v[0].cuts.n, w->fakes[0].stage.inputs.v[0].ntasks + 1);
    cr_assert_eq(w->fakes[0].stage.inputs.v[0].shuffle, 0);
    cr_assert_eq(w->results.n, w->fakes[0].stage.inputs.v[0].ntasks);
    cr_assert_eq(w->fakes[0].frees, 2);
    world_free(w);
}

Test(sched, a_named_number_of_reduce_tasks_is_kept)
{
    struct world *w = world_new(2);
    shuffle[1].inputs = &named3;
    call(w, SCHED_RUN, &two_stages);
    shuffle[1].inputs = &of_stage_0;
    cr_assert_eq(w->code, 0, "%s", w->words);
    cr_assert_eq(w->results.n, 3);
    cr_assert_eq(w->fakes[0].stage.inputs.v[0].cuts.n, 4);
    world_free(w);
}

static enum deed fail_17_twice(struct world *w, uint32_t fake, uint32_t stage, uint32_t part,
                               uint32_t attempt)
{
    (void)w, (void)fake, (void)stage;
    return part == 17 && attempt <= 2 ? DO_FAIL : DO_WELL;
}

static enum deed fail_17(struct world *w, uint32_t fake, uint32_t stage, uint32_t part, uint32_t attempt)
{
    (void)w, (void)fake, (void)stage, (void)attempt;
    return part == 17 ? DO_FAIL : DO_WELL;
}

Test(sched, a_failure_is_tried_again)
{
    struct world *w = world_new(2);
    w->deed = fail_17_twice;
    call(w, SCHED_RUN, &one_stage);
    pass(w, 10000);
    cr_assert(w->ended);
    cr_assert_eq(w->code, 0, "%s", w->words);
    cr_assert_eq(seen(w, "task.failed"), 2);
    cr_assert_eq(w->fakes[0].tasks, 42);
    world_free(w);
}

Test(sched, the_fourth_failure_ends_the_job_with_the_story_of_all)
{
    struct world *w = world_new(2);
    w->deed = fail_17;
    call(w, SCHED_RUN, &one_stage);
    pass(w, 20000);
    cr_assert(w->ended);
    cr_assert_eq(w->code, -1);
    cr_assert_eq(seen(w, "task.failed"), 4);
    cr_assert_not_null(strstr(w->words, "stage 0, parse_line (crash.c:9), partition 17/40, 4 attempts\n"),
                       "%s", w->words);
    cr_assert_not_null(strstr(w->words, "attempt 1 on h/0101: crash, SIGSEGV, 12 ms, peak 34 MiB"), "%s",
                       w->words);
    cr_assert_not_null(strstr(w->words, "attempt 4 on"), "%s", w->words);
    cr_assert_lt(strstr(w->words, "attempt 1 on"), strstr(w->words, "attempt 4 on"));
    cr_assert_not_null(strstr(w->words, "    first line\n    last line\n"), "%s", w->words);
    world_free(w);
}

static uint32_t failed_on;
static enum deed fail_17_once(struct world *w, uint32_t fake, uint32_t stage, uint32_t part, uint32_t attempt)
{
    (void)w, (void)stage;
    if (part != 17)
        return DO_WELL;
    if (attempt > 1) {
        cr_assert_neq(fake, failed_on, "again where it failed");
        return DO_WELL;
    }
    failed_on = fake;
    return DO_FAIL;
}

Test(sched, a_retry_goes_to_another_executor_first)
{
    struct world *w = world_new(1);
    w->fakes[1].dead = false;
    w->deed = fail_17_once;
    call(w, SCHED_RUN, &one_stage);
    pass(w, 100);
    cr_assert(w->ended);
    cr_assert_eq(w->code, 0, "%s", w->words);
    world_free(w);
}

static enum deed hold_reduces(struct world *w, uint32_t fake, uint32_t stage, uint32_t part, uint32_t attempt)
{
    (void)w, (void)fake, (void)part, (void)attempt;
    return stage == 1 ? DO_HOLD : DO_WELL;
}

Test(sched, a_lost_executors_maps_run_again_and_nothing_else_does)
{
    struct world *w = world_new(1);
    w->fakes[1].dead = false;
    w->deed = hold_reduces;
    call(w, SCHED_RUN, &two_stages);
    uint32_t lost = w->fakes[1].tasks, first = w->fakes[0].tasks;
    cr_assert_not(w->ended);
    cr_assert_gt(lost, 0);
    uint32_t held = (uint32_t)(w->fakes[1].held.n / sizeof(struct rec_run));
    lose(w, 1);
    cr_assert_eq(seen(w, "executor.lost"), 1, "its port refuses");
    cr_assert_eq(seen(w, "maps.lost"), 1);
    w->deed = NULL;
    pass(w, 10);
    uint32_t again = 0;
    for (uint32_t p = 0; p < 40; p++)
        again += counted(&w->committed, p) == 2;
    cr_assert_eq(again, lost - held, "exactly the maps that lay there: %u, not %u - %u", again, lost, held);
    if (w->fakes[0].held.n)
        release(w, 0);
    settle(w);
    pass(w, 10);
    cr_assert(w->ended);
    cr_assert_eq(w->code, 0, "%s", w->words);
    cr_assert_eq(w->fakes[0].tasks, first + again + held);
    cr_assert_eq(seen(w, "task.failed"), 0);
    for (uint32_t i = 0; held && i < w->fakes[0].stage.maps.n; i++)
        cr_assert_eq(w->fakes[0].stage.peers.v[w->fakes[0].stage.maps.v[i].peer].key[0], 1);
    world_free(w);
}

static bool lost_once;
static enum deed lose_map_5(struct world *w, uint32_t fake, uint32_t stage, uint32_t part, uint32_t attempt)
{
    (void)fake, (void)part, (void)attempt;
    if (stage == 0 || lost_once)
        return DO_WELL;
    lost_once = true;
    w->lose_part = 5;
    return DO_FETCH;
}

Test(sched, a_map_that_cannot_be_fetched_runs_again_and_the_reducer_is_not_blamed)
{
    struct world *w = world_new(2);
    lost_once = false;
    w->deed = lose_map_5;
    call(w, SCHED_RUN, &two_stages);
    pass(w, 4000);
    cr_assert(w->ended);
    cr_assert_eq(w->code, 0, "%s", w->words);
    cr_assert_eq(seen(w, "task.failed"), 0);
    cr_assert_eq(seen(w, "fetch.failed"), 1);
    for (uint32_t p = 0; p < 40; p++)
        cr_assert_eq(counted(&w->committed, p), p == 5 ? 2 : 1);
    cr_assert_eq(w->fakes[0].stage_version, 2, "the reducers must learn the new place");
    world_free(w);
}

Test(sched, a_repeated_done_and_an_unknown_attempt_count_for_nothing)
{
    struct world *w = world_new(2);
    w->deed = hold;
    call(w, SCHED_RUN, &one_stage);
    struct rec_run *held = (struct rec_run *)w->fakes[0].held.p, first = held[0], other = held[0];
    other.attempt += 7;
    succeed(w, 0, other); /* never sent */
    settle(w);
    cr_assert_eq(w->results.n, 0);
    succeed(w, 0, first);
    w->fakes[0].seq--; /* the same number once more */
    succeed(w, 0, first);
    succeed(w, 0, first); /* a new number for what is done */
    settle(w);
    cr_assert_eq(w->results.n, 1);
    cr_assert_eq(counted(&w->results, first.first), 1);
    cr_assert_eq(counted(&w->committed, first.first), 1);
    cr_assert_eq(w->fakes[0].acked, w->fakes[0].seq);
    world_free(w);
}

Test(sched, a_returning_executor_keeps_its_attempts_and_what_neither_side_has_runs_again)
{
    struct world *w = world_new(2);
    w->deed = hold;
    call(w, SCHED_RUN, &one_stage);
    struct fake *f = &w->fakes[0];
    cr_assert_eq(f->held.n, 4 * sizeof(struct rec_run));
    f->held.n -= sizeof(struct rec_run); /* one was lost on the way */
    put(w, (struct todo){ .kind = EV_CONN_DOWN, .conn = f->control, .reason = DOWN_CLOSED });
    settle(w);
    cr_assert_eq(seen(w, "executor.away"), 1);
    pass(w, 200);
    cr_assert_eq(seen(w, "executor.attached"), 2);
    cr_assert_eq(seen(w, "executor.lost"), 0);
    w->deed = NULL;
    release(w, 0);
    settle(w);
    pass(w, 10);
    cr_assert(w->ended);
    cr_assert_eq(f->tasks, 41);
    cr_assert_eq(w->results.n, 40);
    world_free(w);
}

Test(sched, a_silent_executor_is_suspect_then_lost)
{
    struct world *w = world_new(2);
    w->deed = hold;
    call(w, SCHED_RUN, &one_stage);
    w->quiet = true;
    w->slots = 0;
    pass(w, 4000);
    cr_assert_eq(seen(w, "executor.suspect"), 0);
    pass(w, 17500);
    cr_assert_geq(seen(w, "executor.lost"), 1);
    cr_assert_eq(w->bad, 1, "the manager is told that its lease is of no use");
    world_free(w);
}

Test(sched, a_straggler_is_run_a_second_time_and_the_first_success_counts)
{
    struct world *w = world_new(2);
    w->fakes[1].dead = false;
    w->deed = hold;
    call(w, SCHED_RUN, &one_stage);
    struct rec_run slow = *(struct rec_run *)w->fakes[1].held.p;
    for (int i = 0; i < 60 && w->results.n < 39; i++) {
        struct fake *f = &w->fakes[1];
        release(w, 0);
        for (size_t k = 0; k < f->held.n / sizeof(struct rec_run); k++)
            if (((struct rec_run *)f->held.p)[k].first != slow.first)
                succeed(w, 1, ((struct rec_run *)f->held.p)[k]);
        buf_reset(&f->held);
        settle(w);
        pass(w, 5);
    }
    cr_assert_eq(w->results.n, 39);
    cr_assert_not(w->ended);
    w->deed = NULL;
    pass(w, 400);
    cr_assert_eq(seen(w, "task.straggles"), 1);
    cr_assert(w->ended);
    cr_assert_eq(counted(&w->results, slow.first), 1);
    cr_assert_geq(w->fakes[1].cancels, 1, "the slow one is called off");
    succeed(w, 1, slow);
    settle(w);
    cr_assert_eq(counted(&w->results, slow.first), 1);
    world_free(w);
}

Test(sched, a_newcomer_gets_what_the_others_have_not_begun)
{
    struct world *w = world_new(2);
    many = (struct stage_input){ 4, STAGE_NO_SHUFFLE };
    w->deed = hold;
    call(w, SCHED_RUN, &plain_job);
    cr_assert_eq(w->fakes[0].tasks, 4);
    w->fakes[1].dead = false;
    grant(w, 1, 9, 2);
    settle(w);
    pass(w, 2);
    cr_assert_eq(w->fakes[0].recalls, 1);
    struct rec_run back[2];
    memcpy(back, (struct rec_run *)w->fakes[0].held.p + 2, sizeof back);
    w->fakes[0].held.n -= sizeof back;
    reply(w, w->fakes[0].control, 100, MSG_RECALLED,
          &(struct msg_recalled){ .app = APP, .runs = { back, 2 } });
    settle(w);
    cr_assert_eq(w->fakes[1].tasks, 2);
    world_free(w);
}

Test(sched, take_runs_only_as_many_tasks_as_it_needs)
{
    struct world *w = world_new(4);
    call(w, SCHED_RUN, &take_job);
    cr_assert(w->ended);
    cr_assert_eq(w->code, 0, "%s", w->words);
    cr_assert_leq(w->fakes[0].tasks, 4); /* three rows each; two tasks, then two more */
    cr_assert_geq(w->results.n, 3);
    for (uint32_t p = 0; p < 3; p++)
        cr_assert_eq(counted(&w->results, p), 1);
    world_free(w);
}

Test(sched, parts_come_here_or_are_there_and_one_commit_names_the_winners)
{
    struct world *w = world_new(2);
    struct sched_progress p;
    call(w, SCHED_RUN, &save_job);
    cr_assert(w->ended);
    cr_assert_eq(w->code, 0, "%s", w->words);
    cr_assert_eq(w->winners, 40);
    cr_assert_eq(w->writes, 20);
    cr_assert_eq(w->syncs, 20);
    sched_progress(w->s, &p);
    cr_assert_eq(p.parts_by_driver, 20);
    cr_assert_eq(p.parts_by_executors, 20);
    world_free(w);
}

Test(sched, a_commit_that_fails_fails_the_job)
{
    struct world *w = world_new(2);
    w->commit_result = -ENOENT;
    call(w, SCHED_RUN, &save_job);
    cr_assert(w->ended);
    cr_assert_eq(w->code, -1);
    cr_assert_not_null(strstr(w->words, "/out"), "%s", w->words);
    world_free(w);
}

Test(sched, jobs_of_one_application_have_stages_of_their_own)
{
    struct world *w = world_new(2);
    call(w, SCHED_RUN, &two_stages);
    cr_assert(w->ended);
    w->ended = false;
    call(w, SCHED_RUN, &one_stage);
    cr_assert(w->ended);
    cr_assert_eq(w->code, 0, "%s", w->words);
    cr_assert_eq(w->fakes[0].stage.stage, 2);
    cr_assert_eq(counted(&w->committed, 2ull << 32), 1);
    world_free(w);
}

Test(sched, the_driver_serves_its_blocks_and_no_others)
{
    struct world *w = world_new(2);
    struct served_block b = { .id = { { 9 } }, .bytes = { (const uint8_t *)"table", 5 } };
    call(w, SCHED_SERVE, &b);
    w->deed = hold;
    call(w, SCHED_RUN, &one_stage);
    struct msg_block_get get = { .app = APP, .tag = 1, .length = 100 };
    get.block[0] = 9;
    reply(w, w->fakes[0].data, 100, MSG_BLOCK_GET, &get);
    settle(w);
    cr_assert_eq(w->served, 1);
    get.block[0] = 8;
    reply(w, w->fakes[0].data, 100, MSG_BLOCK_GET, &get);
    settle(w);
    cr_assert_eq(w->served, 1);
    world_free(w);
}

Test(sched, a_restarted_manager_hears_of_the_leases_and_nothing_else_changes)
{
    struct world *w = world_new(2);
    w->deed = hold;
    call(w, SCHED_RUN, &one_stage);
    uint32_t tasks = w->fakes[0].tasks;
    put(w, (struct todo){ .kind = EV_CONN_DOWN, .conn = w->manager, .reason = DOWN_CLOSED });
    settle(w);
    pass(w, 100);
    cr_assert_eq(w->opens, 2);
    cr_assert_eq(w->claims, 1);
    cr_assert_eq(w->fakes[0].tasks, tasks);
    cr_assert_eq(seen(w, "executor.away"), 0);
    world_free(w);
}

Test(sched, an_executor_out_of_reach_is_a_bad_lease)
{
    struct world *w = world_new(2);
    w->slots = 0;
    call(w, SCHED_RUN, &one_stage);
    grant(w, 1, 5, 2);
    settle(w);
    pass(w, 10);
    cr_assert_eq(w->bad, 1);
    cr_assert_not(w->ended);
    world_free(w);
}

Test(sched, close_tells_everybody_and_exits_when_the_manager_knows)
{
    struct world *w = world_new(2);
    struct sched_close close = { 3, "why" };
    call(w, SCHED_RUN, &one_stage);
    call(w, SCHED_CLOSE, &close);
    cr_assert_eq(w->closes, 1);
    cr_assert_eq(w->fakes[0].app_ends, 1);
    cr_assert(w->exited);
    cr_assert_eq(w->exit_code, 3);
    world_free(w);
}

Test(sched, close_gives_up_on_a_manager_that_stays_away)
{
    struct world *w = world_new(2);
    struct sched_close close = { 0, "" };
    w->away = true;
    call(w, SCHED_CLOSE, &close);
    pass(w, 29000);
    cr_assert_not(w->exited);
    pass(w, 2000);
    cr_assert(w->exited);
    world_free(w);
}

Test(sched, an_interrupt_fails_the_job_and_closes)
{
    struct world *w = world_new(2);
    w->deed = hold;
    call(w, SCHED_RUN, &one_stage);
    call(w, SCHED_INTERRUPT, NULL);
    cr_assert(w->ended);
    cr_assert_eq(w->code, -1);
    cr_assert_geq(w->fakes[0].cancels, 1);
    cr_assert(w->exited);
    cr_assert_eq(w->exit_code, 130);
    world_free(w);
}

Test(sched, the_managers_end_of_the_application_ends_its_job)
{
    struct world *w = world_new(2);
    w->deed = hold;
    call(w, SCHED_RUN, &one_stage);
    reply(w, w->manager, 0, MSG_APP_END,
          &(struct msg_app_end){ .app = APP, .words = bytes_of("killed by ann") });
    settle(w);
    cr_assert(w->ended);
    cr_assert_not_null(strstr(w->words, "killed by ann"), "%s", w->words);
    cr_assert(w->exited);
    world_free(w);
}
