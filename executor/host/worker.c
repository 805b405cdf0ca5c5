/* worker.c - see worker.h. */
#include "executor/host/worker.h"

#include "common/base/clock.h"

#include <assert.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- messages in ------------------------------------------------------------ */

static struct item *enqueue(struct worker *w, uint8_t tag)
{
    if (w->n == WORKER_QUEUE_MAX) {
        fprintf(stderr, "ferro-host: more is sent ahead than there is room for\n");
        _exit(1);
    }
    struct item *it = &w->queue[(w->first + w->n++) % WORKER_QUEUE_MAX];
    *it = (struct item){ .tag = tag, .fd = -1 };
    return it;
}

static void on_tasks(struct worker *w, const struct msg_tasks *m)
{
    for (uint32_t i = 0; i < m->ranges.n; i++) {
        const struct rec_range *r = &m->ranges.v[i];
        if (r->count)
            enqueue(w, MSG_TASKS)->tasks = (struct rec_run){ m->stage, r->first, r->count, r->attempt };
    }
}

static void enqueue_part(struct worker *w, struct rec_run r, uint64_t from, uint64_t to)
{
    if (to <= from)
        return;
    r.first = (uint32_t)from;
    r.count = (uint32_t)(to - from);
    enqueue(w, MSG_TASKS)->tasks = r;
}

/* Once round the queue: what is left of each item goes to its end, in order. */
static void cancel(struct worker *w, const struct rec_run *c)
{
    uint64_t from = c->first, to = from + c->count;
    for (uint32_t left = w->n; left; left--) {
        struct item it = w->queue[w->first];
        uint64_t first = it.tasks.first, end = first + it.tasks.count;
        w->first = (w->first + 1) % WORKER_QUEUE_MAX;
        w->n--;
        if (it.tag != MSG_TASKS || it.tasks.stage != c->stage || it.tasks.attempt != c->attempt) {
            *enqueue(w, it.tag) = it;
            continue;
        }
        enqueue_part(w, it.tasks, first, end < from ? end : from);
        enqueue_part(w, it.tasks, first > to ? first : to, end);
    }
}

static void on_cancel(struct worker *w, const struct msg_cancel *m)
{
    for (uint32_t i = 0; i < m->runs.n; i++)
        cancel(w, &m->runs.v[i]);
}

static void on_message(struct worker *w, uint8_t tag, const void *m)
{
    switch (tag) {
    case MSG_HOST_ASSIGN: worker_assign(w, m); break;
    case MSG_HOST_STAGE: {
        struct item *it = enqueue(w, tag);
        it->stage = *(const struct msg_host_stage *)m;
        if (w->daemon.nfds)
            it->fd = w->daemon.fds[--w->daemon.nfds];
        break;
    }
    case MSG_TASKS: on_tasks(w, m); break;
    case MSG_CANCEL: on_cancel(w, m); break;
    default: break; /* nothing else is for a host */
    }
    daemon_close_fds(&w->daemon);
}

/* ---- blocks ------------------------------------------------------------------- */

/* A descriptor that the executor could not open after all is one of /dev/null: no block is a device. */
static bool is_block(int fd)
{
    struct stat st;
    return fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
}

/* Answers in the order asked. */
static void take_answer(struct worker *w, const struct msg_fetched *m, struct rec_got *got, int *fds)
{
    struct daemon *d = &w->daemon;
    int next = 0;
    arena_reset(&w->fetched);
    for (uint32_t i = 0; i < m->got.n; i++) {
        got[i] = m->got.v[i];
        got[i].words = arena_bytes(&w->fetched, got[i].words);
        fds[i] = got[i].code == 0 && next < d->nfds ? d->fds[next++] : -1;
        if (got[i].code || (fds[i] >= 0 && is_block(fds[i])))
            continue;
        if (fds[i] >= 0)
            close(fds[i]);
        fds[i] = -1;
        got[i].code = BLOCK_GONE;
        got[i].words = bytes_of("it went while it was fetched");
    }
    while (next < d->nfds)
        close(d->fds[next++]);
    d->nfds = 0;
}

static int fetch(void *user, const struct rec_want *wants, uint32_t n, struct rec_got *got, int *fds)
{
    struct worker *w = user;
    const void *m;
    assert(n >= 1 && n <= HOST_FDS_MAX);
    outbox_flush(&w->outbox); /* this may take long */
    daemon_send(&w->daemon, MSG_FETCH, &(struct msg_fetch){ .wants = { wants, n } });
    for (;;) {
        uint8_t tag = daemon_recv(&w->daemon, true, &m);
        if (tag != MSG_FETCHED) {
            on_message(w, tag, m);
            continue;
        }
        if (((const struct msg_fetched *)m)->got.n != n)
            return -1;
        take_answer(w, m, got, fds);
        return 0;
    }
}

/* ---- tasks -------------------------------------------------------------------- */

static void run_here(struct worker *w, const struct rec_run *r, struct rec_report *report, bool *plain)
{
    *plain = false;
    if (w->stage && w->stage_number == r->stage) {
        ferro_stage_run(w->stage, r->first, r->attempt, report, plain);
        return;
    }
    report->cause = CAUSE_ERROR;
    report->words = bytes_of(w->stage_number == r->stage && w->stage_error.words[0]
                                 ? w->stage_error.words
                                 : "its host was not told of this stage");
}

/* One task, and its place on the board while it runs. */
static void run_task(struct worker *w, const struct rec_run *r)
{
    struct rec_report report = { 0 };
    struct rusage use;
    bool plain;
    uint64_t began = w->since_ns ? w->since_ns : clock_now_ns();
    w->board->stage = r->stage;
    w->board->part = r->first;
    w->board->attempt = r->attempt;
    atomic_store_explicit(&w->board->running, true, memory_order_release);
    run_here(w, r, &report, &plain);
    atomic_store_explicit(&w->board->running, false, memory_order_release);
    uint64_t now = w->since_ns = clock_now_ns();
    if (plain)
        outbox_run(&w->outbox, r, report.rows, now - began, now);
    else {
        getrusage(RUSAGE_SELF, &use);
        report.stage = r->stage;
        report.part = r->first;
        report.attempt = r->attempt;
        report.ms = (now - began) / 1000000;
        report.peak_bytes = (uint64_t)use.ru_maxrss << 10;
        outbox_report(&w->outbox, &report, now - began, now);
    }
}

static void next_item(struct worker *w)
{
    struct item *it = &w->queue[w->first];
    struct rec_run one = it->tasks;
    bool last = it->tag != MSG_TASKS || it->tasks.count == 1;
    it->tasks.first++;
    it->tasks.count--;
    if (it->tag == MSG_HOST_STAGE)
        worker_stage(w, it);
    if (last) {
        w->first = (w->first + 1) % WORKER_QUEUE_MAX;
        w->n--;
    }
    w->outbox.more = w->n > 0;
    if (one.count)
        run_task(w, &one);
}

/* Nothing to do for long: memory goes back. */
static void idle(struct worker *w)
{
    struct pollfd ready = { .fd = w->daemon.fd, .events = POLLIN };
    if (w->kept.n && poll(&ready, 1, KEPT_IDLE_MS) == 0)
        ferro_kept_drop(&w->kept);
}

void worker_run(struct worker *w)
{
    const void *m;
    uint8_t tag;
    uint32_t told = 0; /* completions since the socket was looked at */
    for (;;) {
        if (w->n == 0) {
            fflush(stdout);
            outbox_flush(&w->outbox);
            w->since_ns = 0;
            idle(w);
            tag = daemon_recv(&w->daemon, true, &m);
            on_message(w, tag, m);
        }
        if (++told >= OUTBOX_TASKS_MAX || w->outbox.average_ns > OUTBOX_ALONE_NS) {
            told = 0;
            while (w->n < WORKER_QUEUE_MAX / 2 && (tag = daemon_recv(&w->daemon, false, &m)) != 0)
                on_message(w, tag, m);
        }
        if (w->n)
            next_item(w);
    }
}

void worker_init(struct worker *w)
{
    w->daemon.fd = HOST_SOCKET_FD;
    w->board = mmap(NULL, sizeof *w->board, PROT_READ | PROT_WRITE, MAP_SHARED, HOST_BOARD_FD, 0);
    if (w->board == MAP_FAILED) {
        perror("ferro-host: its board");
        _exit(1);
    }
    close(HOST_BOARD_FD);
    outbox_init(&w->outbox, &w->daemon);
    w->env.fetch = fetch;
    w->env.user = w;
    w->env.kept = &w->kept;
}
