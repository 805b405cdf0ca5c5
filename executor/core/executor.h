/* executor.h - the executor's pure core: leases, slots, task hosts, tasks, blocks, fences.
 *
 * Keys by number (ACT_DIAL.own): 0 the incarnation's throw-away key, 1 the join
 * key, 2 + n the fetch key of an application (ACT_CALL EXECUTOR_KEY tells the
 * shell its secret first; EXECUTOR_KEY_GONE that the number is free, and the
 * secret to be wiped).  Paths, descriptors and processes are the shell's.
 *
 * EV_CALL what: EXECUTOR_DRAIN (SIGTERM).
 * ACT_CALL what: EXECUTOR_KEY (const struct executor_key *), EXECUTOR_KEY_GONE (const uint32_t *).
 */
#ifndef FERRO_EXECUTOR_CORE_EXECUTOR_H
#define FERRO_EXECUTOR_CORE_EXECUTOR_H

#include "common/core/step.h"

enum executor_call { EXECUTOR_DRAIN = 1 };
enum executor_note { EXECUTOR_KEY = 1, EXECUTOR_KEY_GONE };
#define EXECUTOR_AGAIN \
    75 /* ACT_EXIT's code: this incarnation was given up; start a fresh one when its hosts are reaped */

struct executor_key {
    uint32_t own;
    uint8_t public_key[KEY_BYTES], secret[KEY_BYTES];
};

/* All are options of ferro-executor; defaults in brackets. */
struct executor_config {
    const char *manager; /* host:port */
    uint8_t manager_key[KEY_BYTES];
    uint8_t public_key[KEY_BYTES]; /* the throw-away key */
    uint8_t incarnation[ID_BYTES];
    const char *host, *host_id, *control, *data, *root, *labels; /* what it announces */
    uint32_t slots;
    uint64_t memory;           /* for all slots */
    uint64_t block_bytes_max;  /* fast directory's budget; beyond it outputs go to disk */
    uint64_t driver_silent_ms; /* [15000] ends an application's hosts */
    uint64_t app_keep_ms;      /* [30000] keeps its blocks */
    uint64_t attach_ms;        /* [10000] a lease not attached closes */
    uint64_t manager_lost_ms;  /* [20000] */
    uint64_t drain_ms;         /* [30000] running tasks get this long */
    bool confine;
};

struct executor;
struct executor *executor_new(const struct executor_config *config);
void executor_free(struct executor **x);
void executor_step(struct executor *x, const struct event *ev, uint64_t now_ns, struct actions *out);
uint64_t executor_deadline(const struct executor *x);
struct executor_counters {
    uint64_t frames, refused; /* of drivers, executors, the manager and hosts */
    uint64_t epoch;
    uint32_t apps, leases, hosts, blocks;
};
void executor_counters(const struct executor *x, struct executor_counters *out);
/* The head of frames that the shell makes itself (BLOCK_DATA). */
void executor_stamp(const struct executor *x, uint64_t *epoch, uint64_t *generation);

#endif
