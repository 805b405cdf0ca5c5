/* client.c - see client.h: a struct net with one connection and a queue. */
#include "common/net/client.h"

#include "common/base/clock.h"
#include "common/base/version.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define QUEUE_BYTES_MAX (64u << 20)
#define CONN (CONN_DIALLED + 1)

struct client {
    struct net *net;  /* owned */
    struct buf queue; /* frames not taken yet, each after its u32 size */
    size_t taken;
    struct arena arena; /* the last message */
    uint64_t epoch, generation;
    char *address;
    bool up, down, flooded; /* flooded: more came than QUEUE_BYTES_MAX before it was taken */
    enum down_reason reason;
    const char *words;
};

static void on_event(void *user, const struct event *ev)
{
    struct client *c = user;
    if (ev->kind == EV_CONN_UP)
        c->up = true;
    else if (ev->kind == EV_CONN_DOWN) {
        c->down = true;
        c->reason = ev->down.reason;
        c->words = ev->down.words;
    } else if (ev->kind == EV_RECV && c->queue.n + ev->recv.frame.n > QUEUE_BYTES_MAX) {
        c->down = c->flooded = true; /* a conversation with a hole in it is none */
        net_cut(c->net, CONN);
    } else if (ev->kind == EV_RECV && !c->flooded) {
        buf_put(&c->queue, &ev->recv.frame.n, sizeof ev->recv.frame.n);
        buf_put(&c->queue, ev->recv.frame.p, ev->recv.frame.n);
    }
}

static int down_error(const struct client *c, struct error *e)
{
    if (c->flooded)
        return error_set(e, ENOBUFS, "manager %s: it sent more than %u MiB that nothing was done with yet",
                         c->address, QUEUE_BYTES_MAX >> 20);
    /* Closed in the handshake: a server whose key isn't the expected one can't read what we say, and hangs up; so
     * does one that is out of descriptors. */
    if (!c->up && c->reason == DOWN_CLOSED)
        return error_set(e, EACCES,
                         "manager %s: it is not the one that this key is for, or no ferro-manager, or has no "
                         "room for another connection",
                         c->address);
    int code = c->reason == DOWN_UNAUTHORISED ? EACCES
               : c->reason == DOWN_REFUSED    ? ECONNREFUSED
                                              : EHOSTUNREACH;
    return error_set(e, code, "manager %s: %s", c->address, c->words ? c->words : "connection closed");
}

static bool frame_next(struct client *c, struct bytes *frame)
{
    if (c->taken == c->queue.n) {
        c->taken = 0;
        buf_reset(&c->queue);
        return false;
    }
    memcpy(&frame->n, c->queue.p + c->taken, sizeof frame->n);
    frame->p = c->queue.p + c->taken + sizeof frame->n;
    c->taken += sizeof frame->n + frame->n;
    return true;
}

static uint64_t deadline(uint64_t timeout_ms)
{
    return timeout_ms ? clock_now_ns() + timeout_ms * 1000000 : UINT64_MAX;
}

int client_send(struct client *c, uint8_t tag, const void *msg, struct error *e)
{
    struct buf out = { 0 };
    if (c->down)
        return down_error(c, e);
    proto_encode(&out, &(struct head){ .tag = tag, .epoch = c->epoch, .generation = c->generation }, msg);
    net_send(c->net, CONN, out.p, out.n);
    buf_fini(&out);
    return 0;
}

static const void *refused(const struct msg_refuse *m, struct error *e)
{
    char words[513];
    bool may_not = m->code == REFUSE_ROLE || m->code == REFUSE_DENIED;
    error_set(e,
              m->code == REFUSE_VERSION ? EPROTO
              : may_not                 ? EPERM
                                        : EINVAL,
              "%s", bytes_text(m->words, words, sizeof words));
    return NULL;
}

const void *client_recv(struct client *c, uint8_t tag, uint64_t timeout_ms, struct error *e)
{
    uint64_t until = deadline(timeout_ms);
    for (;;) {
        struct bytes frame;
        struct head head;
        while (frame_next(c, &frame)) {
            arena_reset(&c->arena);
            uint8_t got = proto_admit(frame, ROLE_MANAGER, e);
            const void *m = got ? proto_decode(&c->arena, frame, &head, e) : NULL;
            if (!m)
                return NULL;
            c->epoch = head.epoch;
            if (got == tag)
                return m;
            if (got == MSG_REFUSE)
                return refused(m, e);
        }
        if (c->down) {
            down_error(c, e);
            return NULL;
        }
        if (clock_now_ns() >= until) {
            error_set(e, ETIMEDOUT, "manager %s: no answer within %llu ms", c->address,
                      (unsigned long long)timeout_ms);
            return NULL;
        }
        net_poll(c->net, until);
    }
}

static int say_hello(struct client *c, uint64_t timeout_ms, struct error *e)
{
    uint64_t until = deadline(timeout_ms);
    while (!c->up && !c->down && clock_now_ns() < until)
        net_poll(c->net, until);
    if (c->down)
        return down_error(c, e);
    if (!c->up)
        return error_set(e, ETIMEDOUT, "manager %s: no answer within %llu ms", c->address,
                         (unsigned long long)timeout_ms);
    struct msg_hello hello = { .major = PROTO_MAJOR,
                               .minor = PROTO_MINOR,
                               .name = bytes_of("ferro " FERRO_VERSION) };
    if (client_send(c, MSG_HELLO, &hello, e))
        return -1;
    const struct msg_welcome *w = client_recv(c, MSG_WELCOME, timeout_ms, e);
    if (w)
        c->generation = w->generation;
    return w ? 0 : -1;
}

struct client *client_open(const char *manager, const uint8_t manager_key[KEY_BYTES],
                           const uint8_t public_key[KEY_BYTES], const uint8_t secret[KEY_BYTES],
                           uint64_t timeout_ms, struct error *e)
{
    struct client *c = calloc(1, sizeof *c);
    struct net_config config = { .user = c, .on_event = on_event };
    if (!c || !(c->address = strdup(manager)) || !(c->net = net_new(&config, e))) {
        client_close(&c);
        return NULL;
    }
    net_own(c->net, 0, public_key, secret);
    net_dial(c->net, CONN, PLANE_CONTROL, manager, manager_key, 0, ROLE_MANAGER);
    if (say_hello(c, timeout_ms, e))
        client_close(&c);
    return c;
}

void client_close(struct client **cp)
{
    struct client *c = *cp;
    *cp = NULL;
    if (!c)
        return;
    net_free(&c->net);
    buf_fini(&c->queue);
    arena_fini(&c->arena);
    free(c->address);
    free(c);
}

uint64_t client_epoch(const struct client *c)
{
    return c->epoch;
}
