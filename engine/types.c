/* types.c - see types.h. */
#define XXH_INLINE_ALL
#include "engine/types.h"

#include <xxhash.h>

#define NAN_BITS 0x7ff8000000000000u
#define SIGN_BIT 0x8000000000000000u

static inline uint64_t load8(const void *p)
{
    uint64_t x;
    memcpy(&x, p, sizeof x);
    return x;
}

/* ---- hash and equality ----------------------------------------------------- */

static inline uint64_t hash8(uint64_t bits)
{
    return words_hash((uint64_t[2]){ bits, 0 }, sizeof bits);
}

static inline uint64_t bytes_hash(const char *p, size_t n)
{
    uint64_t w[4];
    if (n > WORDS_KEY_BYTES)
        return XXH3_64bits(p, n);
    key_words(p, n, w, sizeof w);
    return words_hash4(w, n);
}

uint64_t type_hash(fe_type t, fe_slice key)
{
    return t == FERRO_F64 ? hash8(type_f64_bits(key.p)) : bytes_hash(key.p, key.n);
}

void vec_hash(const struct vec *v, const uint16_t *sel, uint32_t rows, uint64_t *out)
{
    if (v->type == FERRO_I64 && !sel)
        for (uint32_t i = 0; i < rows; i++)
            out[i] = hash8(load8(v->data + (size_t)i * 8));
    else if (v->type == FERRO_TEXT && !sel) {
        uint32_t start = v->first;
        for (uint32_t i = 0; i < rows; i++) {
            out[i] = bytes_hash((const char *)v->data + start, v->end[i] - start);
            start = v->end[i] + v->gap;
        }
    } else
        for (uint32_t i = 0; i < rows; i++)
            out[i] = type_hash(v->type, vec_at(v, sel ? sel[i] : i));
}

bool type_equal(fe_type t, fe_slice a, fe_slice b)
{
    if (t == FERRO_F64)
        return type_f64_bits(a.p) == type_f64_bits(b.p);
    return a.n == b.n && (a.n == 0 || !memcmp(a.p, b.p, a.n));
}

/* ---- order ------------------------------------------------------------------ */

static inline uint64_t f64_rank(const void *p)
{
    uint64_t bits = type_f64_bits(p);
    return bits & SIGN_BIT ? ~bits : bits | SIGN_BIT;
}

/* The rank of a number, and of any key's first eight bytes, ascending. */
static uint64_t rank(fe_type t, fe_slice key)
{
    uint64_t first = 0;
    if (t == FERRO_I64)
        return load8(key.p) ^ SIGN_BIT;
    if (t == FERRO_F64)
        return f64_rank(key.p);
    if (key.n)
        memcpy(&first, key.p, key.n < 8 ? key.n : 8);
    return __builtin_bswap64(first);
}

static int bytes_order(fe_slice a, fe_slice b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int order = n ? memcmp(a.p, b.p, n) : 0;
    return order ? order : (a.n > b.n) - (a.n < b.n);
}

int type_compare(fe_type t, fe_slice a, fe_slice b)
{
    return type_order(t, a, b, false);
}

int type_order(fe_type t, fe_slice a, fe_slice b, bool down)
{
    if (t == FERRO_I64 || t == FERRO_F64) {
        uint64_t x = type_prefix(t, a, down), y = type_prefix(t, b, down);
        return (x > y) - (x < y);
    }
    return down ? bytes_order(b, a) : bytes_order(a, b);
}

uint64_t type_prefix(fe_type t, fe_slice key, bool down)
{
    uint64_t r = rank(t, key);
    if (!down || (t == FERRO_F64 && r == (NAN_BITS | SIGN_BIT)))
        return r;
    return ~r;
}

/* Inverted texts are filled up with what an inverted NUL is: "ab" must not come before "abc". */
uint32_t type_normal(fe_type t, fe_slice key, bool down, uint8_t out[NORMAL_BYTES_MAX])
{
    if (t == FERRO_I64 || t == FERRO_F64) {
        uint64_t big = __builtin_bswap64(type_prefix(t, key, down));
        memcpy(out, &big, sizeof big);
        return sizeof big;
    }
    uint32_t n = key.n < NORMAL_BYTES_MAX ? (uint32_t)key.n : NORMAL_BYTES_MAX;
    if (n)
        memcpy(out, key.p, n);
    if (!down)
        return n;
    for (uint32_t i = 0; i < n; i++)
        out[i] = (uint8_t)~out[i];
    if (t != FERRO_TEXT)
        return n;
    memset(out + n, 0xff, NORMAL_BYTES_MAX - n);
    return NORMAL_BYTES_MAX;
}

/* ---- merging ---------------------------------------------------------------- */

static void sum_i64(void *acc, const void *other)
{
    uint64_t sum = load8(acc) + load8(other);
    memcpy(acc, &sum, sizeof sum);
}

static void min_i64(void *acc, const void *other)
{
    if ((int64_t)load8(other) < (int64_t)load8(acc))
        memcpy(acc, other, 8);
}

static void max_i64(void *acc, const void *other)
{
    if ((int64_t)load8(other) > (int64_t)load8(acc))
        memcpy(acc, other, 8);
}

static void sum_f64(void *acc, const void *other)
{
    double a, b;
    memcpy(&a, acc, sizeof a);
    memcpy(&b, other, sizeof b);
    a += b;
    memcpy(acc, &a, sizeof a);
}

static void min_f64(void *acc, const void *other)
{
    if (f64_rank(other) < f64_rank(acc))
        memcpy(acc, other, 8);
}

static void max_f64(void *acc, const void *other)
{
    if (f64_rank(other) > f64_rank(acc))
        memcpy(acc, other, 8);
}

type_merge *kernel_merge(enum fe_kernel kernel, fe_type value)
{
    switch (kernel) {
    case FERRO_SUM: return value == FERRO_I64 ? sum_i64 : value == FERRO_F64 ? sum_f64 : NULL;
    case FERRO_MIN: return value == FERRO_I64 ? min_i64 : value == FERRO_F64 ? min_f64 : NULL;
    case FERRO_MAX: return value == FERRO_I64 ? max_i64 : value == FERRO_F64 ? max_f64 : NULL;
    case FERRO_COUNT: return sum_i64;
    case FERRO_AGGREGATE: break; /* by the user's functions */
    }
    return NULL;
}
