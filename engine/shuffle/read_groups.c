/* read_groups.c - a reduce's leaf: the user's function called for each key, with all its values.
 *
 * Rows are sorted by their key's hash, then by the key: in memory, or beyond the budget in runs that are merged while
 * the function iterates.  So a group may be larger than memory.
 */
#include "engine/shuffle/merge.h"
#include "engine/shuffle/read.h"
#include "engine/shuffle/sorter.h"
#include "engine/spill/budget.h"

#include <stdlib.h>

struct read_groups;
struct fe_values {
    struct read_groups *groups;
};

struct read_groups {
    struct op op;
    struct run *run;
    const struct plan_node *node;
    struct read read;
    struct stream stream;
    struct sorter sorter;
    uint64_t at; /* without a spill: the next row of the sorter */
    struct mapfile spill;
    struct merge merge;
    bool begun, stale; /* stale: the merge's top was handed out, and goes at the next step */
    struct buf key;    /* of the group under way */
    uint64_t hash;
    struct fe_values values;
    struct emitter emitter;
    uint64_t hashes[BATCH_ROWS];
};

/* ---- gathering ------------------------------------------------------------------- */

static int spill_rows(struct read_groups *g)
{
    if (!g->spill.file.run && mapfile_open(&g->spill, g->run, MAP_RANGE, 0, true))
        return -1;
    struct merge_run run = { .at = spillfile_end(&g->spill.file), .fd = g->spill.file.fd };
    sorter_sort(&g->sorter);
    if (sorter_flush(&g->sorter, &g->spill))
        return -1;
    run.end = spillfile_end(&g->spill.file);
    merge_add(&g->merge, &run);
    return 0;
}

static int put_rows(struct read_groups *g, const struct batch *b, const uint64_t *hash)
{
    for (uint32_t i = 0; i < b->rows; i++) {
        fe_slice key = vec_at(&b->key, i), value = vec_at(&b->value, i);
        while (!sorter_put(&g->sorter, key, value, hash[i]))
            if (spill_rows(g))
                return -1;
    }
    return 0;
}

static int feed(struct read_groups *g, const struct batch *frame)
{
    for (uint32_t at = 0; at < frame->rows; at += BATCH_ROWS) {
        struct batch b =
            batch_slice(frame, at, frame->rows - at < BATCH_ROWS ? frame->rows - at : BATCH_ROWS);
        if (!b.hash)
            vec_hash(&b.key, NULL, b.rows, g->hashes);
        if (put_rows(g, &b, b.hash ? b.hash : g->hashes))
            return -1;
    }
    return 0;
}

static int drain(struct read_groups *g, uint32_t i)
{
    const struct read_run *r = read_run(&g->read, i);
    uint64_t rows = r->rows;
    struct batch b;
    struct error e = { 0 };
    int got;
    read_stream(&g->read, i, g->node->in_key, g->node->in_value, STREAM_BYTES, &g->stream);
    while ((got = stream_next(&g->stream, &b, &e)) > 0) {
        rows -= b.rows;
        if (feed(g, &b))
            return -1;
    }
    if (!got && rows)
        got = error_set(&e, 0, "it has other rows than its index says");
    return got ? read_fail(g->run, g->read.maps[r->map].map, e.words) : 0;
}

static int gather(struct read_groups *g)
{
    int got;
    while ((got = read_window(&g->read)) > 0)
        for (uint32_t i = 0; i < g->read.nruns; i++)
            if (drain(g, i))
                return -1;
    read_fini(&g->read);
    if (got)
        return -1;
    if (!g->spill.file.run) {
        sorter_sort(&g->sorter);
        return 0;
    }
    if ((g->sorter.n && spill_rows(g)) || spillfile_flush(&g->spill.file))
        return -1;
    sorter_fini(&g->sorter);
    return merge_start(&g->merge);
}

/* ---- groups -------------------------------------------------------------------------- */

/* The row that comes next; false: none. */
static bool peek(struct read_groups *g, struct row *row)
{
    if (g->stale) {
        g->stale = false;
        if (merge_advance(&g->merge))
            return false;
    }
    if (g->at < g->sorter.n) {
        rows_at(&g->sorter.rows, (uint32_t)g->sorter.v[g->at].place, row);
        row->hash = g->sorter.v[g->at].prefix.hi;
        return true;
    }
    struct cursor *top = merge_top(&g->merge);
    if (top)
        *row = (struct row){ top->prefix.hi, top->key, top->value };
    return top != NULL;
}

static void step(struct read_groups *g)
{
    if (g->at < g->sorter.n)
        g->at++;
    else
        g->stale = true; /* its value stays valid until the next step */
}

static fe_slice group_key(const struct read_groups *g)
{
    static const uint64_t nothing;
    return (fe_slice){ g->key.n ? (const char *)g->key.p : (const char *)&nothing, g->key.n };
}

bool fe_next_value(fe_values *values, fe_slice *value)
{
    struct read_groups *g = values->groups;
    struct row row;
    if (g->run->failed || !peek(g, &row) || row.hash != g->hash ||
        !type_equal(g->node->in_key, row.key, group_key(g)))
        return false;
    *value = row.value;
    step(g);
    return true;
}

/* The function for one more key: 1, 0 when there is none, -1 after run_fail(). */
static int next_group(struct read_groups *g)
{
    fe_task *task = &g->emitter.task;
    fe_group *fn = (fe_group *)(uintptr_t)run_fn(g->run, g->node);
    fe_slice value;
    struct row row;
    if (!peek(g, &row))
        return g->run->failed ? -1 : 0;
    buf_reset(&g->key);
    buf_put(&g->key, row.key.p, row.key.n);
    g->hash = row.hash;
    emitter_see(&g->emitter, NULL);
    fn(task, group_key(g), &g->values);
    while (fe_next_value(&g->values, &value))
        ; /* what the function left */
    return task->failed || g->run->failed ? -1 : 1;
}

/* ---- the operator ------------------------------------------------------------------------ */

static int read_groups_next(struct op *op, const struct batch **out)
{
    struct read_groups *g = (struct read_groups *)op;
    if (!g->begun) {
        g->begun = true;
        if (gather(g))
            return -1;
    }
    while (!(*out = emitter_next(&g->emitter))) {
        int got = 1;
        emitter_reset(&g->emitter);
        while (!emitter_full(&g->emitter) && (got = next_group(g)) > 0)
            ;
        if (got < 0)
            return -1;
        if (got == 0 && g->emitter.task.rows == 0)
            return 0;
    }
    return 1;
}

static void read_groups_free(struct op *op)
{
    struct read_groups *g = (struct read_groups *)op;
    merge_fini(&g->merge);
    sorter_fini(&g->sorter);
    mapfile_close(&g->spill);
    read_fini(&g->read);
    stream_fini(&g->stream);
    buf_fini(&g->key);
    emitter_fini(&g->emitter);
    free(g);
}

struct op *op_read_groups(struct run *r, const struct leaf *leaf)
{
    struct read_groups *g = calloc(1, sizeof *g);
    if (!g)
        abort();
    struct order order = { leaf->node->in_key, leaf->node->in_value, BY_HASH, false };
    g->op = (struct op){ read_groups_next, read_groups_free };
    g->run = r;
    g->node = leaf->node;
    g->values.groups = g;
    emitter_init(&g->emitter, r, leaf->node);
    sorter_init(&g->sorter, r, &order, r->budget / 2);
    merge_init(&g->merge, r, &order);
    if (read_init(&g->read, r, leaf, MAP_HASH) == 0)
        return &g->op;
    read_groups_free(&g->op);
    return NULL;
}
