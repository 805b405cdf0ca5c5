/* pull.c - see pull.h. */
#include "common/core/pull.h"

#include "common/base/map.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PULL_IO (1ull << 61) /* our ACT_IO ids: apart from their owner's */

struct pull {
    struct pull_want want;
    struct head head;
    uint64_t from, to; /* of the block; `to` is known with the first chunk when the length was not */
    bool known;
    uint64_t next; /* first byte not asked for yet */
    uint64_t total;
    uint64_t written;
    uint32_t asked, writing;
};

struct pulls {
    struct map by_tag;  /* request -> struct pull, borrowed */
    struct map by_io;   /* write -> struct pull, borrowed */
    struct map all;     /* number -> struct pull, owned */
    struct map windows; /* connection -> chunks under way */
    uint64_t next;
};

struct pulls *pulls_new(void)
{
    struct pulls *p = calloc(1, sizeof *p);
    if (!p)
        abort();
    p->next = 1;
    return p;
}

void pulls_free(struct pulls **pp)
{
    struct pulls *p = *pp;
    *pp = NULL;
    if (!p)
        return;
    MAP_EACH(&p->all, i)
        free(map_at(&p->all, i));
    map_fini(&p->all);
    map_fini(&p->by_tag);
    map_fini(&p->by_io);
    map_fini(&p->windows);
    free(p);
}

static void window_add(struct pulls *p, conn_id conn, int n)
{
    uint64_t now = 0;
    map_get_u64(&p->windows, conn, &now);
    now += (uint64_t)(int64_t)n;
    if (now)
        map_put_u64(&p->windows, conn, now);
    else
        map_del(&p->windows, conn);
}

static bool window_open(const struct pulls *p, const struct pull *l)
{
    uint64_t now = 0;
    map_get_u64(&p->windows, l->want.conn, &now);
    return l->asked < PULL_WINDOW && now < PULL_TOTAL_WINDOW;
}

static void ask(struct pulls *p, struct pull *l, uint64_t length, struct actions *out)
{
    struct buf frame = { 0 };
    uint64_t tag = p->next++;
    struct msg_block_get m = {
        .app = l->want.app, .tag = tag, .offset = l->next, .length = (uint32_t)length
    };
    if (l->want.tail && !l->known) {
        m.offset = l->want.offset;
        m.flags = BLOCK_TAIL;
    }
    memcpy(m.block, l->want.block.b, ID_BYTES);
    l->head.tag = MSG_BLOCK_GET;
    proto_encode(&frame, &l->head, &m);
    struct action *act = actions_add(out, ACT_SEND);
    act->conn = l->want.conn;
    act->frame = (struct bytes){ arena_copy(&out->arena, frame.p, frame.n), (uint32_t)frame.n };
    buf_fini(&frame);
    map_put(&p->by_tag, tag, l);
    window_add(p, l->want.conn, 1);
    l->asked++;
    l->next += length;
}

/* Until its end is known a pull asks for one chunk only. */
static void ask_on(struct pulls *p, struct pull *l, struct actions *out)
{
    if (!l->known) {
        uint64_t n = l->want.length && l->want.length < CHUNK_BYTES_MAX ? l->want.length : CHUNK_BYTES_MAX;
        if (l->asked == 0)
            ask(p, l, n, out);
        return;
    }
    while (l->next < l->to && window_open(p, l)) {
        uint64_t n = l->to - l->next;
        ask(p, l, n < CHUNK_BYTES_MAX ? n : CHUNK_BYTES_MAX, out);
    }
}

void pulls_start(struct pulls *p, const struct pull_want *w, const struct head *head, struct actions *out)
{
    struct pull *l = calloc(1, sizeof *l);
    if (!l)
        abort();
    *l = (struct pull){ .want = *w, .head = *head, .from = w->offset, .next = w->offset };
    map_put(&p->all, p->next++, l);
    ask_on(p, l, out);
}

/* ---- the end of one ------------------------------------------------------ */

static void forget(struct pulls *p, struct pull *l)
{
    MAP_EACH(&p->by_tag, i)
        if (map_at(&p->by_tag, i) == l) {
            map_del(&p->by_tag, map_key(&p->by_tag, i));
            window_add(p, l->want.conn, -1);
        }
    MAP_EACH(&p->by_io, i)
        if (map_at(&p->by_io, i) == l)
            map_del(&p->by_io, map_key(&p->by_io, i));
    MAP_EACH(&p->all, i)
        if (map_at(&p->all, i) == l)
            map_del(&p->all, map_key(&p->all, i));
    free(l);
}

static bool ended(struct pulls *p, struct pull *l, uint32_t code, const char *words, struct pull_result *r)
{
    *r = (struct pull_result){
        .user = l->want.user, .code = code, .base = l->from, .length = l->to - l->from, .total = l->total
    };
    snprintf(r->words, sizeof r->words, "%s", words);
    forget(p, l);
    return true;
}

/* Others that wait for the connection's window go on. */
static void wake(struct pulls *p, conn_id conn, struct actions *out)
{
    MAP_EACH(&p->all, i) {
        struct pull *l = map_at(&p->all, i);
        if (l->want.conn == conn && l->known)
            ask_on(p, l, out);
    }
}

static bool first_chunk(struct pull *l, const struct msg_block_data *m)
{
    l->known = true;
    l->total = m->total;
    l->from = m->offset;
    l->next = m->offset + m->bytes.n;
    l->to = l->want.length && !l->want.tail && l->want.length < m->total - m->offset
                ? m->offset + l->want.length
                : m->total;
    return m->offset <= m->total && l->next <= l->to && (m->bytes.n || l->to == l->from);
}

bool pulls_on_data(struct pulls *p, conn_id from, const struct msg_block_data *m, struct actions *out,
                   struct pull_result *r)
{
    struct pull *l = map_get(&p->by_tag, m->tag);
    if (!l || l->want.conn != from)
        return false;
    map_del(&p->by_tag, m->tag);
    window_add(p, from, -1);
    l->asked--;
    bool sound =
        l->known ? m->offset >= l->from && m->offset <= l->to && m->bytes.n <= l->to - m->offset && m->bytes.n
                 : first_chunk(l, m);
    if (!sound)
        return ended(p, l, BLOCK_CORRUPT, "the peer sent another piece than was asked for", r);
    struct action *act = actions_add(out, ACT_IO);
    act->id = PULL_IO | p->next++;
    act->app = l->want.app;
    act->stage = l->want.stage;
    act->part = l->want.part;
    act->attempt = l->want.attempt;
    act->io.op = IO_WRITE;
    act->io.block = l->want.copy;
    act->io.offset = m->offset - l->from;
    act->io.bytes = arena_bytes(&out->arena, m->bytes);
    map_put(&p->by_io, act->id, l);
    l->writing++;
    l->written += m->bytes.n;
    ask_on(p, l, out);
    wake(p, from, out);
    return false;
}

bool pulls_on_err(struct pulls *p, conn_id from, const struct msg_block_err *m, struct pull_result *r)
{
    char words[257];
    struct pull *l = map_get(&p->by_tag, m->tag);
    if (!l || l->want.conn != from)
        return false;
    return ended(p, l, m->code ? m->code : BLOCK_IO, bytes_text(m->words, words, sizeof words), r);
}

bool pulls_on_io(struct pulls *p, const struct event *io_done, struct actions *out, struct pull_result *r)
{
    struct pull *l = map_get(&p->by_io, io_done->id);
    (void)out;
    if (!l)
        return false;
    map_del(&p->by_io, io_done->id);
    l->writing--;
    if (io_done->io.result < 0)
        return ended(p, l, BLOCK_IO, strerror((int)-io_done->io.result), r);
    if (l->asked || l->writing || l->next < l->to)
        return false;
    bool whole = l->written == l->to - l->from;
    return ended(p, l, whole ? 0 : BLOCK_CORRUPT, whole ? "" : "the peer sent less than was asked for", r);
}

bool pulls_on_down(struct pulls *p, conn_id conn, struct pull_result *r)
{
    MAP_EACH(&p->all, i) {
        struct pull *l = map_at(&p->all, i);
        if (l->want.conn == conn)
            return ended(p, l, BLOCK_UNREACHABLE, "the connection to who has it is lost", r);
    }
    return false;
}

void pulls_drop_app(struct pulls *p, uint64_t app)
{
    MAP_EACH(&p->all, i) {
        struct pull *l = map_at(&p->all, i);
        if (l->want.app == app)
            forget(p, l);
    }
}
