/* cache.c - see cache.h.  A job is HEX.so and HEX.d; its time of access says when it was used, as its time of
 * change says how old it is beside its sources. */
#include "cli/cache.h"
#include "common/base/arena.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define STEM_BYTES 32 /* of HEX */
#define LEFT_S 3600   /* no compiler takes so long */

struct cached {
    char stem[STEM_BYTES + 1];
    int64_t used, bytes;
};

void cache_used(const char *object)
{
    const struct timespec times[2] = { { .tv_nsec = UTIME_NOW }, { .tv_nsec = UTIME_OMIT } };
    utimensat(AT_FDCWD, object, times, 0);
}

/* HEX.so; HEX.so.PID and HEX.d.PID are what a compiler writes to. */
static void look(int dir, const char *name, struct buf *jobs)
{
    struct stat st;
    struct cached c = { 0 };
    size_t stem = strspn(name, "0123456789abcdef");
    if (stem != STEM_BYTES || fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) || !S_ISREG(st.st_mode))
        return;
    const char *ending = name + stem;
    if (!strcmp(ending, ".so")) {
        memcpy(c.stem, name, stem);
        c.used = (int64_t)st.st_atim.tv_sec * 1000000000 + st.st_atim.tv_nsec;
        c.bytes = st.st_size;
        buf_put(jobs, &c, sizeof c);
    } else if (strcmp(ending, ".d") && time(NULL) - st.st_mtime > LEFT_S)
        unlinkat(dir, name, 0);
}

static int by_use(const void *a, const void *b)
{
    const struct cached *x = a, *y = b;
    return x->used < y->used ? 1 : x->used > y->used ? -1 : strcmp(x->stem, y->stem);
}

static void drop(int dir, const char *stem)
{
    char name[STEM_BYTES + 4];
    snprintf(name, sizeof name, "%s.so", stem);
    unlinkat(dir, name, 0);
    snprintf(name, sizeof name, "%s.d", stem);
    unlinkat(dir, name, 0);
}

void cache_trim(const char *folder)
{
    struct buf jobs = { 0 };
    int64_t bytes = 0;
    DIR *d = opendir(folder);
    if (!d)
        return;
    for (const struct dirent *ent; (ent = readdir(d)) != NULL;)
        look(dirfd(d), ent->d_name, &jobs);
    struct cached *v = (struct cached *)(void *)jobs.p;
    size_t n = jobs.n / sizeof *v;
    if (n)
        qsort(v, n, sizeof *v, by_use);
    for (size_t i = 0; i < n; i++) {
        bytes += v[i].bytes;
        if (i > 0 && (i >= CACHE_JOBS_MAX || bytes > CACHE_BYTES_MAX)) /* the newest is about to be run */
            drop(dirfd(d), v[i].stem);
    }
    buf_fini(&jobs);
    closedir(d);
}
