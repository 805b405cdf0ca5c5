/* frame.c - see frame.h. */
#define XXH_INLINE_ALL
#include "engine/frame.h"

#include <assert.h>
#include <errno.h>
#include <lz4.h>
#include <xxhash.h>

#define RAW_BYTES_MAX ((1u << 30) + (64u << 20)) /* a row of 1 GiB and what goes with it */
#define LZ4_RATIO_MAX 256u                       /* the format can't reach more: a larger claim is a lie */

static inline uint64_t align8(uint64_t n)
{
    return (n + 7) & ~7ull;
}

static uint64_t frame_sum(const struct frame *f, const uint8_t *stored)
{
    struct frame head = *f;
    head.xxh3 = 0;
    return XXH3_64bits(stored, f->stored_bytes) ^ XXH3_64bits(&head, sizeof head);
}

/* ---- writing ------------------------------------------------------------------ */

/* Zeroed up to the next multiple of 8, so that equal batches are equal bytes. */
static void pad8(struct buf *out)
{
    static const uint8_t zeros[8];
    buf_put(out, zeros, align8(out->n) - out->n);
}

static void put_text(struct buf *out, const struct vec *v, const uint16_t *sel, uint32_t rows)
{
    uint32_t *ends = (uint32_t *)(void *)buf_grow(out, align8(rows * sizeof *ends));
    uint32_t total = 0;
    for (uint32_t i = 0; i < rows; i++)
        ends[i] = total += (uint32_t)vec_at(v, sel ? sel[i] : i).n;
    out->n += rows * sizeof *ends;
    pad8(out);
    if (!sel && !v->gap) {
        buf_put(out, v->data + v->first, total);
        return;
    }
    uint8_t *at = buf_grow(out, total);
    for (uint32_t i = 0; i < rows; i++) {
        fe_slice s = vec_at(v, sel ? sel[i] : i);
        memcpy(at, s.p, s.n);
        at += s.n;
    }
    out->n += total;
}

static void put_fixed(struct buf *out, const uint8_t *data, size_t size, const uint16_t *sel, uint32_t rows)
{
    if (!sel || !size) {
        buf_put(out, data, rows * size);
        return;
    }
    uint8_t *at = buf_grow(out, rows * size);
    for (uint32_t i = 0; i < rows; i++)
        memcpy(at + i * size, data + sel[i] * size, size);
    out->n += rows * size;
}

static void put_vec(struct buf *out, const struct vec *v, const uint16_t *sel, uint32_t rows)
{
    if (v->type == FERRO_TEXT && rows)
        put_text(out, v, sel, rows);
    else if (v->type != FERRO_TEXT)
        put_fixed(out, v->data, type_size(v->type), sel, rows);
    pad8(out);
}

/* Replace the raw body behind `at` by a smaller one, if lz4 finds one. */
static void compress(struct buf *out, size_t at, struct frame *f)
{
    struct buf raw = { 0 };
    buf_put(&raw, out->p + at, f->raw_bytes);
    int n = LZ4_compress_default((const char *)raw.p, (char *)out->p + at, (int)f->raw_bytes,
                                 (int)f->raw_bytes - 1);
    if (n > 0) {
        f->codec = FRAME_LZ4;
        f->stored_bytes = (uint32_t)n;
        out->n = at + (size_t)n;
    } else
        memcpy(out->p + at, raw.p, f->raw_bytes);
    buf_fini(&raw);
}

/* The header of what was put behind `head`. */
static void put_header(struct buf *out, size_t head, uint32_t rows, bool hashed, enum frame_codec codec)
{
    struct frame f = { .magic = FRAME_MAGIC, .rows = rows, .flags = hashed ? FRAME_HASHED : 0 };
    size_t body = head + sizeof f;
    assert(out->n - body <= RAW_BYTES_MAX);
    f.raw_bytes = f.stored_bytes = (uint32_t)(out->n - body);
    if (codec == FRAME_LZ4 && f.raw_bytes > sizeof f)
        compress(out, body, &f);
    f.xxh3 = frame_sum(&f, out->p + body);
    memcpy(out->p + head, &f, sizeof f);
    pad8(out);
}

/* The next section, up to a multiple of 8; its room was made. */
static void *section(struct buf *out, size_t bytes)
{
    uint8_t *p = out->p + out->n;
    memset(p + bytes, 0, align8(bytes) - bytes);
    out->n += align8(bytes);
    return p;
}

void frame_begin(struct buf *out, fe_type key, fe_type value, uint32_t rows, size_t key_bytes,
                 size_t value_bytes, bool hashed, struct frame_room *room)
{
    size_t ends = align8(rows * sizeof(uint32_t));
    assert(out->n % 8 == 0 && rows && rows <= FRAME_ROWS_MAX);
    *room = (struct frame_room){ .head = out->n, .rows = rows };
    buf_grow(out, sizeof(struct frame) + hashed * rows * sizeof *room->hashes + 2 * ends + align8(key_bytes) +
                      align8(value_bytes));
    out->n += sizeof(struct frame);
    if (hashed)
        room->hashes = section(out, rows * sizeof *room->hashes);
    if (key == FERRO_TEXT)
        room->key_ends = section(out, rows * sizeof *room->key_ends);
    room->keys = section(out, key_bytes);
    if (value == FERRO_TEXT)
        room->value_ends = section(out, rows * sizeof *room->value_ends);
    room->values = section(out, value_bytes);
}

void frame_end(struct buf *out, const struct frame_room *room, enum frame_codec codec)
{
    put_header(out, room->head, room->rows, room->hashes != NULL, codec);
}

void frame_put(struct buf *out, const struct batch *b, enum frame_codec codec)
{
    assert(out->n % 8 == 0 && b->rows <= FRAME_ROWS_MAX);
    size_t head = out->n;
    buf_grow(out, sizeof(struct frame));
    out->n += sizeof(struct frame);
    if (b->hash)
        put_fixed(out, (const uint8_t *)b->hash, sizeof *b->hash, b->sel, b->rows);
    put_vec(out, &b->key, b->sel, b->rows);
    put_vec(out, &b->value, b->sel, b->rows);
    put_header(out, head, b->rows, b->hash != NULL, codec);
}

/* ---- reading ------------------------------------------------------------------ */

static bool header_sane(const struct frame *f)
{
    return f->magic == FRAME_MAGIC && f->rows <= FRAME_ROWS_MAX && f->raw_bytes <= RAW_BYTES_MAX &&
           f->stored_bytes <= f->raw_bytes && f->codec <= FRAME_LZ4 && f->flags <= FRAME_HASHED && !f->zero;
}

int64_t frame_size(struct bytes in)
{
    struct frame f;
    assert(in.n >= sizeof f);
    memcpy(&f, in.p, sizeof f);
    return header_sane(&f) ? (int64_t)align8(sizeof f + f.stored_bytes) : -1;
}

/* Take an 8-aligned section of `n` bytes off the body; NULL when it has less. */
static const uint8_t *take(struct bytes *body, uint64_t n)
{
    const uint8_t *p = body->p;
    if (align8(n) > body->n)
        return NULL;
    body->p += align8(n);
    body->n -= (uint32_t)align8(n);
    return p;
}

static bool get_vec(struct bytes *body, fe_type type, uint32_t rows, struct vec *v)
{
    *v = (struct vec){ .type = type };
    if (type != FERRO_TEXT)
        return (v->data = take(body, (uint64_t)rows * type_size(type))) != NULL;
    const uint32_t *ends = (const uint32_t *)(const void *)take(body, rows * sizeof *ends);
    if (!ends)
        return false;
    uint32_t last = 0;
    bool rises = true;
    for (uint32_t i = 0; i < rows; i++) {
        rises &= ends[i] >= last;
        last = ends[i];
    }
    v->end = ends;
    return rises && (v->data = take(body, last)) != NULL;
}

static int unpack(const struct frame *f, struct bytes in, struct buf *scratch, struct bytes *body,
                  struct error *e)
{
    *body = (struct bytes){ in.p + sizeof *f, f->stored_bytes };
    if (f->codec == FRAME_PLAIN)
        return f->stored_bytes == f->raw_bytes
                   ? 0
                   : error_set(e, EBADMSG, "a frame's sizes contradict each other");
    if (!scratch)
        return error_set(e, EBADMSG, "a frame is compressed where none may be");
    if (f->raw_bytes / LZ4_RATIO_MAX > f->stored_bytes)
        return error_set(e, EBADMSG, "a frame claims to be compressed beyond what lz4 can");
    buf_reset(scratch);
    buf_grow(scratch, f->raw_bytes);
    int n = LZ4_decompress_safe((const char *)body->p, (char *)scratch->p, (int)f->stored_bytes,
                                (int)f->raw_bytes);
    if (n != (int)f->raw_bytes)
        return error_set(e, EBADMSG, "a frame can't be decompressed");
    *body = (struct bytes){ scratch->p, f->raw_bytes };
    return 0;
}

static int get_columns(const struct frame *f, struct bytes body, fe_type key, fe_type value,
                       struct batch *out, struct error *e)
{
    *out = (struct batch){ .rows = f->rows };
    if (f->flags & FRAME_HASHED) {
        out->hash = (const uint64_t *)(const void *)take(&body, f->rows * sizeof(uint64_t));
        if (!out->hash)
            return error_set(e, EBADMSG, "a frame is too short for its hashes");
    }
    if (!get_vec(&body, key, f->rows, &out->key) || !get_vec(&body, value, f->rows, &out->value) || body.n) {
        char k[TYPE_NAME_MAX], v[TYPE_NAME_MAX];
        return error_set(e, EBADMSG, "a frame's %u bytes aren't %u rows of %s and %s", f->raw_bytes, f->rows,
                         type_name(key, k), type_name(value, v));
    }
    return 0;
}

static int64_t get(struct bytes in, fe_type key, fe_type value, bool check, struct buf *scratch,
                   struct batch *out, struct error *e)
{
    struct frame f;
    struct bytes body;
    if (in.n < sizeof f)
        return error_set(e, EBADMSG, "a frame is cut within its header");
    assert((uintptr_t)in.p % 8 == 0);
    memcpy(&f, in.p, sizeof f);
    int64_t size = frame_size(in);
    if (size < 0)
        return error_set(e, EBADMSG, "no frame begins where one should");
    if (size > in.n)
        return error_set(e, EBADMSG, "a frame of %lld bytes is cut after %u", (long long)size, in.n);
    if (check && frame_sum(&f, in.p + sizeof f) != f.xxh3)
        return error_set(e, EBADMSG, "a frame's checksum is wrong");
    if (unpack(&f, in, scratch, &body, e) || get_columns(&f, body, key, value, out, e))
        return -1;
    return size;
}

int64_t frame_get(struct bytes in, fe_type key, fe_type value, struct buf *scratch, struct batch *out,
                  struct error *e)
{
    return get(in, key, value, true, scratch, out, e);
}

int64_t frame_get_again(struct bytes in, fe_type key, fe_type value, struct buf *scratch, struct batch *out,
                        struct error *e)
{
    return get(in, key, value, false, scratch, out, e);
}
