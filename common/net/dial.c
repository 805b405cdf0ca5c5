/* dial.c - the DEALERs: one a connection that we open, never reconnecting by itself. */
#include "common/net/impl.h"

#include "common/base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WATCHED \
    (ZMQ_EVENT_CONNECTED | ZMQ_EVENT_CLOSED | ZMQ_EVENT_DISCONNECTED | ZMQ_EVENT_HANDSHAKE_SUCCEEDED | \
     ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL | ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL | \
     ZMQ_EVENT_HANDSHAKE_FAILED_AUTH)

void net_dial(struct net *n, conn_id conn, enum plane plane, const char *address,
              const uint8_t server_key[KEY_BYTES], uint32_t own, enum role role)
{
    char numeric[64];
    struct dial *d = n->dials.n < NET_DIALS_MAX ? calloc(1, sizeof *d) : NULL;
    if (!d || own >= NET_KEYS_OWN_MAX) {
        free(d);
        net_down(n, conn, DOWN_UNREACHABLE, "too many connections are open");
        return;
    }
    *d = (struct dial){ .conn = conn, .plane = plane, .role = role, .own = own };
    memcpy(d->server_key, server_key, KEY_BYTES);
    map_put(&n->dials, conn, d);
    if (address_numeric(address, numeric))
        dial_start(n, d, numeric);
    else
        resolver_ask(n->resolver, RESOLVE_DIAL, conn, address);
}

void dial_start(struct net *n, struct dial *d, const char *numeric)
{
    char endpoint[80];
    int never = -1, one = 1, connect_ms = CONNECT_MS;
    d->begun_ns = clock_now_ns();
    d->sock = net_socket(n, ZMQ_DEALER, d->plane, d->own);
    if (d->sock) {
        zmq_setsockopt(d->sock, ZMQ_RECONNECT_IVL, &never, sizeof never);
        zmq_setsockopt(d->sock, ZMQ_IMMEDIATE, &one, sizeof one);
        zmq_setsockopt(d->sock, ZMQ_CONNECT_TIMEOUT, &connect_ms, sizeof connect_ms);
        zmq_setsockopt(d->sock, ZMQ_CURVE_SERVERKEY, d->server_key, KEY_BYTES);
    }
    snprintf(endpoint, sizeof endpoint, "tcp://%s", numeric);
    if (!d->sock || net_monitor(n, d->sock, &d->monitor, SOURCE_DIAL, d, WATCHED) ||
        wait_add(n, &d->frames, d->sock, d->plane == PLANE_DATA ? SOURCE_DATA : SOURCE_CONTROL, d) ||
        zmq_connect(d->sock, endpoint))
        dial_end(n, d, DOWN_UNREACHABLE, zmq_strerror(zmq_errno()));
}

void dial_close(struct net *n, struct dial *d)
{
    if (d->dead)
        return;
    d->dead = n->sweep = true;
    if (!d->sock)
        return;
    wait_remove(n, &d->frames);
    net_monitor_close(n, d->sock, &d->monitor);
    zmq_close(d->sock);
    d->sock = NULL;
}

void dial_end(struct net *n, struct dial *d, enum down_reason reason, const char *words)
{
    if (d->dead)
        return;
    net_down(n, d->conn, reason, words);
    if (d->sock) {
        int none = 0;
        zmq_setsockopt(d->sock, ZMQ_LINGER, &none, sizeof none);
    }
    dial_close(n, d);
}

static void ended_early(struct net *n, struct dial *d)
{
    bool timed_out = clock_now_ns() - d->begun_ns >= (uint64_t)CONNECT_MS * 900000;
    if (d->connected)
        dial_end(n, d, DOWN_CLOSED, "closed during the handshake");
    else if (timed_out)
        dial_end(n, d, DOWN_UNREACHABLE, "no answer");
    else
        dial_end(n, d, DOWN_REFUSED, "connection refused");
}

void dial_monitor(struct net *n, struct dial *d)
{
    uint16_t event;
    uint32_t value;
    while (!d->dead && net_monitor_take(d->monitor.sock, &event, &value)) {
        switch (event) {
        case ZMQ_EVENT_CONNECTED: d->connected = true; break;
        case ZMQ_EVENT_HANDSHAKE_SUCCEEDED: {
            d->up = true;
            struct event ev = { .kind = EV_CONN_UP, .conn = d->conn };
            net_emit(n, &ev);
            break;
        }
        case ZMQ_EVENT_HANDSHAKE_FAILED_AUTH:
            dial_end(n, d, DOWN_UNAUTHORISED, "our key is not admitted there");
            break;
        case ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL:
            dial_end(n, d, DOWN_UNAUTHORISED, "whoever listens there is not the expected server");
            break;
        default: /* closed, disconnected, a handshake that failed without a reason */
            if (d->up) {
                while (dial_frames(n, d)) /* what it said before it closed */
                    ;
                dial_end(n, d, DOWN_CLOSED, "connection closed");
            } else
                ended_early(n, d);
        }
    }
}

bool dial_frames(struct net *n, struct dial *d)
{
    for (int taken = 0; taken < NET_TURN_FRAMES_MAX; taken++) {
        zmq_msg_t frame;
        zmq_msg_init(&frame);
        if (d->dead || zmq_msg_recv(&frame, d->sock, ZMQ_DONTWAIT) < 0)
            return false;
        n->stats.frames++;
        struct event ev = { .kind = EV_RECV, .conn = d->conn };
        ev.recv.role = d->role;
        memcpy(ev.recv.key, d->server_key, KEY_BYTES);
        ev.recv.frame = (struct bytes){ zmq_msg_data(&frame), (uint32_t)zmq_msg_size(&frame) };
        net_emit(n, &ev);
        zmq_msg_close(&frame);
    }
    return true;
}
