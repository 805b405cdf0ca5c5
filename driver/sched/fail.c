/* fail.c - attempts that failed, and outputs that are lost.
 *
 * A failure of the task's own counts; the fourth ends the job with the story of all.  What executors,
 * networks and we ourselves are guilty of counts for nothing; but a task that no executor can
 * begin fails too, with their words.
 */
#include "driver/sched/core.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- outputs that are lost --------------------------------------------------------------- */

static void output_lost(struct sched *s, struct stage *map, uint32_t part)
{
    struct task *t = &map->tasks[part];
    t->flags |= TASK_DEAD;
    map->dead++;
    s->execs[t->exec]->outputs--;
}

void fail_rerun(struct sched *s, struct stage *map)
{
    struct job *j = s->job;
    struct sched_event *e = sched_event_add(s, "maps.lost");
    e->stage = map->number;
    e->count = map->dead;
    for (uint32_t i = 0; i < map->ntasks && map->dead; i++) {
        struct task *t = &map->tasks[i];
        if (!(t->flags & TASK_DEAD))
            continue;
        t->flags &= (uint8_t)~TASK_DEAD;
        map->dead--;
        map->done--;
        j->reruns++;
        attempt_again(s, map, i, t->flags & TASK_AVOID);
    }
}

static void outputs_of(struct sched *s, const struct exec *x, struct stage *map)
{
    for (uint32_t p = 0; map->begun && map->out_bytes && p < map->ntasks && x->outputs; p++)
        if (map->tasks[p].exec == x->index && stages_lies(map, p))
            output_lost(s, map, p);
}

void fail_outputs_of(struct sched *s, struct exec *x)
{
    for (uint32_t i = 0; s->job && i < s->job->spec->nstages; i++)
        outputs_of(s, x, s->job->stages[i]);
    if (s->job)
        s->job->dirty = true;
    MAP_EACH(&s->kept, i)
        if (!FERRO_PLANT(sched_cached_not_lost))
            outputs_of(s, x, map_at(&s->kept, i));
}

/* ---- the story ------------------------------------------------------------------------------ */

static char *kept(struct bytes b)
{
    char *p = malloc(b.n + 1u);
    if (!p)
        abort();
    if (b.n)
        memcpy(p, b.p, b.n);
    p[b.n] = 0;
    return p;
}

static struct failure *failure_new(void)
{
    struct failure *f = calloc(1, sizeof *f);
    if (!f)
        abort();
    return f;
}

static void remember(struct stage *st, const struct exec *x, const struct rec_report *r)
{
    struct failure *newest = map_get(&st->failed, r->part), *f;
    if (!newest && st->failed.n >= FAILED_MAX)
        return;
    f = failure_new();
    *f = (struct failure){ .next = newest,
                           .attempt = r->attempt,
                           .cause = r->cause,
                           .signal = r->signal,
                           .ms = r->ms,
                           .peak_bytes = r->peak_bytes,
                           .executor = x->name,
                           .words = kept(r->words),
                           .tail = kept(r->tail) };
    map_put(&st->failed, r->part, f);
}

static void failure_free(struct failure *f)
{
    free(f->words);
    free(f->tail);
    free(f);
}

void fail_void(struct stage *st, uint32_t part, uint32_t attempt, const struct exec *x, enum cause cause,
               struct bytes words)
{
    struct failure *f = map_get(&st->voided, part);
    if (!f && st->voided.n >= FAILED_MAX)
        return;
    if (f)
        failure_free(f);
    f = failure_new();
    *f = (struct failure){ .attempt = attempt,
                           .cause = cause,
                           .executor = x->name,
                           .words = kept(words),
                           .tail = kept((struct bytes){ 0 }) };
    map_put(&st->voided, part, f);
}

void fail_forget(struct stage *st, uint32_t part)
{
    struct failure *f = map_get(&st->failed, part), *voided = map_get(&st->voided, part), *next;
    map_del(&st->failed, part);
    map_del(&st->voided, part);
    for (; f; f = next) {
        next = f->next;
        failure_free(f);
    }
    if (voided)
        failure_free(voided);
}

static bool same_words(const struct failure *f, const struct failure *before)
{
    return before && *f->words && f->cause == before->cause && !strcmp(f->words, before->words);
}

/* Words that the attempt before it had too are not said again. */
static void tell_attempt(struct buf *story, const struct failure *f, const struct failure *before)
{
    const char *name = f->signal ? sigabbrev_np((int)f->signal) : NULL;
    buf_printf(story, "  attempt %u on %s: %s", f->attempt, f->executor, cause_name(f->cause));
    if (name)
        buf_printf(story, ", SIG%s", name);
    else if (f->signal)
        buf_printf(story, ", signal %u", f->signal);
    buf_printf(story, ", %llu ms", (unsigned long long)f->ms);
    if (f->peak_bytes)
        buf_printf(story, ", peak %llu MiB", (unsigned long long)((f->peak_bytes + (1u << 20) - 1) >> 20));
    if (same_words(f, before))
        buf_printf(story, ": the same\n");
    else
        buf_printf(story, *f->words ? ": %s\n" : "%s\n", f->words);
}

static void tell_oldest_first(struct buf *story, const struct failure *newest)
{
    const struct failure *told = NULL;
    while (told != newest) {
        const struct failure *f = newest;
        while (f->next != told)
            f = f->next;
        tell_attempt(story, f, told);
        told = f;
    }
}

/* Lines of stderr, each set in. */
static void tell_tail(struct buf *story, const char *tail)
{
    if (*tail)
        buf_printf(story, "  its last lines on stderr:\n");
    while (*tail) {
        size_t n = strcspn(tail, "\n");
        buf_printf(story, "    %.*s\n", (int)n, tail);
        tail += n + (tail[n] == '\n');
    }
}

static void give_up(struct sched *s, struct stage *st, uint32_t part)
{
    const struct failure *newest = map_get(&st->failed, part);
    uint32_t n = (uint32_t)st->tasks[part].failures + st->tasks[part].unstarted;
    jobs_end(s, -1, "stage %u, %s (%s), partition %u/%u, %u attempt%s\n", st->number, st->spec->name,
             st->spec->place, part, st->ntasks, n, n == 1 ? "" : "s");
    if (newest) {
        tell_oldest_first(&s->job->story, newest);
        tell_tail(&s->job->story, newest->tail);
    }
}

void fail_worn_out(struct sched *s, struct stage *st, uint32_t part)
{
    const struct failure *last = map_get(&st->voided, part), *newest = map_get(&st->failed, part);
    jobs_end(s, -1, "stage %u, %s (%s), partition %u/%u was begun %u times and never came to an end\n",
             st->number, st->spec->name, st->spec->place, part, st->ntasks, st->tasks[part].given);
    if (newest)
        tell_oldest_first(&s->job->story, newest);
    if (last) {
        buf_printf(&s->job->story, "  the last that counts for nothing:\n");
        tell_attempt(&s->job->story, last, NULL);
    }
}

/* ---- a report of failure ----------------------------------------------------------------------- */

static void say(struct sched *s, const char *name, const struct exec *x, const struct rec_report *r)
{
    struct sched_event *e = sched_event_add(s, name);
    e->stage = r->stage;
    e->part = r->part;
    e->attempt = r->attempt;
    e->count = 1;
    e->executor = x->name;
    e->words = r->words.n ? sched_text(s, r->words) : cause_name(r->cause);
}

/* Which output could not be fetched?  NULL: not one that this stage reads, but a block of ours. */
static struct stage *fetched_from(struct sched *s, const struct stage *st, const struct rec_report *r)
{
    struct stage *map =
        r->fetch_stage < UINT32_MAX && r->fetch_attempt ? jobs_stage(s, (uint32_t)r->fetch_stage) : NULL;
    for (uint32_t i = 0; map && i < stages_edges(st->spec); i++)
        if (stages_edge(st->spec, i) == map->index && r->fetch_part < map->ntasks)
            return map;
    return NULL;
}

/* Not this task's fault: it waits for the map, which runs again, not where it ran before. */
static void fetch_failed(struct sched *s, struct exec *x, const struct rec_report *r, struct stage *map)
{
    uint32_t part = (uint32_t)r->fetch_part;
    struct task *t = &map->tasks[part];
    say(s, "fetch.failed", x, r);
    if (t->state != TASK_DONE || t->of != r->fetch_attempt || t->flags & TASK_DEAD ||
        map->out_bytes[part] == 0)
        return; /* it is being made again, or was */
    output_lost(s, map, part);
    t->flags |= TASK_AVOID;
    s->job->dirty = true;
}

/* A block of ours that did not get there: our connections' fault, unless we can't read it ourselves. */
static void driver_fetch_failed(struct sched *s, struct exec *x, const struct rec_report *r)
{
    say(s, "fetch.failed", x, r);
    execs_rest(s, x);
}

static bool counts(struct exec *x, enum cause c, const struct stage *map)
{
    if (c == CAUSE_INPUT)
        x->denied = false; /* what we denied was told so */
    if (c == CAUSE_FETCH) {
        bool ours = !map && x->denied;
        x->denied &= !ours;
        return ours || FERRO_PLANT(sched_fetch_counted);
    }
    return c != CAUSE_CANCELLED && c != CAUSE_OK && c != CAUSE_HOST && !FERRO_PLANT(sched_failures_uncounted);
}

static void count(struct sched *s, struct stage *st, struct exec *x, const struct rec_report *r)
{
    st->tasks[r->part].failures++;
    s->job->failed++;
    remember(st, x, r);
    say(s, "task.failed", x, r);
}

/* The executor's fault, not the task's.  It rests, and fetches the libraries anew; one that never does well
 * gives its slots back while others may take its place. */
static void unstarted(struct sched *s, struct stage *st, struct exec *x, const struct rec_report *r)
{
    char words[257];
    st->tasks[r->part].unstarted++;
    x->unstarted++;
    remember(st, x, r);
    say(s, "task.unstarted", x, r);
    execs_rest(s, x);
    stages_raise(s);
    if (x->unstarted >= UNSTARTED_BARS && s->leases.n > x->leases) {
        x->unstarted = 0;
        grants_bad(s, x, ECHILD, bytes_text(r->words, words, sizeof words));
    }
}

/* Where no other executor can be had, what it can't begin fails as soon as what fails there. */
static bool hopeless(const struct sched *s, const struct task *t, const struct exec *x)
{
    uint32_t most = execs_another(s, x) ? UNSTARTED_MAX : s->config.attempts_max;
    return t->failures >= s->config.attempts_max || t->unstarted >= most;
}

/* The executor says that it was over the limit, and we know which. */
static void name_limit(struct sched *s, struct rec_report *r)
{
    char words[257], more[320];
    if (r->cause != CAUSE_TIME || !s->config.time_ms_max)
        return;
    snprintf(more, sizeof more, "%s of %g s", bytes_text(r->words, words, sizeof words),
             s->config.time_ms_max / 1000.0);
    r->words = bytes_of(sched_text(s, bytes_of(more)));
}

void fail_report(struct sched *s, struct stage *st, struct exec *x, const struct rec_report *said)
{
    struct rec_report report = *said, *r = &report;
    if (!attempt_is(st, r->part, x, r->attempt)) {
        s->voided++;
        return;
    }
    name_limit(s, r);
    struct task *t = &st->tasks[r->part];
    struct stage *map = r->cause == CAUSE_FETCH ? fetched_from(s, st, r) : NULL;
    bool counted = counts(x, r->cause, map), host = r->cause == CAUSE_HOST;
    bool other = attempt_end(s, st, r->part, x, r->attempt);
    if (counted)
        count(s, st, x, r);
    else if (host)
        unstarted(s, st, x, r);
    else {
        s->job->reruns++;
        fail_void(st, r->part, r->attempt, x, r->cause, r->words);
    }
    if ((counted || host) && hopeless(s, t, x)) {
        give_up(s, st, r->part);
        return;
    }
    if (!other) {
        t->exec = x->index; /* where it failed: others first */
        attempt_again(s, st, r->part, counted || host);
    }
    if (map)
        fetch_failed(s, x, r, map);
    else if (r->cause == CAUSE_FETCH && !counted)
        driver_fetch_failed(s, x, r);
}
