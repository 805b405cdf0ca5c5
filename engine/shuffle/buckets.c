/* buckets.c - see buckets.h.
 *
 * A row in a chunk: [key bytes: u32] [value bytes: u32] key value, lengths of texts only, nothing aligned.
 */
#include "engine/shuffle/buckets.h"

#include "engine/frame.h"
#include "engine/spill/budget.h"
#include "engine/spill/region.h"

#include <stdlib.h>

#define CHUNK_BYTES (8u << 10) /* of 256 buckets: an L2 cache */
#define CHUNK_BYTES_MIN 256u
#define CHUNKS_SHARE 4 /* of the limit, at most, for chunks */
#define LINE_BYTES \
    64u /* between chunks: not all begin in the same set of a cache, and short keys are written whole */
#define FRAMES_STEP (256u << 10) /* of the budget */
#define FRAMES_BYTES_MIN (64u << 10)
#define FRAMES_BYTES_MAX (8ull * UINT32_MAX)

/* A frame in memory, its bytes behind it. */
struct kept {
    uint32_t next, bytes, rows, pad;
};

static inline uint64_t align8(uint64_t n)
{
    return (n + 7) & ~7ull;
}

static uint64_t chunks_bytes(const struct buckets *b)
{
    return (uint64_t)b->split.buckets * b->stride;
}

void buckets_init(struct buckets *b, struct run *r, struct mapfile *file, fe_type key, fe_type value,
                  const struct split *split, uint64_t limit)
{
    *b = (struct buckets){ .run = r, .file = file, .key = key, .value = value, .split = *split };
    uint64_t chunk = limit / CHUNKS_SHARE / split->buckets & ~7ull;
    b->chunk = chunk > CHUNK_BYTES       ? CHUNK_BYTES
               : chunk < CHUNK_BYTES_MIN ? CHUNK_BYTES_MIN
                                         : (uint32_t)chunk;
    b->stride = b->chunk + LINE_BYTES;
    b->head = (key == FERRO_TEXT ? 4 : 0) + (value == FERRO_TEXT ? 4 : 0);
    b->size = limit > chunks_bytes(b) + FRAMES_BYTES_MIN ? limit - chunks_bytes(b) : FRAMES_BYTES_MIN;
    b->size = b->size < FRAMES_BYTES_MAX ? b->size : FRAMES_BYTES_MAX;
    columns_init(&b->columns, key, value, false);
}

static void begin(struct buckets *b)
{
    b->chunks = region_take(chunks_bytes(b));
    b->buckets = calloc(b->split.buckets, sizeof *b->buckets);
    if (!b->buckets)
        abort();
    budget_force(b->run, chunks_bytes(b));
}

void buckets_fini(struct buckets *b)
{
    if (b->chunks) {
        budget_release(b->run, chunks_bytes(b) + b->held);
        region_give(b->chunks, chunks_bytes(b), chunks_bytes(b));
        region_give(b->frames, b->size, b->touched);
    }
    free(b->buckets);
    columns_fini(&b->columns);
    buf_fini(&b->frame);
    *b = (struct buckets){ 0 };
}

static int file_ready(struct buckets *b)
{
    if (b->file->file.run)
        return 0;
    return mapfile_open(b->file, b->run, MAP_HASH, b->split.buckets, b->split.spill);
}

/* ---- a chunk becomes a frame ----------------------------------------------------------- */

/* The hash goes along where keys are long. */
static inline void row_columns(struct buckets *b, fe_slice key, fe_slice value)
{
    columns_put(&b->columns, key, value, b->columns.hashed ? type_hash(b->key, key) : 0);
}

static void chunk_columns(struct buckets *b, const struct bucket *k)
{
    const uint8_t *p = b->chunks + (uint64_t)(k - b->buckets) * b->stride, *end = p + k->used;
    uint32_t nk = type_size(b->key), nv = type_size(b->value);
    columns_reset(&b->columns);
    while (p < end) {
        if (b->key == FERRO_TEXT) {
            memcpy(&nk, p, sizeof nk);
            p += sizeof nk;
        }
        if (b->value == FERRO_TEXT) {
            memcpy(&nv, p, sizeof nv);
            p += sizeof nv;
        }
        row_columns(b, (fe_slice){ (const char *)p, nk }, (fe_slice){ (const char *)p + nk, nv });
        p += nk + nv;
    }
}

/* Room for `n` more bytes of frames.  NULL: there is none; never when there is nothing. */
static struct kept *room(struct buckets *b, uint64_t n)
{
    bool empty = b->used == 0;
    uint64_t at = empty ? sizeof(struct kept) : b->used, end = at + n; /* no frame is at 0 */
    if (!b->frames || end > b->size) {
        if (!empty)
            return NULL;
        region_give(b->frames, b->size, b->touched);
        b->size = end > b->size ? end : b->size;
        b->frames = region_take(b->size);
        b->touched = 0;
    }
    if (end > b->held) {
        uint64_t more = (end - b->held + FRAMES_STEP - 1) / FRAMES_STEP * FRAMES_STEP;
        if (!budget_reserve(b->run, more)) {
            if (!empty)
                return NULL;
            budget_force(b->run, more);
        }
        b->held += more;
    }
    b->used = end;
    b->touched = end > b->touched ? end : b->touched;
    return (struct kept *)(void *)(b->frames + at);
}

static struct kept *kept_at(const struct buckets *b, uint32_t place)
{
    return (struct kept *)(void *)(b->frames + place * 8ull);
}

/* The rows in `columns` as a frame of this bucket.  1: no room. */
static int keep(struct buckets *b, struct bucket *k)
{
    struct batch batch;
    columns_batch(&b->columns, &batch);
    buf_reset(&b->frame);
    frame_put(&b->frame, &batch, b->file->codec);
    struct kept *f = room(b, sizeof *f + b->frame.n);
    if (!f)
        return 1;
    *f = (struct kept){ .bytes = (uint32_t)b->frame.n, .rows = batch.rows };
    memcpy(f + 1, b->frame.p, b->frame.n);
    uint32_t place = (uint32_t)((uint64_t)((uint8_t *)f - b->frames) / 8);
    if (k->last)
        kept_at(b, k->last)->next = place;
    else
        k->first = place;
    k->last = place;
    return 0;
}

static int chunk_flush(struct buckets *b, struct bucket *k)
{
    if (file_ready(b))
        return -1;
    chunk_columns(b, k);
    if (keep(b, k))
        return buckets_run(b);
    k->used = 0;
    return 0;
}

/* A row that no chunk has room for. */
static int put_alone(struct buckets *b, struct bucket *k, fe_slice key, fe_slice value)
{
    if (file_ready(b))
        return -1;
    for (;;) {
        columns_reset(&b->columns);
        row_columns(b, key, value);
        if (!keep(b, k))
            break;
        if (buckets_run(b))
            return -1;
    }
    b->rows++;
    columns_fini(&b->columns);
    buf_fini(&b->frame);
    return 0;
}

int buckets_put(struct buckets *b, uint64_t hash, fe_slice key, fe_slice value)
{
    if (!b->chunks)
        begin(b);
    uint32_t i = split_of(&b->split, hash);
    struct bucket *k = &b->buckets[i];
    size_t n = b->head + key.n + value.n;
    b->columns.hashed |= key.n > SHORT_KEY_BYTES;
    if (n > b->chunk)
        return put_alone(b, k, key, value);
    if (n > b->chunk - k->used && chunk_flush(b, k))
        return -1;
    uint8_t *p = b->chunks + (uint64_t)i * b->stride + k->used;
    k->used += (uint32_t)n;
    b->rows++;
    if (b->key == FERRO_TEXT) {
        uint32_t nk = (uint32_t)key.n;
        memcpy(p, &nk, sizeof nk);
        p += sizeof nk;
    }
    if (b->value == FERRO_TEXT) {
        uint32_t nv = (uint32_t)value.n;
        memcpy(p, &nv, sizeof nv);
        p += sizeof nv;
    }
    fe_copy(p, LINE_BYTES, key.p, key.n);
    if (value.n == 8)
        memcpy(p + key.n, value.p, 8);
    else
        fe_copy(p + key.n, LINE_BYTES, value.p, value.n);
    return 0;
}

/* ---- a run ------------------------------------------------------------------------------ */

static int bucket_write(struct buckets *b, struct bucket *k)
{
    struct batch batch;
    if (!k->first && !k->used) /* no rows */
        return 0;
    if (mapfile_mark(b->file, (uint32_t)(k - b->buckets)))
        return -1;
    for (uint32_t at = k->first; at; at = kept_at(b, at)->next) {
        const struct kept *f = kept_at(b, at);
        if (mapfile_append(b->file, f + 1, f->bytes, f->rows))
            return -1;
    }
    if (k->used) {
        chunk_columns(b, k);
        columns_batch(&b->columns, &batch);
        if (mapfile_put(b->file, &batch, NULL, 0))
            return -1;
    }
    *k = (struct bucket){ 0 };
    return 0;
}

int buckets_run(struct buckets *b)
{
    if (b->rows == 0)
        return 0;
    if (file_ready(b) || mapfile_run(b->file))
        return -1;
    for (uint32_t i = 0; i < b->split.buckets; i++)
        if (bucket_write(b, &b->buckets[i]))
            return -1;
    if (mapfile_mark(b->file, b->split.buckets))
        return -1;
    budget_release(b->run, b->held);
    b->used = b->held = b->rows = 0;
    return 0;
}
