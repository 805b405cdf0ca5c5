/* test_arrays.c - arrays in files, arguments, broadcasts and CSV on a cluster; jobs in C++. */
#include "tests/cluster/cluster.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

TestSuite(arrays, .timeout = 120);

enum { NUMBERS = 1000003, ROUNDS = 20 };

static void numbers_write(const char *path)
{
    FILE *f = fopen(path, "w");
    cr_assert(f);
    for (int64_t i = 0; i < NUMBERS; i++)
        fwrite(&i, sizeof i, 1, f);
    cr_assert_eq(fclose(f), 0);
}

Test(arrays, arguments_broadcasts_and_csv)
{
    struct cluster c;
    const int64_t sum = (int64_t)NUMBERS * (NUMBERS - 1) / 2;
    cluster_init(&c);
    cluster_start(&c, 2);
    numbers_write(words("%s/numbers", c.dir));
    file_write("name;number\n\"a;b\";1\n\"say \"\"c\"\"\";-2\r\nd;3", "%s/table", c.dir);
    char *out =
        ferro_expect(&c, 0, NULL,
                     words("submit --slots 2 --quiet --split-size 1M tests/cluster/jobs/arrays.c %s/numbers "
                           "%s/table %s/blocks",
                           c.dir, c.dir, c.dir));
    char *expected = NULL;
    size_t n;
    FILE *f = open_memstream(&expected, &n);
    fprintf(f, "partitions %d %" PRId64 "\n", NUMBERS, sum);
    for (int64_t i = 1; i <= ROUNDS; i++)
        fprintf(f, "round %" PRId64 " %d %" PRId64 "\n", i, NUMBERS, i * (sum + NUMBERS));
    fprintf(f, "copies few\na;b\t1\nsay \"c\"\t-2\nd\t3\n");
    fclose(f);
    cr_expect_str_eq(out, expected, "%s instead of %s", out, expected);
    free(out);
    free(expected);
    cluster_fini(&c);
}

/* ---- C++ ------------------------------------------------------------------------------ */

Test(arrays, everything_that_cxx_emits)
{
    struct cluster c;
    folder_init(&c);
    char *out = ferro_expect(&c, 0, NULL, "run --slots 1 --quiet tests/cluster/jobs/overloads.cc");
    cr_expect_str_eq(out, "literal\tstring\nstring\tview\nview of more\tmoved\nchars\tchars\nslice\t\n"
                          "7\t1\n8\t97\n-1\t5\n9\t10\n11\t12\n1.5\n2.5\n3\n0100000002000000\n");
    free(out);
    cluster_fini(&c);
}

Test(arrays, the_header_is_clean_cxx)
{
    static const char *const standards[] = { "c++11", "c++17", "c++20" };
    struct cluster c;
    folder_init(&c);
    file_write(
        "#include <ferro.h>\nstatic void emit(fe_task *t, fe_slice, fe_slice v) { fe_emit(t, v, 1); }\n"
        "static int run(fe_app *app, int, char **)\n{\n    int64_t n;\n"
        "    return fe_count(fe_map(fe_range(app, 0, 5, 1), emit, FERRO_TEXT, FERRO_I64), &n);\n}\n"
        "FERRO_JOB(\"clean\", run)\n",
        "%s/clean.cpp", c.dir);
    for (size_t i = 0; i < sizeof standards / sizeof *standards; i++)
        free(ferro_expect(&c, 0, NULL,
                          words("cc %s/clean.cpp -o %s/clean.so -- -std=%s -Wall -Wextra -Wpedantic -Wshadow "
                                "-Werror",
                                c.dir, c.dir, standards[i])));
    cluster_fini(&c);
}

Test(arrays, the_example_in_cxx)
{
    struct cluster c;
    folder_init(&c);
    file_write("one two, three\n\n  four;five\r\nx", "%s/text", c.dir);
    char *out =
        ferro_expect(&c, 0, NULL, words("run --slots 2 --quiet examples/lengths.cc ,; %s/text", c.dir));
    cr_expect_str_eq(out, " 1  1\n 3  2\n 4  2\n 5  1\nmean 3.33\n");
    free(out);
    cluster_fini(&c);
}
