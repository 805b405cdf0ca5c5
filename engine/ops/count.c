/* count.c - how many records there are: the rows of its report, which whoever asked adds up. */
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
    return 0;
}
