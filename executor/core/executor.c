/* executor.c - the step: one event in, actions out. */
#include "executor/core/core.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- life --------------------------------------------------------------- */

struct executor *executor_new(const struct executor_config *config)
{
    struct executor *x = calloc(1, sizeof *x);
    if (!x)
        abort();
    x->config = *config;
    const char **texts[] = { &x->config.manager, &x->config.host, &x->config.host_id, &x->config.control,
                             &x->config.data,    &x->config.root, &x->config.labels };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        *texts[i] = arena_strdup(&x->keep, *texts[i] ? *texts[i] : "");
    x->pulls = pulls_new();
    x->next_conn = CONN_DIALLED + 1;
    x->next_io = x->next_host = x->next_copy = x->next_app = x->next_told = 1;
    x->next_own = 2;
    x->beat_ms = 1000;
    x->retry_ms = RETRY_MS_MIN;
    return x;
}

static void job_free(struct job *j)
{
    arena_fini(&j->arena);
    free(j);
}

void executor_free(struct executor **xp)
{
    struct executor *x = *xp;
    *xp = NULL;
    if (!x)
        return;
    MAP_EACH(&x->hosts, i) {
        struct host *h = map_at(&x->hosts, i);
        runs_fini(&h->under_way);
        told_drop(&h->told);
        free(h->fetch);
        free(h);
    }
    map_clear(&x->hosts);
    MAP_EACH(&x->leases, i)
        free(map_at(&x->leases, i));
    map_clear(&x->leases);
    struct actions none = { 0 };
    x->out = &none;
    MAP_EACH(&x->apps, i)
        app_end(x, map_at(&x->apps, i));
    MAP_EACH(&x->jobs, i)
        job_free(map_at(&x->jobs, i));
    MAP_EACH(&x->conns, i)
        free(map_at(&x->conns, i));
    struct map *maps[] = { &x->apps,  &x->leases, &x->hosts,   &x->blocks,
                           &x->conns, &x->jobs,   &x->sources, &x->copies };
    for (size_t i = 0; i < sizeof maps / sizeof *maps; i++)
        map_fini(maps[i]);
    actions_fini(&none);
    buf_fini(&x->free_owns);
    pulls_free(&x->pulls);
    arena_fini(&x->in);
    arena_fini(&x->keep);
    free(x);
}

/* ---- helpers of all files ----------------------------------------------- */

uint64_t block_key(uint64_t app, struct block_id id)
{
    uint64_t key;
    memcpy(&key, id.b, sizeof key);
    return key ^ app * 0x9e3779b97f4a7c15ull;
}

struct app *job_app(const struct executor *x, const struct job *j)
{
    struct app *a = map_get(&x->apps, j->app);
    return a && a->number == j->number ? a : NULL;
}

struct action *io_start(struct executor *x, enum job_kind kind, enum io_op op, uint64_t app, struct job **job)
{
    struct job *j = calloc(1, sizeof *j);
    if (!j)
        abort();
    j->kind = kind;
    j->app = app;
    const struct app *a = map_get(&x->apps, app);
    j->number = a ? a->number : 0;
    uint64_t id = x->next_io++;
    map_put(&x->jobs, id, j);
    struct action *act = actions_add(x->out, ACT_IO);
    act->id = id;
    act->app = app;
    act->io.op = op;
    *job = j;
    return act;
}

void frame_send(struct executor *x, conn_id conn, uint8_t tag, const void *msg)
{
    struct buf frame = { 0 };
    proto_encode(&frame, &(struct head){ .tag = tag, .epoch = x->epoch, .generation = x->generation }, msg);
    struct action *act = actions_add(x->out, ACT_SEND);
    act->conn = conn;
    act->frame = (struct bytes){ arena_copy(&x->out->arena, frame.p, frame.n), (uint32_t)frame.n };
    buf_fini(&frame);
}

void refuse(struct executor *x, conn_id conn, enum refusal code, uint64_t about, const char *words)
{
    struct conn *c = map_get(&x->conns, conn);
    x->refused++;
    if (c && c->refusals++ == 0)
        actions_log(x->out, LOG_WARN, "refused: %s conn=%llu app=%llu", words, (unsigned long long)conn,
                    c->app ? (unsigned long long)c->app->app : 0);
    if (c && c->refusals > REFUSALS_MAX) /* cut when its frame is dealt with */
        return;
    frame_send(x, conn, MSG_REFUSE,
               &(struct msg_refuse){ .code = code, .about = about, .words = bytes_of(words) });
}

void executor_event(struct executor *x, const char *name, uint64_t app, uint64_t id, uint32_t stage,
                    uint32_t part)
{
    struct action *act = actions_add(x->out, ACT_EVENT);
    act->app = app;
    act->id = id;
    act->stage = stage;
    act->part = part;
    act->log.words = name;
}

/* ---- frames of those who dialled us ------------------------------------- */

static struct conn *conn_of(struct executor *x, const struct event *ev)
{
    struct conn *c = map_get(&x->conns, ev->conn);
    if (c)
        return c;
    c = calloc(1, sizeof *c);
    if (!c)
        abort();
    *c = (struct conn){ .id = ev->conn,
                        .role = ev->recv.role,
                        .app = app_by_key(x, ev->recv.key, ev->recv.role) };
    map_put(&x->conns, c->id, c);
    return c;
}

static void accepted_frame(struct executor *x, const struct event *ev)
{
    struct error e;
    struct conn *c = conn_of(x, ev);
    uint8_t tag = proto_admit(ev->recv.frame, ev->recv.role, &e);
    if (!tag)
        refuse(x, ev->conn, e.code == EPERM ? REFUSE_ROLE : REFUSE_MALFORMED, 0, e.words);
    else if (c->app)
        app_frame(x, c, tag, ev->recv.frame);
    else
        refuse(x, ev->conn, REFUSE_NO_APP, 0, "the application has ended here");
    c = map_get(&x->conns, ev->conn); /* it may be gone meanwhile */
    if (c && c->refusals > REFUSALS_MAX) {
        actions_log(x->out, LOG_WARN, "cut: over %d frames were refused conn=%llu", REFUSALS_MAX,
                    (unsigned long long)c->id);
        conn_cut(x, c->id);
    }
}

static void on_recv(struct executor *x, const struct event *ev)
{
    struct head head;
    struct error e;
    arena_reset(&x->in);
    x->frames++;
    if (ev->conn == x->manager)
        member_frame(x, ev->recv.frame);
    else if (ev->conn < CONN_DIALLED)
        accepted_frame(x, ev);
    else { /* an executor that we fetch from */
        uint8_t tag = proto_admit(ev->recv.frame, ROLE_EXECUTOR, &e);
        const void *m = tag ? proto_decode(&x->in, ev->recv.frame, &head, &e) : NULL;
        struct source *s = map_get(&x->sources, ev->conn);
        if (s)
            s->heard_ns = x->now;
        if (!m)
            x->refused++;
        else if (tag == MSG_REFUSE && s) { /* whatever it won't do for us: we can't fetch there */
            actions_add(x->out, ACT_CUT)->conn = ev->conn;
            source_down(x, s);
        } else if (tag == MSG_BLOCK_DATA || tag == MSG_BLOCK_ERR)
            pull_frame(x, tag, ev->conn, m);
    }
}

static void on_down(struct executor *x, const struct event *ev)
{
    struct source *s = map_get(&x->sources, ev->conn);
    struct conn *c = map_get(&x->conns, ev->conn);
    if (ev->conn == x->manager)
        member_down(x, ev->down.reason, ev->down.words);
    else if (s)
        source_down(x, s);
    else if (c) {
        app_conn_down(x, c);
        map_del(&x->conns, c->id);
        free(c);
    }
}

static void on_io(struct executor *x, const struct event *ev)
{
    struct pull_result r;
    struct job *j = map_get(&x->jobs, ev->id);
    if (!j) {
        if (pulls_on_io(x->pulls, ev, x->out, &r))
            pull_ended(x, &r);
        return;
    }
    map_del(&x->jobs, ev->id);
    switch (j->kind) {
    case JOB_ADOPT:
    case JOB_SYNC: report_job_done(x, j, ev->io.result); break;
    case JOB_TOKEN:
    case JOB_LIBRARY: stage_job_done(x, j, ev->io.result); break;
    case JOB_LOOK: fetch_looked(x, j, ev->io.result); break;
    case JOB_SERVE: serve_done(x, j, ev->io.result); break;
    case JOB_FREE: free_done(x, j); break;
    }
    job_free(j);
}

static void on_host(struct executor *x, const struct event *ev)
{
    struct host *h = map_get(&x->hosts, ev->id);
    if (!h)
        return;
    if (ev->kind == EV_HOST_RECV)
        host_frame(x, h, ev->host.frame, ev->host.tail);
    else if (ev->kind == EV_HOST_EXITED)
        host_exited(x, h, ev);
    else if (ev->kind == EV_HOST_MEMORY)
        host_memory(x, h, ev->memory.bytes);
}

/* ---- the step ----------------------------------------------------------- */

static void on_stall(struct executor *x, uint64_t late)
{
    beat_stalled(&x->beat, late);
    MAP_EACH(&x->apps, i)
        beat_stalled(&((struct app *)map_at(&x->apps, i))->beat, late);
    MAP_EACH(&x->sources, i)
        ((struct source *)map_at(&x->sources, i))->heard_ns += late;
}

static void dispatch_event(struct executor *x, const struct event *ev)
{
    switch (ev->kind) {
    case EV_START:
        prng_seed(&x->prng, ev->start.seed);
        member_start(x);
        hosts_fill(x);
        break;
    case EV_RECV: on_recv(x, ev); break;
    case EV_CONN_UP:
        if (ev->conn == x->manager)
            member_up(x);
        else if (map_get(&x->sources, ev->conn))
            source_up(x, map_get(&x->sources, ev->conn));
        break;
    case EV_CONN_DOWN: on_down(x, ev); break;
    case EV_IO_DONE: on_io(x, ev); break;
    case EV_HOST_STARTED:
    case EV_HOST_RECV:
    case EV_HOST_EXITED:
    case EV_HOST_MEMORY: on_host(x, ev); break;
    case EV_CALL:
        if (ev->call.what == EXECUTOR_DRAIN)
            member_drain(x);
        break;
    case EV_TIME:
    case EV_PROBED:
    case EV_PERSISTED:
    case EV_CHILD_EXITED: break;
    }
}

void executor_step(struct executor *x, const struct event *ev, uint64_t now_ns, struct actions *out)
{
    x->out = out;
    x->now = now_ns;
    uint64_t late = stall_begin(&x->stall, now_ns);
    if (late)
        on_stall(x, late);
    dispatch_event(x, ev);
    member_time(x);
    leases_time(x);
    hosts_time(x);
    sources_time(x);
    apps_time(x);
    stall_end(&x->stall, executor_deadline(x));
}

void executor_counters(const struct executor *x, struct executor_counters *out)
{
    *out = (struct executor_counters){ .frames = x->frames,
                                       .refused = x->refused,
                                       .epoch = x->epoch,
                                       .apps = x->apps.n,
                                       .leases = x->leases.n,
                                       .hosts = x->hosts.n,
                                       .blocks = x->blocks.n };
}

void executor_stamp(const struct executor *x, uint64_t *epoch, uint64_t *generation)
{
    *epoch = x->epoch;
    *generation = x->generation;
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

uint64_t executor_deadline(const struct executor *x)
{
    uint64_t next = least(least(member_deadline(x), hosts_deadline(x)), sources_deadline(x));
    MAP_EACH(&x->apps, i)
        next = least(next, app_deadline(x, map_at(&x->apps, i)));
    MAP_EACH(&x->leases, i) {
        const struct lease *l = map_at(&x->leases, i);
        if (l->state != LEASE_ATTACHED)
            next = least(next, l->deadline_ns);
    }
    return next;
}
