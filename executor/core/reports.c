/* reports.c - what became of tasks: a host's word, checked, with its output taken over before it is passed on. */
#include "executor/core/core.h"

#include <string.h>

#define AVERAGE_SHIFT 3 /* a new batch weighs an eighth */

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

void report_fail(struct executor *x, struct app *a, struct run task, enum cause cause, int signal,
                 uint64_t peak, uint64_t ms, const char *words, const char *tail)
{
    struct rec_report r = {
        .stage = task.stage,
        .part = task.first,
        .attempt = task.attempt,
        .cause = cause,
        .signal = (uint32_t)signal,
        .peak_bytes = peak,
        .ms = ms,
        .words = bytes_of(words),
        .tail = bytes_of(tail),
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

static void fail_output(struct rec_report *r, const char *words)
{
    r->cause = CAUSE_ERROR;
    r->words = bytes_of(words);
    r->out_bytes = 0;
    r->result = r->sizes = (struct bytes){ 0 };
    r->samples.n = 0;
}

void report_job_done(struct executor *x, struct job *j, int64_t result)
{
    struct app *a = job_app(x, j);
    struct rec_report *r = &j->report;
    if (!a || a->ending)
        return;
    if (result < 0)
        fail_output(r, j->kind == JOB_SYNC ? "what it saved could not be synced"
                                           : "its output file is not what it reported");
    else if (j->kind == JOB_ADOPT) {
        r->out_bytes = (uint64_t)result;
        block_add(x, a, block_output(r->stage, r->part, r->attempt), r->stage, r->out_bytes,
                  r->flags & REPORT_ON_DISK);
    }
    report_add(x, a, r);
    tasks_dispatch(x, a);
}

static void on_report(struct executor *x, struct app *a, struct host *h, const struct rec_report *told,
                      const char *tail)
{
    struct rec_report r = *told;
    bool file = r.cause == CAUSE_OK && (r.out_bytes || r.flags & REPORT_SAVED_HERE);
    if (!runs_remove(&h->under_way, (struct run){ r.stage, r.part, 1, r.attempt }, NULL)) {
        x->refused++; /* a host may only report what it was given */
        return;
    }
    if (r.cause && r.tail.n == 0 && tail)
        r.tail = bytes_of(tail);
    if (file && x->blocks.n >= BLOCKS_MAX)
        fail_output(&r, "this executor keeps as many blocks as it may");
    if (r.cause == CAUSE_OK && file && !FERRO_PLANT(told_before_adopted))
        adopt(x, a, h, &r);
    else
        report_add(x, a, &r);
}

/* Joined to the last one where it continues it. */
static void success_add(struct app *a, const struct run *p, uint64_t rows)
{
    struct rec_success *last =
        a->out_runs.n ? (struct rec_success *)(a->out_runs.p + a->out_runs.n) - 1 : NULL;
    struct rec_success ok = { p->stage, p->first, p->count, p->attempt, rows };
    if (last && last->stage == ok.stage && last->attempt == ok.attempt && last->rows == rows &&
        last->first + last->count == ok.first)
        last->count += ok.count;
    else
        buf_put(&a->out_runs, &ok, sizeof ok);
}

static uint64_t on_runs(struct executor *x, struct app *a, struct host *h, const struct rec_success *r)
{
    struct buf pieces = { 0 };
    uint64_t n =
        runs_remove(&h->under_way, (struct run){ r->stage, r->first, r->count, r->attempt }, &pieces);
    if (n < r->count) /* some were cancelled meanwhile, or it lies */
        x->refused++;
    for (size_t i = 0; i < pieces.n / sizeof(struct run); i++)
        success_add(a, (const struct run *)pieces.p + i, r->rows);
    buf_fini(&pieces);
    return n;
}

static void average(struct app *a, const struct msg_done *m, uint64_t n)
{
    uint32_t stage = m->runs.n ? m->runs.v[0].stage : m->reports.n ? m->reports.v[0].stage : 0;
    struct stage *s = map_get(&a->stages, stage);
    if (s && n)
        s->task_ns += (m->busy_ns / n >> AVERAGE_SHIFT) - (s->task_ns >> AVERAGE_SHIFT);
}

/* Also of a host that is ending: what it had finished before is finished. */
void on_host_done(struct executor *x, struct host *h, const struct msg_done *m, const char *tail)
{
    struct app *a = h->lease ? h->lease->app : NULL;
    uint64_t n = m->reports.n;
    if (!a || a->ending || (h->state != HOST_UP && h->state != HOST_ENDING))
        return;
    for (uint32_t i = 0; i < m->runs.n; i++)
        n += on_runs(x, a, h, &m->runs.v[i]);
    for (uint32_t i = 0; i < m->reports.n; i++)
        on_report(x, a, h, &m->reports.v[i], tail);
    h->head_since_ns = x->now;
    a->out_busy_ns += m->busy_ns;
    average(a, m, n);
    tasks_dispatch(x, a);
    if (h->lease->state == LEASE_CLOSING && h->under_way.tasks == 0)
        host_kill(x, h, CAUSE_CANCELLED);
}
