/* columns.c - see columns.h. */
#include "engine/shuffle/columns.h"

static struct vec column_vec(fe_type t, const struct buf *data, const struct buf *ends)
{
    return (struct vec){ t, 0, 0, data->p, (const uint32_t *)(const void *)ends->p };
}

void columns_batch(const struct columns *c, struct batch *out)
{
    bool carried = c->hashed && c->keys.n > (size_t)c->rows * SHORT_KEY_BYTES;
    *out = (struct batch){ .rows = c->rows,
                           .hash = carried ? (const uint64_t *)(const void *)c->hashes.p : NULL };
    out->key = column_vec(c->key, &c->keys, &c->key_ends);
    out->value = column_vec(c->value, &c->values, &c->value_ends);
    out->value.gap = out->lines = c->lines;
}

void columns_reset(struct columns *c)
{
    c->rows = 0;
    buf_reset(&c->keys);
    buf_reset(&c->values);
    buf_reset(&c->key_ends);
    buf_reset(&c->value_ends);
    buf_reset(&c->hashes);
}

void columns_fini(struct columns *c)
{
    buf_fini(&c->keys);
    buf_fini(&c->values);
    buf_fini(&c->key_ends);
    buf_fini(&c->value_ends);
    buf_fini(&c->hashes);
}
