/* filter.c - the records that the user's function keeps: by their indexes, nothing is copied. */
#include "engine/ops/op.h"

#include <stdlib.h>

struct filter {
    struct op op;
    struct op *child;
    fe_keep *keep;
    struct emitter none; /* the task that the function sees */
    struct batch batch;
    uint16_t sel[BATCH_ROWS];
};

static uint32_t rows_keep(struct filter *f, const struct batch *b)
{
    uint32_t kept = 0;
    emitter_see(&f->none, b->input);
    for (uint32_t i = 0; i < b->rows && !f->none.task.failed; i++) {
        uint32_t row = b->sel ? b->sel[i] : i;
        f->sel[kept] = (uint16_t)row;
        kept += f->keep(&f->none.task, vec_at(&b->key, row), vec_at(&b->value, row));
    }
    return kept;
}

static int filter_next(struct op *op, const struct batch **out)
{
    struct filter *f = (struct filter *)op;
    const struct batch *b;
    for (int r; (r = f->child->next(f->child, &b)) != 0;) {
        if (r < 0)
            return -1;
        uint32_t kept = rows_keep(f, b);
        if (f->none.task.failed)
            return -1;
        if (kept == 0)
            continue;
        f->batch = *b;
        if (kept < b->rows) {
            f->batch.rows = kept;
            f->batch.sel = f->sel;
        }
        *out = &f->batch;
        return 1;
    }
    return 0;
}

static void filter_free(struct op *op)
{
    struct filter *f = (struct filter *)op;
    f->child->free(f->child);
    emitter_fini(&f->none);
    free(f);
}

struct op *op_filter(struct run *r, const struct plan_node *node, struct op *child)
{
    struct filter *f = malloc(sizeof *f);
    if (!f)
        abort();
    f->op = (struct op){ filter_next, filter_free };
    f->child = child;
    f->keep = (fe_keep *)(uintptr_t)run_fn(r, node);
    emitter_init(&f->none, r, node);
    return &f->op;
}
