/* tasks.c - tasks in, to hosts, and what became of them. */
#include "executor/core/core.h"

#include <stdlib.h>
#include <string.h>

#define AVERAGE_SHIFT 3 /* a new batch weighs an eighth */

void on_tasks(struct executor *x, struct app *a, const struct msg_tasks *m)
{
    struct stage *s = map_get(&a->stages, m->stage);
    for (uint32_t i = 0; i < m->ranges.n; i++) {
        const struct rec_range *r = &m->ranges.v[i];
        struct run run = { m->stage, r->first, r->count, r->attempt };
        if (!s || a->queue.v.n / sizeof(struct run) >= QUEUE_RUNS_MAX) {
            refuse(x, a->control, s ? REFUSE_LIMIT : REFUSE_NO_LEASE, m->stage, s ? "too many tasks are queued here" : "no such stage here");
            return;
        }
        runs_push(&a->queue, run);
    }
    uint32_t open = 0;
    MAP_EACH(&x->leases, i) {
        const struct lease *l = map_at(&x->leases, i);
        open += l->app == a && l->state != LEASE_CLOSING;
    }
    if (open == 0) /* the lease went while these were on their way */
        tasks_give_back(x, a);
    else
        tasks_dispatch(x, a);
}

static uint32_t ahead(const struct app *a)
{
    uint64_t n = a->task_ns ? HOST_AHEAD_NS / a->task_ns : HOST_AHEAD_MAX;
    return n < 1 ? 1 : n > HOST_AHEAD_MAX ? HOST_AHEAD_MAX : (uint32_t)n;
}

static void tell_stage(struct executor *x, struct host *h, const struct stage *s)
{
    struct buf frame = { 0 };
    if (h->told && h->stage == s->stage && h->version == s->version)
        return;
    struct msg_host_stage m = { .stage = s->stage, .version = s->version, .save = s->save,
                                .to_disk = x->block_bytes > x->config.block_bytes_max };
    proto_encode(&frame, &(struct head){ .tag = MSG_HOST_STAGE, .epoch = x->epoch, .generation = x->generation }, &m);
    struct action *act = actions_add(x->out, ACT_HOST_SEND);
    act->id = h->id;
    act->frame = (struct bytes){ arena_copy(&x->out->arena, frame.p, frame.n), (uint32_t)frame.n };
    act->sealed = (struct bytes){ arena_copy(&x->out->arena, s->frame.p, s->frame.n), (uint32_t)s->frame.n };
    buf_fini(&frame);
    h->told = true;
    h->stage = s->stage;
    h->version = s->version;
}

/* Give one host up to `most` tasks of one run. */
static bool host_feed(struct executor *x, struct app *a, struct host *h, uint32_t most)
{
    struct run r;
    if (!runs_peek(&a->queue, &r))
        return false;
    struct stage *s = map_get(&a->stages, r.stage);
    if (!s || s->state != STAGE_READY) /* freed meanwhile: its job is over; checking: soon */
        return s ? false : runs_pop(&a->queue, UINT32_MAX, &r);
    runs_pop(&a->queue, most, &r);
    tell_stage(x, h, s);
    struct rec_range range = { r.first, r.count, r.attempt };
    struct msg_tasks m = { .app = a->app, .stage = r.stage, .version = s->version, .ranges = { &range, 1 } };
    host_send(x, h, MSG_TASKS, &m);
    if (h->under_way.tasks == 0)
        h->head_since_ns = x->now;
    runs_push(&h->under_way, r);
    return true;
}

/* Evenly: each host is brought to half of what it may hold before one gets more. */
void tasks_dispatch(struct executor *x, struct app *a)
{
    uint32_t full = ahead(a);
    bool fed = a->queue.tasks > 0;
    while (fed) {
        fed = false;
        MAP_EACH(&x->hosts, i) {
            struct host *h = map_at(&x->hosts, i);
            if (h->state != HOST_UP || !h->lease || h->lease->app != a || h->lease->state != LEASE_ATTACHED)
                continue;
            if (h->under_way.tasks * 2 <= full && h->under_way.tasks < full && a->queue.tasks)
                fed |= host_feed(x, a, h, full - (uint32_t)h->under_way.tasks);
        }
    }
}

/* ---- back to the driver ------------------------------------------------- */

static void recalled(struct executor *x, struct app *a, uint32_t stage, uint64_t most)
{
    struct buf runs = { 0 };
    struct runs kept = { 0 };
    struct run r;
    while (most && runs_pop(&a->queue, most > UINT32_MAX ? UINT32_MAX : (uint32_t)most, &r)) {
        if (stage != UINT32_MAX && r.stage != stage) {
            runs_push(&kept, r);
            continue;
        }
        struct rec_run back = { r.stage, r.first, r.count, r.attempt };
        buf_put(&runs, &back, sizeof back);
        most -= r.count;
    }
    while (runs_pop(&kept, UINT32_MAX, &r))
        runs_push(&a->queue, r);
    runs_fini(&kept);
    if (runs.n) {
        struct msg_recalled m = { .app = a->app };
        m.runs.v = (const struct rec_run *)runs.p;
        m.runs.n = (uint32_t)(runs.n / sizeof(struct rec_run));
        app_send(x, a, MSG_RECALLED, &m);
    }
    buf_fini(&runs);
}

void on_recall(struct executor *x, struct app *a, const struct msg_recall *m)
{
    recalled(x, a, m->stage, m->count);
}

void tasks_give_back(struct executor *x, struct app *a)
{
    recalled(x, a, UINT32_MAX, UINT64_MAX);
}

/* A cancelled attempt under way costs its host; the others in it go back to the queue. */
static void cancel_one(struct executor *x, struct app *a, uint32_t stage, uint32_t part, uint32_t attempt)
{
    if (runs_take(&a->queue, stage, part, attempt, NULL))
        return;
    MAP_EACH(&x->hosts, i) {
        struct host *h = map_at(&x->hosts, i);
        struct run head;
        if (!h->lease || h->lease->app != a || h->state == HOST_ENDING || !runs_peek(&h->under_way, &head))
            continue;
        if (head.stage == stage && head.first == part && head.attempt == attempt) {
            host_kill(x, h, CAUSE_CANCELLED);
            return;
        }
        if (runs_take(&h->under_way, stage, part, attempt, NULL)) {
            struct rec_run r = { stage, part, 1, attempt };
            host_send(x, h, MSG_CANCEL, &(struct msg_cancel){ .app = a->app, .runs = { &r, 1 } });
            return;
        }
    }
}

void on_cancel(struct executor *x, struct app *a, const struct msg_cancel *m)
{
    for (uint32_t i = 0; i < m->runs.n; i++)
        for (uint32_t k = 0; k < m->runs.v[i].count && k < QUEUE_RUNS_MAX; k++)
            cancel_one(x, a, m->runs.v[i].stage, m->runs.v[i].first + k, m->runs.v[i].attempt);
    tasks_dispatch(x, a);
}

/* ---- what became of them ------------------------------------------------ */

void report_add(struct executor *x, struct app *a, const struct rec_report *r)
{
    struct rec_report kept = report_copy(&a->out_arena, r);
    buf_put(&a->out_reports, &kept, sizeof kept);
    if (r->cause && r->cause != CAUSE_FETCH) {
        struct action *act = actions_add(x->out, ACT_EVENT);
        act->app = a->app;
        act->stage = r->stage;
        act->part = r->part;
        act->attempt = r->attempt;
        act->log.words = "task.failed";
    }
}

void report_fail(struct executor *x, struct app *a, struct run task, enum cause cause, int signal, uint64_t peak, uint64_t ms,
                 const char *words, const char *tail)
{
    struct rec_report r = {
        .stage = task.stage, .part = task.first, .attempt = task.attempt, .cause = cause, .signal = (uint32_t)signal,
        .peak_bytes = peak, .ms = ms, .words = bytes_of(words), .tail = bytes_of(tail),
    };
    report_add(x, a, &r);
}

/* A success with a file: the daemon takes the file over before it tells. */
static void adopt(struct executor *x, struct app *a, struct host *h, const struct rec_report *r)
{
    struct job *j;
    bool saved = r->flags & REPORT_SAVED_HERE;
    struct action *act = io_start(x, saved ? JOB_SYNC : JOB_ADOPT, saved ? IO_SYNC : IO_ADOPT, a->app, &j);
    j->report = report_copy(&j->arena, r);
    act->stage = r->stage;
    act->part = r->part;
    act->attempt = r->attempt;
    act->io.block = block_output(r->stage, r->part, r->attempt);
    act->io.length = r->out_bytes;
    act->io.host = h->id;
    act->io.last = r->flags & REPORT_ON_DISK;
}

void report_job_done(struct executor *x, struct job *j, int64_t result)
{
    struct app *a = map_get(&x->apps, j->app);
    struct rec_report *r = &j->report;
    if (!a || a->ending)
        return;
    if (result < 0) {
        r->cause = CAUSE_ERROR;
        r->words = bytes_of(j->kind == JOB_SYNC ? "what it saved could not be synced" : "its output file is not what it reported");
        r->out_bytes = 0;
        r->result = r->sizes = (struct bytes){ 0 };
        r->samples.n = 0;
    } else if (j->kind == JOB_ADOPT) {
        struct block_id id = block_output(r->stage, r->part, r->attempt);
        struct block *b = calloc(1, sizeof *b);
        if (!b)
            abort();
        *b = (struct block){ a, id, r->stage, (uint64_t)result };
        r->out_bytes = (uint64_t)result;
        map_put(&x->blocks, block_key(a->app, id), b);
        x->block_bytes += b->bytes;
    }
    report_add(x, a, r);
}

static void on_report(struct executor *x, struct app *a, struct host *h, const struct rec_report *r)
{
    if (!runs_take(&h->under_way, r->stage, r->part, r->attempt, NULL)) {
        x->refused++; /* a host may only report what it was given */
        return;
    }
    if (r->cause == CAUSE_OK && (r->out_bytes || r->flags & REPORT_SAVED_HERE) && x->blocks.n < BLOCKS_MAX)
        adopt(x, a, h, r);
    else
        report_add(x, a, r);
}

static uint64_t on_runs(struct executor *x, struct app *a, struct host *h, const struct rec_run *r)
{
    uint64_t n = 0;
    for (uint32_t k = 0; k < r->count; k++)
        if (runs_take(&h->under_way, r->stage, r->first + k, r->attempt, NULL))
            n++;
        else
            break;
    if (n < r->count)
        x->refused++;
    struct rec_run ok = { r->stage, r->first, (uint32_t)n, r->attempt };
    struct rec_run *last = a->out_runs.n ? (struct rec_run *)(a->out_runs.p + a->out_runs.n) - 1 : NULL;
    if (last && last->stage == ok.stage && last->attempt == ok.attempt && last->first + last->count == ok.first)
        last->count += ok.count;
    else if (n)
        buf_put(&a->out_runs, &ok, sizeof ok);
    return n;
}

void on_host_done(struct executor *x, struct host *h, const struct msg_done *m)
{
    struct app *a = h->lease ? h->lease->app : NULL;
    uint64_t n = m->reports.n;
    if (!a || h->state != HOST_UP)
        return;
    for (uint32_t i = 0; i < m->runs.n; i++)
        n += on_runs(x, a, h, &m->runs.v[i]);
    for (uint32_t i = 0; i < m->reports.n; i++)
        on_report(x, a, h, &m->reports.v[i]);
    h->head_since_ns = x->now;
    a->out_busy_ns += m->busy_ns;
    if (n)
        a->task_ns += (m->busy_ns / n >> AVERAGE_SHIFT) - (a->task_ns >> AVERAGE_SHIFT);
    tasks_dispatch(x, a);
    if (h->lease->state == LEASE_CLOSING && h->under_way.tasks == 0)
        host_kill(x, h, CAUSE_CANCELLED);
}
