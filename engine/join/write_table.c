/* write_table.c - the sink that makes one range of buckets a table, for joins to probe where it lies. */
#include "engine/join/maker.h"
#include "engine/shuffle/read.h"

#include <assert.h>
#include <stdlib.h>

#define PIECE_BYTES (1u << 20)

struct writer {
    struct maker maker;
    uint64_t hash[BATCH_ROWS];
};

/* The buckets that the stage's one input has for this partition. */
static int range_of_input(struct run *r, uint32_t *lo, uint32_t *hi)
{
    if (r->stage->inputs.n != 1)
        return run_fail(r, CAUSE_ERROR, "the stage makes a table of %u inputs", r->stage->inputs.n);
    return read_bucket_range(r, r->stage->inputs.v, r->part, lo, hi);
}

static int pull(struct writer *w, struct run *r, const struct plan_node *node, struct op *child)
{
    const struct batch *b;
    int got;
    while ((got = child->next(child, &b)) > 0) {
        uint32_t from = 0;
        assert(b->rows <= BATCH_ROWS && !b->sel);
        if (rows_small(r, b))
            return -1;
        if (!b->hash)
            vec_hash(&b->key, NULL, b->rows, w->hash);
        if (maker_add(&w->maker, b, b->hash ? b->hash : w->hash, &from))
            return run_fail(
                r, CAUSE_MEMORY,
                "%s (%s:%u): the table of the join's small side does not fit into the slot's memory; "
                "fe_partitions on the join shuffles both sides instead",
                node->fn_name, node->file, node->line);
    }
    return got;
}

static int put(struct spillfile *f, const void *p, uint64_t n)
{
    for (uint64_t at = 0; at < n; at += PIECE_BYTES) {
        buf_put(&f->pending, (const uint8_t *)p + at, n - at < PIECE_BYTES ? n - at : PIECE_BYTES);
        if (spillfile_settle(f))
            return -1;
    }
    return 0;
}

static int write_file(struct run *r, const struct lookup *l)
{
    struct spillfile f;
    struct lookup_head h = lookup_head(l);
    int failed = spillfile_create(&f, r) || put(&f, &h, sizeof h) ||
                 put(&f, l->directory, lookup_directory_bytes(l)) ||
                 put(&f, l->records, l->rows * l->stride) || put(&f, l->far, l->far_bytes) ||
                 spillfile_finish(&f);
    r->report->rows = l->rows;
    spillfile_close(&f);
    return failed ? -1 : 0;
}

int sink_write_table(struct run *r, const struct plan_node *node, struct op *child)
{
    uint32_t lo = 0, hi = 0;
    struct lookup lookup;
    struct writer *w = calloc(1, sizeof *w);
    if (!w)
        abort();
    maker_init(&w->maker, r, node->key, node->value, r->budget / 2);
    int failed = range_of_input(r, &lo, &hi) || pull(w, r, node, child);
    if (!failed && w->maker.n) { /* no row, no file */
        if (lo >= hi || hi > node->buckets)
            failed =
                run_fail(r, CAUSE_ERROR, "the stage has no buckets %u to %u of %u", lo, hi, node->buckets);
        else {
            maker_finish(&w->maker, lo, hi, node->buckets, &lookup);
            failed = write_file(r, &lookup);
        }
    }
    maker_fini(&w->maker);
    free(w);
    return failed ? -1 : 0;
}
