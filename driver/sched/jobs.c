/* jobs.c - a job: which of its stages may run, and its end.
 *
 * Everything that ends a job only says so (jobs_end); the job goes at the end of the
 * step, so that nobody's stage vanishes under its feet.
 */
#include "driver/sched/core.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A stage of its own, or the one that an earlier job has left. */
static struct stage *stage_take(struct sched *s, const struct stage_spec *spec, uint32_t index)
{
    struct stage *st = spec->keep ? keep_adopt(s, spec, index) : NULL;
    if (!st && spec->keep)
        jobs_end(s, -1, "%s (%s): over %u datasets are cached; fe_uncache those that are not needed\n",
                 spec->name, spec->place, KEPT_MAX);
    return st ? st : stages_new(spec, index, s->job->base + index);
}

void jobs_run(struct sched *s, const struct job_spec *spec)
{
    assert(!s->job);
    struct job *j = calloc(1, sizeof *j);
    if (!j)
        abort();
    j->spec = spec;
    j->stages = calloc(spec->nstages + 1u, sizeof(struct stage *));
    j->active = calloc(spec->nstages + 1u, sizeof(struct stage *));
    if (!j->stages || !j->active)
        abort();
    j->base = s->next_stage;
    s->job = j;
    for (uint32_t i = 0; i < spec->nstages; i++)
        j->stages[i] = stage_take(s, &spec->stages[i], i);
    s->next_stage += spec->nstages;
    j->dirty = true;
    sched_event_add(s, "job.begun")->count = spec->nstages;
    if (spec->nstages == 0)
        jobs_end(s, -1, "a job without stages\n");
    else if (s->closing || s->exiting)
        jobs_end(s, -1, "the application is ending\n");
}

struct stage *jobs_stage(const struct sched *s, uint32_t number)
{
    const struct job *j = s->job;
    if (!j)
        return NULL;
    bool own = number >= j->base && number - j->base < j->spec->nstages;
    struct stage *st = own ? j->stages[number - j->base] : map_get(&s->kept, number);
    return st && st->number == number && st->spec && st->begun ? st : NULL;
}

struct stage *jobs_last(const struct job *j)
{
    return j->spec->nstages ? j->stages[j->spec->nstages - 1] : NULL;
}

void jobs_end(struct sched *s, int code, const char *fmt, ...)
{
    va_list args;
    char words[2048];
    if (!s->job || s->job->ended)
        return;
    s->job->ended = true;
    s->job->code = code;
    va_start(args, fmt);
    vsnprintf(words, sizeof words, fmt, args);
    va_end(args);
    buf_printf(&s->job->story, "%s", words);
}

void jobs_free(struct sched *s)
{
    struct job *j = s->job;
    s->job = NULL;
    if (!j)
        return;
    for (uint32_t i = 0; i < j->spec->nstages; i++)
        keep_or_drop(s, j->stages[i]);
    free(j->stages);
    free(j->active);
    buf_fini(&j->story);
    free(j);
}

/* ---- stages begin and are done ------------------------------------------------------------ */

static void say_done(struct sched *s, struct stage *st)
{
    if (st->said)
        return;
    st->said = true;
    struct sched_event *e = sched_event_add(s, "stage.done");
    e->stage = st->number;
    e->count = st->ntasks;
    e->words = st->spec->name;
}

/* What runs: the last stage is needed, and all that a needed one reads until it is whole; what is lost of a
 * needed one's outputs is made again.  What is read comes before what reads it, so that one walk back finds all. */
static void find_needed(struct sched *s)
{
    const struct job *j = s->job;
    for (uint32_t i = 0; i < j->spec->nstages; i++)
        j->stages[i]->needed = i == j->spec->nstages - 1;
    for (uint32_t i = j->spec->nstages; i-- > 0;) {
        struct stage *st = j->stages[i];
        if (st->needed && st->dead && !FERRO_PLANT(sched_maps_not_rerun))
            fail_rerun(s, st);
        for (uint32_t k = 0; st->needed && !stages_whole(st) && k < stages_edges(st->spec); k++)
            if (stages_edge(st->spec, k) != STAGE_NO_SHUFFLE)
                j->stages[stages_edge(st->spec, k)]->needed = true;
    }
}

/* Its tasks can't be done before what it reads is whole again: those that have not begun come back. */
static void call_back(struct sched *s, const struct stage *st)
{
    struct msg_recall m = { .app = s->config.app, .stage = st->number, .count = UINT32_MAX };
    for (uint32_t i = 0; st->sent && i < s->nexecs; i++)
        if (s->execs[i]->attached && s->execs[i]->in_flight) {
            s->execs[i]->recalled_ns = s->now;
            links_send(s, s->execs[i], MSG_RECALL, &m);
        }
}

static void look_at(struct sched *s, struct stage *st)
{
    struct job *j = s->job;
    bool ready = stages_ready(j, st);
    if (ready && st->needed && !st->begun)
        stages_begin(s, st);
    if (j->ended)
        return;
    if (st->begun && ready && st->gated)
        stages_moved(s, st);
    if (st->begun && !ready && !st->gated)
        call_back(s, st);
    st->gated = st->begun && !ready;
    if (stages_whole(st))
        say_done(s, st);
    else
        st->said = false;
    j->ndone += stages_whole(st) || !st->needed;
    if (st->needed && ready && !stages_whole(st))
        j->active[j->nactive++] = st;
}

static void look_at_all(struct sched *s)
{
    struct job *j = s->job;
    j->dirty = false;
    j->nactive = j->ndone = 0;
    find_needed(s);
    for (uint32_t i = 0; i < j->spec->nstages && !j->ended; i++)
        look_at(s, j->stages[i]);
    s->rebalance = true;
}

/* ---- the end -------------------------------------------------------------------------------- */

static void start_commit(struct sched *s, const struct stage *st)
{
    struct io_work *w;
    struct sched_winner *winners = arena_alloc(&s->out->arena, (st->ntasks + 1ull) * sizeof *winners);
    for (uint32_t i = 0; i < st->ntasks; i++)
        winners[i] = (struct sched_winner){ i, st->tasks[i].of };
    s->job->committing = true;
    struct action *act = blocks_io(s, WORK_COMMIT, IO_COMMIT, &w);
    act->stage = st->number;
    act->io.path = arena_strdup(&s->out->arena, s->job->spec->save_dir);
    act->io.bytes = (struct bytes){ (const uint8_t *)winners, (uint32_t)(st->ntasks * sizeof *winners) };
}

void jobs_committed(struct sched *s, int64_t result)
{
    if (!s->job || !s->job->committing)
        return;
    if (result < 0)
        jobs_end(s, -1, "the output could not be committed to %s: %s\n", s->job->spec->save_dir,
                 strerror((int)-result));
    else
        jobs_end(s, 0, "%s", "");
}

static void forget_pulled(struct sched *s, const struct job *j)
{
    struct io_work *w;
    const struct stage *last = jobs_last(j);
    bool save = last->spec->kind == STAGE_SAVE;
    if (!j->pulled && !(save && j->code))
        return;
    struct action *act = blocks_io(s, WORK_FREE, IO_FREE, &w);
    act->stage = last->number;
    act->io.path = save && j->code ? arena_strdup(&s->out->arena, j->spec->save_dir) : NULL;
}

static void finish(struct sched *s)
{
    struct job *j = s->job;
    for (uint32_t i = 0; i < s->nexecs; i++)
        attempts_cancel_all(s, s->execs[i]);
    commit_drop(s, NULL);
    execs_flush(s);
    if (j->spec->nstages)
        forget_pulled(s, j);
    struct sched_ended *ended = arena_alloc(&s->out->arena, sizeof *ended);
    ended->code = j->code;
    ended->rows = j->rows_out;
    ended->words = sched_text(s, (struct bytes){ j->story.p, (uint32_t)j->story.n });
    struct sched_event *e = sched_event_add(s, j->code ? "job.failed" : "job.done");
    e->count = (uint32_t)j->reruns;
    e->words = ended->words;
    sched_keep_figures(s);
    jobs_free(s); /* while its spec is still there */
    for (uint32_t i = 0; i < s->nexecs; i++)
        keep_free_blocks(s, s->execs[i]);
    sched_wake(s, s->now);
    sched_note(s, SCHED_JOB_ENDED, ended);
}

void jobs_settle(struct sched *s)
{
    struct job *j = s->job;
    if (!j)
        return;
    if (j->dirty && !j->ended && !j->committing)
        look_at_all(s);
    const struct stage *last = jobs_last(j);
    if (last && !j->ended && !j->committing && stages_whole(last)) {
        if (last->spec->kind == STAGE_SAVE)
            start_commit(s, last);
        else
            jobs_end(s, 0, "%s", "");
    }
    if (j->ended)
        finish(s);
}
