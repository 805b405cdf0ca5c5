/* test_net.c - sockets, keys and ends of connections, over real loopback TCP. */
#include "common/base/clock.h"
#include "common/net/net.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <pthread.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <zmq.h>

TestSuite(net, .timeout = 60);

#define WAIT_NS 5000000000ull
#define CLIENT (CONN_DIALLED + 1)

struct keys {
    uint8_t public_key[KEY_BYTES], secret[KEY_BYTES];
};

/* One end: what it saw. */
struct end {
    struct net *net;
    int up, downs, frames, probes;
    enum down_reason reason;
    conn_id peer;
    enum role role;
    char last[64];
    bool refused;
};

static void on_event(void *user, const struct event *ev)
{
    struct end *x = user;
    if (ev->kind == EV_CONN_UP)
        x->up++;
    else if (ev->kind == EV_CONN_DOWN) {
        x->downs++;
        x->reason = ev->down.reason;
    } else if (ev->kind == EV_PROBED) {
        x->probes++;
        x->refused = ev->probed.refused;
    } else if (ev->kind == EV_RECV) {
        x->frames++;
        x->peer = ev->conn;
        x->role = ev->recv.role;
        snprintf(x->last, sizeof x->last, "%.*s", (int)ev->recv.frame.n, (const char *)ev->recv.frame.p);
    }
}

static struct keys keys_make(void)
{
    struct keys k;
    crypto_box_keypair(k.public_key, k.secret);
    return k;
}

static struct end *end_new(const struct keys *k)
{
    struct error e;
    struct end *x = calloc(1, sizeof *x);
    struct net_config config = { .user = x, .on_event = on_event, .probe = { (const uint8_t *)"probe", 5 } };
    x->net = net_new(&config, &e);
    cr_assert(x->net, "%s", e.words);
    net_own(x->net, 0, k->public_key, k->secret);
    return x;
}

static void end_free(struct end *x)
{
    net_free(&x->net);
    free(x);
}

#define UNTIL(a, b, condition) \
    do { \
        uint64_t end_ns_ = clock_now_ns() + WAIT_NS; \
        while (!(condition) && clock_now_ns() < end_ns_) { \
            net_poll((a)->net, clock_now_ns() + 2000000); \
            net_poll((b)->net, clock_now_ns() + 2000000); \
        } \
        cr_assert(condition, "not within 5 s: %s", #condition); \
    } while (0)

static void server_start(struct end *s, char *bound)
{
    struct error e;
    cr_assert_eq(net_bind(s->net, PLANE_CONTROL, "127.0.0.1:0", 0, bound, 64, &e), 0, "%s", e.words);
}

Test(net, passes_frames_both_ways_and_tells_the_role)
{
    struct keys sk = keys_make(), ck = keys_make();
    struct end *s = end_new(&sk), *c = end_new(&ck);
    char at[64];
    server_start(s, at);
    net_admit(s->net, ck.public_key, ROLE_USER);
    net_dial(c->net, CLIENT, PLANE_CONTROL, at, sk.public_key, 0, ROLE_MANAGER);
    UNTIL(s, c, c->up == 1);
    net_send(c->net, CLIENT, "hello", 5);
    UNTIL(s, c, s->frames == 1);
    cr_assert_str_eq(s->last, "hello");
    cr_assert_eq(s->role, ROLE_USER);
    net_send(s->net, s->peer, "welcome", 7);
    UNTIL(s, c, c->frames == 1);
    cr_assert_str_eq(c->last, "welcome");
    cr_assert_eq(c->role, ROLE_MANAGER);
    end_free(c);
    end_free(s);
}

/* More than one turn takes, and nothing that would wake anybody after them. */
Test(net, what_one_turn_leaves_is_not_slept_over, .timeout = 20)
{
    struct keys sk = keys_make(), ck = keys_make();
    struct end *s = end_new(&sk), *c = end_new(&ck);
    char at[64];
    const int many = 2 * NET_TURN_FRAMES_MAX + 10;
    server_start(s, at);
    net_admit(s->net, ck.public_key, ROLE_USER);
    net_dial(c->net, CLIENT, PLANE_CONTROL, at, sk.public_key, 0, ROLE_MANAGER);
    UNTIL(s, c, c->up == 1);
    for (int i = 0; i < many; i++)
        net_send(c->net, CLIENT, "more", 4);
    while (s->frames < many)
        net_poll(s->net, clock_now_ns() + 60 * WAIT_NS);
    end_free(c);
    end_free(s);
}

enum { PINGS = 5000, AT_ONCE = 3 };

/* Answers what comes, so that each call of the socket may take the word of the next one. */
static void *pong(void *arg)
{
    struct end *s = arg;
    for (int answered = 0; answered < PINGS;) {
        net_poll(s->net, clock_now_ns() + 60 * WAIT_NS);
        for (; answered < s->frames; answered++)
            net_send(s->net, s->peer, "pong", 4);
    }
    return NULL;
}

Test(net, no_frame_waits_for_another, .timeout = 20)
{
    struct keys sk = keys_make(), ck = keys_make();
    struct end *s = end_new(&sk), *c = end_new(&ck);
    pthread_t thread;
    char at[64];
    server_start(s, at);
    net_admit(s->net, ck.public_key, ROLE_USER);
    net_dial(c->net, CLIENT, PLANE_CONTROL, at, sk.public_key, 0, ROLE_MANAGER);
    UNTIL(s, c, c->up == 1);
    pthread_create(&thread, NULL, pong, s);
    for (int sent = 0; c->frames < PINGS;) {
        for (; sent < PINGS && sent < c->frames + AT_ONCE; sent++)
            net_send(c->net, CLIENT, "ping", 4);
        net_poll(c->net, clock_now_ns() + 60 * WAIT_NS);
    }
    pthread_join(thread, NULL);
    end_free(c);
    end_free(s);
}

Test(net, resolves_names)
{
    struct keys sk = keys_make(), ck = keys_make();
    struct end *s = end_new(&sk), *c = end_new(&ck);
    char at[64], named[64];
    server_start(s, at);
    net_admit(s->net, ck.public_key, ROLE_USER);
    snprintf(named, sizeof named, "localhost:%s", strrchr(at, ':') + 1);
    net_dial(c->net, CLIENT, PLANE_CONTROL, named, sk.public_key, 0, ROLE_MANAGER);
    UNTIL(s, c, c->up + c->downs == 1);
    net_dial(c->net, CLIENT + 1, PLANE_CONTROL, "no-such-host.invalid:1", sk.public_key, 0, ROLE_MANAGER);
    int before = c->downs;
    UNTIL(s, c, c->downs == before + 1);
    cr_assert_eq(c->reason, DOWN_UNREACHABLE);
    end_free(c);
    end_free(s);
}

Test(net, refuses_a_key_it_does_not_know)
{
    struct keys sk = keys_make(), ck = keys_make();
    struct end *s = end_new(&sk), *c = end_new(&ck);
    struct net_stats stats;
    char at[64];
    server_start(s, at);
    net_dial(c->net, CLIENT, PLANE_CONTROL, at, sk.public_key, 0, ROLE_MANAGER);
    UNTIL(s, c, c->downs == 1);
    cr_assert_eq(c->reason, DOWN_UNAUTHORISED);
    net_stats(s->net, &stats);
    cr_assert_eq(stats.handshakes_refused, 1);
    cr_assert_eq(stats.frames, 0);
    end_free(c);
    end_free(s);
}

/* A stranger with plain libzmq: 0 NULL, 1 PLAIN. */
static void *stranger(void *ctx, const char *at, int mechanism)
{
    char endpoint[80];
    void *sock = zmq_socket(ctx, ZMQ_DEALER);
    int none = 0;
    zmq_setsockopt(sock, ZMQ_LINGER, &none, sizeof none);
    if (mechanism == 1) {
        zmq_setsockopt(sock, ZMQ_PLAIN_USERNAME, "admin", 5);
        zmq_setsockopt(sock, ZMQ_PLAIN_PASSWORD, "admin", 5);
    }
    snprintf(endpoint, sizeof endpoint, "tcp://%s", at);
    zmq_connect(sock, endpoint);
    zmq_send(sock, "let me in", 9, ZMQ_DONTWAIT);
    return sock;
}

Test(net, takes_nothing_without_curve)
{
    struct keys sk = keys_make(), ck = keys_make();
    struct end *s = end_new(&sk), *c = end_new(&ck);
    struct net_stats stats;
    char at[64];
    server_start(s, at);
    net_admit(s->net, ck.public_key, ROLE_USER);
    void *ctx = zmq_ctx_new(), *a = stranger(ctx, at, 0), *b = stranger(ctx, at, 1);
    net_dial(c->net, CLIENT, PLANE_CONTROL, at, sk.public_key, 0, ROLE_MANAGER);
    UNTIL(s, c, c->up == 1); /* a friend gets through after them */
    net_send(c->net, CLIENT, "me", 2);
    UNTIL(s, c, s->frames == 1);
    net_stats(s->net, &stats);
    cr_assert_eq(stats.frames, 1);
    cr_assert_str_eq(s->last, "me");
    zmq_close(a);
    zmq_close(b);
    zmq_ctx_term(ctx);
    end_free(c);
    end_free(s);
}

Test(net, notices_a_peer_that_is_gone)
{
    struct keys sk = keys_make(), ck = keys_make();
    struct end *s = end_new(&sk), *c = end_new(&ck);
    char at[64];
    server_start(s, at);
    net_admit(s->net, ck.public_key, ROLE_USER);
    net_dial(c->net, CLIENT, PLANE_CONTROL, at, sk.public_key, 0, ROLE_MANAGER);
    UNTIL(s, c, c->up == 1);
    net_send(c->net, CLIENT, "hello", 5);
    UNTIL(s, c, s->frames == 1);
    net_cut(c->net, CLIENT);
    UNTIL(s, c, s->downs == 1);
    cr_assert_eq(s->reason, DOWN_CLOSED);
    end_free(c);
    end_free(s);
}

Test(net, tells_refused_from_open)
{
    struct keys sk = keys_make(), ck = keys_make();
    struct end *s = end_new(&sk), *c = end_new(&ck);
    char at[64];
    server_start(s, at);
    net_probe(c->net, 1, at);
    UNTIL(s, c, c->probes == 1);
    cr_assert_not(c->refused);
    end_free(s);
    s = end_new(&sk);
    net_probe(c->net, 2, at);
    UNTIL(s, c, c->probes == 2);
    cr_assert(c->refused);
    char named[80];
    snprintf(named, sizeof named, "localhost:%s", strrchr(at, ':') + 1);
    net_probe(c->net, 3, named);
    UNTIL(s, c, c->probes == 3);
    cr_assert(c->refused, "its name is resolved first");
    net_probe(c->net, 4, "no.such.host.invalid:1");
    UNTIL(s, c, c->probes == 4);
    cr_assert_not(c->refused);
    net_dial(c->net, CLIENT, PLANE_CONTROL, at, sk.public_key, 0, ROLE_MANAGER);
    UNTIL(s, c, c->downs == 1);
    cr_assert_eq(c->reason, DOWN_REFUSED);
    end_free(c);
    end_free(s);
}

Test(net, revoking_cuts_a_live_connection)
{
    struct keys sk = keys_make(), ck = keys_make();
    struct end *s = end_new(&sk), *c = end_new(&ck);
    char at[64];
    server_start(s, at);
    net_admit(s->net, ck.public_key, ROLE_USER);
    net_dial(c->net, CLIENT, PLANE_CONTROL, at, sk.public_key, 0, ROLE_MANAGER);
    UNTIL(s, c, c->up == 1);
    net_send(c->net, CLIENT, "hello", 5);
    UNTIL(s, c, s->frames == 1);
    net_revoke(s->net, ck.public_key);
    UNTIL(s, c, s->downs == 1 && c->downs == 1);
    cr_assert_eq(s->reason, DOWN_UNAUTHORISED);
    net_dial(c->net, CLIENT + 1, PLANE_CONTROL, at, sk.public_key, 0, ROLE_MANAGER);
    UNTIL(s, c, c->downs == 2);
    cr_assert_eq(c->reason, DOWN_UNAUTHORISED);
    end_free(c);
    end_free(s);
}

Test(net, reports_a_peer_that_does_not_read)
{
    struct keys sk = keys_make(), ck = keys_make();
    struct end *s = end_new(&sk), *c = end_new(&ck);
    static char block[1 << 16];
    char at[64];
    server_start(s, at);
    net_admit(s->net, ck.public_key, ROLE_USER);
    net_dial(c->net, CLIENT, PLANE_CONTROL, at, sk.public_key, 0, ROLE_MANAGER);
    UNTIL(s, c, c->up == 1);
    net_send(c->net, CLIENT, "hello", 5);
    UNTIL(s, c, s->frames == 1);
    for (int i = 0; i < 4 * NET_HWM && s->downs == 0; i++) { /* the client never polls */
        net_send(s->net, s->peer, block, sizeof block / 64);
        if (i % 64 == 0)
            net_poll(s->net, 0);
    }
    UNTIL(s, s, s->downs == 1);
    cr_assert_eq(s->reason, DOWN_FULL);
    end_free(c);
    end_free(s);
}

/* A chunk may be a MiB: a peer that takes none gets only so many. */
Test(net, few_chunks_wait_for_a_peer)
{
    struct keys sk = keys_make(), ck = keys_make();
    struct end *s = end_new(&sk), *c = end_new(&ck);
    static char block[1 << 16];
    char at[64];
    struct error e;
    cr_assert_eq(net_bind(s->net, PLANE_DATA, "127.0.0.1:0", 0, at, sizeof at, &e), 0, "%s", e.words);
    net_admit(s->net, ck.public_key, ROLE_USER);
    net_dial(c->net, CLIENT, PLANE_DATA, at, sk.public_key, 0, ROLE_MANAGER);
    UNTIL(s, c, c->up == 1);
    net_send(c->net, CLIENT, "hello", 5);
    UNTIL(s, c, s->frames == 1);
    int sent = 0;
    for (; sent < NET_HWM && s->downs == 0; sent++) { /* the client never polls */
        net_send(s->net, s->peer, block, sizeof block);
        net_poll(s->net, 0);
    }
    cr_assert_eq(s->reason, DOWN_FULL);
    cr_assert_lt(sent, 1000, "beyond what sockets hold there are %d", NET_DATA_HWM + NET_DATA_RECEIVE_HWM);
    end_free(c);
    end_free(s);
}

Test(net, a_connection_that_says_nothing_is_cut)
{
    struct keys sk = keys_make(), ck = keys_make();
    struct end *s = end_new(&sk), *c = end_new(&ck);
    struct net_stats stats;
    char at[64];
    server_start(s, at);
    net_admit(s->net, ck.public_key, ROLE_USER);
    net_dial(c->net, CLIENT, PLANE_CONTROL, at, sk.public_key, 0, ROLE_MANAGER);
    net_dial(c->net, CLIENT + 1, PLANE_CONTROL, at, sk.public_key, 0, ROLE_MANAGER);
    UNTIL(s, c, c->up == 2);
    net_send(c->net, CLIENT, "hello", 5);
    uint64_t until = clock_now_ns() + 2 * NET_SILENT_MS * 1000000ull;
    while (c->downs == 0 && clock_now_ns() < until) {
        net_poll(s->net, clock_now_ns() + 20000000);
        net_poll(c->net, clock_now_ns() + 20000000);
    }
    net_stats(s->net, &stats);
    cr_assert(c->downs == 1 && c->reason == DOWN_CLOSED && stats.cut_silent == 1);
    net_send(c->net, CLIENT, "still here", 10);
    UNTIL(s, c, s->frames == 2);
    end_free(c);
    end_free(s);
}

Test(net, a_key_of_ours_that_is_gone_dials_no_more)
{
    struct keys sk = keys_make(), ck = keys_make();
    struct end *s = end_new(&sk), *c = end_new(&ck);
    char at[64];
    server_start(s, at);
    net_admit(s->net, ck.public_key, ROLE_USER);
    net_own(c->net, 2, ck.public_key, ck.secret);
    net_dial(c->net, CLIENT, PLANE_CONTROL, at, sk.public_key, 2, ROLE_MANAGER);
    UNTIL(s, c, c->up == 1);
    net_disown(c->net, 2);
    net_dial(c->net, CLIENT + 1, PLANE_CONTROL, at, sk.public_key, 2, ROLE_MANAGER);
    UNTIL(s, c, c->downs == 1);
    end_free(c);
    end_free(s);
}

/* Applications come and go by the million: a revoked key leaves nothing. */
Test(net, a_revoked_key_makes_room)
{
    struct keys sk = keys_make(), ck = keys_make();
    struct end *s = end_new(&sk), *c = end_new(&ck);
    char at[64];
    server_start(s, at);
    for (uint32_t i = 0; i < NET_ADMITTED_MAX + 10; i++) {
        uint8_t key[KEY_BYTES] = { 0 };
        memcpy(key, &i, sizeof i);
        net_admit(s->net, key, ROLE_DRIVER);
        net_revoke(s->net, key);
    }
    net_admit(s->net, ck.public_key, ROLE_USER);
    net_dial(c->net, CLIENT, PLANE_CONTROL, at, sk.public_key, 0, ROLE_MANAGER);
    UNTIL(s, c, c->up == 1);
    end_free(c);
    end_free(s);
}

/* What a peer had sent before it was cut must not come as a new peer's, and it is forgotten once gone. */
Test(net, a_cut_peer_is_deaf_and_then_gone)
{
    struct keys sk = keys_make(), ck = keys_make();
    struct end *s = end_new(&sk), *c = end_new(&ck);
    struct net_stats stats;
    char at[64];
    server_start(s, at);
    net_admit(s->net, ck.public_key, ROLE_USER);
    net_dial(c->net, CLIENT, PLANE_CONTROL, at, sk.public_key, 0, ROLE_MANAGER);
    UNTIL(s, c, c->up == 1);
    for (int i = 0; i < 3000; i++)
        net_send(c->net, CLIENT, "frame", 5);
    UNTIL(s, s, s->frames > 0);
    conn_id peer = s->peer;
    int frames = s->frames;
    net_cut(s->net, peer);
    UNTIL(s, c, c->downs == 1);
    UNTIL(s, c, (net_stats(s->net, &stats), stats.peers == 0));
    cr_assert_eq(s->frames, frames, "it was heard after it was cut");
    cr_assert_eq(s->peer, peer);
    cr_assert_eq(s->downs, 0, "who cuts is not told");
    end_free(c);
    end_free(s);
}
