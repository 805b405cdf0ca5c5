/* scratch.c - see scratch.h.
 *
 * A lock file in each folder, held with flock, tells the living from the dead: a lock goes with its
 * process, however that ends.  It gets its name only once it is held.
 */
#include "cli/scratch.h"
#include "common/base/tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PREFIX "ferro-run-"
#define UNLOCKED_S 60 /* a folder without a lock is being made, or, empty after so long, was left */

/* Is this folder ours, and its owner dead? */
static void sweep_one(const char *path)
{
    char lock[SCRATCH_PATH_MAX + 8], made[SCRATCH_PATH_MAX + 8];
    struct stat st;
    if (lstat(path, &st) || !S_ISDIR(st.st_mode) || st.st_uid != geteuid())
        return;
    snprintf(lock, sizeof lock, "%s/lock", path);
    int fd = open(lock, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0)
        tree_remove(path);
    else if (fd < 0 && errno == ENOENT && time(NULL) - st.st_mtime > UNLOCKED_S) {
        snprintf(made, sizeof made, "%s/locked", path);
        unlink(made);
        rmdir(path);
    }
    if (fd >= 0)
        close(fd);
}

static void sweep(const char *root)
{
    char path[SCRATCH_PATH_MAX];
    DIR *d = opendir(root);
    for (const struct dirent *ent; d && (ent = readdir(d)) != NULL;)
        if (!strncmp(ent->d_name, PREFIX, strlen(PREFIX)) &&
            (size_t)snprintf(path, sizeof path, "%s/%s", root, ent->d_name) < sizeof path)
            sweep_one(path);
    if (d)
        closedir(d);
}

static int lock_take(struct scratch *s)
{
    char made[SCRATCH_PATH_MAX + 8], lock[SCRATCH_PATH_MAX + 8];
    snprintf(made, sizeof made, "%s/locked", s->path);
    snprintf(lock, sizeof lock, "%s/lock", s->path);
    s->lock = open(made, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    return s->lock < 0 || flock(s->lock, LOCK_EX | LOCK_NB) || rename(made, lock) ? -1 : 0;
}

int scratch_make(struct scratch *s, const char *root, struct error *e)
{
    *s = (struct scratch){ .lock = -1 };
    sweep(root);
    if ((size_t)snprintf(s->path, sizeof s->path, "%s/" PREFIX "XXXXXX", root) >= sizeof s->path ||
        !mkdtemp(s->path)) {
        *s->path = 0;
        return error_sys(e, "%s: a folder for this run can't be made", root);
    }
    if (lock_take(s) == 0)
        return 0;
    error_sys(e, "%s: can't be locked", s->path);
    scratch_remove(s);
    return -1;
}

void scratch_remove(struct scratch *s)
{
    if (*s->path)
        tree_remove(s->path);
    if (s->lock >= 0)
        close(s->lock);
    *s = (struct scratch){ .lock = -1 };
}
