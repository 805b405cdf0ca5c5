/* intake.c - see intake.h. */
#include "engine/shuffle/intake.h"

#include "engine/shuffle/columns.h"
#include "engine/types.h"

static void rewind_all(struct intake *t)
{
    t->next = 0;
    t->open = false;
    t->at = t->frame.rows = 0;
}

int intake_maps(struct intake *t, struct run *r, const struct leaf *leaf, bool other, fe_type key,
                fe_type value)
{
    t->run = r;
    t->key = key;
    t->value = value;
    t->spill = NULL;
    rewind_all(t);
    if (read_init(&t->read, r, leaf, MAP_HASH))
        return -1;
    if (other)
        t->read.shuffle = r->stage->inputs.v[leaf->input].other;
    return 0;
}

void intake_part(struct intake *t, struct run *r, const struct mapfile *spill, uint32_t part, fe_type key,
                 fe_type value)
{
    t->run = r;
    t->key = key;
    t->value = value;
    t->spill = spill;
    t->part = part;
    rewind_all(t);
}

/* ---- runs ---------------------------------------------------------------------------- */

static int next_of_maps(struct intake *t)
{
    while (t->next == t->read.nruns) {
        int got = read_window(&t->read);
        t->next = 0;
        if (got <= 0) {
            read_fini(&t->read); /* descriptors and indexes go early */
            return got;
        }
    }
    t->rows = read_run(&t->read, t->next)->rows;
    read_stream(&t->read, t->next++, t->key, t->value, STREAM_BYTES, &t->stream);
    return 1;
}

static int next_of_spill(struct intake *t)
{
    struct map_index x;
    mapfile_view(t->spill, &x);
    if (t->next == x.runs)
        return 0;
    const struct map_mark *lo = map_mark(&x, t->next, t->part), *hi = map_mark(&x, t->next, t->part + 1);
    t->next++;
    t->rows = hi->rows - lo->rows;
    stream_start(&t->stream, t->spill->file.fd, lo->offset, hi->offset, t->key, t->value, STREAM_BYTES);
    return 1;
}

static int unreadable(struct intake *t, const char *words)
{
    if (t->spill)
        return run_fail(t->run, CAUSE_ERROR, "a spill in %s: %s", t->run->env->disk, words);
    const struct read_run *r = read_run(&t->read, t->next - 1);
    return read_fail(t->run, t->read.maps[r->map].map, words);
}

/* ---- batches ------------------------------------------------------------------------- */

static int next_frame(struct intake *t)
{
    struct error e = { 0 };
    for (;;) {
        if (!t->open) {
            int got = t->spill ? next_of_spill(t) : next_of_maps(t);
            if (got <= 0)
                return got;
            t->open = true;
        }
        int got = stream_next(&t->stream, &t->frame, &e);
        if (got < 0 || (got == 0 && t->rows))
            return unreadable(t, got ? e.words : "it has other rows than its index says");
        t->at = 0;
        if (got) {
            t->rows -= t->frame.rows;
            return 1;
        }
        t->frame.rows = 0;
        t->open = false;
    }
}

static uint64_t column_bytes(const struct vec *v, uint32_t rows)
{
    return v->type == FERRO_TEXT ? v->end[rows - 1] - v->first : (uint64_t)rows * type_size(v->type);
}

/* So many of the frame's rows that they are about BATCH_BYTES. */
static uint32_t batch_rows(const struct batch *frame)
{
    uint64_t bytes = column_bytes(&frame->key, frame->rows) + column_bytes(&frame->value, frame->rows);
    uint64_t n = bytes ? (uint64_t)BATCH_BYTES * frame->rows / bytes : BATCH_ROWS;
    return n == 0 ? 1 : n > BATCH_ROWS ? BATCH_ROWS : (uint32_t)n;
}

int intake_next(struct intake *t, const struct batch **out)
{
    while (t->at == t->frame.rows) {
        int got = next_frame(t);
        if (got <= 0)
            return got;
    }
    uint32_t n = batch_rows(&t->frame), left = t->frame.rows - t->at;
    t->batch = batch_slice(&t->frame, t->at, n < left ? n : left);
    t->at += t->batch.rows;
    *out = &t->batch;
    return 1;
}

const uint64_t *intake_hash(struct intake *t)
{
    if (t->batch.hash)
        return t->batch.hash;
    vec_hash(&t->batch.key, NULL, t->batch.rows, t->hash);
    return t->hash;
}

void intake_fini(struct intake *t)
{
    read_fini(&t->read);
    stream_fini(&t->stream);
}
