/* error.c - see error.h. */
#include "common/base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int error_set(struct error *e, int code, const char *fmt, ...)
{
    if (e == NULL)
        return -1;
    va_list ap;
    va_start(ap, fmt);
    e->code = code;
    vsnprintf(e->words, sizeof e->words, fmt, ap);
    va_end(ap);
    return -1;
}

int error_sys(struct error *e, const char *fmt, ...)
{
    int code = errno;
    if (e == NULL)
        return -1;
    va_list ap;
    va_start(ap, fmt);
    e->code = code;
    vsnprintf(e->words, sizeof e->words, fmt, ap);
    va_end(ap);
    size_t n = strlen(e->words);
    char reason[128];
    snprintf(e->words + n, sizeof e->words - n, ": %s", strerror_r(code, reason, sizeof reason));
    errno = code;
    return -1;
}

int error_prefix(struct error *e, const char *fmt, ...)
{
    if (e == NULL)
        return -1;
    char before[ERROR_WORDS_MAX - 2];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(before, sizeof before, fmt, ap);
    va_end(ap);
    size_t n = strlen(before), room = sizeof e->words - 1 - (n + 2);
    size_t kept = strnlen(e->words, room);
    memmove(e->words + n + 2, e->words, kept);
    e->words[n + 2 + kept] = 0;
    memcpy(e->words, before, n);
    memcpy(e->words + n, ": ", 2);
    return -1;
}
