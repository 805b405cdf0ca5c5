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
    struct runs kept = { 0 };
    struct run r;
    while (most && runs_pop(&a->queue, most > UINT32_MAX ? UINT32_MAX : (uint32_t)most, &r))
        if (stage != UINT32_MAX && r.stage != stage)
            runs_push(&kept, r);
        else {
            buf_put(&back, &r, sizeof r);
            most -= r.count;
        }
    while (runs_pop(&kept, UINT32_MAX, &r))
        runs_push(&a->queue, r);
    runs_fini(&kept);
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

static void queue_ranges(struct executor *x, struct app *a, const struct msg_tasks *m)
{
    struct buf back = { 0 };
    bool known = map_has(&a->stages, m->stage), sane = true;
    for (uint32_t i = 0; i < m->ranges.n; i++) {
        const struct rec_range *r = &m->ranges.v[i];
        struct run run = { m->stage, r->first, r->count, r->attempt };
        if (r->count > UINT32_MAX - r->first)
            sane = false;
        else if (known && runs_entries(&a->queue) < QUEUE_RUNS_MAX)
            runs_push(&a->queue, run);
        else
            buf_put(&back, &run, sizeof run);
    }
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
    if (!runs_peek(&a->queue, &r))
        return false;
    struct stage *s = map_get(&a->stages, r.stage);
    if (!s || s->state != STAGE_READY) /* freed meanwhile: its job is over; checking: soon */
        return s ? false : runs_pop(&a->queue, UINT32_MAX, &r);
    uint32_t full = ahead(s), has = (uint32_t)h->under_way.tasks;
    if (has >= full || has * 2 > full ||
        (has && h->told != s->told)) /* its FETCHes are about what it was told last */
        return false;
    uint64_t share = (a->queue.tasks + nhosts - 1) / nhosts;
    runs_pop(&a->queue, share < full - has ? (uint32_t)share : full - has, &r);
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
        x->jobs.n - x->serving >= JOBS_MAX)
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

/* What it runs costs it its life; the others in it go back to the queue. */
static void cancel_in_host(struct executor *x, struct host *h, struct run what)
{
    struct run head;
    if (h->state == HOST_ENDING || !runs_peek(&h->under_way, &head))
        return;
    bool runs_it = head.stage == what.stage && head.attempt == what.attempt && head.first >= what.first &&
                   head.first - what.first < what.count;
    uint64_t n = runs_remove(&h->under_way, what, NULL);
    if (n == 0)
        return;
    if (runs_it) {
        host_kill(x, h, CAUSE_CANCELLED);
        return;
    }
    struct rec_run r = { what.stage, what.first, what.count, what.attempt };
    host_send(x, h, MSG_CANCEL, &(struct msg_cancel){ .app = h->lease->app->app, .runs = { &r, 1 } });
}

void on_cancel(struct executor *x, struct app *a, const struct msg_cancel *m)
{
    for (uint32_t i = 0; i < m->runs.n; i++) {
        const struct rec_run *r = &m->runs.v[i];
        struct run what = { r->stage, r->first, r->count, r->attempt };
        runs_remove(&a->queue, what, NULL);
        MAP_EACH(&x->hosts, k) {
            struct host *h = map_at(&x->hosts, k);
            if (h->lease && h->lease->app == a)
                cancel_in_host(x, h, what);
        }
    }
    tasks_dispatch(x, a);
}
