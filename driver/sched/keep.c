/* keep.c - cached datasets: stages whose outputs outlive the job that made them.
 *
 * A job that names the dataset again has its stage, whole or not, until it ends.  Between jobs such a stage has
 * no spec: all that is of it are its tasks, and where their outputs lie.
 */
#include "driver/sched/core.h"

#include <assert.h>
#include <stdlib.h>

static struct stage *find(const struct sched *s, uint64_t keep)
{
    MAP_EACH(&s->kept, i) {
        struct stage *st = map_at(&s->kept, i);
        if (st->keep == keep)
            return st;
    }
    return NULL;
}

bool keep_has(const struct sched *s, uint32_t number)
{
    return map_has(&s->kept, number);
}

struct stage *keep_adopt(struct sched *s, const struct stage_spec *spec, uint32_t index)
{
    struct stage *st = find(s, spec->keep);
    if (!st && s->kept.n == KEPT_MAX)
        return NULL;
    if (!st) {
        st = stages_new(spec, index, s->next_stage + index);
        st->keep = spec->keep;
        map_put(&s->kept, st->number, st);
    }
    assert(!st->begun || st->ninputs == spec->ninputs); /* the same lineage */
    st->spec = spec;
    st->index = index;
    st->version += st->begun; /* what it reads has other numbers in each job */
    return st;
}

/* Attempts that ran when the job ended were called off; failures are the job's. */
static void pause(struct stage *st)
{
    homes_clear(st);
    spans_fini(&st->again);
    spans_fini(&st->copying);
    map_clear(&st->copies);
    st->sent = 0;
    st->fresh = st->limit;
    for (uint32_t p = 0; p < st->ntasks; p++) {
        struct task *t = &st->tasks[p];
        t->flags &= (uint8_t) ~(TASK_AVOID | TASK_COPYING);
        t->failures = t->unstarted = 0;
        if (t->state == TASK_DONE)
            continue;
        t->state = TASK_PENDING;
        fail_forget(st, p);
        spans_push(&st->again, (struct span){ p, 1, 0 });
    }
}

/* Nothing of it counts any more. */
static void drop(struct sched *s, struct stage *st)
{
    for (uint32_t p = 0; st->out_bytes && p < st->ntasks; p++)
        if (stages_lies(st, p))
            s->execs[st->tasks[p].exec]->outputs--;
    if (keep_has(s, st->number))
        map_del(&s->kept, st->number);
    stages_free(&st);
}

void keep_or_drop(struct sched *s, struct stage *st)
{
    if (!st->keep || !st->begun) {
        drop(s, st);
        return;
    }
    if (!stages_whole(st))
        pause(st);
    st->spec = NULL;
    st->gated = false;
    st->built = 0;
    buf_fini(&st->frame);
}

void keep_free_blocks(struct sched *s, struct exec *x)
{
    struct rec_num *stages = arena_alloc(&s->out->arena, (x->told.n + 1ull) * sizeof *stages);
    struct msg_block_free m = { .app = s->config.app, .stages = { stages, 0 } };
    if (!x->control.up) /* told when it is back */
        return;
    MAP_EACH(&x->told, i) {
        uint32_t number = (uint32_t)map_key(&x->told, i);
        if (jobs_stage(s, number) || (keep_has(s, number) && !FERRO_PLANT(sched_cached_freed)))
            continue;
        stages[m.stages.n++].n = number;
        map_del(&x->told, number);
    }
    if (m.stages.n)
        links_send(s, x, MSG_BLOCK_FREE, &m);
}

void keep_forget(struct sched *s, uint64_t keep)
{
    struct stage *st = find(s, keep);
    if (st)
        st->keep = 0;
    if (!st || st->spec) /* it goes with the job that has it */
        return;
    drop(s, st);
    for (uint32_t i = 0; i < s->nexecs; i++)
        keep_free_blocks(s, s->execs[i]);
}

void keep_fini(struct sched *s)
{
    MAP_EACH(&s->kept, i) {
        struct stage *st = map_at(&s->kept, i);
        stages_free(&st);
    }
    map_fini(&s->kept);
}
