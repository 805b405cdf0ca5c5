/* outbox.h - completions on their way to the executor: many a message, none kept for long.
 *
 * The worker's thread fills it, and flushes it when enough has come together.  But
 * its next task may take for ever, so that a thread of its own, the watch, flushes
 * what has waited for too long.  The lock is held for moments only.
 */
#ifndef FERRO_EXECUTOR_HOST_OUTBOX_H
#define FERRO_EXECUTOR_HOST_OUTBOX_H

#include "executor/host/daemon.h"

#include <pthread.h>

#define OUTBOX_TASKS_MAX 64
#define OUTBOX_NS_MAX 200000  /* since the first that waits */
#define OUTBOX_ALONE_NS 50000 /* tasks that take longer on average are told one by one */

struct outbox {
    uint64_t app;
    pthread_mutex_t lock; /* of all below, but for average_ns */
    pthread_cond_t waits; /* something does, and the watch sleeps */
    bool watched, asleep;
    bool more;             /* the worker's alone: it goes on with another task at once, else it flushes */
    struct daemon *daemon; /* borrowed */
    uint32_t tasks, nruns, nreports, bytes;
    struct rec_success runs[OUTBOX_TASKS_MAX];
    struct rec_report reports[OUTBOX_TASKS_MAX];
    struct arena arena; /* holds what reports point to */
    uint64_t busy_ns, first_ns;
    uint64_t average_ns;
};

void outbox_init(struct outbox *o, struct daemon *d);
/* Begin to watch: in a thread that is confined as its caller is by now.  Without one
 * nothing is kept back.  */
void outbox_watch(struct outbox *o);
/* A task ended at `now_ns` after `ns`, with a plain success of `rows` rows; or with a report, which is copied. */
void outbox_run(struct outbox *o, const struct rec_run *r, uint64_t rows, uint64_t ns, uint64_t now_ns);
void outbox_report(struct outbox *o, const struct rec_report *r, uint64_t ns, uint64_t now_ns);
void outbox_flush(struct outbox *o); /* nothing when it is empty */

#endif
