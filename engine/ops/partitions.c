/* partitions.c - the user's function once for a whole partition, which pulls its records itself.
 *
 * What it puts out is handed up when it has returned.
 */
#include "engine/ops/op.h"
#include "engine/records.h"

#include <stdlib.h>

struct partitions {
    struct op op;
    struct run *run;
    struct op *child;
    fe_part *fn;
    fe_rows rows; /* of the child */
    struct emitter out;
    bool called;
};

static struct partitions *of_rows(fe_rows *rows)
{
    return (struct partitions *)(void *)((char *)rows - offsetof(struct partitions, rows));
}

static int child_next(fe_rows *rows, struct batch *out)
{
    struct partitions *p = of_rows(rows);
    const struct batch *b;
    int more;
    while ((more = p->child->next(p->child, &b)) > 0 && b->rows == 0)
        ;
    if (more < 0)
        emitter_failed(&p->out); /* whatever the function makes of it */
    if (more <= 0)
        return more;
    emitter_see(&p->out, b->input);
    *out = *b;
    return 1;
}

static int function_call(struct partitions *p)
{
    fe_task *t = &p->out.task;
    int code = p->fn(t, &p->rows);
    if (code)
        fe_fail(t, "it returned %d", code);
    emitter_see(&p->out, NULL); /* its records are of no one file */
    return t->failed ? -1 : 0;
}

static int partitions_next(struct op *op, const struct batch **out)
{
    struct partitions *p = (struct partitions *)op;
    if (!p->called) {
        p->called = true;
        if (function_call(p))
            return -1;
    }
    return (*out = emitter_next(&p->out)) != NULL;
}

static void partitions_free(struct op *op)
{
    struct partitions *p = (struct partitions *)op;
    p->child->free(p->child);
    records_fini(&p->rows);
    emitter_fini(&p->out);
    free(p);
}

struct op *op_map_partitions(struct run *r, const struct plan_node *node, struct op *child)
{
    struct partitions *p = malloc(sizeof *p);
    if (!p)
        abort();
    *p = (struct partitions){ .op = { partitions_next, partitions_free },
                              .run = r,
                              .child = child,
                              .rows = { .next = child_next, .left = UINT64_MAX } };
    p->fn = (fe_part *)(uintptr_t)run_fn(r, node);
    emitter_init(&p->out, r, node);
    return &p->op;
}
