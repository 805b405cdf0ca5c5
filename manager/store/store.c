/* store.c - see store.h.  Records that queue up while one transaction commits share the next. */
#include "manager/store/store.h"

#include "common/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>


static const char schema[] =
    "CREATE TABLE IF NOT EXISTS meta(name TEXT PRIMARY KEY, value INTEGER NOT NULL);"
    "CREATE TABLE IF NOT EXISTS apps(app INTEGER PRIMARY KEY, name TEXT NOT NULL, user TEXT NOT NULL, mode TEXT NOT NULL,"
    " state TEXT NOT NULL, words TEXT NOT NULL, driver_key BLOB NOT NULL, fetch_key BLOB NOT NULL, fetch_secret BLOB NOT NULL,"
    " started_ms INTEGER NOT NULL, ended_ms INTEGER NOT NULL, exit_code INTEGER NOT NULL);"
    "INSERT INTO meta VALUES('epoch', 1) ON CONFLICT(name) DO UPDATE SET value = value + 1;"
    "INSERT OR IGNORE INTO meta VALUES('version', 1);";

struct entry {
    uint64_t id;
    struct store_record record;
};

struct store {
    sqlite3 *db;
    sqlite3_stmt *put;
    int lock, fd;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t work;
    struct buf queued, done; /* of struct entry; of uint64_t */
    bool stop, failed, running;
    struct buf apps;         /* of struct store_app: what was loaded */
};

static int db_error(struct store *s, const char *path, struct error *e)
{
    return error_set(e, EIO, "state %s: %s", path, s->db ? sqlite3_errmsg(s->db) : "out of memory");
}

/* ---- loading ------------------------------------------------------------ */

static void column(sqlite3_stmt *q, int i, char *dst, size_t size)
{
    const char *text = (const char *)sqlite3_column_text(q, i);
    snprintf(dst, size, "%s", text ? text : "");
}

static void column_key(sqlite3_stmt *q, int i, uint8_t key[KEY_BYTES])
{
    if (sqlite3_column_bytes(q, i) == KEY_BYTES)
        memcpy(key, sqlite3_column_blob(q, i), KEY_BYTES);
}

static void load_row(struct store *s, sqlite3_stmt *q)
{
    struct store_app a = { .app = (uint64_t)sqlite3_column_int64(q, 0) };
    column(q, 1, a.name, sizeof a.name);
    column(q, 2, a.user, sizeof a.user);
    column(q, 3, a.mode, sizeof a.mode);
    column(q, 4, a.state, sizeof a.state);
    column(q, 5, a.words, sizeof a.words);
    column_key(q, 6, a.driver_key);
    column_key(q, 7, a.fetch_key);
    column_key(q, 8, a.fetch_secret);
    a.started_ms = (uint64_t)sqlite3_column_int64(q, 9);
    a.ended_ms = (uint64_t)sqlite3_column_int64(q, 10);
    a.exit_code = (uint32_t)sqlite3_column_int64(q, 11);
    buf_put(&s->apps, &a, sizeof a);
}

static int load(struct store *s, const char *path, struct store_state *state, struct error *e)
{
    sqlite3_stmt *q;
    const char *all = "SELECT * FROM (SELECT * FROM apps WHERE ended_ms = 0 UNION SELECT * FROM"
                      " (SELECT * FROM apps WHERE ended_ms <> 0 ORDER BY app DESC LIMIT 1000)) ORDER BY app";
    if (sqlite3_prepare_v2(s->db, "SELECT value, (SELECT COALESCE(MAX(app), 0) + 1 FROM apps) FROM meta WHERE name = 'epoch'", -1, &q, NULL))
        return db_error(s, path, e);
    if (sqlite3_step(q) == SQLITE_ROW) {
        state->epoch = (uint64_t)sqlite3_column_int64(q, 0);
        state->next_app = (uint64_t)sqlite3_column_int64(q, 1);
    }
    sqlite3_finalize(q);
    if (state->epoch == 0 || sqlite3_prepare_v2(s->db, all, -1, &q, NULL))
        return db_error(s, path, e);
    while (sqlite3_step(q) == SQLITE_ROW)
        load_row(s, q);
    if (sqlite3_finalize(q))
        return db_error(s, path, e);
    state->apps = (const struct store_app *)s->apps.p;
    state->napps = (uint32_t)(s->apps.n / sizeof(struct store_app));
    return 0;
}

/* ---- writing ------------------------------------------------------------ */

static bool put_row(struct store *s, const struct store_app *a)
{
    sqlite3_stmt *q = s->put;
    const char *texts[] = { a->name, a->user, a->mode, a->state, a->words };
    const uint8_t *keys[] = { a->driver_key, a->fetch_key, a->fetch_secret };
    sqlite3_reset(q);
    sqlite3_bind_int64(q, 1, (sqlite3_int64)a->app);
    for (int i = 0; i < 5; i++)
        sqlite3_bind_text(q, 2 + i, texts[i], -1, SQLITE_STATIC);
    for (int i = 0; i < 3; i++)
        sqlite3_bind_blob(q, 7 + i, keys[i], KEY_BYTES, SQLITE_STATIC);
    sqlite3_bind_int64(q, 10, (sqlite3_int64)a->started_ms);
    sqlite3_bind_int64(q, 11, (sqlite3_int64)a->ended_ms);
    sqlite3_bind_int64(q, 12, a->exit_code);
    return sqlite3_step(q) == SQLITE_DONE;
}

static bool commit(struct store *s, const struct buf *batch)
{
    const struct entry *v = (const struct entry *)batch->p;
    bool ok = sqlite3_exec(s->db, "BEGIN", NULL, NULL, NULL) == SQLITE_OK;
    for (size_t i = 0; ok && i < batch->n / sizeof *v; i++)
        ok = put_row(s, &v[i].record.app);
    ok = ok && sqlite3_exec(s->db, "COMMIT", NULL, NULL, NULL) == SQLITE_OK;
    if (!ok)
        log_line(LOG_ERROR, "state: %s", sqlite3_errmsg(s->db));
    return ok;
}

static void *writer(void *arg)
{
    struct store *s = arg;
    pthread_mutex_lock(&s->mutex);
    while (!s->stop || s->queued.n) {
        if (s->queued.n == 0) {
            pthread_cond_wait(&s->work, &s->mutex);
            continue;
        }
        struct buf batch = s->queued;
        s->queued = (struct buf){ 0 };
        pthread_mutex_unlock(&s->mutex);
        bool ok = commit(s, &batch);
        pthread_mutex_lock(&s->mutex);
        s->failed |= !ok;
        for (size_t i = 0; i < batch.n / sizeof(struct entry); i++)
            buf_put(&s->done, &((struct entry *)batch.p)[i].id, sizeof(uint64_t));
        eventfd_write(s->fd, 1);
        buf_fini(&batch);
    }
    pthread_mutex_unlock(&s->mutex);
    return NULL;
}

void store_put(struct store *s, uint64_t id, const struct store_record *record)
{
    struct entry en = { id, *record };
    pthread_mutex_lock(&s->mutex);
    buf_put(&s->queued, &en, sizeof en);
    pthread_cond_signal(&s->work);
    pthread_mutex_unlock(&s->mutex);
}

int store_fd(const struct store *s)
{
    return s->fd;
}

bool store_done(struct store *s, uint64_t *id, bool *failed)
{
    eventfd_t count;
    pthread_mutex_lock(&s->mutex);
    bool any = s->done.n > 0;
    *failed = s->failed;
    if (any) {
        memcpy(id, s->done.p, sizeof *id);
        s->done.n -= sizeof *id;
        memmove(s->done.p, s->done.p + sizeof *id, s->done.n);
    } else
        eventfd_read(s->fd, &count);
    pthread_mutex_unlock(&s->mutex);
    return any;
}

/* ---- life --------------------------------------------------------------- */

static int lock_folder(struct store *s, const char *dir, struct error *e)
{
    char path[PATH_MAX];
    if (mkdir(dir, 0700) && errno != EEXIST)
        return error_sys(e, "state %s", dir);
    snprintf(path, sizeof path, "%s/lock", dir);
    s->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (s->lock < 0)
        return error_sys(e, "state %s", path);
    if (flock(s->lock, LOCK_EX | LOCK_NB))
        return error_set(e, EBUSY, "state %s: another manager runs on it", dir);
    return 0;
}

static int open_db(struct store *s, const char *dir, bool is_volatile, struct store_state *state, struct error *e)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/ferro.db", dir);
    const char *mode = is_volatile ? "PRAGMA journal_mode=MEMORY; PRAGMA synchronous=OFF;" : "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;";
    mode_t mask = umask(077);
    int r = sqlite3_open(path, &s->db);
    umask(mask);
    if (r || sqlite3_exec(s->db, mode, NULL, NULL, NULL) || sqlite3_exec(s->db, "BEGIN", NULL, NULL, NULL) ||
        sqlite3_exec(s->db, schema, NULL, NULL, NULL) || sqlite3_exec(s->db, "COMMIT", NULL, NULL, NULL) ||
        sqlite3_prepare_v2(s->db, "INSERT OR REPLACE INTO apps VALUES(?,?,?,?,?,?,?,?,?,?,?,?)", -1, &s->put, NULL))
        return db_error(s, path, e);
    return load(s, path, state, e);
}

struct store *store_open(const char *dir, bool is_volatile, struct store_state *state, struct error *e)
{
    struct store *s = calloc(1, sizeof *s);
    if (!s)
        abort();
    *state = (struct store_state){ 0 };
    s->lock = s->fd = -1;
    pthread_mutex_init(&s->mutex, NULL);
    pthread_cond_init(&s->work, NULL);
    if (lock_folder(s, dir, e) || open_db(s, dir, is_volatile, state, e)) {
        store_free(&s);
        return NULL;
    }
    s->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    s->running = s->fd >= 0 && pthread_create(&s->thread, NULL, writer, s) == 0;
    if (!s->running) {
        error_sys(e, "state %s: its thread can't start", dir);
        store_free(&s);
    }
    return s;
}

void store_free(struct store **sp)
{
    struct store *s = *sp;
    *sp = NULL;
    if (!s)
        return;
    if (s->running) {
        pthread_mutex_lock(&s->mutex);
        s->stop = true;
        pthread_cond_signal(&s->work);
        pthread_mutex_unlock(&s->mutex);
        pthread_join(s->thread, NULL);
    }
    sqlite3_finalize(s->put);
    sqlite3_close(s->db);
    if (s->fd >= 0)
        close(s->fd);
    if (s->lock >= 0)
        close(s->lock);
    buf_fini(&s->queued);
    buf_fini(&s->done);
    buf_fini(&s->apps);
    free(s);
}
