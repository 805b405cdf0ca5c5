/* spans.c - queues of partitions: a million neighbours are one entry. */
#include "driver/sched/core.h"

#include <string.h>

#define COMPACT_MIN 64

static struct span *at(const struct spans *q, uint32_t i)
{
    return (struct span *)q->v.p + i;
}

static uint32_t count(const struct spans *q)
{
    return (uint32_t)(q->v.n / sizeof(struct span));
}

void spans_push(struct spans *q, struct span s)
{
    uint32_t n = count(q);
    q->tasks += s.count;
    if (n > q->head && s.avoid_until == 0) {
        struct span *last = at(q, n - 1);
        if (last->avoid_until == 0 && last->first + last->count == s.first) {
            last->count += s.count;
            return;
        }
    }
    buf_put(&q->v, &s, sizeof s);
}

bool spans_peek(const struct spans *q, struct span *out)
{
    if (count(q) == q->head)
        return false;
    *out = *at(q, q->head);
    return true;
}

static void compact(struct spans *q)
{
    if (q->head < COMPACT_MIN || q->head < count(q) / 2)
        return;
    memmove(q->v.p, at(q, q->head), q->v.n - q->head * sizeof(struct span));
    q->v.n -= q->head * sizeof(struct span);
    q->head = 0;
}

void spans_pop(struct spans *q, uint32_t n, struct span *out)
{
    struct span *s = at(q, q->head);
    *out = *s;
    out->count = n < s->count ? n : s->count;
    s->first += out->count;
    s->count -= out->count;
    q->tasks -= out->count;
    if (s->count == 0) {
        q->head++;
        compact(q);
    }
}

void spans_fini(struct spans *q)
{
    buf_fini(&q->v);
    *q = (struct spans){ 0 };
}
