/* files.c - see files.h. */
#include "executor/blocks/files.h"

#include "common/base/tree.h"
#include "common/proto/proto.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FAST_SPARE_BYTES (64u << 20) /* left free in the fast tree, for what hosts write */

static int open_beneath(int dir, const char *path, int flags, mode_t mode)
{
    struct open_how how = { .flags = (uint64_t)(flags | O_CLOEXEC | O_NOFOLLOW),
                            .mode = flags & O_CREAT ? mode : 0,
                            .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS };
    int fd = (int)syscall(SYS_openat2, dir, path, &how, sizeof how);
    return fd < 0 ? -errno : fd;
}

/* ---- the trees ---------------------------------------------------------- */

static bool is_incarnation(const char *name)
{
    return strlen(name) == 32 && strspn(name, "0123456789abcdef") == 32;
}

/* Remove what executors left that live no more: their lock can be had. */
static void sweep(const char *dir)
{
    DIR *d = opendir(dir);
    for (struct dirent *ent; d && (ent = readdir(d)) != NULL;) {
        char path[PATH_MAX], lock[PATH_MAX + 8];
        if (!is_incarnation(ent->d_name))
            continue;
        snprintf(path, sizeof path, "%.3900s/%.32s", dir, ent->d_name);
        snprintf(lock, sizeof lock, "%s/lock", path);
        int fd = open(lock, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
        if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0)
            tree_remove(path);
        if (fd >= 0)
            close(fd);
    }
    if (d)
        closedir(d);
}

static int make_parents(const char *dir)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s", dir);
    for (char *slash = path + 1; (slash = strchr(slash, '/')); *slash++ = '/') {
        *slash = 0;
        mkdir(path, 0700);
    }
    return mkdir(path, 0700) && errno != EEXIST ? -1 : 0;
}

/* Named only once it is locked, so that a neighbour's sweep never finds it without. */
static int tree_make(struct tree *t, const char *option, const char *dir, const char *name, struct error *e)
{
    char made[PATH_MAX], lock[PATH_MAX + 8];
    snprintf(made, sizeof made, "%.3900s/.%s", dir, name);
    snprintf(lock, sizeof lock, "%s/lock", made);
    if (mkdir(made, 0700) && errno != EEXIST)
        return error_sys(e, "%s: %s", option, made);
    t->lock = open(lock, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (t->lock < 0 || flock(t->lock, LOCK_EX | LOCK_NB) || rename(made, t->path))
        return error_sys(e, "%s: %s", option, t->path);
    return 0;
}

static int tree_open(struct tree *t, const char *option, const char *dir, const char *name, struct error *e)
{
    char real[PATH_MAX];
    *t = (struct tree){ .fd = -1, .lock = -1 };
    if (make_parents(dir) || !realpath(dir, real))
        return error_sys(e, "%s: %s", option, dir);
    sweep(real);
    snprintf(t->path, sizeof t->path, "%.3900s/%s", real, name);
    if (access(t->path, F_OK) &&
        tree_make(t, option, real, name, e)) /* there already: both trees are in one folder */
        return -1;
    t->fd = open(t->path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    return t->fd < 0 ? error_sys(e, "%s: %s", option, t->path) : 0;
}

int files_open(struct files *f, const char *fast, const char *disk, const uint8_t incarnation[ID_BYTES],
               struct error *e)
{
    struct block_id name;
    char hex[33];
    memcpy(f->incarnation, incarnation, ID_BYTES);
    memcpy(name.b, incarnation, ID_BYTES);
    block_hex(name, hex);
    return tree_open(&f->fast, "--dir", fast, hex, e) || tree_open(&f->disk, "--disk", disk, hex, e) ? -1 : 0;
}

static void tree_close(struct tree *t)
{
    if (!t->path[0])
        return;
    tree_remove(t->path);
    if (t->fd >= 0)
        close(t->fd);
    if (t->lock >= 0)
        close(t->lock);
    char *slash = strrchr(t->path, '/');
    *slash = 0;
    rmdir(t->path); /* when no neighbour uses it */
}

void files_close(struct files *f)
{
    tree_close(&f->fast);
    tree_close(&f->disk);
}

/* ---- hosts' scratch ------------------------------------------------------ */

char *files_host_path(const struct files *f, bool on_disk, uint64_t host, char *out, size_t size)
{
    /* The two trees may be one folder: "d" and "f" keep them apart. */
    snprintf(out, size, "%.4000s/host-%" PRIu64 "%c", on_disk ? f->disk.path : f->fast.path, host,
             on_disk ? 'd' : 'f');
    return out;
}

int files_host_open(struct files *f, uint64_t host)
{
    char path[PATH_MAX];
    for (int d = 0; d < 2; d++)
        if (mkdir(files_host_path(f, d, host, path, sizeof path), 0700) && errno != EEXIST)
            return -errno;
    return 0;
}

void files_host_close(struct files *f, uint64_t host)
{
    char path[PATH_MAX];
    for (int d = 0; d < 2; d++)
        tree_remove(files_host_path(f, d, host, path, sizeof path));
}

/* ---- blocks -------------------------------------------------------------- */

static char *block_path(uint64_t app, struct block_id id, char out[64])
{
    char hex[33];
    snprintf(out, 64, "%" PRIu64 "/%s", app, block_hex(id, hex));
    return out;
}

static int app_folder(const struct tree *t, uint64_t app)
{
    char name[24];
    snprintf(name, sizeof name, "%" PRIu64, app);
    return mkdirat(t->fd, name, 0700) && errno != EEXIST ? -errno : 0;
}

int files_open_block(const struct files *f, uint64_t app, struct block_id id)
{
    char path[64];
    int fd = open_beneath(f->fast.fd, block_path(app, id, path), O_RDONLY, 0);
    return fd == -ENOENT ? open_beneath(f->disk.fd, path, O_RDONLY, 0) : fd;
}

int files_open_neighbour(const char *root, const uint8_t owner[ID_BYTES], uint64_t app, struct block_id id,
                         uint64_t bytes)
{
    struct block_id who;
    char path[64], hex[33], whole[128];
    struct stat st;
    memcpy(who.b, owner, ID_BYTES);
    int dir = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return -errno;
    snprintf(whole, sizeof whole, "%s/%s", block_hex(who, hex), block_path(app, id, path));
    int fd = open_beneath(dir, whole, O_RDONLY, 0);
    close(dir);
    if (fd < 0)
        return fd;
    if (fstat(fd, &st) || !S_ISREG(st.st_mode) || (uint64_t)st.st_size != bytes) {
        close(fd);
        return -ESTALE;
    }
    return fd;
}

static int make_copy(const struct tree *t, uint64_t app, const char *path)
{
    int r = app_folder(t, app);
    return r ? r : open_beneath(t->fd, path, O_WRONLY | O_CREAT, 0600);
}

/* With all its room taken at once: no later chunk finds none.  -errno: no bytes or inodes are left. */
static int make_fast(const struct files *f, uint64_t app, const char *path, uint64_t bytes)
{
    struct statvfs fs;
    if (fstatvfs(f->fast.fd, &fs) || (uint64_t)fs.f_bavail * fs.f_frsize < FAST_SPARE_BYTES ||
        (uint64_t)fs.f_bavail * fs.f_frsize - FAST_SPARE_BYTES < bytes)
        return -ENOSPC;
    int fd = make_copy(&f->fast, app, path);
    if (fd < 0 || bytes == 0 || fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, (off_t)bytes) == 0 ||
        errno == EOPNOTSUPP)
        return fd;
    int r = -errno;
    close(fd);
    unlinkat(f->fast.fd, path, 0);
    return r;
}

int files_open_copy(struct files *f, uint64_t app, struct block_id id, uint64_t bytes, bool on_disk)
{
    char path[64];
    const struct tree *trees[2] = { &f->fast, &f->disk };
    block_path(app, id, path);
    for (int i = 0; i < 2; i++) {
        int fd = open_beneath(trees[i]->fd, path, O_WRONLY, 0);
        if (fd != -ENOENT)
            return fd;
    }
    int fd = on_disk ? -ENOSPC : make_fast(f, app, path, bytes);
    return fd < 0 ? make_copy(&f->disk, app, path) : fd;
}

int64_t files_adopt(struct files *f, uint64_t host, bool on_disk, uint64_t app, uint32_t stage, uint32_t part,
                    uint32_t attempt, struct block_id id)
{
    const struct tree *t = on_disk ? &f->disk : &f->fast;
    char from[96], to[64];
    struct stat st;
    snprintf(from, sizeof from, "host-%" PRIu64 "%c/%u.%u.%u", host, on_disk ? 'd' : 'f', stage, part,
             attempt);
    int fd = open_beneath(t->fd, from, O_RDONLY, 0);
    if (fd < 0)
        return fd;
    int r = fstat(fd, &st) ? -errno : 0;
    close(fd);
    if (r == 0 && (!S_ISREG(st.st_mode) || st.st_uid != geteuid() || st.st_nlink != 1))
        r = -EPERM;
    if (r == 0)
        r = app_folder(t, app);
    if (r == 0 && renameat(t->fd, from, t->fd, block_path(app, id, to)))
        r = -errno;
    return r ? r : st.st_size;
}

void files_remove_block(struct files *f, uint64_t app, struct block_id id)
{
    char path[64];
    if (unlinkat(f->fast.fd, block_path(app, id, path), 0))
        unlinkat(f->disk.fd, path, 0);
}

void files_remove_app(struct files *f, uint64_t app)
{
    char path[PATH_MAX];
    const struct tree *trees[2] = { &f->fast, &f->disk };
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%.4000s/%" PRIu64, trees[i]->path, app);
        tree_remove(path);
    }
}
