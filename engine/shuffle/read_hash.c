/* read_hash.c - a reduce's leaf: the values of each key merged.
 *
 * The same combiner as in the map, presized from the maps' indexes, and some buckets at a time, as many as a cache holds.  Over budget it goes to disk in 64 parts by further
 * bits of the hash, again and again; then each part is merged by itself, and split further if it has to be.
 */
#include "engine/shuffle/combine.h"
#include "engine/shuffle/read.h"
#include "engine/spill/budget.h"

#include <stdlib.h>

/* Rows that are merged at a time, where one window has all maps: their table stays in a cache, or near it. */
#define CACHED_ROWS (1u << 17)

/* A spill whose parts are being merged. */
struct level {
    struct mapfile spill;
    uint32_t part; /* the next one */
};

struct read_hash {
    struct op op;
    struct run *run;
    const struct plan_node *node;
    struct read read;
    struct stream stream;
    struct combine combine;
    struct level levels[SPILL_LEVELS];
    uint32_t depth;
    bool spilling, begun;
    uint32_t bucket; /* the next to be read */
    uint64_t at;     /* the next slot to put out */
    struct columns out;
    struct batch batch;
};

/* ---- merging, and what does not fit ------------------------------------------------ */

static struct split split_at(uint32_t level)
{
    return (struct split){ .buckets = SPILL_BUCKETS, .spill = true, .level = level };
}

/* The combiner's contents become a run of the spill at this depth. */
static int spill(struct read_hash *h)
{
    if (h->depth == SPILL_LEVELS)
        return run_fail(h->run, CAUSE_MEMORY, "the slot's memory is too small for the keys of one hash");
    struct level *l = &h->levels[h->depth];
    struct split split = split_at(h->depth);
    struct buckets buckets;
    if (!h->spilling) {
        h->spilling = true;
        l->part = 0;
    }
    buckets_init(&buckets, h->run, &l->spill, h->node->in_key, h->node->in_value, &split, h->run->budget / 4);
    int failed = combine_drain(&h->combine, &buckets) || buckets_run(&buckets);
    buckets_fini(&buckets);
    return failed ? -1 : 0;
}

static int feed(struct read_hash *h, const struct batch *frame)
{
    for (uint32_t at = 0; at < frame->rows; at += BATCH_ROWS) {
        uint32_t n = frame->rows - at < BATCH_ROWS ? frame->rows - at : BATCH_ROWS, from = 0;
        struct batch b = batch_slice(frame, at, n);
        for (int full; (full = combine_add(&h->combine, &b, &from)) != 0;)
            if (full < 0 || spill(h))
                return -1;
    }
    return 0;
}

/* All frames of the stream; `rows`: as many as there must be. */
static int drain(struct read_hash *h, uint64_t rows, const struct rec_map *map)
{
    struct batch b;
    struct error e = { 0 };
    int got;
    while ((got = stream_next(&h->stream, &b, &e)) > 0) {
        rows -= b.rows;
        if (feed(h, &b))
            return -1;
    }
    if (!got && rows)
        got = error_set(&e, 0, "it has other rows than its index says");
    if (!got)
        return 0;
    return map ? read_fail(h->run, map, e.words)
               : run_fail(h->run, CAUSE_ERROR, "a spill in %s: %s", h->run->env->disk, e.words);
}

/* What was read is complete: the last of it joins the spill, if there is one. */
static int settle(struct read_hash *h)
{
    h->at = 0;
    if (!h->spilling)
        return 0;
    if (spill(h) || spillfile_flush(&h->levels[h->depth].spill.file))
        return -1;
    h->spilling = false;
    h->depth++;
    return 0;
}

static int combine_ready(struct read_hash *h, uint64_t expected)
{
    if (h->combine.slots) {
        combine_clear(&h->combine);
        return 0;
    }
    return combine_init(&h->combine, h->run, h->node, COMBINE_REDUCE, h->node->in_key, h->run->budget / 2,
                        expected);
}

static int run_read(struct read_hash *h, const struct read_run *r)
{
    stream_start(&h->stream, r->fd, r->at, r->end, h->node->in_key, h->node->in_value, STREAM_BYTES);
    return drain(h, r->rows, h->read.maps[r->map].map);
}

/* All windows, the first of which is open. */
static int read_windows(struct read_hash *h)
{
    int got = 1;
    if (combine_ready(h, h->read.most))
        return -1;
    for (; got > 0; got = read_window(&h->read))
        for (uint32_t i = 0; i < h->read.nruns; i++)
            if (run_read(h, read_run(&h->read, i)))
                return -1;
    h->bucket = h->read.hi;
    return got || settle(h) ? -1 : 1;
}

/* How many buckets from h->bucket on have about as many rows as make a table within a cache. */
static uint32_t few_buckets(const struct read_hash *h, uint64_t *most)
{
    uint32_t hi = h->bucket;
    for (uint64_t rows = 0; hi < h->read.hi && rows < CACHED_ROWS; hi++)
        for (uint32_t i = 0; i < h->read.nruns; i++)
            rows += read_buckets(&h->read, i, hi, hi + 1).rows;
    *most = 0;
    for (uint32_t i = 0; i < h->read.nruns; i++) {
        uint64_t rows = read_buckets(&h->read, i, h->bucket, hi).rows;
        *most = rows > *most ? rows : *most;
    }
    return hi;
}

/* Some buckets of all maps: no key is in two of them.  1, 0 when there are no more, -1. */
static int read_few(struct read_hash *h)
{
    uint64_t most;
    if (h->bucket == h->read.hi)
        return 0;
    if (!read_last(&h->read))
        return read_windows(h);
    uint32_t hi = few_buckets(h, &most);
    if (combine_ready(h, most))
        return -1;
    for (uint32_t i = 0; i < h->read.nruns; i++) {
        struct read_run r = read_buckets(&h->read, i, h->bucket, hi);
        if (r.rows && run_read(h, &r))
            return -1;
    }
    h->bucket = hi;
    return settle(h) ? -1 : 1;
}

/* The next part of the deepest spill; 0: merged (or split again), 1: there was none left. */
static int read_part(struct read_hash *h)
{
    struct level *l = &h->levels[h->depth - 1];
    struct map_index x;
    combine_clear(&h->combine);
    if (l->part == SPILL_BUCKETS) {
        mapfile_close(&l->spill);
        h->depth--;
        return 1;
    }
    uint32_t part = l->part++;
    mapfile_view(&l->spill, &x);
    for (uint32_t r = 0; r < x.runs; r++) {
        const struct map_mark *lo = map_mark(&x, r, part), *hi = map_mark(&x, r, part + 1);
        stream_start(&h->stream, l->spill.file.fd, lo->offset, hi->offset, h->node->in_key, h->node->in_value,
                     STREAM_BYTES);
        if (drain(h, hi->rows - lo->rows, NULL))
            return -1;
    }
    return settle(h);
}

/* ---- the operator --------------------------------------------------------------------- */

static bool fill(struct read_hash *h)
{
    fe_slice key, value;
    columns_reset(&h->out);
    while (combine_next(&h->combine, &h->at, &key, &value)) {
        if (columns_full(&h->out, key.n + value.n, BATCH_ROWS, BATCH_BYTES))
            break;
        columns_put(&h->out, key, value, 0);
        h->at++;
    }
    columns_batch(&h->out, &h->batch);
    return h->out.rows > 0;
}

static int begin(struct read_hash *h)
{
    int got = read_window(&h->read);
    h->begun = true;
    h->bucket = got > 0 ? h->read.lo : h->read.hi;
    return got < 0 ? -1 : 0;
}

static int read_hash_next(struct op *op, const struct batch **out)
{
    struct read_hash *h = (struct read_hash *)op;
    if (!h->begun && begin(h))
        return -1;
    while (!h->combine.slots || !fill(h)) {
        if (h->depth) {
            if (read_part(h) < 0)
                return -1;
            continue;
        }
        int got = read_few(h);
        if (got <= 0)
            return got;
    }
    *out = &h->batch;
    return 1;
}

static void read_hash_free(struct op *op)
{
    struct read_hash *h = (struct read_hash *)op;
    for (uint32_t i = 0; i < SPILL_LEVELS; i++)
        mapfile_close(&h->levels[i].spill);
    combine_fini(&h->combine);
    read_fini(&h->read);
    stream_fini(&h->stream);
    columns_fini(&h->out);
    free(h);
}

struct op *op_read_hash(struct run *r, const struct leaf *leaf)
{
    struct read_hash *h = calloc(1, sizeof *h);
    if (!h)
        abort();
    h->op = (struct op){ read_hash_next, read_hash_free };
    h->run = r;
    h->node = leaf->node;
    columns_init(&h->out, leaf->node->key, leaf->node->value, false);
    if (read_init(&h->read, r, leaf, MAP_HASH) == 0)
        return &h->op;
    read_hash_free(&h->op);
    return NULL;
}
