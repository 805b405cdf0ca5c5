/* sched.h - the driver's pure core: one application's leases, stages, attempts and commits.
 *
 * Keys by number (ACT_DIAL.own): 0 the application's driver key.  Connections: one
 * to the manager; per executor one on the control plane and one on the data plane
 * (which serves the driver's blocks to it, and pulls results and saved parts).
 *
 * EV_CALL what:            arg
 *   SCHED_RUN              const struct job_spec *   (valid until SCHED_JOB_ENDED)
 *   SCHED_CLOSE            const struct sched_close * : the application's main returned
 *   SCHED_INTERRUPT        NULL : SIGINT/SIGTERM; the running job fails, the application closes as killed
 *   SCHED_SERVE            const struct served_block * : from now on the driver serves it, and it has that size
 *   SCHED_FORGET           const uint64_t * : what is kept of the dataset with this number (stage_spec.keep) goes
 * ACT_CALL what:
 *   SCHED_JOB_ENDED        const struct sched_ended *
 *   SCHED_RESULT           const struct sched_result * : a committed task's result bytes
 *   SCHED_PROGRESS         NULL : something changed, look at sched_progress()
 *   SCHED_EVENT            const struct sched_event * : a line on the event stream
 *
 * ACT_IO, each answered by EV_IO_DONE (a count, 0, or -errno); DIR is the running job's save_dir:
 *   IO_WRITE   a chunk that was pulled: of a saved part into DIR/_ferro/<app>/<part>.<attempt> at
 *              `offset`, of a result stage into memory under (stage, part, attempt)
 *   IO_SYNC    fsync DIR/_ferro/<app>/<part>.<attempt>, which IO_WRITE made
 *   IO_COMMIT  io.bytes: an array of struct sched_winner, by part: rename exactly those to DIR/part-NNNNN,
 *              sync the directory, write _SUCCESS, remove DIR/_ferro
 *   IO_FREE    forget what IO_WRITE gathered for `stage`; with io.path (DIR) the job failed: remove its staging
 *   IO_SERVE   read `length` at `offset` of a served block and send BLOCK_DATA{tag} on `conn`; also of blocks
 *              that the core knows nothing of: input files.  -ENOENT: there is none; -ESTALE: it has changed;
 *              -EINVAL: it ends before `offset`
 */
#ifndef FERRO_SCHED_SCHED_H
#define FERRO_SCHED_SCHED_H

#include "common/core/step.h"
#include "driver/sched/job.h"

enum sched_call { SCHED_RUN = 1, SCHED_CLOSE, SCHED_INTERRUPT, SCHED_SERVE, SCHED_FORGET };
enum sched_note { SCHED_JOB_ENDED = 1, SCHED_RESULT, SCHED_PROGRESS, SCHED_EVENT };

/* Fields that an event hasn't are 0 or NULL. */
struct sched_event {
    const char *name; /* "task.failed", "stage.begun", "executor.lost", "task.committed" ... */
    uint64_t app;
    uint32_t stage, part, attempt, count;
    const char *executor, *words;
};
/* A committed task of a save stage. */
struct sched_winner {
    uint32_t part, attempt;
};

struct sched_close {
    uint32_t exit_code;
    const char *words;
};
struct sched_ended {
    int code;      /* 0 ok, -1 failed */
    uint64_t rows; /* of all committed tasks of the last stage */
    const char
        *words; /* the whole story for a human, several lines: function, place, partition, every attempt */
};
struct sched_result {
    uint32_t stage, part, attempt;
    struct bytes bytes; /* borrowed; p NULL: it was pulled, the shell has it in memory by its IO_WRITEs */
};

/* All are options of ferro-driver; defaults in brackets. */
struct sched_config {
    const char *manager; /* host:port */
    uint8_t manager_key[KEY_BYTES];
    uint64_t app, epoch;
    uint32_t slots_max;        /* [1,048,576] how many slots to ask for at most */
    uint64_t memory;           /* [512 MiB] per slot */
    const char *labels;        /* that executors must have, separated by commas; NULL: any will do */
    uint32_t attempts_max;     /* [4] */
    uint32_t time_ms_max;      /* [0: none] per attempt */
    uint64_t idle_ms;          /* [1000] a lease without work is returned after this */
    uint64_t copy_ms;          /* [300] a closed connection's tasks run as extra copies after this */
    uint64_t executor_lost_ms; /* [20000] */
    uint64_t reduce_bytes;     /* [16 MiB] aimed at per reduce task */
    uint64_t beat_ms;          /* [1000] until WELCOME says otherwise */
    struct rec_lib *libs;      /* the job's library first; served as driver's blocks */
    uint32_t nlibs;
    const char *name;
};

struct sched;
struct sched *sched_new(const struct sched_config *config);
void sched_free(struct sched **s);
void sched_step(struct sched *s, const struct event *ev, uint64_t now_ns, struct actions *out);
uint64_t sched_deadline(const struct sched *s);

/* Figures for people; also the job's last line. */
struct sched_progress {
    uint32_t stages, stage; /* stages that the job has begun; the one being run */
    const char *stage_name;
    uint64_t tasks, done, running, failed, reruns; /* of that stage; reruns of the job */
    uint64_t tasks_all;                            /* of the job so far */
    uint32_t executors, slots;
    uint64_t bytes_read;  /* by all tasks, shuffles too: what a rate is made of */
    uint64_t bytes_input; /* by those stages that read sources */
    uint64_t bytes_shuffled, rows_out;
    uint64_t parts_by_driver, parts_by_executors;
    uint64_t task_messages; /* TASKS messages sent, for tasks per message */
    const char *waits;      /* what it waits for, or "" */
};
void sched_progress(const struct sched *s, struct sched_progress *out);

#endif
