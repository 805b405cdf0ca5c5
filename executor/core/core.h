/* core.h - inside executor/core only: the structs behind executor.h.
 *
 * An application is here from its first lease to APP_END.  A lease is a number of
 * slots; each slot has one task host, blank until a lease needs it.  Tasks wait in
 * their application's queue and go to hosts a little ahead of need.
 */
#ifndef FERRO_EXECUTOR_CORE_CORE_H
#define FERRO_EXECUTOR_CORE_CORE_H

#include "common/base/map.h"
#include "common/core/beat.h"
#include "common/core/pull.h"
#include "common/proto/proto.h"
#include "executor/core/executor.h"

#define MS 1000000ull
#define APPS_MAX 1024
#define STAGES_MAX 4096              /* of one application at once */
#define STAGE_BYTES_MAX (256u << 20) /* theirs: STAGE frames, and what they are decoded to */
#define FREES_MAX 4096               /* BLOCK_FREEs of one application, whose files are being removed */
#define BLOCKS_MAX 4194304           /* outputs that one executor keeps */
#define QUEUE_RUNS_MAX 32768         /* unstarted runs of one application */
#define RUNS_A_FRAME 4096            /* in one RECALLED */
#define LIVE_MAX 65536               /* in one ATTACHED */
#define UNACKED_MAX 4096 /* DONEs that a driver has not acknowledged: past that nothing more is started */
#define UNACKED_BYTES_MAX (64u << 20)
#define JOBS_MAX 4096 /* file work under way, but for serving and removing: past that no task is started */
#define LOAD_MS_MAX 30000      /* a host that has not loaded its job by then is given up */
#define SPAWN_RETRY_MS_MIN 100 /* after a host that ended before it had work */
#define SPAWN_RETRY_MS_MAX 5000
#define HOST_AHEAD_NS 500000 /* work that a host holds ahead */
#define HOST_AHEAD_MAX 256
#define SERVES_MAX 64            /* chunks under way for one connection */
#define REFUSALS_MAX 1000        /* of one connection; then it is cut */
#define LIB_BYTES_MAX (1u << 30) /* a library's, whatever its driver says */
#define RETRY_MS_MIN 50
#define RETRY_MS_MAX 1000

/* A run of attempts, unstarted in a queue or under way in a host. */
struct run {
    uint32_t stage, first, count, attempt;
};

/* FIFO of runs. */
struct runs {
    struct buf v; /* of struct run */
    uint32_t head;
    uint64_t tasks;
};

/* Of an application: unstarted tasks, none twice, stages in the order in which they came. */
struct queue {
    struct map stages; /* -> struct runs, owned: by attempt and first task, apart; none that is empty */
    uint64_t tasks;
    uint32_t entries;
};

enum member_state { MEMBER_WAITING, MEMBER_DIALLING, MEMBER_ENROLLING, MEMBER_JOINING, MEMBER_JOINED };
enum host_state { HOST_BLANK, HOST_LOADING, HOST_UP, HOST_ENDING };
enum lease_state { LEASE_RESERVED, LEASE_ATTACHED, LEASE_CLOSING };
enum stage_state { STAGE_CHECKING, STAGE_READY };

/* One version of a STAGE: lives as long as the stage or a host that was told it. */
struct told {
    uint64_t number; /* never reused: names the frame's bytes */
    uint32_t refs;
    struct buf frame;   /* the whole STAGE frame */
    struct arena arena; /* holds msg's lists */
    const struct msg_stage *msg;
};

struct stage {
    uint32_t stage;
    uint32_t save; /* HOST_STAGE.save */
    enum stage_state state;
    uint64_t task_ns;  /* moving average */
    struct told *told; /* the newest version */
};

struct lease {
    uint64_t lease;
    struct app *app; /* borrowed */
    uint32_t slots;
    uint64_t memory;
    enum lease_state state;
    bool said;            /* LEASE_CLOSED is sent */
    uint64_t deadline_ns; /* reserved: attach by then; closing: hosts are killed then */
    char words[257];
};

struct host {
    uint64_t id;
    enum host_state state;
    struct lease *lease;    /* borrowed; NULL: blank */
    struct runs under_way;  /* oldest first: the head is what it runs */
    uint64_t head_since_ns; /* when the head (or its loading) can have begun */
    struct told *told;      /* referenced: the stage that it was told last */
    bool to_disk;           /* and whether its output goes to the disk */
    enum cause ending;      /* why it is killed: what it ran failed of */
    struct run blamed;      /* what it ran then, as far as we knew; count 0: nothing */
    uint64_t resident;
    struct fetch *fetch; /* owned; its FETCH under way */
};

struct app {
    uint64_t app;
    uint64_t number; /* never reused, unlike `app`: one that comes again after its end is another */
    uint8_t driver_key[KEY_BYTES], fetch_key[KEY_BYTES];
    uint32_t own;          /* number of the fetch key pair, to dial with; free again after the end */
    conn_id control, data; /* the driver's; 0: none */
    bool attached;
    uint64_t born_epoch;            /* of the LEASE_OPEN that brought it: nothing older speaks for it */
    uint64_t epoch;                 /* the highest that its driver attached with */
    struct beat beat;               /* judges the driver */
    bool ending;                    /* APP_END came; goes when its leases are closed */
    struct map stages;              /* -> struct stage, owned */
    uint64_t stage_bytes;           /* of their newest versions */
    uint32_t freeing;               /* JOB_FREEs under way, for lists of stages */
    struct map shelves;             /* stage -> struct shelf, owned; none that is empty */
    struct queue queue;             /* unstarted */
    uint64_t libs_asked, libs_here; /* a bit each of lib_list */
    bool load_failed;               /* the last host could not load it: next try when there are tasks */
    struct buf lib_list;            /* of struct rec_lib, names in `keep` */
    struct arena keep;
    uint64_t done_seq;  /* of the last DONE made */
    struct buf unacked; /* frames of DONE, each after u64 seq and u32 size */
    uint32_t nunacked;
    struct buf out_runs;    /* of struct rec_success: to tell at the end of this step */
    struct buf out_reports; /* of struct rec_report, bytes in out_arena */
    struct arena out_arena;
    uint64_t out_busy_ns;
    struct map copies; /* name -> struct copy, owned */
    struct map peers;  /* incarnation's hash -> struct source, owned */
};

/* What a stage has here, freed with it. */
struct shelf {
    struct block *blocks;
    struct copy *copies;
};

/* One block that we have: outputs of tasks. */
struct block {
    struct app *app;           /* borrowed */
    struct block *prev, *next; /* of its shelf */
    struct block_id id;
    uint32_t stage;
    bool disk;
    uint64_t bytes;
};

/* Another executor whose data port we dialled for an application. */
struct source {
    conn_id conn;
    struct app *app; /* borrowed */
    uint64_t hash;
    bool up;
    uint32_t pulls;     /* under way or waiting */
    uint64_t heard_ns;  /* since when it owes an answer, when pulls > 0 */
    struct buf waiting; /* of struct pull_want, until it is up */
};

/* A fetched (part of a) block, or one on its way. */
struct copy {
    uint64_t number; /* the pull's user number */
    struct block_id id;
    struct app *app;          /* borrowed */
    struct copy *prev, *next; /* of its shelf */
    uint32_t stage;
    conn_id source; /* 0: the driver */
    bool here, placed, disk;
    uint64_t counted; /* of the fast folder's budget: all that it will take, from its first bytes on */
    uint64_t base, length, total;
    struct buf waiting; /* of struct waiter */
};
struct waiter {
    uint64_t host;
    uint32_t index;
};

/* A host's FETCH: answered when nothing is pending. */
struct fetch {
    uint32_t n, pending;
    struct rec_want wants[HOST_FDS_MAX];
    struct rec_got got[HOST_FDS_MAX];
    struct block_ref refs[HOST_FDS_MAX];
    const struct rec_peer *from[HOST_FDS_MAX]; /* of what the host was told; NULL: our own */
    char words[HOST_FDS_MAX][257];
};

/* What an IO that is under way is for. */
enum job_kind { JOB_ADOPT, JOB_SYNC, JOB_TOKEN, JOB_LIBRARY, JOB_LOOK, JOB_SERVE, JOB_FREE };
struct job {
    enum job_kind kind;
    uint64_t app, number; /* of struct app */
    uint64_t host;
    uint32_t stage, index;
    conn_id conn;
    uint64_t tag;
    struct rec_report report; /* ADOPT, SYNC: told when it is done; bytes in arena */
    struct arena arena;
};

struct conn {
    conn_id id;
    struct app *app; /* borrowed: driver's or a fetcher's application */
    enum role role;
    bool hello, data;
    uint32_t serving, refusals;
};

struct executor {
    struct executor_config config; /* strings owned by `keep` */
    struct arena keep;
    struct prng prng;
    struct stall stall;

    enum member_state member;
    conn_id manager;
    uint64_t retry_ns, retry_ms;
    uint64_t epoch, generation, beat_ms;
    bool welcomed;    /* on this connection */
    bool enrolled;    /* and not joined since: a refused key now is no reason to enrol at once */
    struct beat beat; /* judges the manager */
    bool draining, exiting;
    uint64_t drain_until_ns;

    struct map apps;    /* -> struct app, owned */
    struct map leases;  /* -> struct lease, owned */
    struct map hosts;   /* -> struct host, owned */
    struct map blocks;  /* name -> struct block, owned */
    struct map conns;   /* -> struct conn, owned: accepted ones */
    struct map jobs;    /* io id -> struct job, owned */
    struct map sources; /* conn -> struct source, borrowed from apps */
    struct map copies;  /* number -> struct copy, borrowed from apps */
    struct pulls *pulls;
    uint64_t next_conn, next_io, next_host, next_copy, next_app, next_told;
    uint64_t fill_ns, fill_ms; /* no host is started before; 0: at once */
    uint32_t next_own;
    struct buf free_owns; /* of uint32_t, below next_own */
    uint64_t block_bytes, frames, refused;
    uint32_t freeing;             /* all applications' */
    uint32_t slots_used, serving; /* serving: chunks that no connection has taken yet */

    struct actions *out; /* of this step */
    uint64_t now;
    struct arena in; /* decoded messages of this step */
};

/* member.c */
void member_start(struct executor *x);
void member_up(struct executor *x);
void member_down(struct executor *x, enum down_reason reason, const char *words);
void member_frame(struct executor *x, struct bytes frame);
void member_time(struct executor *x);
uint64_t member_deadline(const struct executor *x);
void member_send(struct executor *x, uint8_t tag, const void *msg); /* dropped when not joined */
void member_drain(struct executor *x);

/* lease.c */
void on_lease_open(struct executor *x, const struct msg_lease_open *m);
void own_free(struct executor *x, uint32_t own);
void lease_close(struct executor *x, struct lease *l, uint64_t grace_ms, const char *words);
void lease_settle(struct executor *x, struct lease *l); /* closing and no host left: LEASE_CLOSED */
void leases_time(struct executor *x);
uint32_t leases_open(const struct executor *x, const struct app *a); /* not closing */

/* app.c */
struct app *app_by_key(struct executor *x, const uint8_t key[KEY_BYTES], enum role role);
void app_frame(struct executor *x, struct conn *c, uint8_t tag, struct bytes frame);
void app_end(struct executor *x, struct app *a);
void app_settle(struct executor *x, struct app *a); /* ending and no lease left: gone */
void app_conn_down(struct executor *x, struct conn *c);
void conn_cut(struct executor *x, conn_id id); /* one that we accepted: forgotten */
void apps_time(struct executor *x);
uint64_t app_deadline(const struct executor *x, const struct app *a);
void app_send(struct executor *x, const struct app *a, uint8_t tag, const void *msg);

/* stage.c */
void on_stage(struct executor *x, struct app *a, const struct msg_stage *m, struct bytes frame);
void stage_free(struct app *a, struct stage *s);
void told_drop(struct told **t);
void on_block_free(struct executor *x, struct app *a, const struct msg_block_free *m);
void free_done(struct executor *x, struct job *j);
void block_add(struct executor *x, struct app *a, struct block_id id, uint32_t stage, uint64_t bytes,
               bool disk);
void block_drop(struct executor *x, struct block *b);
struct shelf *shelf_of(struct app *a, uint32_t stage); /* made when missing */
void shelf_settle(struct app *a, uint32_t stage);      /* no shelf stays empty */
void stage_blocks_drop(struct executor *x, struct app *a, uint32_t stage);
void libs_fetch(struct executor *x,
                struct app *a); /* what is neither here nor asked for, when the driver can be asked */
bool libs_here(const struct app *a);
void load_failed(struct executor *x, struct app *a, const char *words,
                 const char *tail); /* the first waiting task is told, and counts */
void libs_arrived(struct executor *x, struct copy *c, uint32_t code, const char *words);
void stage_job_done(struct executor *x, struct job *j, int64_t result);

/* tasks.c */
void on_tasks(struct executor *x, struct app *a, const struct msg_tasks *m);
void on_recall(struct executor *x, struct app *a, const struct msg_recall *m);
void on_cancel(struct executor *x, struct app *a, const struct msg_cancel *m);
void tasks_dispatch(struct executor *x, struct app *a);
void tasks_requeue(struct executor *x, struct app *a,
                   struct runs *from);                   /* all that is in there, which is empty then */
void tasks_give_back(struct executor *x, struct app *a); /* RECALLED: all that is unstarted */
void task_give_back(struct executor *x, struct app *a,
                    struct run task); /* RECALLED: one that a host had begun */
void on_host_done(struct executor *x, struct host *h, const struct msg_done *m, const char *tail);
void report_fail(struct executor *x, struct app *a, struct run task, enum cause cause, int signal,
                 uint64_t peak, uint64_t ms, const char *words, const char *tail);
void report_add(struct executor *x, struct app *a, const struct rec_report *r);
void report_job_done(struct executor *x, struct job *j, int64_t result);

/* done.c */
void done_flush(struct executor *x, struct app *a);
void done_resend(struct executor *x, struct app *a, uint64_t after);
void on_done_ack(struct executor *x, struct app *a, const struct msg_done_ack *m);
struct rec_report report_copy(struct arena *a, const struct rec_report *r);

/* runs.c */
void runs_push(struct runs *q, struct run r);                  /* joined to the last where it continues it */
bool runs_pop(struct runs *q, uint32_t most, struct run *out); /* up to `most` tasks of the first run */
/* Remove the tasks of `what` that are there; each piece goes to `removed` (of struct run; may be NULL).  How many. */
uint64_t runs_remove(struct runs *q, struct run what, struct buf *removed);
bool runs_peek(const struct runs *q, struct run *out);
uint32_t runs_entries(const struct runs *q);
void runs_fini(struct runs *q);

/* queue.c - lists of runs in order are by stage, attempt and first task, with nothing in common. */
uint32_t runs_sort(struct run *v, uint32_t n); /* put in order, joined; how many are left */
uint32_t runs_find(const struct run *v, uint32_t n, uint32_t from,
                   struct run what); /* in order: the first that isn't whole before `what` */
bool runs_meet(const struct run *a, const struct run *b);
void queue_put(struct queue *q, struct run *v, uint32_t n);          /* in any order; v is sorted */
void queue_remove(struct queue *q, const struct run *v, uint32_t n); /* v in order; what is there of them */
bool queue_peek(const struct queue *q, struct run *out);
/* Up to `most` (at least one) tasks of the stage's first run; UINT32_MAX: of the first stage. */
bool queue_pop(struct queue *q, uint32_t stage, uint32_t most, struct run *out);
void queue_list(const struct queue *q, struct buf *out); /* all, as struct run */
void queue_fini(struct queue *q);

/* hosts.c */
void hosts_fill(struct executor *x); /* a blank host for each slot without one */
void hosts_assign(struct executor *x, struct lease *l);
void host_send(struct executor *x, struct host *h, uint8_t tag, const void *msg);
void host_kill(struct executor *x, struct host *h, enum cause why);
void host_frame(struct executor *x, struct host *h, struct bytes frame, const char *tail);
void host_exited(struct executor *x, struct host *h, const struct event *ev);
void host_memory(struct executor *x, struct host *h, uint64_t bytes);
void hosts_time(struct executor *x);
uint64_t hosts_deadline(const struct executor *x);
uint32_t hosts_of(const struct executor *x, const struct lease *l);

/* fetch.c */
void on_fetch(struct executor *x, struct host *h, const struct msg_fetch *m);
void fetch_looked(struct executor *x, struct job *j, int64_t result);
void pull_frame(struct executor *x, uint8_t tag, conn_id from, const void *m); /* BLOCK_DATA, BLOCK_ERR */
void pull_ended(struct executor *x, const struct pull_result *r);
void source_up(struct executor *x, struct source *s);
void source_down(struct executor *x, struct source *s);
void sources_time(struct executor *x); /* one that owes an answer for too long is given up */
uint64_t sources_deadline(const struct executor *x);
struct copy *copy_start(struct executor *x, struct app *a, const struct pull_want *want,
                        const struct rec_peer *peer);
void stage_copies_drop(struct executor *x, struct app *a, uint32_t stage); /* that are here */
void app_copies_drop(struct executor *x, struct app *a);                   /* all */
void copy_forget(struct executor *x, struct app *a,
                 struct block_id id); /* it is not what it should be: pull it anew */

/* serve.c */
void on_block_get(struct executor *x, struct conn *c, const struct msg_block_get *m);
void serve_done(struct executor *x, struct job *j, int64_t result);

/* executor.c */
uint64_t block_key(uint64_t app, struct block_id id);
struct app *job_app(const struct executor *x, const struct job *j); /* NULL: it is gone */
struct action *io_start(struct executor *x, enum job_kind kind, enum io_op op, uint64_t app,
                        struct job **job);
void frame_send(struct executor *x, conn_id conn, uint8_t tag, const void *msg);
void refuse(struct executor *x, conn_id conn, enum refusal code, uint64_t about, const char *words);
void executor_event(struct executor *x, const char *name, uint64_t app, uint64_t id, uint32_t stage,
                    uint32_t part);

#endif
