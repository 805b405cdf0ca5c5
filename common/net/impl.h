/* impl.h - inside common/net only: the one struct behind net.h. */
#ifndef FERRO_NET_IMPL_H
#define FERRO_NET_IMPL_H

#include "common/base/map.h"
#include "common/net/net.h"

#include <zmq.h>

#define RID_BYTES 5 /* libzmq's own routing ids: 0 and a number */
#define LINGER_MS 500
#define CONNECT_MS 5000
#define HANDSHAKE_MS 3000
#define ZAP_DOMAIN "ferro"

struct pair {
    uint8_t public_key[KEY_BYTES], secret[KEY_BYTES];
    bool set;
};

/* A key that may connect.  A serial is never reused: what a revoked one sent is dropped. */
struct admitted {
    uint8_t key[KEY_BYTES];
    enum role role;
    uint64_t serial;
};

enum source_kind { SOURCE_ZAP = 1, SOURCE_ACCEPTS, SOURCE_DIAL, SOURCE_CONTROL, SOURCE_DATA };

/* A ZeroMQ socket that is waited for: see wait.c.  It must not move. */
struct source {
    void *sock; /* borrowed; NULL: none */
    int fd;     /* libzmq's */
    enum source_kind kind;
    struct dial *owner; /* borrowed; NULL: not a dialled connection's */
    bool due, listed;   /* may have something; is in net.due */
};

/* An accepted connection. */
struct peer {
    conn_id conn;
    enum plane plane;
    uint8_t rid[RID_BYTES];
    int fd;                    /* of its first frame: may be anybody's once libzmq has closed it */
    uint64_t cookie;           /* the kernel's own name of that socket; 0: unknown */
    const struct admitted *by; /* borrowed; NULL: cut, and kept only until libzmq has closed it */
    uint64_t check_ns;         /* its socket seemed to close: look again then; 0: no */
    int checks;
};

/* A socket that libzmq accepted, and that has said nothing yet. */
struct unheard {
    int fd;
    uint64_t cookie;
    uint64_t until_ns;
};

/* A connection that we opened. */
struct dial {
    conn_id conn;
    enum plane plane;
    enum role role;
    uint8_t server_key[KEY_BYTES];
    uint32_t own;
    void *sock;
    struct source frames, monitor;
    uint64_t begun_ns;
    bool up, connected, dead; /* dead: removed at the end of the turn */
};

struct probe {
    uint64_t id;
    int fd;
    uint64_t until_ns;
};

struct down {
    conn_id conn;
    enum down_reason reason;
    const char *words;
};

struct watch {
    int fd;
    short ready; /* what it is ready for, until its turn */
};

struct router {
    void *sock;
    struct source frames, monitor;
};

struct resolver;

struct net {
    struct net_config config;
    void *ctx, *zap;
    int epoll;
    struct source requests; /* of the ZAP handler */
    struct buf due, turn;   /* of struct source *: to ask before the next sleep; those of this turn */
    struct pair *own;       /* NET_KEYS_OWN_MAX */
    struct router router[2];
    struct map peers_by_rid, peers, peers_by_fd; /* of struct peer; peers owns */
    struct map accepted;                         /* descriptor -> plane, of those that are open */
    struct map unheard;                          /* descriptor -> struct unheard, owned; the oldest first */
    uint32_t accept_max;
    struct map dials;    /* conn -> struct dial, owned */
    struct map admitted; /* hash of key -> serial */
    struct map serials;  /* serial -> struct admitted, owned */
    uint64_t next_conn, next_serial, next_monitor;
    struct buf downs, watches, probes; /* of struct down, watch, probe */
    struct resolver *resolver;
    struct net_stats stats;
    bool checking; /* some peer has check_ns */
    bool sweep;    /* some dial is dead */
};

/* zap.c */
int zap_open(struct net *n, struct error *e);
void zap_answer(struct net *n);
const struct admitted *zap_by_user(struct net *n, const char *user_id);       /* NULL: revoked or nonsense */
struct admitted *zap_find(const struct net *n, const uint8_t key[KEY_BYTES]); /* NULL: not admitted */
void zap_forget(struct net *n, struct admitted *a); /* no peer may borrow it any more */

/* accept.c: the ROUTERs */
void accept_monitor(struct net *n, enum plane plane);
bool accept_frames(struct net *n, enum plane plane); /* true: there may be more */
void accept_checks(struct net *n, uint64_t now_ns);
uint64_t accept_deadline(const struct net *n);
void peer_forget(struct net *n, struct peer *p);
void peer_cut(struct net *n, struct peer *p); /* shut its socket; what it still says is dropped */

/* dial.c: the DEALERs */
void dial_start(struct net *n, struct dial *d, const char *numeric);
void dial_monitor(struct net *n, struct dial *d);
bool dial_frames(struct net *n, struct dial *d); /* true: there may be more */
void dial_close(struct net *n, struct dial *d);
void dial_end(struct net *n, struct dial *d, enum down_reason reason, const char *words);

/* resolve.c: names, in a thread of their own */
struct resolver *resolver_new(void);
void resolver_free(struct resolver **r);
int resolver_fd(const struct resolver *r);
enum resolve_for { RESOLVE_DIAL, RESOLVE_PROBE };
/* `id`: the connection's or the probe's. */
void resolver_ask(struct resolver *r, enum resolve_for what, uint64_t id, const char *address);
/* numeric "": not found, or more was asked for at once than may be. */
bool resolver_take(struct resolver *r, enum resolve_for *what, uint64_t *id, char numeric[64]);
bool address_split(const char *address, char *host, size_t size, const char **port);
bool address_resolve(const char *address, char numeric[64]); /* may block: for addresses of our own */
bool address_numeric(const char *address,
                     char numeric[64]); /* is numeric already: as "1.2.3.4:5" or "[::1]:5" */

/* wait.c */
int wait_open(struct net *n);
void wait_close(struct net *n);
int wait_ready(struct net *n, long ms); /* makes the turn of what is ready; -1: a signal came */
int wait_add(struct net *n, struct source *s, void *sock, enum source_kind kind, struct dial *owner);
void wait_remove(struct net *n, struct source *s);              /* before its socket is */
void wait_due(struct net *n, struct source *s);                 /* its socket was called */
struct source *wait_next(struct net *n, enum source_kind kind); /* of this turn; NULL: no more */
void wait_plain(struct net *n, int fd, short events);           /* until it is closed */
void wait_watches(struct net *n);

/* net.c */
void *net_socket(struct net *n, int type, enum plane plane, uint32_t own);
int net_monitor(struct net *n, void *sock, struct source *s, enum source_kind kind, struct dial *owner,
                int events);
int net_monitor_take(void *monitor, uint16_t *event, uint32_t *value); /* 1 an event, 0 none */
void net_monitor_close(struct net *n, void *sock, struct source *s);
void net_down(struct net *n, conn_id conn, enum down_reason reason, const char *words);
void net_emit(struct net *n, const struct event *ev);

#endif
