/* accept.c - the ROUTERs: who connected, what they say, when they are gone.
 *
 * A ROUTER does not tell that a peer closed.  Its monitor does, by the number of
 * the socket, which may have been reused or belong to a failed handshake: so that
 * peer is sent a harmless frame, and only EHOSTUNREACH proves it gone.
 */
#include "common/net/impl.h"

#include "common/base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const uint64_t check_after_ns[] = { 0, 1000000, 10000000, 100000000 };
enum { CHECKS = sizeof check_after_ns / sizeof *check_after_ns };

/* An IPv4 address of an IPv6 socket as people write it. */
static void bound_text(const char *last, char *bound, size_t size)
{
    static const char mapped[] = "[::ffff:";
    const char *end = strchr(last, ']');
    if (strncmp(last, mapped, sizeof mapped - 1) || !end)
        snprintf(bound, size, "%s", last);
    else
        snprintf(bound, size, "%.*s%s", (int)(end - last - (int)sizeof mapped + 1), last + sizeof mapped - 1,
                 end + 1);
}

int net_bind(struct net *n, enum plane plane, const char *address, uint32_t own, char *bound, size_t size,
             struct error *e)
{
    char endpoint[300], last[300], host[256], numeric[64];
    const char *port;
    size_t last_size = sizeof last;
    int one = 1, backlog = 1024;
    void *sock = net_socket(n, ZMQ_ROUTER, plane, own);
    if (!sock)
        return error_set(e, zmq_errno(), "%s: no socket: %s", address, zmq_strerror(zmq_errno()));
    zmq_setsockopt(sock, ZMQ_CURVE_SERVER, &one, sizeof one);
    zmq_setsockopt(sock, ZMQ_ZAP_DOMAIN, ZAP_DOMAIN, strlen(ZAP_DOMAIN));
    zmq_setsockopt(sock, ZMQ_ROUTER_MANDATORY, &one, sizeof one);
    zmq_setsockopt(sock, ZMQ_BACKLOG, &backlog, sizeof backlog);
    n->router[plane].sock = sock;
    int watched = net_monitor(n, sock, &n->router[plane].monitor, SOURCE_ACCEPTS, NULL,
                              ZMQ_EVENT_ACCEPTED | ZMQ_EVENT_DISCONNECTED);
    if (address[0] != '*' && address_resolve(address, numeric)) /* libzmq binds to numbers only */
        address = numeric;
    snprintf(endpoint, sizeof endpoint, "tcp://%s", address);
    if (address_split(address, host, sizeof host, &port) && atoi(port) == 0)
        snprintf(endpoint, sizeof endpoint, strchr(host, ':') ? "tcp://[%s]:*" : "tcp://%s:*", host);
    if (watched || zmq_bind(sock, endpoint) ||
        wait_add(n, &n->router[plane].frames, sock, plane == PLANE_DATA ? SOURCE_DATA : SOURCE_CONTROL,
                 NULL)) {
        int err = zmq_errno();
        return error_set(e, err, "%s: can't listen there: %s", address, zmq_strerror(err));
    }
    zmq_getsockopt(sock, ZMQ_LAST_ENDPOINT, last, &last_size);
    bound_text(last + strlen("tcp://"), bound, size);
    return 0;
}

static uint64_t rid_number(enum plane plane, const uint8_t rid[RID_BYTES])
{
    uint64_t number = (uint64_t)plane << 40;
    for (int i = 0; i < RID_BYTES; i++)
        number |= (uint64_t)rid[i] << (8 * (RID_BYTES - 1 - i));
    return number;
}

/* Never the same for two sockets, unlike the descriptor's number.  0: no TCP socket. */
static uint64_t socket_cookie(int fd)
{
    uint64_t cookie = 0;
    int protocol = 0;
    socklen_t size = sizeof cookie, protocol_size = sizeof protocol;
    if (getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &protocol_size) || protocol != IPPROTO_TCP)
        return 0;
    return getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &size) ? 0 : cookie;
}

/* Close a connection, and nobody else's: libzmq's thread may have closed that descriptor, and any other
 * thread may have got its number for anything.  A duplicate holds on to whatever it is while we look. */
static void socket_shut(int number, uint64_t cookie)
{
    int fd = fcntl(number, F_DUPFD_CLOEXEC, 0);
    if (fd < 0)
        return;
    if (cookie && socket_cookie(fd) == cookie)
        shutdown(fd, SHUT_RDWR);
    close(fd);
}

/* ---- accepted, and not heard of yet --------------------------------------- */

static void heard(struct net *n, int fd)
{
    struct unheard *u = map_get(&n->unheard, (uint64_t)fd);
    map_del(&n->unheard, (uint64_t)fd);
    free(u);
}

/* libzmq counts no sockets, and a ROUTER knows a peer only by what it says. */
static void accepted_add(struct net *n, enum plane plane, int fd)
{
    const struct peer *p = map_get(&n->peers_by_fd, (uint64_t)fd);
    uint64_t cookie = socket_cookie(fd);
    heard(n, fd); /* whoever had this number is gone */
    struct unheard *u = p && p->cookie == cookie ? NULL : calloc(1, sizeof *u);
    if (u) { /* its first frame may have come before this was told */
        *u = (struct unheard){ fd, cookie, clock_now_ns() + NET_SILENT_MS * 1000000ull };
        map_put(&n->unheard, (uint64_t)fd, u);
    }
    map_put_u64(&n->accepted, (uint64_t)fd, plane);
    if (n->accepted.n <= n->accept_max)
        return;
    if (n->stats.cut_full++ == 0)
        log_line(LOG_ERROR, "over %u connections, as many as descriptors allow: new ones are cut",
                 n->accept_max);
    socket_shut(fd, cookie);
}

static void accepted_gone(struct net *n, enum plane plane, int fd)
{
    uint64_t of;
    if (!map_get_u64(&n->accepted, (uint64_t)fd, &of) || of != plane)
        return; /* its number is a connection's of the other plane meanwhile */
    map_del(&n->accepted, (uint64_t)fd);
    heard(n, fd);
}

/* The first are the oldest. */
static void silent_cut(struct net *n, uint64_t now_ns)
{
    MAP_EACH(&n->unheard, i) {
        const struct unheard *u = map_at(&n->unheard, i);
        if (u->until_ns > now_ns)
            return;
        n->stats.cut_silent++;
        socket_shut(u->fd, u->cookie);
        heard(n, u->fd);
    }
}

/* ---- peers -------------------------------------------------------------- */

static struct peer *peer_new(struct net *n, enum plane plane, const uint8_t rid[RID_BYTES], zmq_msg_t *frame)
{
    const char *user = zmq_msg_gets(frame, "User-Id");
    const struct admitted *by = user ? zap_by_user(n, user) : NULL;
    if (!by || n->peers.n >= NET_PEERS_MAX)
        return NULL;
    struct peer *p = calloc(1, sizeof *p);
    if (!p)
        return NULL;
    *p = (struct peer){
        .conn = n->next_conn++, .plane = plane, .fd = zmq_msg_get(frame, ZMQ_SRCFD), .by = by
    };
    memcpy(p->rid, rid, RID_BYTES);
    p->cookie = socket_cookie(p->fd);
    map_put(&n->peers, p->conn, p);
    map_put(&n->peers_by_rid, rid_number(plane, rid), p);
    map_put(&n->peers_by_fd, (uint64_t)p->fd, p);
    heard(n, p->fd);
    return p;
}

void peer_forget(struct net *n, struct peer *p)
{
    map_del(&n->peers, p->conn);
    map_del(&n->peers_by_rid, rid_number(p->plane, p->rid));
    if (map_get(&n->peers_by_fd, (uint64_t)p->fd) == p)
        map_del(&n->peers_by_fd, (uint64_t)p->fd);
    free(p);
}

/* It stays known until its socket is seen to be gone: what libzmq had queued of it must not look like a new peer. */
void peer_cut(struct net *n, struct peer *p)
{
    socket_shut(p->fd, p->cookie);
    p->by = NULL;
    p->checks = 0;
    p->check_ns = 1;
    n->checking = true;
}

void net_revoke(struct net *n, const uint8_t key[KEY_BYTES])
{
    struct admitted *a = zap_find(n, key);
    if (!a)
        return;
    MAP_EACH(&n->peers, i) {
        struct peer *p = map_at(&n->peers, i);
        if (p->by == a) {
            net_down(n, p->conn, DOWN_UNAUTHORISED, "its key was revoked");
            peer_cut(n, p);
        }
    }
    zap_forget(n, a);
}

/* ---- frames ------------------------------------------------------------- */

static void drop_rest(void *sock)
{
    int more;
    size_t size = sizeof more;
    zmq_msg_t rest;
    while (zmq_getsockopt(sock, ZMQ_RCVMORE, &more, &size) == 0 && more) {
        zmq_msg_init(&rest);
        zmq_msg_recv(&rest, sock, 0);
        zmq_msg_close(&rest);
    }
}

static void frame_take(struct net *n, enum plane plane, const uint8_t rid[RID_BYTES], zmq_msg_t *frame)
{
    struct peer *p = map_get(&n->peers_by_rid, rid_number(plane, rid));
    if (!p)
        p = peer_new(n, plane, rid, frame);
    if (!p || !p->by) {
        n->stats.frames_dropped++;
        return;
    }
    n->stats.frames++;
    p->check_ns = 0; /* it spoke: alive as far as this socket knows */
    struct event ev = { .kind = EV_RECV, .conn = p->conn };
    ev.recv.role = p->by->role;
    memcpy(ev.recv.key, p->by->key, KEY_BYTES);
    ev.recv.frame = (struct bytes){ zmq_msg_data(frame), (uint32_t)zmq_msg_size(frame) };
    net_emit(n, &ev);
}

bool accept_frames(struct net *n, enum plane plane)
{
    void *sock = n->router[plane].sock;
    uint8_t rid[RID_BYTES];
    for (int taken = 0; taken < NET_TURN_FRAMES_MAX; taken++) {
        zmq_msg_t frame;
        int got = zmq_recv(sock, rid, sizeof rid, ZMQ_DONTWAIT);
        if (got < 0)
            return false;
        zmq_msg_init(&frame);
        if (zmq_msg_recv(&frame, sock, 0) >= 0) {
            if (got == RID_BYTES && !zmq_msg_more(&frame))
                frame_take(n, plane, rid, &frame);
            else {
                n->stats.frames_dropped++;
                drop_rest(sock);
            }
        }
        zmq_msg_close(&frame);
    }
    return true;
}

/* ---- is it gone? -------------------------------------------------------- */

void accept_monitor(struct net *n, enum plane plane)
{
    uint16_t event;
    uint32_t fd;
    while (net_monitor_take(n->router[plane].monitor.sock, &event, &fd)) {
        if (event == ZMQ_EVENT_ACCEPTED) {
            accepted_add(n, plane, (int)fd);
            continue;
        }
        accepted_gone(n, plane, (int)fd);
        struct peer *p = map_get(&n->peers_by_fd, fd);
        if (!p || p->plane != plane)
            continue;
        p->checks = 0;
        p->check_ns = 1; /* at once, but after its last frames were taken */
        n->checking = true;
    }
}

static void check(struct net *n, struct peer *p, uint64_t now_ns)
{
    void *sock = n->router[p->plane].sock;
    wait_due(n, &n->router[p->plane].frames);
    bool gone = zmq_send(sock, p->rid, RID_BYTES, ZMQ_SNDMORE | ZMQ_DONTWAIT) < 0 && errno == EHOSTUNREACH;
    if (gone) {
        if (p->by)
            net_down(n, p->conn, DOWN_CLOSED, "connection closed");
        peer_forget(n, p);
        return;
    }
    zmq_send(sock, n->config.probe.p, n->config.probe.n, ZMQ_DONTWAIT);
    p->check_ns = ++p->checks < CHECKS ? now_ns + check_after_ns[p->checks] : 0;
}

void accept_checks(struct net *n, uint64_t now_ns)
{
    silent_cut(n, now_ns);
    if (!n->checking)
        return;
    n->checking = false;
    MAP_EACH(&n->peers, i) {
        struct peer *p = map_at(&n->peers, i);
        if (!p->check_ns)
            continue;
        n->checking = true;
        if (p->check_ns <= now_ns)
            check(n, p, now_ns);
    }
}

uint64_t accept_deadline(const struct net *n)
{
    uint32_t oldest = map_next(&n->unheard, 0);
    uint64_t next =
        oldest == UINT32_MAX ? UINT64_MAX : ((struct unheard *)map_at(&n->unheard, oldest))->until_ns;
    if (n->checking)
        MAP_EACH(&n->peers, i) {
            const struct peer *p = map_at(&n->peers, i);
            if (p->check_ns && p->check_ns < next)
                next = p->check_ns;
        }
    return next;
}
