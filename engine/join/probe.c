/* probe.c - a join whose small side is a table in each host: the streamed side is not shuffled. */
#include "engine/join/pairs.h"
#include "engine/join/tables.h"

#include <stdlib.h>

struct probe {
    struct op op;
    struct op *child;
    struct pairs pairs;
};

static int pull(void *user, const struct batch **out)
{
    struct op *child = user;
    return child->next(child, out);
}

static int probe_next(struct op *op, const struct batch **out)
{
    return pairs_next(&((struct probe *)op)->pairs, out);
}

static void probe_free(struct op *op)
{
    struct probe *p = (struct probe *)op;
    p->child->free(p->child);
    pairs_fini(&p->pairs);
    free(p);
}

struct op *op_probe(struct run *r, const struct plan_node *node, struct op *child)
{
    struct tables **tables = &r->sides[node->side];
    if (!*tables && !(*tables = tables_open(r, node)))
        return NULL;
    struct probe *p = calloc(1, sizeof *p);
    if (!p)
        abort();
    p->op = (struct op){ probe_next, probe_free };
    p->child = child;
    p->pairs.lookups = tables_lookups(*tables);
    p->pairs.swapped = node->swapped;
    pairs_init(&p->pairs, r, node, pull, child);
    return &p->op;
}
