/* gate.c - see gate.h. */
#include "tests/cluster/gate.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zmq.h>

#define TCP_LISTEN 0x0A

/* ---- ports ---------------------------------------------------------------- */

static bool has_socket(pid_t pid, unsigned long inode)
{
    char target[64], wanted[64];
    bool found = false;
    DIR *d = opendir(words("/proc/%d/fd", (int)pid));
    snprintf(wanted, sizeof wanted, "socket:[%lu]", inode);
    for (struct dirent *e; d && !found && (e = readdir(d)) != NULL;) {
        ssize_t n = readlinkat(dirfd(d), e->d_name, target, sizeof target - 1);
        target[n > 0 ? n : 0] = 0;
        found = !strcmp(target, wanted);
    }
    if (d)
        closedir(d);
    return found;
}

int ports_of(pid_t pid, int ports[PORTS_MAX])
{
    static const char *const tables[] = { "tcp", "tcp6" };
    int n = 0;
    for (int i = 0; i < 2; i++) {
        char line[512];
        FILE *f = fopen(words("/proc/%d/net/%s", (int)pid, tables[i]), "r");
        while (f && fgets(line, sizeof line, f)) {
            unsigned port, state;
            unsigned long inode;
            if (sscanf(line, " %*d: %*[0-9A-F]:%x %*s %x %*s %*s %*s %*d %*d %lu", &port, &state, &inode) ==
                    3 &&
                state == TCP_LISTEN && n < PORTS_MAX && has_socket(pid, inode))
                ports[n++] = (int)port;
        }
        if (f)
            fclose(f);
    }
    return n;
}

/* ---- handshakes ------------------------------------------------------------ */

static void mechanism(void *sock, enum offer offer, const uint8_t server[KEY_BYTES],
                      const struct keypair *own)
{
    if (offer == OFFER_PLAIN) {
        zmq_setsockopt(sock, ZMQ_PLAIN_USERNAME, "admin", 5);
        zmq_setsockopt(sock, ZMQ_PLAIN_PASSWORD, "secret", 6);
    } else if (offer == OFFER_CURVE) {
        zmq_setsockopt(sock, ZMQ_CURVE_PUBLICKEY, own->public_key, KEY_BYTES);
        zmq_setsockopt(sock, ZMQ_CURVE_SECRETKEY, own->secret, KEY_BYTES);
        zmq_setsockopt(sock, ZMQ_CURVE_SERVERKEY, server, KEY_BYTES);
    }
}

/* True when the handshake succeeded; false when it failed or the connection was closed. */
static bool await_handshake(struct gate *g)
{
    int ms = AWAIT_MS;
    zmq_setsockopt(g->monitor, ZMQ_RCVTIMEO, &ms, sizeof ms);
    for (;;) {
        uint8_t event[8], address[256];
        uint16_t what;
        cr_assert(zmq_recv(g->monitor, event, sizeof event, 0) >= 6, "no end of a handshake within %d ms",
                  AWAIT_MS);
        zmq_recv(g->monitor, address, sizeof address, 0);
        memcpy(&what, event, sizeof what);
        if (what == ZMQ_EVENT_HANDSHAKE_SUCCEEDED)
            return true;
        if (what != ZMQ_EVENT_CONNECTED && what != ZMQ_EVENT_CONNECT_DELAYED)
            return false;
    }
}

bool gate_open(struct gate *g, int port, enum offer offer, const uint8_t server[KEY_BYTES],
               const struct keypair *own)
{
    static int count;
    int none = 0, never = -1, ms = AWAIT_MS;
    g->ctx = zmq_ctx_new();
    g->sock = zmq_socket(g->ctx, ZMQ_DEALER);
    g->monitor = zmq_socket(g->ctx, ZMQ_PAIR);
    zmq_setsockopt(g->sock, ZMQ_LINGER, &none, sizeof none);
    zmq_setsockopt(g->sock, ZMQ_RECONNECT_IVL, &never, sizeof never);
    zmq_setsockopt(g->sock, ZMQ_RCVTIMEO, &ms, sizeof ms);
    mechanism(g->sock, offer, server, own);
    const char *name = words("inproc://gate-%d", ++count);
    cr_assert(zmq_socket_monitor(g->sock, name, ZMQ_EVENT_ALL) == 0 && zmq_connect(g->monitor, name) == 0);
    /* queued before it connects: it is on its way as soon as a careless service lets it */
    if (offer != OFFER_CURVE)
        gate_send(g, MSG_HELLO, 0, 0, NULL);
    cr_assert(zmq_connect(g->sock, words("tcp://127.0.0.1:%d", port)) == 0);
    return await_handshake(g);
}

void gate_close(struct gate *g)
{
    uint8_t rest[256];
    while (zmq_recv(g->monitor, rest, sizeof rest, ZMQ_DONTWAIT) >= 0)
        ;
    zmq_socket_monitor(g->sock, NULL, 0);
    zmq_close(g->monitor);
    zmq_close(g->sock);
    zmq_ctx_term(g->ctx);
}

/* ---- frames ----------------------------------------------------------------- */

void gate_send_bytes(struct gate *g, const void *bytes, size_t n)
{
    zmq_send(g->sock, bytes, n, ZMQ_DONTWAIT);
}

void gate_send(struct gate *g, uint8_t tag, uint64_t epoch, uint64_t generation, const void *msg)
{
    static const uint64_t empty[1024];
    struct buf out = { 0 };
    proto_encode(&out, &(struct head){ .tag = tag, .epoch = epoch, .generation = generation },
                 msg ? msg : empty);
    gate_send_bytes(g, out.p, out.n);
    buf_fini(&out);
}

uint8_t gate_take(struct gate *g, struct head *h, uint32_t *code)
{
    static uint8_t frame[1 << 16];
    struct arena a = { 0 };
    struct error e;
    *h = (struct head){ 0 };
    do {
        int n = zmq_recv(g->sock, frame, sizeof frame, 0);
        if (n < 2 || n > (int)sizeof frame)
            break;
        const void *m = proto_decode(&a, (struct bytes){ frame, (uint32_t)n }, h, &e);
        cr_assert(m, "a service sent what can't be decoded: %s", e.words);
        if (h->tag == MSG_REFUSE)
            *code = ((const struct msg_refuse *)m)->code;
    } while (h->tag == MSG_BEAT);
    arena_fini(&a);
    return h->tag;
}

bool port_takes_garbage(int port, const void *bytes, size_t n)
{
    struct sockaddr_in to = { .sin_family = AF_INET,
                              .sin_port = htons((uint16_t)port),
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    uint8_t answer[4096];
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert(fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof to) == 0, "port %d does not listen",
              port);
    ssize_t sent = send(fd, bytes, n, MSG_NOSIGNAL), got = 1;
    for (struct pollfd p = { .fd = fd, .events = POLLIN }; sent > 0 && got > 0;)
        got = poll(&p, 1, AWAIT_MS) == 1 ? recv(fd, answer, sizeof answer, 0) : 1 << 30;
    close(fd);
    return got <= 0;
}

int64_t counter(struct proc *p, const char *name)
{
    proc_kill(p, SIGUSR1);
    json_t *j = proc_await(p, "counters", NULL);
    json_t *v = json_object_get(j, name);
    cr_assert(json_is_integer(v), "%s has no counter %s: %s", p->name, name, p->seen);
    int64_t value = json_integer_value(v);
    json_decref(j);
    return value;
}
