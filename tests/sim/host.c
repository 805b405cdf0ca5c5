/* host.c - simulated task hosts: processes that speak the real frames over a socketpair. */
#include "tests/sim/sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROOT_MAX 64

/* A message on its way to a host, with what descriptors it brings. */
struct host_msg {
    uint32_t frame_n, sealed_n, nrefs;
    struct block_ref refs[HOST_FDS_MAX];
    char roots[HOST_FDS_MAX][ROOT_MAX];
    uint8_t bytes[]; /* frame, sealed */
};

uint64_t task_key(uint32_t stage, uint32_t part, uint32_t attempt)
{
    return (uint64_t)stage << 40 ^ (uint64_t)part << 8 ^ attempt;
}

/* ---- speaking to the executor -------------------------------------------------------- */

static void on_said(struct sim *s, struct todo *t)
{
    const struct bytes *b = t->own;
    (void)s;
    proc_event(t->p, &(struct event){
                         .kind = EV_HOST_RECV, .id = t->a, .host = { { (const uint8_t *)(b + 1), b->n } } });
}

static struct todo *towards(struct thost *h, void (*run)(struct sim *, struct todo *))
{
    struct sim *s = h->sim;
    uint64_t at = s->now + sim_between(s, 10 * US, 200 * US);
    h->out_at = at > h->out_at ? at : h->out_at + US;
    struct todo *t = sim_after(s, h->out_at - s->now, run, h->x);
    t->life = h->life;
    t->a = h->id;
    return t;
}

void thost_say(struct thost *h, uint8_t tag, const void *msg)
{
    struct buf frame = { 0 };
    proto_encode(&frame, &(struct head){ .tag = tag }, msg);
    struct bytes *own = malloc(sizeof *own + frame.n);
    if (!own)
        abort();
    own->n = (uint32_t)frame.n;
    memcpy(own + 1, frame.p, frame.n);
    buf_fini(&frame);
    sim_trace_frame(h->sim, h->x->name, "< host ", h->id,
                    (struct bytes){ (const uint8_t *)(own + 1), own->n });
    towards(h, on_said)->own = own;
}

static void on_exited(struct sim *s, struct todo *t)
{
    const struct event *ev = t->own;
    (void)s;
    map_del(&t->p->x.hosts, t->a);
    proc_event(t->p, ev);
}

static void forget(struct thost *h)
{
    MAP_EACH(&h->stages, i) {
        struct hstage *st = map_at(&h->stages, i);
        buf_fini(&st->frame);
        arena_fini(&st->arena);
        free(st);
    }
    map_clear(&h->stages);
    work_sums(&h->sums, NULL);
    disk_release(&h->save);
    buf_reset(&h->queue);
    h->st = NULL;
}

void thost_exit(struct thost *h, int code, int signal, const char *tail)
{
    struct event ev = { .kind = EV_HOST_EXITED, .id = h->id };
    if (!h->alive)
        return;
    sim_trace(h->sim, "%s host %llu ends: code %d signal %d", h->x->name, (unsigned long long)h->id, code,
              signal);
    ev.exited.code = code;
    ev.exited.signal = signal;
    ev.exited.tail = tail;
    ev.exited.ran = h->phase != PHASE_IDLE;
    ev.exited.stage = h->task.stage;
    ev.exited.part = h->task.part;
    ev.exited.attempt = h->task.attempt;
    h->alive = false;
    h->generation++;
    h->sim->running -= h->counted;
    h->counted = false;
    forget(h);
    if (h->orphan)
        return;
    struct event *own = malloc(sizeof ev);
    if (!own)
        abort();
    *own = ev;
    towards(h, on_exited)->own = own;
}

/* ---- hearing it ------------------------------------------------------------------------ */

static void on_ready(struct sim *s, struct todo *t)
{
    struct thost *h = map_get(&s->hosts, t->a);
    if (!h->alive || h->orphan)
        return;
    struct app_sim *app = work_app(s, h->app);
    const char *words = t->x;
    if (!words && fault_hits(s, FAULT_HOST_BAD)) {
        words = "its library does not load";
        if (app)
            app->host_failures++;
    }
    thost_say(h, MSG_HOST_READY, &(struct msg_host_ready){ .words = bytes_of(words ? words : "") });
}

static void on_assign(struct thost *h, const struct msg_host_assign *m, const struct host_msg *in)
{
    struct sim *s = h->sim;
    const char *words = NULL;
    h->app = m->app;
    h->memory = m->memory;
    for (uint32_t i = 0; i < in->nrefs; i++)
        if (!map_has(&h->x->x.libs, disk_key(in->refs[i].app, in->refs[i].block)))
            words = "no library came";
    if (m->libs.n == 0 || in->nrefs != m->libs.n)
        words = "no library came";
    struct todo *t = sim_after(s, sim_between(s, MSEC, 30 * MSEC), on_ready, NULL);
    t->a = h->number;
    t->x = (void *)words;
}

static void on_host_stage(struct thost *h, const struct msg_host_stage *m, struct bytes sealed)
{
    struct hstage *st = map_get(&h->stages, m->stage);
    struct head head;
    struct error e;
    if (h->phase != PHASE_IDLE && h->st == st && st)
        st = NULL; /* the task that runs goes on with what it has: the map takes the new one */
    if (!st) {
        if (!(st = calloc(1, sizeof *st)))
            abort();
    } else
        arena_reset(&st->arena);
    struct hstage *old = map_get(&h->stages, m->stage);
    if (old && m->version < old->version)
        sim_fail(h->sim, "stage-version", "a host is given version %u of stage %u after version %u",
                 m->version, m->stage, old->version);
    if (old && old != st) { /* kept until the host ends */
        map_del(&h->stages, m->stage);
        map_put(&h->stages, (uint64_t)(h->stages.n + 1) << 40 | m->stage, old);
    }
    st->stage = m->stage;
    st->version = m->version;
    st->save = m->save;
    buf_reset(&st->frame);
    buf_put(&st->frame, sealed.p, sealed.n);
    st->m = proto_decode(&st->arena, (struct bytes){ st->frame.p, (uint32_t)st->frame.n }, &head, &e);
    map_put(&h->stages, m->stage, st);
    if (!st->m)
        sim_fail(h->sim, "host-stage", "a host was given a stage that is no STAGE frame: %s", e.words);
}

static void on_host_tasks(struct thost *h, const struct msg_tasks *m)
{
    for (uint32_t i = 0; i < m->ranges.n; i++)
        for (uint32_t k = 0; k < m->ranges.v[i].count; k++) {
            struct htask task = { m->stage, m->ranges.v[i].first + k, m->ranges.v[i].attempt };
            buf_put(&h->queue, &task, sizeof task);
        }
    thost_next(h);
}

static void on_host_cancel(struct thost *h, const struct msg_cancel *m)
{
    struct htask *v = (struct htask *)h->queue.p;
    size_t n = h->queue.n / sizeof *v, kept = 0;
    for (size_t i = 0; i < n; i++) {
        bool gone = false;
        for (uint32_t k = 0; k < m->runs.n; k++)
            gone |= m->runs.v[k].stage == v[i].stage && m->runs.v[k].attempt == v[i].attempt &&
                    v[i].part >= m->runs.v[k].first && v[i].part - m->runs.v[k].first < m->runs.v[k].count;
        if (!gone)
            v[kept++] = v[i];
    }
    h->queue.n = kept * sizeof *v;
}

static void on_fetched(struct thost *h, const struct msg_fetched *m, const struct host_msg *in)
{
    struct action a = { .blocks = in->refs, .nblocks = in->nrefs };
    task_fetched(h, m, &a);
}

static void on_heard(struct sim *s, struct todo *t)
{
    struct thost *h = map_get(&s->hosts, t->a);
    struct host_msg *in = t->own;
    struct arena arena = { 0 };
    struct head head;
    struct error e;
    if (!h->alive || h->orphan)
        return;
    for (uint32_t i = 0; i < in->nrefs; i++)
        if (in->refs[i].root)
            in->refs[i].root = in->roots[i];
    const void *m = proto_decode(&arena, (struct bytes){ in->bytes, in->frame_n }, &head, &e);
    if (!m)
        sim_fail(s, "host-frame", "a host was sent nonsense: %s", e.words);
    else if (head.tag == MSG_HOST_ASSIGN)
        on_assign(h, m, in);
    else if (head.tag == MSG_HOST_STAGE)
        on_host_stage(h, m, (struct bytes){ in->bytes + in->frame_n, in->sealed_n });
    else if (head.tag == MSG_TASKS)
        on_host_tasks(h, m);
    else if (head.tag == MSG_CANCEL)
        on_host_cancel(h, m);
    else if (head.tag == MSG_FETCHED)
        on_fetched(h, m, in);
    arena_fini(&arena);
}

void thost_send(struct proc *x, const struct action *a)
{
    struct sim *s = x->sim;
    struct thost *h = map_get(&x->x.hosts, a->id);
    if (!h)
        return;
    struct host_msg *in = malloc(sizeof *in + a->frame.n + a->sealed.n);
    if (!in)
        abort();
    in->frame_n = a->frame.n;
    in->sealed_n = a->sealed.n;
    in->nrefs = a->nblocks;
    for (uint32_t i = 0; i < a->nblocks; i++) {
        in->refs[i] = a->blocks[i];
        if (a->blocks[i].root)
            snprintf(in->roots[i], ROOT_MAX, "%s", a->blocks[i].root);
    }
    memcpy(in->bytes, a->frame.p, a->frame.n);
    if (a->sealed.n)
        memcpy(in->bytes + a->frame.n, a->sealed.p, a->sealed.n);
    if (a->frame.p[1] == MSG_HOST_ASSIGN)
        h->app = a->app; /* from now on it is that application's */
    uint64_t at = s->now + sim_between(s, 10 * US, 200 * US);
    h->in_at = at > h->in_at ? at : h->in_at + US;
    struct todo *t = sim_after(s, h->in_at - s->now, on_heard, x);
    t->a = h->number;
    t->own = in;
}

/* ---- life ---------------------------------------------------------------------------------- */

static void on_started(struct sim *s, struct todo *t)
{
    struct thost *h = map_get(&s->hosts, t->b);
    if (!h->alive)
        return;
    proc_event(t->p, &(struct event){ .kind = EV_HOST_STARTED, .id = t->a });
}

void thost_spawn(struct proc *x, uint64_t id)
{
    struct sim *s = x->sim;
    struct thost *h = calloc(1, sizeof *h);
    if (!h)
        abort();
    *h = (struct thost){
        .sim = s, .x = x, .life = x->life, .id = id, .alive = true, .number = ++s->next_host
    };
    map_put(&s->hosts, h->number, h);
    if (map_has(&x->x.hosts, id))
        sim_fail(s, "host-numbers", "%s spawns host %llu twice", x->name, (unsigned long long)id);
    map_put(&x->x.hosts, id, h);
    map_put(&x->x.made, id, h);
    struct todo *t = sim_after(s, sim_between(s, MSEC, 20 * MSEC), on_started, x);
    t->a = id;
    t->b = h->number;
}

static void on_killed(struct sim *s, struct todo *t)
{
    struct thost *h = map_get(&s->hosts, t->a);
    bool over = s->time_ms_max && s->now - h->began > s->time_ms_max * MSEC * 9 / 10;
    if (h->alive && h->counted && over && h->verdict != FAULT_TASK_HANG)
        work_failed(s, h->app, h->task.stage, h->task.part); /* slow by chance, and past its limit */
    thost_exit(h, 0, 9, "");
}

void thost_kill(struct proc *x, uint64_t id)
{
    struct thost *h = map_get(&x->x.hosts, id);
    if (h)
        sim_after(x->sim, sim_between(x->sim, 50 * US, 5 * MSEC), on_killed, NULL)->a = h->number;
}

/* Their executor is dead: they die at once, or a little later and still at work. */
void thosts_orphan(struct proc *x, bool linger)
{
    struct sim *s = x->sim;
    MAP_EACH(&x->x.hosts, i) {
        struct thost *h = map_at(&x->x.hosts, i);
        h->orphan = true;
        uint64_t wait = linger ? sim_between(s, MSEC, 10 * SEC) : sim_below(s, 5 * MSEC);
        sim_after(s, wait, on_killed, NULL)->a = h->number;
    }
}

void thosts_fini(struct sim *s)
{
    MAP_EACH(&s->hosts, i) {
        struct thost *h = map_at(&s->hosts, i);
        forget(h);
        MAP_EACH(&h->scratch, k) {
            buf_fini(map_at(&h->scratch, k));
            free(map_at(&h->scratch, k));
        }
        buf_fini(&h->queue);
        buf_fini(&h->wants);
        buf_fini(&h->want_maps);
        free(h->got.v);
        map_fini(&h->stages);
        map_fini(&h->scratch);
        map_fini(&h->sums);
        free(h);
    }
    map_fini(&s->hosts);
}

uint32_t thosts_of(const struct proc *x, uint64_t app)
{
    uint32_t n = 0;
    MAP_EACH(&x->x.hosts, i) {
        const struct thost *h = map_at(&x->x.hosts, i);
        n += h->alive && h->app == app;
    }
    return n;
}
