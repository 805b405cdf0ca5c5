/* inside_sched.c - what only a look inside the scheduler tells: bounds, and books that must agree. */
#include "driver/sched/core.h"
#include "tests/sim/sim.h"

#define LARGE_STAGE 1000u /* its tasks are not counted through */

static const char *execs_wrong(const struct sched *s)
{
    uint32_t in_flight = 0, slots = 0, usable = 0;
    for (uint32_t i = 0; i < s->nexecs; i++) {
        const struct exec *x = s->execs[i];
        in_flight += x->in_flight;
        slots += x->slots;
        usable += x->usable;
        if (x->in_flight > AHEAD_MAX)
            return "too many tasks are ahead at one executor";
        if (x->serving > SERVING_MAX)
            return "too many chunks are being read for one executor";
        if (x->lost && (x->in_flight || x->slots || x->outputs))
            return "a lost executor still counts";
        if (x->lost && (x->control.conn || x->data.conn))
            return "a lost executor is still connected";
        if (x->usable && !x->in_flight && !map_has(&s->hungry, x->index))
            return "an idle executor is never fed again";
        if (x->usable > x->slots)
            return "more slots are usable than there are";
    }
    if (in_flight != s->in_flight || slots != s->granted || usable != s->usable_slots)
        return "its sums over executors are wrong";
    return NULL;
}

/* Every task is in one state, and the stage's figures say how many are in each. */
static const char *stage_wrong(const struct stage *st)
{
    uint32_t n[4] = { 0 }, dead = 0;
    if (!st->begun || !st->tasks)
        return NULL;
    for (uint32_t p = 0; p < st->ntasks; p++) {
        const struct task *t = &st->tasks[p];
        n[t->state]++;
        dead += (t->flags & TASK_DEAD) != 0;
        if (t->given > ATTEMPTS_ALL_MAX)
            return "a task was given out too often";
    }
    if (n[TASK_SENT] + st->copies.n != st->sent || n[TASK_DONE] != st->done || n[TASK_PULLING] != st->pulling)
        return "a stage's figures and its tasks disagree";
    if (!st->rows && n[TASK_PENDING] != stages_pending(st))
        return "a stage's pending tasks and its queues disagree";
    return dead == st->dead ? NULL : "a stage's lost outputs are counted wrongly";
}

const char *inside_sched_bounds(const struct sched *s)
{
    const char *wrong = execs_wrong(s);
    if (wrong)
        return wrong;
    if (s->leases.n > LEASES_MAX || s->pulls_under_way > PULLS_MAX || s->served.n > SERVED_MAX)
        return "too many leases, pulls or served blocks";
    if (s->pullings.n > PULLS_WAITING_MAX + AHEAD_MAX * s->nexecs)
        return "too many results wait to be pulled";
    for (uint32_t i = 0; s->job && !s->job->ended && i < s->job->spec->nstages && !wrong; i++)
        wrong = s->job->stages[i]->ntasks > LARGE_STAGE ? NULL : stage_wrong(s->job->stages[i]);
    return wrong;
}

uint64_t inside_sched_refused(const struct sched *s)
{
    return s->refused;
}
