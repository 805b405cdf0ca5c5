/* test_shuffle_faults.c - map outputs that are gone, cut or changed end the attempt with CAUSE_FETCH and the map's name. */
#include "tests/unit/shuffle_world.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define BUCKETS 8u

static struct shuffle_world w;
static struct plan_node leaf;

static void count_values(fe_task *t, fe_slice key, fe_values *values)
{
    fe_slice v;
    int64_t n = 0;
    while (fe_next_value(values, &v))
        n++;
    fe_emit(t, key, n);
}

/* Two maps of 60 rows each. */
static void set_up_for(enum op_code read)
{
    struct recs in = { 0 };
    struct plan_node sink = { .op = read == OP_READ_SORTED ? OP_WRITE_RANGE : OP_WRITE_HASH,
                              .key = FERRO_TEXT,
                              .value = FERRO_I64,
                              .buckets = BUCKETS };
    leaf = (struct plan_node){ .op = read,
                               .key = FERRO_TEXT,
                               .value = FERRO_I64,
                               .in_key = FERRO_TEXT,
                               .in_value = FERRO_I64,
                               .fn = (uintptr_t)count_values };
    if (read == OP_READ_HASH) {
        sink.kernel = leaf.kernel = FERRO_SUM;
        leaf.fn = 0;
    }
    shuffle_world_init(&w, 8 << 20);
    for (int64_t i = 0; i < 120; i++) {
        char k[64];
        int n = snprintf(k, sizeof k, i % 3 ? "key %lld" : "a key of more than sixteen bytes %lld",
                         (long long)i % 40);
        recs_add(&in, k, (size_t)n, &i, sizeof i);
    }
    cr_assert_eq(shuffle_world_map(&w, &sink, &in, 0, 60), 0);
    cr_assert_eq(shuffle_world_map(&w, &sink, &in, 60, 120), 0);
    recs_fini(&in);
}

static int reduce(struct recs *out)
{
    bool sorted = leaf.op == OP_READ_SORTED;
    return shuffle_world_reduce(&w, &leaf, sorted ? NULL : shuffle_world_bounds(BUCKETS, 1), sorted ? 0 : 2,
                                1, 0, out);
}

static void must_fail(const char *what, size_t at)
{
    struct recs out = { 0 };
    cr_assert_eq(reduce(&out), -1, "%s at %zu passed", what, at);
    cr_assert_eq(w.report.cause, CAUSE_FETCH, "%s at %zu: %.*s", what, at, (int)w.report.words.n,
                 (const char *)w.report.words.p);
    cr_assert(w.report.fetch_stage == 7 && w.report.fetch_part == 1 && w.report.fetch_attempt == 1);
    recs_fini(&out);
}

static int open_output(void)
{
    char path[128];
    int fd = open(shuffle_world_path(&w, 1, path), O_RDWR);
    cr_assert_geq(fd, 0);
    return fd;
}

static void every_flip(enum op_code read)
{
    set_up_for(read);
    int fd = open_output();
    struct recs out = { 0 };
    for (off_t i = 0; i < (off_t)w.maps[1].bytes; i++) {
        uint8_t was, now;
        cr_assert_eq(pread(fd, &was, 1, i), 1);
        now = was ^ (uint8_t)(1 << i % 8);
        cr_assert_eq(pwrite(fd, &now, 1, i), 1);
        recs_fini(&out);
        /* Only padding between frames may change unnoticed: nobody reads it. */
        if (reduce(&out) == 0)
            cr_assert_eq(was, 0, "a flip at %lld passed", (long long)i);
        else
            must_fail("a flip", (size_t)i);
        cr_assert_eq(pwrite(fd, &was, 1, i), 1);
    }
    recs_fini(&out);
    cr_assert_eq(reduce(&out), 0);
    recs_fini(&out);
    close(fd);
    shuffle_world_fini(&w);
}

static void every_cut(enum op_code read)
{
    set_up_for(read);
    int fd = open_output();
    uint64_t whole = w.maps[1].bytes;
    for (uint64_t n = whole; n-- > 0;) {
        cr_assert_eq(ftruncate(fd, (off_t)n), 0);
        must_fail("a cut", n); /* shorter than the map said */
        w.maps[1].bytes = n;
        if (n)
            must_fail("a cut that the map knows of", n);
        w.maps[1].bytes = whole;
    }
    close(fd);
    shuffle_world_fini(&w);
}

Test(shuffle_faults, flips)
{
    every_flip(OP_READ_HASH);
    every_flip(OP_READ_GROUPS);
    every_flip(OP_READ_SORTED);
}

Test(shuffle_faults, cuts)
{
    every_cut(OP_READ_HASH);
    every_cut(OP_READ_GROUPS);
    every_cut(OP_READ_SORTED);
}

Test(shuffle_faults, a_block_that_is_gone)
{
    char path[128];
    set_up_for(OP_READ_HASH);
    unlink(shuffle_world_path(&w, 1, path));
    must_fail("nothing", 0);
    cr_assert(memmem(w.report.words.p, w.report.words.n, "7.1.1", 5) &&
              memmem(w.report.words.p, w.report.words.n, "no such block", 13));
    shuffle_world_fini(&w);
}

/* A sort's output where a hash shuffle's is expected. */
Test(shuffle_faults, another_kind)
{
    set_up_for(OP_READ_SORTED);
    leaf.op = OP_READ_HASH;
    leaf.kernel = FERRO_SUM;
    struct recs out = { 0 };
    cr_assert_eq(reduce(&out), -1);
    cr_assert_eq(w.report.cause, CAUSE_FETCH);
    recs_fini(&out);
    shuffle_world_fini(&w);
}

Test(shuffle_faults, fewer_buckets_than_the_stage_says)
{
    set_up_for(OP_READ_HASH);
    struct recs out = { 0 };
    cr_assert_eq(shuffle_world_reduce(&w, &leaf, shuffle_world_bounds(BUCKETS * 2, 1), 2, 1, 0, &out), -1);
    cr_assert_eq(w.report.cause, CAUSE_FETCH);
    shuffle_world_fini(&w);
}
