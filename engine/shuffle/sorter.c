/* sorter.c - see sorter.h. */
#include "engine/shuffle/sorter.h"

#include "engine/frame.h"
#include "engine/shuffle/columns.h"
#include "engine/spill/budget.h"
#include "engine/spill/region.h"

#define ENTRIES_STEP 1024u                      /* of the budget */
#define ENTRY_BYTES (2 * sizeof(struct sorted)) /* and its spare place */
#define AHEAD 16u                               /* rows that are looked for before they are needed */

void sorter_init(struct sorter *s, struct run *r, const struct order *o, uint64_t limit)
{
    *s = (struct sorter){ .run = r, .order = *o, .limit = limit };
    rows_init(&s->rows, r, o->key, o->value, false, limit);
    s->max = limit / ENTRY_BYTES < ENTRIES_STEP ? ENTRIES_STEP : limit / ENTRY_BYTES;
    s->max = s->max < UINT32_MAX ? s->max : UINT32_MAX;
    s->v = region_take(s->max * sizeof *s->v);
}

static bool entry_room(struct sorter *s)
{
    uint64_t more = ENTRIES_STEP * ENTRY_BYTES;
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
    if (s->n * ENTRY_BYTES == s->held && !entry_room(s))
        return false;
    if (s->n && s->rows.used + s->held > s->limit)
        return false;
    uint32_t place = rows_put(&s->rows, 0, key, value);
    if (place == ROWS_FULL)
        return false;
    struct prefix p = order_prefix(&s->order, key, value, hash);
    s->v[s->n++] = (struct sorted){ p.hi, (uint32_t)(p.lo >> 32), place };
    s->touched = s->n > s->touched ? s->n : s->touched;
    return true;
}

void sorter_sort(struct sorter *s)
{
    struct sorted *spare = region_take(s->max * sizeof *s->v);
    order_sort(&s->order, &s->rows, s->v, s->n, spare);
    region_give(spare, s->max * sizeof *s->v, s->n * sizeof *s->v);
}

/* ---- a run, frame by frame --------------------------------------------------------- */

/* What the next frame takes: rows at..at+rows-1. */
struct cut {
    uint64_t at;
    uint32_t rows;
    size_t keys, values; /* bytes */
};

/* Rows lie anywhere: they are looked for some steps ahead, and are in the cache when they are copied. */
static void frame_cut(const struct sorter *s, uint64_t at, struct cut *c)
{
    struct row row;
    *c = (struct cut){ .at = at };
    for (uint64_t i = at; i < s->n && c->rows < FRAME_ROWS_MAX; i++) {
        if (i + 2 * AHEAD < s->n)
            __builtin_prefetch(s->rows.p + s->v[i + 2 * AHEAD].place * 8ull);
        if (i + AHEAD < s->n) {
            rows_at(&s->rows, s->v[i + AHEAD].place, &row);
            __builtin_prefetch(row.value.p);
            __builtin_prefetch(row.value.p + 64);
            __builtin_prefetch(row.value.p + row.value.n);
        }
        rows_at(&s->rows, s->v[i].place, &row);
        if (c->rows && c->keys + c->values + row.key.n + row.value.n > SORTED_FRAME_BYTES)
            return;
        c->keys += row.key.n;
        c->values += row.value.n;
        c->rows++;
    }
}

static inline void put(uint8_t **to, fe_slice s)
{
    if (s.n)
        memcpy(*to, s.p, s.n);
    *to += s.n;
}

static void frame_fill(const struct sorter *s, const struct cut *c, const struct frame_room *room)
{
    struct row row;
    uint8_t *key = room->keys, *value = room->values;
    const struct sorted *v = s->v + c->at;
    for (uint32_t i = 0; i < c->rows; i++) {
        rows_at(&s->rows, v[i].place, &row);
        put(&key, row.key);
        put(&value, row.value);
        if (room->key_ends)
            room->key_ends[i] = (uint32_t)(key - room->keys);
        if (room->value_ends)
            room->value_ends[i] = (uint32_t)(value - room->values);
        if (room->hashes)
            room->hashes[i] = v[i].hi;
    }
}

static int frame_write(struct sorter *s, const struct cut *c, struct mapfile *to)
{
    uint8_t normal[NORMAL_BYTES_MAX];
    struct frame_room room;
    struct row row;
    bool hashed = s->order.by == BY_HASH && c->keys > (size_t)c->rows * SHORT_KEY_BYTES;
    rows_at(&s->rows, s->v[c->at].place, &row);
    mapfile_note(to, c->rows, normal, order_normal(&s->order, row.key, row.value, normal));
    frame_begin(&to->file.pending, s->order.key, s->order.value, c->rows, c->keys, c->values, hashed, &room);
    frame_fill(s, c, &room);
    frame_end(&to->file.pending, &room, to->codec);
    return spillfile_settle(&to->file);
}

int sorter_flush(struct sorter *s, struct mapfile *to)
{
    struct cut c;
    int failed = mapfile_run(to);
    for (uint64_t at = 0; at < s->n && !failed; at += c.rows) {
        frame_cut(s, at, &c);
        failed = frame_write(s, &c, to);
    }
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
