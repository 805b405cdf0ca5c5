/* test_ops_text.c - lines of files over splits of every size equal a simple reading, read here or fetched. */
#include "engine/ops/source.h"
#include "tests/unit/local_runner.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

TestSuite(ops_text, .timeout = 120);

static struct local *l;
static char folder[128];
static struct buf expected; /* each line and a newline */
static uint64_t expected_rows, expected_bytes;
static bool unlinks; /* after fe_text: the files must come from the driver */

static void open_runner(uint64_t split_bytes)
{
    l = local_new(&(struct local_config){ .split_bytes = split_bytes, .parallelism = 2 });
    snprintf(folder, sizeof folder, "%s/in", l->dir);
    mkdir(folder, 0700);
    buf_reset(&expected);
    expected_rows = expected_bytes = 0;
}

static void file_write(const char *name, const void *p, size_t n)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "w");
    cr_assert(f && (n == 0 || fwrite(p, 1, n, f) == n) && fclose(f) == 0);
    const char *at = p, *end = at + n;
    while (at < end) {
        const char *stop = at;
        while (stop < end && *stop != '\n')
            stop++;
        buf_put(&expected, at, (size_t)(stop - at));
        buf_put(&expected, "\n", 1);
        expected_rows++;
        at = stop + 1;
    }
    expected_bytes += n;
}

static void folder_empty(void)
{
    char command[256];
    snprintf(command, sizeof command, "rm -f '%s'/*", folder);
    cr_assert_eq(system(command), 0);
}

static int read_all(fe_app *app, int argc, char **argv)
{
    fe_set *lines = fe_text(app, argc - 1, argv + 1);
    fe_rows *rows;
    fe_slice line;
    struct buf found = { 0 };
    if (unlinks)
        folder_empty();
    if (fe_collect(lines, &rows))
        return -1;
    cr_expect_eq(fe_rows_count(rows), expected_rows);
    while (fe_rows_next(rows, NULL, &line)) {
        buf_put(&found, line.p, line.n);
        buf_put(&found, "\n", 1);
    }
    fe_rows_free(&rows);
    cr_expect_eq(found.n, expected.n, "%zu bytes, not %zu", found.n, expected.n);
    cr_expect(found.n == expected.n && (found.n == 0 || !memcmp(found.p, expected.p, found.n)));
    buf_fini(&found);
    return 0;
}

/* ---- which file a line came from ---------------------------------------------------- */

static void name_first(fe_task *t, fe_slice key, fe_slice line)
{
    (void)key;
    fe_emit(t, line, fe_input_name(t));
    if (line.n && line.p[line.n - 1] == '2')
        fe_emit(t, line, fe_input_name(t)); /* so that what is put out is no more one for one */
}

static bool names_agree(fe_task *t, fe_slice line, fe_slice name)
{
    fe_slice now = fe_input_name(t);
    if (now.n != name.n || memcmp(now.p, name.p, now.n))
        fe_fail(t, "%.*s was in %.*s, not in %.*s", (int)line.n, line.p, (int)name.n, name.p, (int)now.n,
                now.p);
    return line.n > 0;
}

/* Each line begins with its file's name. */
static void name_again(fe_task *t, fe_slice line, fe_slice name)
{
    const char *slash = memrchr(name.p, '/', name.n);
    size_t n = (size_t)(name.p + name.n - slash - 1);
    names_agree(t, line, name);
    if (line.n < n || memcmp(line.p, slash + 1, n))
        fe_fail(t, "%.*s is not a line of %.*s", (int)line.n, line.p, (int)name.n, name.p);
    fe_emit_value(t, 1);
}

static void nowhere(fe_task *t, void *acc, const void *other)
{
    if (fe_input_name(t).n)
        fe_fail(t, "two records have one file");
    *(int64_t *)acc += *(const int64_t *)other;
}

static void after_shuffle(fe_task *t, fe_slice key, fe_slice value)
{
    (void)key, (void)value;
    if (fe_input_name(t).n)
        fe_fail(t, "a record has a file after a shuffle");
}

static int count_named(fe_app *app, int argc, char **argv)
{
    int64_t lines = 0, n;
    fe_set *named = fe_filter(
        fe_flat_map(fe_text(app, argc - 1, argv + 1), name_first, FERRO_TEXT, FERRO_TEXT), names_agree);
    fe_set *ones = fe_map_values(named, name_again, FERRO_I64);
    fe_set *sums = fe_reduce_by_key(ones, nowhere);
    if (fe_reduce(ones, nowhere, &lines, NULL) ||
        fe_count(fe_flat_map(sums, after_shuffle, FERRO_NONE, FERRO_I64), &n))
        return -1;
    cr_expect_eq(lines, (int64_t)(expected_rows + expected_rows / 10));
    return 0;
}

Test(ops_text, tells_which_file_a_line_is_of)
{
    struct buf text = { 0 };
    char *argv[] = { "named", folder, NULL };
    open_runner(64 << 10);
    for (int file = 0; file < 70; file++) { /* more than are read at once; the last is a large one, mapped */
        char name[16];
        int lines = file < 69 ? 10 * (file % 5) : 200000;
        buf_reset(&text);
        snprintf(name, sizeof name, "f%02d", file);
        for (int i = 0; i < lines; i++)
            buf_printf(&text, "%s line %d\n", name, i);
        file_write(name, text.p, text.n);
    }
    buf_fini(&text);
    l->config.split_bytes = l->runtime.split_bytes = 3 << 20;
    cr_expect_eq(local_main(l, count_named, 2, argv), 0, "%s", (char *)l->said.p);
    local_free(&l);
}

static void check(void)
{
    char *argv[] = { "read", folder, NULL };
    int code = local_main(l, read_all, 2, argv);
    cr_assert_eq(code, 0, "%s", l->said.p);
    cr_assert_eq(l->bytes_read, expected_bytes);
    if (unlinks)
        cr_assert(l->bytes_fetched >= expected_bytes);
    local_free(&l);
}

static const char *const tricky[] = {
    "",
    "\n",
    "a",
    "a\n",
    "a\nb",
    "\n\n\n",
    "\n\na",
    "a\r\nb\r\n",
    "\r\n\r\n",
    "one\ntwo\nthree\n",
    "no newline at the end",
    " \t \n x\n",
    "caf\xc3\xa9\n\xff\xfe\n",
    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n0123456789\n",
};
#define TRICKY (sizeof tricky / sizeof *tricky)

static void tricky_files(void)
{
    static char filler[3000];
    char name[16];
    for (size_t i = 0; i < TRICKY; i++) {
        snprintf(name, sizeof name, "f%02zu", i);
        file_write(name, tricky[i], strlen(tricky[i]));
    }
    file_write("nul", "a\0b\n\0\n\0", 7);
    memset(filler, 'x', sizeof filler);
    filler[1000] = filler[1001] = filler[2500] = '\n';
    file_write("xxx", filler, sizeof filler);
}

Test(ops_text, every_split)
{
    static const uint64_t sizes[] = { 1, 2, 3, 5, 7, 8, 13, 64, 100, 1000, 4099, 20000, 1 << 20 };
    for (int fetched = 0; fetched < 2; fetched++)
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            open_runner(sizes[i]);
            tricky_files();
            unlinks = fetched;
            check();
        }
}

/* Lines of growing length up to 200 KiB, over and over: some cross every kind of border. */
static char *long_lines(size_t n)
{
    char *p = malloc(n);
    memset(p, 'y', n);
    for (size_t at = 0, step = 1; at<n; at += step, step = step> 200000 ? 1 : step + step / 7 + 1)
        p[at] = '\n';
    return p;
}

Test(ops_text, large_pieces_are_mapped)
{
    static const uint64_t sizes[] = { 700000, 1 << 20, 1100000, 3000017, 32 << 20 };
    size_t n = 5000011;
    for (int fetched = 0; fetched < 2; fetched++)
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            open_runner(sizes[i]);
            char *p = long_lines(n);
            file_write("a", p, n);
            file_write("b", p, 12345);
            p[n - 1] = 'z';
            file_write("c", p, n);
            free(p);
            tricky_files();
            unlinks = fetched;
            check();
        }
}

Test(ops_text, one_line_over_many_splits)
{
    size_t n = 3 << 20;
    char *p = malloc(n);
    memset(p, 'l', n);
    for (int with_newline = 0; with_newline < 2; with_newline++) {
        open_runner(40000);
        p[n - 1] = with_newline ? '\n' : 'l';
        file_write("line", p, n);
        unlinks = with_newline;
        check();
    }
    free(p);
}

Test(ops_text, many_small_files_share_splits)
{
    char name[16], line[64];
    open_runner(64 << 10);
    for (int i = 0; i < 300; i++) {
        snprintf(name, sizeof name, "%04d", i);
        int n = snprintf(line, sizeof line, "file %d\nhas two lines%s", i, i % 2 ? "\n" : "");
        file_write(name, line, (size_t)n);
    }
    unlinks = true; /* the list of files is a block then, and files are fetched 64 at a time */
    struct local *kept = l;
    char *argv[] = { "read", folder, NULL };
    cr_assert_eq(local_main(l, read_all, 2, argv), 0, "%s", l->said.p);
    cr_assert(kept->tasks > 10 && kept->tasks < 30, "%u", kept->tasks);
    local_free(&l);
}

static int changed(fe_app *app, int argc, char **argv)
{
    int64_t n;
    fe_set *lines = fe_text(app, argc - 1, argv + 1);
    folder_empty();
    local_forget(l);
    return fe_count(lines, &n);
}

Test(ops_text, a_file_that_is_gone)
{
    open_runner(1 << 20);
    file_write("f", "a\nb\n", 4);
    char *argv[] = { "read", folder, NULL };
    cr_assert_eq(local_main(l, changed, 2, argv), 3);
    cr_assert(strstr((char *)l->said.p, "/in/f: No such file or directory here; the driver: no such block"),
              "%s", l->said.p);
    cr_assert_eq(l->failures, 4);
    local_free(&l);
}

/* ---- whose fault it is ----------------------------------------------------------------- */

static uint32_t answer_code;
static int answer(void *user, const struct rec_want *wants, uint32_t n, struct rec_got *got, int *fds)
{
    (void)user, (void)wants, (void)fds;
    for (uint32_t i = 0; i < n; i++)
        got[i] = (struct rec_got){ .code = answer_code, .words = bytes_of("its words") };
    return 0;
}

Test(ops_text, only_what_the_driver_says_of_a_file_is_the_inputs_fault)
{
    const enum cause causes[] = {
        [BLOCK_GONE] = CAUSE_INPUT,   [BLOCK_CORRUPT] = CAUSE_INPUT, [BLOCK_BUSY] = CAUSE_FETCH,
        [BLOCK_DENIED] = CAUSE_INPUT, [BLOCK_IO] = CAUSE_FETCH,      [BLOCK_UNREACHABLE] = CAUSE_FETCH,
        [BLOCK_FULL] = CAUSE_ERROR
    };
    const struct file_piece piece = { "/nowhere/a.txt", 0, 5, 5, 1 };
    for (answer_code = BLOCK_GONE; answer_code <= BLOCK_FULL; answer_code++) {
        struct task_env env = { .fetch = answer };
        struct msg_stage stage = { .stage = 1 };
        struct rec_report report = { 0 };
        struct run r = { .env = &env, .stage = &stage, .report = &report };
        struct source s;
        cr_assert_eq(sources_open(&r, &piece, 1, &s), -1);
        cr_assert_eq(report.cause, causes[answer_code], "code %u", answer_code);
        cr_assert_eq(report.fetch_attempt, 0);
        cr_assert_eq(memmem(report.words.p, report.words.n, "its words", 9) == NULL, false);
        arena_fini(&r.arena);
    }
}
