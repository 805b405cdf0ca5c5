/* test_ops_jobs.c - whole jobs with several shuffles, in process, against simple C. */
#include "tests/unit/local_runner.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

TestSuite(ops_jobs, .timeout = 120);

/* ---- the simple reading: all words, sorted, counted, sorted again ---------------------------- */

struct counted {
    fe_slice word;
    uint64_t n;
};

static int by_bytes(const void *a, const void *b)
{
    const fe_slice *x = a, *y = b;
    size_t n = x->n < y->n ? x->n : y->n;
    int order = memcmp(x->p, y->p, n);
    return order ? order : (x->n > y->n) - (x->n < y->n);
}

static int by_count(const void *a, const void *b)
{
    const struct counted *x = a, *y = b;
    return x->n != y->n ? (x->n < y->n) - (x->n > y->n) : by_bytes(&x->word, &y->word);
}

static bool space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\v' || c == '\f' || c == '\r';
}

static struct buf oracle(const char *text, size_t bytes)
{
    struct buf out = { 0 };
    fe_slice *words = calloc(bytes / 2 + 1, sizeof *words);
    struct counted *counts = calloc(bytes / 2 + 1, sizeof *counts);
    size_t n = 0, distinct = 0;
    for (size_t at = 0; at < bytes;) {
        size_t start = at;
        while (at < bytes && !space(text[at]))
            at++;
        if (at > start)
            words[n++] = (fe_slice){ text + start, at - start };
        at++;
    }
    qsort(words, n, sizeof *words, by_bytes);
    for (size_t i = 0; i < n; i++) {
        if (i == 0 || by_bytes(&words[i - 1], &words[i]))
            counts[distinct++].word = words[i];
        counts[distinct - 1].n++;
    }
    qsort(counts, distinct, sizeof *counts, by_count);
    for (size_t i = 0; i < distinct; i++) {
        buf_put(&out, counts[i].word.p, counts[i].word.n);
        buf_printf(&out, "\t%llu\n", (unsigned long long)counts[i].n);
    }
    free(words);
    free(counts);
    return out;
}

/* ---- the job ------------------------------------------------------------------------------------ */

static void split(fe_task *t, fe_slice key, fe_slice line)
{
    (void)key;
    fe_slice word;
    for (fe_words w = fe_words_in(line); fe_next_word(&w, &word);)
        fe_emit(t, word, 1);
}

static int wordcount(fe_app *app, int argc, char **argv)
{
    fe_set *lines = fe_text(app, argc - 2, argv + 1);
    fe_set *counts = fe_sum_by_key(fe_flat_map(lines, split, FERRO_TEXT, FERRO_I64));
    return fe_save_text(fe_sort_by_value(counts, FERRO_DESCENDING), argv[argc - 1]);
}

/* Text whose words are of all lengths and kinds, between spaces of all kinds. */
static struct buf text_make(size_t bytes, uint32_t distinct, uint64_t seed)
{
    static const char spaces[] = " \n\t\r\v\f  \n";
    struct buf b = { 0 };
    struct prng p;
    prng_seed(&p, seed);
    while (b.n < bytes) {
        uint64_t word = prng_next(&p) % distinct * (prng_next(&p) % 3 == 0 ? 1 : 7919) % distinct;
        struct prng letters;
        prng_seed(&letters, word);
        for (uint64_t n = 1 + prng_next(&letters) % (word % 50 ? 11 : 60); n; n--) {
            char c = (char)(prng_next(&letters) % 255 + 1);
            buf_put(&b, space(c) ? "_" : &c, 1);
        }
        for (uint64_t n = 1 + prng_next(&p) % 2; n; n--)
            buf_put(&b, &spaces[prng_next(&p) % (sizeof spaces - 1)], 1);
    }
    return b;
}

static struct buf parts_read(const char *dir)
{
    struct buf b = { 0 };
    for (int part = 0;; part++) {
        char path[256];
        ssize_t n;
        snprintf(path, sizeof path, "%s/part-%05d", dir, part);
        int fd = open(path, O_RDONLY);
        if (fd < 0)
            return b;
        while ((n = read(fd, buf_grow(&b, 65536), 65536)) > 0)
            b.n += (size_t)n;
        close(fd);
    }
}

static void count_words(struct buf text, const struct local_config *config)
{
    char in[128], out[128];
    struct local *l = local_new(config);
    snprintf(in, sizeof in, "%s/text", l->dir);
    snprintf(out, sizeof out, "%s/out", l->dir);
    FILE *f = fopen(in, "w");
    cr_assert(fwrite(text.p, 1, text.n, f) == text.n && fclose(f) == 0);
    char *argv[] = { (char *)"wordcount", in, out, NULL };
    cr_assert_eq(local_main(l, wordcount, 3, argv), 0, "%s", l->said.p);
    cr_assert_str_eq(l->stage_names, "split; sum_by_key; sort_by_value");
    struct buf found = parts_read(out), want = oracle((const char *)text.p, text.n);
    cr_assert_eq(found.n, want.n);
    cr_assert(want.n == 0 || !memcmp(found.p, want.p, want.n));
    buf_fini(&found);
    buf_fini(&want);
    local_free(&l);
}

Test(ops_jobs, wordcount)
{
    static const uint32_t distinct[] = { 1, 10, 3000, 200000 };
    for (size_t i = 0; i < sizeof distinct / sizeof *distinct; i++) {
        struct buf text = text_make(3000000, distinct[i], i + 1);
        count_words(text, &(struct local_config){
                              .split_bytes = 400000, .memory = 256 << 20, .parallelism = 2, .save = 1 });
        count_words(
            text,
            &(struct local_config){
                .split_bytes = 2 << 20, .memory = 8 << 20, .parallelism = 1, .save = 2, .reduce_tasks = 7 });
        buf_fini(&text);
    }
}

Test(ops_jobs, wordcount_of_nothing)
{
    struct buf text = { 0 };
    buf_put(&text, " \n\n", 3);
    count_words(text,
                &(struct local_config){ .split_bytes = 1, .memory = 256 << 20, .parallelism = 2, .save = 1 });
    buf_fini(&text);
}

/* ---- lines, sorted ------------------------------------------------------------------------------ */

static int sort_lines(fe_app *app, int argc, char **argv)
{
    fe_set *lines = fe_text(app, argc - 2, argv + 1);
    return fe_save_text(fe_sort_by_value(lines, FERRO_ASCENDING), argv[argc - 1]);
}

/* The lines of both texts (the last one's without its newline, too), sorted. */
static struct buf sorted_lines(struct buf a, struct buf b)
{
    struct buf out = { 0 };
    fe_slice *lines = calloc(a.n + b.n + 2, sizeof *lines);
    size_t n = 0;
    const struct buf *both[2] = { &a, &b };
    for (int i = 0; i < 2; i++)
        for (size_t at = 0, to; at < both[i]->n; at = to + 1) {
            for (to = at; to < both[i]->n && both[i]->p[to] != '\n';)
                to++;
            lines[n++] = (fe_slice){ (const char *)both[i]->p + at, to - at };
        }
    qsort(lines, n, sizeof *lines, by_bytes);
    for (size_t i = 0; i < n; i++) {
        buf_put(&out, lines[i].p, lines[i].n);
        buf_put(&out, "\n", 1);
    }
    free(lines);
    return out;
}

static void file_put(const char *path, const struct buf *b)
{
    FILE *f = fopen(path, "w");
    cr_assert(f && fwrite(b->p, 1, b->n, f) == b->n && fclose(f) == 0);
}

/* Mapped pieces, whose lines are sorted where they are, and small ones, whose lines are not; several runs. */
Test(ops_jobs, sorted_lines)
{
    struct buf large = text_make(3 << 20, 5000, 11), small = text_make(200 << 10, 50000, 12);
    buf_put(&small, "no newline", 10);
    struct buf want = sorted_lines(large, small);
    for (int split = 0; split < 3; split++) {
        char one[128], two[128], out[128];
        struct local *l = local_new(
            &(struct local_config){ .split_bytes = (uint64_t[]){ 64 << 20, 1500 << 10, 100 << 10 }[split],
                                    .parallelism = 2,
                                    .memory = split == 1 ? 2 << 20 : 0,
                                    .save = 1 });
        snprintf(one, sizeof one, "%s/1", l->dir);
        snprintf(two, sizeof two, "%s/2", l->dir);
        snprintf(out, sizeof out, "%s/out", l->dir);
        file_put(one, &large);
        file_put(two, &small);
        char *argv[] = { (char *)"sort", one, two, out, NULL };
        cr_assert_eq(local_main(l, sort_lines, 4, argv), 0, "%s", l->said.p);
        struct buf found = parts_read(out);
        cr_assert_eq(found.n, want.n);
        cr_assert_eq(memcmp(found.p, want.p, want.n), 0);
        buf_fini(&found);
        local_free(&l);
    }
    buf_fini(&want);
    buf_fini(&large);
    buf_fini(&small);
}

/* ---- groups, unions, several jobs over one shuffle ------------------------------------------------ */

static void by_digit(fe_task *t, fe_slice key, fe_slice value)
{
    (void)key;
    fe_emit(t, fe_i64(value) % 10, fe_i64(value));
}

static void spread(fe_task *t, fe_slice key, fe_values *values)
{
    fe_slice v;
    int64_t low = INT64_MAX, high = INT64_MIN, n = 0;
    for (; fe_next_value(values, &v); n++) {
        low = fe_i64(v) < low ? fe_i64(v) : low;
        high = fe_i64(v) > high ? fe_i64(v) : high;
    }
    char words[64];
    snprintf(words, sizeof words, "%lld %lld %lld", (long long)n, (long long)low, (long long)high);
    fe_emit(t, fe_i64(key), (const char *)words);
}

static void larger(fe_task *t, void *acc, const void *other)
{
    (void)t;
    if (*(const int64_t *)other > *(int64_t *)acc)
        *(int64_t *)acc = *(const int64_t *)other;
}

static int several(fe_app *app, int argc, char **argv)
{
    (void)argc, (void)argv;
    fe_set *odd = fe_map(fe_range(app, 0, 5000, 3), by_digit, FERRO_I64, FERRO_I64);
    fe_set *more = fe_map(fe_range(app, 5000, 9000, 2), by_digit, FERRO_I64, FERRO_I64);
    fe_set *both = fe_union(odd, more);
    fe_set *groups = fe_sort_by_key(fe_group_by_key(both, spread, FERRO_I64, FERRO_TEXT), FERRO_DESCENDING);
    fe_set *most = fe_partitions(fe_reduce_by_key(both, larger), 4);
    fe_rows *rows;
    fe_slice key, value;
    int64_t n, top = 0;
    bool empty;
    cr_assert_eq(fe_collect(groups, &rows), 0);
    for (int64_t digit = 9; digit >= 0; digit--) {
        char words[64];
        snprintf(words, sizeof words, "900 %lld %lld", (long long)digit, (long long)(8990 + digit));
        cr_assert(fe_rows_next(rows, &key, &value));
        cr_assert_eq(fe_i64(key), digit);
        cr_assert(value.n == strlen(words) && !memcmp(value.p, words, value.n), "%.*s", (int)value.n,
                  value.p);
    }
    cr_assert(!fe_rows_next(rows, &key, &value));
    fe_rows_free(&rows);
    cr_assert_eq(fe_count(most, &n), 0);
    cr_assert_eq(n, 10);
    cr_assert_eq(fe_reduce(fe_union(most, fe_max_by_key(both)), larger, &top, &empty), 0);
    cr_assert(!empty && top == 8999);
    cr_assert_eq(fe_take(fe_sort_by_value(fe_count_by_key(both), FERRO_ASCENDING), 3, &rows), 0);
    for (int64_t digit = 0; digit < 3; digit++)
        cr_assert(fe_rows_next(rows, &key, &value) && fe_i64(key) == digit && fe_i64(value) == 900);
    fe_rows_free(&rows);
    return 0;
}

Test(ops_jobs, several_shuffles_and_jobs)
{
    struct local *l = local_new(&(struct local_config){ .memory = 64 << 20, .parallelism = 2 });
    cr_assert_eq(local_main(l, several, 0, NULL), 0, "%s", l->said.p);
    local_free(&l);
}

/* ---- partitions by key ---------------------------------------------------------------------------- */

static void by_ten(fe_task *t, fe_slice key, fe_slice value)
{
    (void)key;
    fe_emit(t, fe_i64(value) % 10, fe_i64(value));
}

/* Of each key that the partition has: how many records. */
static int each_key(fe_task *t, fe_rows *in)
{
    int64_t seen[10] = { 0 };
    fe_slice key;
    while (fe_rows_next(in, &key, NULL))
        seen[fe_i64(key)]++;
    for (int i = 0; i < 10; i++)
        if (seen[i])
            fe_emit(t, (int64_t)fe_partition(t), seen[i]);
    return 0;
}

static int partitions(fe_app *app, int argc, char **argv)
{
    (void)argc, (void)argv;
    fe_rows *rows;
    fe_slice part, n;
    int64_t keys = 0;
    bool used[4] = { false };
    fe_set *keyed = fe_map(fe_range(app, 0, 1000, 5), by_ten, FERRO_I64, FERRO_I64);
    fe_set *parts = fe_partitions(fe_partition_by_key(keyed), 4);
    cr_assert_eq(fe_collect(fe_map_partitions(parts, each_key, FERRO_I64, FERRO_I64), &rows), 0);
    for (; fe_rows_next(rows, &part, &n); keys++) {
        cr_expect_eq(fe_i64(n), 100, "all of a key are in one partition");
        used[fe_i64(part)] = true;
    }
    cr_expect_eq(keys, 10);
    cr_expect_geq(used[0] + used[1] + used[2] + used[3], 2);
    fe_rows_free(&rows);
    int64_t count;
    cr_expect_eq(fe_count(fe_partition_by_key(fe_range(app, 0, 9, 1)), &count), -1, "it has no keys");
    return 0;
}

Test(ops_jobs, records_of_one_key_are_in_one_partition)
{
    struct local *l = local_new(&(struct local_config){ .parallelism = 2 });
    local_main(l, partitions, 0, NULL);
    cr_expect(strstr((char *)l->said.p, "fe_partition_by_key: the dataset has no keys"), "%s", l->said.p);
    local_free(&l);
}
