/* ferro.h - write a job for Ferro: the whole public interface.
 *
 * A job is a shared object with one FERRO_JOB.  Its main builds datasets and
 * runs actions on them; the functions it names run in task hosts, one thread
 * each, on the partitions of a dataset.  `ferro run job.c ARGS` compiles and
 * runs it on this machine, `ferro submit job.c ARGS` on a cluster.
 *
 *     static void split(fe_task *t, fe_slice key, fe_slice line)
 *     {
 *         fe_slice word;
 *         for (fe_words w = fe_words_in(line); fe_next_word(&w, &word);)
 *             fe_emit(t, word, 1);
 *     }
 *     static int wordcount(fe_app *app, int argc, char **argv)
 *     {
 *         fe_set *lines = fe_text(app, argc - 2, argv + 1);
 *         fe_set *counts = fe_sum_by_key(fe_flat_map(lines, split, FERRO_TEXT, FERRO_I64));
 *         return fe_save_text(fe_sort_by_value(counts, FERRO_DESCENDING), argv[argc - 1]);
 *     }
 *     FERRO_JOB("wordcount", wordcount)
 *
 * Rules that hold for all of it:
 * - A record has a key and a value, each of a type fixed by its dataset.
 * - A dataset (fe_set) is a handle that belongs to its application; nothing is
 *   computed until an action, nothing needs to be freed.
 * - Builders never fail loudly.  A builder given a bad argument, or a bad
 *   dataset, returns a dataset that carries the error; the action on it fails
 *   and reports it with the file and line of the builder.  NULL is never returned, and
 *   is such a bad dataset where it is given.
 * - Actions return 0, or -1 after they have said what failed on stderr; a job's
 *   main then normally returns -1 too.
 * - A slice given to a user function is valid until that function returns.
 */
#ifndef FERRO_H
#define FERRO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

#define FERRO_ABI_MAJOR 1
#define FERRO_ABI_MINOR 0
#define FERRO_API __attribute__((visibility("default")))

/* ---- types of keys and values ------------------------------------------ */

typedef uint32_t fe_type;                /* kind in the top 4 bits, size in bytes below (0: varies) */
#define FERRO_NONE ((fe_type)0x00000000) /* nothing: datasets without keys */
#define FERRO_TEXT ((fe_type)0x10000000) /* up to 1 GiB; in a shuffled record 1/8 of the slot's memory */
#define FERRO_I64 ((fe_type)0x20000008)  /* int64_t */
#define FERRO_F64 ((fe_type)0x30000008)  /* double; -0.0 equals 0.0, all NaNs are one key */
/* Compared and sorted as bytes; at most 64 KiB; no pointers, padding zeroed. */
#define FERRO_STRUCT(T) ((fe_type)(0x40000000 | sizeof(T)))

/* Borrowed bytes.  For fixed-size types `p` is aligned for the type (up to 8) and n its size. */
typedef struct {
    const char *p;
    size_t n;
} fe_slice;

#define FERRO_AS(T, slice) ((const T *)(const void *)(slice).p)
/* clang-format off */
static inline int64_t fe_i64(fe_slice s) { return *FERRO_AS(int64_t, s); }
static inline double fe_f64(fe_slice s) { return *FERRO_AS(double, s); }
/* clang-format on */
static inline fe_slice fe_str(const char *text)
{
    fe_slice s = { text, strlen(text) };
    return s;
}

/* ---- what a user function sees ------------------------------------------ */

typedef struct fe_app fe_app;       /* one run of a job's main */
typedef struct fe_set fe_set;       /* a dataset */
typedef struct fe_rows fe_rows;     /* records, one after the other: collected ones, or a partition's */
typedef struct fe_values fe_values; /* the values of one group */

/* One column of the records being put out.  Frozen: fe_emit is inline over it. */
struct fe_column {
    fe_type type;
    uint32_t used, cap; /* bytes in data */
    uint32_t pad;
    uint8_t *data;
    uint32_t *end; /* text: end of each record's bytes in data */
};

/* The task that a function runs in.  Frozen up to `priv`. */
typedef struct fe_task {
    struct fe_column key, value;
    uint32_t rows, rows_max;
    bool failed;
    void *priv;
    const void *args; /* fe_args() */
} fe_task;

/* Puts out 0..n records with fe_emit. */
typedef void fe_each(fe_task *, fe_slice key, fe_slice value);
/* True: the record stays. */
typedef bool fe_keep(fe_task *, fe_slice key, fe_slice value);
/* acc = acc (+) other; associative and commutative. */
typedef void fe_merge(fe_task *, void *acc, const void *other);
/* Puts out 0..n records for one key. */
typedef void fe_group(fe_task *, fe_slice key, fe_values *values);
/* Adds one record to an accumulator of a fixed size. */
typedef void fe_add(fe_task *, void *acc, fe_slice key, fe_slice value);
/* Puts out 0..n records for a pair that a join found. */
typedef void fe_pair(fe_task *, fe_slice key, fe_slice left, fe_slice right);
/* Puts out 0..n records for one key with its values on both sides, of which one may have none. */
typedef void fe_cogroup_fn(fe_task *, fe_slice key, fe_values *left, fe_values *right);
/* Puts out 0..n records for a whole partition.  0, or anything else: the attempt has failed. */
typedef int fe_part(fe_task *, fe_rows *in);

/* A key or a value on its way out, with the kind of the expression it came from. */
typedef struct {
    fe_type kind;
    union {
        int64_t i;
        double f;
        fe_slice s;
    } u;
} fe_datum;

/* clang-format off */
static inline fe_datum fe_datum_i(int64_t i) { fe_datum d; d.kind = FERRO_I64; d.u.i = i; return d; }
static inline fe_datum fe_datum_f(double f) { fe_datum d; d.kind = FERRO_F64; d.u.f = f; return d; }
static inline fe_datum fe_datum_s(fe_slice s) { fe_datum d; d.kind = FERRO_TEXT; d.u.s = s; return d; }
static inline fe_datum fe_datum_c(const char *c) { return fe_datum_s(fe_str(c)); }
static inline fe_datum fe_datum_d(fe_datum d) { return d; }
static inline fe_datum fe_datum_n(void) { fe_datum d; d.kind = FERRO_NONE; d.u.i = 0; return d; }
/* clang-format on */

/* A struct as a key or value: fe_emit(t, name, FERRO_BYTES(hit)). */
static inline fe_datum fe_datum_b(const void *p, size_t n)
{
    fe_datum d;
    d.kind = (fe_type)(0x40000000 | n);
    d.u.s.p = (const char *)p;
    d.u.s.n = n;
    return d;
}
#define FERRO_BYTES(object) fe_datum_b(&(object), sizeof(object))
#define FERRO_NOTHING fe_datum_n() /* the key of a dataset without keys */

/* Makes room, widens, or fails the task on another kind. */
FERRO_API void fe_emit_slow(fe_task *, fe_datum key, fe_datum value);

/* The kind is that of the expression, so that these fold to a few instructions. */
static inline bool fe_fits(const struct fe_column *c, fe_datum d)
{
    if (c->type != d.kind)
        return false;
    return (d.kind == FERRO_TEXT ? d.u.s.n : d.kind & 0x0fffffff) <= c->cap - c->used;
}

/* p, if the n bytes from there on can be read, though fewer (not none) are the caller's: within a page they can, and nothing must
 * come of them.  Else NULL.  The compiler is not to know what object that is. */
static inline const char *fe_readable(const char *p, size_t n)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    (void)p, (void)n;
    return NULL;
#else
    __asm__("" : "+r"(p));
    return ((uintptr_t)p & 4095) <= 4096 - n ? p : NULL;
#endif
}

/* memcpy without a call for what is short, as words are; `room`: bytes at `to`, of which those after n may be written too. */
static inline void fe_copy(uint8_t *to, size_t room, const char *from, size_t n)
{
    const char *whole = n && room >= 32 ? fe_readable(from, 32) : NULL;
    if (n > 32)
        memcpy(to, from, n);
    else if (whole)
        memcpy(to, whole, 32); /* lengths are hard to predict: all of them alike */
    else if (n > 16)
        memcpy(to, from, n);
    else if (n >= 8) {
        uint64_t first, last;
        memcpy(&first, from, 8);
        memcpy(&last, from + n - 8, 8);
        memcpy(to, &first, 8);
        memcpy(to + n - 8, &last, 8);
    } else if (n >= 4) {
        uint32_t first, last;
        memcpy(&first, from, 4);
        memcpy(&last, from + n - 4, 4);
        memcpy(to, &first, 4);
        memcpy(to + n - 4, &last, 4);
    } else if (n) {
        char middle = from[n / 2], last = from[n - 1];
        to[0] = (uint8_t)from[0];
        to[n / 2] = (uint8_t)middle;
        to[n - 1] = (uint8_t)last;
    }
}

static inline void fe_column_put(struct fe_column *c, uint32_t row, fe_datum d)
{
    if (d.kind == FERRO_TEXT) {
        fe_copy(c->data + c->used, c->cap - c->used, d.u.s.p, d.u.s.n);
        c->used += (uint32_t)d.u.s.n;
        c->end[row] = c->used;
    } else if (d.kind == FERRO_I64 || d.kind == FERRO_F64) {
        memcpy(c->data + c->used, &d.u, 8);
        c->used += 8;
    } else if (d.kind != FERRO_NONE) {
        memcpy(c->data + c->used, d.u.s.p, d.kind & 0x0fffffff);
        c->used += d.kind & 0x0fffffff;
    }
}

static inline void fe_emit_datum(fe_task *t, fe_datum key, fe_datum value)
{
    if (t->rows < t->rows_max && fe_fits(&t->key, key) && fe_fits(&t->value, value)) {
        fe_column_put(&t->key, t->rows, key);
        fe_column_put(&t->value, t->rows, value);
        t->rows++;
    } else
        fe_emit_slow(t, key, value);
}

#ifdef __cplusplus
extern "C++" {
/* clang-format off */
static inline fe_datum fe_datum_of(fe_slice s) { return fe_datum_s(s); }
static inline fe_datum fe_datum_of(const char *c) { return fe_datum_c(c); }
static inline fe_datum fe_datum_of(fe_datum d) { return d; }
static inline fe_datum fe_datum_of(float f) { return fe_datum_f(f); }
static inline fe_datum fe_datum_of(double f) { return fe_datum_f(f); }
static inline fe_datum fe_datum_of(long double f) { return fe_datum_f((double)f); }
static inline fe_datum fe_datum_of(char *c) { return fe_datum_c(c); }
static inline fe_datum fe_datum_t(const char *p, size_t n) { fe_slice s = { p, n }; return fe_datum_s(s); }
/* clang-format on */
/* Integers of every width, bool, enumerators: what converts. */
template <class Integer>
static inline auto fe_datum_of(Integer i) -> decltype(fe_datum_i(static_cast<int64_t>(i)))
{
    return fe_datum_i(static_cast<int64_t>(i));
}
/* std::string, std::string_view and what else has text in one piece. */
template <class Text>
static inline auto fe_datum_of(const Text &text) -> decltype(fe_datum_t(text.data(), text.size()))
{
    return fe_datum_t(text.data(), text.size());
}
}
#define FERRO_DATUM(x) fe_datum_of(x)
#else
#define FERRO_DATUM(x) \
    _Generic((x), fe_slice: fe_datum_s, char *: fe_datum_c, const char *: fe_datum_c, fe_datum: fe_datum_d, \
             float: fe_datum_f, double: fe_datum_f, long double: fe_datum_f, default: fe_datum_i)(x)
#endif
/* Put out one record.  Integers widen to i64 (and to f64 where the dataset has
 * f64); any other mismatch fails the task with both types named. */
#define fe_emit(task, key, value) fe_emit_datum((task), FERRO_DATUM(key), FERRO_DATUM(value))
#define fe_emit_value(task, value) fe_emit_datum((task), FERRO_NOTHING, FERRO_DATUM(value))

/* Fail this attempt with these words; what it emits from here on is dropped.
 * The attempt is retried; four failures of one task fail the job. */
FERRO_API void fe_fail(fe_task *, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
FERRO_API uint32_t fe_partition(const fe_task *); /* which partition of the stage this is, from 0 */
FERRO_API uint32_t fe_attempt(const fe_task *);   /* from 1 */
/* What fe_with() gave to this function, 16-aligned; NULL: nothing. */
static inline const void *fe_args(const fe_task *t)
{
    return t->args;
}
#define FERRO_ARGS(T, task) ((const T *)fe_args(task))

/* Bytes that every task may read, sent to each executor once: made by fe_broadcast(), passed by fe_with(). */
typedef struct {
    uint64_t id[2], bytes;
} fe_shared;
/* The bytes, 16-aligned, valid while the task runs.  NULL after the attempt has failed: they can't be had. */
FERRO_API const void *fe_shared_data(fe_task *, fe_shared shared);
/* The file that the present record was read from: its whole path, valid while the task runs.  Empty in a
 * function that sees anything but the records of files (fe_text, fe_csv, fe_binary), as they were or through maps and
 * filters: after a shuffle no record has a file. */
FERRO_API fe_slice fe_input_name(const fe_task *);
FERRO_API bool fe_next_value(fe_values *, fe_slice *value); /* false: no more */
/* False: no more.  Key and value may be NULL.  Of a partition the slices live until the next call, of collected
 * records until fe_rows_free. */
FERRO_API bool fe_rows_next(fe_rows *, fe_slice *key, fe_slice *value);
/* Records of fixed-size types many at a time: how many follow one another at *keys and *values, which live as above
 * (either may be NULL: not asked for; *keys is NULL where there are no keys).  0: no more, or text was asked for. */
FERRO_API size_t fe_rows_array(fe_rows *, const void **keys, const void **values);

/* ---- help with text ------------------------------------------------------ */

/* Words are found 64 bytes at a time, by a bit for each place where one begins or ends. */
typedef struct {
    const char *at, *end; /* not looked at yet */
    const char *block;    /* the 64 bytes of `edges` */
    uint64_t edges;
    uint64_t inside; /* 1: the block ends in a word */
} fe_words;

/* The six of ASCII. */
static inline bool fe_is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}
static inline fe_words fe_words_in(fe_slice s)
{
    fe_words w = { s.p, s.p + s.n, s.p, 0, 0 };
    return w;
}
#ifdef __SSE2__
typedef unsigned char fe_bytes16 __attribute__((vector_size(16)));
typedef char fe_chars16 __attribute__((vector_size(16)));
static inline fe_bytes16 fe_load16(const char *p)
{
    fe_bytes16 b;
    memcpy(&b, p, sizeof b);
    return b;
}
/* A bit for each byte of 64 that is not 0. */
static inline uint64_t fe_mask64(fe_bytes16 a, fe_bytes16 b, fe_bytes16 c, fe_bytes16 d)
{
    uint64_t low = (unsigned)__builtin_ia32_pmovmskb128((fe_chars16)b) << 16 |
                   (unsigned)__builtin_ia32_pmovmskb128((fe_chars16)a);
    uint64_t high = (unsigned)__builtin_ia32_pmovmskb128((fe_chars16)d) << 16 |
                    (unsigned)__builtin_ia32_pmovmskb128((fe_chars16)c);
    return high << 32 | low;
}
static inline fe_bytes16 fe_spaces16(const char *p)
{
    fe_bytes16 b = fe_load16(p);
    return (fe_bytes16)((b == ' ') | (b - '\t' <= 4));
}
static inline fe_bytes16 fe_equal16(const char *p, char c)
{
    return (fe_bytes16)(fe_load16(p) == (unsigned char)c);
}
#endif
/* Which of the 64 bytes at p are no spaces: a bit each. */
static inline uint64_t fe_word_mask(const char *p)
{
#ifdef __SSE2__
    return ~fe_mask64(fe_spaces16(p), fe_spaces16(p + 16), fe_spaces16(p + 32), fe_spaces16(p + 48));
#else
    uint64_t words = 0;
    for (int i = 0; i < 64; i++)
        words |= (uint64_t)!fe_is_space(p[i]) << i;
    return words;
#endif
}

/* Look at the next block; false: there is none. */
static inline bool fe_words_block(fe_words *w)
{
    size_t n = (size_t)(w->end - w->at);
    uint64_t mask;
    if (n == 0)
        return false;
    const char *whole = n >= 64 ? w->at : fe_readable(w->at, 64);
    if (whole)
        mask = fe_word_mask(whole);
    else {
        char last[64] = { 0 };
        memcpy(last, w->at, n);
        mask = fe_word_mask(last);
    }
    n = n < 64 ? n : 64;
    mask &= UINT64_MAX >> ((64 - n) & 63); /* n is 1..64 */
    w->edges = mask ^ (mask << 1 | w->inside);
    w->inside = mask >> 63;
    w->block = w->at;
    w->at += n;
    return true;
}

/* Where the next word begins, or this one ends, by turns; NULL: nowhere any more. */
static inline const char *fe_words_edge(fe_words *w)
{
    while (!w->edges)
        if (!fe_words_block(w))
            return NULL;
    const char *p = w->block + __builtin_ctzll(w->edges);
    w->edges &= w->edges - 1;
    return p;
}

/* The next maximal run of bytes that are no ASCII space; false: no more. */
static inline bool fe_next_word(fe_words *w, fe_slice *word)
{
    const char *start = fe_words_edge(w);
    if (!start)
        return false;
    const char *stop = fe_words_edge(w);
    word->p = start;
    word->n = (size_t)((stop ? stop : w->end) - start);
    return true;
}
/* The fields of one line of CSV: separated by `separator`, each plain or in double quotes, in which "" is one quote; a
 * '\r' at the end goes.  Returns how many there are, fills at most `max`.  They lie in the line; one that had to be
 * unquoted lives until the function returns (a partition's: until the next call of fe_rows_next). */
FERRO_API size_t fe_csv_fields(fe_task *, fe_slice line, char separator, fe_slice *fields, size_t max);
/* Which of the n bytes at p (1 to 64) are `c`: a bit each. */
static inline uint64_t fe_byte_mask(const char *p, size_t n, char c)
{
    const char *whole = n >= 64 ? p : fe_readable(p, 64);
    uint64_t mask = 0;
#ifdef __SSE2__
    if (whole) {
        mask = fe_mask64(fe_equal16(whole, c), fe_equal16(whole + 16, c), fe_equal16(whole + 32, c),
                         fe_equal16(whole + 48, c));
        return mask & UINT64_MAX >> (64 - n);
    }
#endif
    for (size_t i = 0; i < n; i++)
        mask |= (uint64_t)(p[i] == c) << i;
    return mask;
}

/* Split at each `separator`; returns how many fields there are, fills at most `max`. */
static inline size_t fe_fields(fe_slice line, char separator, fe_slice *fields, size_t max)
{
    const char *start = line.p;
    size_t count = 0;
    for (size_t at = 0; at < line.n; at += 64) {
        size_t n = line.n - at < 64 ? line.n - at : 64;
        for (uint64_t mask = fe_byte_mask(line.p + at, n, separator); mask; mask &= mask - 1) {
            const char *stop = line.p + at + __builtin_ctzll(mask);
            if (count < max) {
                fields[count].p = start;
                fields[count].n = (size_t)(stop - start);
            }
            count++;
            start = stop + 1;
        }
    }
    if (count < max) {
        fields[count].p = start;
        fields[count].n = line.n - (size_t)(start - line.p);
    }
    return count + 1;
}

/* Split at the last `separator`; false when there is none, and both are as they were.  Cheapest where what is after it is
 * short, as it is looked for from the end. */
static inline bool fe_split_last(fe_slice line, char separator, fe_slice *before, fe_slice *after)
{
    const char *found = NULL;
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    if (line.n >= 8) {
        uint64_t w, other;
        memcpy(&w, line.p + line.n - 8, 8);
        w ^= 0x0101010101010101u * (unsigned char)separator;
        other = ((w & 0x7f7f7f7f7f7f7f7fu) + 0x7f7f7f7f7f7f7f7fu) | w | 0x7f7f7f7f7f7f7f7fu;
        if (~other)
            found = line.p + line.n - 1 - (__builtin_clzll(~other) >> 3);
    }
#endif
    for (size_t at = line.n; !found && at > 0; at--)
        if (line.p[at - 1] == separator)
            found = line.p + at - 1;
    if (!found)
        return false;
    after->p = found + 1;
    after->n = line.n - (size_t)(found + 1 - line.p);
    before->p = line.p;
    before->n = (size_t)(found - line.p);
    return true;
}

/* The number that the whole slice is, or `otherwise` when it is none or out of range:
 * an optional sign and decimal digits; for f64 also a fraction and an exponent, "inf"
 * and "nan".  Exact: fe_save_text prints an f64 so that this gives it back. */
FERRO_API int64_t fe_parse_i64(fe_slice s, int64_t otherwise);
FERRO_API double fe_parse_f64_any(fe_slice s, double otherwise); /* behind fe_parse_f64() */
FERRO_API int64_t fe_parse_decimal_any(fe_slice s, unsigned places,
                                       int64_t otherwise); /* behind fe_parse_decimal() */

/* Eight bytes, the first digit first, each '0' to '9' with 0x30 taken off: the number that they are. */
static inline uint64_t fe_eight_digits(uint64_t digits)
{
    digits = digits * 10 + (digits >> 8);
    return ((digits & 0xff000000ffu) * 0xf424000000064u + (digits >> 16 & 0xff000000ffu) * 0x271000000001u) >>
           32;
}

/* Digits with or without a sign and a fraction, 8 bytes in all, as one word: false for anything else. */
static inline bool fe_parse_short(fe_slice s, double *out)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    static const double powers[] = { 1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7 };
    const char *whole = s.n - 1 < 8 ? fe_readable(s.p, 8) : NULL;
    if (!whole)
        return false;
    uint64_t w, point, digits, bad;
    memcpy(&w, whole, 8);
    bool minus = (char)w == '-';
    size_t n = s.n - minus;
    if (n == 0)
        return false;
    w = w >> 8 * minus << 8 * (8 - n); /* the last byte is the last digit */
    point = w ^ 0x2e2e2e2e2e2e2e2eu;
    point = (point - 0x0101010101010101u) & ~point & 0x8080808080808080u;
    unsigned fraction = 0;
    size_t left = n; /* digits */
    if (point) {
        unsigned bit = (unsigned)__builtin_ctzll(point) & ~7u; /* of the point's byte, which goes */
        uint64_t before = ((uint64_t)1 << bit) - 1;
        w = (w & ~before & ~((uint64_t)255 << bit)) | (w & before) << 8;
        fraction = 7 - bit / 8;
        if (--left == 0)
            return false;
    }
    digits = w ^ 0x3030303030303030u << 8 * (8 - left);
    bad = ((digits + 0x7676767676767676u) | digits) & 0x8080808080808080u;
    if (bad)
        return false;
    double f =
        (double)fe_eight_digits(digits) / powers[fraction]; /* both are exact: the one rounding is right */
    *out = minus ? -f : f;
    return true;
#else
    (void)s, (void)out;
    return false;
#endif
}

static inline double fe_parse_f64(fe_slice s, double otherwise)
{
    double f;
    return fe_parse_short(s, &f) ? f : fe_parse_f64_any(s, otherwise);
}

/* The usual case of fe_parse_decimal(): 8 bytes at most, with a point and `places` digits after it.  Without a branch by
 * the sign or the length, which come at random. */
static inline bool fe_decimal_short(fe_slice s, unsigned places, int64_t *out)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    const char *whole = s.n - 1 < 8 && places - 1 < 6 ? fe_readable(s.p, 8) : NULL;
    if (!whole)
        return false;
    uint64_t w, digits, before = ((uint64_t)1 << 8 * (7 - places)) - 1; /* bytes before the point's */
    memcpy(&w, whole, 8);
    uint64_t minus = (char)w == '-', n = s.n - minus; /* at least 0 */
    if (n < places + 2)
        return false;
    w = w >> 8 * minus << 8 * (8 - n); /* the last byte is the last digit */
    if ((w >> 8 * (7 - places) & 255) != '.')
        return false;
    w = (w & ~(before << 8 | 255)) | (w & before) << 8;
    digits = w ^ 0x3030303030303030u << 8 * (9 - n);
    if (((digits + 0x7676767676767676u) | digits) & 0x8080808080808080u)
        return false;
    *out = (int64_t)((fe_eight_digits(digits) ^ -minus) + minus);
    return true;
#else
    (void)s, (void)places, (void)out;
    return false;
#endif
}

/* A number with at most `places` digits (0 to 18) after its point, times 10 to the power of `places`: -9.5 with 2 is
 * -950.  Exact, and cheaper than an f64.  `otherwise`: the slice is no such number, an optional sign and decimal digits
 * with or without a point, or too large. */
static inline int64_t fe_parse_decimal(fe_slice s, unsigned places, int64_t otherwise)
{
    int64_t i;
    return fe_decimal_short(s, places, &i) ? i : fe_parse_decimal_any(s, places, otherwise);
}

/* ---- sources --------------------------------------------------------------
 * Each builder below is a macro that adds the place of the call; the functions
 * behind them end in _at. */
typedef struct {
    const char *file;
    int line;
    const char *fn; /* source name of the user function, or NULL */
} fe_place;
#ifdef __cplusplus
#define FERRO_PLACE(fn) (fe_place{ __FILE__, __LINE__, fn })
#else
#define FERRO_PLACE(fn) ((fe_place){ __FILE__, __LINE__, fn })
#endif

/* The lines of text files (value; key: none), without their '\n' (a '\r' stays).
 * Names may be files, folders (all files below, in byte order of their paths,
 * names that begin with '.' left out, links followed) or globs.  A name that matches
 * nothing is an error.  Files are split by size; a line that crosses a split is read
 * once.  What they are is settled here: a file that changes before it is read fails the
 * job.  An executor that can't see a file gets it from the driver. */
#define fe_text(app, n, names) fe_text_at(app, n, names, FERRO_PLACE(NULL))
/* fe_text without the first `header` lines of each file: with fe_csv_fields, CSV whose quoted fields have no newlines. */
#define fe_csv(app, n, names, header) fe_csv_at(app, n, names, header, FERRO_PLACE(NULL))
/* Files of records of a fixed-size `type` (value; key: none), one behind the other in this machine's byte order, such as
 * an array written with fwrite.  Names as for fe_text; a file whose size is no multiple of the type's is an error. */
#define fe_binary(app, n, names, type) fe_binary_at(app, n, names, type, FERRO_PLACE(NULL))
/* n items of `type`: an array of int64_t, double or structs, or of const char *
 * for FERRO_TEXT; copied, at most 1 GiB.  parts 0: one a slot. */
#define fe_collection(app, type, items, n, parts) \
    fe_collection_at(app, type, items, n, parts, FERRO_PLACE(NULL))
/* The integers from..to-1 as values, in `parts` partitions of about the same size; 0: one a slot. */
#define fe_range(app, from, to, parts) fe_range_at(app, from, to, parts, FERRO_PLACE(NULL))

/* ---- transformations ------------------------------------------------------ */

/* One record for each: fn must emit exactly once.  What one call of any function puts
 * out must fit into half of its slot's memory. */
#define fe_map(set, fn, key, value) fe_map_at(set, fn, key, value, FERRO_PLACE(#fn))
#define fe_flat_map(set, fn, key, value) fe_flat_map_at(set, fn, key, value, FERRO_PLACE(#fn))
#define fe_filter(set, fn) fe_filter_at(set, fn, FERRO_PLACE(#fn))
/* The key stays; fn emits exactly one value with fe_emit_value. */
#define fe_map_values(set, fn, value) fe_map_values_at(set, fn, value, FERRO_PLACE(#fn))
/* fn is called once a partition, and takes its records, all or some, with fe_rows_next or fe_rows_array.  What it puts
 * out goes on when it has returned. */
#define fe_map_partitions(set, fn, key, value) fe_map_partitions_at(set, fn, key, value, FERRO_PLACE(#fn))
/* The same dataset; the function of the next builder or action on it gets these n bytes (64 KiB at most; copied, no
 * pointers in them) by fe_args(). */
#define fe_with(set, args, n) fe_with_at(set, args, n, FERRO_PLACE(NULL))
/* n bytes (copied; below 4 GiB) for fe_shared_data(), served by the driver until the application ends: at most 65,536
 * of them, with collections and lists of files over 64 KiB.  What is wrong with them the application's next action
 * says, and fails. */
#define fe_broadcast(app, bytes, n) fe_broadcast_at(app, bytes, n, FERRO_PLACE(NULL))
/* Computed by the first action that needs it, then kept on the executors, in memory or on their disks, until
 * fe_uncache or the application's end; partitions that are lost with an executor are made again.  At
 * most 1,024 at a time.  Tasks go where their
 * partition lies. */
#define fe_cache(set) fe_cache_at(set, FERRO_PLACE(NULL))
#define fe_uncache(set) \
    fe_uncache_at(set, FERRO_PLACE(NULL)) /* a cached one: it is computed anew when needed again */
/* All records of both; types must agree. */
#define fe_union(a, b) fe_union_at(a, b, FERRO_PLACE(NULL))

/* Values of one key merged, first in the map task, then after the shuffle.
 * Values must be of a fixed size (i64, f64, struct). */
#define fe_reduce_by_key(set, fn) fe_reduce_by_key_at(set, fn, 0, FERRO_PLACE(#fn))
#define fe_sum_by_key(set) fe_reduce_kernel_at(set, FERRO_SUM, 0, FERRO_PLACE(NULL)) /* i64 (wraps), f64 */
#define fe_min_by_key(set) fe_reduce_kernel_at(set, FERRO_MIN, 0, FERRO_PLACE(NULL))
#define fe_max_by_key(set) fe_reduce_kernel_at(set, FERRO_MAX, 0, FERRO_PLACE(NULL))
#define fe_count_by_key(set) fe_reduce_kernel_at(set, FERRO_COUNT, 0, FERRO_PLACE(NULL)) /* value: i64 */
/* Records of one key added up in an accumulator of a fixed-size type that starts zeroed, first in the map task, then
 * merged after the shuffle. */
#define fe_aggregate_by_key(set, acc, add, merge) \
    fe_aggregate_by_key_at(set, acc, add, merge, 0, FERRO_PLACE(#add))
/* fn sees each key once, with all its values, in no promised order. */
#define fe_group_by_key(set, fn, key, value) fe_group_by_key_at(set, fn, key, value, 0, FERRO_PLACE(#fn))
/* Inner join: fn for each pair of a left and a right record with equal keys.  A side that is small (its sources
 * have at most 128 MiB) goes to every executor as a table, and the other is not shuffled, unless fe_partitions says
 * how many partitions there are to be. */
#define fe_join(left, right, fn, key, value) fe_join_at(left, right, fn, key, value, 0, FERRO_PLACE(#fn))
/* fn sees each key of either side once, with its values on both: outer joins, differences, intersections. */
#define fe_cogroup(left, right, fn, key, value) \
    fe_cogroup_at(left, right, fn, key, value, 0, FERRO_PLACE(#fn))
/* The same records, all those of one key in one partition. */
#define fe_partition_by_key(set) fe_partition_by_key_at(set, 0, FERRO_PLACE(NULL))
/* Globally sorted: partition i comes wholly before partition i+1.  Text and
 * structs sort as bytes (shorter first), numbers as numbers, NaN last. */
#define fe_sort_by_key(set, order) fe_sort_by_key_at(set, order, 0, FERRO_PLACE(NULL))
/* Ties: by key, ascending. */
#define fe_sort_by_value(set, order) fe_sort_by_value_at(set, order, 0, FERRO_PLACE(NULL))
/* How many partitions the shuffle that made `set` has; 0 (the default): chosen by size. */
#define fe_partitions(set, n) fe_partitions_at(set, n, FERRO_PLACE(NULL))

enum fe_order { FERRO_ASCENDING, FERRO_DESCENDING };
enum fe_kernel { FERRO_SUM = 1, FERRO_MIN, FERRO_MAX, FERRO_COUNT, FERRO_AGGREGATE };

/* ---- actions: each runs one job -------------------------------------------- */

#define fe_count(set, out) fe_count_at(set, out, FERRO_PLACE(NULL)) /* int64_t *out */
/* All records, in partition order.  They must fit in this process's memory:
 * over 1 GiB is an error.  Free with fe_rows_free. */
#define fe_collect(set, out) fe_collect_at(set, out, FERRO_PLACE(NULL)) /* fe_rows **out */
/* The first n, in partition order; runs few partitions. */
#define fe_take(set, n, out) fe_take_at(set, n, out, FERRO_PLACE(NULL))
/* All values merged into *acc (of the value's fixed-size type); *empty (may be NULL) when there was none. */
#define fe_reduce(set, fn, acc, empty) fe_reduce_at(set, fn, acc, empty, FERRO_PLACE(#fn))
/* All records added up in *acc of n bytes (64 KiB at most), which starts zeroed in each task; the tasks' are merged. */
#define fe_aggregate(set, acc, n, add, merge) fe_aggregate_at(set, acc, n, add, merge, FERRO_PLACE(#add))
/* Key, tab, value and newline a record (no key: the value alone) into the folder
 * `dir` as part-00000 and so on, which concatenate in order, and _SUCCESS last;
 * "-" prints on stdout instead (1 GiB at most).  Text goes out as it is, numbers so
 * that they read back exactly, structs as hex.  A folder that exists is an error before the
 * first task, unless the job was started with --overwrite. */
#define fe_save_text(set, dir) fe_save_text_at(set, dir, FERRO_PLACE(NULL))

FERRO_API size_t fe_rows_count(const fe_rows *); /* of collected ones */
FERRO_API void fe_rows_free(fe_rows **);         /* collected ones; nulls it */

/* Words on stderr from a job's main, kept by `ferro logs`. */
FERRO_API void fe_say(fe_app *, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* ---- the functions behind the macros ---------------------------------------- */
FERRO_API fe_set *fe_text_at(fe_app *app, int n, char **names, fe_place place);
FERRO_API fe_set *fe_csv_at(fe_app *app, int n, char **names, uint32_t header, fe_place place);
FERRO_API fe_set *fe_binary_at(fe_app *app, int n, char **names, fe_type type, fe_place place);
FERRO_API fe_set *fe_collection_at(fe_app *app, fe_type type, const void *items, size_t n, uint32_t parts,
                                   fe_place place);
FERRO_API fe_set *fe_range_at(fe_app *app, int64_t from, int64_t to, uint32_t parts, fe_place place);
FERRO_API fe_set *fe_map_at(fe_set *set, fe_each *fn, fe_type key, fe_type value, fe_place place);
FERRO_API fe_set *fe_flat_map_at(fe_set *set, fe_each *fn, fe_type key, fe_type value, fe_place place);
FERRO_API fe_set *fe_filter_at(fe_set *set, fe_keep *fn, fe_place place);
FERRO_API fe_set *fe_map_values_at(fe_set *set, fe_each *fn, fe_type value, fe_place place);
FERRO_API fe_set *fe_map_partitions_at(fe_set *set, fe_part *fn, fe_type key, fe_type value, fe_place place);
FERRO_API fe_set *fe_with_at(fe_set *set, const void *args, size_t n, fe_place place);
FERRO_API fe_shared fe_broadcast_at(fe_app *app, const void *bytes, size_t n, fe_place place);
FERRO_API fe_set *fe_cache_at(fe_set *set, fe_place place);
FERRO_API void fe_uncache_at(fe_set *set, fe_place place);
FERRO_API fe_set *fe_union_at(fe_set *a, fe_set *b, fe_place place);
FERRO_API fe_set *fe_reduce_by_key_at(fe_set *set, fe_merge *fn, uint32_t parts, fe_place place);
FERRO_API fe_set *fe_reduce_kernel_at(fe_set *set, enum fe_kernel kernel, uint32_t parts, fe_place place);
FERRO_API fe_set *fe_aggregate_by_key_at(fe_set *set, fe_type acc, fe_add *add, fe_merge *merge,
                                         uint32_t parts, fe_place place);
FERRO_API fe_set *fe_join_at(fe_set *left, fe_set *right, fe_pair *fn, fe_type key, fe_type value,
                             uint32_t parts, fe_place place);
FERRO_API fe_set *fe_cogroup_at(fe_set *left, fe_set *right, fe_cogroup_fn *fn, fe_type key, fe_type value,
                                uint32_t parts, fe_place place);
FERRO_API fe_set *fe_group_by_key_at(fe_set *set, fe_group *fn, fe_type key, fe_type value, uint32_t parts,
                                     fe_place place);
FERRO_API fe_set *fe_partition_by_key_at(fe_set *set, uint32_t parts, fe_place place);
FERRO_API fe_set *fe_sort_by_key_at(fe_set *set, enum fe_order order, uint32_t parts, fe_place place);
FERRO_API fe_set *fe_sort_by_value_at(fe_set *set, enum fe_order order, uint32_t parts, fe_place place);
FERRO_API fe_set *fe_partitions_at(fe_set *set, uint32_t n, fe_place place);
FERRO_API int fe_count_at(fe_set *set, int64_t *out, fe_place place);
FERRO_API int fe_collect_at(fe_set *set, fe_rows **out, fe_place place);
FERRO_API int fe_take_at(fe_set *set, size_t n, fe_rows **out, fe_place place);
FERRO_API int fe_reduce_at(fe_set *set, fe_merge *fn, void *acc, bool *empty, fe_place place);
FERRO_API int fe_aggregate_at(fe_set *set, void *acc, size_t n, fe_add *add, fe_merge *merge, fe_place place);
FERRO_API int fe_save_text_at(fe_set *set, const char *dir, fe_place place);

/* ---- the job's descriptor ---------------------------------------------------- */
#define FERRO_JOB_MAGIC 0x424f4a46u /* "FJOB" */
struct ferro_job {
    uint32_t magic;
    uint16_t abi_major, abi_minor;
    uint32_t cpu_level; /* x86-64-v1..v4 as 1..4; 0: another architecture's baseline */
    uint32_t pad;
    const char *name;
    int (*main)(fe_app *, int argc, char **argv); /* argv[0] is the job's name */
};

#if defined(__AVX512F__) && defined(__AVX512BW__)
#define FERRO_CPU_LEVEL 4
#elif defined(__AVX2__) && defined(__FMA__)
#define FERRO_CPU_LEVEL 3
#elif defined(__SSE4_2__) && defined(__POPCNT__)
#define FERRO_CPU_LEVEL 2
#elif defined(__x86_64__)
#define FERRO_CPU_LEVEL 1
#else
#define FERRO_CPU_LEVEL 0
#endif

#ifdef __cplusplus
#define FERRO_EXTERN extern "C"
#else
#define FERRO_EXTERN
#endif
#define FERRO_JOB(job_name, fn) \
    FERRO_EXTERN FERRO_API const struct ferro_job ferro_job; \
    const struct ferro_job ferro_job = { \
        FERRO_JOB_MAGIC, FERRO_ABI_MAJOR, FERRO_ABI_MINOR, FERRO_CPU_LEVEL, 0, job_name, fn \
    };

#ifdef __cplusplus
}
#endif
#endif
