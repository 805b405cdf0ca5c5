/* csv.c - the fields of a line of CSV: fe_csv_fields.
 *
 * A line without quotes is looked at 32 bytes at a time; from the first block with one on, field by field.
 * Fields lie in the line; only one with doubled quotes, or with text behind its closing quote, is copied.
 */
#include "engine/ops/op.h"

#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

/* The next separator from p on, or `end`: most fields are short. */
static inline const char *field_end(const char *p, const char *end, char separator)
{
#ifdef __SSE2__
    const __m128i wanted = _mm_set1_epi8(separator);
    for (; end - p >= 16; p += 16) {
        __m128i block = _mm_loadu_si128((const __m128i *)(const void *)p);
        unsigned found = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(block, wanted));
        if (found)
            return p + __builtin_ctz(found);
    }
#endif
    const char *found = p < end ? memchr(p, separator, (size_t)(end - p)) : NULL;
    return found ? found : end;
}

/* Memory for a field of n bytes that lives until the function returns; NULL when there is too much of it. */
static char *text_room(fe_task *t, size_t n)
{
    struct emitter *e = t->priv;
    uint64_t max = emitted_max(e->run);
    if (!t->failed && e->texts.total + n <= max)
        return arena_alloc(&e->texts, n);
    fe_fail(t, "one call unquoted over %llu MiB, all that its slot's memory allows",
            (unsigned long long)(max >> 20));
    return NULL;
}

/* From behind the opening quote up to `stop`, without the closing quote and the first of each two. */
static fe_slice unquoted(fe_task *t, const char *p, const char *stop)
{
    bool inside = true;
    char *text = text_room(t, (size_t)(stop - p)), *to = text;
    if (!text)
        return (fe_slice){ p, 0 };
    for (; p < stop; p++) {
        if (*p != '"' || !inside)
            *to++ = *p;
        else if (p + 1 < stop && p[1] == '"')
            *to++ = *p++;
        else
            inside = false;
    }
    return (fe_slice){ text, (size_t)(to - text) };
}

/* A field whose opening quote is before p: where it ends, separators between its quotes aside. */
static const char *quoted_end(fe_task *t, const char *p, const char *end, char separator, fe_slice *field)
{
    const char *quote = p;
    bool plain = true;
    while ((quote = quote < end ? memchr(quote, '"', (size_t)(end - quote)) : NULL) && quote + 1 < end &&
           quote[1] == '"') {
        plain = false;
        quote += 2;
    }
    const char *stop = quote ? field_end(quote + 1, end, separator) : end;
    if (plain && (!quote || stop == quote + 1))
        *field = (fe_slice){ p, (size_t)((quote ? quote : end) - p) };
    else
        *field = unquoted(t, p, stop);
    return stop;
}

/* Fields from p on, the first of them number n, quoted ones among them: how many there are then. */
static size_t rest_split(fe_task *t, const char *p, const char *end, char separator, fe_slice *fields,
                         size_t max, size_t n)
{
    for (;; p++) {
        fe_slice field;
        const char *stop;
        if (p < end && *p == '"')
            stop = quoted_end(t, p + 1, end, separator, &field);
        else {
            stop = field_end(p, end, separator);
            field = (fe_slice){ p, (size_t)(stop - p) };
        }
        if (n++ < max)
            fields[n - 1] = field;
        if (stop == end)
            return n;
        p = stop;
    }
}

#ifdef __SSE2__
#define BLOCK 32

static inline uint32_t equal_mask(const char *p, char c)
{
    const __m128i wanted = _mm_set1_epi8(c);
    __m128i low = _mm_loadu_si128((const __m128i *)(const void *)p);
    __m128i high = _mm_loadu_si128((const __m128i *)(const void *)(p + 16));
    return (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(low, wanted)) |
           (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(high, wanted)) << 16;
}

/* Where the separators are in the (up to) 32 bytes at p: a bit each; false: there is a quote among them. */
static inline bool block_look(const char *p, size_t n, char separator, uint32_t *separators)
{
    char last[BLOCK];
    uint32_t valid = n < BLOCK ? (1u << n) - 1 : UINT32_MAX;
    const char *whole = n >= BLOCK ? p : n ? fe_readable(p, BLOCK) : NULL;
    if (!whole) {
        memset(last, 0, sizeof last);
        whole = n ? memcpy(last, p, n) : last;
    }
    *separators = equal_mask(whole, separator) & valid;
    return (equal_mask(whole, '"') & valid) == 0;
}
#endif

size_t fe_csv_fields(fe_task *t, fe_slice line, char separator, fe_slice *fields, size_t max)
{
    const char *p = line.p, *end = line.p + line.n;
    size_t n = 0;
    if (line.n && end[-1] == '\r')
        end--;
#ifdef __SSE2__
    uint32_t found;
    for (const char *block = p; block_look(block, (size_t)(end - block), separator, &found); block += BLOCK) {
        for (; found; found &= found - 1) {
            const char *stop = block + __builtin_ctz(found);
            if (n++ < max)
                fields[n - 1] = (fe_slice){ p, (size_t)(stop - p) };
            p = stop + 1;
        }
        if (end - block > BLOCK)
            continue;
        if (n++ < max)
            fields[n - 1] = (fe_slice){ p, (size_t)(end - p) };
        return n;
    }
#endif
    return rest_split(t, p, end, separator, fields, max, n);
}
