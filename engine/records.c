/* records.c - see records.h. */
#include "engine/records.h"

#include <string.h>

/* Is there a row left?  Pulls the next batch when this one is done. */
static bool rows_more(fe_rows *r)
{
    if (r->row < r->batch.rows)
        return true;
    r->batch.rows = r->row = 0;
    if (r->ended || r->left == 0 || r->next(r, &r->batch) <= 0) {
        r->ended = true;
        r->batch.rows = 0;
        return false;
    }
    if (r->batch.rows > r->left)
        r->batch.rows = (uint32_t)r->left;
    r->left -= r->batch.rows;
    return true;
}

bool fe_rows_next(fe_rows *r, fe_slice *key, fe_slice *value)
{
    if (!r || !rows_more(r))
        return false;
    uint32_t row = r->batch.sel ? r->batch.sel[r->row] : r->row;
    r->row++;
    if (key)
        *key = vec_at(&r->batch.key, row);
    if (value)
        *value = vec_at(&r->batch.value, row);
    return true;
}

/* Rows row.. of a column as an array, copied where the batch has gaps. */
static const void *column(const fe_rows *r, const struct vec *v, struct buf *copy)
{
    uint32_t size = type_size(v->type);
    if (size == 0) /* there are none */
        return NULL;
    if (!r->batch.sel)
        return v->data + (size_t)r->row * size;
    buf_reset(copy);
    uint8_t *to = buf_grow(copy, (size_t)(r->batch.rows - r->row) * size);
    for (uint32_t i = r->row; i < r->batch.rows; i++, to += size)
        memcpy(to, v->data + (size_t)r->batch.sel[i] * size, size);
    return copy->p;
}

size_t fe_rows_array(fe_rows *r, const void **keys, const void **values)
{
    if (!r || !rows_more(r))
        return 0;
    if ((keys && r->batch.key.type == FERRO_TEXT) || (values && r->batch.value.type == FERRO_TEXT))
        return 0;
    if (keys)
        *keys = column(r, &r->batch.key, &r->keys);
    if (values)
        *values = column(r, &r->batch.value, &r->values);
    size_t rows = r->batch.rows - r->row;
    r->row = r->batch.rows;
    return rows;
}

size_t fe_rows_count(const fe_rows *r)
{
    return r ? r->count : 0;
}

void records_fini(fe_rows *r)
{
    buf_fini(&r->keys);
    buf_fini(&r->values);
}

void fe_rows_free(fe_rows **r)
{
    if (!r || !*r || !(*r)->free)
        return;
    (*r)->free(*r);
    *r = NULL;
}
