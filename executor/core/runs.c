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

uint32_t runs_entries(const struct runs *q)
{
    return count(q) - q->head;
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

/* ---- removing from the middle ---------------------------------------------- */

/* Cut `piece` out of entry i; the index of the entry after what is left of it. */
static uint32_t cut(struct runs *q, uint32_t i, struct run piece)
{
    struct run *r = at(q, i), after = *r;
    after.first = piece.first + piece.count;
    after.count = r->first + r->count - after.first;
    r->count = piece.first - r->first;
    q->tasks -= piece.count;
    if (r->count && after.count) {
        buf_put(&q->v, &after, sizeof after); /* for its room */
        r = at(q, i + 1);
        memmove(r + 1, r, (count(q) - i - 2) * sizeof *r);
        *r = after;
        return i + 2;
    }
    if (r->count == 0 && after.count)
        *r = after;
    else if (r->count == 0 && i == q->head)
        q->head++;
    else if (r->count == 0) {
        memmove(r, r + 1, (count(q) - i - 1) * sizeof *r);
        q->v.n -= sizeof *r;
        return i;
    }
    return i + 1;
}

/* What `what` and the entry have in common; count 0: nothing. */
static struct run common(const struct run *r, struct run what)
{
    uint32_t first = r->first > what.first ? r->first : what.first;
    uint64_t end = (uint64_t)r->first + r->count, other = (uint64_t)what.first + what.count;
    if (other < end)
        end = other;
    if (r->stage != what.stage || r->attempt != what.attempt || end <= first)
        return (struct run){ 0 };
    return (struct run){ what.stage, first, (uint32_t)(end - first), what.attempt };
}

uint64_t runs_remove(struct runs *q, struct run what, struct buf *removed)
{
    uint64_t n = 0;
    for (uint32_t i = q->head; i < count(q) && n < what.count;) {
        struct run piece = common(at(q, i), what);
        if (piece.count == 0) {
            i++;
            continue;
        }
        n += piece.count;
        if (removed)
            buf_put(removed, &piece, sizeof piece);
        i = cut(q, i, piece);
    }
    compact(q);
    return n;
}

void runs_fini(struct runs *q)
{
    buf_fini(&q->v);
    *q = (struct runs){ 0 };
}
