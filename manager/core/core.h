/* core.h - inside manager/core only: the structs behind manager.h, and who does what.
 *
 * Ownership: the manager's maps own; every other pointer borrows.  Two objects
 * that know each other are taken apart in one place, named at the field.
 */
#ifndef FERRO_MANAGER_CORE_CORE_H
#define FERRO_MANAGER_CORE_CORE_H

#include "common/base/map.h"
#include "common/core/beat.h"
#include "common/proto/proto.h"
#include "manager/core/manager.h"

#define MS 1000000ull
#define REFUSALS_MAX 1000             /* of one connection; then it is cut */
#define LOST_KEPT 4096                /* lost incarnations that are remembered, to be told so */
#define ENDED_KEPT 1000               /* ended applications that are listed */
#define OUTPUT_BYTES_MAX (1u << 20)   /* kept of each stream of an application */
#define OUTPUTS_KEPT 100              /* ended applications whose output is kept */
#define UPLOAD_BYTES_MAX (256u << 20) /* libraries of submitted applications that wait, in all */
#define CLAIMS_MAX (1u << 18)         /* of all applications, unconfirmed */
#define NUMBER_EPOCH_SHIFT 40         /* leases and generations: (epoch, counter), never used twice */
#define LISTENERS_MAX 64              /* connections that wait for, or follow, one application */
#define MASS_LOSS_MIN 5
#define MASS_LOSS_WITHIN_NS (10000 * MS)
#define MASS_LOSS_PAUSE_NS (30000 * MS)
#define DRAIN_GRACE_MS 30000       /* running tasks of a draining executor have so long */
#define REFUSED_BAR_NS (1000 * MS) /* an executor that refused a lease isn't offered another at once */
#define ENDED_TOLD_NS (30000 * MS) /* an ended application's driver may come back so long to hear it */
#define REFUSED_CUT_NS (1000 * MS) /* a connection refused as a whole has this long to read why */

#define ODD_BEATS_MAX \
    3 /* in a row that tell of other leases than we know: then JOIN or APP_OPEN settles it */
#define EXIT_JOB_FAILED 3 /* what the CLI exits with for an application that was killed or lost */

/* Do a peer's beats tell of the leases that we know it to have?  See claims_on_beat(). */
struct account {
    uint64_t changed_ns;  /* when a word about its leases last went to it, or came from it */
    uint32_t odd;         /* beats in a row that differed, with nothing under way */
    bool cut;             /* for that; since then they haven't agreed */
    uint64_t said, known; /* the digests then */
};

/* Somebody's key: why it may connect. */
struct known {
    uint8_t key[KEY_BYTES];
    enum role role;
    char name[65];      /* of authorized keys */
    bool listed;        /* by the MANAGER_KEYS being read */
    struct executor *x; /* EXECUTOR */
    uint64_t app;       /* DRIVER, FETCH */
};

/* A connection.  It exists from its first frame. */
struct peer {
    conn_id conn;
    enum role role;
    uint8_t key[KEY_BYTES];
    char name[65]; /* its key's */
    uint64_t generation;
    bool hello, logged; /* said HELLO; one of its refusals was logged */
    bool listens;       /* waits for, or follows, an application; or sends a library */
    uint32_t refusals;
    uint64_t cut_ns; /* refused as a whole: cut then; 0: no */
    struct beat beat;
    struct executor *x;      /* EXECUTOR: borrowed; taken apart by roster.c */
    uint64_t app;            /* DRIVER: its application */
    bool serving;            /* SERVICE that said SERVE, with: */
    uint32_t capacity, used; /* applications it runs at most, and now */
    char host[257];
};

enum member { MEMBER_ENROLLED, MEMBER_READY, MEMBER_SUSPECT, MEMBER_DRAINING, MEMBER_LOST };

/* An executor: one incarnation. */
struct executor {
    uint64_t generation;
    enum member state;
    char id[17];
    uint8_t incarnation[ID_BYTES], key[KEY_BYTES], join_key[KEY_BYTES];
    char host[257], host_id[65], control[257], data[257], root[513], labels[513];
    uint32_t slots, slots_used;
    uint64_t memory, memory_used;
    conn_id conn; /* 0: none now */
    struct beat beat;
    uint64_t since_ns; /* enrolled, or its connection closed */
    uint32_t probes;   /* sent since then */
    bool draining;
    uint32_t here; /* share.c: slots of the application that it places */
    struct account account;
    struct map leases; /* id -> struct lease, borrowed */
    struct map apps;   /* numbers of applications that had a lease here: they may have blocks here */
};

enum lease_state {
    LEASE_OPENING, /* LEASE_OPEN sent */
    LEASE_GRANTED, /* LEASE_OPENED came; LEASE_GRANT goes to the driver */
    LEASE_HELD,    /* an executor has it since before our start; its driver is awaited */
    LEASE_CLOSING, /* LEASE_REVOKE or APP_END sent; only LEASE_CLOSED frees the slots */
};

struct lease {
    uint64_t lease;
    enum lease_state state;
    struct executor *x; /* borrowed; taken apart by lease_drop() */
    struct app *app;    /* borrowed, NULL: not one of ours */
    uint32_t slots;
    uint64_t memory;   /* per slot */
    uint64_t since_ns; /* HELD since */
    bool told;         /* GRANTED: the driver was sent it */
    bool seen;         /* by the JOIN or APP_OPEN being read */
};

/* A driver's word that it has a lease, which its executor has not confirmed since our start. */
struct claim {
    uint64_t lease;
    uint32_t slots;
    uint8_t incarnation[ID_BYTES];
    uint64_t since_ns;
};

/* The last bytes of a stream. */
struct stream {
    struct buf bytes;
    uint64_t offset; /* of bytes.p[0] in the whole stream */
};

enum app_state { APP_WAITING, APP_OPENING, APP_RUNNING, APP_ENDING, APP_ENDED };

struct app {
    struct store_app row; /* what is stored of it */
    enum app_state state;
    uint64_t persisting; /* id of the ACT_PERSIST under way, 0: none */
    conn_id opener;      /* waits for APP_OK, or for SUBMITTED and then sends the library; 0: nobody */
    /* its driver */
    conn_id driver; /* 0: away */
    uint64_t generation;
    uint64_t away_ns; /* since when it is */
    bool settled;     /* it has told its claims, or was opened in this epoch */
    struct account account;
    struct map leases;  /* id -> struct lease, borrowed */
    struct map claims;  /* lease -> struct claim, owned */
    uint32_t claimed;   /* their slots */
    uint64_t revoke_ns; /* ended: its driver may hear so until then; 0: key revoked */
    /* what it asked for */
    bool asked;
    uint64_t revision;
    uint32_t want;
    uint64_t want_memory;
    char want_labels[513];
    struct map barred;       /* generation -> until when */
    uint64_t turn;           /* of sharing, in which it was last served */
    uint32_t slots, granted; /* of leases that open, are held or granted; granted alone */
    char said[513];
    uint32_t said_granted;
    bool say, look; /* an answer is due even if nothing changed; or if anything did */
    /* cluster mode */
    conn_id service; /* runs it, 0: none */
    uint64_t service_away_ns;
    bool launched; /* its process runs, or ran */
    bool exited;   /* its process ended: no more output */
    struct buf library;
    uint64_t library_bytes;
    struct arena submission; /* holds args and options */
    const struct rec_str *args, *options;
    uint32_t nargs, noptions;
    struct stream streams[2];
    struct buf waiters, followers; /* of conn_id */
};

struct manager {
    struct manager_config config;
    uint64_t epoch, next_app, next_lease, next_generation, next_persist;
    uint64_t begun_ns, unix_ms;
    uint64_t now;        /* of this step */
    struct actions *out; /* of this step */
    struct arena in;     /* the frame being handled */
    struct stall stall;
    uint64_t tick_ns;
    bool dirty;    /* something changed that may let a want be met */
    bool sharing;  /* a turn of sharing has not yet come to everyone */
    uint64_t turn; /* its number */
    bool stopping;
    struct map peers;     /* conn -> struct peer, owned */
    struct map known;     /* hash of key -> struct known, owned */
    struct map executors; /* generation -> struct executor, owned: all but the lost */
    struct map lost;      /* generation -> struct executor, owned */
    struct map joined;    /* hash of incarnation -> struct executor, borrowed; those that said JOIN */
    struct map leases;    /* id -> struct lease, owned */
    struct map apps;      /* number -> struct app, owned; by ascending number */
    struct map ended;     /* number -> struct app, borrowed; in the order in which they ended */
    struct map outputs;   /* number -> struct app, borrowed; ended ones with output */
    struct map unmet;    /* number -> struct app, borrowed; of share.c: those that want slots, or an answer */
    struct map persists; /* id -> struct app, borrowed */
    struct map uploads;  /* number -> struct app, borrowed; those whose library is held here, oldest first */
    struct map probing;  /* generation -> struct executor, borrowed */
    uint64_t upload_bytes;
    uint32_t claims;            /* of all applications */
    uint32_t held;              /* leases in that state */
    uint64_t losses_ns;         /* executors lost by silence are counted from here on ... */
    uint32_t losses, losses_of; /* ... so many, of so many */
    uint64_t paused_ns;         /* mass loss: nothing is granted, nobody given up, until then */
    struct buf places;          /* of share.c */
    uint64_t frames, refused;
};

/* manager.c */
void manager_send(struct manager *m, conn_id conn, uint8_t tag, const void *msg); /* conn 0: nothing */
void manager_refuse(struct manager *m, struct peer *p, enum refusal code, uint64_t about, const char *fmt,
                    ...) __attribute__((format(printf, 5, 6)));
struct manager_event *manager_event(struct manager *m,
                                    const char *name);         /* fill it with strings of manager_copy() */
const char *manager_copy(struct manager *m, const char *text); /* lives as long as this step's actions */
uint64_t manager_unix_ms(const struct manager *m);

/* keyring.c: whose keys there are */
struct known *keyring_find(const struct manager *m, const uint8_t key[KEY_BYTES]);
/* And admit it.  NULL when that key (or one with the same hash) is somebody's already. */
struct known *keyring_add(struct manager *m, const uint8_t key[KEY_BYTES], enum role role);
void keyring_revoke(struct manager *m, const uint8_t key[KEY_BYTES]);
void keyring_set(struct manager *m, const struct manager_keys *keys);

/* peers.c */
struct peer *peers_get(struct manager *m, const struct event *recv); /* made when it is new */
void peers_down(struct manager *m, conn_id conn);
void peers_cut(struct manager *m, conn_id conn);
void peers_time(struct manager *m);
void peers_stalled(struct manager *m, uint64_t late_ns);
uint32_t peers_beat_ms(const struct manager *m);
void peers_on_hello(struct manager *m, struct peer *p, const void *msg);
void peers_on_beat(struct manager *m, struct peer *p, const void *msg);
void peers_on_beat_ack(struct manager *m, struct peer *p, const void *msg);
void peers_on_bye(struct manager *m, struct peer *p, const void *msg);

/* roster.c: executors come, and drain */
struct executor *roster_member(struct manager *m, struct peer *p,
                               uint8_t tag); /* who joined on it; NULL: refused */
void roster_event(struct manager *m, const char *name, const struct executor *x, const char *words);
struct executor *roster_find(const struct manager *m,
                             const uint8_t incarnation[ID_BYTES]); /* joined, not lost */
void roster_tell(struct manager *m, struct executor *x, enum exec_state state,
                 const char *words); /* drivers that had leases there */
void roster_on_enrol(struct manager *m, struct peer *p, const void *msg);
void roster_on_join(struct manager *m, struct peer *p, const void *msg);
void roster_on_drain(struct manager *m, struct peer *p, const void *msg);
void roster_free(struct executor *x);

/* watch.c: executors fall silent and go */
void watch_heard(struct manager *m, struct executor *x);
void watch_closed(struct manager *m, struct executor *x); /* its connection */
void watch_lost(struct manager *m, struct executor *x, const char *event, const char *words);
void watch_revoked(struct manager *m, const uint8_t join_key[KEY_BYTES]);
void watch_probed(struct manager *m, uint64_t generation, bool refused);
void watch_probes(struct manager *m);
void watch_time(struct manager *m);
uint64_t watch_deadline(const struct manager *m);

/* leases.c */
struct lease *leases_new(struct manager *m, const struct rec_holding *what, enum lease_state state,
                         struct executor *x, struct app *a);
void leases_offer(struct manager *m, struct executor *x, struct app *app, uint32_t slots);
void leases_opened(struct manager *m, struct lease *l); /* the executor has it: the driver gets it */
void leases_grant(struct manager *m, struct lease *l);  /* (again) to the driver */
void leases_move(struct manager *m, struct lease *l, enum lease_state state);
void leases_close(struct manager *m, struct lease *l, uint32_t grace_ms,
                  const char *words); /* and tell both sides; l may be gone */
void leases_tell_driver(struct manager *m, const struct app *a, uint64_t lease, uint32_t grace_ms,
                        const char *words);
void leases_drop(struct manager *m, struct lease *l); /* closed, or lost with its executor */
void leases_on_opened(struct manager *m, struct peer *p, const void *msg);
void leases_on_closed(struct manager *m, struct peer *p, const void *msg);
void leases_on_return(struct manager *m, struct peer *p, const void *msg);
void leases_on_bad(struct manager *m, struct peer *p, const void *msg);

/* claims.c: what executors and drivers say they have */
void claims_on_join(struct manager *m, struct executor *x, const struct msg_join *join,
                    bool again); /* again: on the same connection */
void claims_on_open(struct manager *m, struct app *a, const struct msg_app_open *open);
void claims_on_beat(struct manager *m, struct peer *p, uint64_t digest); /* may cut p: it is gone then */
void claims_time(struct manager *m);
void claims_clear(struct manager *m, struct app *a);
void claims_forget(struct manager *m, struct app *a, uint64_t lease); /* a may be NULL */

/* share.c: free slots to applications with unmet wants */
void share_slots(struct manager *m);
void share_look(struct manager *m, struct app *a); /* it may want more than it did, or be owed an answer */
bool share_wants(const struct app *a);             /* more slots, and may get some */

/* waits.c: what can be used, and words for what can't */
bool waits_usable(const struct executor *x);           /* may get leases at all */
uint32_t waits_free(const struct executor *x);         /* its slots that nobody has */
bool waits_labels(const char *has, const char *wants); /* each of the comma-separated wants is among has */
uint32_t waits_room(const struct manager *m, const struct executor *x,
                    const struct app *a);            /* slots of x that it could get now */
void waits_answer(struct manager *m, struct app *a); /* ASK_STATE, when it changed */
void waits_submitted(const struct manager *m, const struct app *a, char *words, size_t size);

/* apps.c */
void apps_load(struct manager *m, const struct store_app *row);
struct app *apps_new(struct manager *m, const char *mode, const char *user, struct bytes name);
void apps_persist(struct manager *m, struct app *a);
void apps_persisted(struct manager *m, uint64_t id);
void apps_finish(struct manager *m, struct app *a, const char *state, uint32_t exit_code, const char *words);
void apps_free(struct app *a);
void apps_driver_here(struct manager *m, struct peer *p);
void apps_driver_away(struct manager *m, struct peer *p);
void apps_expire(struct manager *m);
bool apps_live(const struct app *a); /* not ended, nor about to */
uint32_t apps_live_count(const struct manager *m);
void apps_row(const struct manager *m, const struct app *a, struct rec_app_row *row,
              char words[513]); /* for people */

/* open.c: an application's own messages */
void open_on_app_open(struct manager *m, struct peer *p, const void *msg);
void open_on_ask(struct manager *m, struct peer *p, const void *msg);
void open_on_app_close(struct manager *m, struct peer *p, const void *msg);
void open_on_app_ended(struct manager *m, struct peer *p, const void *msg);

/* submit.c: cluster mode */
void submit_on_submit(struct manager *m, struct peer *p, const void *msg);
void submit_on_chunk(struct manager *m, struct peer *p, const void *msg);
void submit_drop(struct manager *m, struct app *a);       /* its library is not needed any more */
void submit_again(struct manager *m, struct app *a);      /* launched and nothing came of it */
void submit_launch(struct manager *m);                    /* what waits, where there is capacity */
void submit_forget(struct manager *m, conn_id submitter); /* it went: half a library is no library */

/* service.c: driver services */
void service_on_serve(struct manager *m, struct peer *p, const void *msg);
void service_on_launched(struct manager *m, struct peer *p, const void *msg);
void service_on_exited(struct manager *m, struct peer *p, const void *msg);
void service_away(struct manager *m, struct peer *p);
void service_take(struct manager *m, struct app *a, struct peer *p);
void service_leave(struct manager *m, struct app *a); /* it no longer runs there */

/* output.c */
void output_on_output(struct manager *m, struct peer *p, const void *msg);
void output_on_logs(struct manager *m, struct peer *p, const void *msg);
void output_end(struct manager *m, struct app *a);  /* nothing follows */
void output_keep(struct manager *m, struct app *a); /* it ended: is one of the last OUTPUTS_KEPT */

/* query.c */
void query_tell_waiters(struct manager *m, struct app *a);
bool query_listen(struct manager *m, struct peer *p, struct buf *list); /* false: refused, LISTENERS_MAX */
void query_forget(struct manager *m, const struct peer *p);
struct app *query_app(struct manager *m, struct peer *p,
                      uint64_t app); /* NULL: refused, as not there or not one's own */
void query_on_status(struct manager *m, struct peer *p, const void *msg);
void query_on_list_executors(struct manager *m, struct peer *p, const void *msg);
void query_on_list_apps(struct manager *m, struct peer *p, const void *msg);
void query_on_wait(struct manager *m, struct peer *p, const void *msg);
void query_on_kill(struct manager *m, struct peer *p, const void *msg);

#endif
