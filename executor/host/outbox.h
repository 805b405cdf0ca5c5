/* outbox.h - completions on their way to the executor: many a message, none kept for long. */
#ifndef FERRO_EXECUTOR_HOST_OUTBOX_H
#define FERRO_EXECUTOR_HOST_OUTBOX_H

#include "executor/host/daemon.h"

#define OUTBOX_TASKS_MAX 64
#define OUTBOX_NS_MAX 200000  /* since the first that waits */
#define OUTBOX_ALONE_NS 50000 /* tasks that take longer on average are told one by one */

struct outbox {
    uint64_t app;
    uint32_t tasks, nruns, nreports;
    struct rec_run runs[OUTBOX_TASKS_MAX];
    struct rec_report reports[OUTBOX_TASKS_MAX];
    struct arena arena; /* holds what reports point to */
    uint64_t busy_ns, first_ns;
    uint64_t average_ns;
};

void outbox_run(struct outbox *o, uint32_t stage, uint32_t part, uint32_t attempt); /* a plain success */
void outbox_report(struct outbox *o, struct daemon *d, const struct rec_report *r); /* copied */
/* The task that was added took `ns` and ended at `now_ns`: true when it is time to flush. */
bool outbox_took(struct outbox *o, uint64_t ns, uint64_t now_ns);
void outbox_flush(struct outbox *o, struct daemon *d); /* nothing when it is empty */

#endif
