/* groupby.c - least, mean and greatest value by name: INPUT OUT
 *
 * The input has lines `name;value`, a value from -99.9 to 99.9 with one decimal.  A line of output is
 * `name;min;mean;max;count` by the name's bytes: min and max with one decimal, the mean with six, from a sum in
 * tenths, which is exact.
 */
#include <ferro.h>
#include <inttypes.h>
#include <stdio.h>

struct figures {
    int64_t sum, count, least, most; /* in tenths but the count */
};

static void parse(fe_task *t, fe_slice key, fe_slice line)
{
    fe_slice name, value;
    (void)key;
    int64_t tenths =
        fe_split_last(line, ';', &name, &value) ? fe_parse_decimal(value, 1, INT64_MAX) : INT64_MAX;
    if (tenths > 999 || tenths < -999)
        fe_fail(t, "a line is not `name;-99.9`: %.*s", (int)(line.n < 80 ? line.n : 80), line.p);
    else
        fe_emit(t, name, tenths);
}

static void add(fe_task *t, void *acc, fe_slice name, fe_slice value)
{
    struct figures *f = acc;
    int64_t v = fe_i64(value);
    (void)t, (void)name;
    if (f->count == 0)
        f->least = f->most = v;
    f->least = v < f->least ? v : f->least;
    f->most = v > f->most ? v : f->most;
    f->sum += v;
    f->count++;
}

static void merge(fe_task *t, void *acc, const void *other)
{
    struct figures *f = acc;
    const struct figures *o = other;
    (void)t;
    f->least = o->least < f->least ? o->least : f->least;
    f->most = o->most > f->most ? o->most : f->most;
    f->sum += o->sum;
    f->count += o->count;
}

static void format(fe_task *t, fe_slice name, fe_slice value)
{
    char text[512];
    const struct figures *f = FERRO_AS(struct figures, value);
    int n = snprintf(text, sizeof text, "%.*s;%.1f;%.6f;%.1f;%" PRId64, (int)name.n, name.p,
                     (double)f->least / 10, (double)f->sum / (10.0 * (double)f->count), (double)f->most / 10,
                     f->count);
    if (n >= (int)sizeof text)
        fe_fail(t, "a name of %zu bytes", name.n);
    fe_emit_value(t, text);
}

static int groupby(fe_app *app, int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: groupby INPUT OUT\n");
        return -1;
    }
    fe_set *rows = fe_flat_map(fe_text(app, 1, argv + 1), parse, FERRO_TEXT, FERRO_I64);
    fe_set *groups = fe_aggregate_by_key(rows, FERRO_STRUCT(struct figures), add, merge);
    fe_set *sorted = fe_sort_by_key(groups, FERRO_ASCENDING);
    return fe_save_text(fe_map(sorted, format, FERRO_NONE, FERRO_TEXT), argv[2]);
}

FERRO_JOB("groupby", groupby)
