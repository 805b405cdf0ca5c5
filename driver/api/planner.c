/* planner.c - from the lineage to stages: cut at each shuffle, and at what is cached.
 *
 * A stage's plan is its tree of nodes, children first.  A shuffle becomes the
 * sink of one stage and a leaf of the next; a shuffle that two branches read is
 * written once.  A join has a shuffle a side; one with a table has two stages that make it
 * beside the tree.
 */
#include "driver/api/set.h"

#include <errno.h>
#include <string.h>

#define NAME_BYTES 80  /* about so long is a stage's name for people */
#define DEPTH_MAX 4096 /* of builders on one another */
#define SIDES_MAX 64   /* messages.def */

/* What a stage makes of a set, so that nothing is made twice. */
struct product {
    const fe_set *set; /* an origin; NULL: the job's result */
    enum { SHUFFLE_OF_LEFT, SHUFFLE_OF_RIGHT, ROWS_OF_CACHE, SHUFFLE_OF_SIDE, TABLE_OF_SIDE } what;
};

struct cut {
    struct arena *arena;
    struct error *e;
    struct stage_spec *stages;
    struct product *products; /* by stage */
    uint32_t nstages;
    uint32_t depth;
};

/* The stage that is being put together. */
struct draft {
    struct buf nodes, inputs, sides; /* of struct plan_node, struct stage_input, uint32_t */
    uint32_t nnodes, ninputs, nsides;
    struct buf name;
    struct plan_node named; /* the first that the name is of: its place is the stage's */
};

static int stage_cut(struct cut *c, const fe_set *last, struct plan_node sink, enum stage_kind kind,
                     struct product product);

static bool is_join(enum op_code op)
{
    return op == OP_JOIN || op == OP_COGROUP;
}

/* Does a stage end below it? */
static bool is_cut(const fe_set *s)
{
    enum op_code op = s->node.op;
    return op == OP_READ_HASH || op == OP_READ_GROUPS || op == OP_READ_SORTED || op == OP_READ_ROWS ||
           op == OP_READ_BUCKETS || is_join(op);
}

/* A node of set `s` that calls no function of the user's. */
static struct plan_node plain_node(const fe_set *s, enum op_code op)
{
    struct plan_node node = {
        .op = op,
        .fn_name = s->origin->name,
        .file = s->node.file,
        .line = s->node.line,
        .child = { PLAN_NONE, PLAN_NONE },
    };
    return node;
}

/* A sink that partitions only. */
static struct plan_node buckets_sink(const fe_set *s, uint32_t parts)
{
    struct plan_node sink = plain_node(s, OP_WRITE_HASH);
    sink.buckets = parts ? parts : BUCKETS_DEFAULT;
    return sink;
}

/* The sink of the map stage before shuffle `s`. */
static struct plan_node shuffle_sink(const fe_set *s)
{
    struct plan_node sink = s->node;
    bool sorted = s->node.op == OP_READ_SORTED;
    if (s->node.op == OP_READ_GROUPS || s->node.op == OP_READ_BUCKETS ||
        is_join(s->node.op)) /* whose functions, if any, see whole groups, afterwards */
        return buckets_sink(s, s->parts);
    sink.op = sorted ? OP_WRITE_RANGE : OP_WRITE_HASH;
    if (sink.kernel == FERRO_AGGREGATE)
        sink.fn = s->add;
    sink.buckets = sorted ? 0 : s->parts ? s->parts : BUCKETS_DEFAULT;
    return sink;
}

/* The stage that makes it, if it was cut before; -1. */
static int64_t stage_find(const struct cut *c, struct product p)
{
    for (uint32_t i = 0; i < c->nstages; i++)
        if (c->products[i].set == p.set && c->products[i].what == p.what)
            return i;
    return -1;
}

/* The stage that makes `what` of set `s` from `child`; it may have been cut for another branch.  -1: error. */
static int64_t stage_of(struct cut *c, const fe_set *child, struct plan_node sink, enum stage_kind kind,
                        struct product product)
{
    int64_t known = stage_find(c, product);
    if (known >= 0)
        return known;
    c->depth++;
    if (stage_cut(c, child, sink, kind, product))
        return -1;
    c->depth--;
    return c->nstages - 1;
}

static int64_t node_add(struct cut *c, struct draft *d, struct plan_node node)
{
    if (d->nnodes == PLAN_NODES_MAX)
        return error_set(c->e, E2BIG, "%s:%u: the plan of one stage has over %u operators", node.file,
                         node.line, PLAN_NODES_MAX);
    buf_put(&d->nodes, &node, sizeof node);
    return d->nnodes++;
}

static void input_add(struct draft *d, uint32_t parts, int64_t shuffle, int64_t other)
{
    struct stage_input in = { parts, (uint32_t)shuffle, (uint32_t)other };
    buf_put(&d->inputs, &in, sizeof in);
    d->ninputs++;
}

/* Users' functions name a stage; where there is none, its first operator does. */
static void name_add(struct draft *d, const struct plan_node *n)
{
    if (n->fn && !d->name.n)
        d->named = *n;
    if (n->fn && d->name.n < NAME_BYTES)
        buf_printf(&d->name, "%s%s", d->name.n ? " " : "", n->fn_name);
}

static void name_end(struct draft *d)
{
    if (d->name.n)
        return;
    d->named = *(const struct plan_node *)d->nodes.p;
    buf_printf(&d->name, "%s", d->named.fn_name);
}

/* The stages that a leaf reads, which are cut off here. */
static int leaf_inputs(struct cut *c, const fe_set *s, int64_t *shuffle, int64_t *other)
{
    enum op_code op = s->node.op;
    enum stage_kind kind = op == OP_READ_SORTED ? STAGE_RANGE : op == OP_READ_ROWS ? STAGE_ROWS : STAGE_HASH;
    struct plan_node sink = op == OP_READ_ROWS ? plain_node(s, OP_WRITE_ROWS) : shuffle_sink(s);
    *shuffle = *other = STAGE_NO_SHUFFLE;
    if (!is_cut(s))
        return 0;
    *shuffle = *other =
        stage_of(c, s->child[0], sink, kind,
                 (struct product){ s->origin, kind == STAGE_ROWS ? ROWS_OF_CACHE : SHUFFLE_OF_LEFT });
    if (*shuffle >= 0 && is_join(op) && s->child[0]->origin != s->child[1]->origin) /* else read twice */
        *other = stage_of(c, s->child[1], sink, kind, (struct product){ s->origin, SHUFFLE_OF_RIGHT });
    return *shuffle < 0 || *other < 0 ? -1 : 0;
}

/* A leaf: a source, or what another stage makes. */
static int64_t leaf_add(struct cut *c, struct draft *d, const fe_set *s)
{
    struct plan_node node = s->node;
    int64_t shuffle, other;
    if (leaf_inputs(c, s, &shuffle, &other))
        return -1;
    if (node.kernel == FERRO_COUNT)
        node.kernel = FERRO_SUM; /* counts were made in the map task */
    if (is_join(node.op))
        node.buckets = shuffle_sink(s).buckets;
    input_add(d, node.op == OP_READ_ROWS ? 0 : s->parts, shuffle, other);
    name_add(d, &node);
    return node_add(c, d, node);
}

static int stage_finish(struct cut *c, struct draft *d, const struct plan_node *sink, enum stage_kind kind,
                        struct product product);
static void draft_fini(struct draft *d);

/* The stage that makes the table of a join from the buckets of its side. */
static int64_t table_stage(struct cut *c, const fe_set *s)
{
    const fe_set *side = s->side;
    struct product product = { side->origin, TABLE_OF_SIDE };
    int64_t known = stage_find(c, product);
    if (known >= 0)
        return known;
    int64_t buckets =
        stage_of(c, side, buckets_sink(s, 0), STAGE_HASH, (struct product){ side->origin, SHUFFLE_OF_SIDE });
    if (buckets < 0)
        return -1;
    struct draft d = { 0 };
    struct plan_node leaf = plain_node(s, OP_READ_BUCKETS), sink = plain_node(s, OP_WRITE_TABLE);
    leaf.key = leaf.in_key = sink.key = side->node.key;
    leaf.value = leaf.in_value = sink.value = side->node.value;
    sink.child[0] = 0;
    sink.buckets = c->stages[buckets].buckets;
    input_add(&d, 0, buckets, buckets);
    int failed = node_add(c, &d, leaf) < 0 || node_add(c, &d, sink) < 0 ||
                 stage_finish(c, &d, &sink, STAGE_TABLE, product);
    draft_fini(&d);
    return failed ? -1 : (int64_t)c->nstages - 1;
}

/* The stage that makes the table of the join `s` becomes a side of the draft: which one.  -1: error. */
static int64_t side_add(struct cut *c, struct draft *d, const fe_set *s)
{
    int64_t stage = table_stage(c, s);
    if (stage < 0)
        return -1;
    if (d->nsides == SIDES_MAX)
        return error_set(c->e, E2BIG, "%s:%u: over %u joins with a table in one stage", s->node.file,
                         s->node.line, SIDES_MAX);
    buf_put(&d->sides, &(uint32_t){ (uint32_t)stage }, sizeof(uint32_t));
    return d->nsides++;
}

/* The node of `s`, whose children and side are in: apart from subtree_add(), so that its frames stay small. */
static int64_t node_of(struct cut *c, struct draft *d, const fe_set *s, const uint32_t child[2],
                       uint32_t side)
{
    struct plan_node node = s->node;
    memcpy(node.child, child, sizeof node.child);
    node.side = side;
    name_add(d, &node);
    return node_add(c, d, node);
}

/* Add the subtree of `s`: the index of its node, or -1. */
static int64_t subtree_add(struct cut *c, struct draft *d, const fe_set *s)
{
    uint32_t child[2] = { PLAN_NONE, PLAN_NONE };
    if (c->depth == DEPTH_MAX)
        return error_set(c->e, E2BIG, "%s:%u: over %u builders on one another", s->node.file, s->node.line,
                         DEPTH_MAX);
    if (is_cut(s) || !s->child[0])
        return leaf_add(c, d, s);
    c->depth++;
    for (int k = 0; k < 2 && s->child[k]; k++) {
        int64_t at = subtree_add(c, d, s->child[k]);
        if (at < 0)
            return -1;
        child[k] = (uint32_t)at;
    }
    int64_t side = s->side ? side_add(c, d, s) : 0;
    c->depth--;
    return side < 0 ? -1 : node_of(c, d, s, child, (uint32_t)side);
}

static const char *text_kept(struct arena *a, const struct buf *b)
{
    char *s = arena_alloc(a, b->n + 1);
    memcpy(s, b->p, b->n);
    return s;
}

static int stage_finish(struct cut *c, struct draft *d, const struct plan_node *sink, enum stage_kind kind,
                        struct product product)
{
    struct buf body = { 0 };
    plan_encode(&body, &(struct plan){ (struct plan_node *)d->nodes.p, d->nnodes });
    struct bytes kept = arena_bytes(c->arena, (struct bytes){ body.p, (uint32_t)body.n });
    buf_fini(&body);
    if (kept.n > PLAN_BODY_BYTES_MAX)
        return error_set(c->e, E2BIG, "%s:%u: the plan of one stage has %u bytes, at most %u", sink->file,
                         sink->line, kept.n, PLAN_BODY_BYTES_MAX);
    if (c->nstages == JOB_STAGES_MAX)
        return error_set(c->e, E2BIG, "%s:%u: the job has over %u stages", sink->file, sink->line,
                         JOB_STAGES_MAX);
    struct buf place = { 0 };
    name_end(d);
    buf_printf(&place, "%s:%u", d->named.file, d->named.line);
    c->products[c->nstages] = product;
    c->stages[c->nstages++] = (struct stage_spec){
        .kind = kind,
        .body = kept,
        .buckets = sink->buckets,
        .ninputs = d->ninputs,
        .inputs = arena_copy(c->arena, d->inputs.p, d->inputs.n),
        .nsides = d->nsides,
        .sides = arena_copy(c->arena, d->sides.p, d->sides.n),
        .keep = kind == STAGE_ROWS ? product.set->keep : 0,
        .name = text_kept(c->arena, &d->name),
        .place = text_kept(c->arena, &place),
    };
    buf_fini(&place);
    return 0;
}

static void draft_fini(struct draft *d)
{
    buf_fini(&d->nodes);
    buf_fini(&d->inputs);
    buf_fini(&d->sides);
    buf_fini(&d->name);
}

static int stage_cut(struct cut *c, const fe_set *last, struct plan_node sink, enum stage_kind kind,
                     struct product product)
{
    struct draft d = { 0 };
    int64_t child = subtree_add(c, &d, last);
    sink.child[0] = (uint32_t)child;
    sink.child[1] = PLAN_NONE;
    if (sink.op == OP_AGGREGATE) { /* its value is the accumulator */
        sink.in_key = last->node.key;
        sink.in_value = last->node.value;
    } else {
        sink.key = last->node.key;
        if (sink.kernel != FERRO_AGGREGATE) /* as here */
            sink.value = last->node.value;
    }
    int failed = child < 0 || node_add(c, &d, sink) < 0 || stage_finish(c, &d, &sink, kind, product);
    draft_fini(&d);
    return failed ? -1 : 0;
}

int planner_cut(struct arena *a, const fe_set *last, struct plan_node sink, enum stage_kind kind,
                struct job_spec *out, struct error *e)
{
    struct cut c = {
        .arena = a,
        .e = e,
        .stages = arena_alloc(a, JOB_STAGES_MAX * sizeof *c.stages),
        .products = arena_alloc(a, JOB_STAGES_MAX * sizeof *c.products),
    };
    if (stage_cut(&c, last, sink, kind, (struct product){ NULL, SHUFFLE_OF_LEFT }))
        return -1;
    *out = (struct job_spec){ .stages = c.stages, .nstages = c.nstages };
    return 0;
}
