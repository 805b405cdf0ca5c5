/* staging.c - see staging.h. */
#include "driver/staging.h"

#include "common/base/tree.h"
#include "common/proto/proto.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

struct staging {
    char *dir;     /* OUT */
    char name[64]; /* of the staging folder below OUT: "_ferro/7", then "_ferro/commit-..." */
    char old[64];  /* "_ferro/old-..." */
    uint8_t token[ID_BYTES];
    int out;              /* OUT, open */
    int lock;             /* the token, locked */
    bool overwrite, made; /* OUT was made by us */
    bool fenced;          /* the commit has begun */
    bool moved;           /* what is in OUT from now on is ours */
    bool committed;
};

static bool is_number(const char *s)
{
    return *s && s[strspn(s, "0123456789")] == 0;
}

static bool is_output(const char *name)
{
    return !strcmp(name, "_SUCCESS") || (!strncmp(name, "part-", 5) && is_number(name + strlen("part-")));
}

/* Each entry of a folder below `at`, until `each` returns non-zero, which is returned; -1 and errno when it can't be read. */
static int entries(int at, const char *path, int (*each)(void *user, const char *name), void *user)
{
    int r = 0, fd = openat(at, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    if (!d) {
        if (fd >= 0)
            close(fd);
        return -1;
    }
    for (struct dirent *x; r == 0 && (x = readdir(d));)
        if (strcmp(x->d_name, ".") && strcmp(x->d_name, ".."))
            r = each(user, x->d_name);
    closedir(d);
    return r;
}

/* ---- removing ----------------------------------------------------------------- */

/* OUT/<name> and all below it, if it is there. */
static void remove_below(const struct staging *s, const char *name)
{
    char path[PATH_MAX];
    if ((size_t)snprintf(path, sizeof path, "%s/%s", s->dir, name) < sizeof path)
        tree_remove(path);
}

/* ---- opening ------------------------------------------------------------------ */

/* All missing folders of an absolute path; *made: the last one was. */
static int make_folders(char *path, bool *made)
{
    for (char *slash = path + 1; (slash = strchr(slash, '/')); slash++) {
        *slash = 0;
        int r = mkdir(path, 0777);
        *slash = '/';
        if (r && errno != EEXIST && errno != EROFS && errno != EACCES) /* the last one tells */
            return -1;
    }
    *made = mkdir(path, 0777) == 0;
    return *made || errno == EEXIST ? 0 : -1;
}

/* Is the driver that made _ferro/<name> alive?  It holds a lock on its token. */
static bool is_alive(const struct staging *s, const char *name)
{
    char path[320];
    snprintf(path, sizeof path, "_ferro/%s/token", name);
    int fd = openat(s->out, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return false;
    bool alive = flock(fd, LOCK_EX | LOCK_NB) && errno == EWOULDBLOCK;
    close(fd);
    return alive;
}

struct survey {
    struct staging *s;
    bool output;     /* part files or _SUCCESS */
    char other[256]; /* something that no job wrote */
    char alive[256]; /* a staging folder whose driver lives */
};

static int survey_out(void *user, const char *name)
{
    struct survey *v = user;
    if (is_output(name))
        v->output = true;
    else if (strcmp(name, "_ferro"))
        snprintf(v->other, sizeof v->other, "%s", name);
    return 0;
}

static int survey_staging(void *user, const char *name)
{
    struct survey *v = user;
    if (is_alive(v->s, name))
        snprintf(v->alive, sizeof v->alive, "%s", name);
    return 0;
}

/* May the output go there? */
static int look(struct staging *s, struct error *e)
{
    struct survey v = { .s = s };
    if (entries(s->out, ".", survey_out, &v) < 0)
        return error_sys(e, "%s: can't be read", s->dir);
    if (entries(s->out, "_ferro", survey_staging, &v) < 0 && errno != ENOENT)
        return error_sys(e, "%s/_ferro: can't be read", s->dir);
    if (v.alive[0])
        return error_set(e, EBUSY, "%s: another job is writing there: %s%s", s->dir,
                         is_number(v.alive) ? "app " : "_ferro/", v.alive);
    if (!s->overwrite && (v.output || v.other[0]))
        return error_set(e, EEXIST, "%s: exists; name another folder%s", s->dir,
                         v.other[0] ? "" : ", or replace it with --overwrite");
    if (v.other[0])
        return error_set(e, EEXIST, "%s: holds '%s', which no job wrote: not overwritten", s->dir, v.other);
    return 0;
}

/* Fence and remove what another driver has below _ferro: first renamed, so that it ends in one moment. */
static int fence_other(void *user, const char *name)
{
    struct staging *s = user;
    char from[320], to[64], hex[33];
    struct block_id id;
    snprintf(from, sizeof from, "_ferro/%s", name);
    randombytes_buf(id.b, sizeof id.b);
    snprintf(to, sizeof to, "_ferro/gone-%s", block_hex(id, hex));
    if (renameat(s->out, from, s->out, to) == 0)
        remove_below(s, to);
    return 0;
}

static int make_token(struct staging *s, struct error *e)
{
    char path[80];
    snprintf(path, sizeof path, "%s/token", s->name);
    if (mkdirat(s->out, s->name, 0777))
        return error_sys(e, "%s/%s: can't be made", s->dir, s->name);
    s->lock = openat(s->out, path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (s->lock < 0 || write(s->lock, s->token, ID_BYTES) != ID_BYTES || fsync(s->lock))
        return error_sys(e, "%s/%s: can't be written", s->dir, path);
    flock(s->lock, LOCK_EX | LOCK_NB); /* where the file system has no locks, nobody looks alive */
    return 0;
}

/* One driver at a time decides who may use the folder. */
static int take_folder(struct staging *s, struct error *e)
{
    if (mkdirat(s->out, "_ferro", 0777) && errno != EEXIST)
        return error_sys(e, "%s/_ferro: can't be made", s->dir);
    int gate = openat(s->out, "_ferro", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (gate < 0)
        return error_sys(e, "%s/_ferro", s->dir);
    flock(gate, LOCK_EX);
    int r = look(s, e);
    if (r == 0) {
        entries(s->out, "_ferro", fence_other, s);
        r = make_token(s, e);
    }
    close(gate);
    return r;
}

static int open_folder(struct staging *s, struct error *e)
{
    if (make_folders(s->dir, &s->made))
        return error_sys(e, "%s: can't be made", s->dir);
    s->out = open(s->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (s->out < 0 && errno == ENOTDIR)
        return error_set(e, ENOTDIR, "%s: is a file; the output is a folder of part files", s->dir);
    if (s->out < 0)
        return error_sys(e, "%s", s->dir);
    return take_folder(s, e);
}

struct staging *staging_new(const char *dir, uint64_t app, bool overwrite, struct error *e)
{
    char hex[33];
    struct block_id id;
    struct staging *s = calloc(1, sizeof *s);
    assert(dir[0] == '/');
    if (!s || !(s->dir = strdup(dir)))
        abort();
    for (size_t n = strlen(s->dir); n > 1 && s->dir[n - 1] == '/'; n--)
        s->dir[n - 1] = 0;
    s->out = s->lock = -1;
    s->overwrite = overwrite;
    randombytes_buf(s->token, ID_BYTES);
    memcpy(id.b, s->token, ID_BYTES);
    snprintf(s->name, sizeof s->name, "_ferro/%" PRIu64, app);
    snprintf(s->old, sizeof s->old, "_ferro/old-%s", block_hex(id, hex));
    if (open_folder(s, e))
        staging_free(&s);
    return s;
}

const char *staging_dir(const struct staging *s)
{
    return s->dir;
}

const uint8_t *staging_token(const struct staging *s)
{
    return s->token;
}

/* ---- parts -------------------------------------------------------------------- */

static int part_open(const struct staging *s, uint32_t part, uint32_t attempt, int flags)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%" PRIu32 ".%" PRIu32, s->name, part, attempt);
    int fd = openat(s->out, path, flags | O_CLOEXEC | O_NOFOLLOW, 0666);
    return fd < 0 ? -errno : fd;
}

int64_t staging_write(const struct staging *s, uint32_t part, uint32_t attempt, uint64_t offset,
                      struct bytes bytes)
{
    int fd = part_open(s, part, attempt, O_WRONLY | O_CREAT);
    int64_t r = fd < 0 ? fd : 0;
    for (uint32_t at = 0; r >= 0 && at < bytes.n; at += (uint32_t)r) {
        r = pwrite(fd, bytes.p + at, bytes.n - at, (off_t)(offset + at));
        if (r <= 0)
            r = r ? -errno : -EIO;
    }
    if (fd >= 0)
        close(fd);
    return r < 0 ? r : bytes.n;
}

int64_t staging_sync(const struct staging *s, uint32_t part, uint32_t attempt)
{
    int fd = part_open(s, part, attempt, O_RDONLY);
    if (fd < 0)
        return fd;
    int64_t r = fsync(fd) ? -errno : 0;
    close(fd);
    return r;
}

/* ---- the commit ---------------------------------------------------------------- */

/* Is the folder of that name still ours, or has somebody fenced us? */
static bool is_ours(const struct staging *s)
{
    char path[80];
    uint8_t token[ID_BYTES];
    snprintf(path, sizeof path, "%s/token", s->name);
    int fd = openat(s->out, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    bool ours = fd >= 0 && read(fd, token, sizeof token) == ID_BYTES && !memcmp(token, s->token, ID_BYTES);
    if (fd >= 0)
        close(fd);
    return ours;
}

/* Rename the staging folder to a name that only we know, and see that it was ours. */
static int64_t fence(struct staging *s)
{
    char from[64], to[64], hex[33];
    struct block_id id;
    if (s->fenced)
        return 0;
    memcpy(id.b, s->token, ID_BYTES);
    snprintf(to, sizeof to, "_ferro/commit-%s", block_hex(id, hex));
    if (renameat(s->out, s->name, s->out, to))
        return -errno;
    snprintf(from, sizeof from, "%s", s->name);
    snprintf(s->name, sizeof s->name, "%s", to);
    if (!is_ours(s)) { /* we were fenced, and this is the new owner's */
        snprintf(s->name, sizeof s->name, "%s", from);
        renameat(s->out, to, s->out, s->name);
        return -ESTALE;
    }
    s->fenced = true;
    return 0;
}

static int move_away(void *user, const char *name)
{
    struct staging *s = user;
    char to[400];
    snprintf(to, sizeof to, "%s/%s", s->old, name);
    return is_output(name) && renameat(s->out, name, s->out, to) && errno != ENOENT ? -errno : 0;
}

static int is_in_the_way(void *user, const char *name)
{
    (void)user;
    return is_output(name) ? -EEXIST : 0;
}

/* From here on each output file in OUT is ours.  _SUCCESS goes first: no reader takes a mixture for whole. */
static int64_t clear_way(struct staging *s)
{
    int r;
    if (s->moved)
        return 0;
    if (!s->overwrite)
        r = entries(s->out, ".", is_in_the_way, s);
    else if (mkdirat(s->out, s->old, 0777) && errno != EEXIST)
        return -errno;
    else if ((r = move_away(s, "_SUCCESS")) == 0)
        r = entries(s->out, ".", move_away, s);
    if (r)
        return r == -1 && errno ? -errno : r;
    s->moved = true;
    return 0;
}

/* A winner that is gone from here and is there was renamed by an earlier try. */
static int64_t place(const struct staging *s, const struct sched_winner *w)
{
    char from[128], to[32];
    snprintf(from, sizeof from, "%s/%" PRIu32 ".%" PRIu32, s->name, w->part, w->attempt);
    snprintf(to, sizeof to, "part-%05" PRIu32, w->part);
    if (renameat(s->out, from, s->out, to) == 0)
        return 0;
    if (errno != ENOENT)
        return -errno;
    return faccessat(s->out, to, F_OK, AT_SYMLINK_NOFOLLOW) == 0 && is_ours(s) ? 0 : -ENOENT;
}

static int64_t write_success(const struct staging *s)
{
    int fd = openat(s->out, "_SUCCESS", O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (fd < 0)
        return -errno;
    int64_t r = fsync(fd) || fsync(s->out) ? -errno : 0;
    close(fd);
    return r;
}

static void remove_staging(const struct staging *s)
{
    remove_below(s, s->name);
    remove_below(s, s->old);
    unlinkat(s->out, "_ferro", AT_REMOVEDIR); /* stays while another has something there */
}

int64_t staging_commit(struct staging *s, const struct sched_winner *winners, uint32_t n)
{
    int64_t r = s->committed ? 0 : fence(s);
    if (r == 0 && !s->committed)
        r = clear_way(s);
    for (uint32_t i = 0; r == 0 && !s->committed && i < n; i++)
        r = place(s, &winners[i]);
    if (r == 0 && !s->committed && !is_ours(s))
        r = -ESTALE;
    if (r == 0 && !s->committed)
        r = fsync(s->out) ? -errno : write_success(s);
    if (r < 0)
        return r;
    s->committed = true;
    remove_staging(s);
    return 0;
}

/* ---- giving up ----------------------------------------------------------------- */

static int remove_output(void *user, const char *name)
{
    const struct staging *s = user;
    if (is_output(name))
        unlinkat(s->out, name, 0);
    return 0;
}

static int put_back(void *user, const char *name)
{
    const struct staging *s = user;
    char from[400];
    snprintf(from, sizeof from, "%s/%s", s->old, name);
    if (strcmp(name, "_SUCCESS"))
        renameat(s->out, from, s->out, name);
    return 0;
}

/* A commit that was begun and is given up: what it placed goes, what it moved away comes back. */
static void undo(struct staging *s)
{
    char success[80];
    if (s->moved)
        entries(s->out, ".", remove_output, s);
    entries(s->out, s->old, put_back, s);
    snprintf(success, sizeof success, "%s/_SUCCESS", s->old);
    renameat(s->out, success, s->out, "_SUCCESS");
}

void staging_free(struct staging **sp)
{
    struct staging *s = *sp;
    *sp = NULL;
    if (!s)
        return;
    if (s->out >= 0 && !s->committed) {
        bool ours = s->lock >= 0 && is_ours(s);
        if (ours && s->fenced)
            undo(s);
        if (ours)
            remove_staging(s);
        else
            unlinkat(s->out, "_ferro", AT_REMOVEDIR);
        if (s->made)
            rmdir(s->dir); /* only when it is empty */
    }
    if (s->lock >= 0)
        close(s->lock);
    if (s->out >= 0)
        close(s->out);
    free(s->dir);
    free(s);
}
