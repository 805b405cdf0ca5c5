/* progress.h - what a person sees while a job runs, all of it on stderr.
 *
 * On a terminal one line that is drawn again at most ten times a second, otherwise plain lines at most once a
 * second; lines for what happens to executors; what the job waits for; and the last line, with its figures.
 * Calls may come from any thread.
 */
#ifndef FERRO_DRIVER_PROGRESS_H
#define FERRO_DRIVER_PROGRESS_H

#include "common/base/bytes.h"
#include "driver/sched/sched.h"

struct progress_config {
    int fd;        /* stderr */
    bool terminal; /* it is one */
    bool colour, quiet, verbose;
    uint64_t app;
    const char *name; /* the job's */
};

struct progress;

struct progress *progress_new(const struct progress_config *config, uint64_t now_ns);
void progress_free(struct progress **p); /* clears the line */

/* A line for people that stays; not with `quiet`.  progress_error() is never quiet, and may have several lines. */
void progress_say(struct progress *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void progress_error(struct progress *p, const char *words);

/* A job (an action) begins; `save_dir` NULL: no saved output. */
void progress_begin(struct progress *p, const char *save_dir, uint64_t now_ns);
void progress_event(struct progress *p, const struct sched_event *ev);
/* How it stands; draws when that is due. */
void progress_update(struct progress *p, const struct sched_progress *s, uint64_t now_ns);
uint64_t
progress_deadline(const struct progress *p); /* when progress_update() should come next; UINT64_MAX: never */
void progress_end(struct progress *p, const struct sched_progress *s, bool ok);

/* The application's last line. */
void progress_last(struct progress *p, uint64_t now_ns);

#endif
