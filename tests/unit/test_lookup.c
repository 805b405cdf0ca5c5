/* test_lookup.c - tables of joins as files: what is cut, changed or lies is found out, and is its map's fault. */
#include "engine/join/maker.h"
#include "engine/join/tables.h"
#include "engine/shuffle/columns.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

TestSuite(lookup, .timeout = 60);

#define ROWS 300
#define BUCKETS 8u

static struct rec_report report;
static struct run run = { .budget = 64 << 20, .report = &report };

/* So many rows of some buckets, as a file. */
static struct buf table_of(uint32_t rows, fe_type key, fe_type value, uint32_t lo, uint32_t hi)
{
    struct maker m;
    struct columns c;
    struct batch b;
    struct lookup l;
    struct buf out = { 0 };
    uint64_t *hash = malloc(rows * sizeof *hash);
    uint32_t from = 0;
    columns_init(&c, key, value, false);
    for (int64_t i = 0; c.rows < rows; i++) {
        int64_t k = i / 3;
        fe_slice s = { (const char *)&k, key == FERRO_TEXT ? 3 : 8 };
        uint64_t h = type_hash(key, s), bucket = (h >> 32) * BUCKETS >> 32;
        if (bucket < lo || bucket >= hi)
            continue;
        hash[c.rows] = h;
        columns_put(&c, s, (fe_slice){ (const char *)&i, value == FERRO_TEXT ? 5 : 8 }, 0);
    }
    columns_batch(&c, &b);
    maker_init(&m, &run, key, value, 16 << 20);
    cr_assert_eq(maker_add(&m, &b, hash, &from), 0);
    maker_finish(&m, lo, hi, BUCKETS, &l);
    struct lookup_head h = lookup_head(&l);
    buf_put(&out, &h, sizeof h);
    buf_put(&out, l.directory, lookup_directory_bytes(&l));
    buf_put(&out, l.records, l.rows * l.stride);
    if (l.far)
        buf_put(&out, l.far, l.far_bytes);
    maker_fini(&m);
    columns_fini(&c);
    free(hash);
    return out;
}

static struct buf table_file(fe_type key, fe_type value, uint32_t lo, uint32_t hi)
{
    return table_of(ROWS, key, value, lo, hi);
}

static struct match find(const struct lookups *t, uint64_t hash, uint64_t word)
{
    struct match m;
    lookups_seek(t, hash, &m);
    match_arrive(&m);
    match_settle(&m, word);
    return m;
}

static int64_t values_of(const struct lookup *l, int64_t k)
{
    fe_slice value, key = { (const char *)&k, l->key == FERRO_TEXT ? 3 : 8 };
    uint64_t hash = type_hash(l->key, key), word = lookup_word(l->key, key, hash);
    struct lookups all = { .one = l };
    struct match m = find(&all, hash, word);
    int64_t n = 0;
    for (; match_take(&m, word, key, &value); n++) {
        int64_t i = 0;
        memcpy(&i, value.p, value.n);
        cr_assert_eq(i / 3, k);
    }
    return n;
}

Test(lookup, finds_each_row)
{
    const fe_type types[] = { FERRO_I64, FERRO_TEXT, FERRO_STRUCT(int64_t) };
    for (int t = 0; t < 9; t++) {
        struct error e;
        struct lookup l;
        int64_t rows = 0;
        struct buf file = table_file(types[t / 3], types[t % 3], 0, BUCKETS);
        cr_assert_eq(lookup_view(file.p, file.n, &l, &e), 0, "%s", e.words);
        for (int64_t k = 0; k < ROWS; k++)
            rows += values_of(&l, k);
        cr_expect_eq(rows, ROWS);
        buf_fini(&file);
    }
}

/* A map that lies about its buckets gives rows, and streamed keys, that belong elsewhere. */
Test(lookup, rows_of_other_buckets)
{
    struct maker m;
    struct columns c;
    struct batch b;
    struct lookup l;
    uint64_t hash[ROWS];
    uint32_t from = 0;
    columns_init(&c, FERRO_I64, FERRO_I64, false);
    for (int64_t i = 0; i < ROWS; i++) {
        fe_slice s = { (const char *)&i, 8 };
        hash[i] = type_hash(FERRO_I64, s);
        columns_put(&c, s, s, 0);
    }
    columns_batch(&c, &b);
    maker_init(&m, &run, FERRO_I64, FERRO_I64, 1 << 20);
    cr_assert_eq(maker_add(&m, &b, hash, &from), 0);
    maker_finish(&m, 3, 4, BUCKETS, &l);
    for (uint64_t i = 0; i < ROWS; i++) {
        struct match at = find(&(struct lookups){ .one = &l }, hash[i], i);
        fe_slice value;
        cr_expect(match_take(&at, i, (fe_slice){ (const char *)&i, 8 }, &value));
    }
    maker_fini(&m);
    columns_fini(&c);
}

/* A copy that ends where its page does: what reads on is caught. */
static uint8_t *at_end(const uint8_t *p, size_t n, uint8_t **map, size_t *bytes)
{
    *bytes = (n + 4095) / 4096 * 4096 + 4096;
    *map = mmap(NULL, *bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    uint8_t *end = *map + *bytes - 4096, *at = end - (n + 7) / 8 * 8;
    mprotect(end, 4096, PROT_NONE);
    memcpy(at, p, n);
    return at;
}

Test(lookup, cut_or_changed_files)
{
    struct buf file = table_file(FERRO_TEXT, FERRO_I64, 2, 5);
    struct error e;
    struct lookup l;
    uint8_t *map;
    size_t bytes;
    for (size_t n = 0; n < file.n; n++) {
        uint8_t *p = at_end(file.p, n, &map, &bytes);
        cr_assert_eq(lookup_view(p, n, &l, &e), -1, "cut at %zu", n);
        munmap(map, bytes);
    }
    for (size_t i = 0; i < file.n; i++) {
        file.p[i] ^= 0x40;
        cr_assert_eq(lookup_view(file.p, file.n, &l, &e), -1, "byte %zu", i);
        file.p[i] ^= 0x40;
    }
    cr_assert_eq(lookup_view(file.p, file.n, &l, &e), 0);
    buf_fini(&file);
}

/* With the right checksums, and wrong inside. */
static void lies(struct buf *file, size_t at, uint32_t word)
{
    struct lookup l;
    struct error e;
    cr_assert_eq(lookup_view(file->p, file->n, &l, &e), 0);
    uint8_t *p = file->p + sizeof(struct lookup_head) + at;
    uint32_t was;
    memcpy(&was, p, 4);
    memcpy(p, &word, 4);
    struct lookup_head h = lookup_head(&l), before;
    memcpy(&before, file->p, sizeof before);
    memcpy(file->p, &h, sizeof h);
    cr_expect_eq(lookup_view(file->p, file->n, &l, &e), -1);
    cr_expect_str_eq(e.words, "its rows are not where it says");
    memcpy(file->p, &before, sizeof before);
    memcpy(p, &was, 4);
}

Test(lookup, places_that_lie)
{
    struct buf file = table_file(FERRO_TEXT, FERRO_I64, 0, BUCKETS);
    size_t directory = (ROWS + 1) * 4 + 4, far = directory + ROWS * 16;
    lies(&file, 0, 1);                      /* the directory's first entry */
    lies(&file, 400, 0);                    /* one in the middle */
    lies(&file, ROWS * 4, ROWS + 1);        /* the last */
    lies(&file, directory + 8, 0x7fffffff); /* a row's place */
    lies(&file, directory + 12, 1);         /* its upper half */
    lies(&file, far, 0xfffffff0);           /* a key's length */
    lies(&file, far + 4, 16);               /* a value's, of a fixed size */
    buf_fini(&file);
}

/* ---- what a probing task gets ---------------------------------------------------------- */

static struct buf files[2];
static uint32_t gone; /* which map's is not there */

static int fetch(void *user, const struct rec_want *wants, uint32_t n, struct rec_got *got, int *fds)
{
    (void)user;
    for (uint32_t i = 0; i < n; i++) {
        const struct buf *f = &files[wants[i].part];
        got[i] =
            (struct rec_got){ .code = wants[i].part == gone ? BLOCK_GONE : 0, .length = f->n, .total = f->n };
        if (got[i].code)
            continue;
        fds[i] = memfd_create("table", MFD_CLOEXEC);
        cr_assert_eq(write(fds[i], f->p, f->n), (ssize_t)f->n);
    }
    return 0;
}

static struct tables *open_both(void)
{
    struct task_env env = { .fetch = fetch };
    struct rec_num side = { 4 };
    struct rec_map maps[] = { { 3, 0, 1, 0, 77 }, { 4, 0, 2, 0, files[0].n }, { 4, 1, 3, 0, files[1].n } };
    struct msg_stage stage = { .sides = { &side, 1 }, .maps = { maps, 3 } };
    struct plan_node node = {
        .op = OP_PROBE, .in_key = FERRO_I64, .in_value = FERRO_TEXT, .other = FERRO_I64
    };
    run.env = &env;
    run.stage = &stage;
    run.failed = false;
    report = (struct rec_report){ 0 };
    struct tables *t = tables_open(&run, &node);
    cr_assert_eq(t == NULL, run.failed);
    return t;
}

static void fault_of(uint32_t part, uint32_t attempt, const char *words)
{
    struct tables *t = open_both();
    cr_assert_null(t);
    cr_expect_eq(report.cause, CAUSE_FETCH);
    cr_expect(report.fetch_stage == 4 && report.fetch_part == part && report.fetch_attempt == attempt);
    cr_expect(strstr((const char *)report.words.p, words), "%.*s", (int)report.words.n, report.words.p);
}

Test(lookup, tables_of_a_side)
{
    gone = 9;
    files[0] = table_file(FERRO_I64, FERRO_I64, 0, 3);
    files[1] = table_file(FERRO_I64, FERRO_I64, 5, BUCKETS); /* of 3 and 4 there are no rows */
    struct tables *t = open_both();
    cr_assert(t);
    int64_t found[BUCKETS] = { 0 };
    for (int64_t k = 0; k < 1000; k++) {
        fe_slice value, key = { (const char *)&k, 8 };
        uint64_t hash = type_hash(FERRO_I64, key), word = (uint64_t)k;
        struct match m = find(tables_lookups(t), hash, word);
        while (match_take(&m, word, key, &value))
            found[(hash >> 32) * BUCKETS >> 32]++;
    }
    cr_expect_eq(found[0] + found[1] + found[2], ROWS);
    cr_expect_eq(found[3] + found[4], 0);
    cr_expect_eq(found[5] + found[6] + found[7], ROWS);
    tables_close(&t);
    gone = 1;
    fault_of(1, 3, "does not give it");
    gone = 9;
    files[0].p[files[0].n - 1] ^= 1;
    fault_of(0, 2, "its checksum is wrong");
    buf_fini(&files[0]);
    files[0] = table_file(FERRO_I64, FERRO_TEXT, 0, 3);
    fault_of(0, 2, "it is a table of other records");
    buf_fini(&files[0]);
    files[0] = table_file(FERRO_I64, FERRO_I64, 0, 6);
    fault_of(1, 3, "it is a table of other records");
    buf_fini(&files[0]);
    buf_fini(&files[1]);
}

/* More than a huge page, and the rest of one: the answers are the same. */
Test(lookup, large_tables)
{
    const uint32_t rows = 130000; /* 2.6 MB */
    gone = 9;
    files[0] = table_of(rows, FERRO_I64, FERRO_I64, 0, 4);
    files[1] = table_of(rows, FERRO_I64, FERRO_I64, 4, BUCKETS);
    struct tables *t = open_both();
    cr_assert(t);
    uint64_t found = 0;
    for (uint64_t k = 0; k < rows; k++) {
        fe_slice key = { (const char *)&k, 8 };
        struct match m;
        lookups_seek(tables_lookups(t), type_hash(FERRO_I64, key), &m);
        match_arrive(&m);
        match_settle_plain(&m, k);
        while (m.at < m.end) {
            int64_t value;
            memcpy(&value, match_next_plain(&m).p, sizeof value);
            cr_assert_eq(value / 3, k);
            found++;
        }
    }
    cr_expect_eq(found, 2 * rows);
    tables_close(&t);
    files[1].p[files[1].n - 1] ^= 1;
    fault_of(1, 3, "its checksum is wrong");
    files[1].p[files[1].n - 1] ^= 1;
    buf_fini(&files[0]);
    buf_fini(&files[1]);
}
