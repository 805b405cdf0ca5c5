/* runs.c - queues of runs of attempts: a million neighbouring tasks are one entry. */
#include "executor/core/core.h"

#include <string.h>

static struct run *at(const struct runs *q, uint32_t i)
{
    return (struct run *)q->v.p + i;
}

static uint32_t count(const struct runs *q)
{
    return (uint32_t)(q->v.n / sizeof(struct run));
}

static void compact(struct runs *q)
{
    if (q->head < 64 || q->head < count(q) / 2)
        return;
    memmove(q->v.p, at(q, q->head), q->v.n - q->head * sizeof(struct run));
    q->v.n -= q->head * sizeof(struct run);
    q->head = 0;
}

void runs_push(struct runs *q, struct run r)
{
    if (r.count == 0)
        return;
    q->tasks += r.count;
    if (count(q) > q->head) {
        struct run *last = at(q, count(q) - 1);
        if (last->stage == r.stage && last->attempt == r.attempt && last->first + last->count == r.first) {
            last->count += r.count;
            return;
        }
    }
    buf_put(&q->v, &r, sizeof r);
}

bool runs_peek(const struct runs *q, struct run *out)
{
    if (count(q) == q->head)
        return false;
    *out = *at(q, q->head);
    return true;
}

bool runs_pop(struct runs *q, uint32_t most, struct run *out)
{
    if (!runs_peek(q, out))
        return false;
    struct run *r = at(q, q->head);
    if (out->count > most)
        out->count = most;
    r->first += out->count;
    r->count -= out->count;
    q->tasks -= out->count;
    if (r->count == 0) {
        q->head++;
        compact(q);
    }
    return true;
}

/* Cut one task out of entry i. */
static void cut(struct runs *q, uint32_t i, uint32_t part)
{
    struct run *r = at(q, i), after = *r;
    after.first = part + 1;
    after.count = r->first + r->count - after.first;
    r->count = part - r->first;
    q->tasks--;
    if (r->count == 0 && after.count)
        *r = after;
    else if (r->count == 0 && i == q->head)
        q->head++;
    else if (r->count == 0) {
        memmove(r, r + 1, (count(q) - i - 1) * sizeof *r);
        q->v.n -= sizeof *r;
    } else if (after.count) {
        buf_put(&q->v, &after, sizeof after);
        r = at(q, i + 1);
        memmove(r + 1, r, (count(q) - i - 2) * sizeof *r);
        *r = after;
    }
    compact(q);
}

bool runs_take(struct runs *q, uint32_t stage, uint32_t part, uint32_t attempt, struct run *rest)
{
    for (uint32_t i = q->head; i < count(q); i++) {
        struct run *r = at(q, i);
        if (r->stage != stage || r->attempt != attempt || part < r->first || part - r->first >= r->count)
            continue;
        if (rest)
            *rest = (struct run){ stage, part, 1, attempt };
        cut(q, i, part);
        return true;
    }
    return false;
}

void runs_fini(struct runs *q)
{
    buf_fini(&q->v);
    *q = (struct runs){ 0 };
}
