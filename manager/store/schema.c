/* schema.c - see schema.h: tables, rows, and what SQLite says in words. */
#include "manager/store/schema.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SCHEMA_VERSION 1

static const char tables[] =
    "CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS apps ("
    " app INTEGER PRIMARY KEY, name TEXT NOT NULL, user TEXT NOT NULL, mode TEXT NOT NULL,"
    " state TEXT NOT NULL, words TEXT NOT NULL, driver_key BLOB NOT NULL, fetch_key BLOB NOT NULL,"
    " fetch_secret BLOB NOT NULL, started_ms INTEGER NOT NULL, ended_ms INTEGER NOT NULL,"
    " exit_code INTEGER NOT NULL);"
    "INSERT OR IGNORE INTO meta VALUES ('epoch', 0);"
    "INSERT OR IGNORE INTO meta VALUES ('next_app', 1);";

/* ---- errors --------------------------------------------------------------- */

static int failed(sqlite3 *db, struct error *e)
{
    const char *file = sqlite3_db_filename(db, "main");
    switch (sqlite3_errcode(db)) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return error_set(
            e, EBUSY, "%s: another manager uses this state; stop it, or give this one a --state of its own",
            file);
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return error_set(e, EILSEQ,
                         "%s: damaged (%s); restore a copy, or move it away to begin with an empty cluster",
                         file, sqlite3_errmsg(db));
    case SQLITE_READONLY:
    case SQLITE_CANTOPEN:
    case SQLITE_PERM: return error_set(e, EACCES, "%s: can't be written (%s)", file, sqlite3_errmsg(db));
    case SQLITE_FULL: return error_set(e, ENOSPC, "%s: the disk is full", file);
    }
    return error_set(e, EIO, "%s: %s", file, sqlite3_errmsg(db));
}

int schema_run(sqlite3 *db, const char *sql, struct error *e)
{
    return sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : failed(db, e);
}

/* A query of one number. */
static int number(sqlite3 *db, const char *sql, uint64_t *out, struct error *e)
{
    sqlite3_stmt *q;
    if (sqlite3_prepare_v2(db, sql, -1, &q, NULL) != SQLITE_OK)
        return failed(db, e);
    int r = sqlite3_step(q);
    if (r == SQLITE_ROW)
        *out = (uint64_t)sqlite3_column_int64(q, 0);
    sqlite3_finalize(q);
    return r == SQLITE_ROW ? 0 : failed(db, e);
}

/* ---- opening --------------------------------------------------------------- */

/* Keys of applications lie in there: nobody else may look. */
static int file_make(const char *dir, char *path, size_t size, struct error *e)
{
    if (mkdir(dir, 0700) && errno != EEXIST)
        return error_sys(e, "%s: the state folder can't be made", dir);
    if ((size_t)snprintf(path, size, "%s/manager.db", dir) >= size)
        return error_set(e, ENAMETOOLONG, "%s: too long a name", dir);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return error_sys(e, "%s: can't be opened for writing", path);
    close(fd);
    return 0;
}

static int tables_make(sqlite3 *db, bool fast, struct error *e)
{
    uint64_t version = 0;
    if (schema_run(db, "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL;", e) ||
        schema_run(db, fast ? "PRAGMA synchronous = OFF" : "PRAGMA synchronous = FULL", e) ||
        schema_run(db, "BEGIN EXCLUSIVE", e) || number(db, "PRAGMA user_version", &version, e))
        return -1;
    if (version > SCHEMA_VERSION)
        return error_set(e, EPROTO, "%s: written by a later version of ferro-manager; upgrade this one",
                         sqlite3_db_filename(db, "main"));
    char sql[64];
    snprintf(sql, sizeof sql, "PRAGMA user_version = %d; COMMIT", SCHEMA_VERSION);
    return schema_run(db, tables, e) || schema_run(db, sql, e) ? -1 : 0;
}

/* Damage is found now, not in the middle of a job. */
static int check(sqlite3 *db, struct error *e)
{
    sqlite3_stmt *q;
    if (sqlite3_prepare_v2(db, "PRAGMA quick_check(1)", -1, &q, NULL) != SQLITE_OK)
        return failed(db, e);
    int r =
        sqlite3_step(q) == SQLITE_ROW && !strcmp((const char *)sqlite3_column_text(q, 0), "ok")
            ? 0
            : error_set(e, EILSEQ,
                        "%s: damaged (%s); restore a copy, or move it away to begin with an empty cluster",
                        sqlite3_db_filename(db, "main"), (const char *)sqlite3_column_text(q, 0));
    sqlite3_finalize(q);
    return r;
}

sqlite3 *schema_open(const char *dir, bool fast, struct error *e)
{
    char path[PATH_MAX];
    sqlite3 *db = NULL;
    if (file_make(dir, path, sizeof path, e))
        return NULL;
    if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK) {
        error_set(e, EIO, "%s: %s", path, db ? sqlite3_errmsg(db) : "no memory");
        sqlite3_close(db);
        return NULL;
    }
    sqlite3_limit(db, SQLITE_LIMIT_LENGTH, 1 << 20);
    if (tables_make(db, fast, e) == 0 && check(db, e) == 0)
        return db;
    sqlite3_close(db);
    return NULL;
}

/* ---- rows ------------------------------------------------------------------ */

static void text_of(sqlite3_stmt *q, int column, char *out, size_t size)
{
    const char *text = (const char *)sqlite3_column_text(q, column);
    snprintf(out, size, "%s", text ? text : "");
}

static void key_of(sqlite3_stmt *q, int column, uint8_t key[KEY_BYTES])
{
    if (sqlite3_column_bytes(q, column) == KEY_BYTES)
        memcpy(key, sqlite3_column_blob(q, column), KEY_BYTES);
}

static void row_of(sqlite3_stmt *q, struct store_app *a)
{
    memset(a, 0, sizeof *a);
    a->app = (uint64_t)sqlite3_column_int64(q, 0);
    text_of(q, 1, a->name, sizeof a->name);
    text_of(q, 2, a->user, sizeof a->user);
    text_of(q, 3, a->mode, sizeof a->mode);
    text_of(q, 4, a->state, sizeof a->state);
    text_of(q, 5, a->words, sizeof a->words);
    key_of(q, 6, a->driver_key);
    key_of(q, 7, a->fetch_key);
    key_of(q, 8, a->fetch_secret);
    a->started_ms = (uint64_t)sqlite3_column_int64(q, 9);
    a->ended_ms = (uint64_t)sqlite3_column_int64(q, 10);
    a->exit_code = (uint32_t)sqlite3_column_int64(q, 11);
}

static int rows_read(sqlite3 *db, struct store_state *out, struct error *e)
{
    static const char sql[] =
        "SELECT app, name, user, mode, state, words, driver_key, fetch_key, fetch_secret, started_ms,"
        " ended_ms, exit_code FROM apps WHERE ended_ms = 0 OR app IN"
        " (SELECT app FROM apps WHERE ended_ms > 0 ORDER BY app DESC LIMIT ?1) ORDER BY app";
    sqlite3_stmt *q;
    struct buf rows = { 0 };
    if (sqlite3_prepare_v2(db, sql, -1, &q, NULL) != SQLITE_OK)
        return failed(db, e);
    sqlite3_bind_int(q, 1, STORE_ENDED_LOADED);
    int r;
    while ((r = sqlite3_step(q)) == SQLITE_ROW) {
        struct store_app row;
        row_of(q, &row);
        buf_put(&rows, &row, sizeof row);
    }
    sqlite3_finalize(q);
    out->apps = (const struct store_app *)rows.p;
    out->napps = (uint32_t)(rows.n / sizeof(struct store_app));
    return r == SQLITE_DONE ? 0 : failed(db, e);
}

int schema_load(sqlite3 *db, struct store_state *out, struct error *e)
{
    char prune[256];
    snprintf(prune, sizeof prune,
             "DELETE FROM apps WHERE ended_ms > 0 AND app < (SELECT app FROM apps ORDER BY app DESC LIMIT 1 "
             "OFFSET %d)",
             STORE_ENDED_KEPT);
    *out = (struct store_state){ 0 };
    return schema_run(db, "BEGIN IMMEDIATE; UPDATE meta SET value = value + 1 WHERE name = 'epoch'", e) ||
                   schema_run(db, prune, e) || schema_run(db, "COMMIT", e) ||
                   number(db, "SELECT value FROM meta WHERE name = 'epoch'", &out->epoch, e) ||
                   number(db, "SELECT value FROM meta WHERE name = 'next_app'", &out->next_app, e) ||
                   rows_read(db, out, e)
               ? -1
               : 0;
}

sqlite3_stmt *schema_put_prepare(sqlite3 *db, struct error *e)
{
    sqlite3_stmt *put = NULL;
    if (sqlite3_prepare_v2(db, "INSERT OR REPLACE INTO apps VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12)",
                           -1, &put, NULL) != SQLITE_OK)
        failed(db, e);
    return put;
}

int schema_put(sqlite3 *db, sqlite3_stmt *put, const struct store_app *a, struct error *e)
{
    const char *texts[] = { a->name, a->user, a->mode, a->state, a->words };
    const uint8_t *keys[] = { a->driver_key, a->fetch_key, a->fetch_secret };
    char next[128];
    sqlite3_reset(put);
    sqlite3_bind_int64(put, 1, (sqlite3_int64)a->app);
    for (int i = 0; i < 5; i++)
        sqlite3_bind_text(put, 2 + i, texts[i], -1, SQLITE_STATIC);
    for (int i = 0; i < 3; i++)
        sqlite3_bind_blob(put, 7 + i, keys[i], KEY_BYTES, SQLITE_STATIC);
    sqlite3_bind_int64(put, 10, (sqlite3_int64)a->started_ms);
    sqlite3_bind_int64(put, 11, (sqlite3_int64)a->ended_ms);
    sqlite3_bind_int64(put, 12, a->exit_code);
    snprintf(next, sizeof next, "UPDATE meta SET value = max(value, %llu) WHERE name = 'next_app'",
             (unsigned long long)a->app + 1);
    if (sqlite3_step(put) != SQLITE_DONE)
        return failed(db, e);
    sqlite3_reset(put);
    return schema_run(db, next, e);
}
