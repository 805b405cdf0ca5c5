/* order.c - see order.h.
 *
 * Sorting: by the prefix's bytes from the first on, through a spare array (radix sort, most significant byte first), and
 * by comparing where few rows are left, or where the prefix is used up.
 */
#include "engine/shuffle/order.h"

#define FEW 24u
#define PREFIX_BYTES 12u /* of struct sorted */

struct order order_of(const struct plan_node *node, fe_type key, fe_type value)
{
    return (struct order){ key, value, node->by_value ? BY_VALUE : BY_KEY, node->order == FERRO_DESCENDING };
}

/* 16 bytes of a text or struct, or a number's 8. */
static inline struct prefix bytes_prefix(fe_type t, fe_slice s, bool down)
{
    struct prefix p = { type_prefix(t, s, down), 0 };
    if (!type_is_number(t)) {
        fe_slice rest = s.n > 8 ? (fe_slice){ s.p + 8, s.n - 8 } : (fe_slice){ s.p, 0 };
        p.lo = type_prefix(FERRO_TEXT, rest, down);
    }
    return p;
}

struct prefix order_prefix_any(const struct order *o, fe_slice key, fe_slice value, uint64_t hash)
{
    if (o->by == BY_KEY)
        return bytes_prefix(o->key, key, o->down);
    if (o->by == BY_HASH)
        return (struct prefix){ hash, type_prefix(o->key, key, false) };
    struct prefix p = bytes_prefix(o->value, value, o->down);
    if (type_is_number(o->value) && o->key != FERRO_NONE)
        p.lo = type_prefix(o->key, key, false);
    return p;
}

int order_rest(const struct order *o, fe_slice ka, fe_slice va, fe_slice kb, fe_slice vb)
{
    if (o->by == BY_KEY)
        return type_is_number(o->key) ? 0 : type_order(o->key, ka, kb, o->down);
    if (o->by == BY_VALUE && !type_is_number(o->value)) {
        int order = type_order(o->value, va, vb, o->down);
        if (order)
            return order;
    }
    return o->key == FERRO_NONE ? 0 : type_compare(o->key, ka, kb);
}

uint32_t order_normal(const struct order *o, fe_slice key, fe_slice value, uint8_t out[NORMAL_BYTES_MAX])
{
    uint8_t second[NORMAL_BYTES_MAX];
    if (o->by == BY_HASH)
        return 0;
    if (o->by == BY_KEY)
        return type_normal(o->key, key, o->down, out);
    uint32_t n = type_normal(o->value, value, o->down, out);
    if (o->value == FERRO_TEXT || o->key == FERRO_NONE || n == NORMAL_BYTES_MAX)
        return n;
    uint32_t more = type_normal(o->key, key, false, second);
    more = more < NORMAL_BYTES_MAX - n ? more : NORMAL_BYTES_MAX - n;
    memcpy(out + n, second, more);
    return n + more;
}

/* ---- sorting -------------------------------------------------------------------- */

struct sort {
    const struct order *order;
    const struct rows *rows;
    struct sorted *spare; /* as many as are sorted */
};

static int compare(const struct sort *s, const struct sorted *a, const struct sorted *b)
{
    struct row x, y;
    if (a->hi != b->hi)
        return a->hi < b->hi ? -1 : 1;
    if (a->lo != b->lo)
        return a->lo < b->lo ? -1 : 1;
    rows_at(s->rows, a->place, &x);
    rows_at(s->rows, b->place, &y);
    return order_rest(s->order, x.key, x.value, y.key, y.value);
}

static void insert_sort(const struct sort *s, struct sorted *v, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        struct sorted x = v[i];
        size_t k = i;
        for (; k && (x.hi == v[k - 1].hi ? compare(s, &x, &v[k - 1]) < 0 : x.hi < v[k - 1].hi); k--)
            v[k] = v[k - 1];
        v[k] = x;
    }
}

static inline void swap(struct sorted *a, struct sorted *b)
{
    struct sorted t = *a;
    *a = *b;
    *b = t;
}

/* Three-way quicksort: many equal rows are the common case here.  A stepped generator picks pivots, so that no order
 * of the input is a bad one by habit. */
static void compare_sort(const struct sort *s, struct sorted *v, size_t n)
{
    uint64_t pick = n;
    while (n > FEW) {
        pick = pick * 6364136223846793005u + 1442695040888963407u;
        struct sorted pivot = v[(pick >> 33) % n];
        size_t low = 0, at = 0, high = n;
        while (at < high) {
            int order = compare(s, &v[at], &pivot);
            if (order < 0)
                swap(&v[low++], &v[at++]);
            else if (order > 0)
                swap(&v[at], &v[--high]);
            else
                at++;
        }
        size_t left = low, right = n - high;
        if (left < right) {
            compare_sort(s, v, left);
            v += high;
            n = right;
        } else {
            compare_sort(s, v + high, right);
            n = left;
        }
    }
    insert_sort(s, v, n);
}

static inline uint8_t byte_at(const struct sorted *x, unsigned depth)
{
    return depth < 8 ? (uint8_t)(x->hi >> (56 - 8 * depth)) : (uint8_t)(x->lo >> (88 - 8 * depth));
}

/* Part the rows by a byte; ends[b] is where those of b end, then. */
static void part(const struct sort *s, struct sorted *v, size_t n, unsigned depth, uint32_t ends[256])
{
    uint32_t at = 0;
    memset(ends, 0, 256 * sizeof *ends);
    for (size_t i = 0; i < n; i++)
        ends[byte_at(&v[i], depth)]++;
    if (ends[byte_at(v, depth)] == n) { /* all have the same */
        for (unsigned b = byte_at(v, depth); b < 256; b++)
            ends[b] = (uint32_t)n;
        return;
    }
    for (unsigned b = 0; b < 256; b++) {
        uint32_t here = ends[b];
        ends[b] = at;
        at += here;
    }
    for (size_t i = 0; i < n; i++)
        s->spare[ends[byte_at(&v[i], depth)]++] = v[i];
    memcpy(v, s->spare, n * sizeof *v);
}

static void radix_sort(const struct sort *s, struct sorted *v, size_t n, unsigned depth)
{
    uint32_t ends[256];
    if (n <= FEW || depth == PREFIX_BYTES) {
        compare_sort(s, v, n);
        return;
    }
    part(s, v, n, depth, ends);
    for (unsigned b = 0, from = 0; b < 256; from = ends[b++])
        if (ends[b] - from > 1)
            radix_sort(s, v + from, ends[b] - from, depth + 1);
}

void order_sort(const struct order *o, const struct rows *rows, struct sorted *v, size_t n,
                struct sorted *spare)
{
    struct sort s = { o, rows, spare };
    radix_sort(&s, v, n, 0);
}
