/* joins.c - HOW LEFT RIGHT MS OUT: the numbers below LEFT and below RIGHT, joined where they have the same rest of 97.
 *
 * HOW is table, shuffled or cogroup.  For each rest: the sum of left * 1000 + right over all pairs.  A pair of a left
 * number that ends in 00 takes MS milliseconds at first, so that somebody may kill executors meanwhile.
 */
#include <ferro.h>
#include <poll.h>
#include <stdlib.h>

static void by_rest(fe_task *t, fe_slice key, fe_slice number)
{
    (void)key;
    fe_emit(t, fe_i64(number) % 97, fe_i64(number));
}

static void pause_at(fe_task *t, int64_t left)
{
    if (left % 100 == 0)
        poll(NULL, 0, *FERRO_ARGS(int, t));
}

static void pair(fe_task *t, fe_slice rest, fe_slice left, fe_slice right)
{
    if (fe_i64(right) < 97)
        pause_at(t, fe_i64(left));
    fe_emit(t, fe_i64(rest), fe_i64(left) * 1000 + fe_i64(right));
}

/* The same from what is left of each side after one pass: numbers and sums. */
static void group(fe_task *t, fe_slice rest, fe_values *left, fe_values *right)
{
    int64_t n[2] = { 0 }, sum[2] = { 0 };
    fe_slice v;
    for (; fe_next_value(left, &v); n[0]++, sum[0] += fe_i64(v))
        pause_at(t, fe_i64(v));
    for (; fe_next_value(right, &v); n[1]++)
        sum[1] += fe_i64(v);
    if (n[0] && n[1])
        fe_emit(t, fe_i64(rest), sum[0] * 1000 * n[1] + sum[1] * n[0]);
}

static int joins(fe_app *app, int argc, char **argv)
{
    if (argc != 6)
        return -1;
    int ms = atoi(argv[4]);
    fe_set *left = fe_map(fe_range(app, 0, atoll(argv[2]), 24), by_rest, FERRO_I64, FERRO_I64);
    fe_set *right = fe_map(fe_range(app, 0, atoll(argv[3]), 4), by_rest, FERRO_I64, FERRO_I64);
    fe_set *with = fe_with(left, &ms, sizeof ms), *both;
    if (!strcmp(argv[1], "cogroup"))
        both = fe_cogroup(with, right, group, FERRO_I64, FERRO_I64);
    else
        both = fe_join(with, right, pair, FERRO_I64, FERRO_I64);
    if (strcmp(argv[1], "table"))
        both = fe_partitions(both, 16);
    return fe_save_text(fe_sort_by_key(fe_sum_by_key(both), FERRO_ASCENDING), argv[5]);
}

FERRO_JOB("joins", joins)
