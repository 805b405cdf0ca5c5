/* feed.c - tasks to executors: in turn, in ranges, a little ahead of need.
 *
 * An executor is filled again when half of what it may hold is done, and never beyond
 * its share of all that is unfinished, so that few long tasks spread over all slots.
 */
#include "driver/sched/core.h"

#include <string.h>

uint64_t feed_pending(struct sched *s)
{
    uint64_t n = 0;
    for (uint32_t i = 0; s->job && i < s->job->nactive; i++)
        n += stages_pending(s->job->active[i]);
    return n;
}

static uint32_t window(const struct exec *x, const struct stage *st)
{
    uint64_t n = 2ull * x->slots, by_time = st->task_ns ? AHEAD_NS * x->slots / st->task_ns : 0;
    if (by_time > n)
        n = by_time;
    return n > AHEAD_MAX ? AHEAD_MAX : (uint32_t)n;
}

/* ---- who may have a retry ------------------------------------------------------------ */

static bool other_host(const struct sched *s, const struct exec *x, const char *host_id)
{
    for (uint32_t i = 0; i < s->nexecs; i++)
        if (s->execs[i]->usable && s->execs[i] != x && strcmp(s->execs[i]->host_id, host_id) != 0)
            return true;
    return false;
}

/* It failed there: not again on that executor, nor on its host, while there are others, or some may come.  What
 * could not even begin there never goes back while others can have it. */
static bool avoids(const struct sched *s, const struct exec *x, const struct stage *st, const struct span *r)
{
    const struct task *t = &st->tasks[r->first];
    bool waited = r->avoid_until <= s->now && !(t->unstarted && s->usable_execs > 1);
    if (r->avoid_until == 0 || waited || !(t->flags & TASK_AVOID))
        return false;
    const struct exec *there = s->execs[t->exec];
    if (there == x)
        return s->usable_execs > 1 || execs_another(s, x);
    return !strcmp(there->host_id, x->host_id) && other_host(s, x, x->host_id);
}

/* The next span that x may have: at most `room` tasks. */
static bool next_again(const struct sched *s, const struct exec *x, struct stage *st, uint32_t room,
                       struct span *out)
{
    for (uint32_t i = 0; i < AVOID_LOOKS && spans_peek(&st->again, out); i++) {
        if (!avoids(s, x, st, out)) {
            spans_pop(&st->again, room, out);
            return true;
        }
        spans_pop(&st->again, out->count, out);
        spans_push(&st->again, *out);
    }
    return false;
}

static bool next_fresh(struct stage *st, uint32_t room, struct span *out)
{
    if (st->fresh >= st->limit)
        return false;
    *out = (struct span){ st->fresh, st->limit - st->fresh, 0 };
    if (out->count > room)
        out->count = room;
    st->fresh += out->count;
    return true;
}

/* First those that read what lies there; last those that read what lies elsewhere. */
static bool next_span(struct sched *s, const struct exec *x, struct stage *st, uint32_t room,
                      struct span *out)
{
    return homes_next(s, x, st, room, out) || (st->again.tasks && next_again(s, x, st, room, out)) ||
           next_fresh(st, room, out) || homes_other(s, x, st, room, out);
}

/* ---- sending --------------------------------------------------------------------------- */

static void add_range(struct sched *s, struct exec *x, struct stage *st, struct buf *ranges, uint32_t part,
                      uint32_t attempt)
{
    struct rec_range r = { part, 1, attempt };
    struct rec_range *last = ranges->n ? (struct rec_range *)(ranges->p + ranges->n) - 1 : NULL;
    if (last && last->attempt == attempt && last->first + last->count == part) {
        last->count++;
        ((struct sent *)(x->sent.p + x->sent.n) - 1)->count++;
        return;
    }
    struct sent sent = { st, part, 1, attempt, s->now };
    buf_put(ranges, &r, sizeof r);
    buf_put(&x->sent, &sent, sizeof sent);
}

static void send_ranges(struct sched *s, struct exec *x, struct stage *st, const struct buf *ranges)
{
    struct msg_tasks m = { .app = s->config.app, .stage = st->number, .version = st->version };
    m.ranges.v = (const struct rec_range *)ranges->p;
    m.ranges.n = (uint32_t)(ranges->n / sizeof(struct rec_range));
    if (m.ranges.n == 0)
        return;
    links_send(s, x, MSG_TASKS, &m);
    s->task_messages++;
}

static uint32_t feed_stage(struct sched *s, struct exec *x, struct stage *st, uint32_t room)
{
    struct buf ranges = { 0 };
    struct span span;
    uint32_t left = room;
    if (!stages_tell(s, x, st))
        return 0;
    while (left && next_span(s, x, st, left, &span)) {
        for (uint32_t p = span.first; p < span.first + span.count; p++)
            add_range(s, x, st, &ranges, p, attempt_new(s, st, p, x));
        left -= span.count;
    }
    send_ranges(s, x, st, &ranges);
    buf_fini(&ranges);
    return room - left;
}

static bool copy_wanted(const struct sched *s, const struct stage *st, const struct span *c)
{
    const struct task *t = &st->tasks[c->first];
    const struct exec *first = s->execs[t->exec];
    bool back = c->avoid_until == COPY_AWAY && first->attached && !first->suspect;
    return t->state == TASK_SENT && !back && !map_has(&st->copies, c->first);
}

/* Second attempts, where the first doesn't run here. */
static uint32_t feed_copies(struct sched *s, struct exec *x, struct stage *st, uint32_t room)
{
    struct buf ranges = { 0 };
    struct span span;
    uint32_t left = room;
    if (!stages_tell(s, x, st))
        return 0;
    for (uint32_t looks = 0; left && looks < AVOID_LOOKS + room && spans_peek(&st->copying, &span); looks++) {
        spans_pop(&st->copying, 1, &span);
        struct task *t = &st->tasks[span.first];
        bool wanted = copy_wanted(s, st, &span);
        if (wanted && t->exec == x->index) {
            spans_push(&st->copying, span);
            continue;
        }
        t->flags &= (uint8_t)~TASK_COPYING;
        if (!wanted)
            continue;
        add_range(s, x, st, &ranges, span.first, attempt_new(s, st, span.first, x));
        left--;
    }
    send_ranges(s, x, st, &ranges);
    buf_fini(&ranges);
    return room - left;
}

/* Slots that are granted count, though their executor isn't attached yet: it will be in a moment. */
static uint32_t share(const struct sched *s, const struct exec *x, uint64_t unfinished)
{
    uint64_t slots = s->granted > s->usable_slots ? s->granted : s->usable_slots;
    uint64_t n = (unfinished * x->slots + slots - 1) / slots;
    return n > AHEAD_MAX ? AHEAD_MAX : (uint32_t)n;
}

static void feed_one(struct sched *s, struct exec *x, uint64_t unfinished)
{
    uint32_t most = share(s, x, unfinished);
    for (uint32_t i = 0; i < s->job->nactive && !s->job->ended; i++) {
        struct stage *st = s->job->active[i];
        uint32_t full = window(x, st), target = full < most ? full : most;
        if (x->in_flight * 2 > full) {
            map_del(&s->hungry, x->index);
            return;
        }
        if (x->in_flight < target && stages_pending(st) && st->pulling < PULLS_WAITING_MAX)
            feed_stage(s, x, st, target - x->in_flight);
        if (x->in_flight < full && st->copying.tasks && !s->job->ended)
            feed_copies(s, x, st, full - x->in_flight);
    }
}

static uint64_t copies_waiting(const struct sched *s)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i < s->job->nactive; i++)
        n += s->job->active[i]->copying.tasks;
    return n;
}

void feed(struct sched *s)
{
    uint64_t pending = s->job && !s->job->ended ? feed_pending(s) : 0;
    if (!s->job || s->job->ended || s->usable_slots == 0 || (!pending && !copies_waiting(s)))
        return;
    MAP_EACH(&s->hungry, i) {
        if (s->job->ended)
            return;
        feed_one(s, map_at(&s->hungry, i), pending + s->in_flight);
    }
}
