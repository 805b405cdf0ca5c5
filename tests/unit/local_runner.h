/* local_runner.h - whole jobs in one process, for tests: planner, stages and operators without a cluster.
 *
 * Implements driver/api/runtime.h: runs the tasks of each stage one after the
 * other, keeps blocks as files in a folder of its own, answers fetches from them.
 */
#ifndef FERRO_TESTS_LOCAL_RUNNER_H
#define FERRO_TESTS_LOCAL_RUNNER_H

#include "common/base/map.h"
#include "driver/api/runtime.h"

struct local_config {
    uint64_t split_bytes, memory;
    uint32_t parallelism;
    uint32_t save;         /* as HOST_STAGE.save: 1 staging files, 2 blocks */
    uint32_t reduce_tasks; /* where the job leaves it open; 0: 3 */
};

struct local {
    struct local_config config;
    struct runtime runtime;
    char dir[64];    /* blocks and scratch; removed by local_free() */
    struct buf said; /* every line that was said, with a newline; NUL behind */
    uint32_t stages; /* that were run so far, over all jobs */
    uint32_t tasks, failures, plain, forgets;
    uint64_t bytes_read, bytes_fetched;
    char *stage_names; /* "split; reduce" */
    struct map served; /* first 8 bytes of a block's name -> struct local_served, owned */
};

struct local *local_new(const struct local_config *config);
void local_forget(struct local *l); /* what is served: nobody has it any more */
void local_free(struct local **l);

/* Run a main as ferro_job_main() does: its exit code. */
int local_main(struct local *l, int (*main)(fe_app *, int, char **), int argc, char **argv);

#endif
