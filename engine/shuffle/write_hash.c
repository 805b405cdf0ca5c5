/* write_hash.c - the sink of a map before a hash shuffle: combines, or only partitions.
 *
 * Rows are combined in a table; where that doesn't take them (combine.h), they go to their buckets as they are.  When of
 * those that come then too few find their key in the table, the rest is only partitioned.
 */
#include "engine/shuffle/combine.h"
#include "engine/shuffle/rows.h"

#include <stdlib.h>

#define LOOK_ROWS (1u << 16) /* how often a frozen table is looked at */
#define HITS_MIN 8           /* it stays when one of so many rows is merged */

struct writer {
    struct run *run;
    const struct plan_node *node;
    struct mapfile file;
    struct buckets buckets;
    bool combines;
    struct combine combine;
    uint64_t rows, missed; /* in a frozen table, since it was looked at */
};

/* ---- partitioning ------------------------------------------------------------------ */

static int partition_batch(struct writer *w, const struct batch *b)
{
    uint64_t hash[BATCH_ROWS];
    if (!b->hash)
        vec_hash(&b->key, b->sel, b->rows, hash);
    combine_see(&w->combine, b);
    for (uint32_t i = 0; i < b->rows; i++) {
        uint32_t row = b->sel ? b->sel[i] : i;
        fe_slice value = w->combine.node ? combine_alone(&w->combine, b, row) : vec_at(&b->value, row);
        if (buckets_put(&w->buckets, b->hash ? b->hash[row] : hash[i], vec_at(&b->key, row), value))
            return -1;
    }
    return w->run->failed ? -1 : 0; /* the user's function may have */
}

/* ---- combining ------------------------------------------------------------------------ */

static int put_missed(struct writer *w, const struct batch *b)
{
    struct combine *c = &w->combine;
    for (uint32_t i = 0; i < c->nmissed; i++) {
        uint32_t row = c->missed[i].row;
        if (buckets_put(&w->buckets, c->missed[i].hash, vec_at(&b->key, row), combine_alone(c, b, row)))
            return -1;
    }
    w->missed += c->nmissed;
    return w->run->failed ? -1 : 0;
}

/* Is the frozen table of use? */
static int look(struct writer *w, uint32_t rows)
{
    w->rows += rows;
    if (w->rows < LOOK_ROWS)
        return 0;
    w->combines = (w->rows - w->missed) * HITS_MIN >= w->rows;
    w->rows = w->missed = 0;
    return w->combines ? 0 : combine_drain(&w->combine, &w->buckets);
}

static int combine_batch(struct writer *w, const struct batch *b)
{
    struct combine *c = &w->combine;
    uint32_t from = 0;
    for (int full; (full = combine_add(c, b, &from)) != 0;) {
        if (full < 0)
            return -1;
        if (!combine_pays(c))
            c->frozen = true;
        else if (combine_drain(c, &w->buckets))
            return -1;
    }
    return c->frozen && (put_missed(w, b) || look(w, b->rows)) ? -1 : 0;
}

/* ---- the sink --------------------------------------------------------------------------- */

static int pull(struct writer *w, struct op *child)
{
    const struct batch *b;
    int got;
    while ((got = child->next(child, &b)) > 0)
        if (rows_small(w->run, b) || (w->combines ? combine_batch(w, b) : partition_batch(w, b)))
            return -1;
    return got;
}

static int finish(struct writer *w)
{
    if ((w->combines && combine_drain(&w->combine, &w->buckets)) || buckets_run(&w->buckets))
        return -1;
    return w->file.file.run ? mapfile_finish(&w->file) : 0; /* no row, no file */
}

int sink_write_hash(struct run *r, const struct plan_node *node, struct op *child)
{
    struct writer *w = calloc(1, sizeof *w);
    if (!w)
        abort();
    struct split split = { .buckets = node->buckets ? node->buckets : 1 };
    w->run = r;
    w->node = node;
    w->combines = node->kernel || node->fn;
    buckets_init(&w->buckets, r, &w->file, node->key, combine_value(node), &split, r->budget / 4);
    int failed = w->combines && combine_init(&w->combine, r, node, COMBINE_MAP, node->key, r->budget / 4, 0);
    failed = failed || pull(w, child) || finish(w);
    combine_fini(&w->combine);
    buckets_fini(&w->buckets);
    mapfile_close(&w->file);
    free(w);
    return failed ? -1 : 0;
}
