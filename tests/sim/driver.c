/* driver.c - a driver's shell: the job's main around the scheduler, and its reasons to fail. */
#include "tests/sim/sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define IMPAIRED_NS_MAX (17 * SEC) /* cut off from the manager for so long it may be given up */
#define IMPAIRED_GAP_NS (10 * SEC) /* two troubles closer than this are one */

/* ---- reasons ------------------------------------------------------------------------ */

void driver_excuse(struct sim *s, uint32_t app_index, const char *why)
{
    struct app_sim *a = &s->apps[app_index];
    if (!a->excused)
        sim_trace(s, "%s may fail: %s", a->name, why);
    a->excused = true;
    a->excuse = why;
}

static void impaired(struct proc *p, uint64_t ns)
{
    struct driver_state_sim *d = &p->d;
    uint64_t now = p->sim->now;
    if (now > d->impaired_until + IMPAIRED_GAP_NS)
        d->impaired_since = now;
    if (now + ns > d->impaired_until)
        d->impaired_until = now + ns;
    if (d->impaired_until - d->impaired_since > IMPAIRED_NS_MAX)
        driver_excuse(p->sim, d->index, "its driver and the manager could not talk for long");
}

void driver_impaired(struct sim *s, uint32_t node, uint64_t ns)
{
    for (uint32_t i = 0; i < s->nprocs; i++) {
        struct proc *p = &s->procs[i];
        if (p->kind == PROC_DRIVER && (p->node == node || s->procs[node].kind == PROC_MANAGER))
            impaired(p, ns);
    }
}

/* May this job fail?  Words that say why, or NULL. */
static const char *reason(struct sim *s, const struct app_sim *a, const struct work *w)
{
    if (a->killed)
        return "killed";
    if (a->excused)
        return a->excuse;
    return work_failures(w) + a->host_failures >= s->attempts_max ? "a task or its hosts failed too often"
                                                                  : NULL;
}

/* ---- main ----------------------------------------------------------------------------- */

static void on_call(struct sim *s, struct todo *t)
{
    (void)s;
    proc_event(t->p, &(struct event){ .kind = EV_CALL, .call = { (int)t->a, t->x } });
}

static void call_soon(struct proc *p, uint64_t ns, int what, void *arg)
{
    struct todo *t = sim_after(p->sim, ns, on_call, p);
    t->a = (uint64_t)what;
    t->x = arg;
}

static void close_app(struct proc *p, bool failed)
{
    static struct sched_close well = { 0, "" }, badly = { 3, "its job failed" };
    p->d.closing = true;
    call_soon(p, sim_below(p->sim, 5 * MSEC), SCHED_CLOSE, failed ? &badly : &well);
}

/* What is cached goes: between two jobs, or in the midst of one. */
static void on_forget(struct sim *s, struct todo *t)
{
    static const uint64_t keep = 1;
    struct app_sim *a = &s->apps[t->p->d.index];
    a->forgotten = true;
    map_clear(&a->keeps);
    proc_event(t->p, &(struct event){ .kind = EV_CALL, .call = { SCHED_FORGET, &keep } });
}

static void run_job(struct proc *p)
{
    struct sim *s = p->sim;
    struct app_sim *a = &s->apps[p->d.index];
    struct work *w = &a->jobs[p->d.job];
    uint64_t wait = sim_below(s, 5 * MSEC);
    for (uint32_t i = 0; i < w->spec.nstages; i++)
        for (int k = 0; k < 2; k++)
            if (w->served_bytes[i][k].n)
                call_soon(p, wait, SCHED_SERVE, &w->served[i][k]);
    if (w->out)
        w->out->app = a->app;
    a->forgotten = false;
    w->begun = true;
    call_soon(p, wait + 1, SCHED_RUN, &w->spec);
    if ((w->specs[0].keep || w->specs[1].keep) && sim_chance(s, 150000))
        sim_after(s, sim_below(s, 2 * SEC), on_forget, p);
}

void driver_start(struct proc *p)
{
    struct sim *s = p->sim;
    struct app_sim *a = &s->apps[p->d.index];
    struct sched_config config = {
        .manager = "n0:7000",
        .app = a->app,
        .epoch = a->epoch,
        .slots_max = s->slots_max,
        .memory = 64ull << 20,
        .attempts_max = s->attempts_max,
        .time_ms_max = s->time_ms_max,
        .idle_ms = 1000,
        .copy_ms = 300,
        .executor_lost_ms = 20000,
        .reduce_bytes = 100,
        .beat_ms = 1000,
        .libs = &a->lib,
        .nlibs = 1,
        .name = a->name,
    };
    memcpy(config.manager_key, s->manager_key, KEY_BYTES);
    p->d.app = a->app;
    p->core = sched_new(&config);
    a->opened = true;
    proc_event(p, &(struct event){ .kind = EV_START, .start = { prng_next(&s->prng), NULL } });
    run_job(p);
}

static void memory_clear(struct proc *p)
{
    MAP_EACH(&p->d.memory, i) {
        buf_fini(map_at(&p->d.memory, i));
        free(map_at(&p->d.memory, i));
    }
    map_clear(&p->d.memory);
}

void driver_stopped(struct proc *p)
{
    struct sim *s = p->sim;
    struct app_sim *a = &s->apps[p->d.index];
    memory_clear(p);
    if (p->exiting && !p->d.closing && !a->killed && !a->excused && !s->failed)
        sim_fail(s, "legitimate-cause", "%s: its driver exited with %d in mid-job for no reason", a->name,
                 p->exit_code);
    a->driver_gone = true;
}

/* ---- what the scheduler tells ------------------------------------------------------------- */

static void job_ended(struct proc *p, const struct sched_ended *e)
{
    struct sim *s = p->sim;
    struct app_sim *a = &s->apps[p->d.index];
    struct work *w = &a->jobs[p->d.job];
    if (w->ended || !w->begun) {
        sim_fail(s, "job-once", "%s: job %u ended twice, or before it began", a->name, p->d.job);
        return;
    }
    w->ended = true;
    w->code = e->code;
    sim_trace(s, "%s: job %u ended with %d: %s", a->name, p->d.job, e->code, e->words ? e->words : "");
    if (e->code == 0) {
        work_check(s, a, w, e->rows);
        if (w->poisoned && !w->spec.take_rows && !a->excused)
            sim_fail(s, "result", "%s: job %u ended well though one of its tasks can't", a->name, p->d.job);
    } else if (!e->words || !*e->words)
        sim_fail(s, "cause", "%s: job %u failed without a word", a->name, p->d.job);
    else if (!reason(s, a, w))
        sim_fail(s, "legitimate-cause", "%s: job %u failed for no reason: %s", a->name, p->d.job, e->words);
    memory_clear(p);
    if (e->code == 0 && p->d.job + 1 < a->njobs) {
        p->d.job++;
        run_job(p);
    } else
        close_app(p, e->code != 0);
}

static void result(struct proc *p, const struct sched_result *r)
{
    struct sim *s = p->sim;
    struct app_sim *a = &s->apps[p->d.index];
    struct work *w = &a->jobs[p->d.job];
    struct buf *pulled = map_get(&p->d.memory, task_key(r->stage, r->part, r->attempt));
    struct buf *b = calloc(1, sizeof *b);
    if (!b)
        abort();
    if (map_has(&w->results, r->part))
        sim_fail(s, "commit-once", "%s: part %u of stage %u was committed twice", a->name, r->part, r->stage);
    else if (!r->bytes.p && !pulled)
        sim_fail(s, "result", "%s: the result of part %u is said to be in memory, and isn't", a->name,
                 r->part);
    else if (r->bytes.p)
        buf_put(b, r->bytes.p, r->bytes.n);
    else
        buf_put(b, pulled->p, pulled->n);
    if (map_has(&w->results, r->part)) {
        buf_fini(b);
        free(b);
    } else
        map_put(&w->results, r->part, b);
}

void driver_call(struct proc *p, int what, const void *arg)
{
    if (what == SCHED_JOB_ENDED)
        job_ended(p, arg);
    else if (what == SCHED_RESULT)
        result(p, arg);
    else if (what == SCHED_EVENT)
        check_event(p, arg);
}
