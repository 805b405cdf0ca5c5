/* table.c - see table.h. */
#include "engine/ops/table.h"

#include <string.h>
#include <unistd.h>

#define WINDOW 512 /* offsets that are fetched at once: neighbours ask for the same, and share it */

static void put_u64(struct buf *b, uint64_t v)
{
    uint8_t le[8];
    for (int i = 0; i < 8; i++)
        le[i] = (uint8_t)(v >> 8 * i);
    buf_put(b, le, sizeof le);
}

static uint64_t get_u64(const uint8_t *p)
{
    uint64_t v = 0;
    for (int i = 7; i >= 0; i--)
        v = v << 8 | p[i];
    return v;
}

/* ---- the driver's side ----------------------------------------------------------- */

void table_add(struct table *t, const void *p, size_t n)
{
    static const uint8_t zeroes[8];
    put_u64(&t->offsets, t->body.n);
    if (n)
        buf_put(&t->body, p, n);
    buf_put(&t->body, zeroes, -t->body.n & 7);
    t->parts++;
}

void table_done(struct table *t, struct buf *out)
{
    uint64_t head = 8 * ((uint64_t)t->parts + 1);
    for (uint32_t i = 0; i < t->parts; i++)
        put_u64(out, head + get_u64(t->offsets.p + 8 * i));
    put_u64(out, head + t->body.n);
    if (t->body.n)
        buf_put(out, t->body.p, t->body.n);
    buf_fini(&t->offsets);
    buf_fini(&t->body);
    t->parts = 0;
}

/* ---- the task's side -------------------------------------------------------------- */

static int pread_all(int fd, void *p, size_t n, uint64_t offset)
{
    for (size_t at = 0; at < n;) {
        ssize_t got = pread(fd, (uint8_t *)p + at, n - at, (off_t)(offset + at));
        if (got <= 0)
            return -1;
        at += (size_t)got;
    }
    return 0;
}

/* `n` bytes at `offset` of the node's block. */
static int block_read(struct run *r, const struct plan_node *node, uint64_t offset, uint64_t n,
                      struct buf *out)
{
    struct rec_want want = { .kind = WANT_DRIVER,
                             .bytes = node->block_bytes,
                             .offset = offset,
                             .length = n,
                             .stage = r->stage->stage,
                             .part = r->part,
                             .attempt = r->attempt };
    struct rec_got got;
    int fd;
    memcpy(want.block, node->block.b, sizeof want.block);
    if (run_fetch(r, &want, 1, &got, &fd))
        return -1;
    if (got.code)
        return run_driver_failed(r, &got, "%s (%s:%u): its list of parts can't be had", node->fn_name,
                                 node->file, node->line);
    buf_reset(out);
    bool whole = got.base <= offset && offset - got.base <= got.length &&
                 n <= got.length - (offset - got.base) &&
                 pread_all(fd, buf_grow(out, n), n, offset - got.base) == 0;
    close(fd);
    if (!whole)
        return run_fail(r, CAUSE_INPUT, "%s (%s:%u): its list of parts was cut on its way from the driver",
                        node->fn_name, node->file, node->line);
    out->n = n;
    return 0;
}

/* `n` bytes at `offset` of the node's data, wherever they are. */
static int data_read(struct run *r, const struct plan_node *node, uint64_t offset, uint64_t n,
                     struct buf *out)
{
    uint64_t total = node->block_bytes ? node->block_bytes : node->data.n;
    if (offset > total || n > total - offset || n > UINT32_MAX)
        return run_fail(r, CAUSE_INPUT, "%s (%s:%u): its list of parts is broken", node->fn_name, node->file,
                        node->line);
    buf_reset(out);
    if (n == 0)
        return 0;
    if (node->block_bytes)
        return block_read(r, node, offset, n, out);
    buf_put(out, node->data.p + offset, n);
    return 0;
}

int table_section(struct run *r, const struct leaf *leaf, struct buf *out)
{
    const struct plan_node *node = leaf->node;
    uint64_t total = node->block_bytes ? node->block_bytes : node->data.n;
    uint64_t window = 8ull * (leaf->part - leaf->part % WINDOW), length = 8 * (WINDOW + 1);
    if (window < total && length > total - window)
        length = total - window;
    if (data_read(r, node, window, length, out))
        return -1;
    uint64_t at = 8ull * (leaf->part % WINDOW);
    uint64_t from = at + 16 <= out->n ? get_u64(out->p + at) : UINT64_MAX;
    uint64_t to = at + 16 <= out->n ? get_u64(out->p + at + 8) : 0;
    return data_read(r, node, from, to < from ? UINT64_MAX : to - from, out);
}
