/* collect.c - the records themselves, as frames, for the job's main; with a limit: only the first of them. */
#include "engine/frame.h"
#include "engine/ops/collect.h"
#include "engine/ops/output.h"

static int batch_put(struct output *o, const struct plan_node *node, struct batch b)
{
    struct rec_report *report = o->run->report;
    uint64_t left = node->limit ? node->limit - report->rows : UINT64_MAX;
    if (b.rows > left)
        b.rows = (uint32_t)left;
    frame_put(&o->buf, &b, FRAME_PLAIN);
    report->rows += b.rows;
    if (o->written + o->buf.n > COLLECT_BYTES_MAX)
        return run_fail(o->run, CAUSE_ERROR,
                        "%s (%s:%u): one partition alone has over %u MiB of records; "
                        "fe_save_text has no such limit",
                        op_name(node->op), node->file, node->line, COLLECT_BYTES_MAX >> 20);
    return output_drain(o);
}

int sink_collect(struct run *r, const struct plan_node *node, struct op *child)
{
    struct output o;
    const struct batch *b;
    int more = 1;
    output_init(&o, r);
    while ((!node->limit || r->report->rows < node->limit) && (more = child->next(child, &b)) > 0)
        if (batch_put(&o, node, *b)) {
            more = -1;
            break;
        }
    if (more >= 0)
        return output_result(&o);
    output_fini(&o);
    return -1;
}
