/* manager.h - the manager's pure core: who is there, who has which slots, which applications exist.
 *
 * The manager never dials.  ACT_PERSIST carries a struct store_record (manager/store/store.h).
 * EV_START's state is a struct store_state.  EV_CALL what: MANAGER_STOP (SIGTERM).
 */
#ifndef FERRO_MANAGER_CORE_MANAGER_H
#define FERRO_MANAGER_CORE_MANAGER_H

#include "common/core/step.h"

enum manager_call { MANAGER_STOP = 1 };

/* All are options of ferro-manager; defaults in brackets. */
struct manager_config {
    uint32_t beat_ms;            /* [1000] */
    uint32_t suspect_ms;         /* [5000] no new work */
    uint32_t lost_ms;            /* [20000] */
    uint32_t driver_lost_ms;     /* [30000] */
    uint32_t claim_ms;           /* [20000] a driver's claim that no executor confirms */
    uint32_t holding_ms;         /* [30000] a holding whose application's driver stays away */
    uint32_t bar_ms;             /* [30000] after LEASE_BAD */
    uint32_t executors_max;      /* [4096] */
    uint32_t apps_max;           /* [10000] running or waiting at once */
};

/* What the manager must not forget: rows of the store. */
struct store_app {
    uint64_t app;
    char name[65], user[65], mode[9], state[17], words[513];
    uint8_t driver_key[KEY_BYTES], fetch_key[KEY_BYTES], fetch_secret[KEY_BYTES];
    uint64_t started_ms, ended_ms; /* Unix time, filled by the shell */
    uint32_t exit_code;
};
struct store_state {
    uint64_t epoch;    /* already raised and on stable storage for this start */
    uint64_t next_app;
    const struct store_app *apps; /* those that had not ended, then the newest that had */
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

#endif
