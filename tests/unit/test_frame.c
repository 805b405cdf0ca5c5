/* test_frame.c - what goes into a frame comes out; nothing else does. */
#include "engine/frame.h"

#include <criterion/criterion.h>

#define ROWS 300

/* Texts of 0 to 29 bytes with a gap between, and i64s. */
struct data {
    uint8_t text[ROWS * 31];
    uint32_t ends[ROWS];
    int64_t values[ROWS];
    uint64_t hash[ROWS];
    struct batch batch;
};

static struct data *made(uint32_t gap)
{
    static struct data d;
    uint32_t at = 2;
    for (uint32_t i = 0; i < ROWS; i++) {
        memset(d.text + at, 'a' + i % 26, i % 30);
        at += i % 30;
        d.ends[i] = at;
        at += gap;
        d.values[i] = (int64_t)i * -3;
        d.hash[i] = i * 77;
    }
    d.batch = (struct batch){
        .rows = ROWS,
        .key = { FERRO_TEXT, 2, gap, d.text, d.ends },
        .value = { FERRO_I64, 0, 0, (const uint8_t *)d.values, NULL },
    };
    return &d;
}

static int64_t get(const struct buf *b, struct batch *out)
{
    static struct buf scratch;
    struct error e;
    return frame_get((struct bytes){ b->p, (uint32_t)b->n }, FERRO_TEXT, FERRO_I64, &scratch, out, &e);
}

static void check_same(const struct batch *in, const struct batch *out)
{
    cr_assert_eq(out->rows, in->rows);
    cr_assert_eq(out->hash != NULL, in->hash != NULL);
    for (uint32_t i = 0; i < in->rows; i++) {
        uint32_t row = in->sel ? in->sel[i] : i;
        fe_slice a = vec_at(&in->key, row), b = vec_at(&out->key, i);
        cr_assert(a.n == b.n && !memcmp(a.p, b.p, a.n));
        cr_assert_eq(fe_i64(vec_at(&in->value, row)), fe_i64(vec_at(&out->value, i)));
        if (in->hash)
            cr_assert_eq(in->hash[row], out->hash[i]);
    }
}

/* Who takes none has nowhere to unpack it to. */
Test(frame, compressed_where_none_may_be)
{
    struct data *d = made(0);
    struct buf b = { 0 };
    struct batch out;
    struct error e;
    for (int codec = FRAME_PLAIN; codec <= FRAME_LZ4; codec++) {
        buf_reset(&b);
        frame_put(&b, &d->batch, codec);
        struct bytes in = { b.p, (uint32_t)b.n };
        int64_t got = frame_get(in, FERRO_TEXT, FERRO_I64, NULL, &out, &e);
        cr_assert_eq(got, codec == FRAME_PLAIN ? (int64_t)b.n : -1);
    }
    cr_assert_str_eq(e.words, "a frame is compressed where none may be");
    buf_fini(&b);
}

Test(frame, round_trip)
{
    static const uint16_t sel[] = { 5, 6, 200, 299 };
    for (int codec = FRAME_PLAIN; codec <= FRAME_LZ4; codec++)
        for (int variant = 0; variant < 8; variant++) {
            struct data *d = made(variant & 1);
            struct buf b = { 0 };
            struct batch out;
            if (variant & 2)
                d->batch.hash = d->hash;
            if (variant & 4) {
                d->batch.sel = sel;
                d->batch.rows = 4;
            }
            frame_put(&b, &d->batch, codec);
            size_t first = b.n;
            frame_put(&b, &d->batch, codec);
            cr_assert_eq(get(&b, &out), (int64_t)first);
            check_same(&d->batch, &out);
            buf_fini(&b);
        }
}

Test(frame, no_rows_and_no_keys)
{
    struct buf b = { 0 }, scratch = { 0 };
    struct batch in = { .rows = 0, .key = { .type = FERRO_NONE }, .value = { .type = FERRO_TEXT } }, out;
    frame_put(&b, &in, FRAME_PLAIN);
    cr_assert_eq(
        frame_get((struct bytes){ b.p, (uint32_t)b.n }, FERRO_NONE, FERRO_TEXT, &scratch, &out, NULL),
        (int64_t)b.n);
    cr_assert_eq(out.rows, 0);
    buf_fini(&b);
}

Test(frame, every_cut_and_every_flip_is_noticed)
{
    for (int codec = FRAME_PLAIN; codec <= FRAME_LZ4; codec++) {
        struct data *d = made(0);
        struct buf b = { 0 };
        struct batch out;
        frame_put(&b, &d->batch, codec);
        size_t whole = b.n;
        for (b.n = 0; b.n < whole; b.n++)
            cr_assert_eq(get(&b, &out), -1);
        uint32_t stored = ((struct frame *)(void *)b.p)->stored_bytes;
        for (size_t i = 0; i < sizeof(struct frame) + stored; i++) {
            b.p[i] ^= 1 << i % 8;
            cr_assert_eq(get(&b, &out), -1, "byte %zu", i);
            b.p[i] ^= 1 << i % 8;
        }
        cr_assert_eq(get(&b, &out), (int64_t)whole);
        buf_fini(&b);
    }
}

Test(frame, other_types_are_refused)
{
    struct data *d = made(0);
    struct buf b = { 0 }, scratch = { 0 };
    struct batch out;
    struct error e;
    frame_put(&b, &d->batch, FRAME_PLAIN);
    struct bytes in = { b.p, (uint32_t)b.n };
    cr_assert_eq(frame_get(in, FERRO_TEXT, FERRO_TEXT, &scratch, &out, &e), -1);
    cr_assert_eq(frame_get(in, FERRO_I64, FERRO_I64, &scratch, &out, &e), -1);
    cr_assert(strstr(e.words, "rows of i64 and i64"), "%s", e.words);
    cr_assert_eq(frame_get(in, FERRO_TEXT, FERRO_STRUCT(struct vec), &scratch, &out, &e), -1);
    buf_fini(&b);
}
