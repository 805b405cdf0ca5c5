/* driven.h - a world for the scheduler's tests: a manager, small executors and a shell that answer at once. */
#ifndef FERRO_TESTS_DRIVEN_H
#define FERRO_TESTS_DRIVEN_H

#include "common/base/map.h"
#include "common/proto/proto.h"
#include "driver/sched/sched.h"

#define MSEC 1000000ull
#define APP 7
#define FAKES 8
#define STEPS_MAX 200000

/* What a fake executor does with an attempt. */
enum deed { DO_WELL, DO_HOLD, DO_FAIL, DO_FETCH, DO_HOST };

struct fake {
    bool known, dead;
    conn_id control, data;
    uint64_t seq, acked;
    uint32_t tasks; /* attempts begun */
    uint32_t stage_version;
    struct msg_stage stage; /* the last; lists in the world's arena */
    uint32_t frees, app_ends, cancels, recalls;
    uint32_t cancelled_runs;
    uint64_t cancelled;
    struct buf held; /* of struct rec_run */
};

struct driven {
    struct sched *s;
    struct actions out;
    struct arena arena;
    uint64_t now;
    conn_id manager;
    uint64_t generation;
    uint32_t asked, asks, closes, opens, claims, returned, bad;
    struct bytes labels;      /* of the last ASK */
    uint32_t slots;           /* that each fake gives; 0: no grants */
    uint32_t host_of_its_own; /* this fake is not on the same host as the others */
    struct fake fakes[FAKES];
    enum deed (*deed)(struct driven *w, uint32_t fake, uint32_t stage, uint32_t part, uint32_t attempt);
    uint32_t lose_fake, lose_part; /* DO_FETCH: which output can't be had */
    uint8_t size_code;             /* what each bucket has by what maps say; 0: 200 */
    /* what came of it */
    bool ended, exited;
    int code, exit_code;
    char words[4096];
    uint64_t rows;                 /* each success is told with three */
    struct map results, committed; /* part -> times; stage << 32 | part -> times */
    struct map events;             /* hash of name -> times */
    uint32_t winners, syncs, writes, served;
    int64_t commit_result, serve_result;
    struct buf queue; /* of struct todo */
    size_t at;
    const char *waits;        /* what the manager answers to ASK; NULL: nothing */
    bool quiet;               /* executors do not echo beats */
    bool away;                /* the manager answers nothing */
    bool mute;                /* executors do not answer ATTACH */
    uint32_t block_errors[8]; /* BLOCK_ERRs to executors, by code */
};

/* Events that happen next: frames to the core, answers to its actions. */
struct todo {
    enum event_kind kind;
    conn_id conn;
    uint64_t id;
    int64_t result;
    enum down_reason reason;
    struct bytes frame;
};

struct driven *driven_new(uint32_t slots);
void driven_free(struct driven *w);
void driven_step(struct driven *w, struct event *ev);
void driven_put(struct driven *w, struct todo t);
void driven_settle(struct driven *w);            /* everything that is under way, at this moment */
void driven_pass(struct driven *w, uint64_t ms); /* time passes, by the core's own deadlines */
void driven_call(struct driven *w, int what, const void *arg);

void driven_reply(struct driven *w, conn_id conn, uint64_t generation, uint8_t tag, const void *msg);
void driven_tell(struct driven *w, uint32_t k, struct rec_run run, const struct rec_report *r);
void driven_succeed(struct driven *w, uint32_t k,
                    struct rec_run run);           /* by the stage's kind, which its body names */
void driven_release(struct driven *w, uint32_t k); /* what it holds succeeds */
void driven_grant(struct driven *w, uint32_t k, uint64_t lease, uint32_t slots);
void driven_lose(struct driven *w, uint32_t k);
enum deed driven_hold(struct driven *w, uint32_t fake, uint32_t stage, uint32_t part, uint32_t attempt);

uint64_t driven_seen(const struct driven *w, const char *event);
uint64_t driven_counted(const struct map *m, uint64_t key);

/* Jobs; all but the plain one have 40 parts. */
extern struct stage_input driven_many; /* of the plain one */
extern struct stage_spec driven_shuffle[2];
extern const struct stage_input driven_of_0;
extern const struct job_spec driven_one_stage, driven_plain, driven_shuffles, driven_saves, driven_takes;

#endif
