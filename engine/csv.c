/* csv.c - the fields of a line of CSV: fe_csv_fields.
 *
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

size_t fe_csv_fields(fe_task *t, fe_slice line, char separator, fe_slice *fields, size_t max)
{
    const char *p = line.p, *end = line.p + line.n;
    if (line.n && end[-1] == '\r')
        end--;
    for (size_t n = 0;; p++) {
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
