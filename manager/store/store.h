/* store.h - what the manager must not forget, in SQLite, in a thread of its own.
 *
 * One folder, one manager: an exclusive lock is held while it is open.  Opening
 * raises the cluster's epoch and commits it before anything is promised.
 */
#ifndef FERRO_MANAGER_STORE_STORE_H
#define FERRO_MANAGER_STORE_STORE_H

#include "common/base/error.h"
#include "manager/core/manager.h"

struct store;

/* Open DIR/ferro.db, made when missing.  `is_volatile`: never fsync (local mode).
 * `state` is filled (its apps live until store_free). NULL and `e` on failure. */
struct store *store_open(const char *dir, bool is_volatile, struct store_state *state, struct error *e);
void store_free(struct store **s); /* writes what is queued first */

/* Queue a record; when it is on stable storage `id` comes out of store_done(). */
void store_put(struct store *s, uint64_t id, const struct store_record *record);
int store_fd(const struct store *s); /* readable when store_done() has something */
/* True and an id, or false: nothing now.  *failed: it could not be written (the manager then stops). */
bool store_done(struct store *s, uint64_t *id, bool *failed);

#endif
