/* write_rows.c - a cached partition: its rows as they come, in frames.  Without rows there is no file. */
#include "engine/frame.h"
#include "engine/shuffle/columns.h"
#include "engine/spill/spillfile.h"

#define DENSE_ROWS 256 /* a batch of so many, none left out, becomes a frame as it is */

struct rows_writer {
    struct run *run;
    struct spillfile file;
    struct columns few; /* rows of small batches, and of those with gaps: together they make a frame */
};

static int frame_write(struct rows_writer *w, const struct batch *b)
{
    w->run->report->rows += b->rows;
    if (!w->file.run && spillfile_create(&w->file, w->run))
        return -1;
    frame_put(&w->file.pending, b, FRAME_PLAIN);
    return spillfile_settle(&w->file);
}

static int few_flush(struct rows_writer *w)
{
    struct batch b;
    if (w->few.rows == 0)
        return 0;
    columns_batch(&w->few, &b);
    int failed = frame_write(w, &b);
    columns_reset(&w->few);
    return failed;
}

static int few_add(struct rows_writer *w, const struct batch *b)
{
    for (uint32_t i = 0; i < b->rows; i++) {
        uint32_t row = b->sel ? b->sel[i] : i;
        fe_slice key = vec_at(&b->key, row), value = vec_at(&b->value, row);
        if (columns_full(&w->few, key.n + value.n, BATCH_ROWS, BATCH_BYTES) && few_flush(w))
            return -1;
        columns_put(&w->few, key, value, 0);
    }
    return 0;
}

static int batch_write(struct rows_writer *w, const struct batch *b)
{
    if (b->sel || b->rows < DENSE_ROWS)
        return few_add(w, b);
    struct batch plain = *b;
    plain.hash = NULL;
    return few_flush(w) || frame_write(w, &plain) ? -1 : 0;
}

static int rows_finish(struct rows_writer *w)
{
    return few_flush(w) || (w->file.run && spillfile_finish(&w->file)) ? -1 : 0;
}

int sink_write_rows(struct run *r, const struct plan_node *node, struct op *child)
{
    struct rows_writer w = { .run = r };
    const struct batch *b;
    int more;
    columns_init(&w.few, node->key, node->value, false);
    while ((more = child->next(child, &b)) > 0)
        if (batch_write(&w, b)) {
            more = -1;
            break;
        }
    int failed = more < 0 || rows_finish(&w);
    spillfile_close(&w.file);
    columns_fini(&w.few);
    return failed ? -1 : 0;
}
