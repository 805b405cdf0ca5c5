/* joblib.c - see joblib.h. */
#include "driver/joblib.h"

#include "engine/descriptor.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <link.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- files ------------------------------------------------------------------ */

static int read_whole(int fd, const char *path, struct bytes *out, struct error *e)
{
    struct stat st;
    if (fstat(fd, &st))
        return error_sys(e, "%s", path);
    if (st.st_size == 0 || st.st_size > JOBLIB_BYTES_MAX)
        return error_set(e, EFBIG, "%s: has %lld bytes; a library has 1 to %u", path, (long long)st.st_size,
                         JOBLIB_BYTES_MAX);
    uint8_t *p = malloc((size_t)st.st_size);
    if (!p)
        return error_set(e, ENOMEM, "%s: no memory for its %lld bytes", path, (long long)st.st_size);
    for (off_t at = 0; at < st.st_size;) {
        ssize_t n = pread(fd, p + at, (size_t)(st.st_size - at), at);
        if (n <= 0) {
            free(p);
            return n ? error_sys(e, "%s: can't be read", path)
                     : error_set(e, EIO, "%s: became shorter while it was read", path);
        }
        at += n;
    }
    *out = (struct bytes){ p, (uint32_t)st.st_size };
    return 0;
}

static int add(struct joblib *l, int fd, const char *path, struct error *e)
{
    if (l->nlibs == JOBLIB_LIBS_MAX)
        return error_set(e, E2BIG, "%s: the job needs over %d libraries of its own", path, JOBLIB_LIBS_MAX);
    struct bytes *content = &l->contents[l->nlibs];
    struct rec_lib *lib = &l->libs[l->nlibs];
    const char *slash = strrchr(path, '/');
    char *name = strdup(slash ? slash + 1 : path);
    if (!name)
        abort();
    if (read_whole(fd, path, content, e)) {
        free(name);
        return -1;
    }
    struct block_id id = block_of_content(content->p, content->n);
    memcpy(lib->id, id.b, ID_BYTES);
    lib->bytes = content->n;
    lib->name = bytes_of(name);
    if (lib->name.n > 256)
        lib->name.n = 256;
    l->nlibs++;
    return 0;
}

/* ---- what it needs ------------------------------------------------------------ */

/* Part of the system, and so on every executor: not in a folder of somebody's own. */
static bool is_system(const char *path)
{
    static const char *const folders[] = { "/lib/",     "/lib64/",     "/lib32/",
                                           "/usr/lib/", "/usr/lib64/", "/usr/lib32/" };
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++)
        if (!strncmp(path, folders[i], strlen(folders[i])))
            return true;
    return false;
}

static bool travels(const char *path)
{
    char real[PATH_MAX];
    const char *slash = strrchr(path, '/');
    if (!slash || !strncmp(slash, "/libferro.so", strlen("/libferro.so")))
        return false; /* the vDSO has no path */
    return !is_system(path) && (!realpath(path, real) || !is_system(real));
}

/* All that were loaded with the job's library come after what was there before. */
static int add_needed(struct joblib *l, void *handle, const struct link_map *last_before, struct error *e)
{
    struct link_map *own;
    if (dlinfo(handle, RTLD_DI_LINKMAP, &own))
        return error_set(e, 0, "%s", dlerror());
    for (struct link_map *m = last_before->l_next; m; m = m->l_next) {
        if (m == own || !travels(m->l_name))
            continue;
        int fd = open(m->l_name, O_RDONLY | O_CLOEXEC);
        int r = fd < 0 ? error_sys(e, "%s", m->l_name) : add(l, fd, m->l_name, e);
        if (fd >= 0)
            close(fd);
        if (r)
            return -1;
    }
    return 0;
}

static struct link_map *last_loaded(void)
{
    struct link_map *m = _r_debug.r_map;
    while (m->l_next)
        m = m->l_next;
    return m;
}

/* Executors get the file's bytes, functions are named by their place in what is loaded here: they must be the same. */
static int same_file(int fd, const char *path, struct error *e)
{
    struct stat a, b;
    if (fstat(fd, &a) || stat(path, &b) || a.st_dev != b.st_dev || a.st_ino != b.st_ino ||
        a.st_size != b.st_size || a.st_mtim.tv_sec != b.st_mtim.tv_sec ||
        a.st_mtim.tv_nsec != b.st_mtim.tv_nsec)
        return error_set(e, ESTALE, "%s: was replaced while it was loaded; start the job again", path);
    return 0;
}

static int load(struct joblib *l, const char *path, struct error *e)
{
    const struct link_map *before = last_loaded();
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!handle)
        return error_set(e, 0, "%s: can't be loaded: %s", path, dlerror());
    l->job = dlsym(handle, "ferro_job");
    if (!l->job)
        return error_set(e, EINVAL, "%s: is not a job: it has no FERRO_JOB (see ferro.h)", path);
    if (ferro_job_check(l->job, path, e) || same_file(l->fd, path, e))
        return -1;
    return add_needed(l, handle, before, e);
}

int joblib_open(struct joblib *l, const char *path, struct error *e)
{
    char full[PATH_MAX];
    *l = (struct joblib){ .fd = -1 };
    if (!realpath(path, full)) /* without a slash dlopen would search */
        return error_sys(e, "%s", path);
    l->fd = open(full, O_RDONLY | O_CLOEXEC);
    if (l->fd < 0)
        return error_sys(e, "%s", path);
    if (add(l, l->fd, full, e) || load(l, full, e)) {
        joblib_close(l);
        return -1;
    }
    return 0;
}

void joblib_close(struct joblib *l)
{
    for (uint32_t i = 0; i < l->nlibs; i++) {
        free((void *)l->contents[i].p);
        free((void *)l->libs[i].name.p);
    }
    l->nlibs = 0;
    if (l->fd >= 0)
        close(l->fd);
    l->fd = -1;
}
