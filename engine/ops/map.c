/* map.c - the user's function for each record: map, flat_map, map_values.
 *
 * What is put out is gathered until it makes a full batch, over as many of the
 * child's batches as that takes (of one file, where a further function may ask for its name); a function that puts out much more than one
 * batch in a call is handed up in slices.
 */
#include "engine/ops/op.h"

#include <stdlib.h>

struct map {
    struct op op;
    struct run *run;
    const struct plan_node *node;
    struct op *child;
    fe_each *fn;
    struct emitter out, keys; /* keys: of map_values, when the child's rows have gaps */
    const struct batch *in;
    uint32_t at;       /* rows of `in` that the function has seen */
    bool exact, ended; /* exact: one call, one record */
    bool last;         /* no function sees what this one puts out */
    struct batch batch;
};

static int pull(struct map *m)
{
    int r = m->ended ? 0 : m->child->next(m->child, &m->in);
    m->at = 0;
    m->ended = r == 0;
    if (r <= 0)
        m->in = NULL;
    return r;
}

static int wrong_count(struct map *m, uint32_t count)
{
    const struct plan_node *n = m->node;
    return run_fail(m->run, CAUSE_ERROR,
                    "%s (%s:%u): it put out %u records in one call; fe_%s wants exactly one%s", n->fn_name,
                    n->file, n->line, count, op_name(n->op),
                    n->op == OP_MAP ? " (fe_flat_map takes any number)" : "");
}

static inline uint32_t row_of(const struct batch *b, uint32_t i)
{
    return b->sel ? b->sel[i] : i;
}

/* Call the function until its records make a batch or the child's batch is done. */
static int rows_call(struct map *m)
{
    const struct batch *b = m->in;
    fe_task *t = &m->out.task;
    emitter_see(&m->out, b->input);
    while (m->at < b->rows && !emitter_full(&m->out)) {
        uint32_t row = row_of(b, m->at++), before = t->rows;
        m->fn(t, vec_at(&b->key, row), vec_at(&b->value, row));
        if (t->failed)
            return -1;
        if (m->exact && t->rows != before + 1)
            return wrong_count(m, t->rows - before);
    }
    return 0;
}

static int map_next(struct op *op, const struct batch **out)
{
    struct map *m = (struct map *)op;
    if ((*out = emitter_next(&m->out)))
        return 1;
    emitter_reset(&m->out);
    while (!emitter_full(&m->out)) {
        if (!m->in || m->at == m->in->rows) {
            int r = pull(m);
            if (r < 0)
                return -1;
            if (r == 0)
                break;
        }
        if (!m->last && m->out.task.rows && m->out.input != m->in->input)
            break;
        if (rows_call(m))
            return -1;
    }
    return (*out = emitter_next(&m->out)) != NULL;
}

/* ---- map_values: the keys pass through -------------------------------------------- */

static fe_datum key_datum(fe_type type, fe_slice s)
{
    fe_datum d = { .kind = type };
    if (type == FERRO_I64 || type == FERRO_F64)
        memcpy(&d.u, s.p, 8);
    else
        d.u.s = s;
    return d;
}

/* Rows from..at-1 of a batch with gaps: their keys, copied without them. */
static struct vec keys_copy(struct map *m, uint32_t from)
{
    emitter_reset(&m->keys);
    for (uint32_t i = from; i < m->at; i++)
        fe_emit_datum(&m->keys.task, key_datum(m->node->key, vec_at(&m->in->key, row_of(m->in, i))),
                      FERRO_NOTHING);
    const struct fe_column *c = &m->keys.task.key;
    return (struct vec){ .type = c->type, .data = c->data, .end = c->end };
}

static int values_next(struct op *op, const struct batch **out)
{
    struct map *m = (struct map *)op;
    while (!m->in || m->at == m->in->rows) {
        int r = pull(m);
        if (r <= 0)
            return r;
    }
    uint32_t from = m->at;
    emitter_reset(&m->out);
    if (rows_call(m))
        return -1;
    const struct fe_column *c = &m->out.task.value;
    m->batch = (struct batch){
        .rows = m->at - from,
        .input = m->in->input,
        .key = m->in->sel ? keys_copy(m, from) : vec_from(&m->in->key, from),
        .hash = m->in->hash && !m->in->sel ? m->in->hash + from : NULL,
        .value = { .type = c->type, .data = c->data, .end = c->end },
    };
    *out = &m->batch;
    return m->keys.task.failed ? -1 : 1;
}

/* ---- making -------------------------------------------------------------------------- */

static void map_free(struct op *op)
{
    struct map *m = (struct map *)op;
    m->child->free(m->child);
    emitter_fini(&m->out);
    emitter_fini(&m->keys);
    free(m);
}

struct op *op_map(struct run *r, const struct plan_node *node, struct op *child)
{
    struct map *m = malloc(sizeof *m);
    if (!m)
        abort();
    bool values = node->op == OP_MAP_VALUES;
    *m = (struct map){
        .op = { values ? values_next : map_next, map_free }, .run = r, .node = node, .child = child
    };
    m->fn = (fe_each *)(uintptr_t)run_fn(r, node);
    m->exact = node->op != OP_FLAT_MAP;
    const struct plan_node *sink = &r->plan->nodes[r->plan->n - 1];
    bool adds = sink->op == OP_AGGREGATE || sink->kernel == FERRO_AGGREGATE;
    m->last = !adds && sink->child[0] == (uint32_t)(node - r->plan->nodes);
    emitter_init(&m->out, r, node);
    emitter_init(&m->keys, r, node);
    m->keys.task.key.type = node->key;
    m->keys.task.value.type = FERRO_NONE;
    return &m->op;
}
