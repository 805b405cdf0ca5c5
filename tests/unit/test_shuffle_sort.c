/* test_shuffle_sort.c - sorts: every partition in order, partition i wholly before i+1, nothing lost. */
#include "tests/unit/shuffle_world.h"

#include "engine/types.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define RICH (64ull << 20)
#define POOR (256ull << 10)

struct way {
    fe_type key, value;
    bool by_value, down;
    uint64_t budget;
    size_t rows;
    uint64_t distinct;
    uint32_t maps, parts;
    bool remote;
};

static uint64_t mixed(uint64_t x)
{
    x = (x ^ x >> 31) * 0x9e3779b97f4a7c15u;
    return (x ^ x >> 29) * 0xbf58476d1ce4e5b9u >> 20;
}

/* Texts of a common beginning, of NULs, empty; numbers around zero and the odd doubles. */
static size_t datum(fe_type t, uint64_t i, char *out)
{
    static const double odd[] = { 0.0, -0.0, NAN, INFINITY, -INFINITY };
    int64_t n = (int64_t)i - 50;
    double d = i < 5 ? odd[i] : (double)n / 4;
    if (t == FERRO_TEXT)
        switch (i % 4) {
        case 0: return (size_t)snprintf(out, 128, "%llu", (unsigned long long)i);
        case 1: memset(out, 0, 24); return i / 4 % 20;
        case 2: return (size_t)snprintf(out, 128, "%080llu", (unsigned long long)i / 4 % 50);
        default: return (size_t)snprintf(out, 128, "sixteen bytes or%c%c", (char)(i / 4), (char)(i / 4 >> 8));
        }
    memset(out, 0, type_size(t));
    memcpy(out, t == FERRO_F64 ? (void *)&d : (void *)&n, type_size(t) < 8 ? type_size(t) : 8);
    return type_size(t);
}

static void fill(struct recs *in, const struct way *y)
{
    for (size_t i = 0; i < y->rows; i++) {
        char k[128], v[128];
        size_t nk = datum(y->key, mixed(i) % y->distinct, k),
               nv = datum(y->value, mixed(i + 99) % (y->distinct / 3 + 1), v);
        recs_add(in, k, nk, v, nv);
    }
}

static int in_order(const struct way *y, const struct rec *a, const struct rec *b)
{
    if (!y->by_value)
        return type_order(y->key, a->key, b->key, y->down);
    int order = type_order(y->value, a->value, b->value, y->down);
    return order || y->key == FERRO_NONE ? order : type_compare(y->key, a->key, b->key);
}

static int by_cut(const void *a, const void *b)
{
    return bytes_cmp(((const struct rec_cut *)a)->key, ((const struct rec_cut *)b)->key);
}

/* Cuts as the driver chooses them, from all samples. */
static uint32_t choose_cuts(struct rec_cut *samples, uint32_t n, struct rec_cut *cuts, uint32_t parts)
{
    qsort(samples, n, sizeof *samples, by_cut);
    for (uint32_t i = 1; i < parts; i++)
        cuts[i - 1] = n ? samples[n * i / parts] : (struct rec_cut){ { (const uint8_t *)"m", 1 } };
    return parts - 1;
}

static void check_sorted(const struct way *y, const struct recs *got, const struct recs *in)
{
    cr_assert_eq(got->n, in->n);
    for (size_t i = 1; i < got->n; i++) {
        struct rec a = recs_at(got, i - 1), b = recs_at(got, i);
        cr_assert_leq(in_order(y, &a, &b), 0, "record %zu", i);
    }
    struct rec *x = recs_sorted(got), *z = recs_sorted(in);
    for (size_t i = 0; i < in->n; i++)
        cr_assert_eq(rec_cmp(&x[i], &z[i]), 0);
    free(x);
    free(z);
}

static void run_way(const struct way *y)
{
    struct shuffle_world w;
    struct recs in = { 0 }, got = { 0 };
    struct arena arena = { 0 };
    struct rec_cut samples[WORLD_MAPS_MAX * 64], cuts[64];
    uint32_t n = 0;
    struct plan_node sink = {
        .op = OP_WRITE_RANGE, .key = y->key, .value = y->value, .order = y->down, .by_value = y->by_value
    };
    struct plan_node leaf = { .op = OP_READ_SORTED,
                              .key = y->key,
                              .value = y->value,
                              .in_key = y->key,
                              .in_value = y->value,
                              .order = y->down,
                              .by_value = y->by_value };
    shuffle_world_init(&w, y->budget);
    w.remote = y->remote;
    fill(&in, y);
    for (uint32_t m = 0; m < y->maps; m++) {
        size_t from = y->rows * m / y->maps, to = y->rows * (m + 1) / y->maps;
        cr_assert_eq(shuffle_world_map(&w, &sink, &in, from, to), 0);
        cr_assert_eq(w.report.samples.n, to - from < 64 ? to - from : 64);
        for (uint32_t i = 0; i < w.report.samples.n; i++)
            samples[n++].key = arena_bytes(&arena, w.report.samples.v[i].key);
    }
    uint32_t ncuts = choose_cuts(samples, n, cuts, y->parts);
    size_t most = 0;
    for (uint32_t p = 0; p < y->parts; p++) {
        size_t before = got.n;
        cr_assert_eq(shuffle_world_reduce(&w, &leaf, cuts, ncuts, y->parts, p, &got), 0, "%.*s",
                     (int)w.report.words.n, (const char *)w.report.words.p);
        most = got.n - before > most ? got.n - before : most;
    }
    check_sorted(y, &got, &in);
    if (y->distinct > 10000)
        cr_assert_lt(most, in.n * 2 / y->parts, "the samples cut badly");
    recs_fini(&in);
    recs_fini(&got);
    arena_fini(&arena);
    shuffle_world_fini(&w);
}

Test(shuffle_sort, keys_of_every_type)
{
    const fe_type types[] = { FERRO_TEXT, FERRO_I64, FERRO_F64, FERRO_STRUCT(struct { char b[20]; }) };
    for (int t = 0; t < 4; t++)
        for (int down = 0; down < 2; down++)
            for (int poor = 0; poor < 2; poor++)
                run_way(&(struct way){ types[t], FERRO_TEXT, false, down, poor ? POOR : RICH, 15000, 4000, 3,
                                       4, poor });
}

Test(shuffle_sort, values_with_ties)
{
    const fe_type types[] = { FERRO_TEXT, FERRO_I64, FERRO_F64, FERRO_STRUCT(struct { char b[4]; }) };
    for (int t = 0; t < 4; t++)
        for (int down = 0; down < 2; down++)
            run_way(&(struct way){ FERRO_TEXT, types[t], true, down, down ? POOR : RICH, 15000, 100, 3, 4,
                                   down });
    run_way(&(struct way){ FERRO_I64, FERRO_I64, true, true, RICH, 15000, 40, 2, 5, false });
    run_way(&(struct way){ FERRO_NONE, FERRO_TEXT, true, false, POOR, 15000, 4000, 2, 5, false });
}

/* Every count is 1: the keys must cut what the values can't. */
Test(shuffle_sort, equal_values_are_spread_by_key)
{
    struct way y = { FERRO_I64, FERRO_I64, true, true, RICH, 60000, 40000, 2, 4, false };
    run_way(&y);
}

Test(shuffle_sort, few_rows)
{
    for (size_t rows = 0; rows < 3; rows++)
        run_way(&(struct way){ FERRO_TEXT, FERRO_I64, false, false, RICH, rows, 10, 2, 3, true });
    run_way(&(struct way){ FERRO_TEXT, FERRO_TEXT, false, false, RICH, 3000, 1, 2, 4, false });
}

/* More runs than may be open, and more maps than one window has: several passes over the disk. */
Test(shuffle_sort, many_maps_and_runs)
{
    run_way(&(struct way){ FERRO_TEXT, FERRO_I64, false, true, 600 << 10, 90000, 20000, 100, 3, false });
    run_way(&(struct way){ FERRO_I64, FERRO_TEXT, false, false, 600 << 10, 90000, 20000, 100, 3, true });
}
