/* write_range.c - the sink of a map before a sort: sorted runs, each frame's first key in the index, and samples. */
#include "engine/shuffle/sorter.h"
#include "engine/spill/budget.h"

#include <stdlib.h>

#define SAMPLES 64u

/* A sample, and how many rows it stands for. */
struct sample {
    uint8_t key[NORMAL_BYTES_MAX];
    uint32_t n;
    uint64_t weight;
};

struct writer {
    struct run *run;
    struct sorter sorter;
    struct mapfile file;
    bool open;
    struct buf samples; /* struct sample, of all runs */
};

/* ---- samples ------------------------------------------------------------------------- */

static void sample_run(struct writer *w)
{
    const struct sorter *s = &w->sorter;
    uint64_t n = s->n < SAMPLES ? s->n : SAMPLES;
    struct row row;
    for (uint64_t i = 0; i < n; i++) {
        struct sample sample = { .weight = s->n / n };
        rows_at(&s->rows, s->v[(2 * i + 1) * s->n / (2 * n)].place, &row);
        sample.n = order_normal(&s->order, row.key, row.value, sample.key);
        buf_put(&w->samples, &sample, sizeof sample);
    }
}

static int by_key(const void *pa, const void *pb)
{
    const struct sample *a = pa, *b = pb;
    return bytes_cmp((struct bytes){ a->key, a->n }, (struct bytes){ b->key, b->n });
}

/* 64 that stand for the same number of rows each. */
static void report_samples(struct writer *w)
{
    struct sample *v = (struct sample *)(void *)w->samples.p;
    uint32_t have = (uint32_t)(w->samples.n / sizeof *v), n = have < SAMPLES ? have : SAMPLES, at = 0;
    struct rec_cut *cuts = arena_alloc(&w->run->arena, SAMPLES * sizeof *cuts);
    uint64_t total = 0, before = 0;
    if (have)
        qsort(v, have, sizeof *v, by_key);
    for (uint32_t i = 0; i < have; i++)
        total += v[i].weight;
    for (uint32_t i = 0; i < n; i++) {
        while (at + 1 < have && before + v[at].weight <= (2 * i + 1) * total / (2 * n))
            before += v[at++].weight;
        cuts[i].key = arena_bytes(&w->run->arena, (struct bytes){ v[at].key, v[at].n });
    }
    w->run->report->samples.v = cuts;
    w->run->report->samples.n = n;
}

/* ---- the sink ------------------------------------------------------------------------- */

static int flush(struct writer *w)
{
    if (w->sorter.n == 0)
        return 0;
    if (!w->open) {
        w->open = true;
        if (mapfile_open(&w->file, w->run, MAP_RANGE, 0, false))
            return -1;
    }
    sorter_sort(&w->sorter);
    sample_run(w);
    return sorter_flush(&w->sorter, &w->file);
}

static int put(struct writer *w, fe_slice key, fe_slice value)
{
    while (!sorter_put(&w->sorter, key, value, 0))
        if (flush(w))
            return -1;
    return 0;
}

static int pull(struct writer *w, struct op *child)
{
    const struct batch *b;
    int got;
    while ((got = child->next(child, &b)) > 0) {
        if (rows_small(w->run, b))
            return -1;
        w->sorter.rows.lasting = b->lasting && b->key.type == FERRO_NONE && b->value.type == FERRO_TEXT;
        for (uint32_t i = 0; i < b->rows; i++) {
            uint32_t row = b->sel ? b->sel[i] : i;
            if (put(w, vec_at(&b->key, row), vec_at(&b->value, row)))
                return -1;
        }
    }
    return got < 0 || flush(w) ? -1 : 0;
}

int sink_write_range(struct run *r, const struct plan_node *node, struct op *child)
{
    struct writer w = { .run = r };
    struct order order = order_of(node, node->key, node->value);
    sorter_init(&w.sorter, r, &order, r->budget / 2);
    int failed = pull(&w, child);
    if (!failed)
        report_samples(&w);
    if (!failed && w.open)
        failed = mapfile_finish(&w.file);
    sorter_fini(&w.sorter);
    mapfile_close(&w.file);
    buf_fini(&w.samples);
    return failed ? -1 : 0;
}
