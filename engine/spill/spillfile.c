/* spillfile.c - see spillfile.h. */
#include "engine/spill/spillfile.h"

#include "engine/spill/budget.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static int fail(struct spillfile *f, const char *what)
{
    int code = errno;
    if (code == ENOSPC || code == EDQUOT)
        return run_fail(f->run, CAUSE_ERROR, "no space left in the folder %s (%s)", f->folder, what);
    return run_fail(f->run, CAUSE_ERROR, "%s in the folder %s: %s", what, f->folder, strerror(code));
}

static void begin(struct spillfile *f, struct run *r, const char *folder)
{
    *f = (struct spillfile){ .run = r, .folder = folder, .fd = -1, .held = 2 * SPILL_WRITE_BYTES };
    budget_force(r, f->held);
}

/* Where the file system has no O_TMPFILE: a name, for a moment. */
static int open_named(const char *folder)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/spill.XXXXXX", folder);
    int fd = mkostemp(path, O_CLOEXEC);
    if (fd >= 0)
        unlink(path);
    return fd;
}

int spillfile_open(struct spillfile *f, struct run *r)
{
    begin(f, r, r->env->disk);
    f->fd = open(f->folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (f->fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL))
        f->fd = open_named(f->folder);
    return f->fd < 0 ? fail(f, "making a temporary file") : 0;
}

static void output_path(const struct spillfile *f, char path[PATH_MAX])
{
    snprintf(path, PATH_MAX, "%s/%u.%u.%u", f->folder, f->run->stage->stage, f->run->part, f->run->attempt);
}

int spillfile_create(struct spillfile *f, struct run *r)
{
    char path[PATH_MAX];
    begin(f, r, r->env->to_disk ? r->env->disk : r->env->scratch);
    output_path(f, path);
    f->fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    f->output = f->fd >= 0;
    return f->fd < 0 ? fail(f, "making a map's output") : 0;
}

int spillfile_flush(struct spillfile *f)
{
    size_t done = 0;
    while (done < f->pending.n) {
        ssize_t n = pwrite(f->fd, f->pending.p + done, f->pending.n - done, (off_t)f->at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return fail(f, "writing");
        done += (size_t)n;
        f->at += (uint64_t)n;
    }
    buf_reset(&f->pending);
    return 0;
}

int spillfile_finish(struct spillfile *f)
{
    struct rec_report *report = f->run->report;
    if (spillfile_flush(f))
        return -1;
    f->output = false;
    report->out_bytes = f->at;
    if (f->run->env->to_disk)
        report->flags |= REPORT_ON_DISK;
    return 0;
}

void spillfile_close(struct spillfile *f)
{
    char path[PATH_MAX];
    if (!f->run)
        return;
    if (f->output) {
        output_path(f, path);
        unlink(path);
    }
    if (f->fd >= 0)
        close(f->fd);
    buf_fini(&f->pending);
    budget_release(f->run, f->held);
    *f = (struct spillfile){ .fd = -1 };
}
