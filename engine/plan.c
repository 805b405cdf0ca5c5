/* plan.c - plans to bytes and back; what a host may rely on is checked here. */
#include "engine/plan.h"

#include "common/proto/proto.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum shape { LEAF, NARROW, PAIR, SINK };

/* Every operator once: its name and how many children it takes. */
static const struct op_row {
    enum op_code op;
    enum shape shape;
    const char *name;
} op_rows[] = {
    { OP_TEXT, LEAF, "text" },
    { OP_COLLECTION, LEAF, "collection" },
    { OP_RANGE, LEAF, "range" },
    { OP_READ_HASH, LEAF, "reduce_by_key" },
    { OP_READ_GROUPS, LEAF, "group_by_key" },
    { OP_READ_SORTED, LEAF, "sort" },
    { OP_BINARY, LEAF, "binary" },
    { OP_READ_ROWS, LEAF, "cache" },
    { OP_READ_BUCKETS, LEAF, "shuffle" },
    { OP_JOIN, LEAF, "join" },
    { OP_COGROUP, LEAF, "cogroup" },
    { OP_MAP, NARROW, "map" },
    { OP_FLAT_MAP, NARROW, "flat_map" },
    { OP_FILTER, NARROW, "filter" },
    { OP_MAP_VALUES, NARROW, "map_values" },
    { OP_UNION, PAIR, "union" },
    { OP_MAP_PARTITIONS, NARROW, "map_partitions" },
    { OP_PROBE, NARROW, "join" },
    { OP_WRITE_HASH, SINK, "shuffle" },
    { OP_WRITE_RANGE, SINK, "sort" },
    { OP_COUNT, SINK, "count" },
    { OP_COLLECT, SINK, "collect" },
    { OP_REDUCE, SINK, "reduce" },
    { OP_SAVE_TEXT, SINK, "save_text" },
    { OP_WRITE_ROWS, SINK, "cache" },
    { OP_WRITE_TABLE, SINK, "table" },
    { OP_AGGREGATE, SINK, "aggregate" },
};

static const struct op_row *op_row(uint32_t op)
{
    for (size_t i = 0; i < sizeof op_rows / sizeof *op_rows; i++)
        if (op_rows[i].op == op)
            return &op_rows[i];
    return NULL;
}

const char *op_name(enum op_code op)
{
    const struct op_row *row = op_row(op);
    return row ? row->name : "?";
}

const char *type_name(fe_type t, char buf[TYPE_NAME_MAX])
{
    switch (type_kind(t)) {
    case 0: return "nothing";
    case 1: return "text";
    case 2: return "i64";
    case 3: return "f64";
    }
    snprintf(buf, TYPE_NAME_MAX, "struct of %u bytes", type_size(t));
    return buf;
}

static bool type_sane(fe_type t)
{
    if (t == FERRO_NONE || t == FERRO_TEXT || t == FERRO_I64 || t == FERRO_F64)
        return true;
    return type_kind(t) == 4 && type_size(t) > 0 && type_size(t) <= 65536;
}

static struct rec_node node_out(const struct plan_node *n)
{
    struct rec_node r = {
        .op = n->op,
        .key = n->key,
        .value = n->value,
        .in_key = n->in_key,
        .in_value = n->in_value,
        .other = n->other,
        .fn = n->fn,
        .fn_name = bytes_of(n->fn_name ? n->fn_name : ""),
        .file = bytes_of(n->file ? n->file : ""),
        .line = n->line,
        .left = n->child[0],
        .right = n->child[1],
        .kernel = n->kernel,
        .order = n->order,
        .by_value = n->by_value,
        .buckets = n->buckets,
        .side = n->side,
        .swapped = n->swapped,
        .limit = n->limit,
        .split_bytes = n->split_bytes,
        .from = (uint64_t)n->from,
        .to = (uint64_t)n->to,
        .data = n->data,
        .block_bytes = n->block_bytes,
    };
    memcpy(r.block, n->block.b, sizeof r.block);
    return r;
}

void plan_encode(struct buf *out, const struct plan *plan)
{
    struct arena a = { 0 };
    struct rec_node *nodes = arena_alloc(&a, plan->n * sizeof *nodes);
    for (uint32_t i = 0; i < plan->n; i++)
        nodes[i] = node_out(&plan->nodes[i]);
    struct msg_plan m = { .nodes = { nodes, plan->n } };
    proto_encode(out, &(struct head){ .tag = MSG_PLAN }, &m);
    arena_fini(&a);
}

static char *text_in(struct arena *a, struct bytes b)
{
    char *s = arena_alloc(a, b.n + 1u);
    if (b.n)
        memcpy(s, b.p, b.n);
    return s;
}

static struct plan_node node_in(struct arena *a, const struct rec_node *r)
{
    struct plan_node n = {
        .op = r->op,
        .key = r->key,
        .value = r->value,
        .in_key = r->in_key,
        .in_value = r->in_value,
        .other = r->other,
        .fn = r->fn,
        .fn_name = text_in(a, r->fn_name),
        .file = text_in(a, r->file),
        .line = r->line,
        .child = { r->left, r->right },
        .kernel = r->kernel,
        .order = r->order,
        .by_value = r->by_value,
        .buckets = r->buckets,
        .side = r->side,
        .swapped = r->swapped,
        .limit = r->limit,
        .split_bytes = r->split_bytes,
        .from = (int64_t)r->from,
        .to = (int64_t)r->to,
        .data = r->data,
        .block_bytes = r->block_bytes,
    };
    memcpy(n.block.b, r->block, sizeof r->block);
    return n;
}

static int node_check(const struct plan *p, uint32_t i, uint8_t *used, struct error *e)
{
    const struct plan_node *n = &p->nodes[i];
    const struct op_row *row = op_row(n->op);
    if (!row)
        return error_set(e, EPROTO, "plan: node %u: no operator has the number %u", i, n->op);
    if (!type_sane(n->key) || !type_sane(n->value) || !type_sane(n->in_key) || !type_sane(n->in_value) ||
        !type_sane(n->other))
        return error_set(e, EPROTO, "plan: node %u (%s): unknown type", i, row->name);
    if ((row->shape == SINK) != (i == p->n - 1))
        return error_set(e, EPROTO, "plan: node %u (%s): the sink is the last node, and only it", i,
                         row->name);
    uint32_t want = row->shape == LEAF ? 0 : row->shape == PAIR ? 2 : 1;
    for (uint32_t k = 0; k < 2; k++) {
        uint32_t c = n->child[k];
        if ((c != PLAN_NONE) != (k < want) || (k < want && (c >= i || used[c]++)))
            return error_set(e, EPROTO, "plan: node %u (%s): wrong children", i, row->name);
    }
    if ((n->op == OP_WRITE_HASH || n->op == OP_JOIN || n->op == OP_WRITE_TABLE) && n->buckets == 0)
        return error_set(e, EPROTO, "plan: a shuffle without buckets");
    return 0;
}

int plan_decode(struct arena *a, struct bytes body, struct plan *out, struct error *e)
{
    struct head head;
    const struct msg_plan *m = proto_decode(a, body, &head, e);
    if (!m)
        return error_prefix(e, "plan: ");
    if (head.tag != MSG_PLAN || m->nodes.n == 0)
        return error_set(e, EPROTO, "plan: these bytes are no plan");
    *out = (struct plan){ arena_alloc(a, m->nodes.n * sizeof *out->nodes), m->nodes.n };
    for (uint32_t i = 0; i < out->n; i++)
        out->nodes[i] = node_in(a, &m->nodes.v[i]);
    uint8_t *used = arena_alloc(a, out->n);
    for (uint32_t i = 0; i < out->n; i++)
        if (node_check(out, i, used, e))
            return -1;
    for (uint32_t i = 0; i + 1 < out->n; i++)
        if (!used[i])
            return error_set(e, EPROTO, "plan: node %u is used by none", i);
    return 0;
}
