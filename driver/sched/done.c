/* done.c - what an executor says of attempts: ended, given back, alive. */
#include "driver/sched/core.h"

#include <string.h>

#define AVERAGE_SHIFT 3 /* a new batch weighs an eighth, a large one all */
#define LARGE_BATCH 8

/* The part of first..first+count-1 that the stage has. */
static uint32_t clamped(const struct stage *st, uint32_t first, uint32_t count)
{
    if (first >= st->ntasks)
        return 0;
    return count < st->ntasks - first ? count : st->ntasks - first;
}

static void measure(struct stage *st, uint64_t ns, uint64_t n)
{
    st->task_ns = st->task_ns == 0 || n >= LARGE_BATCH
                      ? ns
                      : st->task_ns + (ns >> AVERAGE_SHIFT) - (st->task_ns >> AVERAGE_SHIFT);
    if (st->task_ns == 0)
        st->task_ns = 1;
}

/* Plain successes: most tasks of most stages come through here. */
static void on_run(struct sched *s, struct exec *x, const struct rec_success *r, uint64_t each_ns)
{
    struct stage *st = jobs_stage(s, r->stage);
    struct rec_success ours = *r;
    ours.count = st ? clamped(st, r->first, r->count) : 0;
    if (ours.count == 0) {
        s->voided++;
        return;
    }
    commit_run(s, st, x, &ours);
    copies_measure(st, each_ns, ours.count);
}

static void on_report(struct sched *s, struct exec *x, const struct rec_report *r, uint64_t each_ns)
{
    struct stage *st = jobs_stage(s, r->stage);
    if (!st || r->part >= st->ntasks || s->job->ended) {
        s->voided++;
        return;
    }
    if (r->cause == CAUSE_OK) {
        copies_measure(st, r->ms ? r->ms * MS : each_ns, 1);
        commit_success(s, st, x, r);
    } else
        fail_report(s, st, x, r);
}

static uint64_t tasks_in(const struct rec_run *runs, uint32_t nruns)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i < nruns; i++)
        n += runs[i].count;
    return n;
}

static uint64_t tasks_told(const struct msg_done *m)
{
    uint64_t n = m->reports.n;
    for (uint32_t i = 0; i < m->runs.n; i++)
        n += m->runs.v[i].count;
    return n;
}

/* An executor names an attempt once a frame, and only those that it was given: one that names
 * more would have us look at millions of tasks for nothing. */
static bool too_many(struct sched *s, struct exec *x, uint64_t named)
{
    if (named <= x->given)
        return false;
    s->refused++;
    execs_lost(s, x, "it speaks of more tasks than it was given", false);
    return true;
}

static void measure_all(struct sched *s, const struct msg_done *m, uint64_t each_ns, uint64_t n)
{
    uint32_t number = m->runs.n ? m->runs.v[0].stage : m->reports.n ? m->reports.v[0].stage : UINT32_MAX;
    struct stage *st = jobs_stage(s, number);
    if (st && m->busy_ns)
        measure(st, each_ns, n);
}

/* A number at or below the one that we attached with: the executor has forgotten the
 * application meanwhile and begun anew.  What it had of ours is gone. */
static bool begun_anew(const struct exec *x, uint64_t seq)
{
    return seq <= x->attach_seq;
}

void done_on_done(struct sched *s, struct exec *x, const struct msg_done *m)
{
    uint64_t n = tasks_told(m), each_ns = n ? m->busy_ns / n : 0;
    if (begun_anew(x, m->seq)) {
        execs_lost(s, x, "it has forgotten this application", false);
        return;
    }
    x->ack |= !FERRO_PLANT(sched_done_not_acked);
    execs_touch(s, x);
    if (m->seq <= x->done_seq) /* resent, and processed before */
        return;
    if (too_many(s, x, n))
        return;
    x->done_seq = m->seq;
    measure_all(s, m, each_ns, n);
    for (uint32_t i = 0; i < m->runs.n; i++)
        on_run(s, x, &m->runs.v[i], each_ns);
    for (uint32_t i = 0; i < m->reports.n; i++)
        on_report(s, x, &m->reports.v[i], each_ns);
    if (!s->job || !s->job->ended)
        attempts_trim(s, x);
    execs_hungry(s, x);
    s->rebalance = s->changed = true;
    sched_wake(s, s->now + STRAGGLER_EVERY_NS);
}

/* Given back unasked: its slots go, and the word about the lease is on its way to us. */
static void rest(struct sched *s, struct exec *x)
{
    if (x->recalled_ns == 0 || s->now - x->recalled_ns >= RECALL_HEARD_NS)
        execs_rest(s, x);
}

void done_on_recalled(struct sched *s, struct exec *x, const struct msg_recalled *m)
{
    if (too_many(s, x, tasks_in(m->runs.v, m->runs.n)))
        return;
    for (uint32_t i = 0; i < m->runs.n; i++) {
        const struct rec_run *r = &m->runs.v[i];
        struct stage *st = jobs_stage(s, r->stage);
        uint32_t count = st ? clamped(st, r->first, r->count) : 0;
        for (uint32_t p = r->first; p < r->first + count; p++)
            if (attempt_is(st, p, x, r->attempt) && !attempt_end(s, st, p, x, r->attempt))
                attempt_again(s, st, p, false);
    }
    attempts_trim(s, x);
    execs_hungry(s, x);
    rest(s, x);
}

static void cancel_stretch(struct exec *x, const struct rec_run *r, uint64_t from, uint64_t to)
{
    struct rec_run unknown = { r->stage, (uint32_t)from, (uint32_t)(to - from), r->attempt };
    if (from < to)
        buf_put(&x->cancels, &unknown, sizeof unknown);
}

/* Alive there and known here: into `live`.  Alive there alone: cancelled, a stretch at a time. */
static void sort_live(struct sched *s, struct exec *x, const struct rec_run *r, struct map *live)
{
    struct stage *st = jobs_stage(s, r->stage);
    uint32_t count = st ? clamped(st, r->first, r->count) : 0;
    uint64_t unknown = r->first;
    for (uint32_t p = r->first; p < r->first + count; p++)
        if (attempt_is(st, p, x, r->attempt)) {
            map_put_u64(live, attempts_key(st, p, r->attempt), 1);
            cancel_stretch(x, r, unknown, p);
            unknown = p + 1ull;
        }
    cancel_stretch(x, r, unknown, (uint64_t)r->first + r->count);
    execs_touch(s, x);
}

static bool confirmed(const struct msg_attached *m, uint64_t lease)
{
    for (uint32_t i = 0; i < m->leases.n; i++)
        if (m->leases.v[i].id == lease)
            return true;
    return false;
}

void done_on_attached(struct sched *s, struct exec *x, const struct msg_attached *m)
{
    struct map live = { 0 };
    if (too_many(s, x, tasks_in(m->live.v, m->live.n)))
        return;
    x->attaching = false;
    x->attached = x->met = true;
    x->since_ns = 0;
    x->copied = false;
    backoff_reset(&x->control.retry);
    for (uint32_t i = 0; i < m->live.n; i++)
        sort_live(s, x, &m->live.v[i], &live);
    attempts_lose(s, x, &live);
    map_fini(&live);
    MAP_EACH(&s->leases, i) {
        struct lease *l = map_at(&s->leases, i);
        if (l->x == x && !confirmed(m, l->lease))
            grants_drop(s, l);
    }
    keep_free_blocks(s, x);
    struct sched_event *e = sched_event_add(s, "executor.attached");
    e->executor = x->name;
    e->count = x->slots;
    if (x->attach_again) /* a lease came meanwhile */
        links_attach(s, x);
    execs_refresh(s, x);
}
