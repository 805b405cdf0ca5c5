/* store.h - what the manager must not forget, in SQLite, in a thread of its own.
 *
 * One file, DIR/manager.db, of one manager at a time.  Opening it raises the
 * epoch and commits that, so that nothing the manager says afterwards can be
 * taken for a word of an earlier start.
 */
#ifndef FERRO_MANAGER_STORE_H
#define FERRO_MANAGER_STORE_H

#include "common/base/error.h"
#include "manager/core/manager.h"

#define STORE_BATCH_MAX 1024    /* rows in one transaction */
#define STORE_ENDED_LOADED 1000 /* ended applications that a start brings back */
#define STORE_ENDED_KEPT 100000 /* and that the file keeps; older ones go at a start */

struct store;

/* Open or make the store, and start its thread.  `fast`: no fsync, for clusters
 * that don't outlive the machine.  NULL and `e` when the folder can't be used,
 * another manager has it, or the file is damaged or from a later version. */
struct store *store_open(const char *dir, bool fast, struct error *e);

/* What was found; valid until store_close(). */
const struct store_state *store_state(const struct store *s);

/* Queue a record; it is copied. */
void store_put(struct store *s, uint64_t id, const struct store_record *record);

/* Readable when store_take() has something to say. */
int store_fd(const struct store *s);

/* 1 and the id of a record that is on stable storage; 0: none now; -1 and `e`:
 * the store can't be written, no further record ever will be. */
int store_take(struct store *s, uint64_t *id, struct error *e);

/* Write what is queued, and close. */
void store_close(struct store **s);

#endif
