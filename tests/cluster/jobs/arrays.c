/* arrays.c - NUMBERS TABLE BLOCKS: records of a fixed size, arguments, broadcasts, partitions, accumulators, CSV.
 *
 * NUMBERS has int64_t, TABLE lines "name;number" behind a header; below BLOCKS executors keep theirs.  Prints a line a
 * part, which a test compares with its own.
 */
#include <ferro.h>
#include <ftw.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { ROUNDS = 20, SHARED = 1 << 17 };

struct args {
    int64_t factor;
    fe_shared table;
};

struct total {
    int64_t n, sum;
};

static void add(fe_task *t, void *acc, fe_slice key, fe_slice value)
{
    struct total *total = acc;
    const struct args *a = FERRO_ARGS(struct args, t);
    const int64_t *table = fe_shared_data(t, a->table);
    (void)key;
    if (!table)
        return;
    total->n++;
    total->sum += a->factor * fe_i64(value) + table[fe_i64(value) % SHARED];
}

static void merge(fe_task *t, void *acc, const void *other)
{
    struct total *to = acc;
    const struct total *from = other;
    (void)t;
    to->n += from->n;
    to->sum += from->sum;
}

static int array_sum(fe_task *t, fe_rows *in)
{
    const void *values;
    struct total total = { 0, 0 };
    for (size_t n; (n = fe_rows_array(in, NULL, &values)) != 0; total.n += (int64_t)n)
        for (size_t i = 0; i < n; i++)
            total.sum += ((const int64_t *)values)[i];
    fe_emit_value(t, FERRO_BYTES(total));
    return 0;
}

static void parse(fe_task *t, fe_slice key, fe_slice line)
{
    fe_slice f[2];
    (void)key;
    if (fe_csv_fields(t, line, ';', f, 2) != 2)
        fe_fail(t, "no two fields: %.*s", (int)line.n, line.p);
    else
        fe_emit(t, f[0], fe_parse_i64(f[1], INT64_MIN));
}

/* ---- what executors hold ------------------------------------------------------------- */

static int large;
static int look(const char *path, const struct stat *st, int what)
{
    (void)path;
    large += what == FTW_F && st->st_size == SHARED * (off_t)sizeof(int64_t);
    return 0;
}

static int rounds(fe_app *app, fe_set *numbers, const char *blocks)
{
    static int64_t table[SHARED];
    struct total total;
    for (int64_t i = 1; i <= ROUNDS; i++) {
        for (int64_t k = 0; k < SHARED; k++)
            table[k] = i;
        struct args a = { i, fe_broadcast(app, table, sizeof table) };
        if (fe_aggregate(fe_with(numbers, &a, sizeof a), &total, sizeof total, add, merge))
            return -1;
        printf("round %" PRId64 " %" PRId64 " %" PRId64 "\n", i, total.n, total.sum);
    }
    ftw(blocks, look, 16);
    printf("copies %s\n", large < ROUNDS / 2 ? "few" : "many"); /* those of stages that are over go */
    return 0;
}

static int arrays(fe_app *app, int argc, char **argv)
{
    if (argc != 4)
        return -1;
    struct total total;
    fe_set *numbers = fe_binary(app, 1, argv + 1, FERRO_I64);
    fe_set *sums = fe_map_partitions(numbers, array_sum, FERRO_NONE, FERRO_STRUCT(struct total));
    if (fe_reduce(sums, merge, &total, NULL))
        return -1;
    printf("partitions %" PRId64 " %" PRId64 "\n", total.n, total.sum);
    fflush(stdout);
    fe_set *pairs = fe_map(fe_csv(app, 1, argv + 2, 1), parse, FERRO_TEXT, FERRO_I64);
    return rounds(app, numbers, argv[3]) || (fflush(stdout), fe_save_text(pairs, "-"));
}

FERRO_JOB("arrays", arrays)
