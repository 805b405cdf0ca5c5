/* copies.c - second attempts for tasks that may never end, and unstarted tasks for idle slots. */
#include "driver/sched/core.h"

#include <string.h>

/* ---- how long tasks take ---------------------------------------------------------------- */

static uint32_t duration_class(uint64_t ns)
{
    if (ns < 4)
        return (uint32_t)ns;
    uint32_t log2 = 63u - (uint32_t)__builtin_clzll(ns);
    return log2 * 4 + (uint32_t)(ns >> (log2 - 2) & 3);
}

static uint64_t class_ns(uint32_t c)
{
    return c < 8 ? c : (4ull + (c & 3)) << (c / 4 - 2);
}

void copies_measure(struct stage *st, uint64_t ns, uint64_t n)
{
    st->durations[duration_class(ns)] += (uint32_t)n;
    st->ndurations += n;
}

static uint64_t median_ns(const struct stage *st)
{
    uint64_t seen = 0;
    for (uint32_t c = 0; c < DURATIONS; c++) {
        seen += st->durations[c];
        if (seen * 2 > st->ndurations)
            return class_ns(c);
    }
    return UINT64_MAX;
}

/* ---- copies ------------------------------------------------------------------------------- */

static bool copy(struct stage *st, const struct exec *x, uint32_t part, uint32_t attempt, uint64_t why)
{
    struct task *t = &st->tasks[part];
    if (t->flags & TASK_COPYING || !attempt_is(st, part, x, attempt) || map_has(&st->copies, part))
        return false;
    t->flags |= TASK_COPYING;
    spans_push(&st->copying, (struct span){ part, 1, why });
    return true;
}

/* Nobody knows whether this executor still works: all of its tasks run elsewhere as well. */
void copies_away(struct sched *s, struct exec *x)
{
    x->copied = true;
    for (uint32_t i = 0; i < x->sent.n / sizeof(struct sent); i++) {
        const struct sent *r = (struct sent *)x->sent.p + i;
        for (uint32_t p = r->first; p < r->first + r->count; p++)
            copy(r->st, x, p, r->attempt, COPY_AWAY);
    }
    if (x->in_flight)
        sched_event_add(s, "tasks.copied")->executor = x->name;
}

static uint32_t straggles(struct sched *s, struct exec *x, uint32_t most)
{
    uint32_t copied = 0;
    for (uint32_t i = 0; i < x->sent.n / sizeof(struct sent) && i < STRAGGLER_LOOKS && copied < most; i++) {
        const struct sent *r = (struct sent *)x->sent.p + i;
        const struct stage *st = r->st;
        uint64_t limit = median_ns(st) / 2 * 3;
        limit = limit > STRAGGLER_NS_MIN ? limit : STRAGGLER_NS_MIN;
        if ((uint64_t)st->done * 4 <= (uint64_t)st->ntasks * 3 || stages_pending(st) ||
            s->now - r->since_ns < limit)
            continue;
        for (uint32_t p = r->first; p < r->first + r->count && copied < most; p++)
            if (copy(r->st, x, p, r->attempt, 0)) {
                struct sched_event *e = sched_event_add(s, "task.straggles");
                *e = (struct sched_event){ e->name, e->app, st->number, p, r->attempt, 1, x->name, NULL };
                copied++;
            }
    }
    return copied;
}

static bool near_the_end(const struct job *j)
{
    for (uint32_t i = 0; i < j->nactive; i++)
        if ((uint64_t)j->active[i]->done * 4 > (uint64_t)j->active[i]->ntasks * 3 && j->active[i]->sent)
            return true;
    return false;
}

void copies_stragglers(struct sched *s)
{
    uint32_t free_slots = 0;
    if (!s->job || s->job->ended || s->job->committing || !near_the_end(s->job))
        return;
    sched_wake(s, s->now + STRAGGLER_EVERY_NS);
    MAP_EACH(&s->hungry, i) {
        const struct exec *x = map_at(&s->hungry, i);
        free_slots += x->in_flight < x->slots ? x->slots - x->in_flight : 0;
    }
    for (uint32_t i = 0; i < s->nexecs && free_slots; i++) {
        struct exec *x = s->execs[i];
        attempts_trim(s, x);
        free_slots -= x->lost ? 0 : straggles(s, x, free_slots);
    }
}

/* ---- moving what has not begun ---------------------------------------------------------------- */

static uint64_t task_ns(const struct job *j)
{
    uint64_t most = 0;
    for (uint32_t i = 0; i < j->nactive; i++) {
        if (j->active[i]->sent && j->active[i]->task_ns == 0)
            return UINT64_MAX; /* unknown: none has ended yet */
        if (j->active[i]->sent && j->active[i]->task_ns > most)
            most = j->active[i]->task_ns;
    }
    return most;
}

/* Its tasks take what they take on average, but no less than its oldest has taken already: behind one long task
 * the short ones wait long. */
static bool worth_moving(const struct sched *s, const struct exec *x, uint64_t excess, uint64_t each_ns)
{
    const struct sent *oldest = (const struct sent *)x->sent.p;
    uint64_t age = x->sent.n ? s->now - oldest->since_ns : 0;
    if (age > each_ns)
        each_ns = age;
    return each_ns == UINT64_MAX || excess * each_ns / x->slots >= RECALL_WORTH_NS;
}

/* When to look at it again, UINT64_MAX: it has nothing to spare. */
static uint64_t recall(struct sched *s, struct exec *x, uint64_t each_ns)
{
    uint64_t fair = ((uint64_t)s->in_flight * x->slots + s->usable_slots - 1) / s->usable_slots;
    uint64_t keep = fair > x->slots ? fair : x->slots;
    if (!x->usable || x->in_flight <= keep)
        return UINT64_MAX;
    if (s->now < x->recall_ns)
        return x->recall_ns;
    if (!worth_moving(s, x, x->in_flight - keep, each_ns))
        return s->rebalance_ns;
    x->recall_ns = s->now + RECALL_EVERY_NS;
    x->recalled_ns = s->now;
    struct msg_recall m = { .app = s->config.app,
                            .stage = UINT32_MAX,
                            .count = (uint32_t)(x->in_flight - keep) };
    links_send(s, x, MSG_RECALL, &m);
    return x->recall_ns;
}

static bool someone_idles(const struct sched *s)
{
    MAP_EACH(&s->hungry, i) {
        const struct exec *x = map_at(&s->hungry, i);
        if (x->in_flight < x->slots)
            return true;
    }
    return false;
}

void copies_rebalance(struct sched *s)
{
    if (s->now < s->rebalance_ns) {
        sched_wake(s, s->rebalance_ns);
        return;
    }
    uint64_t again = UINT64_MAX;
    s->rebalance_ns = s->now + REBALANCE_EVERY_NS;
    if (s->job && !s->job->ended && s->usable_execs > 1 && s->in_flight && !feed_pending(s) &&
        someone_idles(s)) {
        uint64_t each_ns = task_ns(s->job);
        for (uint32_t i = 0; i < s->nexecs; i++) {
            uint64_t at = recall(s, s->execs[i], each_ns);
            again = at < again ? at : again;
        }
    }
    s->rebalance = again != UINT64_MAX;
    if (s->rebalance)
        sched_wake(s, again);
}
