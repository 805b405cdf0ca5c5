/* log.c - see log.h.  A line is built on the stack and goes out in one write(2),
 * so that lines of several threads or processes never mix. */
#include "common/base/log.h"
#include "common/base/bytes.h"
#include "common/base/clock.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LINE_BYTES_MAX 4096 /* as PIPE_BUF: a pipe takes such a line whole */
#define EVENT_WAIT_MS_MAX \
    200 /* once, for a reader of events that lags; then events are dropped, and counted */
#define SERVICE_BYTES_MAX 32

static struct {
    char service[SERVICE_BYTES_MAX];
    enum log_level most;
    bool colour;
    int events_fd;
    pthread_mutex_t lock; /* of what follows, and of the order of events */
    uint64_t dropped;
} logger = { .service = "ferro", .most = LOG_INFO, .events_fd = -1, .lock = PTHREAD_MUTEX_INITIALIZER };

static const struct {
    const char *name, *colour;
} levels[] = {
    [LOG_ERROR] = { "error", "\033[1;31m" },
    [LOG_WARN] = { "warn", "\033[1;33m" },
    [LOG_INFO] = { "info", "\033[32m" },
    [LOG_DEBUG] = { "debug", "\033[2m" },
};

void log_init(const char *service, enum log_level most, int events_fd)
{
    const char *no_colour = getenv("NO_COLOR");
    snprintf(logger.service, sizeof logger.service, "%s", service);
    logger.most = most;
    logger.events_fd = events_fd;
    logger.colour = isatty(STDERR_FILENO) && (no_colour == NULL || *no_colour == 0);
}

int log_level_parse(const char *text, enum log_level *out)
{
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++)
        if (strcmp(text, levels[i].name) == 0) {
            *out = (enum log_level)i;
            return 0;
        }
    return -1;
}

/* write(2) that neither stops at a signal nor dies when the reader is gone: a
 * SIGPIPE of this very write is taken back before the thread can get it. */
static void write_line(int fd, const char *line, size_t n)
{
    sigset_t pipe_only, before, pending;
    sigemptyset(&pipe_only);
    sigaddset(&pipe_only, SIGPIPE);
    sigpending(&pending);
    pthread_sigmask(SIG_BLOCK, &pipe_only, &before);
    ssize_t done;
    do
        done = write(fd, line, n);
    while (done < 0 && errno == EINTR);
    if (done < 0 && errno == EPIPE && !sigismember(&pending, SIGPIPE))
        while (sigtimedwait(&pipe_only, NULL, &(struct timespec){ 0 }) < 0 && errno == EINTR)
            continue;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* A line under construction; what doesn't fit is cut. */
struct line {
    size_t n, max;
    char text[LINE_BYTES_MAX];
};

static void add(struct line *l, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void add(struct line *l, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(l->text + l->n, l->max - l->n, fmt, ap);
    va_end(ap);
    if (n > 0 && (size_t)n < l->max - l->n)
        l->n += (size_t)n;
}

/* ---- log lines ------------------------------------------------------------ */

/* Peers' and users' words may hold anything: control characters and what isn't
 * UTF-8 become visible, so that nothing forges a line or drives the terminal. */
static void add_visible(struct line *l, const char *text)
{
    for (const uint8_t *p = (const uint8_t *)text; *p != 0 && l->n + 8 < l->max;) {
        uint32_t len = bytes_utf8_run(p, (uint32_t)strnlen((const char *)p, 4));
        bool control = *p < 0x20 || *p == 0x7f || (len > 1 && p[0] == 0xC2 && p[1] < 0xA0);
        if (*p == '\n') {
            add(l, "\\n");
        } else if (len == 0 || control) {
            add(l, "\\x%02x", *p);
        } else {
            l->text[l->n++] = (char)*p;
            if (*p >= 0x80) /* the rest of this character */
                while (l->n < l->max && (p[1] & 0xC0) == 0x80)
                    l->text[l->n++] = (char)*++p;
        }
        p++;
    }
}

static void add_time(struct line *l)
{
    uint64_t ms = clock_unix_ms();
    time_t seconds = (time_t)(ms / 1000);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    l->n += strftime(l->text + l->n, l->max - l->n, "%Y-%m-%dT%H:%M:%S", &tm);
    add(l, ".%03uZ ", (unsigned)(ms % 1000));
}

void log_line(enum log_level level, const char *fmt, ...)
{
    if (level > logger.most)
        return;
    char words[LINE_BYTES_MAX];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(words, sizeof words, fmt, ap);
    va_end(ap);
    int kept = errno;
    struct line l = { .max = LINE_BYTES_MAX - 1 };
    add_time(&l);
    add(&l, "%s%s%s %s ", logger.colour ? levels[level].colour : "", levels[level].name,
        logger.colour ? "\033[0m" : "", logger.service);
    add_visible(&l, words);
    l.text[l.n++] = '\n';
    write_line(STDERR_FILENO, l.text, l.n);
    errno = kept;
}

/* ---- events --------------------------------------------------------------- */

/* Bytes that aren't UTF-8 become U+FFFD: the stream is always valid JSON. */
static void add_json_string(struct line *l, const char *text)
{
    add(l, "\"");
    const uint8_t *p = (const uint8_t *)text;
    size_t left = strlen(text);
    while (left > 0 && l->n + 8 < l->max) {
        uint32_t len = *p < 0x80 ? 1 : 2;
        while (len <= 4 && len <= left && *p >= 0x80 && bytes_utf8_run(p, len) != len)
            len++;
        if (*p == '"' || *p == '\\')
            add(l, "\\%c", *p);
        else if (*p < 0x20)
            add(l, "\\u%04x", *p);
        else if (len > 4 || len > left)
            add(l, "\\ufffd"), len = 1;
        else
            add(l, "%.*s", (int)len, (const char *)p);
        p += len;
        left -= len;
    }
    l->text[l->n++] = '"';
}

static void add_pairs(struct line *l, va_list ap)
{
    const char *key;
    while ((key = va_arg(ap, const char *)) != NULL) {
        int kind = va_arg(ap, int);
        uint64_t u = kind == 'u' ? va_arg(ap, uint64_t) : 0;
        int64_t i = kind == 'i' ? va_arg(ap, int64_t) : 0;
        const char *s = kind == 's' ? va_arg(ap, const char *) : NULL;
        if (l->n + strlen(key) + 32 > l->max)
            continue; /* no room: the line stays whole without it */
        add(l, ",\"%s\":", key);
        if (kind == 'u')
            add(l, "%llu", (unsigned long long)u);
        else if (kind == 'i')
            add(l, "%lld", (long long)i);
        else
            add_json_string(l, s == NULL ? "" : s);
    }
}

/* Is there room for a line?  A reader that lags is waited for once, shortly. */
static bool reader_ready(void)
{
    struct pollfd p = { .fd = logger.events_fd, .events = POLLOUT };
    return poll(&p, 1, logger.dropped == 0 ? EVENT_WAIT_MS_MAX : 0) == 1;
}

void event_emit(const char *name, ...)
{
    if (logger.events_fd < 0)
        return;
    struct line l = { .max = LINE_BYTES_MAX - 48 }; /* room for the end of the line */
    add(&l, "{\"event\":\"%s\",\"service\":\"%s\",\"ms\":%llu", name, logger.service,
        (unsigned long long)(clock_now_ns() / 1000000u));
    va_list ap;
    va_start(ap, name);
    add_pairs(&l, ap);
    va_end(ap);
    l.max = LINE_BYTES_MAX;

    int kept = errno;
    pthread_mutex_lock(&logger.lock);
    if (reader_ready()) {
        if (logger.dropped > 0)
            add(&l, ",\"dropped\":%llu", (unsigned long long)logger.dropped);
        logger.dropped = 0;
        add(&l, "}\n");
        write_line(logger.events_fd, l.text, l.n);
    } else {
        logger.dropped++;
    }
    pthread_mutex_unlock(&logger.lock);
    errno = kept;
}
