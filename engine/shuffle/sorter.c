/* sorter.c - see sorter.h. */
#include "engine/shuffle/sorter.h"

#include "engine/frame.h"
#include "engine/shuffle/columns.h"
#include "engine/spill/budget.h"
#include "engine/spill/region.h"

#define ENTRIES_STEP 1024u /* of the budget */

void sorter_init(struct sorter *s, struct run *r, const struct order *o, uint64_t limit)
{
    *s = (struct sorter){ .run = r, .order = *o, .limit = limit };
    rows_init(&s->rows, r, o->key, o->value, false, limit);
    s->max = limit / sizeof *s->v < ENTRIES_STEP ? ENTRIES_STEP : limit / sizeof *s->v;
    s->v = region_take(s->max * sizeof *s->v);
}

static bool entry_room(struct sorter *s)
{
    uint64_t more = ENTRIES_STEP * sizeof *s->v;
    if (s->n == s->max || (s->n && s->rows.used + s->held + more > s->limit))
        return false;
    if (!budget_reserve(s->run, more)) {
        if (s->n)
            return false;
        budget_force(s->run, more);
    }
    s->held += more;
    return true;
}

bool sorter_put(struct sorter *s, fe_slice key, fe_slice value, uint64_t hash)
{
    if (s->n * sizeof *s->v == s->held && !entry_room(s))
        return false;
    if (s->n && s->rows.used + s->held > s->limit)
        return false;
    uint32_t place = rows_put(&s->rows, 0, key, value);
    if (place == ROWS_FULL)
        return false;
    s->v[s->n++] = (struct sorted){ order_prefix(&s->order, key, value, hash), place };
    s->touched = s->n > s->touched ? s->n : s->touched;
    return true;
}

void sorter_sort(struct sorter *s)
{
    order_sort(&s->order, &s->rows, s->v, s->n);
}

static int flush_frame(struct sorter *s, struct columns *c, struct mapfile *to)
{
    uint8_t normal[NORMAL_BYTES_MAX];
    struct batch b;
    columns_batch(c, &b);
    uint32_t n = order_normal(&s->order, vec_at(&b.key, 0), vec_at(&b.value, 0), normal);
    int failed = mapfile_put(to, &b, normal, n);
    columns_reset(c);
    return failed;
}

int sorter_flush(struct sorter *s, struct mapfile *to)
{
    struct columns c;
    struct row row;
    int failed = mapfile_run(to);
    columns_init(&c, s->order.key, s->order.value, s->order.by == BY_HASH);
    for (uint64_t i = 0; i < s->n && !failed; i++) {
        if (i + 8 < s->n)
            __builtin_prefetch(s->rows.p + s->v[i + 8].place * 8);
        rows_at(&s->rows, (uint32_t)s->v[i].place, &row);
        if (columns_full(&c, row.key.n + row.value.n, FRAME_ROWS_MAX, SORTED_FRAME_BYTES))
            failed = flush_frame(s, &c, to);
        columns_put(&c, row.key, row.value, s->v[i].prefix.hi);
    }
    if (c.rows && !failed)
        failed = flush_frame(s, &c, to);
    columns_fini(&c);
    rows_reset(&s->rows);
    budget_release(s->run, s->held);
    s->n = s->held = 0;
    return failed ? -1 : 0;
}

void sorter_fini(struct sorter *s)
{
    if (!s->v)
        return;
    rows_fini(&s->rows);
    budget_release(s->run, s->held);
    region_give(s->v, s->max * sizeof *s->v, s->touched * sizeof *s->v);
    *s = (struct sorter){ 0 };
}
