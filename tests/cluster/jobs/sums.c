/* sums.c - N PARTS BARRIER OUT: sums of 0..N-1 by their last two digits, in two stages.
 *
 * Its reduce side waits, for each key, until the file BARRIER exists ("-": doesn't
 * wait), so that a test can act while reduces run and need the map outputs.
 */
#include <ferro.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void digits(fe_task *t, fe_slice key, fe_slice value)
{
    (void)key;
    int64_t n = fe_i64(value);
    fe_emit(t, n % 100, n);
}

/* The barrier's path travels as data: a record of the collection that is joined in by union. */
static void add_path(fe_task *t, fe_slice key, fe_slice value)
{
    (void)key;
    fe_emit(t, -1, value);
}

static void as_text(fe_task *t, fe_slice key, fe_slice value)
{
    char text[32];
    snprintf(text, sizeof text, "%lld", (long long)fe_i64(value));
    fe_emit(t, fe_i64(key), fe_str(text));
}

static void wait_for(fe_slice path)
{
    char name[4096];
    snprintf(name, sizeof name, "%.*s", (int)path.n, path.p);
    while (strcmp(name, "-") && access(name, R_OK))
        poll(NULL, 0, 5);
}

static void total(fe_task *t, fe_slice key, fe_values *values)
{
    fe_slice v;
    int64_t sum = 0;
    if (fe_i64(key) == -1) {
        while (fe_next_value(values, &v))
            wait_for(v);
        return;
    }
    while (fe_next_value(values, &v))
        sum += fe_parse_i64(v, 0);
    fe_emit(t, fe_i64(key), sum);
}

static int sums(fe_app *app, int argc, char **argv)
{
    if (argc != 5)
        return -1;
    const char *barrier[] = { argv[3] };
    fe_set *numbers = fe_map(
        fe_flat_map(fe_range(app, 0, atoll(argv[1]), (uint32_t)atoi(argv[2])), digits, FERRO_I64, FERRO_I64),
        as_text, FERRO_I64, FERRO_TEXT);
    fe_set *path = fe_map(fe_collection(app, FERRO_TEXT, barrier, 1, 1), add_path, FERRO_I64, FERRO_TEXT);
    fe_set *all = fe_partitions(fe_group_by_key(fe_union(numbers, path), total, FERRO_I64, FERRO_I64), 4);
    return fe_save_text(fe_partitions(fe_sort_by_key(all, FERRO_ASCENDING), 1), argv[4]);
}

FERRO_JOB("sums", sums)
