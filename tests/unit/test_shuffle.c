/* test_shuffle.c - hash shuffles: what comes out is what one pass over all records would give. */
#include "tests/unit/shuffle_world.h"

#include "engine/shuffle/mapfile.h"
#include "engine/types.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define RICH (64ull << 20)
#define POOR (256ull << 10)

struct load {
    int64_t hits, bytes, most;
};
struct name {
    uint8_t b[24];
};

static void merge_load(fe_task *t, void *acc, const void *other)
{
    struct load *a = acc;
    const struct load *b = other;
    (void)t;
    a->hits += b->hits;
    a->bytes += b->bytes;
    a->most = a->most > b->most ? a->most : b->most;
}

static void merge_never(fe_task *t, void *acc, const void *other)
{
    (void)acc, (void)other;
    fe_fail(t, "not these two");
}

/* ---- keys that are hard in some way --------------------------------------------------- */

static uint64_t next_random(uint64_t *x)
{
    *x = *x * 6364136223846793005u + 1442695040888963407u;
    return *x >> 24;
}

/* Of any length up to 40 and more; many share their first 15 or 16 bytes, or end in NULs. */
static size_t text_key(uint64_t i, char *out)
{
    switch (i % 5) {
    case 0: return (size_t)snprintf(out, 64, "%llu", (unsigned long long)(i / 5));
    case 1: return (size_t)snprintf(out, 64, "same-sixteen-by-%llu", (unsigned long long)(i / 5));
    case 2: memset(out, 0, 32); return i / 5 % 33;
    case 3: return (size_t)snprintf(out, 64, "fifteen-bytes-x%c", (char)(i / 5 % 256));
    default: return (size_t)snprintf(out, 64, "%036llu", (unsigned long long)(i / 5));
    }
}

static size_t key_of(fe_type t, uint64_t i, char *out)
{
    static const double odd[] = { 0.0, -0.0, NAN, INFINITY };
    double d = i < 4 ? odd[i] : (double)i / 8;
    if (t == FERRO_TEXT)
        return text_key(i, out);
    memset(out, 0, type_size(t));
    memcpy(out, t == FERRO_F64 ? (void *)&d : (void *)&i, 8);
    return type_size(t);
}

static void fill(struct recs *in, fe_type key, size_t rows, uint64_t distinct)
{
    uint64_t seed = 42;
    for (size_t i = 0; i < rows; i++) {
        char k[64];
        int64_t v = (int64_t)next_random(&seed) % 1000 - 500;
        size_t n = key_of(key, next_random(&seed) % distinct, k);
        recs_add(in, k, n, &v, sizeof v);
    }
}

/* ---- the oracle ------------------------------------------------------------------------ */

static void canonical(struct recs *r)
{
    for (size_t i = 0; i < r->n; i++) {
        double *d = (double *)(uintptr_t)recs_at(r, i).key.p;
        *d = isnan(*d) ? NAN : *d == 0 ? 0 : *d;
    }
}

static void merged(enum fe_kernel kernel, const struct recs *in, struct recs *out)
{
    struct rec *v = recs_sorted(in);
    for (size_t i = 0; i < in->n;) {
        size_t k = i + 1;
        int64_t acc = kernel == FERRO_COUNT ? 1 : fe_i64(v[i].value);
        for (; k < in->n && type_equal(FERRO_TEXT, v[k].key, v[i].key); k++) {
            int64_t x = kernel == FERRO_COUNT ? 1 : fe_i64(v[k].value);
            kernel_merge(kernel, FERRO_I64)(&acc, &x);
        }
        recs_add(out, v[i].key.p, v[i].key.n, &acc, sizeof acc);
        i = k;
    }
    free(v);
}

static void check_same(const struct recs *a, const struct recs *b)
{
    struct rec *x = recs_sorted(a), *y = recs_sorted(b);
    cr_assert_eq(a->n, b->n, "%zu records, %zu were expected", a->n, b->n);
    for (size_t i = 0; i < a->n; i++)
        cr_assert_eq(rec_cmp(&x[i], &y[i]), 0, "record %zu", i);
    free(x);
    free(y);
}

struct way {
    fe_type key;
    enum fe_kernel kernel;
    uint64_t budget;
    size_t rows, distinct;
    bool remote, hashed, select;
    uint32_t maps;
};

static void all_parts(struct shuffle_world *w, const struct plan_node *leaf, uint32_t buckets,
                      struct recs *out)
{
    for (uint32_t part = 0; part < 3; part++)
        cr_assert_eq(shuffle_world_reduce(w, leaf, shuffle_world_bounds(buckets, 3), 4, 3, part, out), 0,
                     "%.*s", (int)w->report.words.n, (const char *)w->report.words.p);
}

/* Bytes of all map outputs. */
static uint64_t run_spread(const struct way *y, bool spread)
{
    uint64_t bytes = 0;
    struct shuffle_world w;
    struct recs in = { 0 }, want = { 0 }, got = { 0 };
    struct plan_node sink = {
        .op = OP_WRITE_HASH, .key = y->key, .value = FERRO_I64, .kernel = y->kernel, .buckets = 256
    };
    struct plan_node leaf = { .op = OP_READ_HASH,
                              .key = y->key,
                              .value = FERRO_I64,
                              .in_key = y->key,
                              .in_value = FERRO_I64,
                              .kernel = y->kernel };
    shuffle_world_init(&w, y->budget);
    w.remote = y->remote;
    w.stage.spread = spread;
    w.hashed = y->hashed;
    w.select = y->select;
    fill(&in, y->key, y->rows, y->distinct);
    for (uint32_t m = 0; m < y->maps; m++) {
        cr_assert_eq(shuffle_world_map(&w, &sink, &in, y->rows * m / y->maps, y->rows * (m + 1) / y->maps),
                     0);
        cr_assert(w.report.out_bytes == 0 || w.report.sizes.n == 256);
        bytes += w.report.out_bytes;
    }
    all_parts(&w, &leaf, 256, &got);
    if (y->key == FERRO_F64)
        canonical(&in);
    merged(y->kernel, &in, &want);
    check_same(&got, &want);
    recs_fini(&in);
    recs_fini(&want);
    recs_fini(&got);
    shuffle_world_fini(&w);
    return bytes;
}

static void run_way(const struct way *y)
{
    run_spread(y, false);
}

Test(shuffle, what_goes_to_other_hosts_is_compressed)
{
    const struct way rich = { FERRO_TEXT, FERRO_SUM, RICH, 60000, 30000, true, false, false, 2 };
    const struct way poor = { FERRO_TEXT, FERRO_SUM, POOR, 60000, 30000, true, false, false, 2 };
    cr_assert_lt(run_spread(&rich, true), run_spread(&rich, false) * 3 / 4);
    cr_assert_lt(run_spread(&poor, true), run_spread(&poor, false));
}

Test(shuffle, types_and_kernels)
{
    const fe_type types[] = { FERRO_TEXT, FERRO_I64, FERRO_F64, FERRO_STRUCT(struct name),
                              FERRO_STRUCT(struct { char b[12]; }) };
    for (size_t t = 0; t < 5; t++)
        for (int k = FERRO_SUM; k <= FERRO_COUNT; k++)
            run_way(&(struct way){ types[t], k, RICH, 20000, 3000, k & 1, k & 2, t & 1, 3 });
}

Test(shuffle, tiny_budgets_spill)
{
    const fe_type types[] = { FERRO_TEXT, FERRO_I64, FERRO_STRUCT(struct name) };
    for (size_t t = 0; t < 3; t++) {
        run_way(&(struct way){ types[t], FERRO_SUM, POOR, 120000, 60000, true, false, false, 2 });
        run_way(&(struct way){ types[t], FERRO_COUNT, POOR, 40000, 100, false, true, true, 2 });
    }
}

/* More than 2^18 rows of mostly different keys: the map stops combining. */
Test(shuffle, what_does_not_shrink_is_only_partitioned)
{
    run_way(&(struct way){ FERRO_TEXT, FERRO_SUM, RICH, 400000, 2000000, true, false, false, 1 });
    run_way(&(struct way){ FERRO_I64, FERRO_COUNT, RICH, 300000, 2000000, false, true, false, 1 });
    run_way(&(struct way){ FERRO_I64, FERRO_MAX, POOR, 600000, 4000000, false, false, false, 1 });
}

/* One text of `bytes` among short ones: the map's result. */
static int map_long(const struct plan_node *sink, size_t bytes, char words[512])
{
    struct shuffle_world w;
    struct recs in = { 0 };
    int64_t one = 1;
    char *text = calloc(1, bytes);
    shuffle_world_init(&w, RICH);
    recs_add(&in, "short", 5, &one, sizeof one);
    recs_add(&in, text, bytes, &one, sizeof one);
    recs_add(&in, "too", 3, &one, sizeof one);
    int failed = shuffle_world_map(&w, sink, &in, 0, in.n);
    bytes_text(w.report.words, words, 512);
    cr_assert_eq(w.report.cause, failed ? CAUSE_MEMORY : CAUSE_OK);
    free(text);
    recs_fini(&in);
    shuffle_world_fini(&w);
    return failed;
}

Test(shuffle, a_record_too_large_for_the_slot_is_refused_in_words)
{
    char words[512];
    struct plan_node hash = { .op = OP_WRITE_HASH, .key = FERRO_TEXT, .value = FERRO_I64, .buckets = 4 };
    struct plan_node range = { .op = OP_WRITE_RANGE, .key = FERRO_TEXT, .value = FERRO_I64 };
    for (int kernel = 0; kernel <= FERRO_SUM; kernel += FERRO_SUM) {
        hash.kernel = (enum fe_kernel)kernel;
        cr_assert_eq(map_long(&hash, RICH / 4 - 64, words), 0, "%s", words);
        cr_assert_neq(map_long(&hash, RICH / 4 + 1, words), 0);
        cr_assert(strstr(words, "too large to be shuffled: at most"), "%s", words);
    }
    cr_assert_eq(map_long(&range, RICH / 4 - 64, words), 0, "%s", words);
    cr_assert_neq(map_long(&range, RICH / 4 + 1, words), 0);
}

Test(shuffle, few_rows_and_many_maps)
{
    run_way(&(struct way){ FERRO_TEXT, FERRO_SUM, RICH, 0, 1, false, false, false, 2 });
    run_way(&(struct way){ FERRO_TEXT, FERRO_SUM, RICH, 1, 1, true, false, false, 2 });
    run_way(&(struct way){ FERRO_TEXT, FERRO_SUM, RICH, 5000, 700, true, false, false, 100 });
}

/* Whatever the number of buckets: ten thousand such maps are no table of maps by buckets. */
Test(shuffle, a_map_of_few_rows_has_a_small_output)
{
    struct shuffle_world w;
    struct recs in = { 0 }, got = { 0 };
    struct plan_node sink = { .op = OP_WRITE_HASH,
                              .key = FERRO_I64,
                              .value = FERRO_I64,
                              .kernel = FERRO_SUM,
                              .buckets = MAP_BUCKETS_MAX };
    struct plan_node leaf = { .op = OP_READ_HASH,
                              .key = FERRO_I64,
                              .value = FERRO_I64,
                              .in_key = FERRO_I64,
                              .in_value = FERRO_I64,
                              .kernel = FERRO_SUM };
    shuffle_world_init(&w, RICH);
    for (int64_t i = 0; i < 10; i++)
        recs_add(&in, &i, sizeof i, &i, sizeof i);
    cr_assert_eq(shuffle_world_map(&w, &sink, &in, 0, 10), 0);
    cr_assert_lt(w.maps[0].bytes, 2048);
    for (uint32_t part = 0; part < 16; part++)
        cr_assert_eq(
            shuffle_world_reduce(&w, &leaf, shuffle_world_bounds(MAP_BUCKETS_MAX, 16), 17, 16, part, &got),
            0);
    struct rec *want = recs_sorted(&in), *have = recs_sorted(&got);
    cr_assert_eq(got.n, 10);
    for (size_t i = 0; i < got.n; i++)
        cr_assert_eq(rec_cmp(&want[i], &have[i]), 0);
    free(want);
    free(have);
    recs_fini(&in);
    recs_fini(&got);
    shuffle_world_fini(&w);
}

/* A map's output of several MiB, remote: a window of tails, then one of stretches. */
Test(shuffle, remote_reads_take_few_round_trips)
{
    struct shuffle_world w;
    struct recs in = { 0 }, got = { 0 };
    struct plan_node sink = {
        .op = OP_WRITE_HASH, .key = FERRO_I64, .value = FERRO_I64, .kernel = FERRO_SUM, .buckets = 64
    };
    struct plan_node leaf = { .op = OP_READ_HASH,
                              .key = FERRO_I64,
                              .value = FERRO_I64,
                              .in_key = FERRO_I64,
                              .in_value = FERRO_I64,
                              .kernel = FERRO_SUM };
    shuffle_world_init(&w, RICH);
    w.remote = true;
    fill(&in, FERRO_I64, 200000, 100000);
    for (uint32_t m = 0; m < 4; m++)
        cr_assert_eq(shuffle_world_map(&w, &sink, &in, 50000 * m, 50000 * (m + 1)), 0);
    cr_assert_gt(w.maps[0].bytes, 256 << 10);
    cr_assert_eq(shuffle_world_reduce(&w, &leaf, shuffle_world_bounds(64, 3), 4, 3, 1, &got), 0);
    cr_assert_eq(w.fetches, 2);
    cr_assert_lt(w.report.bytes_read, w.maps[0].bytes * 4 / 2);
    recs_fini(&in);
    recs_fini(&got);
    shuffle_world_fini(&w);
}

Test(shuffle, users_merge_of_wide_values)
{
    for (int poor = 0; poor < 2; poor++) {
        struct shuffle_world w;
        struct recs in = { 0 }, want = { 0 }, got = { 0 };
        fe_type load = FERRO_STRUCT(struct load);
        struct plan_node sink = {
            .op = OP_WRITE_HASH, .key = FERRO_TEXT, .value = load, .fn = (uintptr_t)merge_load, .buckets = 16
        };
        struct plan_node leaf = { .op = OP_READ_HASH,
                                  .key = FERRO_TEXT,
                                  .value = load,
                                  .in_key = FERRO_TEXT,
                                  .in_value = load,
                                  .fn = (uintptr_t)merge_load };
        shuffle_world_init(&w, poor ? POOR : RICH);
        for (int64_t i = 0; i < 30000; i++) {
            char k[64];
            struct load v = { 1, i, i % 77 };
            recs_add(&in, k, text_key((uint64_t)i % 5000, k), &v, sizeof v);
        }
        cr_assert_eq(shuffle_world_map(&w, &sink, &in, 0, 10000), 0);
        cr_assert_eq(shuffle_world_map(&w, &sink, &in, 10000, 30000), 0);
        all_parts(&w, &leaf, 16, &got);
        struct rec *v = recs_sorted(&in);
        for (size_t i = 0; i < in.n;) {
            struct load acc = *FERRO_AS(struct load, v[i].value);
            size_t k = i + 1;
            for (; k < in.n && type_equal(FERRO_TEXT, v[k].key, v[i].key); k++)
                merge_load(NULL, &acc, v[k].value.p);
            recs_add(&want, v[i].key.p, v[i].key.n, &acc, sizeof acc);
            i = k;
        }
        free(v);
        check_same(&got, &want);
        recs_fini(&in);
        recs_fini(&want);
        recs_fini(&got);
        shuffle_world_fini(&w);
    }
}

Test(shuffle, a_merge_that_fails_ends_the_attempt_and_leaves_no_file)
{
    struct shuffle_world w;
    struct recs in = { 0 };
    char path[128];
    struct plan_node sink = { .op = OP_WRITE_HASH,
                              .key = FERRO_I64,
                              .value = FERRO_I64,
                              .fn = (uintptr_t)merge_never,
                              .fn_name = "merge_never",
                              .file = "job.c",
                              .line = 3,
                              .buckets = 16 };
    shuffle_world_init(&w, RICH);
    fill(&in, FERRO_I64, 1000, 10);
    cr_assert_eq(shuffle_world_map(&w, &sink, &in, 0, 1000), -1);
    cr_assert_eq(w.report.cause, CAUSE_ERROR);
    cr_assert(fopen(shuffle_world_path(&w, 0, path), "r") == NULL);
    recs_fini(&in);
    shuffle_world_fini(&w);
}

Test(shuffle, a_folder_that_cannot_be_written_is_named)
{
    struct shuffle_world w;
    struct recs in = { 0 };
    struct plan_node sink = {
        .op = OP_WRITE_HASH, .key = FERRO_I64, .value = FERRO_I64, .kernel = FERRO_SUM, .buckets = 16
    };
    shuffle_world_init(&w, RICH);
    w.env.scratch = "/nowhere/at/all";
    fill(&in, FERRO_I64, 1000, 10);
    cr_assert_eq(shuffle_world_map(&w, &sink, &in, 0, 1000), -1);
    cr_assert_eq(w.report.cause, CAUSE_ERROR);
    cr_assert(memmem(w.report.words.p, w.report.words.n, "/nowhere/at/all", 15));
    recs_fini(&in);
    shuffle_world_fini(&w);
}

/* ---- groups --------------------------------------------------------------------------------- */

static uint64_t values_wanted = UINT64_MAX;

/* key -> how many values, and the sum of their bytes */
static void weigh(fe_task *t, fe_slice key, fe_values *values)
{
    fe_slice v;
    struct load sum = { 0 };
    while ((uint64_t)sum.hits < values_wanted && fe_next_value(values, &v)) {
        sum.hits++;
        sum.bytes += (int64_t)v.n;
        for (size_t i = 0; i < v.n; i++)
            sum.most += (uint8_t)v.p[i];
    }
    fe_emit(t, key, FERRO_BYTES(sum));
}

static void check_groups(uint64_t budget, size_t rows, uint64_t distinct, uint64_t wanted)
{
    struct shuffle_world w;
    struct recs in = { 0 }, want = { 0 }, got = { 0 };
    struct plan_node sink = { .op = OP_WRITE_HASH, .key = FERRO_TEXT, .value = FERRO_TEXT, .buckets = 32 };
    struct plan_node leaf = { .op = OP_READ_GROUPS,
                              .key = FERRO_TEXT,
                              .value = FERRO_STRUCT(struct load),
                              .in_key = FERRO_TEXT,
                              .in_value = FERRO_TEXT,
                              .fn = (uintptr_t)weigh };
    uint64_t seed = 7;
    shuffle_world_init(&w, budget);
    values_wanted = wanted;
    for (size_t i = 0; i < rows; i++) {
        char k[64], v[32];
        memset(v, 'a' + (int)(i % 26), sizeof v);
        recs_add(&in, k, text_key(next_random(&seed) % distinct, k), v, wanted == UINT64_MAX ? i % 32 : 4);
    }
    cr_assert_eq(shuffle_world_map(&w, &sink, &in, 0, rows / 3), 0);
    cr_assert_eq(shuffle_world_map(&w, &sink, &in, rows / 3, rows), 0);
    all_parts(&w, &leaf, 32, &got);
    struct rec *v = recs_sorted(&in);
    for (size_t i = 0, k; i < in.n; i = k) {
        struct load acc = { 0 };
        for (k = i; k < in.n && type_equal(FERRO_TEXT, v[k].key, v[i].key); k++) {
            if ((uint64_t)acc.hits == wanted)
                continue;
            acc.hits++;
            acc.bytes += (int64_t)v[k].value.n;
            for (size_t b = 0; b < v[k].value.n; b++)
                acc.most += (uint8_t)v[k].value.p[b];
        }
        recs_add(&want, v[i].key.p, v[i].key.n, &acc, sizeof acc);
    }
    free(v);
    if (wanted != UINT64_MAX) /* which values it saw is not promised */
        for (struct recs *r = &got; r; r = r == &got ? &want : NULL)
            for (size_t i = 0; i < r->n; i++)
                ((struct load *)(uintptr_t)recs_at(r, i).value.p)->most = 0;
    check_same(&got, &want);
    recs_fini(&in);
    recs_fini(&want);
    recs_fini(&got);
    shuffle_world_fini(&w);
}

Test(shuffle, groups)
{
    check_groups(RICH, 20000, 900, UINT64_MAX);
    check_groups(RICH, 0, 1, UINT64_MAX);
    check_groups(RICH, 1, 1, UINT64_MAX);
    check_groups(POOR, 60000, 9000, UINT64_MAX);
    check_groups(RICH, 20000, 900, 2);
    check_groups(POOR, 60000, 9000, 1);
}

Test(shuffle, a_group_larger_than_memory)
{
    check_groups(POOR, 100000, 2, UINT64_MAX);
}
