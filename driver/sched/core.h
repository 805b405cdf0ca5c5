/* core.h - inside driver/sched only: the structs behind sched.h, and who does what.
 *
 * One job at a time.  Its tasks are eight bytes each; what waits and what was sent
 * ahead are spans of neighbours.  An attempt counts only while its task knows it
 * (attempts.c): whatever else an executor says of attempts is void.
 *
 * Ownership: struct sched owns executors, leases, the job and what is under way;
 * other pointers borrow.  Executors live as long as the application: a task's
 * two bytes name them by their index.
 */
#ifndef FERRO_SCHED_CORE_H
#define FERRO_SCHED_CORE_H

#include "common/base/map.h"
#include "common/core/backoff.h"
#include "common/core/beat.h"
#include "common/core/pull.h"
#include "common/core/send.h"
#include "common/proto/proto.h"
#include "driver/sched/sched.h"

#define MS 1000000ull
#define TASKS_MAX (1u << 24) /* of one stage */
#define EXECS_MAX 65535u     /* in the life of an application: an index is two bytes */
#define LEASES_MAX 65536u
#define ATTEMPT_FIRST 1u
#define ATTEMPTS_ALL_MAX 250u /* of one task, also those that count for nothing */
#define AHEAD_MAX 4096u       /* tasks sent ahead to one executor */
#define CANCELS_MAX 4096u     /* runs in one CANCEL */
#define AHEAD_NS (10 * MS)    /* work sent ahead */
#define MASS_AWAY_MIN 5u      /* so many away at once, and over half of all: nobody is given up for a while */
#define MASS_AWAY_WITHIN_NS (10000 * MS)
#define MASS_AWAY_PAUSE_NS (30000 * MS)
#define AVOID_NS (3000 * MS) /* so long a retry waits for another executor than the one where it failed */
#define AVOID_LOOKS 32u      /* retries or copies looked at for one that this executor may have */
#define RECALL_EVERY_NS (20 * MS) /* from one executor */
#define REBALANCE_EVERY_NS (1 * MS)
#define RECALL_WORTH_NS (1 * MS)    /* less unstarted work than this is not worth moving */
#define RECALL_HEARD_NS (2000 * MS) /* what comes back so long after a RECALL was asked for */
#define STRAGGLER_NS_MIN (100 * MS)
#define STRAGGLER_EVERY_NS (50 * MS)
#define STRAGGLER_LOOKS 64u     /* of an executor's oldest runs */
#define PULLS_MAX 8u            /* results and parts pulled at once */
#define PULLS_WAITING_MAX 4096u /* more stop new tasks of that stage */
#define SERVING_MAX 64u         /* chunks being read for one executor */
#define SAMPLES_MAX 65536u      /* sample keys kept of one shuffle */
#define KEPT_MAX 1024u          /* cached datasets */
#define FAILED_MAX 65536u       /* tasks whose failures are remembered */
#define UNSTARTED_MAX 12u       /* of one task: executors that could not begin it */
#define UNSTARTED_BARS 3u /* so many in a row, and its executor's slots go back while there are others */
#define TAKE_FIRST 2u     /* tasks that take begins with */
#define PROBES 3
#define LIMITED_MAX \
    3u /* refusals in a row as over a limit, which attaching again did not settle: the job fails */
#define REACH_NS (5000 * MS)  /* an executor that can't be reached for so long has a bad lease */
#define UNAUTHORISED_MAX 5u   /* refusals of our key by the manager before we believe it */
#define CLOSE_NS (30000 * MS) /* so long we try to tell the manager of the end */
#define DURATIONS 256         /* logarithmic classes, four a doubling */
#define EXIT_ENDED 1          /* the manager ended the application */
#define EXIT_UNAUTHORISED 5
#define EXIT_INTERRUPTED 130

struct stage;

/* ---- spans.c: a FIFO of runs of partitions ------------------------------------ */

struct span {
    uint32_t first, count;
    uint64_t avoid_until; /* 0: anybody may have it */
};
struct spans {
    struct buf v; /* of struct span */
    uint32_t head;
    uint64_t tasks;
};
void spans_push(struct spans *q, struct span s); /* joined to the last where it continues it */
bool spans_peek(const struct spans *q, struct span *out);
void spans_pop(struct spans *q, uint32_t n, struct span *out); /* the first n of the first span */
void spans_fini(struct spans *q);

/* ---- tasks ---------------------------------------------------------------------- */

enum task_state {
    TASK_PENDING,
    TASK_SENT,
    TASK_PULLING, /* its attempt ended well; what it made is on its way here */
    TASK_DONE,
};
#define TASK_AVOID 1u   /* pending: `exec` is where it failed */
#define TASK_SIZED 2u   /* its bucket sizes and samples were counted */
#define TASK_DEAD 4u    /* done, but its output is lost */
#define COPY_AWAY 1u    /* span.avoid_until of a copy: void when the first one's executor is back */
#define TASK_COPYING 8u /* waits in the stage's queue of copies */

struct task {
    uint8_t state, flags;
    uint8_t given;     /* attempts given out so far: the next is ATTEMPT_FIRST + given */
    uint8_t of;        /* the attempt that runs, or counts */
    uint8_t failures;  /* that count */
    uint8_t unstarted; /* no host could be had for it: these count by themselves */
    uint16_t exec;     /* where */
};

/* One failed attempt, for the story. */
struct failure {
    struct failure *next; /* owned */
    uint32_t attempt, cause, signal;
    uint64_t ms, peak_bytes;
    const char *executor; /* borrowed */
    char *words, *tail;   /* owned */
};

struct input {
    uint32_t ntasks;
    const struct rec_cut *cuts; /* in the stage's arena */
    uint32_t ncuts;
};

struct sample {
    struct bytes key; /* in the map stage's arena */
    uint64_t weight;
};

struct stage {
    const struct stage_spec *spec; /* borrowed from the job's; NULL: kept, and of no running job */
    uint32_t index, number;        /* in the job; in the application */
    uint64_t keep;                 /* of a cached dataset: outlives its job; 0: it doesn't */
    uint32_t ninputs;              /* once it has begun */
    struct arena arena;            /* of what is found out about it: inputs, samples */
    bool needed;                   /* its outputs are still to be read, or it is the last */
    bool begun, gated, said;       /* gated: what it reads was not whole since; said: stage.done */
    struct input *inputs;          /* in the arena */
    uint32_t ntasks, done, sent, pulling;
    struct task *tasks;    /* owned */
    uint64_t *out_bytes;   /* owned; map stages: sizes of outputs, 0: none */
    uint64_t *rows;        /* owned; only with take_rows */
    uint32_t fresh, limit; /* never sent yet: fresh..limit-1 */
    struct spans again;    /* pending once more */
    struct map homes;      /* executor's index -> struct home, owned: pending where what they read lies */
    uint64_t homed;        /* tasks in these */
    uint32_t homes_at;     /* looked at next */
    struct spans copying;  /* to run a second time beside the first */
    struct map copies;     /* part -> exec << 8 | attempt of the second attempt under way */
    struct map failed;     /* part -> struct failure, owned, newest first */
    struct map voided;     /* part -> struct failure, owned: the last end that counted for nothing */
    uint32_t dead;         /* done tasks whose outputs are lost */
    uint64_t task_ns;      /* moving average */
    uint32_t durations[DURATIONS];
    uint64_t ndurations;
    /* what children need to know */
    uint64_t *bucket_bytes; /* owned; STAGE_HASH */
    uint64_t map_bytes;
    struct buf samples; /* of struct sample; STAGE_RANGE */
    uint64_t sample_stride, nsamples_seen;
    /* the STAGE message */
    uint32_t version;
    uint32_t built;       /* version that `frame` holds, 0: none */
    uint64_t built_epoch; /* and the epoch in its head */
    struct buf frame;
    uint64_t lent_step; /* step in whose arena it lies */
    struct bytes lent;
};

struct job {
    const struct job_spec *spec; /* borrowed until SCHED_JOB_ENDED */
    uint32_t base;               /* number of the first stage that it made itself */
    struct stage **stages;       /* owned, by index, but those that are kept */
    struct stage **active;       /* owned: needed, begun, not whole, what they read is; by index */
    uint32_t nactive, ndone;     /* ndone: whole, or not needed */
    bool dirty;                  /* the list of active ones is old */
    bool committing;             /* IO_COMMIT is under way */
    bool pulled;                 /* the shell may hold bytes of ours */
    bool ended;                  /* at the end of this step: */
    int code;
    struct buf story;
    /* take */
    uint32_t prefix;
    uint64_t prefix_rows;
    /* figures */
    uint32_t stages_run; /* begun by it: a cached one was by another */
    uint64_t tasks_all, failed, reruns, bytes_read, bytes_input, bytes_shuffled, rows_out, by_driver,
        by_executors;
};

/* ---- executors ------------------------------------------------------------------- */

/* Tasks sent and not heard of; members may have ended: attempt_is() knows. */
struct sent {
    struct stage *st; /* borrowed from the job */
    uint32_t first, count;
    uint32_t attempt;
    uint64_t since_ns; /* can have begun since */
};

struct link {
    conn_id conn; /* 0: none */
    bool up;
    uint64_t retry_ns; /* when to dial again, 0: not waiting */
    struct backoff retry;
};

struct exec {
    uint16_t index;
    uint8_t incarnation[ID_BYTES], key[KEY_BYTES];
    uint64_t epoch, generation;
    char name[64]; /* for people: its host, and the first digits of its id */
    const char *host, *host_id, *control_addr, *data_addr, *root; /* in sched.keep */
    struct link control, data;
    bool attached;                /* ATTACHED came for the last ATTACH */
    bool attaching, attach_again; /* one is under way; another is due after it */
    bool met;                     /* it came at least once */
    bool data_ready;              /* the executor knows our data connection: it echoed a beat there */
    bool data_met;                /* at least once */
    bool denied;            /* we could not serve it a block that it asked for: then it can't be blamed */
    bool complained;        /* one of its refusals was logged */
    uint32_t limited;       /* refusals as over a limit, since a task ended well there */
    uint64_t data_since_ns; /* not data_ready since */
    bool suspect, doubted, draining, lost; /* doubted: by the manager */
    struct beat beat, data_beat;
    uint64_t since_ns; /* trying to reach it, or away, since; 0: neither */
    uint32_t probes;
    bool copied;                    /* its tasks were queued to run elsewhere as well */
    uint32_t leases, slots, usable; /* usable: slots that count in sched.usable_slots */
    uint32_t slots_most;            /* ever */
    uint32_t unstarted;             /* tasks that it could not begin, since it last did well */
    uint64_t given;                 /* attempts, ever: to this incarnation, whichever struct stood for it */
    uint32_t in_flight;
    uint64_t idle_ns;                /* nothing in flight since */
    uint64_t recall_ns, recalled_ns; /* not before; last time */
    uint64_t rest_ns;                /* it gave back what nobody asked for: no new work until then */
    struct backoff rest;             /* each time longer */
    struct buf sent;                 /* of struct sent, oldest first */
    uint64_t done_seq, attach_seq;
    bool ack;
    struct buf cancels; /* of struct rec_run: to send at the end of the step */
    struct map told;    /* stage's number -> version of STAGE that it has */
    uint32_t outputs;   /* of the job and of what is kept, that lie there */
    uint32_t serving;
};

struct lease {
    uint64_t lease;
    uint32_t slots;
    struct exec *x; /* borrowed */
};

/* ---- file work and pulls ----------------------------------------------------------- */

enum io_kind { WORK_SERVE, WORK_EMPTY, WORK_SYNC, WORK_COMMIT, WORK_FREE };
struct io_work {
    enum io_kind kind;
    struct exec *x; /* SERVE: borrowed */
    conn_id conn;
    uint64_t tag;
    uint64_t pulling; /* EMPTY, SYNC: its number */
};

struct pulling {
    uint64_t number;
    struct stage *st; /* borrowed */
    struct exec *x;   /* borrowed: has the block */
    uint32_t part, attempt;
    uint64_t rows;
    bool block; /* there is one; else an empty part is made */
    bool under_way;
};

struct served {
    struct block_id id;
    uint64_t bytes;
};

enum mgr_state { MGR_WAITING, MGR_DIALLING, MGR_GREETING, MGR_OPEN };

struct sched {
    struct sched_config config; /* strings owned by `keep` */
    struct arena keep;
    struct prng prng;
    struct stall stall;
    uint64_t now, step, tick_ns;
    struct actions *out; /* of this step */
    struct arena in;     /* the frame being handled */

    enum mgr_state mgr;
    conn_id manager;
    uint64_t mgr_retry_ns, epoch, generation;
    struct backoff mgr_retry;
    uint32_t unauthorised;
    struct beat mgr_beat;
    uint64_t beat_ms, suspect_ms, mgr_lost_ms;
    uint64_t revision, answered; /* of the last ASK; of the last one that was answered */
    uint64_t avoid_ns;           /* some retry waits for another executor until then */
    uint64_t avoid_slots;        /* so many slots are asked for meanwhile: one more than there were */
    uint32_t asked, granted;     /* slots: wanted by the last ASK; of all leases */
    char waits[513], away_words[257];

    struct exec **execs; /* owned, by index */
    uint32_t nexecs, execs_cap;
    struct map by_incarnation; /* first bytes of it -> struct exec: the newest of that name, not lost */
    struct map given_before;   /* the same -> attempts that it was given before it was lost */
    struct map conns;          /* conn -> struct exec */
    struct map hungry;         /* index -> struct exec that could have more work */
    struct map touched;        /* index -> struct exec with acks or cancels to send */
    struct map leases;         /* id -> struct lease, owned */
    uint32_t usable_slots, usable_execs, in_flight;
    uint64_t paused_ns; /* many executors are away: none is given up for its silence until then */
    bool spread;        /* executors of more than one host have been met */

    struct job *job; /* owned */
    struct map kept; /* number -> struct stage, owned: those with `keep` */
    uint32_t next_stage;
    bool rebalance;        /* somebody may be idle while others have too much */
    uint64_t rebalance_ns; /* not looked at before */

    struct pulls *pulls;
    struct map pullings;   /* number -> struct pulling, owned */
    struct buf pull_queue; /* of uint64_t numbers that wait */
    uint32_t pulls_under_way;
    struct map works;  /* io id -> struct io_work, owned */
    struct map served; /* block -> struct served, owned */
    uint64_t next_conn, next_io, next_pulling;

    bool closing, close_said, exiting, exited, changed;
    int exit_code;
    struct sched_close close; /* words owned by `keep` */
    uint64_t close_ns;
    struct sched_progress last; /* figures of the job that ended last */
    uint64_t voided, refused, task_messages;
};

/* sched.c */
void sched_wake(struct sched *s, uint64_t at_ns); /* the tick is not later than this */
void sched_send(struct sched *s, conn_id conn, uint8_t tag, const void *msg);
void sched_note(struct sched *s, int what, const void *arg);
struct sched_event *sched_event_add(struct sched *s, const char *name); /* fill it */
const char *sched_text(struct sched *s, struct bytes b); /* lives as long as this step's actions */
void sched_keep_figures(struct sched *s);                /* of the job that ends */
void sched_exit(struct sched *s, int code);              /* at the end of the step */

/* mgr.c: the connection to the manager */
void mgr_dial(struct sched *s);
void mgr_up(struct sched *s);
void mgr_down(struct sched *s, enum down_reason reason, const char *words);
void mgr_frame(struct sched *s, struct bytes frame);
void mgr_time(struct sched *s);
void mgr_send(struct sched *s, uint8_t tag,
              const void *msg); /* dropped when not open: APP_OPEN settles it later */
void mgr_close(struct sched *s, uint32_t exit_code, const char *words);
void mgr_ask(struct sched *s, bool lower); /* say what is wanted, if that changed */
bool mgr_may_grant(
    const struct sched *s);       /* more was asked for, and the manager has not said that it waits */
void mgr_settle(struct sched *s); /* tell everybody that the application closes */

/* grants.c: leases */
void grants_on_grant(struct sched *s, const struct msg_lease_grant *m);
void grants_on_revoke(struct sched *s, const struct msg_lease_revoke *m);
void grants_drop(struct sched *s, struct lease *l);
void grants_bad(struct sched *s, struct exec *x, uint32_t code, const char *words); /* all of that executor */
void grants_time(struct sched *s);                                                  /* idle ones go back */

/* execs.c: who they are, and whether they may have work */
struct exec *execs_meet(struct sched *s, const struct msg_lease_grant *m); /* NULL: too many */
struct exec *execs_of_generation(struct sched *s, uint64_t generation);
void execs_refresh(struct sched *s, struct exec *x); /* something that decides about new work changed */
void execs_hungry(struct sched *s, struct exec *x);
void execs_rest(struct sched *s, struct exec *x); /* no new work for a while, each time longer */
void execs_lost(struct sched *s, struct exec *x, const char *words, bool manager_knows);
bool execs_another(const struct sched *s,
                   const struct exec *x); /* than x has slots of ours, or may come soon */
void execs_on_state(struct sched *s, const struct msg_exec_state *m);
void execs_undoubt(struct sched *s); /* the manager's last word about them may have been lost */
void execs_time(struct sched *s);
void execs_stalled(struct sched *s, uint64_t late_ns);
void execs_flush(struct sched *s); /* acks and cancels of this step */
void execs_touch(struct sched *s, struct exec *x);
void execs_free(struct exec *x);

/* links.c: their connections */
void links_dial(struct sched *s, struct exec *x);
void links_attach(struct sched *s, struct exec *x);
void links_up(struct sched *s, struct exec *x, conn_id conn);
void links_down(struct sched *s, struct exec *x, conn_id conn, enum down_reason reason, const char *words);
void links_probed(struct sched *s, struct exec *x, bool refused);
void links_time(struct sched *s, struct exec *x);
void links_frame(struct sched *s, struct exec *x, conn_id conn, struct bytes frame);
void links_cut(struct sched *s, struct exec *x);
void links_send(struct sched *s, struct exec *x, uint8_t tag, const void *msg); /* dropped while it is away */

/* jobs.c: a job's begin and end, which stages may run */
void jobs_run(struct sched *s, const struct job_spec *spec);
void jobs_end(struct sched *s, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4))); /* at the end of the step */
void jobs_settle(struct sched *s);         /* begin what may begin, end what has ended */
void jobs_committed(struct sched *s, int64_t result);
struct stage *jobs_stage(const struct sched *s, uint32_t number); /* NULL: not of the running job */
struct stage *jobs_last(const struct job *j);                     /* NULL: a job without stages */
void jobs_free(struct sched *s);

/* stages.c: one stage's begin, and its STAGE message */
struct stage *stages_new(const struct stage_spec *spec, uint32_t index, uint32_t number);
void stages_free(struct stage **st);
bool stages_whole(const struct stage *st);
bool stages_lies(const struct stage *st, uint32_t part);        /* an output of it lies on an executor */
bool stages_ready(const struct job *j, const struct stage *st); /* all that it reads is whole */
bool stages_is_map(const struct stage *st); /* its outputs stay on executors, for other stages */
/* What it reads, edge by edge (an index in the job): each input's stage and its other one, then the sides.
 * STAGE_NO_SHUFFLE: a source. */
uint32_t stages_edges(const struct stage_spec *spec);
uint32_t stages_edge(const struct stage_spec *spec, uint32_t i);
bool stages_has_source(const struct stage *st);
void stages_begin(struct sched *s, struct stage *st);
void stages_moved(struct sched *s, struct stage *st); /* what it reads lies elsewhere than before */
bool stages_tell(struct sched *s, struct exec *x, struct stage *st); /* false: the job has failed */
uint64_t stages_pending(const struct stage *st);
void stages_raise(struct sched *s); /* every active stage is told anew */

/* keep.c: stages of cached datasets outlive their jobs */
struct stage *keep_adopt(struct sched *s, const struct stage_spec *spec,
                         uint32_t index); /* the one of spec->keep, for the job that begins; NULL: too many */
void keep_or_drop(struct sched *s, struct stage *st); /* its job has ended */
void keep_forget(struct sched *s, uint64_t keep);     /* it will be made anew when it is needed again */
bool keep_has(const struct sched *s, uint32_t number);
void keep_free_blocks(struct sched *s, struct exec *x); /* of stages that are neither the job's nor kept */
void keep_fini(struct sched *s);

/* homes.c: tasks that go first to where what they read lies */
void homes_make(struct sched *s, struct stage *st); /* it begins, or what it reads has moved */
bool homes_next(struct sched *s, const struct exec *x, struct stage *st, uint32_t room, struct span *out);
bool homes_other(struct sched *s, const struct exec *x, struct stage *st, uint32_t room,
                 struct span *out); /* of those whose executor will not have them soon */
void homes_clear(struct stage *st);

/* cuts.c: what map outputs say about sizes and keys, and reduce tasks made of it */
void cuts_add(struct job *j, struct stage *map, const struct rec_report *r);
void cuts_form(const struct sched *s, enum stage_kind reader, const struct stage_input *in, struct arena *a,
               struct input *out);

/* attempts.c: which attempts count */
bool attempt_is(const struct stage *st, uint32_t part, const struct exec *x, uint32_t attempt);
uint32_t attempt_new(struct sched *s, struct stage *st, uint32_t part,
                     struct exec *x); /* pending -> sent, or one more beside it */
bool attempt_end(struct sched *s, struct stage *st, uint32_t part, struct exec *x,
                 uint32_t attempt);                                               /* true: another goes on */
void attempt_again(struct sched *s, struct stage *st, uint32_t part, bool avoid); /* pending */
void attempt_cancel_others(struct sched *s, struct stage *st, uint32_t part);
void attempts_trim(struct sched *s, struct exec *x); /* forget what ended from x->sent */
void attempts_lose(struct sched *s, struct exec *x,
                   const struct map *live); /* all of x, but those alive there; NULL: all */
void attempts_cancel_all(struct sched *s, struct exec *x);
uint64_t attempts_key(const struct stage *st, uint32_t part, uint32_t attempt);

/* feed.c: tasks to executors */
void feed(struct sched *s);
uint64_t feed_pending(struct sched *s);

/* copies.c: second attempts, and unstarted tasks that move */
void copies_away(struct sched *s, struct exec *x);
void copies_stragglers(struct sched *s);
void copies_rebalance(struct sched *s);
void copies_measure(struct stage *st, uint64_t ns, uint64_t n);

/* done.c: what executors say of attempts */
void done_on_done(struct sched *s, struct exec *x, const struct msg_done *m);
void done_on_recalled(struct sched *s, struct exec *x, const struct msg_recalled *m);
void done_on_attached(struct sched *s, struct exec *x, const struct msg_attached *m);

/* commit.c: the first success counts */
void commit_success(struct sched *s, struct stage *st, struct exec *x, const struct rec_report *r);
void commit_run(struct sched *s, struct stage *st, struct exec *x,
                const struct rec_success *r); /* of parts that the stage has */
void commit_pull_ended(struct sched *s, const struct pull_result *r);
void commit_io_done(struct sched *s, const struct io_work *w, int64_t result);
void commit_pulls_go(struct sched *s);
void commit_drop(struct sched *s, struct exec *x); /* pulls of this executor, NULL: all */

/* fail.c: attempts that failed, outputs that are lost */
void fail_report(struct sched *s, struct stage *st, struct exec *x, const struct rec_report *r);
void fail_outputs_of(struct sched *s, struct exec *x);
void fail_rerun(struct sched *s, struct stage *map); /* its lost outputs are made again */
/* An attempt ended, and it counts for nothing: why is only kept, for when a task never comes to its end. */
void fail_void(struct stage *st, uint32_t part, uint32_t attempt, const struct exec *x, enum cause cause,
               struct bytes words);
void fail_worn_out(struct sched *s, struct stage *st, uint32_t part); /* too many attempts ended so */
void fail_forget(struct stage *st, uint32_t part);

/* blocks.c: the driver serves */
void blocks_serve(struct sched *s, struct block_id id, uint64_t bytes);
void blocks_on_get(struct sched *s, struct exec *x, conn_id conn, const struct msg_block_get *m);
void blocks_served(struct sched *s, const struct io_work *w, int64_t result);
struct action *blocks_io(struct sched *s, enum io_kind kind, enum io_op op, struct io_work **work);

#endif
