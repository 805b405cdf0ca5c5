/* reduce.c - all values merged into one by the user's function: a frame of no or one value. */
#include "engine/ops/output.h"

struct reducing {
    struct emitter task; /* the task that the function sees */
    fe_merge *merge;
    void *acc;
    uint32_t size;
    bool some;
};

static void batch_merge(struct reducing *m, const struct batch *b)
{
    emitter_see(&m->task, NULL);
    for (uint32_t i = 0; i < b->rows && !m->task.task.failed; i++) {
        fe_slice value = vec_at(&b->value, b->sel ? b->sel[i] : i);
        if (m->some)
            m->merge(&m->task.task, m->acc, value.p);
        else
            memcpy(m->acc, value.p, m->size);
        m->some = true;
    }
}

int sink_reduce(struct run *r, const struct plan_node *node, struct op *child)
{
    struct reducing m = { .size = type_size(node->value) };
    const struct batch *b;
    int more;
    m.merge = (fe_merge *)(uintptr_t)run_fn(r, node);
    m.acc = arena_alloc(&r->arena, m.size);
    emitter_init(&m.task, r, node);
    while (!r->failed && (more = child->next(child, &b)) > 0)
        batch_merge(&m, b);
    emitter_fini(&m.task);
    if (r->failed)
        return -1;
    return m.some ? output_one(r, node->value, m.acc) : 0;
}
