/* set.c - the builders of transformations: each makes one node of the lineage. */
#include "driver/api/set.h"

#include <assert.h>
#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define PLAN_NAME_MAX 255 /* bytes of a node's fn_name and file: messages.def */
#define PLAN_FILE_MAX 1023

/* Source text of any length comes through the macros; a plan has room for so much. */
static const char *text_cut(fe_app *app, const char *text, size_t max)
{
    size_t n = text ? strlen(text) : 0;
    if (n <= max)
        return text ? text : "";
    char *cut = arena_alloc(&app->arena, max + 1);
    return memcpy(cut, text + (n - max), max); /* the end says more: of a path, of a cast's function */
}

struct plan_node set_node(fe_app *app, enum op_code op, const char *name, fe_place place)
{
    return (struct plan_node){
        .op = op,
        .fn_name = place.fn ? text_cut(app, place.fn, PLAN_NAME_MAX) : name,
        .file = text_cut(app, place.file, PLAN_FILE_MAX),
        .line = (uint32_t)place.line,
        .child = { PLAN_NONE, PLAN_NONE },
    };
}

fe_set *set_new(fe_app *app, enum op_code op, const char *name, fe_place place, fe_type key, fe_type value)
{
    fe_app *owner = app ? app : app_current;
    assert(owner); /* builders and actions belong into a job's main */
    fe_set *s = arena_alloc(&owner->arena, sizeof *s);
    s->app = owner;
    s->name = name;
    s->place = place;
    s->origin = s;
    s->node = set_node(owner, op, name, place);
    s->node.key = key;
    s->node.value = value;
    return app ? s : set_fail(s, "the application is NULL");
}

fe_set *set_given(fe_set *set, const char *name, fe_place place)
{
    if (set && set->child[0] && set->node.data.n && !set->node.fn)
        return set_fail(set, "it has no function that could take the arguments of fe_with");
    if (set)
        return set;
    return set_fail(set_new(app_current, OP_COLLECTION, name, place, FERRO_NONE, FERRO_NONE),
                    "the dataset is NULL");
}

fe_set *set_fail(fe_set *s, const char *fmt, ...)
{
    if (s->error)
        return s;
    char words[PLAN_FILE_MAX + ERROR_WORDS_MAX];
    int n = snprintf(words, sizeof words, "%s:%d: fe_%s: ", text_cut(s->app, s->place.file, PLAN_FILE_MAX),
                     s->place.line, s->name);
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(words + n, sizeof words - (size_t)n, fmt, ap);
    va_end(ap);
    s->error = arena_strdup(&s->app->arena, words);
    return s;
}

uint64_t set_fn(fe_set *s, const void *fn)
{
    Dl_info info;
    if (!fn)
        set_fail(s, "the function is NULL");
    else if (!dladdr(fn, &info) || info.dli_fbase != s->app->library)
        set_fail(s, "%s is not in the job's own library; call it from a function that is", s->node.fn_name);
    else
        return (uint64_t)((const char *)fn - (const char *)s->app->library);
    return 0;
}

fe_set *set_over(fe_set *child, enum op_code op, const char *name, fe_place place, fe_type key, fe_type value)
{
    fe_set *s = set_new(child->app, op, name, place, key, value);
    s->child[0] = child;
    s->node.data = child->args;
    s->error = child->error;
    s->bytes = child->bytes;
    return s;
}

void set_beside(fe_set *s, fe_set *child)
{
    s->child[1] = child;
    s->bytes = child->bytes < UINT64_MAX - s->bytes ? s->bytes + child->bytes : UINT64_MAX;
    if (child->args.n)
        s->node.data = child->args;
    if (!s->error)
        s->error = child->error;
    if (s->app != child->app)
        set_fail(s, "the two datasets belong to different applications");
}

bool type_known(fe_type t)
{
    if (type_kind(t) == type_kind(FERRO_STRUCT(char)))
        return type_size(t) > 0 && type_size(t) <= STRUCT_BYTES_MAX;
    return t == FERRO_NONE || t == FERRO_TEXT || t == FERRO_I64 || t == FERRO_F64;
}

void set_check_types(fe_set *s)
{
    fe_type types[2] = { s->node.key, s->node.value };
    for (int i = 0; i < 2; i++)
        if (!type_known(types[i]))
            set_fail(s,
                     "the %s's type is none of FERRO_NONE, _TEXT, _I64, _F64 or _STRUCT of 1 to 65536 bytes",
                     i ? "value" : "key");
}

/* The user's function over what a partition of the child has. */
static fe_set *set_called(fe_set *child, enum op_code op, const char *name, const void *fn, fe_type key,
                          fe_type value, fe_place place)
{
    fe_set *s = set_over(child, op, name, place, key, value);
    s->node.fn = set_fn(s, fn);
    set_check_types(s);
    return s;
}

fe_set *fe_map_at(fe_set *set, fe_each *fn, fe_type key, fe_type value, fe_place place)
{
    set = set_given(set, "map", place);
    return set_called(set, OP_MAP, "map", (const void *)fn, key, value, place);
}

fe_set *fe_flat_map_at(fe_set *set, fe_each *fn, fe_type key, fe_type value, fe_place place)
{
    set = set_given(set, "flat_map", place);
    return set_called(set, OP_FLAT_MAP, "flat_map", (const void *)fn, key, value, place);
}

fe_set *fe_filter_at(fe_set *set, fe_keep *fn, fe_place place)
{
    set = set_given(set, "filter", place);
    return set_called(set, OP_FILTER, "filter", (const void *)fn, set->node.key, set->node.value, place);
}

fe_set *fe_map_values_at(fe_set *set, fe_each *fn, fe_type value, fe_place place)
{
    set = set_given(set, "map_values", place);
    return set_called(set, OP_MAP_VALUES, "map_values", (const void *)fn, set->node.key, value, place);
}

fe_set *fe_map_partitions_at(fe_set *set, fe_part *fn, fe_type key, fe_type value, fe_place place)
{
    set = set_given(set, "map_partitions", place);
    return set_called(set, OP_MAP_PARTITIONS, "map_partitions", (const void *)fn, key, value, place);
}

fe_set *fe_union_at(fe_set *a, fe_set *b, fe_place place)
{
    a = set_given(a, "union", place);
    b = set_given(b, "union", place);
    fe_set *s = set_over(a, OP_UNION, "union", place, a->node.key, a->node.value);
    set_beside(s, b);
    char left[TYPE_NAME_MAX], right[TYPE_NAME_MAX];
    if (a->node.key != b->node.key)
        set_fail(s, "keys differ: %s and %s", type_name(a->node.key, left), type_name(b->node.key, right));
    else if (a->node.value != b->node.value)
        set_fail(s, "values differ: %s and %s", type_name(a->node.value, left),
                 type_name(b->node.value, right));
    return s;
}

/* A shuffle: what it brings has the child's types. */
static fe_set *set_shuffle(fe_set *child, enum op_code op, const char *name, fe_place place, fe_type key,
                           fe_type value, uint32_t parts)
{
    fe_set *s = set_over(child, op, name, place, key, value);
    s->node.in_key = child->node.key;
    s->node.in_value = child->node.value;
    s->parts = parts;
    if (parts > BUCKETS_MAX)
        set_fail(s, "%u partitions; at most %u", parts, BUCKETS_MAX);
    return s;
}

fe_set *fe_reduce_by_key_at(fe_set *set, fe_merge *fn, uint32_t parts, fe_place place)
{
    static const char name[] = "reduce_by_key";
    char type[TYPE_NAME_MAX];
    set = set_given(set, name, place);
    fe_set *s = set_shuffle(set, OP_READ_HASH, name, place, set->node.key, set->node.value, parts);
    s->node.fn = set_fn(s, (const void *)fn);
    if (set->node.key == FERRO_NONE)
        set_fail(s, "the dataset has no keys");
    else if (type_size(set->node.value) == 0)
        set_fail(s, "values must have a fixed size to be merged, these are %s; fe_group_by_key takes any",
                 type_name(set->node.value, type));
    return s;
}

fe_set *fe_reduce_kernel_at(fe_set *set, enum fe_kernel kernel, uint32_t parts, fe_place place)
{
    static const char *const names[] = { "reduce_kernel", "sum_by_key", "min_by_key", "max_by_key",
                                         "count_by_key" };
    const char *name = names[kernel >= FERRO_SUM && kernel <= FERRO_COUNT ? kernel : 0];
    char type[TYPE_NAME_MAX];
    set = set_given(set, name, place);
    fe_type in = set->node.value, out = kernel == FERRO_COUNT ? FERRO_I64 : in;
    fe_set *s = set_shuffle(set, OP_READ_HASH, name, place, set->node.key, out, parts);
    s->node.kernel = kernel;
    s->node.in_value = out;
    if (kernel < FERRO_SUM || kernel > FERRO_COUNT)
        set_fail(s, "no kernel has the number %d", (int)kernel);
    else if (set->node.key == FERRO_NONE)
        set_fail(s, "the dataset has no keys");
    else if (kernel != FERRO_COUNT && in != FERRO_I64 && in != FERRO_F64)
        set_fail(s, "values must be i64 or f64, these are %s; fe_reduce_by_key takes a function",
                 type_name(in, type));
    return s;
}

fe_set *fe_aggregate_by_key_at(fe_set *set, fe_type acc, fe_add *add, fe_merge *merge, uint32_t parts,
                               fe_place place)
{
    static const char name[] = "aggregate_by_key";
    set = set_given(set, name, place);
    fe_set *s = set_shuffle(set, OP_READ_HASH, name, place, set->node.key, acc, parts);
    s->node.kernel = FERRO_AGGREGATE;
    s->node.in_value = acc;
    s->node.fn = set_fn(s, (const void *)merge);
    s->add = set_fn(s, (const void *)add);
    set_check_types(s);
    if (set->node.key == FERRO_NONE)
        set_fail(s, "the dataset has no keys");
    else if (type_size(acc) == 0)
        set_fail(s, "an accumulator must have a fixed size");
    return s;
}

fe_set *fe_group_by_key_at(fe_set *set, fe_group *fn, fe_type key, fe_type value, uint32_t parts,
                           fe_place place)
{
    set = set_given(set, "group_by_key", place);
    fe_set *s = set_shuffle(set, OP_READ_GROUPS, "group_by_key", place, key, value, parts);
    s->node.fn = set_fn(s, (const void *)fn);
    set_check_types(s);
    if (set->node.key == FERRO_NONE)
        set_fail(s, "the dataset has no keys");
    return s;
}

fe_set *fe_partition_by_key_at(fe_set *set, uint32_t parts, fe_place place)
{
    static const char name[] = "partition_by_key";
    set = set_given(set, name, place);
    fe_set *s = set_shuffle(set, OP_READ_BUCKETS, name, place, set->node.key, set->node.value, parts);
    if (set->node.key == FERRO_NONE)
        set_fail(s, "the dataset has no keys");
    return s;
}

static fe_set *set_sort(fe_set *set, enum fe_order order, bool by_value, uint32_t parts, fe_place place)
{
    const char *name = by_value ? "sort_by_value" : "sort_by_key";
    set = set_given(set, name, place);
    fe_set *s = set_shuffle(set, OP_READ_SORTED, name, place, set->node.key, set->node.value, parts);
    s->node.order = order;
    s->node.by_value = by_value;
    if (order != FERRO_ASCENDING && order != FERRO_DESCENDING)
        set_fail(s, "the order is neither FERRO_ASCENDING nor FERRO_DESCENDING");
    else if ((by_value ? set->node.value : set->node.key) == FERRO_NONE)
        set_fail(s, "the dataset has no %s to sort by", by_value ? "values" : "keys");
    return s;
}

fe_set *fe_sort_by_key_at(fe_set *set, enum fe_order order, uint32_t parts, fe_place place)
{
    return set_sort(set, order, false, parts, place);
}

fe_set *fe_sort_by_value_at(fe_set *set, enum fe_order order, uint32_t parts, fe_place place)
{
    return set_sort(set, order, true, parts, place);
}

/* The same node under the name of another builder. */
static fe_set *set_copy(const fe_set *set, const char *name, fe_place place)
{
    fe_set *s = arena_copy(&set->app->arena, set, sizeof *set);
    s->name = name;
    s->place = place;
    return s;
}

fe_set *fe_with_at(fe_set *set, const void *args, size_t n, fe_place place)
{
    set = set_given(set, "with", place);
    fe_set *s = set_copy(set, "with", place);
    if (n && !args)
        set_fail(s, "%zu bytes of arguments at NULL", n);
    else if (n > PLAN_INLINE_BYTES_MAX)
        set_fail(s, "%zu bytes of arguments; at most %u, fe_broadcast takes more", n, PLAN_INLINE_BYTES_MAX);
    else
        s->args = (struct bytes){ arena_copy(&set->app->arena, args, n), (uint32_t)n };
    return s;
}

fe_set *fe_partitions_at(fe_set *set, uint32_t n, fe_place place)
{
    set = set_given(set, "partitions", place);
    fe_set *s = set_copy(set, "partitions", place);
    s->origin = s; /* a shuffle of its own */
    enum op_code op = s->node.op;
    if (op != OP_READ_HASH && op != OP_READ_GROUPS && op != OP_READ_SORTED && op != OP_READ_BUCKETS &&
        op != OP_JOIN && op != OP_COGROUP && op != OP_PROBE)
        set_fail(s, "it goes right after a shuffle (reduce, group, sort, join), not after fe_%s", set->name);
    else if (n > BUCKETS_MAX)
        set_fail(s, "%u partitions; at most %u", n, BUCKETS_MAX);
    else if (n && op == OP_PROBE)
        set_shuffle_both(s);
    s->parts = n;
    return s;
}
