/* outputs.c - what children write, on its way to the manager.
 *
 * With the manager there, a stream that writes faster than its window allows is not read for a moment, and its
 * writer waits.  With the manager away it is read on, so that no driver stops, and its end is kept.
 */
#include "driver/serve/core.h"

#include <string.h>

static void read_on(struct launcher *l, struct run *r, uint32_t stream, bool on)
{
    struct launcher_read read = { r->app, stream, on };
    r->streams[stream].paused = !on;
    launcher_call(l, LAUNCHER_READ, r->app, arena_copy(&l->out->arena, &read, sizeof read));
}

static void send(struct launcher *l, struct run *r, uint32_t stream, struct bytes bytes)
{
    struct stream *s = &r->streams[stream];
    while (bytes.n) {
        uint32_t n = bytes.n < OUTPUT_FRAME_BYTES ? bytes.n : OUTPUT_FRAME_BYTES;
        struct msg_output m = {
            .app = r->app, .stream = stream + 1, .offset = s->offset, .bytes = { bytes.p, n }
        };
        launcher_send(l, MSG_OUTPUT, &m);
        s->offset += n;
        bytes.p += n;
        bytes.n -= n;
    }
}

/* Only the last TAIL_BYTES_MAX: so much would the manager keep. */
static void keep(struct stream *s, struct bytes bytes)
{
    buf_put(&s->kept, bytes.p, bytes.n);
    if (s->kept.n <= 2 * TAIL_BYTES_MAX)
        return;
    size_t over = s->kept.n - TAIL_BYTES_MAX;
    memmove(s->kept.p, s->kept.p + over, TAIL_BYTES_MAX);
    s->kept.n = TAIL_BYTES_MAX;
    s->offset += over;
}

static void count(struct launcher *l, struct run *r, uint32_t stream, uint32_t n)
{
    struct stream *s = &r->streams[stream];
    if (l->now - s->window_ns >= WINDOW_NS) {
        s->window_ns = l->now;
        s->window_bytes = 0;
    }
    s->window_bytes += n;
    if (s->window_bytes > WINDOW_BYTES && !s->paused)
        read_on(l, r, stream, false);
}

void outputs_on_output(struct launcher *l, const struct launcher_output *o)
{
    struct run *r = map_get(&l->runs, o->app);
    if (!r || o->stream >= LAUNCHER_STREAMS || r->streams[o->stream].closed)
        return;
    struct stream *s = &r->streams[o->stream];
    if (!o->bytes.n) {
        s->closed = true;
    } else if (!l->serving) {
        keep(s, o->bytes);
    } else {
        send(l, r, o->stream, o->bytes);
        count(l, r, o->stream, o->bytes.n);
    }
}

void outputs_flush(struct launcher *l, struct run *r)
{
    for (uint32_t i = 0; i < LAUNCHER_STREAMS; i++) {
        struct stream *s = &r->streams[i];
        send(l, r, i, (struct bytes){ s->kept.p, (uint32_t)s->kept.n });
        buf_fini(&s->kept);
        s->kept = (struct buf){ 0 };
    }
}

void outputs_time(struct launcher *l, struct run *r)
{
    for (uint32_t i = 0; i < LAUNCHER_STREAMS; i++)
        if (r->streams[i].paused && (!l->serving || l->now - r->streams[i].window_ns >= WINDOW_NS))
            read_on(l, r, i, true);
}

uint64_t outputs_deadline(const struct run *r)
{
    uint64_t t = UINT64_MAX;
    for (uint32_t i = 0; i < LAUNCHER_STREAMS; i++)
        if (r->streams[i].paused && r->streams[i].window_ns + WINDOW_NS < t)
            t = r->streams[i].window_ns + WINDOW_NS;
    return t;
}

bool outputs_closed(const struct run *r)
{
    return r->streams[0].closed && r->streams[1].closed;
}

void outputs_free(struct run *r)
{
    for (uint32_t i = 0; i < LAUNCHER_STREAMS; i++)
        buf_fini(&r->streams[i].kept);
}
