/* outbox.c - see outbox.h. */
#include "executor/host/outbox.h"

#include "common/base/clock.h"

#include <signal.h>
#include <string.h>
#include <time.h>

#define REPORT_OVERHEAD 256 /* a report's numbers on the wire */
#define FRAME_OVERHEAD 4096 /* the head, and all runs */

static uint32_t size_of(const struct rec_report *r)
{
    uint32_t n = REPORT_OVERHEAD + r->sizes.n + r->result.n + r->words.n + r->tail.n;
    for (uint32_t i = 0; i < r->samples.n; i++)
        n += r->samples.v[i].key.n + 3;
    return n;
}

/* ---- out: the lock is held ------------------------------------------------ */

static void flush(struct outbox *o)
{
    if (o->tasks == 0)
        return;
    struct msg_done m = { .app = o->app,
                          .busy_ns = o->busy_ns,
                          .runs = { o->runs, o->nruns },
                          .reports = { o->reports, o->nreports } };
    daemon_send(o->daemon, MSG_DONE, &m);
    o->tasks = o->nruns = o->nreports = o->bytes = 0;
    o->busy_ns = 0;
    arena_reset(&o->arena);
}

/* Flush it, or leave it to the watch. */
static void took(struct outbox *o, uint64_t ns, uint64_t now_ns)
{
    if (o->tasks++ == 0)
        o->first_ns = now_ns;
    o->busy_ns += ns;
    o->average_ns = o->average_ns ? o->average_ns - o->average_ns / 8 + ns / 8 : ns;
    if (o->tasks >= OUTBOX_TASKS_MAX || o->average_ns > OUTBOX_ALONE_NS ||
        now_ns - o->first_ns >= OUTBOX_NS_MAX || !o->watched)
        flush(o);
    else if (o->asleep && o->more) {
        o->asleep = false;
        pthread_cond_signal(&o->waits);
    }
}

/* ---- in -------------------------------------------------------------------- */

void outbox_run(struct outbox *o, const struct rec_run *r, uint64_t rows, uint64_t ns, uint64_t now_ns)
{
    pthread_mutex_lock(&o->lock);
    struct rec_success *last = o->nruns ? &o->runs[o->nruns - 1] : NULL;
    if (last && last->stage == r->stage && last->attempt == r->attempt && last->rows == rows &&
        last->first + last->count == r->first)
        last->count++;
    else
        o->runs[o->nruns++] = (struct rec_success){ r->stage, r->first, 1, r->attempt, rows };
    took(o, ns, now_ns);
    pthread_mutex_unlock(&o->lock);
}

void outbox_report(struct outbox *o, const struct rec_report *r, uint64_t ns, uint64_t now_ns)
{
    uint32_t bytes = size_of(r);
    pthread_mutex_lock(&o->lock);
    if (o->bytes + bytes > HOST_FRAME_BYTES_MAX - FRAME_OVERHEAD)
        flush(o);
    struct rec_report *c = &o->reports[o->nreports++];
    struct rec_cut *samples = arena_alloc(&o->arena, (r->samples.n + 1u) * sizeof *samples);
    *c = *r;
    c->sizes = arena_bytes(&o->arena, r->sizes);
    c->result = arena_bytes(&o->arena, r->result);
    c->words = arena_bytes(&o->arena, r->words);
    c->tail = arena_bytes(&o->arena, r->tail);
    for (uint32_t i = 0; i < r->samples.n; i++)
        samples[i].key = arena_bytes(&o->arena, r->samples.v[i].key);
    c->samples.v = samples;
    o->bytes += bytes;
    took(o, ns, now_ns);
    pthread_mutex_unlock(&o->lock);
}

void outbox_flush(struct outbox *o)
{
    pthread_mutex_lock(&o->lock);
    flush(o);
    pthread_mutex_unlock(&o->lock);
}

/* ---- the watch --------------------------------------------------------------- */

/* How long the oldest that waits may wait still; 0: no longer. */
static uint64_t left_ns(const struct outbox *o)
{
    uint64_t waited = clock_now_ns() - o->first_ns;
    return waited < OUTBOX_NS_MAX ? OUTBOX_NS_MAX - waited : 0;
}

/* It sleeps while nothing waits; else until the oldest has waited for long enough, whatever the task does. */
static void *watch(void *arg)
{
    struct outbox *o = arg;
    for (;;) {
        pthread_mutex_lock(&o->lock);
        if (o->tasks && left_ns(o) == 0)
            flush(o);
        o->asleep = o->tasks == 0;
        while (o->asleep)
            pthread_cond_wait(&o->waits, &o->lock);
        struct timespec left = { .tv_nsec = (long)left_ns(o) };
        pthread_mutex_unlock(&o->lock);
        nanosleep(&left, NULL);
    }
    return NULL;
}

void outbox_init(struct outbox *o, struct daemon *d)
{
    o->daemon = d;
    pthread_mutex_init(&o->lock, NULL);
    pthread_cond_init(&o->waits, NULL);
}

/* Signals are for the thread of the user's code. */
void outbox_watch(struct outbox *o)
{
    pthread_t thread;
    pthread_attr_t attr;
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    o->watched = pthread_create(&thread, &attr, watch, o) == 0;
    pthread_attr_destroy(&attr);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
}
