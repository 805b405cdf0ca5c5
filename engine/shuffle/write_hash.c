/* write_hash.c - the sink of a map before a hash shuffle: combines, or only partitions.
 *
 * Combining goes on while it pays: when the first 2^18 rows shrink less than twofold, the rest is only partitioned.
 */
#include "engine/shuffle/combine.h"
#include "engine/shuffle/rows.h"
#include "engine/spill/budget.h"
#include "engine/spill/region.h"

#include <assert.h>
#include <stdlib.h>

#define TRIAL_ROWS (1u << 18)

struct entry {
    uint32_t bucket, place;
};

struct writer {
    struct run *run;
    const struct plan_node *node;
    struct split split;
    struct mapfile file;
    bool open;
    bool combines, counts;
    struct combine combine;
    uint64_t rows_out; /* of the combiner's runs */
    struct rows rows;
    struct entry *entries;
    uint32_t n, max, touched;
    uint64_t hash[BATCH_ROWS];
};

static int file_ready(struct writer *w)
{
    if (w->open)
        return 0;
    w->open = true;
    return mapfile_open(&w->file, w->run, MAP_HASH, w->split.buckets, false);
}

/* ---- partitioning ------------------------------------------------------------------ */

static int partition_init(struct writer *w)
{
    uint64_t limit = w->run->budget / 4;
    uint64_t max = limit / 4 / sizeof *w->entries;
    rows_init(&w->rows, w->run, w->node->key, combine_value(w->node), true, limit);
    w->max = max < 1024 ? 1024 : max > 1u << 28 ? 1u << 28 : (uint32_t)max;
    w->entries = region_take(w->max * sizeof *w->entries);
    return 0;
}

static void partition_fini(struct writer *w)
{
    if (!w->entries)
        return;
    rows_fini(&w->rows);
    region_give(w->entries, w->max * sizeof *w->entries, w->touched * sizeof *w->entries);
}

static uint32_t *ordered(const struct writer *w)
{
    uint32_t *order = region_take(w->n * sizeof *order + 1),
             *starts = calloc(w->split.buckets + 2ull, sizeof *starts);
    if (!starts)
        abort();
    for (uint32_t i = 0; i < w->n; i++)
        starts[w->entries[i].bucket + 1]++;
    for (uint32_t b = 0; b < w->split.buckets; b++)
        starts[b + 1] += starts[b];
    for (uint32_t i = 0; i < w->n; i++)
        order[starts[w->entries[i].bucket]++] = i;
    free(starts);
    return order;
}

static int put_entries(struct writer *w, const uint32_t *order)
{
    struct bucket_writer out;
    struct row row;
    int failed = bucket_writer_begin(&out, &w->file, w->rows.key, w->rows.value);
    for (uint32_t i = 0; i < w->n && !failed; i++) {
        const struct entry *e = &w->entries[order[i]];
        if (i + 8 < w->n)
            __builtin_prefetch(w->rows.p + w->entries[order[i + 8]].place * 8ull);
        rows_at(&w->rows, e->place, &row);
        failed = bucket_writer_put(&out, e->bucket, row.hash, row.key, row.value);
    }
    return bucket_writer_end(&out) || failed ? -1 : 0;
}

static int partition_flush(struct writer *w)
{
    uint64_t bytes = w->n * (sizeof(uint32_t) + sizeof *w->entries);
    if (w->n == 0)
        return 0;
    if (file_ready(w))
        return -1;
    budget_force(w->run, bytes);
    uint32_t *order = ordered(w);
    int failed = put_entries(w, order);
    region_give(order, w->n * sizeof *order + 1, w->n * sizeof *order);
    budget_release(w->run, bytes);
    rows_reset(&w->rows);
    w->touched = w->n > w->touched ? w->n : w->touched;
    w->n = 0;
    return failed;
}

static int partition_add(struct writer *w, const struct batch *b, uint32_t from)
{
    static const int64_t one = 1;
    for (uint32_t i = from; i < b->rows; i++) {
        uint32_t row = b->sel ? b->sel[i] : i;
        fe_slice key = vec_at(&b->key, row);
        fe_slice value = w->counts ? (fe_slice){ (const char *)&one, sizeof one } : vec_at(&b->value, row);
        uint32_t place = w->n == w->max ? ROWS_FULL : rows_put(&w->rows, w->hash[i], key, value);
        if (place == ROWS_FULL) {
            if (partition_flush(w))
                return -1;
            place = rows_put(&w->rows, w->hash[i], key, value);
        }
        w->entries[w->n++] = (struct entry){ split_of(&w->split, w->hash[i]), place };
    }
    return 0;
}

/* ---- combining ------------------------------------------------------------------------ */

static int combine_run(struct writer *w)
{
    if (w->combine.n == 0)
        return 0;
    w->rows_out += w->combine.n;
    return file_ready(w) ? -1 : combine_flush(&w->combine, &w->file, &w->split);
}

static bool pays(const struct writer *w)
{
    return w->combine.rows_in < TRIAL_ROWS || (w->rows_out + w->combine.n) * 2 <= w->combine.rows_in;
}

static int give_up_combining(struct writer *w)
{
    int failed = combine_run(w);
    combine_fini(&w->combine);
    w->combines = false;
    return failed || partition_init(w) ? -1 : 0;
}

static int combine_batch(struct writer *w, const struct batch *b)
{
    uint32_t from = 0;
    bool trial = w->combine.rows_in < TRIAL_ROWS;
    for (int full; (full = combine_add(&w->combine, b, w->hash, &from)) != 0;)
        if (full < 0 || combine_run(w))
            return -1;
    if (trial && !pays(w))
        return give_up_combining(w);
    return 0;
}

/* ---- the sink --------------------------------------------------------------------------- */

/* hash[i]: of the i-th row that counts. */
static void hash_rows(struct writer *w, const struct batch *b)
{
    assert(b->rows <= BATCH_ROWS);
    if (!b->hash)
        vec_hash(&b->key, b->sel, b->rows, w->hash);
    else
        for (uint32_t i = 0; i < b->rows; i++)
            w->hash[i] = b->hash[b->sel ? b->sel[i] : i];
}

static int pull(struct writer *w, struct op *child)
{
    const struct batch *b;
    int got;
    while ((got = child->next(child, &b)) > 0) {
        if (rows_small(w->run, b))
            return -1;
        hash_rows(w, b);
        if (w->combines ? combine_batch(w, b) : partition_add(w, b, 0))
            return -1;
    }
    return got;
}

static int finish(struct writer *w)
{
    if (w->combines ? combine_run(w) : partition_flush(w))
        return -1;
    return w->open ? mapfile_finish(&w->file) : 0; /* no row, no file */
}

int sink_write_hash(struct run *r, const struct plan_node *node, struct op *child)
{
    struct writer *w = calloc(1, sizeof *w);
    if (!w)
        abort();
    w->run = r;
    w->node = node;
    w->split.buckets = node->buckets ? node->buckets : 1;
    w->counts = node->kernel == FERRO_COUNT;
    w->combines = node->kernel || node->fn;
    int failed = w->combines ? combine_init(&w->combine, r, node, node->key, combine_value(node), w->counts,
                                            r->budget / 4, 0)
                             : partition_init(w);
    failed = failed || pull(w, child) || finish(w);
    combine_fini(&w->combine);
    partition_fini(w);
    mapfile_close(&w->file);
    free(w);
    return failed ? -1 : 0;
}
