/* store.c - see store.h: a queue, a thread that empties it, and an eventfd that says so. */
#include "manager/store/schema.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct queued {
    uint64_t id;
    struct store_record record;
};

struct store {
    sqlite3 *db; /* of the thread, once it runs */
    sqlite3_stmt *put;
    struct store_state state; /* apps: owned */
    int fd;
    pthread_t thread;
    bool running;

    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t more;
    struct buf queue; /* of struct queued */
    struct buf done;  /* of uint64_t */
    size_t taken;     /* of done, in bytes */
    bool closing, failed;
    struct error error;
};

/* ---- the thread ------------------------------------------------------------ */

static int write_batch(struct store *s, const struct queued *q, size_t n, struct error *e)
{
    if (schema_run(s->db, "BEGIN IMMEDIATE", e))
        return -1;
    for (size_t i = 0; i < n; i++)
        if (schema_put(s->db, s->put, &q[i].record.app, e)) {
            sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
            return -1;
        }
    return schema_run(s->db, "COMMIT", e);
}

static void tell(struct store *s)
{
    uint64_t one = 1;
    while (write(s->fd, &one, sizeof one) < 0 && errno == EINTR)
        ;
}

/* Take up to a batch off the queue; with the lock held. */
static size_t batch_take(struct store *s, struct buf *batch)
{
    size_t n = s->queue.n / sizeof(struct queued);
    if (n > STORE_BATCH_MAX)
        n = STORE_BATCH_MAX;
    buf_reset(batch);
    if (n == 0)
        return 0;
    buf_put(batch, s->queue.p, n * sizeof(struct queued));
    s->queue.n -= batch->n;
    memmove(s->queue.p, s->queue.p + batch->n, s->queue.n);
    return n;
}

static void *work(void *arg)
{
    struct store *s = arg;
    struct buf batch = { 0 };
    pthread_mutex_lock(&s->lock);
    while (!s->failed) {
        while (s->queue.n == 0 && !s->closing)
            pthread_cond_wait(&s->more, &s->lock);
        size_t n = batch_take(s, &batch);
        if (n == 0)
            break;
        pthread_mutex_unlock(&s->lock);
        struct error e;
        const struct queued *q = (const struct queued *)batch.p;
        bool failed = write_batch(s, q, n, &e) != 0;
        pthread_mutex_lock(&s->lock);
        if (failed)
            s->error = e;
        s->failed = failed;
        for (size_t i = 0; i < n && !failed; i++)
            buf_put(&s->done, &q[i].id, sizeof q[i].id);
        tell(s);
    }
    pthread_mutex_unlock(&s->lock);
    if (batch.p)
        explicit_bzero(batch.p, batch.cap);
    buf_fini(&batch);
    return NULL;
}

/* ---- the manager's side ------------------------------------------------------ */

static int start(struct store *s, const char *dir, bool fast, struct error *e)
{
    s->db = schema_open(dir, fast, e);
    if (!s->db || schema_load(s->db, &s->state, e) || !(s->put = schema_put_prepare(s->db, e)))
        return -1;
    s->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (s->fd < 0)
        return error_sys(e, "eventfd");
    int r = pthread_create(&s->thread, NULL, work, s);
    s->running = r == 0;
    return r ? error_set(e, r, "the store's thread can't start: %s", strerror(r)) : 0;
}

struct store *store_open(const char *dir, bool fast, struct error *e)
{
    struct store *s = calloc(1, sizeof *s);
    if (!s)
        abort();
    s->fd = -1;
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->more, NULL);
    if (start(s, dir, fast, e))
        store_close(&s);
    return s;
}

const struct store_state *store_state(const struct store *s)
{
    return &s->state;
}

int store_fd(const struct store *s)
{
    return s->fd;
}

void store_put(struct store *s, uint64_t id, const struct store_record *record)
{
    struct queued q = { .id = id, .record = *record };
    pthread_mutex_lock(&s->lock);
    buf_put(&s->queue, &q, sizeof q);
    pthread_cond_signal(&s->more);
    pthread_mutex_unlock(&s->lock);
    explicit_bzero(&q, sizeof q);
}

int store_take(struct store *s, uint64_t *id, struct error *e)
{
    int r = 0;
    uint64_t count;
    pthread_mutex_lock(&s->lock);
    if (s->taken < s->done.n) {
        memcpy(id, s->done.p + s->taken, sizeof *id);
        s->taken += sizeof *id;
        r = 1;
    } else if (s->failed) {
        *e = s->error;
        r = -1;
    } else {
        s->taken = 0;
        buf_reset(&s->done);
        if (read(s->fd, &count, sizeof count) < 0 && errno != EAGAIN)
            r = error_sys(e, "eventfd");
    }
    pthread_mutex_unlock(&s->lock);
    return r;
}

void store_close(struct store **sp)
{
    struct store *s = *sp;
    *sp = NULL;
    if (!s)
        return;
    if (s->running) {
        pthread_mutex_lock(&s->lock);
        s->closing = true;
        pthread_cond_signal(&s->more);
        pthread_mutex_unlock(&s->lock);
        pthread_join(s->thread, NULL);
    }
    sqlite3_finalize(s->put);
    sqlite3_close(s->db);
    if (s->fd >= 0)
        close(s->fd);
    if (s->state.apps)
        explicit_bzero((void *)s->state.apps, s->state.napps * sizeof *s->state.apps);
    free((void *)s->state.apps);
    if (s->queue.p)
        explicit_bzero(s->queue.p, s->queue.cap);
    buf_fini(&s->queue);
    buf_fini(&s->done);
    pthread_cond_destroy(&s->more);
    pthread_mutex_destroy(&s->lock);
    free(s);
}
