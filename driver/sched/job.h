/* job.h - a job as the scheduler sees it: stages, and what they wait for.
 *
 * Made by the planner (driver/api), run by the scheduler (driver/sched).  The
 * plan itself stays opaque (stage_spec.body).
 */
#ifndef FERRO_SCHED_JOB_H
#define FERRO_SCHED_JOB_H

#include "common/base/bytes.h"
#include "common/core/step.h"

#define JOB_STAGES_MAX 1024
#define STAGE_NO_SHUFFLE UINT32_MAX
#define BUCKETS_DEFAULT 256
#define BUCKETS_MAX 65536

enum stage_kind {
    STAGE_HASH = 1, /* map outputs in `buckets` buckets */
    STAGE_RANGE,    /* sorted map outputs, with samples */
    STAGE_RESULT,   /* results go to the driver */
    STAGE_SAVE,     /* part files */
    STAGE_ROWS,     /* rows as they are: partition i of an input that reads it is its output i */
    STAGE_TABLE,    /* hash tables, which the tasks of other stages all read (sides) */
};

struct stage_input {
    uint32_t ntasks;  /* a source's partitions; of a shuffle: what the user named, 0: chosen by size */
    uint32_t shuffle; /* index of the map stage in this job, or STAGE_NO_SHUFFLE */
    uint32_t other;   /* a join's right side, cut like the left by the sizes of both; else as `shuffle` */
};

struct stage_spec {
    enum stage_kind kind;
    struct bytes body; /* engine/plan.h */
    uint32_t buckets;  /* STAGE_HASH */
    uint32_t ninputs;
    const struct stage_input *inputs;
    uint32_t nsides;
    const uint32_t *sides; /* indexes of STAGE_TABLE stages */
    uint64_t keep;     /* STAGE_ROWS: the cached dataset's number; its outputs outlive the job.  0: none */
    const char *name;  /* for people: its user functions, "split", or its operators */
    const char *place; /* "wordcount.c:24" */
};

/* A block that the driver serves from memory.  Files are the shell's alone (runtime.h). */
struct served_block {
    struct block_id id;
    struct bytes bytes;
};
#define SERVED_MAX 65536u /* of one application */

struct job_spec {
    const struct stage_spec *stages; /* parents before children; the last is the result or save stage */
    uint32_t nstages;
    uint64_t
        take_rows; /* 0: run every task of the last stage; else only as many, in order, as give this many rows */
    const char *save_dir; /* STAGE_SAVE: absolute path, else NULL */
    uint8_t save_token[ID_BYTES];
};

#endif
