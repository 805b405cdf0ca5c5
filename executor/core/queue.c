/* queue.c - an application's unstarted tasks: by stage, in order, no task twice.
 *
 * Whatever a driver asks for in one message costs what it names and one pass over
 * the stages that it names, never their product: lists are put in order first.
 */
#include "executor/core/core.h"

#include <stdlib.h>
#include <string.h>

/* ---- lists of runs ---------------------------------------------------------- */

static uint64_t end_of(const struct run *r)
{
    return (uint64_t)r->first + r->count;
}

/* Before, in, or after: stages and attempts first. */
static int class_cmp(const struct run *a, const struct run *b)
{
    if (a->stage != b->stage)
        return a->stage < b->stage ? -1 : 1;
    return (a->attempt > b->attempt) - (a->attempt < b->attempt);
}

static int run_cmp(const void *pa, const void *pb)
{
    const struct run *a = pa, *b = pb;
    int c = class_cmp(a, b);
    return c ? c : (a->first > b->first) - (a->first < b->first);
}

/* Whole before `b`, with nothing in common. */
static bool before(const struct run *a, const struct run *b)
{
    int c = class_cmp(a, b);
    return c ? c < 0 : end_of(a) <= b->first;
}

/* Joined to the last one where it touches that; they come in order. */
static void append(struct buf *out, struct run r)
{
    struct run *last = out->n ? (struct run *)(out->p + out->n) - 1 : NULL;
    if (!last || class_cmp(last, &r) || end_of(last) < r.first)
        buf_put(out, &r, sizeof r);
    else if (end_of(&r) > end_of(last))
        last->count = (uint32_t)(end_of(&r) - last->first);
}

uint32_t runs_sort(struct run *v, uint32_t n)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (v[i].count > UINT32_MAX - v[i].first) /* the last number is no task's */
            v[i].count = UINT32_MAX - v[i].first;
        if (v[i].count)
            v[kept++] = v[i];
    }
    if (kept)
        qsort(v, kept, sizeof *v, run_cmp);
    struct buf out = { .p = (uint8_t *)v, .cap = kept * sizeof *v }; /* never more than were read */
    for (uint32_t i = 0; i < kept; i++)
        append(&out, v[i]);
    return (uint32_t)(out.n / sizeof *v);
}

uint32_t runs_find(const struct run *v, uint32_t n, uint32_t from, struct run what)
{
    uint32_t to = n;
    while (from < to) {
        uint32_t middle = from + (to - from) / 2;
        if (before(&v[middle], &what))
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

bool runs_meet(const struct run *a, const struct run *b)
{
    return !class_cmp(a, b) && a->first < end_of(b) && b->first < end_of(a);
}

/* ---- a stage's ------------------------------------------------------------------ */

static struct run *entries(const struct runs *s)
{
    return (struct run *)s->v.p + s->head;
}

static void put_all(struct buf *out, const struct run *v, uint32_t n)
{
    if (n == 0)
        return;
    append(out, *v);
    buf_put(out, v + 1, (n - 1) * sizeof *v); /* in order and apart already */
}

/* It has these now; the queue counts them. */
static void stage_set(struct queue *q, struct runs *s, struct buf *v)
{
    q->tasks -= s->tasks;
    q->entries -= runs_entries(s);
    buf_fini(&s->v);
    *s = (struct runs){ .v = *v };
    for (uint32_t i = 0, n = runs_entries(s); i < n; i++)
        s->tasks += entries(s)[i].count;
    q->tasks += s->tasks;
    q->entries += runs_entries(s);
}

static void stage_settle(struct queue *q, uint32_t stage, struct runs *s)
{
    if (s->tasks)
        return;
    map_del(&q->stages, stage);
    runs_fini(s);
    free(s);
}

static void stage_put(struct queue *q, struct runs *s, const struct run *v, uint32_t n)
{
    struct buf out = { 0 };
    uint32_t had = runs_entries(s), at = 0;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t to = runs_find(entries(s), had, at, v[i]);
        put_all(&out, entries(s) + at, to - at);
        at = to;
        append(&out, v[i]);
        while (at < had && !class_cmp(&entries(s)[at], &v[i]) && entries(s)[at].first < end_of(&v[i]))
            append(&out, entries(s)[at++]);
    }
    put_all(&out, entries(s) + at, had - at);
    stage_set(q, s, &out);
}

/* What of `r` is not in the runs v: into `out`.  How many of v it reaches beyond. */
static uint32_t cut(struct run r, const struct run *v, uint32_t n, struct buf *out)
{
    uint32_t i = 0;
    uint64_t end = end_of(&r);
    for (; i < n && runs_meet(&v[i], &r); i++) {
        struct run left = { r.stage, r.first, 0, r.attempt };
        left.count = v[i].first > r.first ? v[i].first - r.first : 0;
        if (left.count)
            buf_put(out, &left, sizeof left);
        if (end_of(&v[i]) >= end)
            return i;
        r.first = (uint32_t)end_of(&v[i]);
        r.count = (uint32_t)(end - r.first);
    }
    buf_put(out, &r, sizeof r);
    return i;
}

static void stage_remove(struct queue *q, struct runs *s, const struct run *v, uint32_t n)
{
    struct buf out = { 0 };
    const struct run *e = entries(s);
    uint32_t had = runs_entries(s), at = 0, done = 0;
    for (uint32_t i = 0; i < n && at < had;) {
        at = runs_find(e, had, at, v[i]);
        if (at == had)
            break;
        if (!runs_meet(&e[at], &v[i])) {
            i++;
            continue;
        }
        put_all(&out, e + done, at - done);
        i += cut(e[at], v + i, n - i, &out);
        done = ++at;
    }
    if (done == 0)
        return;
    put_all(&out, e + done, had - done);
    stage_set(q, s, &out);
}

/* ---- the queue -------------------------------------------------------------------- */

/* How many of v, from its beginning, are of one stage. */
static uint32_t of_one_stage(const struct run *v, uint32_t n)
{
    uint32_t i = 0;
    while (i < n && v[i].stage == v->stage)
        i++;
    return i;
}

void queue_put(struct queue *q, struct run *v, uint32_t n)
{
    n = runs_sort(v, n);
    for (uint32_t some; n; v += some, n -= some) {
        struct runs *s = map_get(&q->stages, v->stage);
        some = of_one_stage(v, n);
        if (!s) {
            if (!(s = calloc(1, sizeof *s)))
                abort();
            map_put(&q->stages, v->stage, s);
        }
        stage_put(q, s, v, some);
    }
}

void queue_remove(struct queue *q, const struct run *v, uint32_t n)
{
    for (uint32_t some; n; v += some, n -= some) {
        uint32_t stage = v->stage;
        struct runs *s = map_get(&q->stages, stage);
        some = of_one_stage(v, n);
        if (!s)
            continue;
        stage_remove(q, s, v, some);
        stage_settle(q, stage, s);
    }
}

bool queue_peek(const struct queue *q, struct run *out)
{
    uint32_t i = map_next(&q->stages, 0);
    return i != UINT32_MAX && runs_peek(map_at(&q->stages, i), out);
}

bool queue_pop(struct queue *q, uint32_t stage, uint32_t most, struct run *out)
{
    uint32_t i = map_next(&q->stages, 0);
    struct runs *s = stage != UINT32_MAX ? map_get(&q->stages, stage)
                     : i != UINT32_MAX   ? map_at(&q->stages, i)
                                         : NULL;
    if (!s)
        return false;
    uint32_t had = runs_entries(s);
    if (!runs_pop(s, most, out))
        return false;
    q->tasks -= out->count;
    q->entries -= had - runs_entries(s);
    stage_settle(q, out->stage, s);
    return true;
}

void queue_list(const struct queue *q, struct buf *out)
{
    MAP_EACH(&q->stages, i) {
        const struct runs *s = map_at(&q->stages, i);
        buf_put(out, entries(s), runs_entries(s) * sizeof(struct run));
    }
}

void queue_fini(struct queue *q)
{
    MAP_EACH(&q->stages, i) {
        runs_fini(map_at(&q->stages, i));
        free(map_at(&q->stages, i));
    }
    map_fini(&q->stages);
    *q = (struct queue){ 0 };
}
