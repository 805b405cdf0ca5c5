/* app.c - an application here: its driver's connections, its silence, its end. */
#include "executor/core/core.h"

#include <stdlib.h>
#include <string.h>

struct app *app_by_key(struct executor *x, const uint8_t key[KEY_BYTES], enum role role)
{
    MAP_EACH(&x->apps, i) {
        struct app *a = map_at(&x->apps, i);
        const uint8_t *own = role == ROLE_DRIVER ? a->driver_key : a->fetch_key;
        if ((role == ROLE_DRIVER || role == ROLE_FETCH) && !memcmp(own, key, KEY_BYTES))
            return a;
    }
    return NULL;
}

void app_send(struct executor *x, const struct app *a, uint8_t tag, const void *msg)
{
    if (a->attached)
        frame_send(x, a->control, tag, msg);
}

void conn_cut(struct executor *x, conn_id id)
{
    struct conn *c = map_get(&x->conns, id);
    actions_add(x->out, ACT_CUT)->conn = id; /* no EV_CONN_DOWN follows */
    if (!c)
        return;
    app_conn_down(x, c);
    map_del(&x->conns, id);
    free(c);
}

static void on_hello(struct executor *x, struct conn *c, const struct msg_hello *m)
{
    if (m->major != PROTO_MAJOR) {
        refuse(x, c->id, REFUSE_VERSION, 0,
               m->major < PROTO_MAJOR ? "this executor speaks a newer protocol: upgrade the driver"
                                      : "this executor speaks an older protocol: upgrade the executor");
        return;
    }
    c->hello = true;
    c->data = m->plane == 1;
    if (!c->data || c->role != ROLE_DRIVER)
        return;
    if (c->app->data && c->app->data != c->id)
        conn_cut(
            x, c->app->data); /* the driver has dialled anew: what was asked for there is asked again here */
    c->app->data = c->id;
    libs_fetch(x, c->app);
}

/* Every attempt that is alive here: queued or under way. */
static struct rec_run *live_runs(struct executor *x, struct app *a, uint32_t *n)
{
    struct buf all = { 0 };
    MAP_EACH(&x->hosts, i) {
        struct host *h = map_at(&x->hosts, i);
        if (h->lease && h->lease->app == a)
            buf_put(&all, h->under_way.v.p + h->under_way.head * sizeof(struct run),
                    h->under_way.v.n - h->under_way.head * sizeof(struct run));
    }
    queue_list(&a->queue, &all);
    MAP_EACH(&x->jobs, i) { /* done, but its output is still being adopted */
        const struct job *j = map_at(&x->jobs, i);
        struct run r = { j->report.stage, j->report.part, 1, j->report.attempt };
        if (j->number == a->number && (j->kind == JOB_ADOPT || j->kind == JOB_SYNC))
            buf_put(&all, &r, sizeof r);
    }
    *n = (uint32_t)(all.n / sizeof(struct run));
    if (*n > LIVE_MAX) /* more than the limits of queue and hosts allow together */
        *n = LIVE_MAX;
    struct rec_run *out = arena_alloc(&x->out->arena, (*n + 1u) * sizeof *out);
    for (uint32_t i = 0; i < *n; i++) {
        const struct run *r = (const struct run *)all.p + i;
        out[i] = (struct rec_run){ r->stage, r->first, r->count, r->attempt };
    }
    buf_fini(&all);
    return out;
}

/* Of those that the driver names, what it has here; each once, however often it is named. */
static uint32_t leases_attach(struct executor *x, struct app *a, const struct msg_attach *m,
                              struct rec_id *out)
{
    struct map seen = { 0 };
    uint32_t n = 0;
    for (uint32_t i = 0; i < m->leases.n; i++) {
        struct lease *l = map_get(&x->leases, m->leases.v[i].id);
        if (!l || l->app != a || l->state == LEASE_CLOSING || map_has(&seen, l->lease))
            continue;
        map_put(&seen, l->lease, l);
        l->state = LEASE_ATTACHED;
        out[n++].id = l->lease;
    }
    map_fini(&seen);
    return n;
}

static void on_attach(struct executor *x, struct conn *c, const struct msg_attach *m, uint64_t epoch)
{
    struct app *a = c->app;
    struct rec_id *leases = arena_alloc(&x->out->arena, (m->leases.n + 1u) * sizeof *leases);
    struct msg_attached back = { .app = a->app, .leases = { .v = leases } };
    uint32_t nlive;
    if (a->control && a->control != c->id)
        conn_cut(x, a->control);
    a->control = c->id;
    a->epoch = epoch;
    done_flush(x, a); /* into what is resent below, in order */
    a->attached = true;
    beat_init(&a->beat, x->now);
    back.leases.n = leases_attach(x, a, m, leases);
    done_resend(x, a, m->done_seq);
    back.live.v = live_runs(x, a, &nlive);
    back.live.n = nlive;
    app_send(x, a, MSG_ATTACHED, &back);
    MAP_EACH(&x->leases, i) {
        struct lease *l = map_at(&x->leases, i);
        if (l->app == a && l->state == LEASE_ATTACHED)
            hosts_assign(x, l);
    }
    tasks_dispatch(x, a);
}

static void on_beat(struct executor *x, struct conn *c, const struct msg_beat *m)
{
    frame_send(x, c->id, MSG_BEAT_ACK, &(struct msg_beat_ack){ .seq = m->seq });
}

/* On a data connection: blocks and beats, never a word on tasks. */
static void data_frame(struct executor *x, struct conn *c, uint8_t tag, const void *m)
{
    switch (tag) {
    case MSG_BLOCK_GET: on_block_get(x, c, m); break;
    case MSG_BEAT: on_beat(x, c, m); break;
    case MSG_BEAT_ACK: break;
    case MSG_BLOCK_DATA:
    case MSG_BLOCK_ERR: pull_frame(x, tag, c->id, m); break;
    default: refuse(x, c->id, REFUSE_ROLE, tag, "not on a data connection"); break;
    }
}

static void from_driver(struct executor *x, struct conn *c, uint8_t tag, const void *m, struct bytes frame)
{
    struct app *a = c->app;
    switch (tag) {
    case MSG_BEAT: on_beat(x, c, m); break;
    case MSG_BEAT_ACK: beat_echo(&a->beat, ((const struct msg_beat_ack *)m)->seq); break;
    case MSG_STAGE: on_stage(x, a, m, frame); break;
    case MSG_TASKS: on_tasks(x, a, m); break;
    case MSG_RECALL: on_recall(x, a, m); break;
    case MSG_CANCEL: on_cancel(x, a, m); break;
    case MSG_DONE_ACK: on_done_ack(x, a, m); break;
    case MSG_BLOCK_FREE: on_block_free(x, a, m); break;
    case MSG_APP_END: app_end(x, a); break;
    default: refuse(x, c->id, REFUSE_ROLE, tag, "not for an executor"); break;
    }
}

/* Each message's own application must be the key's. */
static bool names_other_app(uint8_t tag, const void *m, uint64_t app)
{
    switch (tag) {
    case MSG_ATTACH:
    case MSG_STAGE:
    case MSG_TASKS:
    case MSG_RECALL:
    case MSG_CANCEL:
    case MSG_DONE_ACK:
    case MSG_BLOCK_FREE:
    case MSG_BLOCK_GET:
    case MSG_APP_END: {
        uint64_t named; /* the first field of all of these */
        memcpy(&named, m, sizeof named);
        return named != app;
    }
    }
    return false;
}

/* A driver is behind after the manager's restart, and its connections go on; but what
 * is older than the application here, or than what its driver attached with before, is a replay. */
static bool stale(const struct conn *c, uint8_t tag, const struct head *head)
{
    uint64_t least = tag == MSG_ATTACH ? c->app->epoch : c->app->born_epoch;
    return c->role == ROLE_DRIVER && tag != MSG_HELLO && head->epoch < least &&
           !FERRO_PLANT(driver_epoch_unchecked);
}

void app_frame(struct executor *x, struct conn *c, uint8_t tag, struct bytes frame)
{
    struct head head;
    struct error e;
    const void *m = proto_decode(&x->in, frame, &head, &e);
    if (!m) {
        refuse(x, c->id, REFUSE_MALFORMED, 0, e.words);
        return;
    }
    if (stale(c, tag, &head)) {
        refuse(x, c->id, REFUSE_EPOCH, tag, "of an epoch that is over for this application");
        return;
    }
    beat_heard(&c->app->beat, x->now);
    if (names_other_app(tag, m, c->app->app))
        refuse(x, c->id, REFUSE_DENIED, 0, "this key is another application's");
    else if (tag == MSG_HELLO)
        on_hello(x, c, m);
    else if (!c->hello)
        refuse(x, c->id, REFUSE_VERSION, tag, "HELLO first");
    else if (c->role != ROLE_DRIVER && (tag != MSG_BLOCK_GET || !c->data))
        refuse(x, c->id, REFUSE_ROLE, tag, "a fetch key only fetches");
    else if (c->data)
        data_frame(x, c, tag, m);
    else if (tag == MSG_ATTACH)
        on_attach(x, c, m, head.epoch);
    else if (c->id != c->app->control)
        refuse(x, c->id, REFUSE_NO_LEASE, tag, "ATTACH first");
    else
        from_driver(x, c, tag, m, frame);
}

void app_conn_down(struct executor *x, struct conn *c)
{
    struct pull_result r;
    struct app *a = c->app;
    if (a && a->control == c->id) {
        a->control = 0;
        a->attached = false;
    }
    if (a && a->data == c->id)
        a->data = 0;
    while (pulls_on_down(x->pulls, c->id, &r))
        pull_ended(x, &r);
    if (a)
        libs_fetch(x, a); /* when the driver has dialled anew already */
}

/* ---- the end ------------------------------------------------------------ */

static void app_free(struct executor *x, struct app *a)
{
    MAP_EACH(&a->stages, i)
        stage_free(a, map_at(&a->stages, i));
    app_copies_drop(x, a);
    MAP_EACH(&a->peers, i) {
        struct source *s = map_at(&a->peers, i);
        if (!x->exiting)
            actions_add(x->out, ACT_CUT)->conn = s->conn;
        map_del(&x->sources, s->conn);
        buf_fini(&s->waiting);
        free(s);
    }
    own_free(x, a->own); /* nothing dials with it any more */
    struct map *maps[] = { &a->stages, &a->copies, &a->peers, &a->shelves };
    for (size_t i = 0; i < sizeof maps / sizeof *maps; i++)
        map_fini(maps[i]);
    struct buf *bufs[] = { &a->unacked, &a->out_runs, &a->out_reports, &a->lib_list };
    for (size_t i = 0; i < sizeof bufs / sizeof *bufs; i++)
        buf_fini(bufs[i]);
    queue_fini(&a->queue);
    arena_fini(&a->out_arena);
    arena_fini(&a->keep);
    free(a);
}

static void forget_blocks(struct executor *x, struct app *a)
{
    MAP_EACH(&a->shelves, i)
        stage_blocks_drop(x, a, (uint32_t)map_key(&a->shelves, i));
}

void app_settle(struct executor *x, struct app *a)
{
    struct job *j;
    if (!a->ending)
        return;
    MAP_EACH(&x->leases, i)
        if (((struct lease *)map_at(&x->leases, i))->app == a)
            return;
    forget_blocks(x, a);
    pulls_drop_app(x->pulls, a->app);
    const uint8_t *keys[2] = { a->driver_key, a->fetch_key };
    for (int i = 0; i < 2 && !FERRO_PLANT(keys_not_revoked); i++)
        memcpy(actions_add(x->out, ACT_REVOKE)->admit.key, keys[i], KEY_BYTES);
    if (!FERRO_PLANT(blocks_kept)) {
        io_start(x, JOB_FREE, IO_FREE, a->app, &j)->stage = UINT32_MAX;
        j->stage = UINT32_MAX;
    }
    member_send(x, MSG_APP_ENDED, &(struct msg_app_ended){ .app = a->app });
    executor_event(x, "app.ended", a->app, 0, 0, 0);
    MAP_EACH(&x->conns, i) {
        struct conn *c = map_at(&x->conns, i);
        if (c->app == a)
            c->app = NULL;
    }
    map_del(&x->apps, a->app);
    app_free(x, a);
}

void app_end(struct executor *x, struct app *a)
{
    uint64_t app = a->app;
    a->ending = true;
    queue_fini(&a->queue);
    MAP_EACH(&x->leases, i) {
        struct lease *l = map_at(&x->leases, i);
        if (l->app == a)
            lease_close(x, l, 0, "the application ended");
    }
    if (map_get(&x->apps, app) == a) /* the last lease may have taken it along */
        app_settle(x, a);
}

uint64_t app_deadline(const struct executor *x, const struct app *a)
{
    uint64_t hosts = a->beat.renewed_ns + x->config.driver_silent_ms * MS + 1;
    uint64_t blocks = a->beat.renewed_ns + x->config.app_keep_ms * MS + 1;
    uint64_t next = hosts > x->now ? hosts : blocks;
    if (a->ending)
        return UINT64_MAX;
    return a->attached && a->beat.next_ns < next ? a->beat.next_ns : next;
}

/* Silence of a driver ends its hosts, and later its blocks. */
static void app_time(struct executor *x, struct app *a)
{
    uint64_t silent = beat_silence_ns(&a->beat, x->now);
    if (a->ending)
        return;
    if (a->attached && beat_due(&a->beat, x->now, x->beat_ms * MS))
        app_send(x, a, MSG_BEAT, &(struct msg_beat){ .seq = a->beat.seq });
    if (silent > x->config.app_keep_ms * MS) {
        actions_log(x->out, LOG_WARN, "app %llu: its driver is silent; its blocks go",
                    (unsigned long long)a->app);
        app_end(x, a);
    } else if (silent > x->config.driver_silent_ms * MS && !FERRO_PLANT(silent_driver_served))
        MAP_EACH(&x->leases, i) {
            struct lease *l = map_at(&x->leases, i);
            if (l->app == a && l->state == LEASE_ATTACHED)
                lease_close(x, l, 0, "its driver is silent");
        }
}

void apps_time(struct executor *x)
{
    MAP_EACH(&x->apps, i) {
        struct app *a = map_at(&x->apps, i);
        done_flush(x, a);
        app_time(x, a);
    }
}
