/* batch.h - how records move inside a task: many at a time, pulled.
 *
 * An operator's next() hands up a batch of at most BATCH_ROWS rows (and about
 * 64 KiB; a larger row comes alone) that is valid until its next call.
 */
#ifndef FERRO_ENGINE_BATCH_H
#define FERRO_ENGINE_BATCH_H

#include "engine/plan.h"

#define BATCH_ROWS 1024
#define BATCH_BYTES (64u << 10)

/* One column.  Fixed size: an array of type_size() bytes each.  Text: row i is
 * data[start(i) .. end[i]), start(0) = first, start(i) = end[i-1] + gap: the
 * lines of a mapped file need no copy (gap 1: the newline).  None: no data. */
struct vec {
    fe_type type;
    uint32_t first, gap;
    const uint8_t *data;
    const uint32_t *end;
};

struct batch {
    uint32_t rows;
    const uint16_t *sel;  /* NULL, or `rows` indexes of the rows that count (a filter's) */
    const uint64_t *hash; /* NULL, or each row's key hash (indexed like the columns) */
    const char *input;    /* NULL, or the path of the file that all rows come from */
    struct vec key, value;
    bool lasting; /* `data` stays as long as the operators do: the lines of a mapped file */
    bool lines;   /* no key, and a newline in `data` behind each value: gap is 1 */
};

static inline fe_slice vec_at(const struct vec *v, uint32_t row)
{
    fe_slice s;
    uint32_t size = v->type & 0x0fffffff;
    if (v->type == FERRO_TEXT) {
        uint32_t start = row ? v->end[row - 1] + v->gap : v->first;
        s.p = (const char *)v->data + start;
        s.n = v->end[row] - start;
    } else {
        s.p = (const char *)v->data + (size_t)row * size;
        s.n = size;
    }
    return s;
}

/* The column without its first `row` rows. */
static inline struct vec vec_from(const struct vec *v, uint32_t row)
{
    struct vec from = *v;
    if (v->type == FERRO_TEXT) {
        from.first = row ? v->end[row - 1] + v->gap : v->first;
        from.end += row;
    } else if (v->data)
        from.data += (size_t)row * (v->type & 0x0fffffff);
    return from;
}

/* A pull operator.  next(): 1 and a batch, 0 at the end, -1 after task_fail(). */
struct op {
    int (*next)(struct op *, const struct batch **);
    void (*free)(struct op *); /* frees its child too */
};

#endif
