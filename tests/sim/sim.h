/* sim.h - a whole cluster in one thread: the real cores over a virtual clock, a
 * simulated network, simulated disks, task hosts and people.
 *
 * One seed is one run.  It draws the cluster, the jobs and the faults; nothing
 * else is random and nothing depends on addresses, so that a seed replays to
 * the byte.  Map hosts hold numbers, reduces sum them: a block that is lost,
 * doubled or stale makes another result than the serial oracle's.
 *
 * Ownership: struct sim owns everything; pointers between its parts borrow, and
 * a process that restarts keeps its struct with `life` raised.
 */
#ifndef FERRO_SIM_SIM_H
#define FERRO_SIM_SIM_H

#include "common/base/map.h"
#include "common/proto/proto.h"
#include "driver/sched/sched.h"
#include "executor/core/executor.h"
#include "manager/core/manager.h"

#define US 1000ull
#define MSEC 1000000ull
#define SEC 1000000000ull
#define AFTER_FAULTS_NS (120 * SEC) /* everything has ended so long after the last fault */
#define PROCS_MAX 24
#define APPS_SIM_MAX 8 /* drivers that a run starts; retries of an opener included */
#define STAGES_SIM_MAX 6
#define JOBS_SIM_MAX 3
#define QUEUE_FRAMES_MAX 10000 /* of one direction of a connection, as net.h's NET_HWM */

/* What can go wrong: name, words. */
#define FAULTS(F) \
    F(CUT, "connection cut, what was under way lost") \
    F(ONEWAY, "one-way partition") \
    F(HALF_OPEN, "connection half open") \
    F(DELAY, "frames delayed up to 5 s") \
    F(FULL, "peer's queue full") \
    F(CRASH_MANAGER, "manager killed, restarted on its store") \
    F(CRASH_EXECUTOR, "executor killed") \
    F(CRASH_DRIVER, "driver killed") \
    F(POWER, "executor's machine lost in silence") \
    F(PAUSE_MANAGER, "manager paused up to 60 s") \
    F(PAUSE_EXECUTOR, "executor paused up to 60 s") \
    F(PAUSE_DRIVER, "driver paused up to 60 s") \
    F(CLOCK, "clocks 5 % fast or slow") \
    F(STOP_MANAGER, "manager stopped, started again") \
    F(DRAIN, "executor drained") \
    F(JOIN, "executor added") \
    F(KILL, "application killed by its user") \
    F(INTERRUPT, "driver interrupted") \
    F(IO_SLOW, "file work slow") \
    F(IO_FAIL, "file work failed: ENOSPC or EIO") \
    F(TASK_ERROR, "attempt returned an error") \
    F(TASK_CRASH, "task host crashed") \
    F(TASK_MEMORY, "task host out of memory") \
    F(TASK_HANG, "attempt hung") \
    F(TASK_POISON, "task that always fails") \
    F(HOST_BAD, "task host could not start or load") \
    F(BLOCK_LOST, "block's file gone or unreadable") \
    F(ZOMBIE, "host outlived its executor, still writing") \
    F(STRAGGLER, "attempt a hundred times slower") \
    F(LOSE, "hostile network: frame lost") \
    F(DOUBLE, "hostile network: frame came again later") \
    F(REORDER, "hostile network: frame overtaken") \
    F(OLD_STORE, "manager started on an old copy of its store") \
    F(CREDIT, "chunk refused: its server lets one be under way")
enum fault {
#define F(name, words) FAULT_##name,
    FAULTS(F)
#undef F
        FAULT_COUNT
};
#define FAULT_HOSTILE FAULT_LOSE /* from here on: in the hostile profile alone */
extern const char *const fault_words[FAULT_COUNT];

struct sim;
struct proc;
struct wire;
struct thost;

/* Something that will happen. */
struct todo {
    uint64_t at, order; /* earliest first; then the order in which they were put */
    void (*run)(struct sim *s, struct todo *t);
    struct proc *p;
    uint32_t life; /* p's: void when it is another by then */
    uint64_t a, b;
    void *x;   /* borrowed */
    void *own; /* freed after it ran */
};

/* ---- data, jobs, output folders --------------------------------------------- */

struct numbers {
    uint64_t *v;
    uint32_t n, cap;
};

/* An open file: unlinked or renamed, it stays the same one. */
struct inode {
    struct buf content;
    uint32_t refs;
    bool dirty;    /* written since its last sync */
    bool final;    /* is a part of a folder that has its _SUCCESS */
    uint32_t node; /* whose machine writes it */
};

/* One job's output folder, shared by those machines that see it. */
struct outdir {
    char path[64];
    uint8_t token[ID_BYTES];
    uint64_t app;
    struct map staging; /* part << 32 | attempt -> struct inode */
    struct map parts;   /* part -> struct inode */
    bool success;
};

/* What a stage's tasks do: travels as the plan's body. */
struct recipe {
    uint32_t magic, job, stage, kind, buckets, ninputs;
    uint64_t seed, app_index;
    uint64_t keep;     /* of a cached dataset */
    uint32_t nsides;   /* its numbers are mixed with the sum of these stages' */
    uint32_t side;     /* index in the job */
    uint32_t other[2]; /* as stage_input's */
    uint32_t shuffle[2], shuffle_kind[2],
        ntasks[2];  /* by input; shuffle: index in the job or STAGE_NO_SHUFFLE */
    bool served[2]; /* source: from a driver's block */
    uint8_t block[2][ID_BYTES];
    bool plain; /* result stage: says nothing but success */
};

/* A job and what it must give. */
struct work {
    struct recipe recipes[STAGES_SIM_MAX];
    struct stage_spec specs[STAGES_SIM_MAX];
    struct stage_input inputs[STAGES_SIM_MAX][2];
    char names[STAGES_SIM_MAX][16];
    struct job_spec spec;
    struct served_block served[STAGES_SIM_MAX][2];
    struct buf served_bytes[STAGES_SIM_MAX][2];
    struct outdir *out; /* borrowed; NULL: results */
    uint64_t want_n, want_sum, want_xor;
    /* what came */
    struct map results;                  /* part -> struct buf, owned */
    uint32_t tasks;                      /* results or winners that came */
    struct map failures[STAGES_SIM_MAX]; /* part -> attempts that we made fail */
    bool poisoned, begun, ended;
    uint32_t poison_stage, poison_part;
    int code;
};

/* ---- processes ------------------------------------------------------------- */

enum proc_kind { PROC_MANAGER, PROC_EXECUTOR, PROC_DRIVER, PROC_USER };

struct admitted_key {
    uint8_t key[KEY_BYTES];
    enum role role;
    uint64_t app;
};

/* What one incarnation of an executor has on its disk. */
struct blob {
    uint64_t app;
    struct block_id id;
    uint32_t stage;
    bool adopted; /* a task made it */
    struct buf content;
};

struct exec_state_sim {
    uint8_t public_key[KEY_BYTES], incarnation[ID_BYTES];
    char host_id[32], root[64];
    struct executor_config config;
    struct map blobs;      /* key of (app, id) -> struct blob, owned */
    struct map hosts;      /* id -> struct thost, borrowed from the sim: not reaped yet */
    struct map made;       /* the same, of all that there were */
    struct map libs;       /* key of (app, id): IO_LIBRARY found it whole */
    struct map dirs;       /* app -> struct outdir, borrowed: IO_TOKEN found it */
    struct map keys;       /* own number -> public key's number in sim->pairs */
    struct map leases;     /* LEASE_OPENED said: id -> struct lease_seen, borrowed */
    struct map io_until;   /* app -> when the last of its file work is done */
    struct map io_removed; /* app -> when the removal of all that it had is done */
    struct map attached;   /* app -> epoch of the last ATTACH that was answered */
    uint64_t attaching;    /* of the one that came last */
    uint32_t slots;
    bool sees_output, draining, joined;
};

struct driver_state_sim {
    uint32_t index; /* which application */
    struct sched_config config;
    uint64_t app;
    uint32_t job; /* the one that runs */
    bool closing, failed;
    uint64_t impaired_since, impaired_until; /* its way to the manager */
    struct map memory;                       /* (stage, part, attempt) -> struct buf, owned: results pulled */
    struct map commits;                      /* stage << 32 | part: it was said to be committed */
    struct map lost;                         /* stage -> outputs that were lost and are made again */
};

/* An application as its user knows it. */
struct app_sim {
    uint64_t app; /* 0: not opened yet */
    uint64_t epoch;
    uint8_t driver_key[KEY_BYTES], fetch_key[KEY_BYTES], fetch_secret[KEY_BYTES];
    char name[32];
    struct work jobs[JOBS_SIM_MAX];
    uint32_t njobs, opens;
    struct buf library; /* its bytes */
    struct rec_lib lib;
    bool opened, driver_gone, ended;
    bool killed, excused; /* it may fail, for this reason: */
    const char *excuse;
    uint32_t host_failures;
    struct map stages;   /* number in messages -> job << 8 | stage of the job */
    struct map keeps;    /* numbers of stages that are cached: their blocks stay */
    bool forgotten;      /* what is cached, until the next job begins */
    struct map begun;    /* (stage, part) -> attempts that began in a host */
    struct map attempts; /* (stage, part, attempt) that began in a host */
    bool copied;         /* its scheduler had reasons to run a task more than once */
};

struct proc {
    struct sim *sim;
    enum proc_kind kind;
    uint32_t node, life;
    char name[32];
    bool alive, paused, powered_off, silent_dead; /* dead and unreachable rather than refusing */
    uint64_t resume_at;
    /* clock */
    int64_t ppm;
    uint64_t local0, global0;
    uint64_t timer_at, last_spin;
    uint32_t spins;
    /* the core */
    void *core;
    struct actions out;
    uint64_t crash_in; /* actions until it is killed; 0: not */
    bool exiting;
    int exit_code;
    uint64_t epoch, generation; /* as its last frame said */
    uint64_t heard_epoch;       /* the highest that the manager has said to this life */
    bool must_refuse;           /* the frame that it reads now: it is stale */
    /* network */
    uint32_t port;
    struct map conns; /* conn -> struct wire, borrowed */
    conn_id next_conn;
    struct buf keys;  /* of struct admitted_key */
    struct buf inbox; /* of struct kept_event: while paused */
    union {
        struct exec_state_sim x;
        struct driver_state_sim d;
    };
};

/* ---- the network -------------------------------------------------------------- */

enum item_kind { ITEM_FRAME, ITEM_UP, ITEM_DOWN };
struct item {
    uint64_t at;
    enum item_kind kind;
    enum down_reason reason;
    struct bytes frame; /* owned */
};
struct pipe_sim {
    struct buf items; /* of struct item */
    uint32_t head;
    uint64_t last_at;
    bool scheduled;
};
/* A connection: end 0 dialled, end 1 accepted. */
struct wire {
    uint64_t id;
    struct proc *end[2];
    uint32_t life[2];
    conn_id conn[2];                   /* of end 1: given with its first frame */
    bool attached[2];                  /* that end still knows it */
    bool stalled;                      /* about to be cut: nothing gets through */
    bool accepted, up, silent, broken; /* broken: its ends hear so soon */
    uint64_t rst_at;                   /* silent: sending after this tells the sender */
    enum role dialler_role, acceptor_role;
    uint8_t dialler_key[KEY_BYTES], server_key[KEY_BYTES];
    uint32_t port;
    uint64_t asked_at;
    uint64_t generation;     /* which WELCOME gave the dialler */
    bool one_credit;         /* each end serves one chunk at a time, while strays are about */
    uint32_t serving[2];     /* chunks that end e was asked for and has not answered */
    uint32_t limit;          /* frames under way in one direction */
    struct pipe_sim pipe[2]; /* pipe[e] carries what end e sends */
};

/* ---- task hosts ------------------------------------------------------------------ */

struct htask {
    uint32_t stage, part, attempt;
};
struct hstage {
    uint32_t stage, version, save;
    struct buf frame;
    struct arena arena;
    const struct msg_stage *m;
};
enum host_phase { PHASE_IDLE, PHASE_INPUT, PHASE_COMPUTE, PHASE_SAVE };
struct thost {
    struct sim *sim;
    struct proc *x;
    uint32_t life; /* of x */
    uint64_t id;
    bool alive, orphan, counted; /* counted: as running */
    uint64_t app, memory;
    uint32_t app_index;
    uint64_t in_at, out_at, generation; /* generation voids what was scheduled for an earlier task */
    struct map stages;                  /* -> struct hstage, owned */
    struct map scratch;                 /* task key -> struct buf, owned */
    struct buf queue;                   /* of struct htask */
    /* the task that runs */
    enum host_phase phase;
    struct htask task;
    struct hstage *st; /* borrowed */
    struct recipe recipe;
    uint32_t input, in_part; /* the leaf, and the partition within */
    uint64_t takes;
    struct buf wants;            /* of struct rec_want */
    struct buf want_maps;        /* of uint32_t: index into the STAGE's maps */
    uint32_t asked, batch, lose; /* lose: 1 + index of the want that can't be had; 0: none */
    uint64_t began;
    struct numbers got;
    struct map sums;   /* of the hash shuffle being read: bucket -> struct sum, owned */
    uint64_t side_sum; /* of the sides' numbers */
    struct inode *save;
    enum fault verdict; /* what becomes of it; FAULT_COUNT: nothing bad */
    uint64_t number;    /* of this host in the sim */
};

/* ---- people ---------------------------------------------------------------------- */

struct user_sim {
    struct proc *p;
    uint32_t app_index;
    bool waiting; /* to say something */
    bool kill;    /* what: KILL rather than APP_OPEN */
    conn_id conn;
    uint64_t generation, epoch;
};

/* A lease as frames showed it. */
struct lease_seen {
    uint64_t lease, app;
    uint32_t slots;
    uint8_t incarnation[ID_BYTES]; /* whose slots they are */
    bool opened, closed;           /* as the manager has heard */
};

struct sim {
    uint64_t seed, now, order;
    struct prng prng;
    struct todo *heap;
    uint32_t nheap, heap_cap;
    bool trace;
    struct buf shown; /* a frame in words */
    uint64_t hash, steps;
    /* outcome */
    bool failed;
    char check[32], words[1024];
    uint64_t struck[FAULT_COUNT], struck_in_flight[FAULT_COUNT];
    uint32_t running; /* tasks in hosts */
    /* faults */
    bool single, in_set[FAULT_COUNT], over;
    enum fault only;
    bool hostile;                           /* the network loses, doubles and reorders frames freely */
    uint64_t rate[FAULT_COUNT];             /* interval in ns; or chance in a million */
    uint64_t countdown;                     /* single: opportunities until it strikes */
    uint64_t faults_end;                    /* T */
    uint64_t strikes_end;                   /* several: nothing strikes after this */
    uint64_t trouble_until;                 /* what has struck lasts until then */
    uint64_t blocked[PROCS_MAX][PROCS_MAX]; /* frames from a to b are held until then */
    uint64_t delayed[PROCS_MAX][PROCS_MAX];
    /* the cluster */
    struct proc procs[PROCS_MAX];
    uint32_t nprocs;
    bool same_ports, neighbours;
    bool big;      /* one job of thousands of short tasks */
    uint64_t pace; /* tasks take so many times longer */
    uint32_t time_ms_max, attempts_max, slots_max;
    uint8_t manager_key[KEY_BYTES], join_key[KEY_BYTES], user_key[KEY_BYTES];
    struct map links; /* id -> struct wire, owned */
    struct map hosts; /* number -> struct thost, owned */
    uint64_t next_link, next_host, next_key;
    struct user_sim users[APPS_SIM_MAX * 2];
    uint32_t nusers;
    uint64_t next_user_conn;
    struct app_sim apps[APPS_SIM_MAX];
    uint32_t napps;
    struct map outdirs; /* number -> struct outdir, owned */
    /* the manager's store */
    struct buf rows;    /* of struct store_app: what is on stable storage */
    struct buf storing; /* of struct store_app: what is being written */
    uint64_t store_epoch, store_next_app, store_at;
    bool old_store;         /* the manager was started on an old copy: nothing that it does is kept */
    uint64_t manager_epoch; /* of the one that lives */
    struct map asked;       /* app -> revision of the ASK that it answered last */
    struct map durable;     /* app -> 1 + whether ended, when PERSISTED was told to this life */
    struct map leases;      /* id -> struct lease_seen, owned */
    struct buf joining;     /* of uint64_t: applications that the JOIN being read names */
    /* quiet? */
    uint64_t quiet_since;
};

/* sim.c: time, chance, failure */
struct todo *sim_after(struct sim *s, uint64_t ns, void (*run)(struct sim *, struct todo *), struct proc *p);
uint64_t sim_below(struct sim *s, uint64_t n); /* 0..n-1 */
uint64_t sim_between(struct sim *s, uint64_t low, uint64_t high);
bool sim_chance(struct sim *s, uint64_t in_a_million);
void sim_fail(struct sim *s, const char *check, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void sim_trace_frame(struct sim *s, const char *who, const char *how, uint64_t id, struct bytes frame);
void sim_trace(struct sim *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void sim_hash(struct sim *s, const void *p, size_t n);
void sim_key(struct sim *s, uint8_t key[KEY_BYTES]); /* a new one */
uint64_t sim_mix(uint64_t a, uint64_t b, uint64_t c);
/* One whole run; `s` keeps the outcome until sim_fini(). */
void sim_run(struct sim *s, uint64_t seed, bool trace);
void sim_fini(struct sim *s);

/* proc.c: processes, their clocks, deaths and restarts */
void proc_init(struct sim *s, struct proc *p, enum proc_kind kind, const char *name);
void proc_start(struct proc *p);
void proc_kill(struct proc *p, bool in_silence); /* SIGKILL, or its machine's end */
void proc_pause(struct proc *p, uint64_t ns);
void proc_event(struct proc *p, const struct event *ev); /* now, or when it wakes */
void proc_fini(struct proc *p);
uint64_t proc_local(const struct proc *p);
void proc_clock(struct proc *p, int64_t ppm);    /* from now on so many millionths fast */
void sim_trouble(struct sim *s, uint64_t until); /* a fault lasts until then */
bool proc_admits(const struct proc *p, const uint8_t key[KEY_BYTES], enum role *role);
struct proc *proc_of_app(struct sim *s, uint32_t app_index); /* its driver */

/* act.c: what each kind of core asks of its shell */
void act_perform(struct proc *p, const struct action *a);
void act_store_rows(struct sim *s, struct buf *rows); /* what a manager's start finds */
void act_store_died(struct sim *s);

/* wire.c: connections */
void wire_dial(struct proc *p, conn_id conn, const char *address, const uint8_t server_key[KEY_BYTES],
               const uint8_t own_key[KEY_BYTES], enum role role);
void wire_send(struct proc *p, conn_id conn, struct bytes frame);
void wire_cut(struct proc *p, conn_id conn);
void wire_revoke(struct proc *p, const uint8_t key[KEY_BYTES]);
void wire_probe(struct proc *p, uint64_t id, const char *address);
void wire_died(struct proc *p, bool in_silence, bool flushed); /* all its connections */
void wire_fault_cut(struct sim *s, struct wire *l);
void wire_fault_half_open(struct sim *s, struct wire *l);
struct wire *wire_some(struct sim *s);                          /* a random live one, or NULL */
void wire_deliver(struct wire *l, int end, struct bytes frame); /* now, out of order */
void wire_calm(struct sim *s); /* the hostile profile is over: cut what it may have left in disorder */
void wire_fini(struct sim *s);

/* stray.c: the hostile profile */
bool stray_goes_on(const struct sim *s);
bool stray_takes(struct sim *s, struct wire *l, int from,
                 struct bytes frame); /* it does not go on in its place */

/* disk.c: blocks, output folders, and file work */
void disk_io(struct proc *p, const struct action *a);
struct blob *disk_blob(struct proc *x, uint64_t app, struct block_id id);
struct blob *disk_open(struct proc *x, const struct block_ref *ref); /* as an executor's shell opens it */
struct inode *disk_save_open(struct proc *x, uint64_t app, uint32_t part, uint32_t attempt);
void disk_write(struct sim *s, struct inode *f, const void *p, size_t n);
void disk_release(struct inode **f);
void disk_power_lost(struct proc *x); /* of what its machine had not synced any subset is there */
void disk_clear(struct proc *x);
bool disk_lose_block(struct sim *s);
struct outdir *disk_outdir_new(struct sim *s);
void disk_fini(struct sim *s);
uint64_t disk_key(uint64_t app, struct block_id id);

/* frame.c */
void frame_show(struct buf *out, struct bytes frame); /* in words */

/* host.c: simulated task hosts */
void thost_spawn(struct proc *x, uint64_t id);
void thost_send(struct proc *x, const struct action *a);
void thost_kill(struct proc *x, uint64_t id);
void thosts_orphan(struct proc *x, bool linger); /* their executor died */
void thosts_fini(struct sim *s);
uint32_t thosts_of(const struct proc *x, uint64_t app); /* alive and assigned */

/* task.c: what runs in them */
void task_begin(struct thost *h);
void task_fetched(struct thost *h, const struct msg_fetched *m, const struct action *a);
void thost_say(struct thost *h, uint8_t tag, const void *msg);
void thost_exit(struct thost *h, int code, int signal, const char *tail);
void thost_next(struct thost *h);
uint64_t task_key(uint32_t stage, uint32_t part, uint32_t attempt);

/* work.c: jobs, their data, and the oracle */
void work_make(struct sim *s, struct app_sim *a, uint32_t app_index, struct work *w, uint32_t job);
void work_source(const struct recipe *r, uint32_t input, uint32_t part, const struct bytes *served,
                 struct numbers *out);
void work_file(const struct recipe *r, struct numbers *in, struct buf *file, struct buf *sizes,
               struct buf *samples);
bool work_read_hash(struct bytes file, uint32_t low, uint32_t high, struct map *sums);
bool work_read_range(struct bytes file, struct bytes low, struct bytes high, struct numbers *out);
void work_sums(struct map *sums, struct numbers *out); /* and frees them */
void work_side(struct numbers *n, uint64_t sum);       /* each is mixed with what the sides have */
uint64_t work_next(uint64_t number);
void work_oracle(struct work *w);
void work_check(struct sim *s, struct app_sim *a, struct work *w, uint64_t rows); /* a job that ended well */
void work_fini(struct work *w);
struct app_sim *work_app(struct sim *s, uint64_t app); /* NULL: one that an opener gave up */
/* We make an attempt fail in a way that counts. */
void work_failed(struct sim *s, uint64_t app, uint32_t stage, uint32_t part);
uint32_t work_failures(const struct work *w); /* of the task that failed most */
void numbers_put(struct numbers *n, uint64_t v);

/* driver.c: the job's main, around the scheduler */
void driver_start(struct proc *p);
void driver_call(struct proc *p, int what, const void *arg);
void driver_stopped(struct proc *p);
void driver_excuse(struct sim *s, uint32_t app_index, const char *why);
void driver_impaired(struct sim *s, uint32_t node, uint64_t ns); /* this node can't talk for so long */

/* user.c: who opens and kills applications */
void user_add(struct sim *s, uint32_t app_index, bool kill, uint64_t after);
void user_event(struct proc *p, const struct event *ev);

/* fault.c */
void fault_draw(struct sim *s);
bool fault_hits(struct sim *s, enum fault f); /* an opportunity for a fault of this kind: does it strike? */
void fault_struck(struct sim *s, enum fault f);
enum fault fault_of_crash(enum proc_kind kind);

/* check.c: what must hold */
void check_send(struct proc *p, conn_id conn, struct bytes frame);     /* before it goes out */
void check_begins(struct thost *h);                                    /* a task, in a host */
void check_received(struct proc *p, conn_id conn, struct bytes frame); /* before the core reads it */
uint64_t check_refused(const struct proc *p);                          /* frames that its core has refused */
void check_event(struct proc *p, const struct sched_event *e);
void check_step(struct proc *p);
bool check_quiet(struct sim *s, char *why, size_t size); /* all ended, all queues empty */
void check_end(struct sim *s);

/* inside_executor.c, inside_manager.c, inside_sched.c: what only a look inside tells.  Words when something is left, or over its bound. */
const char *inside_executor_left(const struct executor *x);
const char *inside_sched_bounds(const struct sched *s);
const char *inside_executor_bounds(const struct executor *x, uint64_t now);
const char *inside_manager_left(const struct manager *m);
const char *inside_manager_bounds(const struct manager *m, uint64_t now);
uint64_t inside_executor_refused(const struct executor *x);
uint64_t inside_sched_refused(const struct sched *s);
uint64_t inside_manager_refused(const struct manager *m);
bool inside_manager_deaf(const struct manager *m,
                         conn_id conn); /* refused as a whole: it reads no more there */

#endif
