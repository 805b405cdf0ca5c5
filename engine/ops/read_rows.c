/* read_rows.c - a cached partition: partition i of the input is the output of its stage's task i.
 *
 * A frame is handed up in slices, which point into what was read: arrays need no copy.  What can't be had or is
 * broken is the map's: CAUSE_FETCH, and it runs again.
 */
#include "engine/shuffle/columns.h"
#include "engine/shuffle/read.h"

#include <stdlib.h>
#include <unistd.h>

struct rows_reader {
    struct op op;
    struct run *run;
    const struct plan_node *node;
    const struct rec_map *map; /* NULL: an empty partition */
    struct stream stream;
    struct batch frame, batch;
    uint32_t row; /* of the frame: rows handed up */
};

/* STAGE.maps is in the order of stages, and of parts within. */
static const struct rec_map *map_find(const struct msg_stage *m, uint32_t stage, uint32_t part)
{
    uint32_t low = 0, high = m->maps.n;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        const struct rec_map *at = &m->maps.v[middle];
        if (at->stage < stage || (at->stage == stage && at->part < part))
            low = middle + 1;
        else
            high = middle;
    }
    bool found = low < m->maps.n && m->maps.v[low].stage == stage && m->maps.v[low].part == part;
    return found ? &m->maps.v[low] : NULL;
}

static int frame_next(struct rows_reader *o)
{
    struct error e;
    int more = stream_next(&o->stream, &o->frame, &e);
    o->row = 0;
    return more < 0 ? read_fail(o->run, o->map, e.words) : more;
}

static int rows_next(struct op *op, const struct batch **out)
{
    struct rows_reader *o = (struct rows_reader *)op;
    while (o->row == o->frame.rows) {
        int more = o->map ? frame_next(o) : 0;
        if (more <= 0)
            return more;
    }
    uint32_t left = o->frame.rows - o->row;
    o->batch = batch_slice(&o->frame, o->row, left < BATCH_ROWS ? left : BATCH_ROWS);
    o->row += o->batch.rows;
    *out = &o->batch;
    return 1;
}

static void rows_free(struct op *op)
{
    struct rows_reader *o = (struct rows_reader *)op;
    if (o->map && o->stream.fd >= 0)
        close(o->stream.fd);
    stream_fini(&o->stream);
    free(o);
}

static int rows_open(struct rows_reader *o)
{
    struct rec_got got;
    int fd;
    struct rec_want want = read_want(o->map);
    if (run_fetch(o->run, &want, 1, &got, &fd))
        return -1;
    if (got.code)
        return read_got_fail(o->run, o->map, &got);
    stream_start(&o->stream, fd, 0, o->map->bytes, o->node->key, o->node->value, STREAM_BYTES);
    if (got.base || got.length != got.total || got.total != o->map->bytes)
        return read_fail(o->run, o->map, "its size is not what its map said");
    o->run->report->bytes_read += o->map->bytes;
    return 0;
}

struct op *op_read_rows(struct run *r, const struct leaf *leaf)
{
    struct rows_reader *o = calloc(1, sizeof *o);
    if (!o)
        abort();
    *o = (struct rows_reader){ .op = { rows_next, rows_free }, .run = r, .node = leaf->node };
    o->stream.fd = -1;
    o->map = map_find(r->stage, r->stage->inputs.v[leaf->input].shuffle, leaf->part);
    if (!o->map || rows_open(o) == 0)
        return &o->op;
    rows_free(&o->op);
    return NULL;
}
