/* range.c - the integers of one partition of from..to-1. */
#include "engine/ops/op.h"

#include <stdlib.h>

struct range {
    struct op op;
    uint64_t at, end; /* offsets from `from` */
    int64_t from;
    struct batch batch;
    uint32_t cap; /* no more than the partition needs: there may be a million of them */
    int64_t values[];
};

static int range_next(struct op *op, const struct batch **out)
{
    struct range *r = (struct range *)op;
    uint64_t left = r->end - r->at;
    if (left == 0)
        return 0;
    uint32_t rows = left < r->cap ? (uint32_t)left : r->cap;
    for (uint32_t i = 0; i < rows; i++)
        r->values[i] = (int64_t)((uint64_t)r->from + r->at + i);
    r->at += rows;
    r->batch =
        (struct batch){ .rows = rows, .value = { .type = FERRO_I64, .data = (const uint8_t *)r->values } };
    *out = &r->batch;
    return 1;
}

static void range_free(struct op *op)
{
    free(op);
}

/* Where partition `part` of `parts` begins among n integers: sizes differ by at most one. */
static uint64_t part_begin(uint64_t n, uint64_t part, uint64_t parts)
{
    uint64_t rest = n % parts;
    return n / parts * part + (part < rest ? part : rest);
}

struct op *op_range(struct run *run, const struct leaf *leaf)
{
    const struct plan_node *n = leaf->node;
    uint64_t count = n->to > n->from ? (uint64_t)n->to - (uint64_t)n->from : 0;
    uint64_t parts = run->stage->inputs.v[leaf->input].ntasks;
    uint64_t begin = part_begin(count, leaf->part, parts), end = part_begin(count, leaf->part + 1ull, parts);
    uint32_t cap = end - begin < BATCH_ROWS ? (uint32_t)(end - begin) : BATCH_ROWS;
    struct range *r = malloc(sizeof *r + cap * sizeof *r->values);
    if (!r)
        abort();
    *r = (struct range){
        .op = { range_next, range_free }, .at = begin, .end = end, .from = n->from, .cap = cap
    };
    return &r->op;
}
