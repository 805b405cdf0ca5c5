/* buckets.c - see buckets.h. */
#include "engine/shuffle/buckets.h"

#include "engine/frame.h"

int bucket_writer_begin(struct bucket_writer *w, struct mapfile *file, fe_type key, fe_type value)
{
    *w = (struct bucket_writer){ .file = file };
    columns_init(&w->rows, key, value, true);
    if (mapfile_run(file))
        return -1;
    mapfile_mark(file);
    return 0;
}

static int flush(struct bucket_writer *w)
{
    struct batch b;
    if (!w->rows.rows)
        return 0;
    columns_batch(&w->rows, &b);
    int failed = mapfile_put(w->file, &b, NULL, 0);
    columns_reset(&w->rows);
    return failed;
}

static int advance(struct bucket_writer *w, uint32_t bucket)
{
    int failed = flush(w);
    while (w->bucket < bucket) {
        mapfile_mark(w->file);
        w->bucket++;
    }
    return failed;
}

int bucket_writer_put(struct bucket_writer *w, uint32_t bucket, uint64_t hash, fe_slice key, fe_slice value)
{
    if (bucket != w->bucket && advance(w, bucket))
        return -1;
    if (columns_full(&w->rows, key.n + value.n, FRAME_ROWS_MAX, FRAME_BYTES_MAX) && flush(w))
        return -1;
    columns_put(&w->rows, key, value, hash);
    return 0;
}

int bucket_writer_end(struct bucket_writer *w)
{
    int failed = advance(w, w->file->buckets);
    columns_fini(&w->rows);
    return failed;
}
