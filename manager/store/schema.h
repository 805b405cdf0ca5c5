/* schema.h - inside manager/store: the file itself, without the thread. */
#ifndef FERRO_MANAGER_STORE_SCHEMA_H
#define FERRO_MANAGER_STORE_SCHEMA_H

#include "manager/store/store.h"

#include <sqlite3.h>

/* Open DIR/manager.db, alone, with its tables.  NULL and `e`. */
sqlite3 *schema_open(const char *dir, bool fast, struct error *e);

/* Raise the epoch, drop what is too old, read the rest (`apps` is malloc'ed).  0, or -1 and `e`. */
int schema_load(sqlite3 *db, struct store_state *out, struct error *e);

/* Inside a transaction of the caller's: insert or replace one row.  0, or -1 and `e`. */
int schema_put(sqlite3 *db, sqlite3_stmt *put, const struct store_app *app, struct error *e);
sqlite3_stmt *schema_put_prepare(sqlite3 *db, struct error *e);

int schema_run(sqlite3 *db, const char *sql, struct error *e);

#endif
