/* io.c - see io.h.  One queue, a few threads, one list of answers. */
#include "executor/blocks/io.h"

#include "executor/blocks/sealed.h"
#include "executor/blocks/stored.h"

#include "common/proto/proto.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define LIBRARY_MAX (1 << 30)
#define THREADS 4 /* an fsync or two must not hold up chunks */

/* Beyond the ACT_IOs. */
enum errand { ERRAND_NONE, ERRAND_SAVE_OPEN, ERRAND_HOST_CLOSE };

struct request {
    struct request *next;
    enum errand errand;
    struct action act; /* its pointers are ours; of an errand, its numbers only */
    struct block_ref ref;
};

struct answer {
    struct answer *next;
    struct io_done done;
};

/* What was made for an application that the loop hands to hosts. */
struct held {
    uint64_t app;
    struct block_id id; /* the library's */
    uint32_t stage;     /* the output's */
    int fd;             /* library, or the output's staging folder */
    bool library;
};
struct io {
    struct files *files; /* borrowed */
    const char *const *writes;
    pthread_t threads[THREADS];
    int nthreads, seats, fd;
    pthread_mutex_t lock;
    pthread_cond_t work;
    struct request *first, **last;
    struct answer *answers, **answers_last;
    pthread_mutex_t copies; /* where a new copy goes is settled once, whichever thread writes first */
    struct buf held;        /* of struct held */
    struct stored stored;
    uint64_t busy[THREADS]; /* the application that each works for; 0: none */
    bool freeing[THREADS];  /* and removes all of */
    uint64_t epoch, generation;
    bool stop;
};

/* ---- the operations ------------------------------------------------------ */

static void remember(struct io *io, uint64_t app, uint32_t stage, struct block_id id)
{
    pthread_mutex_lock(&io->lock);
    stored_add(&io->stored, app, stage, id);
    pthread_mutex_unlock(&io->lock);
}

static int64_t do_write(struct io *io, const struct action *a)
{
    pthread_mutex_lock(&io->copies);
    int fd = files_open_copy(io->files, a->app, a->io.block, a->io.length, a->io.last);
    pthread_mutex_unlock(&io->copies);
    if (fd < 0)
        return fd;
    if (a->io.offset == 0)
        remember(io, a->app, a->stage, a->io.block);
    int64_t r = 0;
    for (uint32_t at = 0; r >= 0 && at < a->io.bytes.n; at += (uint32_t)r) {
        r = pwrite(fd, a->io.bytes.p + at, a->io.bytes.n - at, (off_t)(a->io.offset + at));
        if (r <= 0)
            r = r ? -errno : -EIO;
    }
    close(fd);
    return r < 0 ? r : a->io.bytes.n;
}

/* Whole, or not at all: a short block is a broken one. */
static int64_t do_serve(struct io *io, const struct action *a, struct io_done *d)
{
    struct stat st;
    int fd = files_open_block(io->files, a->app, a->io.block);
    if (fd < 0)
        return fd;
    uint8_t *p = malloc(a->io.length + 1);
    int64_t r = !p || fstat(fd, &st) ? -errno : pread(fd, p, a->io.length, (off_t)a->io.offset);
    r = r < 0 ? -errno : r;
    close(fd);
    if (r >= 0 && (uint64_t)r == a->io.length) {
        struct msg_block_data m = { .tag = a->io.tag,
                                    .offset = a->io.offset,
                                    .total = (uint64_t)st.st_size,
                                    .bytes = { p, (uint32_t)r } };
        pthread_mutex_lock(&io->lock);
        struct head head = { .tag = MSG_BLOCK_DATA, .epoch = io->epoch, .generation = io->generation };
        pthread_mutex_unlock(&io->lock);
        proto_encode(&d->frame, &head, &m);
        d->conn = a->conn;
    } else if (r >= 0)
        r = -EIO;
    free(p);
    return r;
}

static void hold(struct io *io, struct held h)
{
    pthread_mutex_lock(&io->lock);
    buf_put(&io->held, &h, sizeof h);
    pthread_mutex_unlock(&io->lock);
}

static int64_t do_library(struct io *io, const struct action *a)
{
    int fd = files_open_block(io->files, a->app, a->io.block);
    if (fd < 0)
        return fd;
    struct stat st;
    uint8_t *p =
        fstat(fd, &st) || st.st_size == 0 || st.st_size > LIBRARY_MAX ? NULL : malloc((size_t)st.st_size);
    int64_t r = p ? pread(fd, p, (size_t)st.st_size, 0) : -1;
    close(fd);
    struct block_id id = { { 0 } };
    if (r == st.st_size)
        id = block_of_content(p, (size_t)r);
    bool whole = r == st.st_size && !memcmp(id.b, a->io.block.b, ID_BYTES);
    struct held h = { .app = a->app,
                      .id = a->io.block,
                      .library = true,
                      .fd = whole ? sealed_memfd("job", p, (size_t)r) : -1 };
    free(p);
    if (h.fd < 0)
        return -EBADMSG;
    hold(io, h);
    return 0;
}

/* Is the folder behind this descriptor one of those that the operator named, or in one? */
static bool may_write(const struct io *io, int dir)
{
    char link[64], real[PATH_MAX], allowed[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", dir);
    ssize_t n = readlink(link, real, sizeof real - 1);
    if (n < 0)
        return false;
    real[n] = 0;
    for (const char *const *w = io->writes; w && *w; w++) {
        if (!realpath(*w, allowed))
            continue;
        size_t len = strlen(allowed);
        if (!strncmp(real, allowed, len) && (real[len] == '/' || real[len] == 0 || allowed[len - 1] == '/'))
            return true;
    }
    return false;
}

/* Do we see the driver's output folder?  Then its staging folder is kept open for the parts. */
static int64_t do_token(struct io *io, const struct action *a)
{
    uint8_t token[ID_BYTES + 1];
    char folder[PATH_MAX];
    const char *slash = strrchr(a->io.path, '/');
    snprintf(folder, sizeof folder, "%.*s", (int)(slash ? slash - a->io.path : 0), a->io.path);
    struct held h = { .app = a->app,
                      .stage = a->stage,
                      .fd = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC) };
    int fd = h.fd >= 0 && may_write(io, h.fd)
                 ? openat(h.fd, slash + 1, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
                 : -1;
    ssize_t n = fd >= 0 ? read(fd, token, sizeof token) : -1;
    if (fd >= 0)
        close(fd);
    if (n == ID_BYTES && a->io.bytes.n == ID_BYTES && !memcmp(token, a->io.bytes.p, ID_BYTES)) {
        hold(io, h);
        return 0;
    }
    if (h.fd >= 0)
        close(h.fd);
    return fd < 0 ? -ENOENT : -ESTALE;
}

/* A library, or without one the output of a stage. */
static struct held *find_held(struct io *io, uint64_t app, const struct block_id *id, uint32_t stage)
{
    struct held *v = (struct held *)io->held.p;
    for (size_t i = io->held.n / sizeof *v; i-- > 0;)
        if (v[i].app == app && v[i].library == (id != NULL) &&
            (id ? !memcmp(v[i].id.b, id->b, ID_BYTES) : v[i].stage == stage))
            return &v[i];
    return NULL;
}

static char *part_name(uint32_t part, uint32_t attempt, char out[32])
{
    snprintf(out, 32, "%u.%u", part, attempt);
    return out;
}

/* The stage's staging folder: a copy, to work with outside of the lock.  -1: none. */
static int folder_of(struct io *io, const struct action *a)
{
    pthread_mutex_lock(&io->lock);
    struct held *h = find_held(io, a->app, NULL, a->stage);
    int dir = h ? fcntl(h->fd, F_DUPFD_CLOEXEC, 0) : -1;
    pthread_mutex_unlock(&io->lock);
    return dir;
}

static int64_t do_sync(struct io *io, const struct action *a)
{
    char name[32];
    int dir = folder_of(io, a);
    int fd =
        dir < 0 ? -1 : openat(dir, part_name(a->part, a->attempt, name), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (dir >= 0)
        close(dir);
    if (fd < 0)
        return -ENOENT;
    int64_t r = fsync(fd) ? -errno : 0;
    close(fd);
    return r;
}

static int64_t do_look(const struct action *a)
{
    const struct block_ref *ref = &a->blocks[0];
    int fd = files_open_neighbour(ref->root, ref->owner, ref->app, ref->block, ref->bytes);
    if (fd < 0)
        return fd;
    close(fd);
    return 0;
}

/* Close what is held for the application, or only a stage's output. */
static void let_go(struct io *io, uint64_t app, uint32_t stage)
{
    struct held *v = (struct held *)io->held.p;
    size_t n = io->held.n / sizeof *v, kept = 0;
    for (size_t i = 0; i < n; i++)
        if (v[i].app == app && (stage == UINT32_MAX || (!v[i].library && v[i].stage == stage)))
            close(v[i].fd);
        else
            v[kept++] = v[i];
    io->held.n = kept * sizeof *v;
}

/* The files themselves outside of the lock: the loop waits for it. */
static void free_stage(struct io *io, uint64_t app, uint32_t stage)
{
    pthread_mutex_lock(&io->lock);
    let_go(io, app, stage);
    struct buf ids = stored_take(&io->stored, app, stage);
    pthread_mutex_unlock(&io->lock);
    for (size_t i = 0; i < ids.n / sizeof(struct block_id); i++)
        files_remove_block(io->files, app, ((struct block_id *)ids.p)[i]);
    buf_fini(&ids);
}

static int64_t do_free(struct io *io, const struct action *a)
{
    if (a->stage != UINT32_MAX) {
        free_stage(io, a->app, a->stage);
        for (uint32_t at = 0, stage; at + sizeof stage <= a->io.bytes.n; at += sizeof stage) {
            memcpy(&stage, a->io.bytes.p + at, sizeof stage);
            free_stage(io, a->app, stage);
        }
        return 0;
    }
    pthread_mutex_lock(&io->lock);
    let_go(io, a->app, a->stage);
    stored_drop(&io->stored, a->app);
    pthread_mutex_unlock(&io->lock);
    files_remove_app(io->files, a->app);
    return 0;
}

static int64_t do_save_open(struct io *io, const struct action *a)
{
    char name[32];
    int dir = folder_of(io, a);
    if (dir < 0)
        return -ENOENT;
    unlinkat(dir, part_name(a->part, a->attempt, name), 0);
    int fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0666);
    int r = fd < 0 ? -errno : fd;
    close(dir);
    return r;
}

static int64_t perform(struct io *io, const struct action *a, struct io_done *d)
{
    int64_t r;
    switch (a->io.op) {
    case IO_ADOPT:
        r = files_adopt(io->files, a->io.host, a->io.last, a->app, a->stage, a->part, a->attempt,
                        a->io.block);
        if (r >= 0)
            remember(io, a->app, a->stage, a->io.block);
        return r;
    case IO_WRITE: return do_write(io, a);
    case IO_SERVE: return do_serve(io, a, d);
    case IO_LIBRARY: return do_library(io, a);
    case IO_TOKEN: return do_token(io, a);
    case IO_SYNC: return do_sync(io, a);
    case IO_LOOK: return do_look(a);
    case IO_FREE: return do_free(io, a);
    case IO_COMMIT: break; /* the driver's */
    }
    return -ENOSYS;
}

/* ---- the threads --------------------------------------------------------- */

static void request_free(struct request *r)
{
    free((void *)r->act.io.bytes.p);
    free((void *)r->act.io.path);
    free((void *)r->ref.root);
    free(r);
}

static bool is_free(const struct request *r)
{
    return !r->errand && r->act.io.op == IO_FREE;
}

/* The next request; NULL: not now.  An IO_FREE waits for what was asked for before it
 * of that application, and what comes after the removal of all waits for that: the
 * same number may be another application's by then. */
static struct request *next_request(struct io *io)
{
    struct request *r = io->first;
    for (int i = 0; r && r->act.app && i < THREADS; i++)
        if (io->busy[i] == r->act.app && (is_free(r) || io->freeing[i]))
            return NULL;
    if (r && !(io->first = r->next))
        io->last = &io->first;
    return r;
}

/* NULL: nobody waits for one. */
static struct answer *answer_to(struct io *io, struct request *r)
{
    struct answer *an = NULL;
    if (r->errand == ERRAND_HOST_CLOSE)
        files_host_close(io->files, r->act.io.host);
    else {
        if (!(an = calloc(1, sizeof *an)))
            abort();
        an->done.id = r->act.id;
        an->done.saved = r->errand == ERRAND_SAVE_OPEN;
        an->done.result = an->done.saved ? do_save_open(io, &r->act) : perform(io, &r->act, &an->done);
    }
    request_free(r);
    return an;
}

static void answer_put(struct io *io, struct answer *an)
{
    *io->answers_last = an;
    io->answers_last = &an->next;
    eventfd_write(io->fd, 1);
}

static void *worker(void *arg)
{
    struct io *io = arg;
    pthread_mutex_lock(&io->lock);
    int me = io->seats++;
    while (!io->stop || io->first) {
        struct request *r = next_request(io);
        if (!r) {
            pthread_cond_wait(&io->work, &io->lock);
            continue;
        }
        io->busy[me] = r->act.app;
        io->freeing[me] = is_free(r) && r->act.stage == UINT32_MAX;
        pthread_mutex_unlock(&io->lock);
        struct answer *an = answer_to(io, r);
        pthread_mutex_lock(&io->lock);
        io->busy[me] = 0;
        if (io->first)
            pthread_cond_broadcast(&io->work);
        if (an)
            answer_put(io, an);
    }
    pthread_cond_broadcast(&io->work);
    pthread_mutex_unlock(&io->lock);
    return NULL;
}

struct io *io_new(struct files *files, const char *const *writes, struct error *e)
{
    struct io *io = calloc(1, sizeof *io);
    if (!io)
        abort();
    io->files = files;
    io->writes = writes;
    io->last = &io->first;
    io->answers_last = &io->answers;
    pthread_mutex_init(&io->lock, NULL);
    pthread_mutex_init(&io->copies, NULL);
    pthread_cond_init(&io->work, NULL);
    io->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    while (io->fd >= 0 && io->nthreads < THREADS &&
           pthread_create(&io->threads[io->nthreads], NULL, worker, io) == 0)
        io->nthreads++;
    if (io->nthreads < THREADS) {
        error_sys(e, "the I/O threads can't start");
        io_free(&io);
    }
    return io;
}

void io_free(struct io **iop)
{
    struct io *io = *iop;
    struct io_done d;
    *iop = NULL;
    if (!io)
        return;
    pthread_mutex_lock(&io->lock);
    io->stop = true;
    pthread_cond_broadcast(&io->work);
    pthread_mutex_unlock(&io->lock);
    for (int i = 0; i < io->nthreads; i++)
        pthread_join(io->threads[i], NULL);
    while (io_take(io, &d)) {
        buf_fini(&d.frame);
        if (d.saved && d.result >= 0)
            close((int)d.result);
    }
    for (size_t i = 0; i < io->held.n / sizeof(struct held); i++)
        close(((struct held *)io->held.p)[i].fd);
    close(io->fd);
    buf_fini(&io->held);
    stored_fini(&io->stored);
    free(io);
}

void io_stamp(struct io *io, uint64_t epoch, uint64_t generation)
{
    pthread_mutex_lock(&io->lock);
    io->epoch = epoch;
    io->generation = generation;
    pthread_mutex_unlock(&io->lock);
}

static void *copied(const void *p, size_t n)
{
    void *c = malloc(n + 1);
    if (!c)
        abort();
    memcpy(c, p, n);
    return c;
}

static struct request *request_new(enum errand errand)
{
    struct request *r = calloc(1, sizeof *r);
    if (!r)
        abort();
    r->errand = errand;
    return r;
}

static void request_put(struct io *io, struct request *r)
{
    pthread_mutex_lock(&io->lock);
    *io->last = r;
    io->last = &r->next;
    pthread_cond_signal(&io->work);
    pthread_mutex_unlock(&io->lock);
}

void io_put(struct io *io, const struct action *act)
{
    struct request *r = request_new(ERRAND_NONE);
    r->act = *act;
    r->act.io.bytes.p = act->io.bytes.n ? copied(act->io.bytes.p, act->io.bytes.n) : NULL;
    r->act.io.path = act->io.path ? copied(act->io.path, strlen(act->io.path) + 1) : NULL;
    if (act->nblocks) {
        r->ref = act->blocks[0];
        r->ref.root = r->ref.root ? copied(r->ref.root, strlen(r->ref.root) + 1) : NULL;
        r->act.blocks = &r->ref;
    }
    request_put(io, r);
}

void io_save_open(struct io *io, uint64_t id, uint64_t app, uint32_t stage, uint32_t part, uint32_t attempt)
{
    struct request *r = request_new(ERRAND_SAVE_OPEN);
    r->act = (struct action){ .id = id, .app = app, .stage = stage, .part = part, .attempt = attempt };
    request_put(io, r);
}

void io_host_close(struct io *io, uint64_t host)
{
    struct request *r = request_new(ERRAND_HOST_CLOSE);
    r->act.io.host = host;
    request_put(io, r);
}

void io_served(struct io *io, uint64_t id, int64_t result)
{
    struct answer *an = calloc(1, sizeof *an);
    if (!an)
        abort();
    an->done = (struct io_done){ .id = id, .result = result };
    pthread_mutex_lock(&io->lock);
    answer_put(io, an);
    pthread_mutex_unlock(&io->lock);
}

int io_fd(const struct io *io)
{
    return io->fd;
}

bool io_take(struct io *io, struct io_done *out)
{
    eventfd_t count;
    pthread_mutex_lock(&io->lock);
    struct answer *an = io->answers;
    if (!an)
        eventfd_read(io->fd, &count);
    else if (!(io->answers = an->next))
        io->answers_last = &io->answers;
    pthread_mutex_unlock(&io->lock);
    if (!an)
        return false;
    *out = an->done;
    free(an);
    return true;
}

int io_library_fd(struct io *io, uint64_t app, struct block_id id)
{
    pthread_mutex_lock(&io->lock);
    struct held *h = find_held(io, app, &id, 0);
    int fd = h ? fcntl(h->fd, F_DUPFD_CLOEXEC, 0) : -1;
    pthread_mutex_unlock(&io->lock);
    return fd;
}
