/* rig_executor.h - an executor's core between a manager, a driver and hosts that a
 * test plays itself, with real frames.
 */
#ifndef FERRO_TESTS_RIG_EXECUTOR_H
#define FERRO_TESTS_RIG_EXECUTOR_H

#include "common/proto/proto.h"
#include "executor/core/executor.h"

#define RIG_EPOCH 5
#define RIG_GENERATION 42
#define RIG_APP 7
#define RIG_LEASE 100
#define RIG_CONTROL 11 /* the driver's connections */
#define RIG_DATA 12
#define RIG_MS 1000000ull

struct rig {
    struct executor *x;
    struct actions out; /* of the last step */
    struct arena arena; /* of decoded messages */
    uint64_t now;
    uint64_t epoch; /* that the manager speaks in */
    conn_id manager;
    uint8_t library[ID_BYTES];
    struct buf scratch;
};

void rig_init(struct rig *r, uint32_t slots);
void rig_fini(struct rig *r);

/* One event in; r->out is what came of it. */
void rig_step(struct rig *r, const struct event *ev);
void rig_time(struct rig *r, uint64_t ms); /* later, and told so */
void rig_up(struct rig *r, conn_id conn);
void rig_down(struct rig *r, conn_id conn, enum down_reason reason);
void rig_manager(struct rig *r, uint8_t tag, const void *msg);
void rig_driver(struct rig *r, uint8_t tag, const void *msg);
void rig_data(struct rig *r, uint8_t tag, const void *msg); /* on the driver's data connection */
void rig_host(struct rig *r, uint64_t host, uint8_t tag, const void *msg);
void rig_io(struct rig *r, uint64_t id, int64_t result);
void rig_exit(struct rig *r, uint64_t host, int code, int signal, const char *tail);

/* What came of the last step.  NULL: nothing of the kind. */
const struct action *rig_action(const struct rig *r, enum action_kind kind, uint32_t nth);
uint32_t rig_count(const struct rig *r, enum action_kind kind);
const void *rig_sent(struct rig *r, conn_id conn, uint8_t tag);  /* first frame with this tag */
const void *rig_told(struct rig *r, uint64_t host, uint8_t tag); /* the same, to a host */
const struct action *rig_io_of(const struct rig *r, enum io_op op);
uint32_t rig_sent_count(const struct rig *r, conn_id conn, uint8_t tag);

/* Whole passages, each asserting what it must. */
void rig_join(struct rig *r);
void rig_lease(struct rig *r, uint64_t lease, uint32_t slots);
void rig_attach(struct rig *r,
                uint64_t done_seq); /* HELLOs and ATTACH to RIG_LEASE; the answer is in r->out */
void rig_stage(struct rig *r, uint32_t stage, uint32_t version); /* STAGE without libraries */
void rig_load(struct rig *r); /* a first STAGE 1, its library, and all hosts ready */
void rig_tasks(struct rig *r, uint32_t stage, uint32_t first, uint32_t count, uint32_t attempt);
void rig_done(struct rig *r, uint64_t host, uint32_t stage, uint32_t first, uint32_t count, uint32_t attempt,
              uint64_t busy_ns);
void rig_ready(struct rig *r, uint32_t slots); /* join, lease, attach and load */

#endif
