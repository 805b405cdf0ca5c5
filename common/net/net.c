/* net.c - the turn: wait, then connections first, control before data. */
#include "common/net/impl.h"

#include "common/base/clock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define IO_THREADS 2 /* one a plane */

/* ---- sockets ------------------------------------------------------------ */

static void set_int(void *sock, int option, int value)
{
    int r = zmq_setsockopt(sock, option, &value, sizeof value);
    (void)r; /* every option here is known to libzmq 4.3 */
}

/* The one wrapper: whatever it makes speaks CURVE or nothing. */
void *net_socket(struct net *n, int type, enum plane plane, uint32_t own)
{
    const struct pair *k = &n->own[own];
    void *sock = k->set ? zmq_socket(n->ctx, type) : NULL;
    if (!sock)
        return NULL;
    uint64_t affinity = 1ull << plane;
    int64_t largest = 8 << 20;
    zmq_setsockopt(sock, ZMQ_AFFINITY, &affinity, sizeof affinity);
    zmq_setsockopt(sock, ZMQ_MAXMSGSIZE, &largest, sizeof largest);
    set_int(sock, ZMQ_SNDHWM, plane == PLANE_DATA ? NET_DATA_HWM : NET_HWM);
    set_int(sock, ZMQ_RCVHWM, plane == PLANE_DATA ? NET_DATA_RECEIVE_HWM : NET_HWM);
    set_int(sock, ZMQ_LINGER, LINGER_MS);
    set_int(sock, ZMQ_HANDSHAKE_IVL, HANDSHAKE_MS);
    set_int(sock, ZMQ_IPV6, 1);
    set_int(sock, ZMQ_TCP_KEEPALIVE, 1);
    set_int(sock, ZMQ_TCP_KEEPALIVE_IDLE, 10);
    set_int(sock, ZMQ_TCP_MAXRT, 20000);
    zmq_setsockopt(sock, ZMQ_CURVE_PUBLICKEY, k->public_key, KEY_BYTES);
    if (zmq_setsockopt(sock, ZMQ_CURVE_SECRETKEY, k->secret, KEY_BYTES)) {
        zmq_close(sock);
        return NULL;
    }
    return sock;
}

int net_monitor(struct net *n, void *sock, struct source *s, enum source_kind kind, struct dial *owner,
                int events)
{
    char address[64];
    snprintf(address, sizeof address, "inproc://monitor-%llu", (unsigned long long)n->next_monitor++);
    void *pair = zmq_socket(n->ctx, ZMQ_PAIR);
    if (!pair)
        return -1;
    set_int(pair, ZMQ_LINGER, 0);
    set_int(pair, ZMQ_RCVHWM, 0); /* the I/O thread writes it blocking: it must never be full */
    if (zmq_socket_monitor(sock, address, events) || zmq_connect(pair, address) ||
        wait_add(n, s, pair, kind, owner)) {
        zmq_close(pair);
        return -1;
    }
    return 0;
}

int net_monitor_take(void *monitor, uint16_t *event, uint32_t *value)
{
    uint8_t head[8];
    char address[256];
    int got = zmq_recv(monitor, head, sizeof head, ZMQ_DONTWAIT);
    if (got < 6)
        return 0;
    zmq_recv(monitor, address, sizeof address, 0);
    memcpy(event, head, 2);
    memcpy(value, head + 2, 4);
    return 1;
}

void net_monitor_close(struct net *n, void *sock, struct source *s)
{
    uint16_t event;
    uint32_t value;
    void *monitor = s->sock;
    if (!monitor)
        return;
    wait_remove(n, s);
    while (net_monitor_take(monitor, &event, &value))
        ;
    zmq_socket_monitor(sock, NULL, 0);
    zmq_close(monitor);
}

/* ---- life --------------------------------------------------------------- */

struct net *net_new(const struct net_config *config, struct error *e)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    } else
        files.rlim_cur = RLIM_INFINITY;
    struct net *n = calloc(1, sizeof *n);
    if (!n || !(n->own = calloc(NET_KEYS_OWN_MAX, sizeof *n->own)) || !(n->ctx = zmq_ctx_new())) {
        error_sys(e, "the network can't start");
        net_free(&n);
        return NULL;
    }
    n->config = *config;
    n->epoll = -1;
    n->accept_max = files.rlim_cur == RLIM_INFINITY || files.rlim_cur / 4 * 3 > NET_PEERS_MAX
                        ? NET_PEERS_MAX
                        : (uint32_t)(files.rlim_cur / 4 * 3);
    n->next_conn = n->next_serial = 1;
    zmq_ctx_set(n->ctx, ZMQ_IO_THREADS, IO_THREADS);
    zmq_ctx_set(n->ctx, ZMQ_MAX_SOCKETS, 2 * NET_DIALS_MAX + 64);
    n->resolver = resolver_new();
    if (!n->resolver || wait_open(n)) {
        error_sys(e, n->resolver ? "epoll" : "the resolver's thread can't start");
        net_free(&n);
        return NULL;
    }
    wait_plain(n, resolver_fd(n->resolver), POLLIN);
    if (zap_open(n, e))
        net_free(&n);
    return n;
}

static void routers_close(struct net *n)
{
    for (int i = 0; i < 2; i++)
        if (n->router[i].sock) {
            wait_remove(n, &n->router[i].frames);
            net_monitor_close(n, n->router[i].sock, &n->router[i].monitor);
            zmq_close(n->router[i].sock);
        }
}

static void free_all(struct map *m)
{
    MAP_EACH(m, i)
        free(map_at(m, i));
    map_fini(m);
}

void net_free(struct net **np)
{
    struct net *n = *np;
    *np = NULL;
    if (!n)
        return;
    MAP_EACH(&n->dials, i)
        dial_close(n, map_at(&n->dials, i));
    routers_close(n);
    resolver_free(&n->resolver);
    for (size_t i = 0; i < n->probes.n / sizeof(struct probe); i++)
        close(((struct probe *)n->probes.p)[i].fd);
    free_all(&n->dials);
    free_all(&n->peers);
    free_all(&n->unheard);
    map_fini(&n->accepted);
    free_all(&n->serials);
    map_fini(&n->admitted);
    map_fini(&n->peers_by_fd);
    map_fini(&n->peers_by_rid);
    wait_remove(n, &n->requests);
    if (n->zap) { /* last: a socket without a ZAP handler admits anyone */
        set_int(n->zap, ZMQ_LINGER, 0);
        zmq_close(n->zap);
    }
    if (n->ctx)
        zmq_ctx_term(n->ctx);
    if (n->own)
        explicit_bzero(n->own, NET_KEYS_OWN_MAX * sizeof *n->own);
    free(n->own);
    wait_close(n);
    buf_fini(&n->downs);
    buf_fini(&n->probes);
    free(n);
}

void net_own(struct net *n, uint32_t own, const uint8_t public_key[KEY_BYTES],
             const uint8_t secret[KEY_BYTES])
{
    if (own >= NET_KEYS_OWN_MAX)
        return;
    memcpy(n->own[own].public_key, public_key, KEY_BYTES);
    memcpy(n->own[own].secret, secret, KEY_BYTES);
    n->own[own].set = true;
}

void net_disown(struct net *n, uint32_t own)
{
    if (own < NET_KEYS_OWN_MAX)
        explicit_bzero(&n->own[own], sizeof n->own[own]);
}

/* ---- events ------------------------------------------------------------- */

void net_emit(struct net *n, const struct event *ev)
{
    n->config.on_event(n->config.user, ev);
}

void net_down(struct net *n, conn_id conn, enum down_reason reason, const char *words)
{
    struct down d = { conn, reason, words };
    buf_put(&n->downs, &d, sizeof d);
}

/* What ended since the last turn; on_event may add to it. */
static void hand_over_downs(struct net *n)
{
    for (size_t i = 0; i < n->downs.n / sizeof(struct down); i++) {
        struct down d = ((struct down *)n->downs.p)[i];
        struct event ev = { .kind = EV_CONN_DOWN, .conn = d.conn, .down = { d.reason, d.words } };
        net_emit(n, &ev);
    }
    buf_reset(&n->downs);
}

/* ---- probes ------------------------------------------------------------- */

/* `numeric` may be "": its name is not known. */
static void probe_start(struct net *n, uint64_t id, const char *numeric)
{
    struct probe p = { .id = id, .fd = -1, .until_ns = clock_now_ns() + 1000000000ull };
    struct sockaddr_storage to = { 0 };
    char host[64];
    const char *port;
    socklen_t size = 0;
    if (address_split(numeric, host, sizeof host, &port)) {
        struct sockaddr_in *v4 = (struct sockaddr_in *)&to;
        struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&to;
        uint16_t number = htons((uint16_t)atoi(port));
        if (inet_pton(AF_INET, host, &v4->sin_addr) == 1)
            v4->sin_family = AF_INET, v4->sin_port = number, size = sizeof *v4;
        else if (inet_pton(AF_INET6, host, &v6->sin6_addr) == 1)
            v6->sin6_family = AF_INET6, v6->sin6_port = number, size = sizeof *v6;
    }
    int r = -1, err = EINPROGRESS;
    if (size && (p.fd = socket(to.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)) >= 0) {
        r = connect(p.fd, (struct sockaddr *)&to, size);
        err = errno;
    }
    if (p.fd < 0 || r == 0 || err != EINPROGRESS)
        p.until_ns = r < 0 && err == ECONNREFUSED ? 1 : 0; /* known already: told in the next turn */
    else
        wait_plain(n, p.fd, POLLOUT);
    buf_put(&n->probes, &p, sizeof p);
}

void net_probe(struct net *n, uint64_t id, const char *address)
{
    char numeric[64];
    if (address_numeric(address, numeric))
        probe_start(n, id, numeric);
    else
        resolver_ask(n->resolver, RESOLVE_PROBE, id, address);
}

static void probe_told(struct net *n, size_t at, bool refused)
{
    struct probe *p = (struct probe *)n->probes.p + at;
    struct event ev = { .kind = EV_PROBED, .id = p->id, .probed = { refused } };
    if (p->fd >= 0)
        close(p->fd);
    *p = ((struct probe *)n->probes.p)[n->probes.n / sizeof *p - 1];
    n->probes.n -= sizeof *p;
    net_emit(n, &ev);
}

static void probes_look(struct net *n, uint64_t now_ns)
{
    for (size_t i = n->probes.n / sizeof(struct probe); i-- > 0;) {
        struct probe p = ((struct probe *)n->probes.p)[i];
        if (p.until_ns <= 1) {
            probe_told(n, i, p.until_ns == 1);
            continue;
        }
        struct pollfd fd = { .fd = p.fd, .events = POLLOUT };
        int err = 0;
        socklen_t size = sizeof err;
        if (poll(&fd, 1, 0) == 1) {
            getsockopt(p.fd, SOL_SOCKET, SO_ERROR, &err, &size);
            probe_told(n, i, err == ECONNREFUSED);
        } else if (now_ns >= p.until_ns)
            probe_told(n, i, false);
    }
}

/* ---- sending ------------------------------------------------------------ */

static void send_msg(struct net *n, conn_id conn, zmq_msg_t *msg)
{
    struct dial *d = conn >= CONN_DIALLED ? map_get(&n->dials, conn) : NULL;
    struct peer *p = conn < CONN_DIALLED ? map_get(&n->peers, conn) : NULL;
    if (d && !d->dead && d->sock) {
        wait_due(n, &d->frames);
        if (zmq_msg_send(msg, d->sock, ZMQ_DONTWAIT) >= 0)
            return;
        dial_end(n, d, errno == EAGAIN && d->up ? DOWN_FULL : DOWN_CLOSED, "it does not take what we send");
    } else if (p && p->by) {
        void *sock = n->router[p->plane].sock;
        wait_due(n, &n->router[p->plane].frames);
        if (zmq_send(sock, p->rid, RID_BYTES, ZMQ_SNDMORE | ZMQ_DONTWAIT) >= 0 &&
            zmq_msg_send(msg, sock, ZMQ_DONTWAIT) >= 0)
            return;
        bool full = errno == EAGAIN;
        net_down(n, conn, full ? DOWN_FULL : DOWN_CLOSED,
                 full ? "it does not take what we send" : "connection closed");
        if (full)
            peer_cut(n, p);
        else
            peer_forget(n, p);
    }
    zmq_msg_close(msg);
}

void net_send(struct net *n, conn_id conn, const void *frame, size_t bytes)
{
    zmq_msg_t msg;
    if (zmq_msg_init_size(&msg, bytes))
        abort();
    memcpy(zmq_msg_data(&msg), frame, bytes);
    send_msg(n, conn, &msg);
}

void net_send_zc(struct net *n, conn_id conn, void *frame, size_t bytes, void (*release)(void *, void *),
                 void *hint)
{
    zmq_msg_t msg;
    if (zmq_msg_init_data(&msg, frame, bytes, release, hint))
        abort();
    send_msg(n, conn, &msg);
}

void net_cut(struct net *n, conn_id conn)
{
    struct dial *d = conn >= CONN_DIALLED ? map_get(&n->dials, conn) : NULL;
    struct peer *p = conn < CONN_DIALLED ? map_get(&n->peers, conn) : NULL;
    if (d)
        dial_close(n, d);
    if (p && p->by)
        peer_cut(n, p);
}

/* ---- the turn ----------------------------------------------------------- */

static long wait_ms(const struct net *n, uint64_t deadline_ns)
{
    uint64_t now = clock_now_ns(), check = accept_deadline(n);
    if (check < deadline_ns)
        deadline_ns = check;
    if (n->downs.n || deadline_ns <= now)
        return 0;
    for (size_t i = 0; i < n->probes.n / sizeof(struct probe); i++)
        if (((struct probe *)n->probes.p)[i].until_ns < deadline_ns)
            deadline_ns = ((struct probe *)n->probes.p)[i].until_ns;
    if (deadline_ns <= now)
        return 0;
    uint64_t ms = (deadline_ns - now + 999999) / 1000000;
    return ms > 60000 ? 60000 : (long)ms;
}

static void resolved(struct net *n)
{
    enum resolve_for what;
    uint64_t id;
    char numeric[64];
    while (resolver_take(n->resolver, &what, &id, numeric)) {
        struct dial *d = what == RESOLVE_DIAL ? map_get(&n->dials, id) : NULL;
        if (what == RESOLVE_PROBE)
            probe_start(n, id, numeric);
        else if (d && !d->dead && !*numeric)
            dial_end(n, d, DOWN_UNREACHABLE, "its name can't be resolved");
        else if (d && !d->dead)
            dial_start(n, d, numeric);
    }
}

/* Dead dials are freed only here: nothing else holds on to one across a turn. */
static void dials_sweep(struct net *n)
{
    if (!n->sweep)
        return;
    n->sweep = false;
    MAP_EACH(&n->dials, i) {
        struct dial *d = map_at(&n->dials, i);
        if (d->dead) {
            map_del(&n->dials, d->conn);
            free(d);
        }
    }
}

/* Connections first, then what is said on them: control before data. */
static void frames_turn(struct net *n)
{
    struct source *s;
    while ((s = wait_next(n, SOURCE_ZAP)))
        zap_answer(n);
    while ((s = wait_next(n, SOURCE_ACCEPTS)))
        accept_monitor(n, s == &n->router[PLANE_DATA].monitor ? PLANE_DATA : PLANE_CONTROL);
    while ((s = wait_next(n, SOURCE_DIAL)))
        dial_monitor(n, s->owner);
    for (int i = 0; i < 2; i++)
        while ((s = wait_next(n, i == PLANE_DATA ? SOURCE_DATA : SOURCE_CONTROL)))
            if (s->owner ? dial_frames(n, s->owner) : accept_frames(n, i))
                wait_due(n, s);
}

void net_poll(struct net *n, uint64_t deadline_ns)
{
    if (wait_ready(n, wait_ms(n, deadline_ns)))
        return; /* a signal: the caller looks at its flags */
    resolved(n);
    frames_turn(n);
    wait_watches(n);
    uint64_t now = clock_now_ns();
    accept_checks(n, now);
    probes_look(n, now);
    hand_over_downs(n);
    dials_sweep(n);
}

void net_stats(const struct net *n, struct net_stats *out)
{
    *out = n->stats;
    out->peers = n->peers.n;
    out->dials = n->dials.n;
}
