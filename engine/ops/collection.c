/* collection.c - records that the job's main gave: frames, in the table's section of the partition. */
#include "engine/frame.h"
#include "engine/ops/table.h"

#include <stdlib.h>

struct collection {
    struct op op;
    struct run *run;
    const struct plan_node *node;
    struct buf section, scratch;
    size_t at; /* in the section: the next frame */
    struct batch frame, batch;
    uint32_t row; /* of the frame: rows handed up */
};

static int frame_next(struct collection *c)
{
    struct error e;
    const struct plan_node *n = c->node;
    struct bytes left = { c->section.p + c->at, (uint32_t)(c->section.n - c->at) };
    int64_t size = frame_get(left, n->key, n->value, &c->scratch, &c->frame, &e);
    if (size < 0)
        return run_fail(c->run, CAUSE_INPUT, "%s (%s:%u): %s", n->fn_name, n->file, n->line, e.words);
    c->at += (size_t)size;
    c->row = 0;
    return 0;
}

/* Rows from..from+rows-1 of a frame, as one batch. */
static int collection_next(struct op *op, const struct batch **out)
{
    struct collection *c = (struct collection *)op;
    while (c->row == c->frame.rows) {
        if (c->at == c->section.n)
            return 0;
        if (frame_next(c))
            return -1;
    }
    uint32_t left = c->frame.rows - c->row;
    c->batch = (struct batch){
        .rows = left < BATCH_ROWS ? left : BATCH_ROWS,
        .key = vec_from(&c->frame.key, c->row),
        .value = vec_from(&c->frame.value, c->row),
    };
    c->row += c->batch.rows;
    *out = &c->batch;
    return 1;
}

static void collection_free(struct op *op)
{
    struct collection *c = (struct collection *)op;
    buf_fini(&c->section);
    buf_fini(&c->scratch);
    free(c);
}

struct op *op_collection(struct run *r, const struct leaf *leaf)
{
    struct collection *c = malloc(sizeof *c);
    if (!c)
        abort();
    *c = (struct collection){ .op = { collection_next, collection_free }, .run = r, .node = leaf->node };
    if (table_section(r, leaf, &c->section) == 0)
        return &c->op;
    collection_free(&c->op);
    return NULL;
}
