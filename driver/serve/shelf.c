/* shelf.c - see shelf.h.  Only one piece of work is with the workers at a time, so that all happens in order. */
#include "driver/serve/shelf.h"

#include "common/base/tree.h"
#include "driver/workers.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

struct shelf {
    struct workers *workers;
    char *dir;
    int fd; /* the folder, locked */
    bool temporary;
    struct shelf_work *first, **last; /* waiting */
    bool busy;
};

struct shelf_work {
    struct work work;
    struct shelf_work *next;
    const struct shelf *shelf;
    uint64_t id, app, offset;
    bool write;
    struct buf bytes;
    int64_t result;
};

/* ---- files ----------------------------------------------------------------------- */

const char *shelf_library(const struct shelf *s, uint64_t app, char *out, size_t size)
{
    snprintf(out, size, "%s/app-%" PRIu64 "/job.so", s->dir, app);
    return out;
}

static int64_t do_write(const struct shelf_work *w)
{
    char path[PATH_MAX];
    shelf_library(w->shelf, w->app, path, sizeof path);
    char *slash = strrchr(path, '/');
    *slash = 0;
    if (mkdir(path, 0700) && errno != EEXIST)
        return -errno;
    *slash = '/';
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    int64_t r = fd < 0 ? -errno : 0;
    for (size_t at = 0; r >= 0 && at < w->bytes.n; at += (size_t)r) {
        r = pwrite(fd, w->bytes.p + at, w->bytes.n - at, (off_t)(w->offset + at));
        if (r <= 0)
            r = r ? -errno : -EIO;
    }
    if (fd >= 0)
        close(fd);
    return r < 0 ? r : (int64_t)w->bytes.n;
}

static void run(struct work *work)
{
    struct shelf_work *w = (struct shelf_work *)work;
    char path[PATH_MAX];
    if (w->write) {
        w->result = do_write(w);
        return;
    }
    shelf_library(w->shelf, w->app, path, sizeof path);
    *strrchr(path, '/') = 0;
    tree_remove(path);
}

/* Left by a service that was killed. */
static void sweep(struct shelf *s)
{
    char path[PATH_MAX];
    DIR *d = opendir(s->dir);
    for (struct dirent *x; d && (x = readdir(d));)
        if (!strncmp(x->d_name, "app-", 4) &&
            (size_t)snprintf(path, sizeof path, "%s/%s", s->dir, x->d_name) < sizeof path)
            tree_remove(path);
    if (d)
        closedir(d);
}

/* ---- the queue --------------------------------------------------------------------- */

static void work_free(struct work *work)
{
    struct shelf_work *w = (struct shelf_work *)work;
    buf_fini(&w->bytes);
    free(w);
}

static void go_on(struct shelf *s)
{
    struct shelf_work *w = s->first;
    if (s->busy || !w)
        return;
    if (!(s->first = w->next))
        s->last = &s->first;
    s->busy = true;
    workers_put(s->workers, &w->work);
}

void shelf_put(struct shelf *s, const struct action *act)
{
    struct shelf_work *w = calloc(1, sizeof *w);
    if (!w)
        abort();
    w->work.run = run;
    w->shelf = s;
    w->id = act->id;
    w->app = act->app;
    w->write = act->io.op == IO_WRITE;
    w->offset = act->io.offset;
    buf_put(&w->bytes, act->io.bytes.p, act->io.bytes.n);
    *s->last = w;
    s->last = &w->next;
    go_on(s);
}

int shelf_fd(const struct shelf *s)
{
    return workers_fd(s->workers);
}

bool shelf_take(struct shelf *s, struct shelf_done *out)
{
    struct shelf_work *w = (struct shelf_work *)workers_take(s->workers);
    if (!w)
        return false;
    *out = (struct shelf_done){ w->id, w->result };
    work_free(&w->work);
    s->busy = false;
    go_on(s);
    return true;
}

/* ---- life ------------------------------------------------------------------------------ */

static int take_folder(struct shelf *s, const char *dir, struct error *e)
{
    char made[PATH_MAX];
    const char *tmp = getenv("TMPDIR");
    snprintf(made, sizeof made, "%s/ferro-driver-XXXXXX", tmp && *tmp == '/' ? tmp : "/tmp");
    s->temporary = !dir;
    if (!dir && !(dir = mkdtemp(made)))
        return error_sys(e, "%s: can't be made", made);
    if (!s->temporary && mkdir(dir, 0700) && errno != EEXIST)
        return error_sys(e, "%s: can't be made", dir);
    if (!(s->dir = realpath(dir, NULL)) || (s->fd = open(s->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
        return error_sys(e, "%s", dir);
    if (flock(s->fd, LOCK_EX | LOCK_NB) && errno == EWOULDBLOCK)
        return error_set(e, EBUSY, "%s: another driver service uses it; give each a --dir of its own", dir);
    sweep(s);
    return 0;
}

struct shelf *shelf_new(const char *dir, struct error *e)
{
    struct shelf *s = calloc(1, sizeof *s);
    if (!s)
        abort();
    s->fd = -1;
    s->last = &s->first;
    if (!(s->workers = workers_new(e)) || take_folder(s, dir, e))
        shelf_free(&s);
    return s;
}

void shelf_free(struct shelf **sp)
{
    struct shelf *s = *sp;
    *sp = NULL;
    if (!s)
        return;
    workers_free(&s->workers, work_free);
    for (struct shelf_work *w; (w = s->first);) {
        s->first = w->next;
        work_free(&w->work);
    }
    if (s->fd >= 0) {
        sweep(s);
        close(s->fd);
    }
    if (s->temporary && s->dir)
        rmdir(s->dir);
    free(s->dir);
    free(s);
}
