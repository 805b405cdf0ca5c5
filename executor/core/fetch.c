/* fetch.c - what a task host reads, brought within its reach as descriptors.
 *
 * Our own blocks and those of executors on this host are opened where they lie;
 * others are pulled over the data plane into copies, which hosts share.
 */
#include "executor/core/core.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COPIES_MAX 1048576

static char *root_of(struct executor *x, const struct rec_peer *peer)
{
    char *root = arena_alloc(&x->out->arena, peer->root.n + 1u);
    return memcpy(root, peer->root.p, peer->root.n);
}

/* ---- answering ---------------------------------------------------------- */

static void settle(struct executor *x, struct host *h)
{
    struct fetch *f = h->fetch;
    if (!f || f->pending)
        return;
    struct block_ref *refs = arena_alloc(&x->out->arena, HOST_FDS_MAX * sizeof *refs);
    uint32_t nrefs = 0;
    for (uint32_t i = 0; i < f->n; i++) {
        f->got[i].words = bytes_of(f->words[i]);
        if (f->got[i].code)
            continue;
        refs[nrefs] = f->refs[i];
        refs[nrefs++].root = f->from[i] ? root_of(x, f->from[i]) : NULL;
    }
    struct msg_fetched m = { .got = { f->got, f->n } };
    host_send(x, h, MSG_FETCHED, &m);
    struct action *act = &x->out->v[x->out->n - 1];
    act->app = h->lease ? h->lease->app->app : 0;
    act->stage = f->wants[0].stage; /* a staging file's; checked by want_one() */
    act->blocks = refs;
    act->nblocks = nrefs;
    free(f);
    h->fetch = NULL;
}

static void got_error(struct fetch *f, uint32_t i, enum block_error code, const char *words)
{
    f->got[i].code = code;
    snprintf(f->words[i], sizeof f->words[i], "%s", words);
}

/* ---- copies ------------------------------------------------------------- */

static uint64_t copy_key(struct block_id id)
{
    uint64_t key;
    memcpy(&key, id.b, sizeof key);
    return key;
}

static struct copy *copy_new(struct executor *x, struct app *a, const struct pull_want *want)
{
    struct copy *c = calloc(1, sizeof *c);
    if (!c)
        abort();
    struct shelf *f = shelf_of(a, want->stage);
    *c = (struct copy){
        .number = x->next_copy++, .id = want->copy, .app = a, .next = f->copies, .stage = want->stage
    };
    if (f->copies)
        f->copies->prev = c;
    f->copies = c;
    map_put(&a->copies, copy_key(c->id), c);
    map_put(&x->copies, c->number, c);
    return c;
}

/* Taken off all lists; freed by copy_free(). */
static void copy_unlist(struct executor *x, struct copy *c)
{
    struct app *a = c->app;
    map_del(&a->copies, copy_key(c->id));
    map_del(&x->copies, c->number);
    *(c->prev ? &c->prev->next : &shelf_of(a, c->stage)->copies) = c->next;
    if (c->next)
        c->next->prev = c->prev;
    shelf_settle(a, c->stage);
    x->block_bytes -= c->counted;
}

static void copy_free(struct copy *c)
{
    buf_fini(&c->waiting);
    free(c);
}

void stage_copies_drop(struct executor *x, struct app *a, uint32_t stage)
{
    struct shelf *f = map_get(&a->shelves, stage);
    for (struct copy *c = f ? f->copies : NULL, *next; c; c = next) {
        next = c->next;
        if (!c->here)
            continue;
        copy_unlist(x, c);
        copy_free(c);
    }
}

void app_copies_drop(struct executor *x, struct app *a)
{
    MAP_EACH(&a->copies, i) {
        struct copy *c = map_at(&a->copies, i);
        copy_unlist(x, c);
        copy_free(c);
    }
}

void copy_forget(struct executor *x, struct app *a, struct block_id id)
{
    struct copy *c = map_get(&a->copies, copy_key(id));
    if (!c || !c->here)
        return;
    copy_unlist(x, c);
    copy_free(c);
}

/* The executor that has it: dialled with the application's fetch key. */
static uint64_t peer_hash(const struct rec_peer *peer)
{
    uint64_t hash;
    memcpy(&hash, peer->incarnation, sizeof hash);
    return hash;
}

static struct source *source_of(struct executor *x, struct app *a, const struct rec_peer *peer)
{
    uint64_t hash = peer_hash(peer);
    struct source *s = map_get(&a->peers, hash);
    if (s)
        return s;
    s = calloc(1, sizeof *s);
    if (!s)
        abort();
    *s = (struct source){ .conn = x->next_conn++, .app = a, .hash = hash };
    map_put(&a->peers, hash, s);
    map_put(&x->sources, s->conn, s);
    struct action *act = actions_add(x->out, ACT_DIAL);
    act->conn = s->conn;
    char *address = arena_alloc(&x->out->arena, peer->data.n + 1u);
    memcpy(address, peer->data.p, peer->data.n);
    act->dial.address = address;
    memcpy(act->dial.key, peer->key, KEY_BYTES);
    act->dial.own = a->own;
    act->dial.role = ROLE_EXECUTOR;
    act->dial.data = true;
    return s;
}

static void pull_now(struct executor *x, const struct pull_want *want)
{
    pulls_start(x->pulls, want, &(struct head){ .epoch = x->epoch, .generation = x->generation }, x->out);
}

/* From the executor `peer`, dialled with the application's fetch key. */
static void pull_from(struct executor *x, struct copy *c, struct pull_want *w, const struct rec_peer *peer)
{
    struct source *s = source_of(x, c->app, peer);
    c->source = w->conn = s->conn;
    if (s->pulls++ == 0)
        s->heard_ns = x->now;
    if (s->up)
        pull_now(x, w);
    else
        buf_put(&s->waiting, w, sizeof *w);
}

struct copy *copy_start(struct executor *x, struct app *a, const struct pull_want *want,
                        const struct rec_peer *peer)
{
    struct copy *c = map_get(&a->copies, copy_key(want->copy));
    if (c)
        return c;
    if (a->copies.n >= COPIES_MAX)
        return NULL;
    c = copy_new(x, a, want);
    struct pull_want w = *want;
    w.user = c->number;
    if (peer)
        pull_from(x, c, &w, peer);
    else
        pull_now(x, &w);
    return c;
}

void source_up(struct executor *x, struct source *s)
{
    struct msg_hello m = {
        .major = PROTO_MAJOR, .minor = PROTO_MINOR, .plane = 1, .name = bytes_of(x->config.host)
    };
    s->up = true;
    frame_send(x, s->conn, MSG_HELLO, &m);
    for (size_t i = 0; i < s->waiting.n / sizeof(struct pull_want); i++)
        pull_now(x, (struct pull_want *)s->waiting.p + i);
    buf_reset(&s->waiting);
}

void source_down(struct executor *x, struct source *s)
{
    struct pull_result r;
    struct buf waiting = s->waiting;
    conn_id conn = s->conn;
    map_del(&x->sources, conn);
    map_del(&s->app->peers, s->hash);
    free(s);
    while (pulls_on_down(x->pulls, conn, &r))
        pull_ended(x, &r);
    for (size_t i = 0; i < waiting.n / sizeof(struct pull_want); i++) {
        r = (struct pull_result){ .user = ((struct pull_want *)waiting.p)[i].user,
                                  .code = BLOCK_UNREACHABLE };
        snprintf(r.words, sizeof r.words, "the executor that has it can't be reached");
        pull_ended(x, &r);
    }
    buf_fini(&waiting);
}

/* One that owes an answer and is silent for as long as makes it lost. */
static uint64_t patience_end(const struct executor *x, const struct source *s)
{
    return s->pulls ? s->heard_ns + x->config.manager_lost_ms * MS : UINT64_MAX;
}

void sources_time(struct executor *x)
{
    MAP_EACH(&x->sources, i) {
        struct source *s = map_at(&x->sources, i);
        if (x->now < patience_end(x, s))
            continue;
        actions_add(x->out, ACT_CUT)->conn = s->conn;
        source_down(x, s);
    }
}

uint64_t sources_deadline(const struct executor *x)
{
    uint64_t next = UINT64_MAX;
    MAP_EACH(&x->sources, i) {
        uint64_t at = patience_end(x, map_at(&x->sources, i));
        next = at < next ? at : next;
    }
    return next;
}

static void copy_told(struct executor *x, struct copy *c, struct host *h, uint32_t i,
                      const struct pull_result *r)
{
    struct fetch *f = h->fetch;
    if (!f || i >= f->n)
        return;
    if (r && r->code)
        got_error(f, i, r->code, r->words);
    else {
        f->got[i] = (struct rec_got){ .base = c->base, .length = c->length, .total = c->total };
        f->refs[i] = (struct block_ref){ .app = c->app->app, .block = c->id, .bytes = c->length };
    }
    f->pending--;
    settle(x, h);
}

/* Where it lies is settled once, by all that it will take. */
static void copy_place(struct executor *x, struct action *write)
{
    const struct app *a = map_get(&x->apps, write->app);
    struct copy *c = a ? map_get(&a->copies, copy_key(write->io.block)) : NULL;
    if (!c)
        return;
    if (!c->placed) {
        c->disk = x->block_bytes > x->config.block_bytes_max ||
                  write->io.length > x->config.block_bytes_max - x->block_bytes;
        c->counted = c->disk ? 0 : write->io.length;
        x->block_bytes += c->counted;
        c->placed = true;
    }
    write->io.last = c->disk;
}

void pull_frame(struct executor *x, uint8_t tag, conn_id from, const void *m)
{
    struct pull_result r;
    uint32_t i = x->out->n;
    bool ended = tag == MSG_BLOCK_DATA ? pulls_on_data(x->pulls, from, m, x->out, &r)
                                       : pulls_on_err(x->pulls, from, m, x->out, &r);
    for (; i < x->out->n; i++)
        if (x->out->v[i].kind == ACT_IO && x->out->v[i].io.op == IO_WRITE)
            copy_place(x, &x->out->v[i]);
    if (ended)
        pull_ended(x, &r);
}

void pull_ended(struct executor *x, const struct pull_result *r)
{
    struct copy *c = map_get(&x->copies, r->user);
    if (!c)
        return;
    struct source *s = map_get(&x->sources, c->source);
    if (s)
        s->pulls--;
    c->here = r->code == 0;
    c->base = r->base;
    c->length = r->length;
    c->total = r->total;
    struct buf waiting = c->waiting;
    c->waiting = (struct buf){ 0 };
    for (size_t i = 0; i < waiting.n / sizeof(struct waiter); i++) {
        struct waiter *w = (struct waiter *)waiting.p + i;
        struct host *h = map_get(&x->hosts, w->host);
        if (h && h->lease && h->lease->app == c->app)
            copy_told(x, c, h, w->index, r);
    }
    buf_fini(&waiting);
    if (r->code) /* before libs_arrived(), which may ask for it again */
        copy_unlist(x, c);
    if (c->stage == UINT32_MAX)
        libs_arrived(x, c, r->code, r->words);
    if (r->code)
        copy_free(c);
}

/* ---- a host's wishes ---------------------------------------------------- */

static void want_pull(struct executor *x, struct host *h, uint32_t i, const struct rec_peer *peer)
{
    const struct rec_want *w = &h->fetch->wants[i];
    struct app *a = h->lease->app;
    uint64_t hash = peer ? peer_hash(peer) : 0, kept;
    struct pull_want p = { .app = a->app,
                           .stage = w->stage,
                           .part = w->part,
                           .attempt = w->attempt,
                           .conn = a->data,
                           .offset = w->offset,
                           .length = w->length,
                           .tail = w->tail,
                           .bytes_max = w->length ? w->length : w->bytes };
    memcpy(p.block.b, w->block, ID_BYTES);
    memcpy(&kept, w->block, sizeof kept);
    p.copy = block_name(BLOCK_COPY, kept ^ hash, w->offset << 1 | w->tail, w->length);
    struct copy *c = peer || a->data ? copy_start(x, a, &p, peer) : NULL;
    if (!c) {
        got_error(h->fetch, i, a->data ? BLOCK_BUSY : BLOCK_UNREACHABLE,
                  a->data ? "too many blocks are fetched at once" : "the driver is not connected");
        return;
    }
    h->fetch->pending++;
    if (c->here) {
        copy_told(x, c, h, i, NULL);
        return;
    }
    struct waiter waiter = { h->id, i };
    buf_put(&c->waiting, &waiter, sizeof waiter);
}

static void want_own(struct executor *x, struct host *h, uint32_t i)
{
    struct fetch *f = h->fetch;
    struct app *a = h->lease->app;
    struct block_id id;
    memcpy(id.b, f->wants[i].block, ID_BYTES);
    const struct block *b = map_get(&x->blocks, block_key(a->app, id));
    if (!b || b->app != a || memcmp(b->id.b, id.b, ID_BYTES)) {
        got_error(f, i, BLOCK_GONE, "no such block here");
        return;
    }
    f->got[i] = (struct rec_got){ .length = b->bytes, .total = b->bytes };
    f->refs[i] = (struct block_ref){ .app = a->app, .block = id, .bytes = b->bytes };
}

static void want_neighbour(struct executor *x, struct host *h, uint32_t i, const struct rec_peer *peer)
{
    struct job *j;
    const struct rec_want *w = &h->fetch->wants[i];
    struct block_ref ref = { .app = h->lease->app->app, .root = root_of(x, peer), .bytes = w->bytes };
    memcpy(ref.block.b, w->block, ID_BYTES);
    memcpy(ref.owner, peer->incarnation, ID_BYTES);
    struct action *act = io_start(x, JOB_LOOK, IO_LOOK, ref.app, &j);
    act->blocks = arena_copy(&x->out->arena, &ref, sizeof ref);
    act->nblocks = 1;
    j->host = h->id;
    j->index = i;
    h->fetch->pending++;
}

/* By the version of the stage that this host was told. */
static const struct rec_peer *peer_of(const struct host *h, const struct rec_want *w)
{
    return h->told && w->peer < h->told->msg->peers.n ? &h->told->msg->peers.v[w->peer] : NULL;
}

void fetch_looked(struct executor *x, struct job *j, int64_t result)
{
    struct host *h = map_get(&x->hosts, j->host);
    if (!h || !h->fetch || !h->lease)
        return;
    struct fetch *f = h->fetch;
    const struct rec_want *w = &f->wants[j->index];
    const struct rec_peer *peer = peer_of(h, w);
    f->pending--;
    if (result == 0 && peer) {
        f->refs[j->index] = (struct block_ref){ .app = h->lease->app->app, .bytes = w->bytes };
        f->from[j->index] = peer;
        memcpy(f->refs[j->index].block.b, w->block, ID_BYTES);
        memcpy(f->refs[j->index].owner, peer->incarnation, ID_BYTES);
        f->got[j->index] = (struct rec_got){ .length = w->bytes, .total = w->bytes };
    } else if (peer)
        want_pull(x, h, j->index, peer);
    else
        got_error(f, j->index, BLOCK_GONE, "its place is not known any more");
    settle(x, h);
}

static void want_one(struct executor *x, struct host *h, uint32_t i)
{
    struct fetch *f = h->fetch;
    const struct rec_want *w = &f->wants[i];
    const struct rec_peer *peer = w->kind == WANT_BLOCK ? peer_of(h, w) : NULL;
    struct run head;
    if (w->kind == WANT_DRIVER)
        want_pull(x, h, i, NULL);
    else if (w->kind == WANT_SAVE) {
        bool own = runs_peek(&h->under_way, &head) && head.stage == w->stage && head.first == w->part &&
                   head.attempt == w->attempt;
        if (own) {
            f->got[i] = (struct rec_got){ .code = 0 };
            f->refs[i] = (struct block_ref){
                .app = h->lease->app->app, .save = true, .part = w->part, .attempt = w->attempt
            };
        } else
            got_error(f, i, BLOCK_DENIED, "not the task that runs here");
    } else if (!peer)
        got_error(f, i, BLOCK_GONE, "its place is not known any more");
    else if (!memcmp(peer->incarnation, x->config.incarnation, ID_BYTES))
        want_own(x, h, i);
    else if (bytes_eq(peer->host_id, bytes_of(x->config.host_id)) && w->bytes)
        want_neighbour(x, h, i, peer);
    else
        want_pull(x, h, i, peer);
}

void on_fetch(struct executor *x, struct host *h, const struct msg_fetch *m)
{
    if (h->fetch || !h->lease || h->state != HOST_UP || m->wants.n == 0) {
        x->refused++;
        host_kill(x, h, CAUSE_CRASH); /* one request at a time: this is no host of ours */
        return;
    }
    struct fetch *f = h->fetch = calloc(1, sizeof *f);
    if (!f)
        abort();
    f->n = m->wants.n;
    memcpy(f->wants, m->wants.v, f->n * sizeof *f->wants);
    f->pending = 1; /* ours, until all were asked for */
    for (uint32_t i = 0; i < f->n && h->fetch == f; i++)
        want_one(x, h, i);
    f->pending--;
    settle(x, h);
}
