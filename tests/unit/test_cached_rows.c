/* test_cached_rows.c - cached partitions: written, read as they were, and found out when they are broken. */
#include "engine/kept.h"
#include "tests/unit/local_runner.h"
#include "tests/unit/shuffle_world.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

TestSuite(cached_rows, .timeout = 60);

static struct shuffle_world w;
static const struct plan_node sink = { .op = OP_WRITE_ROWS, .key = FERRO_TEXT, .value = FERRO_I64 },
                              leaf = { .op = OP_READ_ROWS, .key = FERRO_TEXT, .value = FERRO_I64 };

static void fill(struct recs *in, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        char k[64];
        recs_add(in, k, (size_t)snprintf(k, sizeof k, i % 3 ? "%lld" : "a longer key %lld", (long long)i), &i,
                 sizeof i);
    }
}

static void same(const struct recs *in, size_t from, size_t to, const struct recs *out)
{
    cr_assert_eq(out->n, to - from, "%zu rows of %zu", out->n, to - from);
    for (size_t i = 0; i < out->n; i++) {
        struct rec a = recs_at(in, from + i), b = recs_at(out, i);
        cr_assert_eq(rec_cmp(&a, &b), 0, "row %zu", i);
    }
}

static void there_and_back(bool select, bool remote)
{
    struct recs in = { 0 }, out = { 0 };
    shuffle_world_init(&w, 8 << 20);
    w.hashed = true; /* what no reader needs is not kept */
    w.select = select;
    w.remote = remote;
    fill(&in, 300000);
    cr_assert_eq(shuffle_world_map(&w, &sink, &in, 0, 10), 0);
    cr_assert_eq(shuffle_world_map(&w, &sink, &in, 10, 300000), 0);
    cr_assert_eq(w.report.rows, 299990);
    cr_assert_eq(shuffle_world_reduce(&w, &leaf, NULL, 0, 3, 1, &out), 0);
    same(&in, 10, 300000, &out);
    cr_assert_eq(w.report.bytes_read, w.maps[1].bytes);
    recs_fini(&out);
    out = (struct recs){ 0 };
    cr_assert_eq(shuffle_world_reduce(&w, &leaf, NULL, 0, 3, 0, &out), 0);
    same(&in, 0, 10, &out);
    recs_fini(&out);
    recs_fini(&in);
    shuffle_world_fini(&w);
}

Test(cached_rows, come_back_in_their_order)
{
    there_and_back(false, false);
    there_and_back(true, false);
    there_and_back(false, true);
}

Test(cached_rows, an_empty_partition_has_no_file)
{
    struct recs in = { 0 }, out = { 0 };
    char path[128];
    shuffle_world_init(&w, 8 << 20);
    cr_assert_eq(shuffle_world_map(&w, &sink, &in, 0, 0), 0);
    cr_assert_eq(w.report.out_bytes, 0);
    cr_assert_neq(access(shuffle_world_path(&w, 0, path), F_OK), 0);
    w.stage.maps.n = 0; /* so is it not in STAGE.maps */
    cr_assert_eq(shuffle_world_reduce(&w, &leaf, NULL, 0, 1, 0, &out), 0);
    cr_assert_eq(out.n, 0);
    recs_fini(&out);
    shuffle_world_fini(&w);
}

static void must_fail_of(uint32_t part, const char *what)
{
    struct recs out = { 0 };
    cr_assert_eq(shuffle_world_reduce(&w, &leaf, NULL, 0, 2, part, &out), -1, "%s passed", what);
    cr_assert_eq(w.report.cause, CAUSE_FETCH, "%s", what);
    cr_assert(w.report.fetch_stage == 7 && w.report.fetch_part == part && w.report.fetch_attempt == 1);
    recs_fini(&out);
}

static void must_fail(const char *what)
{
    must_fail_of(1, what);
}

Test(cached_rows, what_is_broken_names_the_map)
{
    struct recs in = { 0 };
    char path[128];
    uint8_t byte;
    shuffle_world_init(&w, 8 << 20);
    fill(&in, 5000);
    cr_assert_eq(shuffle_world_map(&w, &sink, &in, 0, 100), 0);
    cr_assert_eq(shuffle_world_map(&w, &sink, &in, 100, 5000), 0);
    int fd = open(shuffle_world_path(&w, 1, path), O_RDWR);
    for (off_t at = 0; at < (off_t)w.maps[1].bytes; at += 997) {
        cr_assert_eq(pread(fd, &byte, 1, at), 1);
        byte ^= 4;
        cr_assert_eq(pwrite(fd, &byte, 1, at), 1);
        must_fail("a flip");
        byte ^= 4;
        cr_assert_eq(pwrite(fd, &byte, 1, at), 1);
    }
    cr_assert_eq(ftruncate(fd, (off_t)w.maps[1].bytes - 8), 0);
    must_fail("a cut");
    close(fd);
    unlink(path);
    must_fail("nothing");
    recs_fini(&in);
    shuffle_world_fini(&w);
}

/* Rows 0..49 and 50..99 are partitions 0 and 1. */
static void read_all(const struct recs *in, uint32_t part)
{
    struct recs out = { 0 };
    cr_assert_eq(shuffle_world_reduce(&w, &leaf, NULL, 0, 2, part, &out), 0, "part %u", part);
    same(in, 50 * part, 50 * part + 50, &out);
    recs_fini(&out);
}

Test(cached_rows, stay_mapped_from_task_to_task)
{
    struct recs in = { 0 };
    struct kept kept = { 0 };
    char path[128];
    shuffle_world_init(&w, 8 << 20);
    fill(&in, 100);
    w.env.kept = &kept;
    cr_assert_eq(shuffle_world_map(&w, &sink, &in, 0, 50), 0);
    cr_assert_eq(shuffle_world_map(&w, &sink, &in, 50, 100), 0);
    read_all(&in, 0);
    read_all(&in, 1);
    cr_assert_eq(kept.n, 2);
    cr_assert_eq(kept.v[0].checked, w.maps[0].bytes);
    unlink(shuffle_world_path(&w, 0, path));
    read_all(&in, 0);
    for (int i = 0; i <= KEPT_STAGES_MAX; i++) {
        read_all(&in, 1);
        kept_stage(&kept);
    }
    cr_assert_eq(kept.n, 1, "nobody has asked for the other");
    ferro_kept_drop(&kept);
    must_fail_of(0, "a mapping that was dropped");
    recs_fini(&in);
    shuffle_world_fini(&w);
}

Test(cached_rows, a_broken_one_is_not_kept)
{
    struct recs in = { 0 };
    struct kept kept = { 0 };
    char path[128];
    shuffle_world_init(&w, 8 << 20);
    fill(&in, 100);
    w.env.kept = &kept;
    cr_assert_eq(shuffle_world_map(&w, &sink, &in, 0, 50), 0);
    cr_assert_eq(shuffle_world_map(&w, &sink, &in, 50, 100), 0);
    int fd = open(shuffle_world_path(&w, 1, path), O_RDWR);
    cr_assert_eq(pwrite(fd, "?", 1, 60), 1);
    must_fail("a byte");
    cr_assert_eq(ftruncate(fd, (off_t)w.maps[1].bytes - 8), 0);
    must_fail("a cut");
    cr_assert_eq(kept.n, 0);
    close(fd);
    ferro_kept_drop(&kept);
    recs_fini(&in);
    shuffle_world_fini(&w);
}

Test(cached_rows, no_more_stay_mapped_than_there_is_room_for)
{
    struct kept kept = { 0 };
    struct error e;
    FILE *f = tmpfile();
    cr_assert_eq(fwrite("12345678", 8, 1, f), 1);
    fflush(f);
    for (uint32_t i = 0; i <= KEPT_BLOCKS_MAX; i++) {
        kept.stage = i > 0;
        cr_assert_not_null(kept_map(&kept, block_output(1, i, 1), fileno(f), 8, &e), "%s", e.words);
    }
    cr_assert_eq(kept.n, KEPT_BLOCKS_MAX);
    cr_assert_null(kept_find(&kept, block_output(1, 0, 1)), "it was not asked for longest");
    cr_assert_not_null(kept_find(&kept, block_output(1, 1, 1)));
    cr_assert_null(kept_map(&kept, block_output(1, 0, 1), fileno(f), 16, &e), "it is shorter");
    ferro_kept_drop(&kept);
    fclose(f);
}

/* ---- in jobs ------------------------------------------------------------------------------------ */

static bool even(fe_task *t, fe_slice key, fe_slice value)
{
    (void)t, (void)key;
    return fe_i64(value) % 2 == 0;
}

static int twice(fe_app *app, int argc, char **argv)
{
    (void)argc, (void)argv;
    int64_t n = 0;
    fe_set *kept = fe_cache(fe_filter(fe_range(app, 0, 100000, 7), even));
    cr_assert_eq(fe_count(kept, &n), 0);
    cr_assert_eq(n, 50000);
    cr_assert_eq(fe_count(fe_union(kept, fe_filter(kept, even)), &n), 0);
    cr_assert_eq(n, 100000);
    fe_uncache(kept);
    cr_assert_eq(fe_count(kept, &n), 0);
    return 0;
}

Test(cached_rows, are_read_by_the_stages_after_them)
{
    struct local *l = local_new(&(struct local_config){ .parallelism = 2 });
    cr_assert_eq(local_main(l, twice, 0, NULL), 0, "%s", (char *)l->said.p);
    cr_assert_eq(l->forgets, 1);
    local_free(&l);
}

static void by_ten(fe_task *t, fe_slice key, fe_slice value)
{
    (void)key;
    fe_emit(t, fe_i64(value) % 10, fe_i64(value));
}

static void pair(fe_task *t, fe_slice key, fe_slice left, fe_slice right)
{
    (void)right;
    fe_emit(t, fe_i64(key), fe_i64(left));
}

/* The side that is streamed past the table: pulled once more when it has ended. */
static int joined(fe_app *app, int argc, char **argv)
{
    (void)argc, (void)argv;
    int64_t n = 0;
    fe_set *kept = fe_cache(fe_map(fe_range(app, 0, 1000, 3), by_ten, FERRO_I64, FERRO_I64));
    fe_set *ten = fe_map(fe_range(app, 0, 10, 1), by_ten, FERRO_I64, FERRO_I64);
    cr_assert_eq(fe_count(fe_join(kept, ten, pair, FERRO_I64, FERRO_I64), &n), 0);
    cr_assert_eq(n, 1000);
    cr_assert_eq(fe_count(fe_join(fe_union(kept, kept), ten, pair, FERRO_I64, FERRO_I64), &n), 0);
    cr_assert_eq(n, 2000);
    return 0;
}

Test(cached_rows, are_streamed_past_a_joins_table)
{
    struct local *l = local_new(&(struct local_config){ .parallelism = 2 });
    cr_assert_eq(local_main(l, joined, 0, NULL), 0, "%s", (char *)l->said.p);
    local_free(&l);
}

static int not_cached(fe_app *app, int argc, char **argv)
{
    (void)argc, (void)argv;
    int64_t n;
    fe_uncache(fe_range(app, 0, 10, 1));
    return fe_count(fe_range(app, 0, 10, 1), &n);
}

Test(cached_rows, only_what_is_cached_can_be_uncached)
{
    struct local *l = local_new(&(struct local_config){ .parallelism = 2 });
    cr_assert_eq(local_main(l, not_cached, 0, NULL), 3);
    cr_assert(strstr((char *)l->said.p, "fe_uncache: the dataset is not one that fe_cache made"));
    local_free(&l);
}
