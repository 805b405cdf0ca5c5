/* output.c - what applications of cluster mode write: its end is kept, and passed on to who follows it. */
#include "manager/core/core.h"

#include <string.h>

#define PIECE_BYTES 65536
#define TRIM_BYTES \
    (OUTPUT_BYTES_MAX / 4) /* kept beyond the limit for a while, so that not every piece moves all */

/* Nothing will be added to it. */
static bool complete(const struct app *a)
{
    return a->state == APP_ENDED && !a->service;
}

/* ---- coming in ------------------------------------------------------------------------- */

/* Skip what is here already (sent again after a reconnection); false: all of it. */
static bool append(struct stream *s, struct msg_output *o)
{
    uint64_t end = s->offset + s->bytes.n;
    if (o->offset > end) { /* a gap: what was before it is of no use */
        buf_reset(&s->bytes);
        s->offset = end = o->offset;
    }
    if (end - o->offset >= o->bytes.n)
        return false;
    uint32_t skip = (uint32_t)(end - o->offset);
    o->bytes = (struct bytes){ o->bytes.p + skip, o->bytes.n - skip };
    o->offset = end;
    buf_put(&s->bytes, o->bytes.p, o->bytes.n);
    if (s->bytes.n <= OUTPUT_BYTES_MAX + TRIM_BYTES)
        return true;
    size_t gone = s->bytes.n - OUTPUT_BYTES_MAX;
    memmove(s->bytes.p, s->bytes.p + gone, OUTPUT_BYTES_MAX);
    s->bytes.n = OUTPUT_BYTES_MAX;
    s->offset += gone;
    return true;
}

void output_on_output(struct manager *m, struct peer *p, const void *msg)
{
    struct msg_output o = *(const struct msg_output *)msg;
    struct app *a = map_get(&m->apps, o.app);
    if (!a || a->service != p->conn || o.stream == 0) {
        manager_refuse(m, p, REFUSE_NO_APP, o.app, "OUTPUT: application %llu does not run at this service",
                       (unsigned long long)o.app);
        return;
    }
    o.last = 0;
    if (!append(&a->streams[o.stream - 1], &o))
        return;
    const conn_id *to = (const conn_id *)a->followers.p;
    for (size_t i = 0; i < a->followers.n / sizeof *to; i++)
        manager_send(m, to[i], MSG_OUTPUT, &o);
}

/* ---- going out --------------------------------------------------------------------------- */

static void send_kept(struct manager *m, const struct app *a, uint32_t stream, conn_id to)
{
    const struct stream *s = &a->streams[stream - 1];
    for (size_t at = 0; at < s->bytes.n; at += PIECE_BYTES) {
        size_t n = s->bytes.n - at < PIECE_BYTES ? s->bytes.n - at : PIECE_BYTES;
        struct msg_output o = { .app = a->row.app,
                                .stream = stream,
                                .offset = s->offset + at,
                                .bytes = { s->bytes.p + at, (uint32_t)n } };
        manager_send(m, to, MSG_OUTPUT, &o);
    }
}

static void send_last(struct manager *m, const struct app *a, conn_id to)
{
    manager_send(m, to, MSG_OUTPUT, &(struct msg_output){ .app = a->row.app, .stream = 1, .last = 1 });
}

void output_on_logs(struct manager *m, struct peer *p, const void *msg)
{
    const struct msg_logs *l = msg;
    struct app *a = query_app(m, p, l->app);
    if (!a)
        return;
    bool follow = l->follow && !complete(a);
    if (follow && !query_listen(m, p, &a->followers))
        return;
    send_kept(m, a, 1, p->conn);
    send_kept(m, a, 2, p->conn);
    if (!follow)
        send_last(m, a, p->conn);
}

void output_end(struct manager *m, struct app *a)
{
    const conn_id *to = (const conn_id *)a->followers.p;
    for (size_t i = 0; i < a->followers.n / sizeof *to; i++)
        send_last(m, a, to[i]);
    buf_fini(&a->followers);
}

void output_keep(struct manager *m, struct app *a)
{
    if (strcmp(a->row.mode, "cluster"))
        return;
    map_put(&m->outputs, a->row.app, a);
    if (m->outputs.n <= OUTPUTS_KEPT)
        return;
    struct app *oldest = map_at(&m->outputs, map_next(&m->outputs, 0));
    map_del(&m->outputs, oldest->row.app);
    for (int i = 0; i < 2; i++)
        buf_fini(&oldest->streams[i].bytes);
}
