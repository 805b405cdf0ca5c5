/* net.h - all of a process's ZeroMQ sockets, owned by one thread.
 *
 * One struct net a process: at most two bound ROUTERs (control, data), any
 * number of dialled DEALERs, the ZAP handler and the monitors.  Every TCP socket
 * is CURVE, always.  Peers are numbers (conn_id) and what happens to them comes as
 * struct event; a connection that ends never comes back under its number.
 */
#ifndef FERRO_NET_NET_H
#define FERRO_NET_NET_H

#include "common/base/error.h"
#include "common/core/step.h"

enum plane { PLANE_CONTROL, PLANE_DATA };

#define NET_KEYS_OWN_MAX 4096    /* key pairs of our own to dial with */
#define NET_ADMITTED_MAX 65536   /* keys that may connect */
#define NET_PEERS_MAX 65536      /* accepted connections */
#define NET_DIALS_MAX 4096       /* dialled ones */
#define NET_TURN_FRAMES_MAX 1024 /* frames taken from one socket in one turn */
#define NET_HWM 10000            /* messages queued for one peer: past that it is cut as full */
#define NET_DATA_HWM 192         /* the same on the data plane, where a message may be a chunk */
#define NET_DATA_RECEIVE_HWM 32  /* chunks of one peer that wait for us: then TCP holds it back */
#define NET_SILENT_MS 6000       /* an accepted connection that has said nothing by then is cut */

struct net_config {
    void *user;
    void (*on_event)(void *user, const struct event *ev);
    void (*on_fd)(void *user, int fd, short revents); /* one of net_watch()'s descriptors is ready */
    struct bytes
        probe; /* a frame that does no harm: sent to see whether a peer whose socket closed is gone */
};

struct net_stats {
    uint64_t handshakes_refused; /* by the ZAP handler */
    uint64_t handshakes_admitted;
    uint64_t frames;         /* received from admitted peers and passed on */
    uint64_t frames_dropped; /* of keys revoked meanwhile, or with more than one part */
    uint64_t cut_silent;     /* accepted ones that never said anything */
    uint64_t cut_full;       /* accepted ones beyond what our descriptors allow */
    uint64_t peers, dials;   /* now */
};

struct net;
struct net *net_new(const struct net_config *config, struct error *e);
void net_free(struct net **n); /* lingers 500 ms for what was sent */

/* Key pair number `own`, for net_bind and net_dial. */
void net_own(struct net *n, uint32_t own, const uint8_t public_key[KEY_BYTES],
             const uint8_t secret[KEY_BYTES]);
void net_disown(struct net *n, uint32_t own); /* wiped: nothing dials with it any more */

/* Bind a plane's ROUTER to "host:port" (port 0: any).  `bound` gets "ip:port". */
int net_bind(struct net *n, enum plane plane, const char *address, uint32_t own, char *bound, size_t size,
             struct error *e);

/* Open `conn` to "host:port"; names are resolved in a thread of their own.
 * EV_CONN_UP follows, or EV_CONN_DOWN with the reason. */
void net_dial(struct net *n, conn_id conn, enum plane plane, const char *address,
              const uint8_t server_key[KEY_BYTES], uint32_t own, enum role role);

/* Queue a frame (copied).  A peer that is gone or full is reported by EV_CONN_DOWN in the next net_poll(). */
void net_send(struct net *n, conn_id conn, const void *frame, size_t bytes);
/* The same without a copy: `release` is called (from another thread) when the bytes are no longer needed. */
void net_send_zc(struct net *n, conn_id conn, void *frame, size_t bytes,
                 void (*release)(void *frame, void *hint), void *hint);

void net_cut(struct net *n, conn_id conn); /* no event follows */
void net_admit(struct net *n, const uint8_t key[KEY_BYTES], enum role role);
void net_revoke(struct net *n,
                const uint8_t key[KEY_BYTES]); /* and cut its live connections: EV_CONN_DOWN for each */

void net_watch(struct net *n, int fd, short events); /* events 0: no longer */

/* connect(2) once: EV_PROBED{id} tells whether the port refused.  Names are resolved as for net_dial(). */
void net_probe(struct net *n, uint64_t id, const char *address);

/* One turn: wait until something is ready or `deadline_ns` (CLOCK_BOOTTIME), then hand over what happened:
 * connections first, control frames before data. */
void net_poll(struct net *n, uint64_t deadline_ns);

void net_stats(const struct net *n, struct net_stats *out);

/* The address by which this host reaches "host:port" (for --advertise's default). */
int net_local_address(const char *peer, char *out, size_t size, struct error *e);

#endif
