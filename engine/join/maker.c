/* maker.c - see maker.h.
 *
 * Making a lookup is a counting sort by the directory's entries, then a small sort within each.  A map's rows come in the
 * order of their buckets, which are stretches of the directory: the sort writes to one stretch after the other.
 */
#include "engine/join/maker.h"

#include "engine/spill/budget.h"
#include "engine/spill/region.h"

#include <stdlib.h>

#define ROOM_STEP 4096u /* records paid for at once */
#define RECORDS_MAX (UINT32_MAX / ROOM_STEP * ROOM_STEP)
#define FEW 24u /* records that are sorted by insertion */

static inline uint64_t align8(uint64_t n)
{
    return (n + 7) & ~7ull;
}

/* Gathered, and in the lookup with its entry. */
static uint64_t cost(const struct maker *m)
{
    return 2ull * m->stride + sizeof(uint32_t);
}

static uint64_t made_bytes(const struct maker *m, uint64_t n)
{
    return align8((n + 3) * sizeof(uint32_t)) + n * m->stride;
}

void maker_init(struct maker *m, struct run *r, fe_type key, fe_type value, uint64_t limit)
{
    *m = (struct maker){ .run = r, .key = key, .value = value, .limit = limit };
    m->stride = lookup_stride(key, value, &m->far);
    m->max = limit / cost(m) / ROOM_STEP * ROOM_STEP;
    m->max = m->max < ROOM_STEP ? ROOM_STEP : m->max > RECORDS_MAX ? RECORDS_MAX : m->max;
    m->records = region_take(m->max * m->stride);
    m->made = region_take(made_bytes(m, m->max));
    if (m->far)
        rows_init(&m->rows, r, key, value, false, limit);
}

/* ---- gathering ---------------------------------------------------------------------- */

static bool make_room(struct maker *m)
{
    uint64_t more = ROOM_STEP * cost(m);
    if (m->room == m->max || (m->n && m->held + m->rows.held + more > m->limit))
        return false;
    if (!budget_reserve(m->run, more)) {
        if (m->n)
            return false;
        budget_force(m->run, more);
    }
    m->held += more;
    m->room += ROOM_STEP;
    return true;
}

static inline uint8_t *put8(uint8_t *to, fe_slice s)
{
    uint64_t last = 0;
    if (s.n == 8) {
        memcpy(to, s.p, 8);
        return to + 8;
    }
    if (s.n > 8)
        memcpy(to, s.p, s.n & ~7ull);
    if (s.n & 7) {
        memcpy(&last, s.p + (s.n & ~7ull), s.n & 7);
        memcpy(to + (s.n & ~7ull), &last, 8);
    }
    return to + align8(s.n);
}

static inline bool put(struct maker *m, uint64_t hash, fe_slice key, fe_slice value)
{
    if (m->n == m->room && !make_room(m))
        return false;
    uint8_t *at = m->records + m->n * m->stride;
    uint64_t word = lookup_word(m->key, key, hash);
    memcpy(at, &word, sizeof word);
    if (m->far) {
        uint64_t place =
            m->n && m->rows.held + m->held > m->limit ? ROWS_FULL : rows_put(&m->rows, 0, key, value);
        if (place == ROWS_FULL)
            return false;
        memcpy(at + sizeof word, &place, sizeof place);
    } else {
        at += sizeof word;
        if (!type_is_number(m->key))
            at = put8(at, key);
        put8(at, value);
    }
    m->n++;
    return true;
}

int maker_add(struct maker *m, const struct batch *b, const uint64_t *hash, uint32_t *from)
{
    for (uint32_t i = *from; i < b->rows; i++) {
        uint32_t row = b->sel ? b->sel[i] : i;
        if (!put(m, hash[i], vec_at(&b->key, row), vec_at(&b->value, row))) {
            *from = i;
            return 1;
        }
    }
    *from = b->rows;
    return 0;
}

/* ---- sorting within an entry ---------------------------------------------------------- */

static inline void swap(uint8_t *a, uint8_t *b, uint32_t stride)
{
    uint8_t t[LOOKUP_RECORD_MAX];
    memcpy(t, a, stride);
    memcpy(a, b, stride);
    memcpy(b, t, stride);
}

static inline void insert_sort(uint8_t *v, uint64_t n, uint32_t stride)
{
    for (uint64_t i = 1; i < n; i++)
        for (uint64_t k = i; k && record_word(v + k * stride) < record_word(v + (k - 1) * stride); k--)
            swap(v + k * stride, v + (k - 1) * stride, stride);
}

/* Three-way quicksort: many rows of one entry have mostly one word. */
static void sort_records(uint8_t *v, uint64_t n, uint32_t stride)
{
    uint64_t pick = n;
    while (n > FEW) {
        pick = pick * 6364136223846793005u + 1442695040888963407u;
        uint64_t pivot = record_word(v + (pick >> 33) % n * stride), low = 0, at = 0, high = n;
        while (at < high) {
            uint64_t word = record_word(v + at * stride);
            if (word < pivot)
                swap(v + low++ * stride, v + at++ * stride, stride);
            else if (word > pivot)
                swap(v + at * stride, v + --high * stride, stride);
            else
                at++;
        }
        if (low < n - high) {
            sort_records(v, low, stride);
            v += high * stride;
            n -= high;
        } else {
            sort_records(v + high * stride, n - high, stride);
            n = low;
        }
    }
    insert_sort(v, n, stride);
}

/* ---- the lookup ----------------------------------------------------------------------- */

/* `next`: of each entry, where its next record goes; afterwards where the entry behind it begins. */
static inline void scatter(const struct maker *m, const struct lookup *l, uint32_t *next, uint8_t *to,
                           uint32_t stride)
{
    for (uint64_t i = 0; i < m->n; i++) {
        const uint8_t *from = m->records + i * stride;
        memcpy(to + (uint64_t)next[lookup_entry(l, record_hash(from, m->key))]++ * stride, from, stride);
    }
}

/* The directory, from what is gathered.  Entry i's count is kept at i + 2 at first: after the sums i + 1 has its begin, after
 * the scattering its end. */
static void fill(struct maker *m, const struct lookup *l, uint32_t *directory, uint8_t *records)
{
    memset(directory, 0, align8((l->entries + 3) * sizeof *directory));
    for (uint64_t i = 0; i < m->n; i++)
        directory[lookup_entry(l, record_hash(m->records + i * m->stride, m->key)) + 2]++;
    for (uint64_t i = 2; i < l->entries + 2; i++)
        directory[i] += directory[i - 1];
    if (m->stride == 16)
        scatter(m, l, directory + 1, records, 16);
    else
        scatter(m, l, directory + 1, records, m->stride);
    for (uint64_t i = 0; i < l->entries; i++) {
        uint32_t from = directory[i], n = directory[i + 1] - from;
        if (n > 1)
            sort_records(records + (uint64_t)from * m->stride, n, m->stride);
    }
    memset(directory + l->entries + 1, 0, 2 * sizeof *directory);
}

void maker_finish(struct maker *m, uint32_t lo, uint32_t hi, uint32_t buckets, struct lookup *out)
{
    *out = (struct lookup){ .key = m->key,
                            .value = m->value,
                            .stride = m->stride,
                            .lo = lo,
                            .hi = hi,
                            .buckets = buckets,
                            .rows = m->n,
                            .entries = m->n ? m->n : 1 };
    lookup_scale(out);
    uint32_t *directory = (uint32_t *)(void *)m->made;
    uint8_t *records = m->made + align8((out->entries + 3) * sizeof *directory);
    fill(m, out, directory, records);
    out->directory = directory;
    out->records = records;
    if (m->far) {
        out->far = m->rows.p;
        out->far_bytes = m->rows.used;
    }
}

/* ---- spilling -------------------------------------------------------------------------- */

int maker_flush(struct maker *m, struct mapfile *to, const struct split *split)
{
    struct buckets out;
    struct row row;
    int failed = 0;
    buckets_init(&out, m->run, to, m->key, m->value, split, m->run->budget / 4);
    for (uint64_t i = 0; i < m->n && !failed; i++) {
        const uint8_t *record = m->records + i * m->stride;
        record_row(record, m->key, m->value, m->far ? m->rows.p : NULL, &row);
        failed = buckets_put(&out, record_hash(record, m->key), row.key, row.value);
    }
    failed = failed || buckets_run(&out) ? -1 : 0;
    buckets_fini(&out);
    maker_clear(m);
    return failed;
}

void maker_clear(struct maker *m)
{
    uint64_t made = made_bytes(m, m->n ? m->n : 1);
    m->touched = m->n > m->touched ? m->n : m->touched;
    m->made_touched = made > m->made_touched ? made : m->made_touched;
    m->n = m->room = 0;
    budget_release(m->run, m->held);
    m->held = 0;
    if (m->far)
        rows_reset(&m->rows);
}

void maker_fini(struct maker *m)
{
    if (!m->records)
        return;
    maker_clear(m);
    if (m->far)
        rows_fini(&m->rows);
    region_give(m->records, m->max * m->stride, (m->touched < m->max ? m->touched + 1 : m->max) * m->stride);
    region_give(m->made, made_bytes(m, m->max), m->made_touched);
    *m = (struct maker){ 0 };
}
