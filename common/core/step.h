/* step.h - what goes into a pure core and what comes out.
 *
 * The manager, the driver's scheduler and the executor are state machines:
 *
 *     void <core>_step(struct <core> *, const struct event *, uint64_t now_ns, struct actions *);
 *     uint64_t <core>_deadline(const struct <core> *);   // next time it wants EV_TIME; UINT64_MAX: none
 *
 * A core has no sockets, clock, files, threads or randomness of its own.  A
 * shell polls, turns what happened into events, steps, and performs the actions
 * in order.  The simulator (tests/sim) is another shell for the same cores.
 *
 * Everything an event points to is borrowed for the call.  Everything an action
 * points to lives in actions->arena until actions_reset(), but for action.sealed.
 */
#ifndef FERRO_CORE_STEP_H
#define FERRO_CORE_STEP_H

#include "common/base/arena.h"
#include "common/base/log.h"

#include <stdbool.h>

#define KEY_BYTES 32
#define ID_BYTES 16

/* Who a peer is, proven by its CURVE key.  One bit each, so that a set is a mask. */
enum role {
    ROLE_MANAGER = 1 << 0,
    ROLE_JOIN = 1 << 1,     /* the executors' join key: HELLO and ENROL only */
    ROLE_EXECUTOR = 1 << 2, /* an incarnation's throw-away key */
    ROLE_DRIVER = 1 << 3,   /* one application's driver key */
    ROLE_SERVICE = 1 << 4,  /* ferro-driver serve */
    ROLE_USER = 1 << 5,
    ROLE_ADMIN = 1 << 6, /* a user who also drains and revokes */
    ROLE_FETCH = 1 << 7, /* one application's fetch key, between executors */
    ROLE_HOST = 1 << 8,  /* a task host, at the other end of a socketpair */
};

/* A connection.  The shell numbers those that peers open (below CONN_DIALLED);
 * a core numbers those it dials itself (from CONN_DIALLED up).  Never reused. */
typedef uint64_t conn_id;
#define CONN_DIALLED (1ull << 62)

/* A block's name: derived, never a path.  See block_name() in common/proto/proto.h. */
struct block_id {
    uint8_t b[ID_BYTES];
};

enum down_reason {
    DOWN_CLOSED = 1,   /* was up; the peer's end is gone or the connection broke */
    DOWN_REFUSED,      /* connect(2) refused: no process listens there */
    DOWN_UNAUTHORISED, /* the peer does not admit our key */
    DOWN_UNREACHABLE,  /* no answer in time, no route, name not found */
    DOWN_FULL,         /* we cut it: the peer does not read what we send */
};

enum event_kind {
    EV_START, /* first, once: `start` holds the core's own durable state and the PRNG's seed */
    EV_TIME,  /* a deadline passed (may come early; cores check) */
    EV_RECV,  /* a whole frame from a peer */
    EV_CONN_UP,
    EV_CONN_DOWN,
    EV_PROBED,    /* answer to ACT_PROBE */
    EV_PERSISTED, /* ACT_PERSIST `id` is on stable storage */
    EV_IO_DONE,   /* ACT_IO `id` ended with `result` (bytes or -errno) */
    EV_HOST_STARTED,
    EV_HOST_RECV, /* a whole frame from a task host */
    EV_HOST_EXITED,
    EV_HOST_MEMORY, /* resident bytes of a host, measured by the shell */
    EV_CHILD_EXITED,
    EV_CALL, /* the shell's own thread or user asks something of the core: `call.what` is per core */
};

struct event {
    enum event_kind kind;
    uint64_t id; /* PERSISTED, IO_DONE, PROBED: the action's; HOST_*, CHILD_*: the host's or child's */
    conn_id conn;
    union {
        struct {
            enum role role;
            uint8_t key[KEY_BYTES]; /* the peer's public key, from ZAP */
            struct bytes frame;
        } recv;
        struct {
            enum down_reason reason;
            const char *words;
        } down;
        struct {
            bool refused; /* the port refuses: the process is gone */
        } probed;
        struct {
            int64_t result;
        } io;
        struct {
            struct bytes frame;
            const char *tail; /* last bytes of its stderr so far; NULL: none */
        } host;
        struct {
            int code, signal;    /* wait status, split */
            uint64_t peak_bytes; /* ru_maxrss */
            const char *tail;    /* last bytes of its stderr */
            bool ran;            /* a host: it was in this task, as it said itself */
            uint32_t stage, part, attempt;
        } exited;
        struct {
            uint64_t bytes;
        } memory;
        struct {
            uint64_t seed;
            const void *state;
        } start;
        struct {
            int what;
            const void *arg;
        } call;
    };
};

/* File work of the executor and the driver; the shell knows the paths. */
enum io_op {
    IO_ADOPT =
        1,    /* host's scratch file "stage.part.attempt" becomes block `block` of `app`; result: its size */
    IO_WRITE, /* bytes at offset of block (made when missing, for `length` bytes in all; `last`: on the disk) */
    IO_LOOK, /* is blocks[0] there, under its root, with that size? result 0 or -errno */
    IO_LIBRARY, /* does `block`'s content hash to its name?  Then the shell keeps it sealed for hosts. 0 or -errno */
    IO_SERVE,  /* read length at offset of block and send BLOCK_DATA {tag} on conn; result: bytes, once the
                 network has taken them, or -errno (nothing sent) */
    IO_FREE,   /* unlink the blocks of (app, stage), and of further stages in `bytes` (of uint32_t); stage
                 UINT32_MAX: the application's whole directory */
    IO_TOKEN,  /* does `path` hold exactly `bytes`, inside the operator's list? result 0 or -errno */
    IO_SYNC,   /* fsync what a host wrote for a saved part, before its report; result 0 or -errno */
    IO_COMMIT, /* driver: rename the winners, sync the directory, write _SUCCESS; result 0 or -errno */
};

enum action_kind {
    ACT_SEND, /* frame to conn.  A full or gone peer comes back as EV_CONN_DOWN, never silently */
    ACT_DIAL, /* open `conn` to `address`, expecting server key `key`, with our own key number `own` */
    ACT_CUT,  /* close or shut down conn; no EV_CONN_DOWN follows */
    ACT_ADMIT,
    ACT_REVOKE, /* stop admitting `key`, and cut its live connections */
    ACT_PERSIST,
    ACT_PROBE, /* connect(2) to address once; answered by EV_PROBED{id} */
    ACT_IO,
    ACT_SPAWN,     /* a blank task host `id`, or (driver service) a child for app `id` */
    ACT_HOST_SEND, /* frame to host `id`, with `nblocks` descriptors of `blocks` opened by the shell */
    ACT_KILL,      /* SIGKILL to host or child `id`; its exit is reported as always */
    ACT_LOG,
    ACT_EVENT, /* a line on the event stream: `log.words` is the name, ids in id/app/stage/part/attempt */
    ACT_CALL,  /* to the shell, per core: `call.what` */
    ACT_EXIT,  /* leave the loop with `exit_code` once what was sent is flushed */
};

/* One descriptor to pass to a host. */
struct block_ref {
    uint64_t app;
    struct block_id block;
    const char *root;        /* NULL: our own block; else another executor's advertised root on this host */
    uint8_t owner[ID_BYTES]; /* incarnation under that root */
    uint64_t bytes;          /* what the owner says its size is; a mismatch passes no descriptor */
    bool library;            /* its sealed memfd (IO_LIBRARY) */
    bool save;               /* instead: a writable staging file OUT/_ferro/app/part.attempt */
    uint32_t part, attempt;
};

struct action {
    enum action_kind kind;
    uint64_t id;
    conn_id conn;
    uint64_t app;
    uint32_t stage, part, attempt;
    union {
        struct bytes frame; /* SEND, HOST_SEND */
        struct {
            const char *address; /* host:port */
            uint8_t key[KEY_BYTES];
            uint32_t own;   /* which of our keys: meaning per core (see each core's header) */
            enum role role; /* what the peer is, once the handshake proved its key */
            bool data;      /* on the data socket's I/O thread */
        } dial;
        struct {
            uint8_t key[KEY_BYTES];
            enum role role;
            uint64_t app;
        } admit; /* ADMIT, REVOKE */
        struct {
            const void *record;
            uint32_t bytes; /* meaning per core */
        } persist;
        struct {
            enum io_op op;
            struct block_id block;
            uint64_t offset, length, tag;
            struct bytes bytes;
            const char *path;
            uint64_t host;
            bool last;
        } io;
        struct {
            enum log_level level;
            const char *words;
        } log;
        struct {
            int what;
            const void *arg;
        } call;
        int exit_code;
    };
    struct bytes sealed;    /* HOST_SEND: a sealed memfd of these bytes goes with it; the core's own, */
    uint64_t sealed_number; /* until its next step.  The same number: the same bytes, sealed once */
    const struct block_ref *blocks; /* HOST_SEND, IO_LOOK */
    uint32_t nblocks;
};

/* A turn's actions, in the order in which they must be performed. */
struct actions {
    struct action *v; /* owned */
    uint32_t n, cap;
    struct arena arena; /* owns all that v points to */
    struct buf scratch; /* for encoders */
};

struct action *actions_add(struct actions *a, enum action_kind kind); /* zeroed; valid until the next add */
void actions_log(struct actions *a, enum log_level level, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void actions_reset(struct actions *a);
void actions_fini(struct actions *a);

/* PRNG for cores (xoshiro256**, Blackman and Vigna 2018), seeded by EV_START. */
struct prng {
    uint64_t s[4];
};
void prng_seed(struct prng *p, uint64_t seed);
uint64_t prng_next(struct prng *p);

/* Planted bugs: each name is a bug that a test must catch (tests/plant/).
 * Constant false, and so no code at all, outside the simulator's build. */
#ifdef FERRO_PLANTS
bool plant_on(const char *name);
#define FERRO_PLANT(name) plant_on(#name)
#else
#define FERRO_PLANT(name) false
#endif

#endif
