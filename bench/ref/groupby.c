/* groupby.c - the limit that Ferro's group-by is held against: groupby FILE OUT [THREADS=2]
 *
 * The input has lines `name;value`, value from -99.9 to 99.9 with one decimal.  A line of
 * the output is `name;min;mean;max;count`, ordered by the name's bytes: min and max
 * with one decimal, the mean with six: sum / (10.0 * count), from a sum in tenths, which is exact.
 * Beyond the shape of its end (digit, point, digit), a value is trusted.
 *
 * Each thread takes pieces of the mapped text.  A mask of 64 bytes gives the lines' ends; the
 * value is read backwards from there in one load, and so is where the name ends, so no
 * search for the semicolon.  A slot is a cache line with the whole name in it.
 *
 * What each step gives: user seconds with one thread for 250 MiB of csv when only that
 * step is undone (least of five, in turns, on a 2-core Xeon VM, others busy on it):
 *
 *   all of it                                                            0.18
 *   signs and digits by branches, not by masks                           0.22
 *   names of up to 16 bytes apart by a branch, not 32 bytes always       0.21
 *
 * For all 50 M rows (1 GB): 0.75 s of CPU time, with one thread or with two.
 * Not tried: masks of AVX2 by run-time dispatch.
 */
#include "lib/hash.h"
#include "lib/tools.h"

#include <smmintrin.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_BITS 12 /* of a table: log2 of its slots */
#define BITS_MAX 31   /* fewer than a hash has */
#define INLINE 32     /* bytes of a name that a slot holds */
#define CHUNK ((size_t)1 << 20)
#define VALUE_MIN 3 /* bytes: 0.0 */
#define ROW_MIN 8   /* bytes read before a line's end */

/* A slot of a table, a cache line.  A name of up to 32 bytes is in it, zeroes behind; of a longer
 * one its first 24 bytes and its address. */
struct group {
    uint64_t key[4];
    int64_t sum; /* this and min, max in tenths */
    uint64_t count;
    uint32_t n, hash;
    int16_t min, max;
    bool used;
};

struct table {
    struct group *slots;
    unsigned bits; /* a slot's index is the top of the hash */
    size_t used;
};

struct name {
    __m128i low, high;
    uint32_t n, hash;
};

struct job {
    struct input text;
    struct table tables[THREADS_MAX];
};

/* ---- table --------------------------------------------------------------- */
static void table_init(struct table *t, unsigned bits)
{
    if (bits > BITS_MAX)
        die_of("table", "too many names");
    *t = (struct table){ huge_new(sizeof(struct group) << bits), bits, 0 };
}

static inline size_t slot_of(const struct table *t, uint32_t hash)
{
    return hash >> (32 - t->bits);
}

static inline size_t slot_after(const struct table *t, size_t at)
{
    return (at + 1) & (((size_t)1 << t->bits) - 1);
}

static __attribute__((noinline)) void grow(struct table *t)
{
    struct table wider;
    table_init(&wider, t->bits + 1);
    for (size_t i = 0; i < (size_t)1 << t->bits; i++) {
        if (!t->slots[i].used)
            continue;
        size_t at = slot_of(&wider, t->slots[i].hash);
        while (wider.slots[at].used)
            at = slot_after(&wider, at);
        wider.slots[at] = t->slots[i];
    }
    wider.used = t->used;
    huge_free(t->slots, sizeof(struct group) << t->bits);
    *t = wider;
}

static const char *name_of(const struct group *g)
{
    return g->n > INLINE ? (const char *)g->key[3] : (const char *)g->key;
}

static __attribute__((noinline)) bool same_long(const struct group *g, const struct name *name)
{
    return g->used && g->n == name->n &&
           !memcmp(name_of(g), (const char *)_mm_extract_epi64(name->high, 1), g->n);
}

static inline bool same_name(const struct group *g, const struct name *name)
{
    __m128i low = _mm_xor_si128(_mm_loadu_si128((const __m128i *)g->key), name->low);
    __m128i high = _mm_xor_si128(_mm_loadu_si128((const __m128i *)(g->key + 2)), name->high);
    __m128i differ = _mm_or_si128(low, high);
    if (_mm_testz_si128(differ, differ) && g->n == name->n && g->used)
        return true;
    return name->n > INLINE && same_long(g, name);
}

/* The name's slot, made when there is none. */
static inline struct group *group_of(struct table *t, const struct name *name)
{
    size_t at = slot_of(t, name->hash);
    while (!same_name(&t->slots[at], name)) {
        if (!t->slots[at].used) {
            struct group *g = &t->slots[at];
            _mm_storeu_si128((__m128i *)g->key, name->low);
            _mm_storeu_si128((__m128i *)(g->key + 2), name->high);
            *g = (struct group){ .key = { g->key[0], g->key[1], g->key[2], g->key[3] },
                                 .n = name->n,
                                 .hash = name->hash,
                                 .min = INT16_MAX,
                                 .max = INT16_MIN,
                                 .used = true };
            if (++t->used * 2 <= (size_t)1 << t->bits)
                return g;
            grow(t);
            return group_of(t, name);
        }
        at = slot_after(t, at);
    }
    return &t->slots[at];
}

/* ---- rows ---------------------------------------------------------------- */
static inline uint32_t hash_of(__m128i low, __m128i high)
{
    /* the halves of one half swap and shift, so that equal parts don't cancel out */
    __m128i both = _mm_xor_si128(low, _mm_add_epi64(_mm_shuffle_epi32(high, 0x4e), _mm_slli_epi64(high, 7)));
    return (uint32_t)(fold((uint64_t)_mm_cvtsi128_si64(both) ^ HASH_FIRST,
                           (uint64_t)_mm_extract_epi64(both, 1) ^ HASH_SECOND) >>
                      32);
}

/* Eight bytes a step; the last step overlaps. */
static __attribute__((noinline)) void read_long_name(struct name *name, const char *p, size_t n)
{
    uint64_t hash = n, key[4] = { 0 };
    for (size_t at = 0; at < n; at += 8) {
        uint64_t word;
        memcpy(&word, p + (at + 8 <= n ? at : n - 8), sizeof word);
        hash = fold(word ^ hash ^ HASH_FIRST, HASH_SECOND);
    }
    if (n > UINT32_MAX)
        die_of("input", "a name of more than 4 GiB");
    memcpy(key, p, 24);
    key[3] = (uintptr_t)p;
    memcpy(&name->low, key, 16);
    memcpy(&name->high, key + 2, 16);
    name->hash = (uint32_t)(hash >> 32);
}

static inline void read_name(struct name *name, const char *p, size_t n)
{
    name->n = (uint32_t)n;
    if (n > INLINE) {
        read_long_name(name, p, n);
        return;
    }
    name->low = load_masked(p, n < 16 ? n : 16);
    name->high = load_masked(p + 16, n < 16 ? 0 : n - 16);
    name->hash = hash_of(name->low, name->high);
}

struct value {
    int tenths;
    unsigned n; /* bytes, a sign included */
};

/* The value in the last bytes of `tail`, which are those before the line's end.  Without
 * branches: signs and lengths come at random. */
static inline bool read_value(struct value *v, uint64_t tail)
{
    unsigned fourth = tail >> 32 & 0xff, fifth = tail >> 24 & 0xff; /* counted from behind */
    unsigned is_three = fourth == ';', is_four = !is_three & (fifth == ';');
    v->n = 5 - 2 * is_three - is_four;
    uint64_t x = tail >> (64 - 8 * v->n);
    uint64_t minus = -(uint64_t)((x & 0xff) == '-');
    x = (x & ~(minus & 0xff)) << (40 - 8 * v->n); /* 0, tens, units, point, tenths */
    unsigned size = (unsigned)(((x & 0x0f000f0f00) * 0x640a0001) >> 32 & 0x3ff);
    v->tenths = (int)((size ^ minus) - minus);
    return (x & 0xf0fff000ff) == 0x302e300000;
}

static void add_row(struct table *t, const struct input *text, size_t start, size_t end)
{
    uint64_t tail = 0;
    if (end >= ROW_MIN)
        memcpy(&tail, text->bytes + end - ROW_MIN, ROW_MIN);
    else
        memcpy((char *)&tail + ROW_MIN - end, text->bytes, end);
    struct value v;
    if (!read_value(&v, tail) || end - start < v.n + 1 || text->bytes[end - v.n - 1] != ';')
        die_of("input", "a line is not `name;-99.9`");
    struct name name;
    read_name(&name, text->bytes + start, end - start - v.n - 1);
    struct group *g = group_of(t, &name);
    g->sum += v.tenths;
    g->count++;
    g->min = (int16_t)(v.tenths < g->min ? v.tenths : g->min);
    g->max = (int16_t)(v.tenths > g->max ? v.tenths : g->max);
}

/* Which of the 64 bytes at `at` end a line, a bit each; the text's end does too. */
static inline uint64_t line_mask(const struct input *text, size_t at)
{
    uint64_t ends = equal_mask(text->bytes + at, '\n');
    return text->n - at < 64 ? ends | 1ull << (text->n - at) : ends;
}

/* All rows that begin in begin..end-1. */
static void add_chunk(struct table *t, const struct input *text, size_t begin, size_t end)
{
    size_t start = begin;
    if (begin && text->bytes[begin - 1] != '\n') {
        const char *line_end = memchr(text->bytes + begin, '\n', end - begin);
        if (!line_end)
            return;
        start = (size_t)(line_end - text->bytes) + 1;
    }
    for (size_t at = start & ~(size_t)63; start < end; at += 64) {
        uint64_t ends = line_mask(text, at);
        if (at < start)
            ends = start - at < 64 ? ends & ~0ull << (start - at) : 0;
        for (; ends && start < end; ends &= ends - 1) {
            size_t line_end = at + (size_t)__builtin_ctzll(ends);
            add_row(t, text, start, line_end);
            start = line_end + 1;
        }
    }
}

static void group_rows(void *context, unsigned thread)
{
    struct job *job = context;
    struct table *t = &job->tables[thread];
    size_t begin;
    table_init(t, FIRST_BITS);
    while ((begin = take_next() * CHUNK) < job->text.n)
        add_chunk(t, &job->text, begin, job->text.n - begin > CHUNK ? begin + CHUNK : job->text.n);
}

/* ---- the result ---------------------------------------------------------- */
static void merge(struct table *into, const struct table *from)
{
    for (size_t i = 0; i < (size_t)1 << from->bits; i++) {
        const struct group *g = &from->slots[i];
        if (!g->used)
            continue;
        struct name name = { .n = g->n, .hash = g->hash };
        memcpy(&name.low, g->key, 16);
        memcpy(&name.high, g->key + 2, 16);
        struct group *to = group_of(into, &name);
        to->sum += g->sum;
        to->count += g->count;
        to->min = to->min < g->min ? to->min : g->min;
        to->max = to->max > g->max ? to->max : g->max;
    }
}

static int by_name(const void *a, const void *b)
{
    const struct group *x = a, *y = b;
    int order = memcmp(name_of(x), name_of(y), x->n < y->n ? x->n : y->n);
    return order ? order : (x->n > y->n) - (x->n < y->n);
}

/* Moves the table's groups to its front. */
static void write_groups(struct table *t, const char *path)
{
    FILE *out = fopen(path, "w");
    if (!out)
        die(path);
    size_t n = 0;
    for (size_t i = 0; i < (size_t)1 << t->bits; i++)
        if (t->slots[i].used)
            t->slots[n++] = t->slots[i];
    qsort(t->slots, n, sizeof *t->slots, by_name);
    for (size_t i = 0; i < n; i++) {
        const struct group *g = &t->slots[i];
        fwrite(name_of(g), 1, g->n, out);
        fprintf(out, ";%.1f;%.6f;%.1f;%lu\n", g->min / 10.0, (double)g->sum / (10.0 * (double)g->count),
                g->max / 10.0, (unsigned long)g->count);
    }
    if (fclose(out))
        die(path);
}

int main(int argc, char **argv)
{
    static struct job job;
    unsigned threads = thread_count(argc, argv, 4, "FILE OUT");
    job.text = map_input(argv[1]);
    in_threads(threads, group_rows, &job);
    for (unsigned i = 1; i < threads; i++)
        merge(&job.tables[0], &job.tables[i]);
    write_groups(&job.tables[0], argv[2]);
    return 0;
}
