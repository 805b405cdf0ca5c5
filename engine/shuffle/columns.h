/* columns.h - rows being gathered into columns: the next frame, or the next batch.
 *
 * Hashes are kept where `hashed`, and go into frames only when keys are long on average (columns_batch):
 * a short key is hashed again as fast as its hash is read.  Where `lines` (texts without a key), each value gets a
 * newline, as in the text that they may become.
 */
#ifndef FERRO_SHUFFLE_COLUMNS_H
#define FERRO_SHUFFLE_COLUMNS_H

#include "engine/types.h"

#include "common/base/bytes.h"

struct columns {
    fe_type key, value;
    bool hashed, lines;
    uint32_t rows;
    struct buf keys, values, key_ends, value_ends, hashes; /* owned */
};

static inline void columns_init(struct columns *c, fe_type key, fe_type value, bool hashed)
{
    *c = (struct columns){ .key = key, .value = value, .hashed = hashed };
}

static inline size_t columns_bytes(const struct columns *c)
{
    return c->keys.n + c->values.n + c->key_ends.n + c->value_ends.n + c->hashes.n;
}

static inline void column_put(struct buf *data, struct buf *ends, fe_type t, const void *p, size_t n)
{
    if (n) {
        if (data->cap - data->n < n)
            buf_grow(data, n);
        fe_copy(data->p + data->n, data->cap - data->n, p, n);
        data->n += n;
    }
    if (t == FERRO_TEXT) {
        uint32_t end = (uint32_t)data->n;
        memcpy(ends->cap - ends->n < sizeof end ? buf_grow(ends, sizeof end) : ends->p + ends->n, &end,
               sizeof end);
        ends->n += sizeof end;
    }
}

static inline void column_line(struct buf *data)
{
    *(data->cap == data->n ? buf_grow(data, 1) : data->p + data->n) = '\n';
    data->n++;
}

static inline void columns_put(struct columns *c, fe_slice key, fe_slice value, uint64_t hash)
{
    column_put(&c->keys, &c->key_ends, c->key, key.p, key.n);
    column_put(&c->values, &c->value_ends, c->value, value.p, value.n);
    if (c->lines)
        column_line(&c->values);
    if (c->hashed)
        buf_put(&c->hashes, &hash, sizeof hash);
    c->rows++;
}

/* Would another row of this size make too large a frame (or batch)? */
static inline bool columns_full(const struct columns *c, size_t more, uint32_t rows_max, size_t bytes_max)
{
    return c->rows && (c->rows >= rows_max || columns_bytes(c) + more > bytes_max);
}

/* A batch's rows from..from+n-1; batches without `sel`. */
static inline struct batch batch_slice(const struct batch *b, uint32_t from, uint32_t n)
{
    return (struct batch){
        .rows = n,
        .hash = b->hash ? b->hash + from : NULL,
        .key = vec_from(&b->key, from),
        .value = vec_from(&b->value, from),
    };
}

void columns_batch(const struct columns *c, struct batch *out); /* valid until the next put or reset */
void columns_reset(struct columns *c);
void columns_fini(struct columns *c);

#endif
