/* disk.c - see disk.h. */
#include "driver/disk.h"

#include "driver/workers.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct disk {
    struct workers *workers;
    uint32_t pending;
};

struct disk_work {
    struct work work;
    struct action act; /* io.bytes.p is ours */
    struct head head;
    struct staging *staging;
    const struct served_item *item;
    struct disk_done done;
};

/* ---- in a worker's thread ----------------------------------------------------- */

int64_t disk_block_data(const struct served_item *item, const struct action *act, const struct head *head,
                        struct buf *frame)
{
    uint64_t length = act->io.length && act->io.length < CHUNK_BYTES_MAX ? act->io.length : CHUNK_BYTES_MAX;
    uint8_t *read = item->path ? malloc(length) : NULL;
    int64_t n = item->path && !read ? -ENOMEM : served_read(item, act->io.offset, read, length);
    if (n >= 0) {
        struct msg_block_data m = { .tag = act->io.tag,
                                    .offset = act->io.offset,
                                    .total = item->total,
                                    .bytes = { read ? read : item->bytes + act->io.offset, (uint32_t)n } };
        struct head h = { .tag = MSG_BLOCK_DATA, .epoch = head->epoch, .generation = head->generation };
        proto_encode(frame, &h, &m);
    }
    free(read);
    return n;
}

static void run_serve(struct work *work)
{
    struct disk_work *w = (struct disk_work *)work;
    w->done.result = disk_block_data(w->item, &w->act, &w->head, &w->done.frame);
    w->done.kind = w->done.result >= 0 ? DISK_FRAME : DISK_ANSWER;
}

static int64_t part(struct disk_work *w)
{
    const struct action *a = &w->act;
    switch (a->io.op) {
    case IO_WRITE: return staging_write(w->staging, a->part, a->attempt, a->io.offset, a->io.bytes);
    case IO_SYNC: return staging_sync(w->staging, a->part, a->attempt);
    case IO_COMMIT:
        return staging_commit(w->staging, (const struct sched_winner *)(const void *)a->io.bytes.p,
                              (uint32_t)(a->io.bytes.n / sizeof(struct sched_winner)));
    default: return -ENOSYS;
    }
}

static void run_part(struct work *work)
{
    struct disk_work *w = (struct disk_work *)work;
    w->done.result = part(w);
}

static void run_drop(struct work *work)
{
    struct disk_work *w = (struct disk_work *)work;
    staging_free(&w->staging);
    w->done.kind = DISK_DROPPED;
}

/* ---- in the loop's --------------------------------------------------------------- */

static void put(struct disk *d, struct disk_work what, void (*run)(struct work *))
{
    struct disk_work *w = malloc(sizeof *w);
    if (!w)
        abort();
    *w = what;
    w->work.run = run;
    w->done.id = w->act.id;
    w->done.conn = w->act.conn;
    w->act.io.bytes.p = NULL;
    if (what.act.io.bytes.n) {
        uint8_t *copy = malloc(what.act.io.bytes.n);
        if (!copy)
            abort();
        memcpy(copy, what.act.io.bytes.p, what.act.io.bytes.n);
        w->act.io.bytes.p = copy;
    }
    d->pending++;
    workers_put(d->workers, &w->work);
}

static void work_free(struct work *work)
{
    struct disk_work *w = (struct disk_work *)work;
    free((void *)w->act.io.bytes.p);
    buf_fini(&w->done.frame);
    free(w);
}

struct disk *disk_new(struct error *e)
{
    struct disk *d = calloc(1, sizeof *d);
    if (!d)
        abort();
    if (!(d->workers = workers_new(e)))
        disk_free(&d);
    return d;
}

void disk_free(struct disk **dp)
{
    struct disk *d = *dp;
    *dp = NULL;
    if (!d)
        return;
    workers_free(&d->workers, work_free);
    free(d);
}

int disk_fd(const struct disk *d)
{
    return workers_fd(d->workers);
}

void disk_part(struct disk *d, const struct action *act, struct staging *staging)
{
    put(d, (struct disk_work){ .act = *act, .staging = staging }, run_part);
}

void disk_serve(struct disk *d, const struct action *act, const struct served_item *item,
                const struct head *head)
{
    put(d, (struct disk_work){ .act = *act, .item = item, .head = *head }, run_serve);
}

void disk_drop(struct disk *d, struct staging *staging)
{
    put(d, (struct disk_work){ .staging = staging }, run_drop);
}

bool disk_take(struct disk *d, struct disk_done *out)
{
    struct disk_work *w = (struct disk_work *)workers_take(d->workers);
    if (!w)
        return false;
    d->pending--;
    *out = w->done;
    w->done.frame = (struct buf){ 0 };
    work_free(&w->work);
    return true;
}

uint32_t disk_pending(const struct disk *d)
{
    return d->pending;
}
