/* plan.h - what travels: a stage's operators, as a tree.
 *
 * The driver's API builds nodes; the planner cuts them into stages at shuffles;
 * each stage's tree travels as the `body` of a STAGE message (msgpack), and a
 * task host runs one partition of it.  Schedulers never look inside.
 *
 * Partitions of a stage: its leaves, in plan order, are its inputs; input i has
 * ntasks partitions (told in the STAGE message, because a shuffle's are chosen
 * only after its last map).  Partition p of the stage belongs to the leaf in
 * whose run it falls; a union is nothing but two leaves under one chain.
 */
#ifndef FERRO_ENGINE_PLAN_H
#define FERRO_ENGINE_PLAN_H

#include "common/base/arena.h"
#include "common/base/error.h"
#include "common/core/step.h"
#include "include/ferro.h"

#define PLAN_NODES_MAX 4096
#define PLAN_BODY_BYTES_MAX (1u << 20)
#define PLAN_INLINE_BYTES_MAX (64u << 10) /* larger data travels as a driver's block */
#define PLAN_NONE UINT32_MAX

enum op_code {
    /* leaves */
    OP_TEXT = 1,     /* data: file table (engine/ops/files.h); split_bytes */
    OP_COLLECTION,   /* data: rows as frames, one per partition (engine/frame.h) */
    OP_RANGE,        /* from, to over the input's ntasks partitions */
    OP_READ_HASH,    /* a hash shuffle merged by kernel or fn */
    OP_READ_GROUPS,  /* a hash shuffle, fn called for each key */
    OP_READ_SORTED,  /* a range shuffle, merged */
    OP_BINARY,       /* data: file table; records of the value's size */
    OP_READ_ROWS,    /* one partition of a STAGE_ROWS stage, as it was written */
    OP_READ_BUCKETS, /* a hash shuffle, its rows as they come */
    OP_JOIN,         /* two hash shuffles: fn for each pair of equal keys */
    OP_COGROUP,      /* two hash shuffles: fn for each key */
    /* narrow */
    OP_MAP = 20,
    OP_FLAT_MAP,
    OP_FILTER,
    OP_MAP_VALUES,
    OP_UNION, /* two children */
    OP_MAP_PARTITIONS,
    OP_PROBE, /* a join with the table that the stage `side` made: fn for each pair */
    /* sinks: the root of every stage */
    OP_WRITE_HASH = 40, /* buckets; kernel or fn: combines; neither: partitions only */
    OP_WRITE_RANGE,     /* order, by_value: sorted runs and samples */
    OP_COUNT,           /* result: one i64 */
    OP_COLLECT,         /* result: frames; limit: at most so many rows (take) */
    OP_REDUCE,          /* result: a frame of no or one value */
    OP_SAVE_TEXT,       /* a part file */
    OP_WRITE_ROWS,      /* rows as they are: a cached partition */
    OP_WRITE_TABLE,     /* rows in a hash table, to be probed where it lies */
    OP_AGGREGATE,       /* result: a frame of one accumulator */
};

struct plan_node {
    uint32_t op;
    fe_type key, value; /* of the records that it puts out (sinks: of those that it takes) */
    fe_type in_key,
        in_value;        /* OP_READ_*, OP_AGGREGATE: of the records that it takes; joins: of the left side */
    fe_type other;       /* joins: the right side's values */
    uint64_t fn;         /* the user function's offset in the job's library; 0: none */
    const char *fn_name; /* its source name, or the builder's */
    const char *file;    /* where the job's source calls the builder */
    uint32_t line;
    uint32_t child[2]; /* indexes of earlier nodes, PLAN_NONE: none */
    uint32_t kernel;   /* enum fe_kernel, 0: none */
    uint32_t order;    /* enum fe_order */
    uint32_t by_value; /* sorts by value, ties by key ascending */
    uint32_t buckets;
    uint32_t side;    /* OP_PROBE: which of the stage's sides */
    uint32_t swapped; /* OP_PROBE: the table has the left records */
    uint64_t limit;
    uint64_t split_bytes;
    int64_t from, to;
    struct bytes data;     /* a source's inline data, or empty when it is a block; with fn: its arguments */
    struct block_id block; /* a driver's block (WANT_DRIVER) */
    uint64_t block_bytes;  /* 0: none */
};

struct plan {
    struct plan_node *nodes; /* children before parents; the root is the last */
    uint32_t n;
};

/* Append the plan's bytes to `out`. */
void plan_encode(struct buf *out, const struct plan *plan);

/* Decode and check everything that a host relies on: node count, children
 * earlier than parents and used once, known ops with the right number of
 * children, one sink at the root, sane types.  -1 and `e` otherwise.
 * Strings are copied to the arena, `data` borrows from `body`. */
int plan_decode(struct arena *a, struct bytes body, struct plan *out, struct error *e);

const char *op_name(enum op_code op); /* "flat_map" */

static inline uint32_t type_size(fe_type t)
{
    return t & 0x0fffffff;
} /* 0: varies, or none */
static inline uint32_t type_kind(fe_type t)
{
    return t >> 28;
}
#define TYPE_NAME_MAX 32
const char *type_name(fe_type t, char buf[TYPE_NAME_MAX]); /* "i64", "struct of 24 bytes" */

#endif
