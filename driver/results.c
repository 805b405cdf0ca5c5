/* results.c - see results.h. */
#include "driver/results.h"

#include <stdlib.h>
#include <string.h>

/* Attempts have numbers up to 255 (messages.def). */
static uint64_t pulled_key(uint32_t part, uint32_t attempt)
{
    return (uint64_t)part << 8 | (attempt & 255);
}

static void bufs_free(struct map *m)
{
    MAP_EACH(m, i) {
        struct buf *b = map_at(m, i);
        buf_fini(b);
        free(b);
    }
    map_clear(m);
}

void results_init(struct results *r, uint64_t limit)
{
    *r = (struct results){ .limit = limit };
}

void results_reset(struct results *r)
{
    bufs_free(&r->pulled);
    bufs_free(&r->accepted);
    r->bytes = 0;
    r->full = false;
}

void results_fini(struct results *r)
{
    results_reset(r);
    map_fini(&r->pulled);
    map_fini(&r->accepted);
}

static struct buf *buf_new(void)
{
    struct buf *b = calloc(1, sizeof *b);
    if (!b)
        abort();
    return b;
}

static bool room(struct results *r, uint64_t more, uint64_t held)
{
    if (more > r->limit - r->bytes || held + more > UINT32_MAX)
        r->full = true;
    return !r->full;
}

void results_write(struct results *r, uint32_t stage, uint32_t part, uint32_t attempt, uint64_t offset,
                   struct bytes bytes)
{
    uint64_t key = pulled_key(part, attempt), end = offset + bytes.n;
    struct buf *b = map_get(&r->pulled, key);
    r->stage = stage;
    if (!b)
        map_put(&r->pulled, key, b = buf_new());
    if (end > b->n) {
        if (!room(r, end - b->n, b->n))
            return;
        size_t more = (size_t)(end - b->n), gap = offset > b->n ? (size_t)offset - b->n : 0;
        memset(buf_grow(b, more), 0, gap); /* chunks may come in any order */
        b->n = (size_t)end;
        r->bytes += more;
    }
    if (bytes.n)
        memcpy(b->p + offset, bytes.p, bytes.n);
}

void results_accept(struct results *r, uint32_t stage, uint32_t part, uint32_t attempt, struct bytes bytes)
{
    struct buf *b = bytes.p ? NULL : map_get(&r->pulled, pulled_key(part, attempt));
    r->stage = stage;
    if (map_has(&r->accepted, part))
        return;
    if (b) {
        map_del(&r->pulled, pulled_key(part, attempt));
    } else {
        b = buf_new();
        if (bytes.n && room(r, bytes.n, 0)) {
            buf_put(b, bytes.p, bytes.n);
            r->bytes += bytes.n;
        }
    }
    map_put(&r->accepted, part, b);
}

void results_forget(struct results *r, uint32_t stage)
{
    if (stage != r->stage)
        return;
    MAP_EACH(&r->pulled, i)
        r->bytes -= ((struct buf *)map_at(&r->pulled, i))->n;
    bufs_free(&r->pulled);
}

struct found {
    uint64_t part;
    struct buf *buf;
};

static int by_part(const void *a, const void *b)
{
    const struct found *x = a, *y = b;
    return (x->part > y->part) - (x->part < y->part);
}

uint64_t results_take(struct results *r, struct bytes **out)
{
    uint32_t n = 0;
    struct found *v = calloc(r->accepted.n + 1, sizeof *v);
    *out = calloc(r->accepted.n + 1, sizeof **out);
    if (!v || !*out)
        abort();
    MAP_EACH(&r->accepted, i)
        v[n++] = (struct found){ map_key(&r->accepted, i), map_at(&r->accepted, i) };
    qsort(v, n, sizeof *v, by_part);
    for (uint32_t i = 0; i < n; i++) {
        (*out)[i] = (struct bytes){ v[i].buf->p, (uint32_t)v[i].buf->n };
        free(v[i].buf);
    }
    free(v);
    map_clear(&r->accepted);
    results_reset(r);
    return n;
}
