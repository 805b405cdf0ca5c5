/* test_api.c - each part of ferro.h through `ferro run`, beside sums of the test's own. */
#include "tests/cluster/cluster.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define JOB "tests/cluster/jobs/api.c"

TestSuite(api, .timeout = 120);

/* Run a case and compare all that it prints. */
static void expect_case(struct cluster *c, const char *args, const char *expected)
{
    char command[512], *out, *err;
    snprintf(command, sizeof command, "run --slots 2 --quiet " JOB " %s", args);
    int code = ferro(c, command, &out, &err);
    cr_expect(code == 0, "ferro %s: exit code %d: %s", command, code, err);
    cr_expect_str_eq(out, expected, "ferro %s printed\n%sinstead of\n%s", command, out, expected);
    free(out);
    free(err);
}

/* Text that grows. */
struct text {
    char *p;
    size_t n;
};
static void add(struct text *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void add(struct text *t, const char *fmt, ...)
{
    char piece[256];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(piece, sizeof piece, fmt, ap);
    va_end(ap);
    t->p = realloc(t->p, t->n + (size_t)n + 1);
    memcpy(t->p + t->n, piece, (size_t)n + 1);
    t->n += (size_t)n;
}

Test(api, collections_of_each_type)
{
    struct cluster c;
    folder_init(&c);
    expect_case(&c, "collections",
                "ints 5: 3 -1 2 -9223372036854775808 9223372036854775807\nreals 4: 1.5 -2.25 0 inf\n"
                "structs 2: (1,2) (-4,5)\ntexts 4: [b] [] [a b] [\t]\nnone 0:\n");
    cluster_fini(&c);
}

/* What `by_key N` prints, computed record by record. */
static void by_key_sums(struct text *t, int64_t n)
{
    struct {
        int64_t sum, least, most, count;
    } k[7];
    double sum[3] = { 0 }, least[3];
    for (int i = 0; i < 7; i++)
        k[i].sum = k[i].count = 0, k[i].least = INT64_MAX, k[i].most = INT64_MIN;
    for (int64_t i = 0; i < n; i++) {
        int64_t v = i * 31 % 1000 - 500, at = i % 7;
        k[at].sum += v;
        k[at].count++;
        k[at].least = v < k[at].least ? v : k[at].least;
        k[at].most = v > k[at].most ? v : k[at].most;
        sum[i % 3] += (double)i / 2;
        least[i % 3] = i < 3 ? (double)i / 2 : least[i % 3];
    }
#define KEYS(title, from, to, step, fmt, ...) \
    add(t, title, (from) < (to) ? (to) - (from) + 1 : (from) - (to) + 1); \
    for (int i = (from); i != (to) + (step); i += (step)) \
        add(t, " %d=" fmt, i, __VA_ARGS__); \
    add(t, "\n")
    KEYS("sum %d:", 0, 6, 1, "%" PRId64, k[i].sum);
    KEYS("min %d:", 0, 6, 1, "%" PRId64, k[i].least);
    KEYS("max %d:", 6, 0, -1, "%" PRId64, k[i].most);
    KEYS("count %d:", 0, 6, 1, "%" PRId64, k[i].count);
    KEYS("reduce %d:", 0, 6, 1, "%" PRId64, k[i].most);
    KEYS("reals %d:", 0, 2, 1, "%g", sum[i]);
    KEYS("least %d:", 0, 2, 1, "%g", least[i]);
    KEYS("group %d:", 0, 6, 1, "[%" PRId64 ":%" PRId64 "..%" PRId64 "]", k[i].count, k[i].least, k[i].most);
    KEYS("aggregate %d:", 0, 6, 1, "[%" PRId64 ":%" PRId64 "..%" PRId64 "]", k[i].count, k[i].least,
         k[i].most);
}

static void points_sums(struct text *t, int64_t n)
{
    add(t, "points 4:");
    for (int64_t key = 0; key < 4; key++) {
        int64_t sum = 0, count = 0, most = 0;
        for (int64_t i = key; i < n; i += 4) {
            sum += i;
            count++;
            most = i % 10 > most ? i % 10 : most;
        }
        add(t, " [(%" PRId64 ",%" PRId64 ")]=[%" PRId64 "/%" PRId64 "/%" PRId64 "]", key, key % 2, sum, count,
            most);
    }
    add(t, "\n");
}

Test(api, several_jobs_by_key_in_one_application)
{
    struct cluster c;
    struct text t = { 0 };
    folder_init(&c);
    by_key_sums(&t, 1003);
    points_sums(&t, 1003);
    expect_case(&c, "by_key 1003", t.p);
    free(t.p);
    cluster_fini(&c);
}

Test(api, sorts_by_key_and_by_value_both_ways)
{
    struct cluster c;
    folder_init(&c);
    expect_case(&c, "sorting",
                "names 12: [k0]=0 [k11]=3 [k22]=6 [k33]=9 [k37]=1 [k48]=4 [k59]=7 [k7]=11 [k70]=10 [k74]=2 "
                "[k85]=5 [k96]=8\n"
                "names-down 12: [k96]=8 [k85]=5 [k74]=2 [k70]=10 [k7]=11 [k59]=7 [k48]=4 [k37]=1 [k33]=9 "
                "[k22]=6 [k11]=3 [k0]=0\n"
                "values 7: 0=3 1=3 2=3 3=3 4=3 5=3 6=2\n"
                "values-up 20: 0=-500 1=-469 2=-438 3=-407 4=-376 5=-345 6=-314 0=-283 1=-252 2=-221 3=-190 "
                "4=-159 5=-128 6=-97 "
                "0=-66 1=-35 2=-4 3=27 4=58 5=89\n"
                "reals 7: -inf -1 -1e-300 0 2.5 1e+300 nan\ntexts 7: [] [B] [a] [ab] [abc] [b] [\xff]\n");
    cluster_fini(&c);
}

Test(api, maps_filters_and_unions_in_order)
{
    struct cluster c;
    folder_init(&c);
    expect_case(&c, "narrow",
                "flat 10: 1 1 3 3 5 5 7 7 9 9\nfilter 6: 0=-500 2=-438 4=-376 6=-314 0=-283 2=-221\n"
                "values 10: 0=-500 1=531 2=1562 3=2593 4=3624 5=4655 6=5686 0=-283 1=748 2=1779\n"
                "union 22: 1 1 3 3 5 5 7 7 9 9 0 1 2 3 4 5 6 7 8 9 100 101\n"
                "swap 6: -500=0 -438=2 -376=4 -314=6 -283=0 -221=2\ncount 22\n");
    cluster_fini(&c);
}

Test(api, nothing_is_no_error)
{
    struct cluster c;
    folder_init(&c);
    expect_case(&c, "empty", "count 0 empty 1 take 0\nsum 5050 empty 0\nsorted 0:\nrange 0:\n");
    cluster_fini(&c);
}

/* How many tasks a `take N` of 64 partitions of 100 rows ran. */
static int take_tasks(struct cluster *c, int n)
{
    struct proc p = { 0 };
    struct text t = { 0 };
    char args[64];
    snprintf(args, sizeof args, "run --slots 2 --quiet " JOB " take %d", n);
    ferro_start(c, &p, args);
    cr_assert_eq(proc_wait(&p), 0);
    add(&t, "take %d:", n > 6400 ? 6400 : n);
    for (int i = 0; i < n && i < 6400; i++)
        add(&t, " %d", i);
    add(&t, "\n");
    char *out = file_text("%s/%s.out", c->dir, p.name);
    cr_expect_str_eq(out, t.p);
    json_t *events = proc_events(&p);
    int tasks = events_count(events, "task.committed", NULL);
    json_decref(events);
    free(out);
    free(t.p);
    return tasks;
}

Test(api, take_runs_few_partitions)
{
    struct cluster c;
    folder_init(&c);
    int few = take_tasks(&c, 5), some = take_tasks(&c, 250), all = take_tasks(&c, 10000);
    cr_expect(few >= 1 && few <= 4, "5 rows of the first partition took %d tasks", few);
    cr_expect(some >= 3 && some <= 16, "250 rows of three partitions took %d tasks", some);
    cr_expect_eq(all, 64);
    cluster_fini(&c);
}

Test(api, shuffles_four_times_in_one_job)
{
    struct cluster c;
    char args[256];
    folder_init(&c);
    /* a: 4, bb: 2, cc: 2, ddd: 1, e: 1 -> words of length 1: two, 2: two, 3: one -> 2 = {1, 2}, 1 = {3} */
    file_write("a bb\tcc\n\n a ddd \r\na  bb cc\na e", "%s/words.txt", c.dir);
    snprintf(args, sizeof args, "chain %s/words.txt", c.dir);
    expect_case(&c, args, "chain 2: 2=[2:1..2] 1=[1:3..3]\n");
    cluster_fini(&c);
}

Test(api, fields_and_numbers)
{
    struct cluster c;
    char args[256];
    folder_init(&c);
    file_write("a,12,0.5\nb,x\n,7,1e2\n99999999999999999999,99999999999999999999\n", "%s/table.csv", c.dir);
    snprintf(args, sizeof args, "fields %s/table.csv", c.dir);
    expect_case(&c, args, "fields 4: [a]=12.005 [b]=-1 []=8 [99999999999999999999]=-1\n");
    cluster_fini(&c);
}

Test(api, saves_as_many_parts_as_asked)
{
    struct cluster c;
    char command[256], *out, *err, out_dir[128];
    folder_init(&c);
    snprintf(out_dir, sizeof out_dir, "%s/out", c.dir);
    snprintf(command, sizeof command, "run --slots 2 " JOB " save 4 %s", out_dir);
    cr_assert_eq(ferro(&c, command, &out, &err), 0, "%s", err);
    cr_expect(strstr(err, "saving 4 parts"), "fe_say's words are on stderr: %s", err);
    cr_expect_str_eq(out, "", "results go to the folder: %s", out);
    char *parts = parts_text(out_dir);
    size_t lines = 0, sorted = 1;
    char last[32] = "";
    for (char *line = strtok(parts, "\n"); line; line = strtok(NULL, "\n"), lines++) {
        char key[32];
        cr_assert(sscanf(line, "%31[^\t]\t", key) == 1, "not key, tab, value: '%s'", line);
        sorted &= strcmp(last, key) <= 0;
        strcpy(last, key);
    }
    cr_expect_eq(lines, 1000);
    cr_expect(sorted, "the parts concatenate in order");
    snprintf(command, sizeof command,
             "cd %s && test -e part-00003 && ! test -e part-00004 && test -e _SUCCESS && ! test -e _ferro",
             out_dir);
    cr_expect_eq(system(command), 0, "four parts, _SUCCESS and nothing else");
    free(parts);
    free(out);
    free(err);
    cluster_fini(&c);
}

Test(api, a_wrong_type_is_named)
{
    struct cluster c;
    char *out, *err;
    folder_init(&c);
    cr_expect_eq(ferro(&c, "run --slots 1 " JOB " mistaken", &out, &err), 3);
    cr_expect(strstr(err, "wrong_type") && strstr(err, "api.c:"), "the function and its place: %s", err);
    cr_expect(strstr(err, "text") && strstr(err, "i64"), "both types: %s", err);
    free(out);
    free(err);
    cluster_fini(&c);
}
