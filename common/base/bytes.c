/* bytes.c - see bytes.h. */
#include "common/base/bytes.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BUF_BYTES_MIN 64

struct bytes bytes_of(const char *text)
{
    return (struct bytes){ (const uint8_t *)text, (uint32_t)strlen(text) };
}

int bytes_eq(struct bytes a, struct bytes b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

int bytes_cmp(struct bytes a, struct bytes b)
{
    uint32_t n = a.n < b.n ? a.n : b.n;
    int order = n == 0 ? 0 : memcmp(a.p, b.p, n);
    return order != 0 ? order : (a.n > b.n) - (a.n < b.n);
}

char *bytes_text(struct bytes b, char *dst, size_t size)
{
    assert(size > 0);
    size_t n = b.n < size ? b.n : size - 1;
    for (size_t i = 0; i < n; i++)
        dst[i] = (char)(b.p[i] < 0x20 || b.p[i] == 0x7f ? '?' : b.p[i]);
    dst[n] = 0;
    return dst;
}

/* Length of the UTF-8 character at p, 0 when there is none: no overlong form,
 * no surrogate, nothing over U+10FFFF, no NUL. */
static uint32_t utf8_char(const uint8_t *p, uint32_t n)
{
    uint8_t c = p[0], low = 0x80, high = 0xBF;
    uint32_t len;
    if (c < 0x80)
        return c != 0;
    if (c >= 0xC2 && c <= 0xDF) {
        len = 2;
    } else if ((c & 0xF0) == 0xE0) {
        len = 3;
        low = c == 0xE0 ? 0xA0 : low;
        high = c == 0xED ? 0x9F : high;
    } else if (c >= 0xF0 && c <= 0xF4) {
        len = 4;
        low = c == 0xF0 ? 0x90 : low;
        high = c == 0xF4 ? 0x8F : high;
    } else {
        return 0;
    }
    if (n < len || p[1] < low || p[1] > high)
        return 0;
    for (uint32_t i = 2; i < len; i++)
        if ((p[i] & 0xC0) != 0x80)
            return 0;
    return len;
}

uint32_t bytes_utf8_run(const uint8_t *p, uint32_t n)
{
    uint32_t i = 0;
    while (i < n) {
        uint32_t len = utf8_char(p + i, n - i);
        if (len == 0)
            break;
        i += len;
    }
    return i;
}

int bytes_utf8(struct bytes b)
{
    return bytes_utf8_run(b.p, b.n) == b.n;
}

static void die_of_memory(size_t n)
{
    fprintf(stderr, "out of memory: %zu bytes for a buffer\n", n);
    abort();
}

uint8_t *buf_grow(struct buf *b, size_t extra)
{
    if (extra <= b->cap - b->n)
        return b->p + b->n;
    size_t cap = b->cap < BUF_BYTES_MIN ? BUF_BYTES_MIN : b->cap;
    while (cap - b->n < extra) {
        if (cap > SIZE_MAX / 2)
            die_of_memory(extra);
        cap *= 2;
    }
    uint8_t *p = realloc(b->p, cap);
    if (p == NULL)
        die_of_memory(cap);
    b->p = p;
    b->cap = cap;
    return p + b->n;
}

void buf_put(struct buf *b, const void *p, size_t n)
{
    if (n == 0)
        return;
    memcpy(buf_grow(b, n), p, n);
    b->n += n;
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    uint8_t *p = buf_grow(b, BUF_BYTES_MIN);
    int n = vsnprintf((char *)p, b->cap - b->n, fmt, ap);
    assert(n >= 0);
    if ((size_t)n >= b->cap - b->n) {
        p = buf_grow(b, (size_t)n + 1);
        vsnprintf((char *)p, (size_t)n + 1, fmt, again);
    }
    b->n += (size_t)n;
    va_end(again);
    va_end(ap);
}

void buf_reset(struct buf *b)
{
    b->n = 0;
}

void buf_fini(struct buf *b)
{
    free(b->p);
    *b = (struct buf){ 0 };
}
