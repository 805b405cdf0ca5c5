/* op.h - inside the engine: one partition under way, and the operators that carry it.
 *
 * A partition belongs to one leaf of the stage's tree, so what runs is a chain:
 * that leaf, the narrow operators between it and the root, and the sink.  Unions
 * vanish.  Operators are made bottom up; each owns the one below it.
 */
#ifndef FERRO_ENGINE_OPS_OP_H
#define FERRO_ENGINE_OPS_OP_H

#include "engine/batch.h"
#include "engine/task.h"

/* One attempt at one partition.  Everything is borrowed but the arena. */
struct run {
    const struct task_env *env;
    const struct plan *plan;
    const struct msg_stage *stage; /* the STAGE message: inputs, peers, maps */
    uint32_t part, attempt;        /* of the stage */
    struct rec_report *report;     /* rows, bytes_read, sizes, samples, result, out_bytes, flags, fetch_* */
    struct tables **sides;         /* the stage's sides: made by the first task that needs one */
    struct arena arena;            /* freed when the attempt ends */
    uint64_t budget;               /* bytes that operators may hold in all (a part of env->memory) */
    uint64_t held;                 /* bytes that they hold: spill/budget.h */
    struct shared *shared;         /* engine/shared.h; NULL: outside of a task */
    bool failed;                   /* report->cause and words say why */
};

/* End the attempt: the first call's cause and words stay.  Returns -1. */
int run_fail(struct run *r, enum cause cause, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Descriptors of blocks from the executor, env->fetch behind it.  0, or -1 after run_fail(); each got[i].code
 * is the caller's to judge. */
int run_fetch(struct run *r, const struct rec_want *wants, uint32_t n, struct rec_got *got, int *fds);

/* A block of the driver's could not be had: end the attempt with what `got` says.  Only what the driver itself says
 * of a file is the input's fault; a connection's, or an executor's disk's, is nobody's.  Returns -1. */
int run_driver_failed(struct run *r, const struct rec_got *got, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* A user's function: the library's load base + node->fn. */
const void *run_fn(const struct run *r, const struct plan_node *node);

/* What a leaf reads: partition `part` of input number `input` of the stage. */
struct leaf {
    const struct plan_node *node;
    uint32_t input, part;
};

/* Makers.  NULL after run_fail(). */
struct op *op_text(struct run *r, const struct leaf *leaf);
struct op *op_binary(struct run *r, const struct leaf *leaf);
struct op *op_collection(struct run *r, const struct leaf *leaf);
struct op *op_range(struct run *r, const struct leaf *leaf);
struct op *op_read_hash(struct run *r, const struct leaf *leaf);    /* engine/shuffle */
struct op *op_read_groups(struct run *r, const struct leaf *leaf);  /* engine/shuffle: READ_GROUPS, COGROUP */
struct op *op_read_buckets(struct run *r, const struct leaf *leaf); /* engine/shuffle */
struct op *op_read_join(struct run *r, const struct leaf *leaf);    /* engine/join */
struct op *op_probe(struct run *r, const struct plan_node *node, struct op *child); /* engine/join */
struct op *op_read_sorted(struct run *r, const struct leaf *leaf);                  /* engine/shuffle */
struct op *op_read_rows(struct run *r, const struct leaf *leaf);
struct op *op_map(struct run *r, const struct plan_node *node,
                  struct op *child); /* MAP, FLAT_MAP, MAP_VALUES */
struct op *op_filter(struct run *r, const struct plan_node *node, struct op *child);
struct op *op_map_partitions(struct run *r, const struct plan_node *node, struct op *child);

/* Sinks pull their child to the end and fill the report.  0, or -1 after run_fail().  They don't free it. */
int sink_write_hash(struct run *r, const struct plan_node *node, struct op *child);  /* engine/shuffle */
int sink_write_range(struct run *r, const struct plan_node *node, struct op *child); /* engine/shuffle */
int sink_write_rows(struct run *r, const struct plan_node *node, struct op *child);
int sink_write_table(struct run *r, const struct plan_node *node, struct op *child); /* engine/join */
int sink_count(struct run *r, const struct plan_node *node, struct op *child);
int sink_collect(struct run *r, const struct plan_node *node, struct op *child);
int sink_reduce(struct run *r, const struct plan_node *node, struct op *child);
int sink_aggregate(struct run *r, const struct plan_node *node, struct op *child);
int sink_save_text(struct run *r, const struct plan_node *node, struct op *child);

/* ---- what user functions emit into (engine/emit.c) ---------------------------- */

/* An fe_task and the records that were emitted into it.  task.priv points back here. */
struct emitter {
    fe_task task;
    struct run *run;
    const struct plan_node *node;    /* whose function is called: names it in failures */
    uint32_t given;                  /* rows handed up already */
    uint32_t given_key, given_value; /* text: bytes of those */
    const char *input;               /* of the record that the function sees, and of all rows; NULL: none */
    struct arena texts;              /* fields that fe_csv_fields unquoted */
    struct batch batch;              /* the slice handed up last */
};
/* Columns of the node's key and value types. */
void emitter_init(struct emitter *e, struct run *r, const struct plan_node *node);
void emitter_fini(struct emitter *e);
/* The function sees a batch from this file (NULL: from none) next, or another group: what it had from the last one in
 * emitter memory goes. */
static inline void emitter_see(struct emitter *e, const char *input)
{
    e->input = input;
    if (e->texts.total)
        arena_reset(&e->texts);
}
uint64_t emitted_max(const struct run *r); /* bytes that one call of a function may put out */
void emitter_failed(struct emitter *e);    /* the run has failed: what is put out from here on is dropped */
void emitter_reset(struct emitter *e);     /* forget all rows; memory is kept, within BATCH_BYTES */
/* The next slice of at most BATCH_ROWS rows that has not been handed up, NULL when there is none.  One function call may emit
 * any number of rows: callers stop calling at about BATCH_ROWS rows or BATCH_BYTES, hand up slices, reset, go on. */
const struct batch *emitter_next(struct emitter *e);
static inline bool emitter_full(const struct emitter *e)
{
    return e->task.rows >= BATCH_ROWS || e->task.key.used + e->task.value.used >= BATCH_BYTES;
}

#endif
