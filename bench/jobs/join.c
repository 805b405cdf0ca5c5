/* join.c - pairs of equal keys of two files of {int64 key, int64 value}, by the right side's value: how many, and the
 * sum of the left side's values.
 *
 *     ferro run bench/jobs/join.c LEFT RIGHT OUT [PARTS]
 *
 * With PARTS both sides are shuffled; without, a RIGHT of at most 128 MiB is a table on each executor.
 * Lines: group, tab, count, tab, sum; sorted by group.
 */
#include <ferro.h>

#include <stdio.h>
#include <stdlib.h>

struct record {
    int64_t key, value;
};
struct load {
    int64_t pairs, sum;
};

static void by_key(fe_task *t, fe_slice none, fe_slice record)
{
    (void)none;
    const struct record *r = FERRO_AS(struct record, record);
    fe_emit(t, r->key, r->value);
}

static void by_group(fe_task *t, fe_slice key, fe_slice left, fe_slice right)
{
    (void)key;
    fe_emit(t, fe_i64(right), fe_i64(left));
}

static void add(fe_task *t, void *acc, fe_slice group, fe_slice value)
{
    struct load *l = acc;
    (void)t, (void)group;
    l->pairs++;
    l->sum += fe_i64(value);
}

static void merge(fe_task *t, void *acc, const void *other)
{
    struct load *l = acc;
    const struct load *o = other;
    (void)t;
    l->pairs += o->pairs;
    l->sum += o->sum;
}

static void line(fe_task *t, fe_slice group, fe_slice load)
{
    char text[48];
    const struct load *l = FERRO_AS(struct load, load);
    snprintf(text, sizeof text, "%lld\t%lld", (long long)l->pairs, (long long)l->sum);
    fe_emit(t, fe_i64(group), text);
}

static fe_set *keyed(fe_app *app, char *name)
{
    return fe_map(fe_binary(app, 1, &name, FERRO_STRUCT(struct record)), by_key, FERRO_I64, FERRO_I64);
}

static int join(fe_app *app, int argc, char **argv)
{
    if (argc != 4 && argc != 5) {
        fe_say(app, "usage: %s LEFT RIGHT OUT [PARTS]", argv[0]);
        return -1;
    }
    fe_set *pairs = fe_join(keyed(app, argv[1]), keyed(app, argv[2]), by_group, FERRO_I64, FERRO_I64);
    if (argc == 5)
        pairs = fe_partitions(pairs, (uint32_t)atoi(argv[4]));
    fe_set *loads = fe_aggregate_by_key(pairs, FERRO_STRUCT(struct load), add, merge);
    fe_set *lines = fe_map(fe_partitions(loads, 1), line, FERRO_I64, FERRO_TEXT);
    return fe_save_text(fe_sort_by_key(lines, FERRO_ASCENDING), argv[3]);
}
FERRO_JOB("join", join)
