/* test_ops_csv.c - headers over splits of every size, and the fields of a line beside a simple reading. */
#include "common/core/step.h"
#include "engine/ops/op.h"
#include "tests/unit/local_runner.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

TestSuite(ops_csv, .timeout = 120);

/* ---- headers ------------------------------------------------------------------------- */

static struct local *l;
static char folder[128];
static struct buf expected; /* the lines behind the headers */
static uint32_t header;
static bool unlinks; /* after fe_csv: the files must come from the driver */

static void open_runner(uint64_t split_bytes)
{
    l = local_new(&(struct local_config){ .split_bytes = split_bytes, .parallelism = 2 });
    snprintf(folder, sizeof folder, "%s/in", l->dir);
    mkdir(folder, 0700);
    buf_reset(&expected);
}

static void file_write(const char *name, const char *text)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "w");
    cr_assert(f && fputs(text, f) >= 0 && fclose(f) == 0);
    for (uint32_t line = 0; *text; line++) {
        size_t n = strcspn(text, "\n");
        if (line >= header) {
            buf_put(&expected, text, n);
            buf_put(&expected, "\n", 1);
        }
        text += n + (text[n] == '\n');
    }
}

static int read_all(fe_app *app, int argc, char **argv)
{
    fe_set *lines = fe_csv(app, argc - 1, argv + 1, header);
    fe_rows *rows;
    fe_slice line;
    struct buf found = { 0 };
    if (unlinks) {
        char command[256];
        snprintf(command, sizeof command, "rm -f '%s'/*", folder);
        cr_assert_eq(system(command), 0);
    }
    if (fe_collect(lines, &rows))
        return -1;
    while (fe_rows_next(rows, NULL, &line)) {
        if (line.n)
            buf_put(&found, line.p, line.n);
        buf_put(&found, "\n", 1);
    }
    fe_rows_free(&rows);
    cr_expect(found.n == expected.n && (found.n == 0 || !memcmp(found.p, expected.p, found.n)),
              "header %u: %.*s instead of %.*s", header, (int)found.n, found.p, (int)expected.n, expected.p);
    buf_fini(&found);
    return 0;
}

Test(ops_csv, headers_at_every_split)
{
    static const uint64_t splits[] = { 1, 2, 3, 5, 8, 13, 64, 1000, 5000, 1 << 20 };
    static const uint32_t headers[] = { 0, 1, 2, 3, 300 };
    static const char *const files[] = {
        "",        "\n",        "a",      "a\n",         "name;x\na;1\nb;2\n",
        "\n\n\nx", "h1\nh2\nx", "h1\nh2", "h\r\nx\r\ny", "one\n\ntwo\n"
    };
    char *argv[] = { "read", folder, NULL }, name[16];
    static char wide[9001];
    memset(wide, 'w', sizeof wide - 1);
    wide[4095] = wide[8192] = wide[8193] = '\n'; /* at the borders of what is read at once */
    for (int fetched = 0; fetched < 2; fetched++)
        for (size_t i = 0; i < sizeof splits / sizeof *splits; i++)
            for (size_t k = 0; k < sizeof headers / sizeof *headers; k++) {
                open_runner(splits[i]);
                header = headers[k];
                unlinks = fetched;
                for (size_t f = 0; f < sizeof files / sizeof *files; f++) {
                    snprintf(name, sizeof name, "f%02zu", f);
                    file_write(name, files[f]);
                }
                if (splits[i] > 50)
                    file_write("wide", wide);
                cr_assert_eq(local_main(l, read_all, 2, argv), 0, "%s", l->said.p);
                local_free(&l);
            }
}

/* ---- fields -------------------------------------------------------------------------- */

static struct run run;
static struct rec_report report;
static struct emitter emitter;

static void emitter_open(void)
{
    static const struct plan_node node = { .op = OP_FLAT_MAP, .fn_name = "fn", .file = "job.c" };
    run = (struct run){ .report = &report };
    emitter_init(&emitter, &run, &node);
}

/* The fields' number, and all of them behind one another, each in brackets. */
static void fields_are(const char *line, const char *fields)
{
    fe_slice f[64];
    char found[4096];
    size_t n = fe_csv_fields(&emitter.task, fe_str(line), ',', f, 64), at = 0;
    found[0] = 0;
    for (size_t i = 0; i < n && i < 64; i++)
        at += (size_t)snprintf(found + at, sizeof found - at, "[%.*s]", (int)f[i].n, f[i].p);
    cr_expect_str_eq(found, fields, "%s: %s", line, found);
}

Test(ops_csv, fields_as_they_are_written)
{
    emitter_open();
    fields_are("", "[]");
    fields_are(",", "[][]");
    fields_are("a,b,c", "[a][b][c]");
    fields_are("a,b,c\r", "[a][b][c]");
    fields_are("\r", "[]");
    fields_are("a,\r,b\r", "[a][\r][b]");
    fields_are("\"a,b\",c", "[a,b][c]");
    fields_are("\"a\"\r", "[a]");
    fields_are("\"\",\"\"", "[][]");
    fields_are("\"say \"\"hi\"\", twice\",\"\"\"\"", "[say \"hi\", twice][\"]");
    fields_are("a\"b,c\"\"d", "[a\"b][c\"\"d]");
    fields_are("\"a\"b,c", "[ab][c]");
    fields_are("\"a\"b\"c,d\",e", "[ab\"c][d\"][e]");
    fields_are("\"not closed, at all", "[not closed, at all]");
    fields_are("\"not closed\"\", at all", "[not closed\", at all]");
    fields_are("\"", "[]");
    fields_are("0123456789,123456789,123456789,1", "[0123456789][123456789][123456789][1]");
    fields_are("0123456789,123456789,123456789,,", "[0123456789][123456789][123456789][][]");
    fields_are("0123456789,123456789,123456789,,\"a,\"", "[0123456789][123456789][123456789][][a,]");
    fe_slice none;
    cr_expect_eq(fe_csv_fields(&emitter.task, (fe_slice){ NULL, 0 }, ',', &none, 1), 1);
    cr_expect_eq(none.n, 0);
    fields_are("0123456789abcdef,0123456789abcdef0,0123456789abcde",
               "[0123456789abcdef][0123456789abcdef0][0123456789abcde]");
    emitter_fini(&emitter);
}

/* The same, one byte after the other. */
static size_t simple(const char *p, size_t n, char fields[64][64], size_t lengths[64])
{
    size_t count = 0, at = 0;
    if (n && p[n - 1] == '\r')
        n--;
    for (;; at++) {
        size_t length = 0;
        bool quoted = at < n && p[at] == '"', inside = quoted;
        at += quoted;
        for (; at < n && (inside || p[at] != ','); at++) {
            if (inside && p[at] == '"' && !(at + 1 < n && p[at + 1] == '"')) {
                inside = false;
                continue;
            }
            at += inside && p[at] == '"';
            fields[count][length++] = p[at];
        }
        lengths[count++] = length;
        if (at >= n)
            return count;
    }
}

Test(ops_csv, fields_of_any_line)
{
    static const char letters[] = ",,\"\"\"ab\r";
    static char fields[64][64];
    size_t lengths[64];
    struct prng p;
    prng_seed(&p, 5);
    emitter_open();
    for (int i = 0; i < 300000; i++) {
        char line[48];
        fe_slice found[64];
        size_t n = prng_next(&p) % sizeof line, max = prng_next(&p) % 64;
        for (size_t k = 0; k < n; k++)
            line[k] =
                i % 3 ? letters[prng_next(&p) % (sizeof letters - 1)] : letters[prng_next(&p) % 16 ? 6 : 0];
        size_t count = simple(line, n, fields, lengths);
        cr_assert_eq(fe_csv_fields(&emitter.task, (fe_slice){ line, n }, ',', found, max), count, "%.*s",
                     (int)n, line);
        for (size_t k = 0; k < count && k < max; k++)
            cr_assert(found[k].n == lengths[k] && !memcmp(found[k].p, fields[k], lengths[k]),
                      "%.*s: field %zu", (int)n, line, k);
        emitter_see(&emitter, NULL);
    }
    emitter_fini(&emitter);
}

/* What was unquoted in one call lives until it returns, and no longer; what one call unquotes is bounded. */
Test(ops_csv, unquoted_fields_are_bounded)
{
    fe_slice first, field;
    emitter_open();
    run.budget = 1 << 20;
    cr_expect_eq(fe_csv_fields(&emitter.task, fe_str("\"one \"\"quote\""), ',', &first, 1), 1);
    for (int i = 0; i < 10000; i++)
        fe_csv_fields(&emitter.task, fe_str("\"\"\"\""), ',', &field, 1);
    cr_expect(!emitter.task.failed && first.n == 10 && !memcmp(first.p, "one \"quote", 10));
    for (int i = 0; i < 100; i++) {
        emitter_see(&emitter, NULL);
        for (int k = 0; k < 10000; k++)
            fe_csv_fields(&emitter.task, fe_str("\"\"\"\""), ',', &field, 1);
    }
    cr_expect_not(emitter.task.failed);
    for (int i = 0; i < 100000; i++)
        fe_csv_fields(&emitter.task, fe_str("\"\"\"\""), ',', &field, 1);
    cr_expect(emitter.task.failed && field.n == 0);
    cr_expect(memmem(report.words.p, report.words.n, "one call unquoted over 1 MiB", 28));
    emitter_fini(&emitter);
    arena_fini(&run.arena);
}
