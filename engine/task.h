/* task.h - run one partition of a stage: what a task host calls.
 *
 * Exported from libferro.so for ferro-host; single-threaded.
 */
#ifndef FERRO_ENGINE_TASK_H
#define FERRO_ENGINE_TASK_H

#include "common/proto/proto.h"
#include "engine/plan.h"

/* What the host gives a task.  All borrowed for the life of the stage. */
struct task_env {
    uint64_t app;
    uint64_t memory;     /* bytes that the slot may use in all; operators keep to a budget within */
    const char *scratch; /* where output files are made: "<scratch>/<stage>.<part>.<attempt>" */
    const char *disk;    /* where spills, and outputs when to_disk, are made */
    bool to_disk;
    uint32_t save;       /* HOST_STAGE.save */
    const void *library; /* load base of the job's library: function = base + offset */
    /* Descriptors for up to HOST_FDS_MAX blocks: fills got[i] and fds[i] (-1 where code is not 0;
     * the caller closes the others).  -1: the executor is gone, give up. */
    int (*fetch)(void *user, const struct rec_want *wants, uint32_t n, struct rec_got *got, int *fds);
    void *user;
    struct kept *kept; /* engine/kept.h; NULL: nothing stays mapped between tasks */
};

struct task_stage; /* a stage made ready: plan decoded, functions resolved, inputs known */

/* `frame` is a whole STAGE frame, kept mapped by the caller while the stage lives.
 * NULL and `e` when it can't be run at all. */
FERRO_API struct task_stage *ferro_stage_open(struct bytes frame, const struct task_env *env,
                                              struct error *e);
FERRO_API void ferro_stage_close(struct task_stage **s);

/* Run partition `part`.  Fills `report` (its pointers are valid until the next
 * call): stage, part, attempt, cause and words, sizes, samples, result, out_bytes,
 * rows, bytes_read, flags, fetch_*; the caller adds times and peaks.  `plain` is
 * set when there is nothing to report but success. */
FERRO_API void ferro_stage_run(struct task_stage *s, uint32_t part, uint32_t attempt,
                               struct rec_report *report, bool *plain);

#endif
