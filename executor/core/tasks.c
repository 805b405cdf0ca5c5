/* tasks.c - tasks in, to hosts, and back to the driver unstarted. */
#include "executor/core/core.h"

#include <string.h>

/* ---- back to the driver ------------------------------------------------- */

/* RECALLED, in frames of a bounded size. */
static void tell_recalled(struct executor *x, struct app *a, const struct buf *runs)
{
    const struct run *r = (const struct run *)runs->p;
    uint32_t n = (uint32_t)(runs->n / sizeof *r);
    for (uint32_t first = 0; first < n; first += RUNS_A_FRAME) {
        uint32_t some = n - first < RUNS_A_FRAME ? n - first : RUNS_A_FRAME;
        struct rec_run *back = arena_alloc(&x->out->arena, some * sizeof *back);
        for (uint32_t i = 0; i < some; i++, r++)
            back[i] = (struct rec_run){ r->stage, r->first, r->count, r->attempt };
        app_send(x, a, MSG_RECALLED, &(struct msg_recalled){ .app = a->app, .runs = { back, some } });
    }
}

static void recall(struct executor *x, struct app *a, uint32_t stage, uint64_t most)
{
    struct buf back = { 0 };
    struct run r;
    for (; most && queue_pop(&a->queue, stage, most > UINT32_MAX ? UINT32_MAX : (uint32_t)most, &r);
         most -= r.count)
        buf_put(&back, &r, sizeof r);
    tell_recalled(x, a, &back);
    buf_fini(&back);
}

void on_recall(struct executor *x, struct app *a, const struct msg_recall *m)
{
    recall(x, a, m->stage, m->count);
}

void tasks_give_back(struct executor *x, struct app *a)
{
    recall(x, a, UINT32_MAX, UINT64_MAX);
}

void task_give_back(struct executor *x, struct app *a, struct run task)
{
    struct buf back = { 0 };
    buf_put(&back, &task, sizeof task);
    tell_recalled(x, a, &back);
    buf_fini(&back);
}

/* ---- in -------------------------------------------------------------------- */

/* What is too much goes back to where it came from. */
static void trim(struct executor *x, struct app *a)
{
    struct buf back = { 0 };
    struct run r;
    while (a->queue.entries > QUEUE_RUNS_MAX && queue_pop(&a->queue, UINT32_MAX, UINT32_MAX, &r))
        buf_put(&back, &r, sizeof r);
    tell_recalled(x, a, &back);
    buf_fini(&back);
}

void tasks_requeue(struct executor *x, struct app *a, struct runs *from)
{
    queue_put(&a->queue, (struct run *)from->v.p + from->head, runs_entries(from));
    runs_fini(from);
    trim(x, a);
}

static void queue_ranges(struct executor *x, struct app *a, const struct msg_tasks *m)
{
    struct buf back = { 0 }, taken = { 0 };
    bool known = map_has(&a->stages, m->stage), sane = true;
    for (uint32_t i = 0; i < m->ranges.n; i++) {
        const struct rec_range *r = &m->ranges.v[i];
        struct run run = { m->stage, r->first, r->count, r->attempt };
        if (r->count > UINT32_MAX - r->first)
            sane = false;
        else
            buf_put(known && a->queue.entries + taken.n / sizeof run < QUEUE_RUNS_MAX ? &taken : &back, &run,
                    sizeof run);
    }
    queue_put(&a->queue, (struct run *)taken.p, (uint32_t)(taken.n / sizeof(struct run)));
    buf_fini(&taken);
    if (!sane)
        refuse(x, a->control, REFUSE_MALFORMED, m->stage, "a range of tasks past the last number");
    if (!known)
        refuse(x, a->control, REFUSE_NO_LEASE, m->stage, "no such stage here");
    tell_recalled(x, a, &back);
    buf_fini(&back);
}

void on_tasks(struct executor *x, struct app *a, const struct msg_tasks *m)
{
    queue_ranges(x, a, m);
    if (leases_open(x, a) == 0 &&
        !FERRO_PLANT(tasks_kept_without_lease)) { /* it went while these were on their way */
        tasks_give_back(x, a);
        refuse(x, a->control, REFUSE_NO_LEASE, m->stage, "no lease of this application is open here");
        return; /* it attaches again, and learns which leases there are */
    }
    if (a->load_failed)
        libs_fetch(x, a);
    MAP_EACH(&x->leases, i) {
        struct lease *l = map_at(&x->leases, i);
        if (l->app == a)
            hosts_assign(x, l);
    }
    tasks_dispatch(x, a);
}

/* ---- to hosts ------------------------------------------------------------- */

static uint32_t ahead(const struct stage *s)
{
    uint64_t n = s->task_ns ? HOST_AHEAD_NS / s->task_ns : HOST_AHEAD_MAX;
    return n < 1 ? 1 : n > HOST_AHEAD_MAX ? HOST_AHEAD_MAX : (uint32_t)n;
}

/* HOST_STAGE, with the STAGE frame when the host hasn't this version yet. */
static void tell_stage(struct executor *x, struct host *h, const struct stage *s)
{
    bool to_disk = x->block_bytes > x->config.block_bytes_max, known = h->told == s->told;
    if (known && h->to_disk == to_disk)
        return;
    struct msg_host_stage m = {
        .stage = s->stage, .version = s->told->msg->version, .save = s->save, .to_disk = to_disk
    };
    host_send(x, h, MSG_HOST_STAGE, &m);
    h->to_disk = to_disk;
    if (known)
        return;
    struct action *act = &x->out->v[x->out->n - 1];
    act->sealed = (struct bytes){ s->told->frame.p, (uint32_t)s->told->frame.n };
    act->sealed_number = s->told->number;
    told_drop(&h->told);
    h->told = s->told;
    h->told->refs++;
}

/* Bring one host to what it may hold, with tasks of one run, of which each of `nhosts` gets its share. */
static bool host_feed(struct executor *x, struct app *a, struct host *h, uint32_t nhosts)
{
    struct run r;
    if (!queue_peek(&a->queue, &r))
        return false;
    struct stage *s = map_get(&a->stages, r.stage);
    if (!s || s->state != STAGE_READY) /* freed meanwhile: its job is over; checking: soon */
        return s ? false : queue_pop(&a->queue, r.stage, UINT32_MAX, &r);
    uint32_t full = ahead(s), has = (uint32_t)h->under_way.tasks;
    if (has >= full || has * 2 > full ||
        (has && h->told != s->told)) /* its FETCHes are about what it was told last */
        return false;
    uint64_t share = (a->queue.tasks + nhosts - 1) / nhosts;
    queue_pop(&a->queue, r.stage, share < full - has ? (uint32_t)share : full - has, &r);
    tell_stage(x, h, s);
    struct rec_range range = { r.first, r.count, r.attempt };
    host_send(
        x, h, MSG_TASKS,
        &(struct msg_tasks){
            .app = a->app, .stage = r.stage, .version = s->told->msg->version, .ranges = { &range, 1 } });
    if (has == 0)
        h->head_since_ns = x->now;
    runs_push(&h->under_way, r);
    return true;
}

static bool may_feed(const struct host *h, const struct app *a)
{
    return h->state == HOST_UP && h->lease && h->lease->app == a && h->lease->state == LEASE_ATTACHED;
}

/* Each host is filled up when it holds half of what it may. */
void tasks_dispatch(struct executor *x, struct app *a)
{
    uint32_t nhosts = 0;
    if (a->queue.tasks == 0 || a->ending || a->nunacked >= UNACKED_MAX || a->unacked.n > UNACKED_BYTES_MAX ||
        x->jobs.n - x->serving - x->freeing >= JOBS_MAX)
        return;
    MAP_EACH(&x->hosts, i)
        nhosts += may_feed(map_at(&x->hosts, i), a);
    for (bool fed = nhosts > 0; fed;) {
        fed = false;
        MAP_EACH(&x->hosts, i) {
            struct host *h = map_at(&x->hosts, i);
            if (may_feed(h, a))
                fed |= host_feed(x, a, h, nhosts);
        }
    }
}

/* ---- cancelled ------------------------------------------------------------- */

/* Of what the host has, what is among the runs v, which are in order. */
static void cancelled_of(const struct host *h, const struct run *v, uint32_t n, struct buf *out)
{
    const struct run *e = (const struct run *)h->under_way.v.p + h->under_way.head;
    for (uint32_t k = runs_entries(&h->under_way); k; k--, e++)
        for (uint32_t i = runs_find(v, n, 0, *e); i < n && runs_meet(&v[i], e); i++) {
            uint64_t end = (uint64_t)e->first + e->count, other = (uint64_t)v[i].first + v[i].count;
            uint32_t first = v[i].first > e->first ? v[i].first : e->first;
            struct rec_run piece = { e->stage, first, (uint32_t)((other < end ? other : end) - first),
                                     e->attempt };
            buf_put(out, &piece, sizeof piece);
        }
}

/* What it runs costs it its life; the others in it go back to the queue. */
static void cancel_in_host(struct executor *x, struct host *h, const struct run *v, uint32_t n)
{
    struct run head;
    struct buf pieces = { 0 };
    if (h->state == HOST_ENDING || !runs_peek(&h->under_way, &head))
        return;
    cancelled_of(h, v, n, &pieces);
    const struct rec_run *p = (const struct rec_run *)pieces.p;
    uint32_t np = (uint32_t)(pieces.n / sizeof *p);
    bool runs_it = np && p->stage == head.stage && p->attempt == head.attempt && p->first == head.first;
    for (uint32_t i = 0; i < np; i++)
        runs_remove(&h->under_way, (struct run){ p[i].stage, p[i].first, p[i].count, p[i].attempt }, NULL);
    if (runs_it)
        host_kill(x, h, CAUSE_CANCELLED);
    else if (np)
        host_send(x, h, MSG_CANCEL, &(struct msg_cancel){ .app = h->lease->app->app, .runs = { p, np } });
    buf_fini(&pieces);
}

void on_cancel(struct executor *x, struct app *a, const struct msg_cancel *m)
{
    struct run *v = arena_alloc(&x->out->arena, (m->runs.n + 1u) * sizeof *v);
    for (uint32_t i = 0; i < m->runs.n; i++) {
        const struct rec_run *r = &m->runs.v[i];
        v[i] = (struct run){ r->stage, r->first, r->count, r->attempt };
    }
    uint32_t n = runs_sort(v, m->runs.n);
    queue_remove(&a->queue, v, n);
    MAP_EACH(&x->hosts, k) {
        struct host *h = map_at(&x->hosts, k);
        if (h->lease && h->lease->app == a)
            cancel_in_host(x, h, v, n);
    }
    trim(x, a);
    tasks_dispatch(x, a);
}
