/* workers.c - see workers.h. */
#include "driver/workers.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define THREADS 2

/* First in, first out. */
struct line {
    struct work *first, **last;
};

struct workers {
    pthread_t threads[THREADS];
    int nthreads, fd;
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t more;
    struct line todo, done;
    bool stop;
};

static void line_put(struct line *l, struct work *w)
{
    w->next = NULL;
    *l->last = w;
    l->last = &w->next;
}

static struct work *line_take(struct line *l)
{
    struct work *w = l->first;
    if (w && !(l->first = w->next))
        l->last = &l->first;
    return w;
}

static void *worker(void *arg)
{
    struct workers *w = arg;
    pthread_mutex_lock(&w->lock);
    for (;;) {
        struct work *work = line_take(&w->todo);
        if (!work && w->stop)
            break;
        if (!work) {
            pthread_cond_wait(&w->more, &w->lock);
            continue;
        }
        pthread_mutex_unlock(&w->lock);
        work->run(work);
        pthread_mutex_lock(&w->lock);
        line_put(&w->done, work);
        eventfd_write(w->fd, 1);
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

struct workers *workers_new(struct error *e)
{
    struct workers *w = calloc(1, sizeof *w);
    if (!w)
        abort();
    w->todo.last = &w->todo.first;
    w->done.last = &w->done.first;
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->more, NULL);
    w->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    while (w->fd >= 0 && w->nthreads < THREADS &&
           pthread_create(&w->threads[w->nthreads], NULL, worker, w) == 0)
        w->nthreads++;
    if (w->nthreads < THREADS) {
        error_sys(e, "threads for files can't be started");
        workers_free(&w, NULL);
    }
    return w;
}

void workers_free(struct workers **wp, void (*drop)(struct work *))
{
    struct workers *w = *wp;
    struct work *left;
    *wp = NULL;
    if (!w)
        return;
    pthread_mutex_lock(&w->lock);
    w->stop = true;
    pthread_cond_broadcast(&w->more);
    pthread_mutex_unlock(&w->lock);
    for (int i = 0; i < w->nthreads; i++)
        pthread_join(w->threads[i], NULL);
    while ((left = line_take(&w->done)))
        drop(left);
    if (w->fd >= 0)
        close(w->fd);
    pthread_cond_destroy(&w->more);
    pthread_mutex_destroy(&w->lock);
    free(w);
}

void workers_put(struct workers *w, struct work *work)
{
    pthread_mutex_lock(&w->lock);
    line_put(&w->todo, work);
    pthread_cond_signal(&w->more);
    pthread_mutex_unlock(&w->lock);
}

struct work *workers_take(struct workers *w)
{
    eventfd_t count;
    pthread_mutex_lock(&w->lock);
    struct work *work = line_take(&w->done);
    if (!work)
        eventfd_read(w->fd, &count);
    pthread_mutex_unlock(&w->lock);
    return work;
}

int workers_fd(const struct workers *w)
{
    return w->fd;
}
