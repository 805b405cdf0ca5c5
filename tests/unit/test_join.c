/* test_join.c - joins and cogroups as whole jobs in process, against two loops. */
#include "tests/unit/local_runner.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

TestSuite(join, .timeout = 120);

struct wide {
    int64_t id;
    uint8_t rest[92]; /* 100 bytes: too large for a table's record */
};
struct name {
    uint8_t b[24];
};

/* One run of a test: what the two sides are. */
struct world {
    fe_type key, left, right; /* types */
    int64_t nleft, nright;
    int64_t keys_left, keys_right; /* record i has key i % keys; their ranges overlap */
    int64_t hot;                   /* so many of the first records of either side have key 0 */
    enum { BROADCAST, SHUFFLED, COGROUP } how;
    uint32_t parts;
    uint64_t memory;
};
static struct world w;

static int64_t key_number(bool right, int64_t i)
{
    return i < w.hot ? 0 : right ? 2 * (i % w.keys_right) : i % w.keys_left;
}

static uint64_t mix(uint64_t x)
{
    x ^= x >> 31;
    x *= 0x9e3779b97f4a7c15u;
    return x ^ x >> 29;
}

static uint64_t pair_sum(uint64_t left, uint64_t right)
{
    return mix(mix(left) + 3 * right + 1);
}

/* Where a type can't carry the record's number, all records of a side are alike. */
static int64_t carried(fe_type t, int64_t i)
{
    return t == FERRO_NONE ? 7 : t == FERRO_TEXT && i % 11 == 0 ? -1 : i;
}

/* ---- the job ------------------------------------------------------------------------- */

static fe_datum key_datum(int64_t k, char *room)
{
    static const double odd[] = { 0.0, NAN, INFINITY };
    struct name n = { { 0 } };
    struct wide wide = { .id = k };
    double d = k < 3 ? odd[k] : (double)k / 8;
    switch (w.key) {
    case FERRO_I64: return fe_datum_i(k - 5);
    case FERRO_F64:
        if (k == 0 && rand() % 2)
            d = -0.0;
        if (k == 1 && rand() % 2)
            d = -NAN;
        return fe_datum_f(d);
    case FERRO_TEXT: /* some empty, some with NULs, some long */
        if (k == 0)
            return fe_datum_s((fe_slice){ room, 0 });
        memset(room, 0, 64);
        if (k < 30)
            return fe_datum_s((fe_slice){ room, (size_t)k });
        return fe_datum_s((fe_slice){
            room, (size_t)sprintf(room, k % 2 ? "%lld" : "a-key-that-is-long-%lld", (long long)k) });
    }
    memcpy(room, &wide, sizeof wide);
    memcpy(n.b + 16, &k, sizeof k);
    if (w.key == FERRO_STRUCT(struct wide))
        return fe_datum_b(room, sizeof wide);
    memcpy(room, &n, sizeof n);
    return fe_datum_b(room, sizeof n);
}

static fe_datum value_datum(fe_type t, int64_t i, char *room)
{
    struct wide wide = { .id = i };
    switch (t) {
    case FERRO_NONE: return FERRO_NOTHING;
    case FERRO_I64: return fe_datum_i(i);
    case FERRO_F64: return fe_datum_f((double)i);
    case FERRO_TEXT:
        return fe_datum_s((fe_slice){ room, (size_t)(i % 11 ? sprintf(room, "%lld", (long long)i) : 0) });
    }
    memcpy(room, &wide, sizeof wide);
    return fe_datum_b(room, sizeof wide);
}

static int64_t value_number(fe_type t, fe_slice v)
{
    switch (t) {
    case FERRO_NONE: return v.n ? -9 : 7;
    case FERRO_I64: return fe_i64(v);
    case FERRO_F64: return (int64_t)fe_f64(v);
    case FERRO_TEXT: return fe_parse_i64(v, -1);
    }
    return FERRO_AS(struct wide, v)->id;
}

static void emit_record(fe_task *t, bool right, int64_t i)
{
    char key[128], value[128];
    fe_emit(t, key_datum(key_number(right, i), key), value_datum(right ? w.right : w.left, i, value));
}

static void make_left(fe_task *t, fe_slice key, fe_slice i)
{
    (void)key;
    emit_record(t, false, fe_i64(i));
}

static void make_right(fe_task *t, fe_slice key, fe_slice i)
{
    (void)key;
    emit_record(t, true, fe_i64(i));
}

static void on_pair(fe_task *t, fe_slice key, fe_slice left, fe_slice right)
{
    cr_assert(w.key == FERRO_TEXT || key.n == (w.key & 0x0fffffff));
    fe_emit(t, 1,
            (int64_t)pair_sum((uint64_t)value_number(w.left, left), (uint64_t)value_number(w.right, right)));
}

/* All pairs of a key by their numbers and sums: the values can be seen only once. */
static void on_group(fe_task *t, fe_slice key, fe_values *left, fe_values *right)
{
    fe_slice v;
    uint64_t n[2] = { 0 }, sum[2] = { 0 };
    (void)key;
    while (fe_next_value(right, &v)) /* in an order of the function's own */
        n[1]++, sum[1] += mix((uint64_t)value_number(w.right, v));
    while (fe_next_value(left, &v))
        n[0]++, sum[0] += mix((uint64_t)value_number(w.left, v));
    cr_assert(n[0] + n[1]);
    fe_emit(t, 1, (int64_t)(pair_sum(n[0] + sum[0], n[1] + sum[1])));
}

static void add(fe_task *t, void *acc, const void *other)
{
    (void)t;
    uint64_t a, b;
    memcpy(&a, acc, 8);
    memcpy(&b, other, 8);
    a += b;
    memcpy(acc, &a, 8);
}

static int64_t sum, count;
static int job(fe_app *app, int argc, char **argv)
{
    (void)argc, (void)argv;
    bool none;
    fe_set *left = fe_map(fe_range(app, 0, w.nleft, 3), make_left, w.key, w.left);
    fe_set *right = fe_map(fe_range(app, 0, w.nright, 2), make_right, w.key, w.right);
    fe_set *both = w.how == COGROUP ? fe_cogroup(left, right, on_group, FERRO_I64, FERRO_I64)
                                    : fe_join(left, right, on_pair, FERRO_I64, FERRO_I64);
    if (w.how == SHUFFLED || w.parts)
        both = fe_partitions(both, w.parts ? w.parts : 1);
    sum = 0;
    return fe_count(both, &count) || fe_reduce(both, add, &sum, &none) ? -1 : 0;
}

/* ---- the two loops --------------------------------------------------------------------- */

struct side {
    int64_t *first, *next; /* records of each key, as lists; -1: the end */
};

static struct side side_of(bool right, int64_t n, int64_t keys)
{
    struct side s = { malloc((size_t)keys * 8), malloc((size_t)n * 8 + 8) };
    memset(s.first, 0xff, (size_t)keys * 8);
    for (int64_t i = 0; i < n; i++) {
        s.next[i] = s.first[key_number(right, i)];
        s.first[key_number(right, i)] = i;
    }
    return s;
}

static void oracle(int64_t *n, uint64_t *sums)
{
    int64_t keys = 2 * w.keys_right + w.keys_left + 1;
    struct side l = side_of(false, w.nleft, keys), r = side_of(true, w.nright, keys);
    *n = 0;
    *sums = 0;
    for (int64_t k = 0; k < keys; k++) {
        uint64_t m[2] = { 0 }, s[2] = { 0 };
        for (int64_t a = l.first[k]; a >= 0; a = l.next[a]) {
            m[0]++, s[0] += mix((uint64_t)carried(w.left, a));
            for (int64_t b = r.first[k]; b >= 0 && w.how != COGROUP; b = r.next[b])
                ++*n, *sums += pair_sum((uint64_t)carried(w.left, a), (uint64_t)carried(w.right, b));
        }
        for (int64_t b = r.first[k]; b >= 0; b = r.next[b])
            m[1]++, s[1] += mix((uint64_t)carried(w.right, b));
        if (w.how == COGROUP && m[0] + m[1])
            ++*n, *sums += pair_sum(m[0] + s[0], m[1] + s[1]);
    }
    free(l.first), free(l.next), free(r.first), free(r.next);
}

static void check(void)
{
    int64_t n;
    uint64_t sums;
    struct local *l = local_new(&(struct local_config){ .parallelism = 2, .memory = w.memory });
    oracle(&n, &sums);
    int code = local_main(l, job, 0, NULL);
    cr_assert_eq(code, 0, "how %d key %x left %x right %x: %s", w.how, w.key, w.left, w.right, l->said.p);
    cr_expect_eq(count, n, "how %d key %x left %x right %x: %lld records, not %lld", w.how, w.key, w.left,
                 w.right, (long long)count, (long long)n);
    cr_expect_eq((uint64_t)sum, sums, "how %d key %x left %x right %x: wrong sum", w.how, w.key, w.left,
                 w.right);
    cr_expect_eq(l->failures, 0);
    local_free(&l);
}

static const fe_type keys[] = { FERRO_I64, FERRO_F64, FERRO_TEXT, FERRO_STRUCT(struct name),
                                FERRO_STRUCT(struct wide) };
static const fe_type values[] = { FERRO_NONE, FERRO_I64, FERRO_TEXT, FERRO_F64, FERRO_STRUCT(struct wide) };

static struct world usual(int how)
{
    return (struct world){ .key = FERRO_I64,
                           .left = FERRO_I64,
                           .right = FERRO_I64,
                           .nleft = 20000,
                           .nright = 3000,
                           .keys_left = 1500,
                           .keys_right = 1000,
                           .hot = 20,
                           .how = how,
                           .memory = 64 << 20 };
}

static void all_types(int how)
{
    for (size_t k = 0; k < sizeof keys / sizeof *keys; k++)
        for (size_t v = 0; v < sizeof values / sizeof *values; v++) {
            w = usual(how);
            w.key = keys[k];
            w.left = values[v];
            w.right = values[(v + k) % 5];
            if (k % 2) { /* the left side is the small one */
                w.nleft = 2000;
                w.nright = 9000;
            }
            check();
        }
}

Test(join, with_a_table_of_all_types)
{
    all_types(BROADCAST);
}

Test(join, shuffled_of_all_types)
{
    all_types(SHUFFLED);
}

Test(join, cogroup_of_all_types)
{
    all_types(COGROUP);
}

Test(join, sides_without_records)
{
    for (int how = BROADCAST; how <= COGROUP; how++)
        for (int empty = 1; empty < 4; empty++) {
            w = usual(how);
            w.nleft = empty & 1 ? 0 : 100;
            w.nright = empty & 2 ? 0 : 100;
            check();
        }
}

/* Four million pairs of one key come out in batches. */
Test(join, a_hot_key)
{
    for (int how = BROADCAST; how <= COGROUP; how++) {
        w = usual(how);
        w.hot = 2000;
        w.nleft = w.nright = 2500;
        check();
    }
}

/* Both sides are many times the memory: parts on disk, and parts of those. */
Test(join, shuffled_beyond_memory)
{
    for (size_t k = 0; k < 4; k++) {
        w = usual(SHUFFLED);
        w.key = keys[k];
        w.left = values[(k + 1) % 5];
        w.right = values[(k + 2) % 5];
        w.nleft = 300000;
        w.nright = 200000;
        w.keys_left = 200000;
        w.keys_right = 150000;
        w.parts = 2;
        w.memory = 1 << 20;
        check();
    }
}

/* One key has more rows on both sides than fit: no hash parts them. */
Test(join, a_key_larger_than_memory_on_both_sides)
{
    w = usual(SHUFFLED);
    w.left = FERRO_STRUCT(struct wide);
    w.right = FERRO_STRUCT(struct wide);
    w.hot = 6000;
    w.nleft = 20000;
    w.nright = 7000;
    w.memory = 1 << 20;
    check();
    w.how = COGROUP;
    w.nleft = w.nright = w.hot = 40000;
    check();
}

Test(join, cogroup_beyond_memory)
{
    w = usual(COGROUP);
    w.key = FERRO_TEXT;
    w.left = FERRO_TEXT;
    w.nleft = 200000;
    w.nright = 100000;
    w.keys_left = w.keys_right = 50000;
    w.parts = 3;
    w.memory = 2 << 20;
    check();
}

/* ---- a self-join; a table read by two joins; arguments --------------------------------------- */

static void add_args(fe_task *t, fe_slice key, fe_slice left, fe_slice right)
{
    fe_emit(t, fe_i64(key), fe_i64(left) + fe_i64(right) + *FERRO_ARGS(int64_t, t));
}

static int selves(fe_app *app, int argc, char **argv)
{
    (void)argc, (void)argv;
    int64_t more = 1000, n;
    w = usual(BROADCAST);
    fe_set *set = fe_map(fe_range(app, 0, 100, 3), make_left, FERRO_I64, FERRO_I64);
    fe_set *with = fe_with(set, &more, sizeof more);
    w.hot = 0;
    for (int shuffled = 0; shuffled < 2; shuffled++) {
        fe_set *one = fe_join(with, set, add_args, FERRO_I64, FERRO_I64);
        if (shuffled)
            one = fe_partitions(one, 2);
        sum = 0;
        if (fe_reduce(one, add, &sum, NULL) || fe_count(one, &n))
            return -1;
        cr_expect_eq(n, 100);
        cr_expect_eq(sum, 2 * 4950 + 100 * more);
        fe_set *two = fe_join(with, one, add_args, FERRO_I64, FERRO_I64);
        sum = 0;
        if (fe_reduce(two, add, &sum, NULL))
            return -1;
        cr_expect_eq(sum, 3 * 4950 + 200 * more);
    }
    return 0;
}

Test(join, of_a_dataset_with_itself)
{
    struct local *l = local_new(&(struct local_config){ .parallelism = 2 });
    cr_assert_eq(local_main(l, selves, 0, NULL), 0, "%s", l->said.p);
    local_free(&l);
}

/* ---- what fails ------------------------------------------------------------------------- */

static void fail_pair(fe_task *t, fe_slice key, fe_slice left, fe_slice right)
{
    (void)left, (void)right;
    if (fe_i64(key) == 3)
        fe_fail(t, "not key 3");
    fe_emit(t, 1, 1);
}

static void fail_group(fe_task *t, fe_slice key, fe_values *left, fe_values *right)
{
    fail_pair(t, key, (fe_slice){ 0 }, (fe_slice){ 0 });
    (void)left, (void)right;
}

static int failing(fe_app *app, int argc, char **argv)
{
    (void)argc, (void)argv;
    int64_t n;
    fe_set *left = fe_map(fe_range(app, 0, 100, 3), make_left, FERRO_I64, FERRO_I64);
    fe_set *right = fe_map(fe_range(app, 0, 100, 2), make_right, FERRO_I64, FERRO_I64);
    fe_set *joins[] = { fe_join(left, right, fail_pair, FERRO_I64, FERRO_I64),
                        fe_partitions(fe_join(left, right, fail_pair, FERRO_I64, FERRO_I64), 2),
                        fe_cogroup(left, right, fail_group, FERRO_I64, FERRO_I64) };
    for (int i = 0; i < 3; i++)
        cr_expect_eq(fe_count(joins[i], &n), -1);
    return 0;
}

Test(join, functions_that_fail)
{
    struct local *l = local_new(&(struct local_config){ .parallelism = 2 });
    int times = 0;
    w = usual(BROADCAST);
    w.hot = 0;
    local_main(l, failing, 0, NULL);
    for (const char *at = (char *)l->said.p; (at = strstr(at, "): not key 3")); at++)
        times++;
    cr_expect_eq(times, 3, "%s", l->said.p);
    local_free(&l);
}

/* ---- what functions unquote -------------------------------------------------------------- */

static void same_key(fe_task *t, fe_slice key, fe_slice value)
{
    (void)key;
    fe_emit(t, 1, fe_i64(value));
}

/* It lives until the function returns: that of all pairs of one row would be more than there is memory. */
static void unquote_pair(fe_task *t, fe_slice key, fe_slice left, fe_slice right)
{
    static const char line[] = "\"a \"\"word\"\" in quotes, and so many more that it is worth the copy\";2";
    fe_slice fields[2];
    size_t n = fe_csv_fields(t, fe_str(line), ';', fields, 2);
    if (n == 2 && fe_i64(left) == 0 && fe_i64(right) == 0)
        fe_emit(t, fe_i64(key), 1);
}

static int unquoting(fe_app *app, int argc, char **argv)
{
    (void)argc, (void)argv;
    fe_set *left = fe_map(fe_range(app, 0, 1024, 1), same_key, FERRO_I64, FERRO_I64);
    fe_set *right = fe_map(fe_range(app, 0, 500, 1), same_key, FERRO_I64, FERRO_I64);
    cr_expect_eq(fe_count(fe_join(left, right, unquote_pair, FERRO_I64, FERRO_I64), &count), 0);
    cr_expect_eq(count, 1);
    return 0;
}

Test(join, functions_that_unquote)
{
    struct local *l = local_new(&(struct local_config){ .parallelism = 1, .memory = 16 << 20 });
    cr_assert_eq(local_main(l, unquoting, 0, NULL), 0, "%s", l->said.p);
    local_free(&l);
}

/* ---- what is too large ------------------------------------------------------------------- */

static int too_large(fe_app *app, int argc, char **argv)
{
    (void)argc, (void)argv;
    w = usual(BROADCAST);
    w.nright = w.nleft = 200000;
    w.keys_left = w.keys_right = 200000;
    fe_set *left = fe_map(fe_range(app, 0, w.nleft, 3), make_left, FERRO_I64, FERRO_I64);
    fe_set *right = fe_map(fe_range(app, 0, w.nright, 2), make_right, FERRO_I64, FERRO_I64);
    fe_set *join = fe_join(left, right, on_pair, FERRO_I64, FERRO_I64);
    cr_expect_eq(fe_count(join, &count), -1);
    return fe_count(fe_partitions(join, 3), &count);
}

Test(join, a_table_larger_than_memory_says_what_to_do)
{
    struct local *l = local_new(&(struct local_config){ .parallelism = 2, .memory = 2 << 20 });
    local_main(l, too_large, 0, NULL);
    cr_expect(strstr((char *)l->said.p, "fe_partitions on the join shuffles both sides instead"), "%s",
              l->said.p);
    int64_t n;
    uint64_t sums;
    oracle(&n, &sums);
    cr_expect_eq(count, n);
    local_free(&l);
}
