/* count.c - how many records there are: eight bytes; none when there is none. */
#include "engine/ops/op.h"

int sink_count(struct run *r, const struct plan_node *node, struct op *child)
{
    (void)node;
    const struct batch *b;
    uint64_t count = 0;
    int more;
    while ((more = child->next(child, &b)) > 0)
        count += b->rows;
    if (more < 0)
        return -1;
    r->report->rows = count;
    if (count)
        r->report->result = (struct bytes){ arena_copy(&r->arena, &count, sizeof count), sizeof count };
    return 0;
}
