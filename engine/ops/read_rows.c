/* read_rows.c - a cached partition: partition i of the input is the output of its stage's task i.
 *
 * The file is mapped, and stays so for the host's next tasks (engine/kept.h).  A frame is handed up in slices, which point into it: arrays need no copy.  What can't be had or is
 * broken is the map's: CAUSE_FETCH, and it runs again.
 */
#include "engine/frame.h"
#include "engine/kept.h"
#include "engine/shuffle/columns.h"
#include "engine/shuffle/read.h"

#include <stdlib.h>
#include <unistd.h>

#define IN_BYTES_MAX (UINT32_MAX & ~7u) /* of one frame, and of what is looked at */

struct rows_reader {
    struct op op;
    struct run *run;
    const struct plan_node *node;
    const struct rec_map *map; /* NULL: an empty partition */
    struct kept own, *kept;    /* the host's, or `own` where there is none */
    struct kept_block *block;
    uint64_t at;        /* in it: the next frame */
    struct buf scratch; /* of a compressed frame */
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
    struct kept_block *b = o->block;
    uint64_t left = b->bytes - o->at;
    if (left == 0)
        return 0;
    struct bytes in = { b->p + o->at, (uint32_t)(left < IN_BYTES_MAX ? left : IN_BYTES_MAX) };
    bool again = o->at < b->checked;
    fe_type key = o->node->key, value = o->node->value;
    int64_t size = again ? frame_get_again(in, key, value, &o->scratch, &o->frame, &e)
                         : frame_get(in, key, value, &o->scratch, &o->frame, &e);
    if (size < 0) {
        kept_forget(o->kept, b);
        return read_fail(o->run, o->map, e.words);
    }
    o->at += (uint64_t)size;
    if (!again)
        b->checked = o->at;
    o->row = 0;
    return 1;
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
    ferro_kept_drop(&o->own);
    buf_fini(&o->scratch);
    free(o);
}

static int block_map(struct rows_reader *o, struct block_id id)
{
    struct rec_got got;
    struct error e;
    int fd;
    struct rec_want want = read_want(o->map);
    if (run_fetch(o->run, &want, 1, &got, &fd))
        return -1;
    if (got.code)
        return read_got_fail(o->run, o->map, &got);
    if (got.base || got.length != got.total || got.total != o->map->bytes)
        read_fail(o->run, o->map, "its size is not what its map said");
    else if (!(o->block = kept_map(o->kept, id, fd, o->map->bytes, &e)))
        read_fail(o->run, o->map, e.words);
    close(fd); /* the mapping stays */
    return o->block ? 0 : -1;
}

static int rows_open(struct rows_reader *o)
{
    struct block_id id = block_output(o->map->stage, o->map->part, o->map->attempt);
    o->block = kept_find(o->kept, id);
    if (!o->block && block_map(o, id))
        return -1;
    o->run->report->bytes_read += o->map->bytes;
    return 0;
}

struct op *op_read_rows(struct run *r, const struct leaf *leaf)
{
    struct rows_reader *o = calloc(1, sizeof *o);
    if (!o)
        abort();
    *o = (struct rows_reader){ .op = { rows_next, rows_free }, .run = r, .node = leaf->node };
    o->kept = r->env->kept ? r->env->kept : &o->own;
    o->map = map_find(r->stage, r->stage->inputs.v[leaf->input].shuffle, leaf->part);
    if (!o->map || rows_open(o) == 0)
        return &o->op;
    rows_free(&o->op);
    return NULL;
}
