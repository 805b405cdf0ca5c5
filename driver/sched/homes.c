/* homes.c - a task that reads what lies on one executor goes there first.
 *
 * Of the tasks that wait, those that read a partition as it is (STAGE_ROWS) stand in a queue of that partition's
 * executor.  Others have them when it is lost, or will not begin them soon.
 */
#include "driver/sched/core.h"

#include <stdlib.h>
#include <string.h>

#define HOME_WAIT_NS (100 * MS) /* longer than it takes to pull an ordinary partition is not worth waiting */
#define HOME_LOOKS 8u           /* queues of others that are looked at for one executor */

struct home {
    struct spans parts;
    uint64_t fed_ns; /* when its executor had some of them last, or could first */
};

static void home_free(struct stage *st, uint32_t exec)
{
    struct home *h = map_get(&st->homes, exec);
    map_del(&st->homes, exec);
    spans_fini(&h->parts);
    free(h);
}

void homes_clear(struct stage *st)
{
    MAP_EACH(&st->homes, i)
        home_free(st, (uint32_t)map_key(&st->homes, i));
    map_fini(&st->homes);
    st->homed = 0;
}

/* ---- who lies where ----------------------------------------------------------------------- */

static const struct stage *rows_of(const struct sched *s, const struct stage *st, uint32_t input)
{
    uint32_t parent = st->spec->inputs[input].shuffle;
    const struct stage *rows = parent == STAGE_NO_SHUFFLE ? NULL : s->job->stages[parent];
    return rows && rows->spec->kind == STAGE_ROWS ? rows : NULL;
}

static void put(struct sched *s, struct stage *st, uint32_t part, uint32_t exec)
{
    struct home *h = map_get(&st->homes, exec);
    if (!h) {
        if (!(h = calloc(1, sizeof *h)))
            abort();
        h->fed_ns = s->now;
        map_put(&st->homes, exec, h);
    }
    spans_push(&h->parts, (struct span){ part, 1, 0 });
    st->homed++;
}

/* Those of `span` that belong to one input, which begins at partition `first` of the stage. */
static void put_span(struct sched *s, struct stage *st, uint32_t input, uint64_t first, struct span span)
{
    const struct stage *rows = rows_of(s, st, input);
    if (!rows) {
        spans_push(&st->again, span);
        return;
    }
    for (uint32_t p = span.first; p < span.first + span.count; p++) {
        uint32_t part = (uint32_t)(p - first);
        if (stages_lies(rows, part))
            put(s, st, p, rows->tasks[part].exec);
        else
            spans_push(&st->again, (struct span){ p, 1, 0 });
    }
}

static void put_all(struct sched *s, struct stage *st, struct span span)
{
    uint64_t first = 0;
    for (uint32_t i = 0; i < st->ninputs && span.count; first += st->inputs[i++].ntasks) {
        uint64_t end = first + st->inputs[i].ntasks;
        if (span.first >= end)
            continue;
        struct span mine = span;
        mine.count = span.count < end - span.first ? span.count : (uint32_t)(end - span.first);
        put_span(s, st, i, first, mine);
        span.first += mine.count;
        span.count -= mine.count;
    }
}

static void move_all(struct spans *from, struct spans *to)
{
    struct span span;
    while (spans_peek(from, &span)) {
        spans_pop(from, span.count, &span);
        spans_push(to, span);
    }
}

/* All that waits, in one queue; what avoids an executor stays where it is. */
static struct spans gather(struct stage *st)
{
    struct spans waiting = st->again;
    st->again = (struct spans){ 0 };
    if (st->fresh < st->limit)
        spans_push(&waiting, (struct span){ st->fresh, st->limit - st->fresh, 0 });
    st->fresh = st->limit;
    MAP_EACH(&st->homes, i)
        move_all(&((struct home *)map_at(&st->homes, i))->parts, &waiting);
    homes_clear(st);
    return waiting;
}

void homes_make(struct sched *s, struct stage *st)
{
    struct span span;
    bool any = false;
    for (uint32_t i = 0; i < st->ninputs; i++)
        any |= rows_of(s, st, i) != NULL;
    if (!any || st->rows || s->job->ended) /* a take goes by order alone */
        return;
    struct spans waiting = gather(st);
    while (spans_peek(&waiting, &span)) {
        spans_pop(&waiting, span.count, &span);
        if (span.avoid_until)
            spans_push(&st->again, span);
        else
            put_all(s, st, span);
    }
    spans_fini(&waiting);
}

/* ---- who may have them ---------------------------------------------------------------------- */

static void take(struct stage *st, uint32_t exec, uint32_t room, struct span *out)
{
    struct home *h = map_get(&st->homes, exec);
    spans_pop(&h->parts, room, out);
    st->homed -= out->count;
    if (h->parts.tasks == 0)
        home_free(st, exec);
}

bool homes_next(struct sched *s, const struct exec *x, struct stage *st, uint32_t room, struct span *out)
{
    struct home *h = st->homed ? map_get(&st->homes, x->index) : NULL;
    if (!h)
        return false;
    h->fed_ns = s->now;
    take(st, x->index, room, out);
    return true;
}

/* On the same host all is as near: there only the slots decide. */
static bool may_have(struct sched *s, const struct exec *x, const struct stage *st, const struct home *h,
                     const struct exec *there)
{
    bool near = there->usable && !strcmp(there->host_id, x->host_id);
    uint64_t wait = near ? AHEAD_NS : HOME_WAIT_NS;
    uint64_t left =
        there->usable ? (uint64_t)((unsigned __int128)h->parts.tasks * st->task_ns / there->slots) : 0;
    uint64_t since = there->usable && there->idle_ns > h->fed_ns ? there->idle_ns : h->fed_ns;
    if (there->lost || left > wait || s->now >= since + wait)
        return true;
    sched_wake(s, since + wait);
    return false;
}

bool homes_other(struct sched *s, const struct exec *x, struct stage *st, uint32_t room, struct span *out)
{
    for (uint32_t looks = 0; st->homed && looks < HOME_LOOKS && looks < st->homes.n; looks++) {
        uint32_t i = map_next(&st->homes, st->homes_at);
        if (i == UINT32_MAX)
            i = map_next(&st->homes, 0);
        uint32_t exec = (uint32_t)map_key(&st->homes, i);
        if (may_have(s, x, st, map_at(&st->homes, i), s->execs[exec])) {
            take(st, exec, room, out);
            return true;
        }
        st->homes_at = i + 1;
    }
    return false;
}
