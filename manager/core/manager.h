/* manager.h - the manager's pure core: who is there, who has which slots, which applications exist.
 *
 * The manager never dials.  EV_START's state is a struct store_state; ACT_PERSIST carries a struct
 * store_record (manager/store/store.h) and is answered by EV_PERSISTED with the same id.
 *
 * EV_CALL what:       arg
 *   MANAGER_STOP      NULL (SIGTERM): the manager leaves, applications go on
 *   MANAGER_KEYS      const struct manager_keys * : all keys that may connect, right after EV_START and
 *                     whenever they changed; the core admits the new and revokes the missing ones
 * ACT_CALL what:
 *   MANAGER_EVENT     const struct manager_event * : a line on the event stream
 */
#ifndef FERRO_MANAGER_CORE_MANAGER_H
#define FERRO_MANAGER_CORE_MANAGER_H

#include "common/core/step.h"

enum manager_call { MANAGER_STOP = 1, MANAGER_KEYS };
enum manager_note { MANAGER_EVENT = 1 };

/* One key of authorized/: what its owner may do, and what people call it. */
struct manager_key {
    uint8_t key[KEY_BYTES];
    enum role role;
    char name[65];
};
struct manager_keys {
    const struct manager_key *v;
    uint32_t n;
};

/* Fields that an event hasn't are 0 or NULL. */
struct manager_event {
    const char *name; /* "executor.joined" */
    uint64_t app, lease, code;
    uint32_t slots;
    const char *executor, *host, *state, *words;
};

/* All are options of ferro-manager; defaults in brackets. */
struct manager_config {
    uint32_t beat_ms;        /* [1000] */
    uint32_t suspect_ms;     /* [5000] no new work */
    uint32_t lost_ms;        /* [20000] */
    uint32_t driver_lost_ms; /* [30000] also of a driver service */
    uint32_t claim_ms;       /* [20000] a driver's claim that no executor confirms */
    uint32_t holding_ms;     /* [30000] a holding whose application's driver stays away */
    uint32_t bar_ms;         /* [30000] after LEASE_BAD */
    uint32_t executors_max;  /* [4096] */
    uint32_t apps_max;       /* [10000] running or waiting at once */
};

/* What the manager must not forget: rows of the store. */
struct store_app {
    uint64_t app;
    char name[65], user[65], mode[9], state[17], words[513];
    uint8_t driver_key[KEY_BYTES], fetch_key[KEY_BYTES], fetch_secret[KEY_BYTES];
    uint64_t started_ms, ended_ms; /* Unix time; ended_ms 0: not yet */
    uint32_t exit_code;
};
struct store_state {
    uint64_t epoch; /* already raised and on stable storage for this start */
    uint64_t next_app;
    uint64_t unix_ms;             /* what time it is, for people: the core counts on from here */
    const struct store_app *apps; /* those that had not ended and the newest that had, by ascending number */
    uint32_t napps;
};
struct store_record { /* ACT_PERSIST: insert or replace this row */
    struct store_app app;
};

struct manager;
struct manager *manager_new(const struct manager_config *config);
void manager_free(struct manager **m);
void manager_step(struct manager *m, const struct event *ev, uint64_t now_ns, struct actions *out);
uint64_t manager_deadline(const struct manager *m);

/* Figures for the shell's `counters` event and for tests. */
struct manager_counters {
    uint64_t epoch;
    uint64_t frames, refused; /* frames that came, and those refused */
    uint32_t peers, executors, slots, slots_used, leases, apps, services;
};
void manager_counters(const struct manager *m, struct manager_counters *out);

#endif
