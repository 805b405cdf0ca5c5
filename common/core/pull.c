/* pull.c - see pull.h. */
#include "common/core/pull.h"

#include "common/base/map.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PULL_IO (1ull << 61) /* our ACT_IO ids: apart from their owner's */

/* A piece under way: asked for by `tag`, then being written by ACT_IO `io`. */
struct chunk {
    uint64_t tag, io; /* both 0: free */
    uint64_t offset, length;
};

struct pull {
    uint64_t number; /* in `all` */
    struct pull_want want;
    struct head head;
    uint64_t from, to; /* of the block; `to` is known with the first chunk */
    bool known;
    uint64_t next; /* first byte not asked for yet */
    uint64_t total;
    struct chunk chunks[PULL_WINDOW];
    uint32_t under_way;
    struct line *line;                  /* borrowed */
    struct pull *prev, *after;          /* of its connection */
    struct pull *turn_prev, *turn_next; /* of those that wait for their connection's window */
    bool waits;
};

/* A connection's pulls. */
struct line {
    conn_id conn;
    uint32_t under_way;
    struct pull *pulls;
    struct pull *first, *last; /* who waits */
};

struct pulls {
    struct map by_tag; /* request -> struct pull, borrowed */
    struct map by_io;  /* write -> struct pull, borrowed */
    struct map all;    /* number -> struct pull, owned */
    struct map lines;  /* connection -> struct line, owned; none without pulls */
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
    struct map *owned[] = { &p->all, &p->lines }, *borrowed[] = { &p->by_tag, &p->by_io };
    for (int k = 0; k < 2; k++) {
        MAP_EACH(owned[k], i)
            free(map_at(owned[k], i));
        map_fini(owned[k]);
        map_fini(borrowed[k]);
    }
    free(p);
}

/* ---- turns ---------------------------------------------------------------- */

static void wait_add(struct pull *l)
{
    struct line *line = l->line;
    l->waits = true;
    l->turn_next = NULL;
    l->turn_prev = line->last;
    *(line->last ? &line->last->turn_next : &line->first) = l;
    line->last = l;
}

static void wait_end(struct pull *l)
{
    struct line *line = l->line;
    if (!l->waits)
        return;
    l->waits = false;
    *(l->turn_prev ? &l->turn_prev->turn_next : &line->first) = l->turn_next;
    *(l->turn_next ? &l->turn_next->turn_prev : &line->last) = l->turn_prev;
}

/* Until its end is known a pull asks for one chunk only. */
static bool wants(const struct pull *l)
{
    return l->known ? l->next < l->to && l->under_way < PULL_WINDOW : l->under_way == 0;
}

static uint64_t chunk_length(const struct pull *l)
{
    uint64_t n = l->known ? l->to - l->next : l->want.length ? l->want.length : CHUNK_BYTES_MAX;
    return n < CHUNK_BYTES_MAX ? n : CHUNK_BYTES_MAX;
}

static struct chunk *chunk_find(struct pull *l, uint64_t tag, uint64_t io)
{
    for (int i = 0; i < PULL_WINDOW; i++)
        if (l->chunks[i].tag == tag && l->chunks[i].io == io)
            return &l->chunks[i];
    return NULL;
}

static void ask(struct pulls *p, struct pull *l, struct actions *out)
{
    struct chunk *c = chunk_find(l, 0, 0); /* there is one: wants() */
    struct buf frame = { 0 };
    *c = (struct chunk){ .tag = p->next++, .offset = l->next, .length = chunk_length(l) };
    struct msg_block_get m = {
        .app = l->want.app, .tag = c->tag, .offset = c->offset, .length = (uint32_t)c->length
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
    map_put(&p->by_tag, c->tag, l);
    l->next += c->length;
    l->under_way++;
    l->line->under_way++;
}

/* As much as the connection's window allows, a chunk a turn. */
static void line_go(struct pulls *p, struct line *line, struct actions *out)
{
    while (line->first && line->under_way < PULL_TOTAL_WINDOW) {
        struct pull *l = line->first;
        wait_end(l);
        ask(p, l, out);
        if (wants(l))
            wait_add(l);
    }
}

static void go_on(struct pulls *p, struct pull *l, struct actions *out)
{
    if (wants(l) && !l->waits)
        wait_add(l);
    line_go(p, l->line, out);
}

static struct line *line_of(struct pulls *p, conn_id conn)
{
    struct line *line = map_get(&p->lines, conn);
    if (line)
        return line;
    line = calloc(1, sizeof *line);
    if (!line)
        abort();
    line->conn = conn;
    map_put(&p->lines, conn, line);
    return line;
}

void pulls_start(struct pulls *p, const struct pull_want *w, const struct head *head, struct actions *out)
{
    struct pull *l = calloc(1, sizeof *l);
    if (!l)
        abort();
    *l = (struct pull){ .number = p->next++,
                        .want = *w,
                        .head = *head,
                        .from = w->offset,
                        .next = w->offset,
                        .line = line_of(p, w->conn) };
    map_put(&p->all, l->number, l);
    l->after = l->line->pulls;
    if (l->after)
        l->after->prev = l;
    l->line->pulls = l;
    go_on(p, l, out);
}

/* ---- the end of one ------------------------------------------------------ */

static void chunk_end(struct pulls *p, struct pull *l, struct chunk *c)
{
    if (c->tag)
        map_del(&p->by_tag, c->tag);
    if (c->io)
        map_del(&p->by_io, c->io);
    *c = (struct chunk){ 0 };
    l->under_way--;
    l->line->under_way--;
}

/* `out` NULL: nobody else's turn has come. */
static void forget(struct pulls *p, struct pull *l, struct actions *out)
{
    struct line *line = l->line;
    for (int i = 0; i < PULL_WINDOW; i++)
        if (l->chunks[i].tag || l->chunks[i].io)
            chunk_end(p, l, &l->chunks[i]);
    wait_end(l);
    *(l->prev ? &l->prev->after : &line->pulls) = l->after;
    if (l->after)
        l->after->prev = l->prev;
    map_del(&p->all, l->number);
    free(l);
    if (out)
        line_go(p, line, out);
    if (!line->pulls) {
        map_del(&p->lines, line->conn);
        free(line);
    }
}

static bool ended(struct pulls *p, struct pull *l, uint32_t code, const char *words, struct actions *out,
                  struct pull_result *r)
{
    *r = (struct pull_result){ .user = l->want.user,
                               .code = code,
                               .base = l->from,
                               .length = l->known ? l->to - l->from : 0,
                               .total = l->total };
    snprintf(r->words, sizeof r->words, "%s", words);
    forget(p, l, out);
    return true;
}

/* ---- what comes ----------------------------------------------------------- */

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* Where the pull begins and ends in a block of this size; false: that is not where this chunk begins. */
static bool place(struct pull *l, const struct msg_block_data *m)
{
    const struct pull_want *w = &l->want;
    uint64_t from = w->tail ? m->total - least(w->offset, m->total) : w->offset;
    if (m->offset != from || from > m->total)
        return false;
    l->known = true;
    l->total = m->total;
    l->from = from;
    l->to = w->length && !w->tail ? from + least(w->length, m->total - from) : m->total;
    return true;
}

/* NULL: it is the piece that was asked for. */
static const char *chunk_check(struct pull *l, struct chunk *c, const struct msg_block_data *m)
{
    static const char other[] = "the peer sent another piece than was asked for";
    bool first = !l->known;
    if (first && !place(l, m))
        return other;
    if (l->want.bytes_max && l->to - l->from > l->want.bytes_max)
        return "it is longer than was said";
    if (first) {
        c->offset = l->from;
        c->length = least(c->length, l->to - l->from);
        l->next = l->from + c->length;
    }
    return m->offset == c->offset && m->bytes.n == c->length ? NULL : other;
}

bool pulls_on_data(struct pulls *p, conn_id from, const struct msg_block_data *m, struct actions *out,
                   struct pull_result *r)
{
    struct pull *l = map_get(&p->by_tag, m->tag);
    if (!l || l->want.conn != from)
        return false;
    struct chunk *c = chunk_find(l, m->tag, 0);
    const char *wrong = chunk_check(l, c, m);
    if (wrong)
        return ended(p, l, BLOCK_CORRUPT, wrong, out, r);
    struct action *act = actions_add(out, ACT_IO);
    act->id = PULL_IO | p->next++;
    act->app = l->want.app;
    act->stage = l->want.stage;
    act->part = l->want.part;
    act->attempt = l->want.attempt;
    act->io.op = IO_WRITE;
    act->io.block = l->want.copy;
    act->io.offset = m->offset - l->from;
    act->io.length = l->to - l->from;
    act->io.bytes = arena_bytes(&out->arena, m->bytes);
    map_del(&p->by_tag, c->tag);
    c->tag = 0;
    c->io = act->id;
    map_put(&p->by_io, c->io, l);
    go_on(p, l, out);
    return false;
}

bool pulls_on_err(struct pulls *p, conn_id from, const struct msg_block_err *m, struct actions *out,
                  struct pull_result *r)
{
    char words[257];
    struct pull *l = map_get(&p->by_tag, m->tag);
    if (!l || l->want.conn != from)
        return false;
    uint32_t code = m->code && m->code != BLOCK_FULL ? m->code : BLOCK_IO;
    return ended(p, l, code, bytes_text(m->words, words, sizeof words), out, r);
}

bool pulls_on_io(struct pulls *p, const struct event *io_done, struct actions *out, struct pull_result *r)
{
    struct pull *l = map_get(&p->by_io, io_done->id);
    if (!l)
        return false;
    if (io_done->io.result < 0) {
        char words[128];
        snprintf(words, sizeof words, "writing the copy here: %s", strerror((int)-io_done->io.result));
        bool full = io_done->io.result == -ENOSPC || io_done->io.result == -EDQUOT;
        return ended(p, l, full ? BLOCK_FULL : BLOCK_IO, words, out, r);
    }
    chunk_end(p, l, chunk_find(l, 0, io_done->id));
    if (l->under_way == 0 && l->next == l->to)
        return ended(p, l, 0, "", out, r);
    go_on(p, l, out);
    return false;
}

bool pulls_on_down(struct pulls *p, conn_id conn, struct pull_result *r)
{
    const struct line *line = map_get(&p->lines, conn);
    return line && ended(p, line->pulls, BLOCK_UNREACHABLE, "the connection to who has it is lost", NULL, r);
}

void pulls_drop_app(struct pulls *p, uint64_t app)
{
    MAP_EACH(&p->all, i) {
        struct pull *l = map_at(&p->all, i);
        if (l->want.app == app)
            forget(p, l, NULL);
    }
}
