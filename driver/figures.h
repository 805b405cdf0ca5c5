/* figures.h - a job's figures in words: sizes, times, the progress line, the last line.  Pure. */
#ifndef FERRO_DRIVER_FIGURES_H
#define FERRO_DRIVER_FIGURES_H

#include "common/base/bytes.h"
#include "driver/sched/sched.h"

/* Each appends to `out` and ends no line. */
void figures_bytes(struct buf *out, uint64_t bytes); /* "512 B", "3.1 MB", "62 MB": powers of 1000 */
void figures_time(struct buf *out, uint64_t ms);     /* "0.61 s", "12.3 s", "2 min 5 s" */

/* A stage in words: "map  [======    ] 23/38 · 4 running · 1 failed · 4 slots · 410 MB/s · 1 s left", where no
 * bytes are read "12 tasks/s".  `elapsed_ms` and `bytes` are of this stage; the bar only with `bar`. */
void figures_stage(struct buf *out, const struct sched_progress *s, uint64_t elapsed_ms, uint64_t bytes,
                   bool bar);

/* Sums over an application's jobs. */
struct figures {
    uint64_t jobs, stages, tasks, reruns, bytes_read, bytes_shuffled, task_messages;
    uint64_t parts_by_driver, parts_by_executors;
    const char *save_dir; /* the last one, NULL: none */
};

/* "2 stages · 38 tasks (8 reruns) · 62 MB read · 3.1 MB shuffled · out/ 8 parts, written by the driver" */
void figures_sum(struct buf *out, const struct figures *f, bool verbose);

#endif
