/* progress.c - see progress.h. */
#include "driver/progress.h"
#include "driver/figures.h"

#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define MS 1000000ull
#define DRAW_NS (100 * MS)        /* on a terminal */
#define PLAIN_NS (1000 * MS)      /* elsewhere */
#define WAITS_NS (1000 * MS)      /* what it waits for is said after this */
#define JOINS_FROM_NS (1000 * MS) /* executors that are there by then need no line */
#define JOINS_NS (200 * MS)       /* joins that come together are one line */
#define COLUMNS 80                /* of a terminal that doesn't say */
#define LINE_BYTES_MAX 2048
#define STUCK_MS 200 /* once, for a reader of stderr that lags */

struct progress {
    struct progress_config config;
    pthread_mutex_t lock; /* of all that follows */
    struct buf text;
    bool stuck; /* the reader doesn't read */
    bool drawn; /* a line of ours is on the terminal, unfinished */
    uint64_t born_ns;
    struct figures sum;
    char save_dir[PATH_MAX];
    /* the job that runs */
    bool running;
    uint64_t begun_ns, due_ns;
    uint32_t stage;
    uint64_t stage_ns, stage_bytes; /* when it was first seen, and what had been read by then */
    uint64_t done_shown;            /* plain lines: only when something was done */
    char waits[512];
    uint64_t waits_ns;         /* since when; 0: said already */
    uint32_t executors, slots; /* known to the reader */
    uint64_t joins_ns;         /* more of them since then; 0: no */
    char failed[512];          /* the words of the last failure: the same are not said again */
};

struct progress *progress_new(const struct progress_config *config, uint64_t now_ns)
{
    struct progress *p = calloc(1, sizeof *p);
    if (!p)
        abort();
    p->config = *config;
    p->born_ns = now_ns;
    pthread_mutex_init(&p->lock, NULL);
    return p;
}

/* ---- writing ------------------------------------------------------------------- */

/* Who doesn't read us must not stop the loop, and with it the beats: then lines are lost. */
static bool reader_ready(struct progress *p)
{
    struct pollfd ready = { .fd = p->config.fd, .events = POLLOUT };
    p->stuck = poll(&ready, 1, p->stuck ? 0 : STUCK_MS) != 1;
    return !p->stuck;
}

/* A line in one write: lines of several threads never mix. */
static void put(struct progress *p)
{
    const uint8_t *at = p->text.p;
    for (size_t left = p->text.n; left && reader_ready(p);) {
        ssize_t n = write(p->config.fd, at, left < PIPE_BUF ? left : PIPE_BUF);
        if (n <= 0)
            break; /* nobody is there to read */
        at += n;
        left -= (size_t)n;
    }
    buf_reset(&p->text);
}

static void clear(struct progress *p)
{
    if (p->drawn)
        buf_printf(&p->text, "\r\033[K");
    p->drawn = false;
}

static void say(struct progress *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void say(struct progress *p, const char *fmt, ...)
{
    char words[LINE_BYTES_MAX];
    va_list ap;
    if (p->config.quiet)
        return;
    va_start(ap, fmt);
    vsnprintf(words, sizeof words, fmt, ap);
    va_end(ap);
    clear(p);
    buf_printf(&p->text, "%s\n", words);
    put(p);
}

void progress_say(struct progress *p, const char *fmt, ...)
{
    char words[LINE_BYTES_MAX];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(words, sizeof words, fmt, ap);
    va_end(ap);
    pthread_mutex_lock(&p->lock);
    say(p, "%s", words);
    pthread_mutex_unlock(&p->lock);
}

void progress_error(struct progress *p, const char *words)
{
    pthread_mutex_lock(&p->lock);
    clear(p);
    size_t n = strlen(words);
    buf_put(&p->text, words, n);
    if (n == 0 || words[n - 1] != '\n')
        buf_printf(&p->text, "\n");
    put(p);
    pthread_mutex_unlock(&p->lock);
}

/* ---- the line -------------------------------------------------------------------- */

/* How many bytes fit into so many columns; each character counts as one. */
static size_t fit(const struct buf *b, unsigned columns)
{
    size_t at = 0;
    while (at < b->n && ((b->p[at] & 0xC0) == 0x80 || columns-- > 0))
        at++;
    return at;
}

static void draw(struct progress *p, const struct sched_progress *s, uint64_t now)
{
    struct winsize w;
    struct buf line = { 0 };
    figures_stage(&line, s, (now - p->stage_ns) / MS, s->bytes_read - p->stage_bytes, true);
    unsigned columns =
        ioctl(p->config.fd, TIOCGWINSZ, &w) == 0 && w.ws_col > 1 ? w.ws_col - 1u : COLUMNS - 1u;
    buf_printf(&p->text, "\r%s", p->config.colour ? "\033[1m" : "");
    buf_put(&p->text, line.p, fit(&line, columns));
    buf_printf(&p->text, "%s\033[K", p->config.colour ? "\033[0m" : "");
    p->drawn = true;
    put(p);
    buf_fini(&line);
}

static void draw_plain(struct progress *p, const struct sched_progress *s, uint64_t now)
{
    struct buf line = { 0 };
    if (s->done == p->done_shown)
        return;
    p->done_shown = s->done;
    figures_stage(&line, s, (now - p->stage_ns) / MS, s->bytes_read - p->stage_bytes, false);
    say(p, "app %" PRIu64 " %.*s", p->config.app, (int)line.n, (const char *)line.p);
    buf_fini(&line);
}

/* ---- what is said once -------------------------------------------------------------- */

static void look_at_waits(struct progress *p, const struct sched_progress *s, uint64_t now)
{
    const char *waits = s->waits && s->slots == 0 ? s->waits : ""; /* while some run, more is only a wish */
    if (strncmp(p->waits, waits, sizeof p->waits - 1)) {
        snprintf(p->waits, sizeof p->waits, "%s", waits);
        p->waits_ns = *waits ? now : 0;
    }
    if (p->waits_ns && now - p->waits_ns >= WAITS_NS) {
        p->waits_ns = 0;
        say(p, "app %" PRIu64 " waits: %s", p->config.app, p->waits);
        event_emit("app.waits", "app", 'u', p->config.app, "words", 's', p->waits, NULL);
    }
}

static void look_at_joins(struct progress *p, const struct sched_progress *s, uint64_t now)
{
    if (s->executors <= p->executors || p->sum.jobs + s->done == 0 || now - p->begun_ns < JOINS_FROM_NS) {
        p->executors = s->executors; /* losses have lines of their own */
        p->slots = s->slots;
        p->joins_ns = 0;
    } else if (!p->joins_ns) {
        p->joins_ns = now;
    } else if (now - p->joins_ns >= JOINS_NS) {
        uint32_t n = s->executors - p->executors;
        say(p, "app %" PRIu64 ": %u executor%s joined, +%u slots", p->config.app, n, n == 1 ? "" : "s",
            s->slots > p->slots ? s->slots - p->slots : 0);
        p->executors = s->executors;
        p->slots = s->slots;
        p->joins_ns = 0;
    }
}

static void look_at_stage(struct progress *p, const struct sched_progress *s, uint64_t now)
{
    if (p->stage_ns && s->stage == p->stage)
        return;
    p->stage = s->stage;
    p->stage_ns = now;
    p->stage_bytes = s->bytes_read;
    p->done_shown = 0;
}

/* ---- a job --------------------------------------------------------------------------- */

/* As a person would name it: below the current folder without that folder's name. */
static void save_name(struct progress *p, const char *dir)
{
    char here[PATH_MAX];
    size_t n = getcwd(here, sizeof here) ? strlen(here) : 0;
    bool below = n > 1 && !strncmp(dir, here, n) && dir[n] == '/' && dir[n + 1];
    snprintf(p->save_dir, sizeof p->save_dir, "%s", below ? dir + n + 1 : dir);
    for (n = strlen(p->save_dir); n > 1 && p->save_dir[n - 1] == '/'; n--)
        p->save_dir[n - 1] = 0;
    p->sum.save_dir = p->save_dir;
}

void progress_begin(struct progress *p, const char *save_dir, uint64_t now_ns)
{
    pthread_mutex_lock(&p->lock);
    p->running = true;
    p->begun_ns = now_ns;
    p->due_ns = now_ns + (p->config.terminal ? DRAW_NS : PLAIN_NS);
    p->stage_ns = 0;
    if (save_dir)
        save_name(p, save_dir);
    pthread_mutex_unlock(&p->lock);
}

static const char *failed_words(struct progress *p, const char *words)
{
    if (*words && !strncmp(p->failed, words, sizeof p->failed - 1))
        return "the same";
    snprintf(p->failed, sizeof p->failed, "%s", words);
    return words;
}

static bool begins(const char *name, const char *with)
{
    return !strncmp(name, with, strlen(with));
}

/* Any other event, with what it has: attempts begin at 1. */
static void say_event(struct progress *p, const struct sched_event *ev)
{
    static const char *const staged[] = { "stage.", "task.", "fetch.", "pull." };
    struct buf line = { 0 };
    bool of_stage = false;
    for (size_t i = 0; i < sizeof staged / sizeof *staged; i++)
        of_stage |= begins(ev->name, staged[i]);
    if (of_stage)
        buf_printf(&line, " stage %u", ev->stage);
    if (of_stage && ev->attempt)
        buf_printf(&line, " part %u attempt %u", ev->part, ev->attempt);
    else if (ev->count)
        buf_printf(&line, " count %u", ev->count);
    if (ev->executor && *ev->executor)
        buf_printf(&line, " %s", ev->executor);
    if (ev->words && *ev->words)
        buf_printf(&line, ": %s", ev->words);
    say(p, "app %" PRIu64 ": %s%.*s", p->config.app, ev->name, (int)line.n, (const char *)line.p);
    buf_fini(&line);
}

/* What went wrong is for everyone, the rest for who asked.  A loss itself is the scheduler's warning. */
void progress_event(struct progress *p, const struct sched_event *ev)
{
    const char *who = ev->executor ? ev->executor : "", *words = ev->words ? ev->words : "";
    pthread_mutex_lock(&p->lock);
    if (!strcmp(ev->name, "maps.lost"))
        say(p, "app %" PRIu64 ": %u map output%s of stage %u run again", p->config.app, ev->count,
            ev->count == 1 ? "" : "s", ev->stage);
    else if (!strcmp(ev->name, "task.failed"))
        say(p, "app %" PRIu64 ": stage %u, partition %u, attempt %u failed on %s: %s", p->config.app,
            ev->stage, ev->part, ev->attempt, who, failed_words(p, words));
    else if (!strcmp(ev->name, "task.unstarted"))
        say(p, "app %" PRIu64 ": %s can't begin stage %u, partition %u: %s", p->config.app, who, ev->stage,
            ev->part, failed_words(p, words));
    else if (!strcmp(ev->name, "executor.left"))
        say(p, "app %" PRIu64 ": executor %s left", p->config.app, who);
    else if (p->config.verbose && strcmp(ev->name, "task.committed"))
        say_event(p, ev);
    pthread_mutex_unlock(&p->lock);
}

static void draw_when_due(struct progress *p, const struct sched_progress *s, uint64_t now_ns)
{
    if (p->config.quiet || now_ns < p->due_ns)
        return;
    p->due_ns = now_ns + (p->config.terminal ? DRAW_NS : PLAIN_NS);
    if (!p->config.terminal)
        draw_plain(p, s, now_ns);
    else if (s->tasks)
        draw(p, s, now_ns);
}

void progress_update(struct progress *p, const struct sched_progress *s, uint64_t now_ns)
{
    pthread_mutex_lock(&p->lock);
    if (p->running) {
        look_at_stage(p, s, now_ns);
        look_at_waits(p, s, now_ns);
        look_at_joins(p, s, now_ns);
        draw_when_due(p, s, now_ns);
    }
    pthread_mutex_unlock(&p->lock);
}

uint64_t progress_deadline(const struct progress *p)
{
    struct progress *q = (struct progress *)p;
    pthread_mutex_lock(&q->lock);
    uint64_t t = p->running && !p->config.quiet ? p->due_ns : UINT64_MAX;
    if (p->running && p->waits_ns && p->waits_ns + WAITS_NS < t)
        t = p->waits_ns + WAITS_NS;
    pthread_mutex_unlock(&q->lock);
    return t;
}

void progress_end(struct progress *p, const struct sched_progress *s, bool ok)
{
    pthread_mutex_lock(&p->lock);
    struct figures *f = &p->sum;
    p->running = false;
    f->jobs++;
    f->stages += s->stages;
    f->tasks += s->tasks_all;
    f->reruns += s->reruns;
    f->bytes_read += s->bytes_input;
    f->bytes_shuffled += s->bytes_shuffled;
    f->task_messages = s->task_messages; /* the scheduler's own sum */
    if (ok) {
        f->parts_by_driver += s->parts_by_driver;
        f->parts_by_executors += s->parts_by_executors;
    }
    clear(p);
    put(p);
    pthread_mutex_unlock(&p->lock);
}

void progress_last(struct progress *p, uint64_t now_ns)
{
    struct buf line = { 0 };
    pthread_mutex_lock(&p->lock);
    buf_printf(&line, "%s %s ", p->config.name, p->config.colour ? "\033[32mok\033[0m" : "ok");
    figures_time(&line, (now_ns - p->born_ns) / MS);
    if (p->sum.jobs) {
        buf_printf(&line, " \xC2\xB7 ");
        figures_sum(&line, &p->sum, p->config.verbose);
    }
    say(p, "%.*s", (int)line.n, (const char *)line.p);
    pthread_mutex_unlock(&p->lock);
    buf_fini(&line);
}

void progress_free(struct progress **pp)
{
    struct progress *p = *pp;
    *pp = NULL;
    if (!p)
        return;
    clear(p);
    put(p);
    buf_fini(&p->text);
    free(p);
}
