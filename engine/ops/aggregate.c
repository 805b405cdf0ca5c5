/* aggregate.c - all records added up in one accumulator by the user's function: a frame of it; nothing where there is
 * no record. */
#include "engine/ops/output.h"

/* Values are asked of memory so far ahead.  A function that works long on each keeps the processor from looking
 * ahead itself: k-means takes 2.4 times as long without. */
#define AHEAD_BYTES 2048

static void batch_add(struct emitter *task, fe_add *add, void *acc, const struct batch *b)
{
    fe_task *t = &task->task;
    uint32_t size = type_size(b->value.type), ahead = size ? AHEAD_BYTES / size : 0;
    emitter_see(task, b->input);
    for (uint32_t i = 0; i < b->rows && !t->failed; i++) {
        uint32_t row = b->sel ? b->sel[i] : i;
        __builtin_prefetch(b->value.data + (size_t)(row + ahead) * size);
        add(t, acc, vec_at(&b->key, row), vec_at(&b->value, row));
    }
}

int sink_aggregate(struct run *r, const struct plan_node *node, struct op *child)
{
    struct emitter task;
    const struct batch *b;
    bool some = false;
    fe_add *add = (fe_add *)(uintptr_t)run_fn(r, node);
    void *acc = arena_alloc(&r->arena, type_size(node->value));
    emitter_init(&task, r, node);
    while (!r->failed && child->next(child, &b) > 0) {
        batch_add(&task, add, acc, b);
        some |= b->rows > 0;
    }
    emitter_fini(&task);
    if (r->failed)
        return -1;
    return some ? output_one(r, node->value, acc) : 0;
}
