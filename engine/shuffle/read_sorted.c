/* read_sorted.c - a sort's leaf: the maps' sorted runs between two cuts, merged. */
#include "engine/shuffle/merge.h"
#include "engine/shuffle/read.h"

#include <stdlib.h>

#define FDS_OPEN_MAX 512u /* beyond, runs are first merged on disk */

struct read_sorted {
    struct op op;
    struct run *run;
    struct read read;
    struct merge merge;
    struct columns out;
    struct batch batch;
    bool begun;
};

static int gather(struct read_sorted *s)
{
    int got;
    while ((got = read_window(&s->read)) > 0) {
        for (uint32_t i = 0; i < s->read.nruns; i++) {
            const struct read_run *r = read_run(&s->read, i);
            merge_add(&s->merge, &(struct merge_run){ r->fd, r->at, r->end, s->read.maps[r->map].map,
                                                      r->first, r->last });
        }
        if (read_keep(&s->read) < FDS_OPEN_MAX)
            continue;
        if (merge_settle(&s->merge))
            return -1;
        read_drop(&s->read);
    }
    return got || merge_start(&s->merge) ? -1 : 0;
}

static int fill(struct read_sorted *s)
{
    columns_reset(&s->out);
    for (struct cursor *top; (top = merge_top(&s->merge)) != NULL;) {
        if (columns_full(&s->out, top->key.n + top->value.n, BATCH_ROWS, BATCH_BYTES))
            break;
        columns_put(&s->out, top->key, top->value, 0);
        if (merge_advance(&s->merge))
            return -1;
    }
    columns_batch(&s->out, &s->batch);
    return s->out.rows > 0;
}

static int read_sorted_next(struct op *op, const struct batch **out)
{
    struct read_sorted *s = (struct read_sorted *)op;
    if (!s->begun) {
        s->begun = true;
        if (gather(s))
            return -1;
    }
    *out = &s->batch;
    return fill(s);
}

static void read_sorted_free(struct op *op)
{
    struct read_sorted *s = (struct read_sorted *)op;
    merge_fini(&s->merge);
    read_fini(&s->read);
    columns_fini(&s->out);
    free(s);
}

struct op *op_read_sorted(struct run *r, const struct leaf *leaf)
{
    struct read_sorted *s = calloc(1, sizeof *s);
    if (!s)
        abort();
    struct order order = order_of(leaf->node, leaf->node->in_key, leaf->node->in_value);
    s->op = (struct op){ read_sorted_next, read_sorted_free };
    s->run = r;
    columns_init(&s->out, leaf->node->in_key, leaf->node->in_value, false);
    s->out.lines = leaf->node->in_key == FERRO_NONE && leaf->node->in_value == FERRO_TEXT;
    merge_init(&s->merge, r, &order);
    if (read_init(&s->read, r, leaf, MAP_RANGE)) {
        read_sorted_free(&s->op);
        return NULL;
    }
    s->merge.low = s->read.low;
    s->merge.high = s->read.high;
    return &s->op;
}
