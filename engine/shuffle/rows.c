/* rows.c - see rows.h. */
#include "engine/shuffle/rows.h"

#include "engine/spill/budget.h"
#include "engine/spill/region.h"
#include "engine/types.h"

#define RESERVE_BYTES (64u << 10) /* a step of the budget */
#define ROWS_BYTES_MIN (64u << 10)
#define ROWS_BYTES_MAX (16ull << 30) /* places are u32 numbers of 8 bytes */

static inline uint64_t align8(uint64_t n)
{
    return (n + 7) & ~7ull;
}

/* ---- one row's size ---------------------------------------------------------- */

/* At least as many bytes as the column's longest row has. */
static uint64_t longest_at_most(const struct batch *b, const struct vec *v)
{
    uint32_t last = b->sel ? b->sel[b->rows - 1] : b->rows - 1;
    return v->type == FERRO_TEXT ? v->end[last] - v->first : type_size(v->type);
}

int rows_small(struct run *r, const struct batch *b)
{
    uint64_t most = r->budget / 4;
    most = most > ROW_BYTES_MIN ? most : ROW_BYTES_MIN;
    if (b->rows == 0 || longest_at_most(b, &b->key) + longest_at_most(b, &b->value) <= most)
        return 0;
    for (uint32_t i = 0; i < b->rows; i++) {
        uint32_t row = b->sel ? b->sel[i] : i;
        uint64_t n = vec_at(&b->key, row).n + vec_at(&b->value, row).n;
        if (n > most)
            return run_fail(
                r, CAUSE_MEMORY,
                "a record of %.1f MiB is too large to be shuffled: at most %.1f MiB, an eighth of "
                "its slot's memory",
                (double)n / (1 << 20), (double)most / (1 << 20));
    }
    return 0;
}

/* ---- rows in a region -------------------------------------------------------- */

void rows_init(struct rows *s, struct run *r, fe_type key, fe_type value, bool hashed, uint64_t limit)
{
    limit = limit < ROWS_BYTES_MIN ? ROWS_BYTES_MIN : limit > ROWS_BYTES_MAX ? ROWS_BYTES_MAX : limit;
    *s = (struct rows){ .run = r, .key = key, .value = value, .hashed = hashed, .size = limit };
    s->p = region_take(s->size);
}

/* Within region and budget?  The first row always gets its room. */
static bool make_room(struct rows *s, uint64_t end)
{
    if (end > s->size) {
        if (s->used)
            return false;
        region_give(s->p, s->size, s->touched);
        s->size = end;
        s->touched = 0;
        s->p = region_take(s->size);
    }
    if (end <= s->held)
        return true;
    uint64_t more = (end - s->held + RESERVE_BYTES - 1) / RESERVE_BYTES * RESERVE_BYTES;
    if (!budget_reserve(s->run, more)) {
        if (s->used)
            return false;
        budget_force(s->run, more);
    }
    s->held += more;
    return true;
}

static uint32_t put_elsewhere(struct rows *s, fe_slice value)
{
    uint64_t at = s->used, end = at + 16;
    uint32_t n[2] = { ROW_ELSEWHERE, (uint32_t)value.n };
    if ((end > s->held || end > s->size) && !make_room(s, end))
        return ROWS_FULL;
    memcpy(s->p + at, n, sizeof n);
    memcpy(s->p + at + 8, &value.p, sizeof value.p);
    s->used = end;
    if (end > s->touched)
        s->touched = end;
    return (uint32_t)(at / 8);
}

uint32_t rows_put(struct rows *s, uint64_t hash, fe_slice key, fe_slice value)
{
    if (s->lasting && value.n > sizeof value.p)
        return put_elsewhere(s, value);
    bool sized = s->key == FERRO_TEXT || s->value == FERRO_TEXT;
    uint64_t at = s->used, end = at + s->hashed * 8u + sized * 8u + align8(key.n) + align8(value.n);
    if ((end > s->held || end > s->size) && !make_room(s, end))
        return ROWS_FULL;
    uint8_t *p = s->p + at;
    if (s->hashed) {
        memcpy(p, &hash, 8);
        p += 8;
    }
    if (sized) {
        uint32_t n[2] = { (uint32_t)key.n, (uint32_t)value.n };
        memcpy(p, n, sizeof n);
        p += sizeof n;
    }
    if (key.n)
        memcpy(p, key.p, key.n);
    if (value.n)
        memcpy(p + align8(key.n), value.p, value.n);
    s->used = end;
    if (end > s->touched)
        s->touched = end;
    return (uint32_t)(at / 8);
}

void rows_reset(struct rows *s)
{
    s->used = 0;
    budget_release(s->run, s->held);
    s->held = 0;
}

void rows_fini(struct rows *s)
{
    if (!s->p)
        return;
    rows_reset(s);
    region_give(s->p, s->size, s->touched);
    s->p = NULL;
}
