/* save_text.c - records as lines: key, tab, value, newline.  No key: the value alone; structs as hex. */
#include "engine/number.h"
#include "engine/ops/collect.h"
#include "engine/ops/output.h"

static void hex_put(struct buf *out, fe_slice s)
{
    static const char digits[] = "0123456789abcdef";
    uint8_t *to = buf_grow(out, 2 * s.n);
    for (size_t i = 0; i < s.n; i++) {
        *to++ = (uint8_t)digits[(uint8_t)s.p[i] >> 4];
        *to++ = (uint8_t)digits[s.p[i] & 15];
    }
    out->n += 2 * s.n;
}

static void field_put(struct buf *out, fe_type type, fe_slice s)
{
    if (type == FERRO_TEXT) {
        if (s.n)
            buf_put(out, s.p, s.n);
    } else if (type == FERRO_I64 || type == FERRO_F64) {
        char *to = (char *)buf_grow(out, NUMBER_TEXT_MAX);
        out->n += type == FERRO_I64 ? number_put_i64(to, fe_i64(s)) : number_put_f64(to, fe_f64(s));
    } else
        hex_put(out, s);
}

static void byte_put(struct buf *out, uint8_t c)
{
    *buf_grow(out, 1) = c;
    out->n++;
}

static void batch_put(struct buf *out, const struct batch *b)
{
    if (b->lines && !b->sel) {
        buf_put(out, b->value.data + b->value.first, b->value.end[b->rows - 1] + 1u - b->value.first);
        return;
    }
    bool both = b->key.type != FERRO_NONE && b->value.type != FERRO_NONE;
    for (uint32_t i = 0; i < b->rows; i++) {
        uint32_t row = b->sel ? b->sel[i] : i;
        field_put(out, b->key.type, vec_at(&b->key, row));
        if (both)
            byte_put(out, '\t');
        field_put(out, b->value.type, vec_at(&b->value, row));
        byte_put(out, '\n');
    }
}

/* Lines that the job's main prints lie in its memory. */
static int over_limit(const struct output *o, const struct plan_node *node)
{
    if (o->run->stage->save_dir.n || o->written + o->buf.n <= COLLECT_BYTES_MAX)
        return 0;
    return run_fail(o->run, CAUSE_ERROR,
                    "%s (%s:%u): one partition alone has over %u MiB to print; save it in a folder",
                    op_name(node->op), node->file, node->line, COLLECT_BYTES_MAX >> 20);
}

int sink_save_text(struct run *r, const struct plan_node *node, struct op *child)
{
    struct output o;
    const struct batch *b;
    int more;
    output_init(&o, r);
    while ((more = child->next(child, &b)) > 0) {
        batch_put(&o.buf, b);
        r->report->rows += b->rows;
        if (over_limit(&o, node) || output_drain(&o)) {
            more = -1;
            break;
        }
    }
    if (more == 0)
        return r->stage->save_dir.n ? output_part(&o) : output_result(&o);
    output_fini(&o);
    return -1;
}
