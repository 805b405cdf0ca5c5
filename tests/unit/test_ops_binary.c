/* test_ops_binary.c - records of fixed sizes over splits of every size equal a simple reading, read here or fetched. */
#include "common/core/step.h"
#include "tests/unit/local_runner.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

TestSuite(ops_binary, .timeout = 120);

static struct local *l;
static char folder[128];
static struct buf expected; /* all records, one behind the other */
static fe_type type;
static bool unlinks; /* after fe_binary: the files must come from the driver */

static void open_runner(uint64_t split_bytes, fe_type record)
{
    l = local_new(&(struct local_config){ .split_bytes = split_bytes, .parallelism = 2 });
    snprintf(folder, sizeof folder, "%s/in", l->dir);
    mkdir(folder, 0700);
    buf_reset(&expected);
    type = record;
}

static void file_write(const char *name, size_t n)
{
    char path[256];
    struct prng p;
    prng_seed(&p, n);
    uint8_t *bytes = buf_grow(&expected, n + 8);
    for (size_t i = 0; i < n; i += 8) {
        uint64_t v = prng_next(&p);
        memcpy(bytes + i, &v, 8);
    }
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "w");
    cr_assert(f && (n == 0 || fwrite(bytes, 1, n, f) == n) && fclose(f) == 0);
    expected.n += n;
}

static void folder_empty(void)
{
    char command[256];
    snprintf(command, sizeof command, "rm -f '%s'/*", folder);
    cr_assert_eq(system(command), 0);
}

/* Aligned as its size lets its type be, and with a file. */
static bool is_sound(fe_task *t, fe_slice key, fe_slice record)
{
    size_t align = 8;
    while (record.n % align)
        align /= 2;
    if ((uintptr_t)record.p % align)
        fe_fail(t, "a record of %zu bytes at %p", record.n, (const void *)record.p);
    if (key.n || strncmp(fe_input_name(t).p, folder, strlen(folder)))
        fe_fail(t, "a record of file %s", fe_input_name(t).p);
    return true;
}

static int read_all(fe_app *app, int argc, char **argv)
{
    fe_set *records = fe_filter(fe_binary(app, argc - 1, argv + 1, type), is_sound);
    fe_rows *rows;
    fe_slice record;
    struct buf found = { 0 };
    if (unlinks)
        folder_empty();
    if (fe_collect(records, &rows))
        return -1;
    while (fe_rows_next(rows, NULL, &record))
        buf_put(&found, record.p, record.n);
    fe_rows_free(&rows);
    cr_expect_eq(found.n, expected.n, "%zu bytes, not %zu", found.n, expected.n);
    cr_expect(found.n == expected.n && (found.n == 0 || !memcmp(found.p, expected.p, found.n)));
    buf_fini(&found);
    return 0;
}

static void check(void)
{
    char *argv[] = { "read", folder, NULL };
    int code = local_main(l, read_all, 2, argv);
    cr_assert_eq(code, 0, "%s", l->said.p);
    cr_assert_eq(l->bytes_read, expected.n);
    if (unlinks)
        cr_assert(l->bytes_fetched >= expected.n);
    local_free(&l);
    buf_fini(&expected);
}

Test(ops_binary, every_split)
{
    static const uint64_t splits[] = { 1, 2, 7, 8, 13, 100, 1000, 4099, 20000, 1 << 20 };
    static const uint32_t sizes[] = { 1, 8, 12, 24, 100, 1000 };
    char name[16];
    for (int fetched = 0; fetched < 2; fetched++)
        for (size_t i = 0; i < sizeof splits / sizeof *splits; i++)
            for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
                open_runner(splits[i], sizes[k] == 8 ? FERRO_I64 : FERRO_STRUCT(char) - 1 + sizes[k]);
                for (size_t file = 0; file < 7; file++) {
                    snprintf(name, sizeof name, "f%zu", file);
                    file_write(name, sizes[k] * (file * file % 7)); /* the first has none */
                }
                unlinks = fetched;
                check();
            }
}

Test(ops_binary, large_pieces_are_mapped)
{
    static const uint64_t splits[] = { 700000, 1 << 20, 1100001, 3000017, 32 << 20 };
    static const uint32_t sizes[] = { 12, 64, 1000, 65536 };
    for (int fetched = 0; fetched < 2; fetched++)
        for (size_t i = 0; i < sizeof splits / sizeof *splits; i++)
            for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
                open_runner(splits[i], FERRO_STRUCT(char) - 1 + sizes[k]);
                file_write("a", 5000000 / sizes[k] * sizes[k]);
                file_write("b", sizes[k]);
                file_write("c", 1000000 / sizes[k] * sizes[k]);
                unlinks = fetched;
                check();
            }
}

Test(ops_binary, more_small_files_than_are_read_at_once)
{
    char name[16];
    open_runner(1 << 20, FERRO_F64);
    for (int i = 0; i < 300; i++) {
        snprintf(name, sizeof name, "%04d", i);
        file_write(name, 8 * (size_t)(i % 90));
    }
    unlinks = true;
    check();
}

/* ---- what can't be read -------------------------------------------------------------- */

static int wrong(fe_app *app, int argc, char **argv)
{
    int64_t n;
    cr_expect_eq(fe_count(fe_binary(app, argc - 1, argv + 1, FERRO_I64), &n), -1);
    cr_expect_eq(fe_count(fe_binary(app, argc - 1, argv + 1, FERRO_TEXT), &n), -1);
    cr_expect_eq(fe_count(fe_binary(app, argc - 1, argv + 1, FERRO_STRUCT(char) - 1), &n), -1);
    cr_expect_eq(fe_count(fe_binary(app, 0, argv, FERRO_I64), &n), -1);
    return -1;
}

Test(ops_binary, says_what_is_wrong)
{
    char words[512], *argv[] = { "read", folder, NULL };
    open_runner(1 << 20, FERRO_I64);
    file_write("even", 160);
    file_write("odd", 161);
    cr_assert_eq(local_main(l, wrong, 2, argv), 3);
    snprintf(words, sizeof words, ": fe_binary: %s/odd: its 161 bytes are no multiple of a record's 8\n",
             folder);
    cr_expect(strstr((char *)l->said.p, words), "%s", l->said.p);
    const char *none = strstr((char *)l->said.p, "type is none of FERRO_I64, _F64 or _STRUCT of 1 to 65536");
    cr_expect(none && strstr(none + 1, "type is none of"), "%s", l->said.p);
    cr_expect(strstr((char *)l->said.p, ": fe_binary: no file is named\n"), "%s", l->said.p);
    cr_expect_eq(l->tasks, 0);
    local_free(&l);
}
