/* test_manager_world.h - the manager's core with peers played by a test: real frames in, and what it did kept to be looked at.
 *
 * Connections are numbers of the test's own.  A peer's key is its conn number spread over 32 bytes, unless
 * it was told another by world_key().  Frames carry the epoch and generation that the peer was told last.
 */
#ifndef FERRO_TESTS_MANAGER_WORLD_H
#define FERRO_TESTS_MANAGER_WORLD_H

#include "common/proto/proto.h"
#include "manager/core/manager.h"

#include <criterion/criterion.h>
#include <string.h>

#define SECOND 1000000000ull
#define WORLD_CONNS 256
#define WORLD_SENT 8192
#define WORLD_ROWS 128

enum {
    USER = 1,
    OTHER = 2,
    ADMIN = 3,
    JOIN_KEY = 4,
    SERVICE = 5,
    SERVICE_2 = 6
}; /* conns, and whose keys are authorised */

struct sent {
    conn_id conn;
    struct head head;
    const void *msg;
    bool seen;
};

struct world {
    struct manager *m;
    struct manager_config config;
    struct actions out;
    struct arena keep; /* frames, and what they decode to */
    uint64_t now, epoch;
    struct {
        enum role role;
        uint64_t epoch, generation;
        uint8_t key[KEY_BYTES];
    } conns[WORLD_CONNS];
    struct sent sent[WORLD_SENT];
    uint32_t nsent;
    uint64_t persists[WORLD_ROWS], nprobes, ncuts; /* under way; since the last world_clear() */
    struct store_app writing[WORLD_ROWS];
    uint32_t npersists;
    struct store_app rows[WORLD_ROWS]; /* by number: what is stored */
    uint32_t nrows;
    uint8_t admitted[WORLD_CONNS][KEY_BYTES];
    uint32_t nadmitted;
    conn_id cut[WORLD_CONNS];
};

void world_init(struct world *w);
void world_fini(struct world *w);
void world_restart(struct world *w); /* what was stored is all that is left; the epoch is one higher */

void world_event(struct world *w, const struct event *ev);
void world_time(struct world *w,
                uint64_t ns); /* so much passes, in steps of 100 ms; beats are echoed by nobody */
void world_down(struct world *w, conn_id conn);
void world_stored(struct world *w); /* all that is being persisted is */
void world_clear(struct world *w);  /* what was sent so far doesn't matter */

/* A frame from that connection.  `role` is what its key has. */
void world_role(struct world *w, conn_id conn, enum role role);
void world_key(struct world *w, conn_id conn, uint8_t fill); /* its key: that byte 32 times */
void world_send(struct world *w, conn_id conn, uint8_t tag, const void *msg);

/* The oldest message of that kind to that connection that wasn't returned before; NULL: none. */
const void *world_take(struct world *w, conn_id conn, uint8_t tag);
#define TAKE(w, conn, NAME, name) ((const struct msg_##name *)world_take(w, conn, MSG_##NAME))
bool world_admits(const struct world *w, uint8_t fill);
bool world_was_cut(const struct world *w, conn_id conn);

/* HELLO, awaiting WELCOME. */
void world_hello(struct world *w, conn_id conn, enum role role);

/* An executor: its key, incarnation and conn are `n`, enrolled over JOIN_KEY. */
void world_enrol(struct world *w, uint8_t n);
void world_join(struct world *w, conn_id conn, uint8_t n, uint32_t slots, const struct rec_holding *holdings,
                uint32_t nholdings);
void world_executor(struct world *w, uint8_t n, uint32_t slots); /* both, without holdings */
#define WORLD_SLOT_MEMORY (1ull << 30)

/* An application: opened by the user, stored, its driver (key, conn `n`) connected.  Its number. */
uint64_t world_app(struct world *w, uint8_t n);
void world_ask(struct world *w, uint8_t n, uint64_t app, uint64_t revision, uint32_t slots);
/* LEASE_OPEN at that executor, answered: the lease; 0: there was none. */
uint64_t world_open(struct world *w, uint8_t executor);
struct manager_counters world_counters(const struct world *w);

#endif
