/* read_groups.c - a reduce's leaf: the user's function called for each key, with all its values, of one side or of two. */
#include "engine/shuffle/grouped.h"

#include <stdlib.h>

struct read_groups {
    struct op op;
    struct run *run;
    const struct plan_node *node;
    struct grouped sides[2]; /* left, right */
    uint32_t nsides;
    bool begun;
    struct group group; /* under way */
    struct emitter emitter;
};

static int gather(struct read_groups *g)
{
    for (uint32_t i = 0; i < g->nsides; i++)
        if (grouped_gather(&g->sides[i]))
            return -1;
    return 0;
}

/* ---- groups -------------------------------------------------------------------------- */

static bool before(fe_type key, const struct row *a, const struct row *b)
{
    return a->hash != b->hash ? a->hash < b->hash : type_compare(key, a->key, b->key) < 0;
}

/* The first of the sides' next rows; false: there is none, or run_fail(). */
static bool first_row(struct read_groups *g, struct row *first)
{
    bool any = false;
    for (uint32_t i = 0; i < g->nsides; i++) {
        struct row row;
        if (!grouped_peek(&g->sides[i], &row))
            continue;
        if (!any || before(g->node->in_key, &row, first))
            *first = row;
        any = true;
    }
    return any && !g->run->failed;
}

static void call(struct read_groups *g)
{
    const void *fn = run_fn(g->run, g->node);
    fe_task *task = &g->emitter.task;
    fe_slice key = group_key(&g->group);
    if (g->nsides == 2)
        ((fe_cogroup_fn *)(uintptr_t)fn)(task, key, &g->sides[0].values, &g->sides[1].values);
    else
        ((fe_group *)(uintptr_t)fn)(task, key, &g->sides[0].values);
}

/* The function for one more key: 1, 0 when there is none, -1 after run_fail(). */
static int next_group(struct read_groups *g)
{
    fe_slice value;
    struct row row = { 0 };
    if (!first_row(g, &row))
        return g->run->failed ? -1 : 0;
    buf_reset(&g->group.key);
    buf_put(&g->group.key, row.key.p, row.key.n);
    g->group.hash = row.hash;
    emitter_see(&g->emitter, NULL);
    call(g);
    for (uint32_t i = 0; i < g->nsides; i++)
        while (fe_next_value(&g->sides[i].values, &value))
            ; /* what the function left */
    return g->emitter.task.failed || g->run->failed ? -1 : 1;
}

/* ---- the operator ------------------------------------------------------------------------ */

static int read_groups_next(struct op *op, const struct batch **out)
{
    struct read_groups *g = (struct read_groups *)op;
    if (!g->begun) {
        g->begun = true;
        if (gather(g))
            return -1;
    }
    while (!(*out = emitter_next(&g->emitter))) {
        int got = 1;
        emitter_reset(&g->emitter);
        while (!emitter_full(&g->emitter) && (got = next_group(g)) > 0)
            ;
        if (got < 0)
            return -1;
        if (got == 0 && g->emitter.task.rows == 0)
            return 0;
    }
    return 1;
}

static void read_groups_free(struct op *op)
{
    struct read_groups *g = (struct read_groups *)op;
    for (uint32_t i = 0; i < g->nsides; i++)
        grouped_fini(&g->sides[i]);
    buf_fini(&g->group.key);
    emitter_fini(&g->emitter);
    free(g);
}

struct op *op_read_groups(struct run *r, const struct leaf *leaf)
{
    struct read_groups *g = calloc(1, sizeof *g);
    if (!g)
        abort();
    g->op = (struct op){ read_groups_next, read_groups_free };
    g->run = r;
    g->node = leaf->node;
    g->nsides = leaf->node->op == OP_COGROUP ? 2 : 1;
    emitter_init(&g->emitter, r, leaf->node);
    int failed = 0;
    for (uint32_t i = 0; i < g->nsides && !failed; i++)
        failed = grouped_init(&g->sides[i], r, leaf, i == 1, i ? leaf->node->other : leaf->node->in_value,
                              r->budget / 2 / g->nsides, &g->group);
    if (!failed)
        return &g->op;
    read_groups_free(&g->op);
    return NULL;
}
