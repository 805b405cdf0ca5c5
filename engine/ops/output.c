/* output.c - see output.h. */
#include "engine/ops/output.h"
#include "engine/frame.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DIRECT_ALIGN 4096u            /* of memory, places and lengths: more than devices ask for */
#define AHEAD_BYTES (BATCH_BYTES * 2) /* what a sink usually appends at most before it drains */

static bool saves_here(const struct run *r)
{
    return r->stage->save_dir.n && r->env->save == 1;
}

void output_init(struct output *o, struct run *r)
{
    *o = (struct output){ .run = r, .fd = -1 };
    if (!saves_here(r))
        return;
    o->buf.cap = OUTPUT_WRITE_BYTES + AHEAD_BYTES;
    o->buf.p = aligned_alloc(DIRECT_ALIGN, o->buf.cap);
    if (!o->buf.p)
        abort();
}

static char *file_path(const struct run *r, char path[PATH_MAX])
{
    const char *dir = r->env->to_disk ? r->env->disk : r->env->scratch;
    snprintf(path, PATH_MAX, "%s/%u.%u.%u", dir, r->stage->stage, r->part, r->attempt);
    return path;
}

void output_fini(struct output *o)
{
    char path[PATH_MAX];
    if (o->fd >= 0) {
        close(o->fd);
        if (!o->complete && !o->staged)
            unlink(file_path(o->run, path));
    }
    buf_fini(&o->buf);
    o->fd = -1;
}

static int file_make(struct output *o)
{
    char path[PATH_MAX];
    file_path(o->run, path);
    unlink(path);
    o->fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (o->fd < 0)
        return run_fail(o->run, CAUSE_ERROR, "%s: %s", path, strerror(errno));
    if (o->run->env->to_disk)
        o->run->report->flags |= REPORT_ON_DISK;
    return 0;
}

/* The executor's staging file; when it can't give one, the driver writes the part from a block. */
static int staging_open(struct output *o)
{
    struct run *r = o->run;
    struct rec_want want = {
        .kind = WANT_SAVE, .stage = r->stage->stage, .part = r->part, .attempt = r->attempt
    };
    struct rec_got got;
    int fd;
    if (run_fetch(r, &want, 1, &got, &fd))
        return -1;
    o->staged = got.code == 0;
    o->fd = o->staged ? fd : -1;
    return 0;
}

static int file_open(struct output *o)
{
    if (o->fd >= 0)
        return 0;
    if (saves_here(o->run) && staging_open(o))
        return -1;
    return o->staged ? 0 : file_make(o);
}

/* Past the page cache, or no longer: is it so now?  A part is synced anyway, and copying it into fresh pages first
 * takes more time than all its formatting. */
static bool set_direct(struct output *o, bool direct)
{
    int flags = fcntl(o->fd, F_GETFL);
    int wanted = direct ? flags | O_DIRECT : flags & ~O_DIRECT;
    o->direct = flags >= 0 && fcntl(o->fd, F_SETFL, wanted) == 0 && direct;
    return o->direct == direct;
}

/* The buffer's first `n` bytes. */
static int write_some(struct output *o, size_t n)
{
    for (size_t at = 0; at < n;) {
        ssize_t k = write(o->fd, o->buf.p + at, n - at);
        if (k < 0 && errno == EINTR)
            continue;
        if (k < 0 && errno == EINVAL && o->direct && set_direct(o, false))
            continue; /* other alignments than ours are asked for there */
        if (k <= 0)
            return run_fail(o->run, CAUSE_ERROR, "writing its output, %llu bytes so far: %s",
                            (unsigned long long)o->written + at, strerror(errno));
        at += (size_t)k;
    }
    o->written += n;
    o->buf.n -= n;
    if (o->buf.n)
        memmove(o->buf.p, o->buf.p + n, o->buf.n);
    return 0;
}

static int buf_write(struct output *o)
{
    if (file_open(o))
        return -1;
    if (o->direct && write_some(o, o->buf.n & ~(size_t)(DIRECT_ALIGN - 1)))
        return -1;
    if (o->direct) /* an odd tail goes through the cache */
        set_direct(o, false);
    return write_some(o, o->buf.n);
}

int output_drain(struct output *o)
{
    if (o->buf.n < OUTPUT_WRITE_BYTES)
        return 0;
    bool first = o->fd < 0;
    if (file_open(o))
        return -1;
    if (first && o->staged)
        set_direct(o, true);
    return write_some(o, o->buf.n & ~(size_t)(OUTPUT_WRITE_BYTES - 1));
}

int output_result(struct output *o)
{
    struct rec_report *report = o->run->report;
    int failed = 0;
    if (o->fd < 0 && o->buf.n <= RESULT_INLINE_BYTES_MAX)
        report->result = arena_bytes(&o->run->arena, (struct bytes){ o->buf.p, (uint32_t)o->buf.n });
    else {
        failed = buf_write(o);
        o->complete = !failed;
        report->out_bytes = o->written;
        report->flags |= REPORT_RESULT_BLOCK;
    }
    output_fini(o);
    return failed;
}

int output_part(struct output *o)
{
    struct rec_report *report = o->run->report;
    int failed = buf_write(o);
    o->complete = !failed;
    report->out_bytes = o->written;
    report->flags |= o->staged ? REPORT_SAVED_HERE : REPORT_SAVE_BLOCK;
    output_fini(o);
    return failed;
}

int output_one(struct run *r, fe_type type, const void *value)
{
    struct output o;
    struct batch one = { .rows = 1, .value = { .type = type, .data = value } };
    output_init(&o, r);
    frame_put(&o.buf, &one, FRAME_PLAIN);
    r->report->rows = 1;
    return output_result(&o);
}
