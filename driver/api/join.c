/* join.c - builders that bring two datasets together by their keys. */
#include "driver/api/set.h"

#define SIDE_BYTES_MAX (128ull << 20) /* ferro.h: a side whose sources have no more is a small one */

static fe_set *set_pair(fe_set *left, fe_set *right, enum op_code op, const char *name, const void *fn,
                        fe_type key, fe_type value, uint32_t parts, fe_place place)
{
    char a[TYPE_NAME_MAX], b[TYPE_NAME_MAX];
    left = set_given(left, name, place);
    right = set_given(right, name, place);
    fe_set *s = set_over(left, op, name, place, key, value);
    set_beside(s, right);
    s->node.in_key = left->node.key;
    s->node.in_value = left->node.value;
    s->node.other = right->node.value;
    s->node.fn = set_fn(s, fn);
    s->parts = parts;
    set_check_types(s);
    if (left->node.key != right->node.key)
        set_fail(s, "keys differ: %s and %s", type_name(left->node.key, a), type_name(right->node.key, b));
    else if (left->node.key == FERRO_NONE)
        set_fail(s, "the datasets have no keys");
    else if (parts > BUCKETS_MAX)
        set_fail(s, "%u partitions; at most %u", parts, BUCKETS_MAX);
    return s;
}

/* The smaller side becomes a table, if it is small at all. */
static void set_probe(fe_set *join)
{
    fe_set *left = join->child[0], *right = join->child[1];
    bool swapped = left->bytes < right->bytes;
    fe_set *small = swapped ? left : right;
    if (join->parts || small->bytes > SIDE_BYTES_MAX)
        return;
    join->node.op = OP_PROBE;
    join->node.swapped = swapped;
    join->side = small;
    join->child[0] = swapped ? right : left;
    join->child[1] = NULL;
}

void set_shuffle_both(fe_set *join)
{
    fe_set *streamed = join->child[0];
    join->child[0] = join->node.swapped ? join->side : streamed;
    join->child[1] = join->node.swapped ? streamed : join->side;
    join->side = NULL;
    join->node.op = OP_JOIN;
    join->node.swapped = 0;
}

fe_set *fe_join_at(fe_set *left, fe_set *right, fe_pair *fn, fe_type key, fe_type value, uint32_t parts,
                   fe_place place)
{
    fe_set *s = set_pair(left, right, OP_JOIN, "join", (const void *)fn, key, value, parts, place);
    if (!s->error)
        set_probe(s);
    return s;
}

fe_set *fe_cogroup_at(fe_set *left, fe_set *right, fe_cogroup_fn *fn, fe_type key, fe_type value,
                      uint32_t parts, fe_place place)
{
    return set_pair(left, right, OP_COGROUP, "cogroup", (const void *)fn, key, value, parts, place);
}
