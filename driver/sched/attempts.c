/* attempts.c - which attempts count: a task knows those of its own that are alive.
 *
 * One runs, and at most one more beside it (copies).  An attempt that its task does
 * not know is void, whoever reports it and whatever of: a lost executor's, a
 * cancelled one, one that came second.
 */
#include "driver/sched/core.h"

#include <string.h>

static uint64_t packed(const struct exec *x, uint32_t attempt)
{
    return (uint64_t)x->index << 8 | attempt;
}

uint64_t attempts_key(const struct stage *st, uint32_t part, uint32_t attempt)
{
    return (uint64_t)st->index << 40 | (uint64_t)part << 8 | attempt;
}

bool attempt_is(const struct stage *st, uint32_t part, const struct exec *x, uint32_t attempt)
{
    const struct task *t = &st->tasks[part];
    uint64_t copy;
    if (t->state != TASK_SENT)
        return false;
    if (t->exec == x->index && t->of == attempt)
        return true;
    return st->copies.n && map_get_u64(&st->copies, part, &copy) && copy == packed(x, attempt);
}

uint32_t attempt_new(struct sched *s, struct stage *st, uint32_t part, struct exec *x)
{
    struct task *t = &st->tasks[part];
    uint32_t attempt = ATTEMPT_FIRST + t->given++;
    if (t->state == TASK_SENT)
        map_put_u64(&st->copies, part, packed(x, attempt));
    else {
        t->state = TASK_SENT;
        t->exec = x->index;
        t->of = (uint8_t)attempt;
        t->flags &= (uint8_t)~TASK_AVOID;
    }
    st->sent++;
    x->given++;
    x->in_flight++;
    s->in_flight++;
    if (t->given >= ATTEMPTS_ALL_MAX)
        fail_worn_out(s, st, part);
    return attempt;
}

bool attempt_end(struct sched *s, struct stage *st, uint32_t part, struct exec *x, uint32_t attempt)
{
    struct task *t = &st->tasks[part];
    uint64_t copy;
    bool two = st->copies.n && map_get_u64(&st->copies, part, &copy);
    st->sent--;
    s->in_flight--;
    if (--x->in_flight == 0)
        x->idle_ns = s->now;
    if (!two)
        return false;
    map_del(&st->copies, part);
    if (copy != packed(x, attempt)) { /* the other takes its place */
        t->exec = (uint16_t)(copy >> 8);
        t->of = (uint8_t)copy;
    }
    return true;
}

void attempt_again(struct sched *s, struct stage *st, uint32_t part, bool avoid)
{
    struct task *t = &st->tasks[part];
    t->state = TASK_PENDING;
    if (avoid)
        t->flags |= TASK_AVOID;
    spans_push(&st->again, (struct span){ part, 1, avoid ? s->now + AVOID_NS : 0 });
    if (!avoid)
        return;
    if (s->now >= s->avoid_ns)
        s->avoid_slots = s->granted + 1ull;
    s->avoid_ns = s->now + AVOID_NS;
    sched_wake(s, s->avoid_ns);
    mgr_ask(s, false); /* before the retry is fed: who waits knows whether another executor may come */
}

static void lost(struct sched *s, const struct sent *r, uint32_t part, struct exec *x, bool begun)
{
    fail_void(r->st, part, r->attempt, x, CAUSE_CANCELLED, bytes_of("the executor was lost, or forgot it"));
    if (attempt_end(s, r->st, part, x, r->attempt))
        return;
    s->job->reruns += begun;
    attempt_again(s, r->st, part, false);
}

static void cancel(struct sched *s, struct exec *x, const struct stage *st, uint32_t part, uint32_t attempt)
{
    struct rec_run r = { st->number, part, 1, attempt };
    struct rec_run *last = x->cancels.n ? (struct rec_run *)(x->cancels.p + x->cancels.n) - 1 : NULL;
    if (last && last->stage == r.stage && last->attempt == attempt && last->first + last->count == part)
        last->count++;
    else
        buf_put(&x->cancels, &r, sizeof r);
    execs_touch(s, x);
}

void attempt_cancel_others(struct sched *s, struct stage *st, uint32_t part)
{
    struct task *t = &st->tasks[part];
    struct exec *x = s->execs[t->exec];
    uint32_t attempt = t->of;
    cancel(s, x, st, part, attempt);
    attempt_end(s, st, part, x, attempt);
    execs_hungry(s, x);
}

/* ---- what was sent to one executor ------------------------------------------------ */

static struct sent *sent_at(const struct exec *x, uint32_t i)
{
    return (struct sent *)x->sent.p + i;
}

/* Take off both ends what has ended.  When the first goes, the next ones can have begun only now. */
static void trim_one(struct sched *s, const struct exec *x, struct sent *r)
{
    uint32_t first = r->first;
    while (r->count && !attempt_is(r->st, r->first, x, r->attempt)) {
        r->first++;
        r->count--;
    }
    while (r->count && !attempt_is(r->st, r->first + r->count - 1, x, r->attempt))
        r->count--;
    if (r->first != first)
        r->since_ns = s->now;
}

void attempts_trim(struct sched *s, struct exec *x)
{
    uint32_t n = (uint32_t)(x->sent.n / sizeof(struct sent)), kept = 0;
    for (uint32_t i = 0; i < n; i++) {
        struct sent *r = sent_at(x, i);
        trim_one(s, x, r);
        if (r->count)
            *sent_at(x, kept++) = *r;
    }
    x->sent.n = kept * sizeof(struct sent);
}

void attempts_lose(struct sched *s, struct exec *x, const struct map *live)
{
    uint32_t n = (uint32_t)(x->sent.n / sizeof(struct sent));
    uint32_t begun =
        live ? 0 : x->slots_most; /* the oldest ran; what else is lost was waiting or on its way */
    for (uint32_t i = 0; i < n; i++) {
        const struct sent r = *sent_at(x, i);
        for (uint32_t p = r.first; p < r.first + r.count; p++)
            if (attempt_is(r.st, p, x, r.attempt) &&
                !(live && map_has(live, attempts_key(r.st, p, r.attempt)))) {
                lost(s, &r, p, x, begun > 0);
                begun -= begun > 0;
            }
    }
    attempts_trim(s, x);
}

void attempts_cancel_all(struct sched *s, struct exec *x)
{
    uint32_t n = (uint32_t)(x->sent.n / sizeof(struct sent));
    for (uint32_t i = 0; i < n; i++) {
        const struct sent r = *sent_at(x, i);
        for (uint32_t p = r.first; p < r.first + r.count; p++)
            if (attempt_is(r.st, p, x, r.attempt))
                cancel(s, x, r.st, p, r.attempt);
    }
    buf_reset(&x->sent);
    s->in_flight -= x->in_flight;
    x->in_flight = 0;
    x->idle_ns = s->now;
    execs_hungry(s, x);
}
