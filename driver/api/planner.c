/* planner.c - from the lineage to stages: cut at each shuffle.
 *
 * A stage's plan is its tree of nodes, children first.  A shuffle becomes the
 * sink of one stage and a leaf of the next; a shuffle that two branches read is
 * written once.
 */
#include "driver/api/set.h"

#include <errno.h>
#include <string.h>

#define NAME_BYTES 80  /* about so long is a stage's name for people */
#define DEPTH_MAX 4096 /* of builders on one another */

struct cut {
    struct arena *arena;
    struct error *e;
    struct stage_spec *stages;
    const fe_set **shuffles; /* stage i writes the shuffle of this set */
    uint32_t nstages;
    uint32_t depth;
};

/* The stage that is being put together. */
struct draft {
    struct buf nodes, inputs; /* of struct plan_node, struct stage_input */
    uint32_t nnodes, ninputs;
    struct buf name;
    struct plan_node named; /* the first that the name is of: its place is the stage's */
};

static int stage_cut(struct cut *c, const fe_set *last, struct plan_node sink, enum stage_kind kind,
                     const fe_set *shuffle);

static bool is_shuffle(enum op_code op)
{
    return op == OP_READ_HASH || op == OP_READ_GROUPS || op == OP_READ_SORTED;
}

/* The sink of the map stage before shuffle `s`. */
static struct plan_node shuffle_sink(const fe_set *s)
{
    struct plan_node sink = s->node;
    bool sorted = s->node.op == OP_READ_SORTED;
    sink.op = sorted ? OP_WRITE_RANGE : OP_WRITE_HASH;
    sink.buckets = sorted ? 0 : s->parts ? s->parts : BUCKETS_DEFAULT;
    if (s->node.op ==
        OP_READ_GROUPS) { /* partitions only: the function sees whole groups, after the shuffle */
        sink.fn = 0;
        sink.data = (struct bytes){ 0 };
    }
    return sink;
}

/* The stage that writes shuffle `s`; it may have been cut for another branch. -1: error. */
static int64_t shuffle_stage(struct cut *c, const fe_set *s)
{
    for (uint32_t i = 0; i < c->nstages; i++)
        if (c->shuffles[i] == s->origin)
            return i;
    enum stage_kind kind = s->node.op == OP_READ_SORTED ? STAGE_RANGE : STAGE_HASH;
    c->depth++;
    if (stage_cut(c, s->child[0], shuffle_sink(s), kind, s->origin))
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

static void input_add(struct draft *d, uint32_t parts, uint32_t shuffle)
{
    struct stage_input in = { parts, shuffle, shuffle };
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

/* A leaf: a source, or a shuffle whose stage is cut off here. */
static int64_t leaf_add(struct cut *c, struct draft *d, const fe_set *s)
{
    struct plan_node node = s->node;
    int64_t stage = is_shuffle(node.op) ? shuffle_stage(c, s) : STAGE_NO_SHUFFLE;
    if (stage < 0)
        return -1;
    if (node.kernel == FERRO_COUNT)
        node.kernel = FERRO_SUM; /* counts were made in the map task */
    input_add(d, s->parts, (uint32_t)stage);
    name_add(d, &node);
    return node_add(c, d, node);
}

/* Add the subtree of `s`: the index of its node, or -1. */
static int64_t subtree_add(struct cut *c, struct draft *d, const fe_set *s)
{
    struct plan_node node = s->node;
    if (c->depth == DEPTH_MAX)
        return error_set(c->e, E2BIG, "%s:%u: over %u builders on one another", node.file, node.line,
                         DEPTH_MAX);
    if (is_shuffle(node.op) || !s->child[0])
        return leaf_add(c, d, s);
    c->depth++;
    for (int k = 0; k < 2 && s->child[k]; k++) {
        int64_t child = subtree_add(c, d, s->child[k]);
        if (child < 0)
            return -1;
        node.child[k] = (uint32_t)child;
    }
    c->depth--;
    name_add(d, &node);
    return node_add(c, d, node);
}

static const char *text_kept(struct arena *a, const struct buf *b)
{
    char *s = arena_alloc(a, b->n + 1);
    memcpy(s, b->p, b->n);
    return s;
}

static int stage_finish(struct cut *c, struct draft *d, const struct plan_node *sink, enum stage_kind kind,
                        const fe_set *shuffle)
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
    c->shuffles[c->nstages] = shuffle;
    c->stages[c->nstages++] = (struct stage_spec){
        .kind = kind,
        .body = kept,
        .buckets = sink->buckets,
        .ninputs = d->ninputs,
        .inputs = arena_copy(c->arena, d->inputs.p, d->inputs.n),
        .name = text_kept(c->arena, &d->name),
        .place = text_kept(c->arena, &place),
    };
    buf_fini(&place);
    return 0;
}

static int stage_cut(struct cut *c, const fe_set *last, struct plan_node sink, enum stage_kind kind,
                     const fe_set *shuffle)
{
    struct draft d = { 0 };
    int64_t child = subtree_add(c, &d, last);
    sink.child[0] = (uint32_t)child;
    sink.child[1] = PLAN_NONE;
    sink.key = last->node.key;
    sink.value = last->node.value;
    int failed = child < 0 || node_add(c, &d, sink) < 0 || stage_finish(c, &d, &sink, kind, shuffle);
    buf_fini(&d.nodes);
    buf_fini(&d.inputs);
    buf_fini(&d.name);
    return failed ? -1 : 0;
}

int planner_cut(struct arena *a, const fe_set *last, struct plan_node sink, enum stage_kind kind,
                struct job_spec *out, struct error *e)
{
    struct cut c = {
        .arena = a,
        .e = e,
        .stages = arena_alloc(a, JOB_STAGES_MAX * sizeof *c.stages),
        .shuffles = arena_alloc(a, JOB_STAGES_MAX * sizeof *c.shuffles),
    };
    if (stage_cut(&c, last, sink, kind, NULL))
        return -1;
    *out = (struct job_spec){ .stages = c.stages, .nstages = c.nstages };
    return 0;
}
