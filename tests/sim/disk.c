/* disk.c - blocks, output folders, and the file work of cores: slow, failing, in any order. */
#include "tests/sim/sim.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- blocks ----------------------------------------------------------------------- */

uint64_t disk_key(uint64_t app, struct block_id id)
{
    uint64_t v[2];
    memcpy(v, id.b, sizeof v);
    return sim_mix(app, v[0], v[1]);
}

struct blob *disk_blob(struct proc *x, uint64_t app, struct block_id id)
{
    return map_get(&x->x.blobs, disk_key(app, id));
}

static struct blob *blob_new(struct proc *x, uint64_t app, struct block_id id, uint32_t stage)
{
    struct blob *b = disk_blob(x, app, id);
    if (b)
        return b;
    if (!(b = calloc(1, sizeof *b)))
        abort();
    b->app = app;
    b->id = id;
    b->stage = stage;
    map_put(&x->x.blobs, disk_key(app, id), b);
    return b;
}

static void blob_free(struct proc *x, struct blob *b)
{
    map_del(&x->x.blobs, disk_key(b->app, b->id));
    buf_fini(&b->content);
    free(b);
}

/* Our own, or a neighbour's on the same machine, whose incarnation and size must be the right ones. */
struct blob *disk_open(struct proc *x, const struct block_ref *ref)
{
    struct sim *s = x->sim;
    struct proc *owner = ref->root ? NULL : x;
    for (uint32_t i = 0; i < s->nprocs && !owner; i++) {
        struct proc *p = &s->procs[i];
        if (p->kind == PROC_EXECUTOR && p->alive && !strcmp(p->x.root, ref->root) &&
            !memcmp(p->x.incarnation, ref->owner, ID_BYTES))
            owner = p;
    }
    struct blob *b = owner ? disk_blob(owner, ref->app, ref->block) : NULL;
    return b && ref->root && ref->bytes != b->content.n ? NULL : b;
}

bool disk_lose_block(struct sim *s)
{
    uint32_t n = 0;
    struct blob *lost = NULL;
    struct proc *of = NULL;
    for (uint32_t i = 0; i < s->nprocs; i++) {
        struct proc *p = &s->procs[i];
        if (p->kind != PROC_EXECUTOR || !p->alive)
            continue;
        MAP_EACH(&p->x.blobs, k)
            if (((const struct blob *)map_at(&p->x.blobs, k))->adopted && sim_below(s, ++n) == 0) {
                lost = map_at(&p->x.blobs, k);
                of = p;
            }
    }
    if (!lost)
        return false;
    sim_trace(s, "FAULT %s loses a block of stage %u", of->name, lost->stage);
    blob_free(of, lost);
    return true;
}

/* All that an incarnation had. */
void disk_clear(struct proc *x)
{
    MAP_EACH(&x->x.blobs, i)
        blob_free(x, map_at(&x->x.blobs, i));
    MAP_EACH(&x->x.keys, i)
        free(map_at(&x->x.keys, i));
    struct map *maps[] = { &x->x.blobs, &x->x.libs,     &x->x.dirs,       &x->x.keys, &x->x.leases,
                           &x->x.hosts, &x->x.io_until, &x->x.io_removed, &x->x.made, &x->x.attached };
    for (size_t i = 0; i < sizeof maps / sizeof *maps; i++)
        map_clear(maps[i]);
}

/* ---- output folders ------------------------------------------------------------------- */

void disk_release(struct inode **f)
{
    struct inode *i = *f;
    *f = NULL;
    if (!i || --i->refs)
        return;
    buf_fini(&i->content);
    free(i);
}

struct outdir *disk_outdir_new(struct sim *s)
{
    struct outdir *d = calloc(1, sizeof *d);
    if (!d)
        abort();
    uint64_t n = s->outdirs.n, token[2] = { sim_mix(s->seed, n, 1), sim_mix(s->seed, n, 2) };
    snprintf(d->path, sizeof d->path, "/out/%llu", (unsigned long long)n);
    memcpy(d->token, token, ID_BYTES);
    map_put(&s->outdirs, n, d);
    return d;
}

static uint64_t part_key(uint32_t part, uint32_t attempt)
{
    return (uint64_t)part << 32 | attempt;
}

static struct inode *staging_new(struct outdir *d, uint32_t part, uint32_t attempt)
{
    struct inode *f = calloc(1, sizeof *f);
    if (!f)
        abort();
    f->refs = 1;
    map_put(&d->staging, part_key(part, attempt), f);
    return f;
}

static void staging_clear(struct outdir *d)
{
    MAP_EACH(&d->staging, i) {
        struct inode *f = map_at(&d->staging, i);
        disk_release(&f);
    }
    map_clear(&d->staging);
}

/* Made by the daemon, exclusively, for a host: NULL when it exists or the folder isn't seen here. */
struct inode *disk_save_open(struct proc *x, uint64_t app, uint32_t part, uint32_t attempt)
{
    struct outdir *d = map_get(&x->x.dirs, app);
    if (!d || d->success || map_has(&d->staging, part_key(part, attempt)))
        return NULL;
    struct inode *f = staging_new(d, part, attempt);
    f->refs++;
    f->node = x->node;
    return f;
}

/* Words of unsynced bytes that never got to the disk read as zeros, and its end may be missing. */
static void tear(struct sim *s, struct inode *f)
{
    for (size_t at = 0; at + 8 <= f->content.n; at += 8)
        if (sim_below(s, 2))
            memset(f->content.p + at, 0, 8);
    f->content.n = sim_below(s, f->content.n + 1);
}

void disk_power_lost(struct proc *x)
{
    MAP_EACH(&x->sim->outdirs, i) {
        struct outdir *d = map_at(&x->sim->outdirs, i);
        struct map *maps[2] = { &d->staging, &d->parts };
        for (int k = 0; k < 2; k++)
            MAP_EACH(maps[k], j) {
                struct inode *f = map_at(maps[k], j);
                if (f->dirty && f->node == x->node)
                    tear(x->sim, f);
            }
    }
}

void disk_write(struct sim *s, struct inode *f, const void *p, size_t n)
{
    if (f->final)
        sim_fail(s, "final-file", "a part of an output folder was written to after its _SUCCESS");
    f->dirty = true;
    buf_put(&f->content, p, n);
}

static int64_t commit(struct sim *s, struct outdir *d, const struct action *a)
{
    const struct sched_winner *w = (const struct sched_winner *)a->io.bytes.p;
    uint32_t n = a->io.bytes.n / (uint32_t)sizeof *w;
    for (uint32_t i = 0; i < n; i++)
        if (!map_has(&d->staging, part_key(w[i].part, w[i].attempt)))
            return -ENOENT;
    for (uint32_t i = 0; i < n; i++) {
        struct inode *f = map_get(&d->staging, part_key(w[i].part, w[i].attempt));
        map_del(&d->staging, part_key(w[i].part, w[i].attempt));
        if (map_has(&d->parts, w[i].part))
            sim_fail(s, "commit-once", "part %u was committed twice", w[i].part);
        if (f->dirty)
            sim_fail(s, "commit-synced", "part %u attempt %u was committed before it was synced", w[i].part,
                     w[i].attempt);
        f->final = true;
        map_put(&d->parts, w[i].part, f);
    }
    d->success = true;
    staging_clear(d);
    return 0;
}

/* ---- an executor's file work ------------------------------------------------------------- */

static int64_t adopt(struct proc *x, const struct action *a)
{
    struct thost *h = map_get(&x->x.made, a->io.host); /* what it made stays until it is taken over */
    uint64_t key = task_key(a->stage, a->part, a->attempt);
    struct buf *file = h ? map_get(&h->scratch, key) : NULL;
    if (!file)
        return -ENOENT;
    struct blob *b = blob_new(x, a->app, a->io.block, a->stage);
    buf_fini(&b->content);
    b->adopted = true;
    b->content = *file;
    free(file);
    map_del(&h->scratch, key);
    return (int64_t)b->content.n;
}

static int64_t write_at(struct buf *to, const struct action *a)
{
    size_t end = a->io.offset + a->io.bytes.n;
    if (to->n < end) {
        buf_grow(to, end - to->n);
        memset(to->p + to->n, 0, end - to->n);
        to->n = end;
    }
    if (a->io.bytes.n)
        memcpy(to->p + a->io.offset, a->io.bytes.p, a->io.bytes.n);
    return a->io.bytes.n;
}

static void send_data(struct proc *p, const struct action *a, const struct buf *from)
{
    struct buf frame = { 0 };
    struct head head = { .tag = MSG_BLOCK_DATA, .epoch = p->epoch, .generation = p->generation };
    struct msg_block_data m = { .tag = a->io.tag,
                                .offset = a->io.offset,
                                .total = from->n,
                                .bytes = { from->p + a->io.offset, (uint32_t)a->io.length } };
    if (p->kind == PROC_EXECUTOR)
        executor_stamp(p->core, &head.epoch, &head.generation);
    proto_encode(&frame, &head, &m);
    wire_send(p, a->conn, (struct bytes){ frame.p, (uint32_t)frame.n });
    buf_fini(&frame);
}

static int64_t serve(struct proc *p, const struct action *a, const struct buf *from)
{
    if (!from || a->io.offset > from->n || a->io.length > from->n - a->io.offset)
        return from ? -EIO : -ENOENT;
    send_data(p, a, from);
    return (int64_t)a->io.length;
}

static int64_t library(struct proc *x, const struct action *a)
{
    struct blob *b = disk_blob(x, a->app, a->io.block);
    struct block_id id = b ? block_of_content(b->content.p, b->content.n) : (struct block_id){ { 0 } };
    if (!b || memcmp(id.b, a->io.block.b, ID_BYTES))
        return -EBADMSG;
    map_put_u64(&x->x.libs, disk_key(a->app, a->io.block), 1);
    return 0;
}

static int64_t token(struct proc *x, const struct action *a)
{
    struct sim *s = x->sim;
    char path[128];
    MAP_EACH(&s->outdirs, i) {
        struct outdir *d = map_at(&s->outdirs, i);
        snprintf(path, sizeof path, "%s/_ferro/%llu/token", d->path, (unsigned long long)a->app);
        if (strcmp(path, a->io.path) || d->success)
            continue;
        if (a->io.bytes.n != ID_BYTES || memcmp(a->io.bytes.p, d->token, ID_BYTES))
            return -ESTALE;
        if (!x->x.sees_output)
            return -ENOENT;
        map_put(&x->x.dirs, a->app, d);
        return 0;
    }
    return -ENOENT;
}

static int64_t sync_part(struct outdir *d, const struct action *a)
{
    struct inode *f = d ? map_get(&d->staging, part_key(a->part, a->attempt)) : NULL;
    if (!f)
        return -ENOENT;
    f->dirty = false;
    return 0;
}

static bool frees(const struct action *a, const struct blob *b)
{
    bool is = b->app == a->app && (a->stage == UINT32_MAX || b->stage == a->stage);
    for (uint32_t at = 0, stage; !is && b->app == a->app && at < a->io.bytes.n; at += sizeof stage) {
        memcpy(&stage, a->io.bytes.p + at, sizeof stage);
        is = b->stage == stage;
    }
    return is;
}

static int64_t free_blocks(struct proc *x, const struct action *a)
{
    MAP_EACH(&x->x.blobs, i) {
        struct blob *b = map_at(&x->x.blobs, i);
        if (frees(a, b))
            blob_free(x, b);
    }
    if (a->stage == UINT32_MAX)
        map_del(&x->x.dirs, a->app);
    return 0;
}

static int64_t executor_io(struct proc *x, const struct action *a)
{
    struct blob *b;
    switch (a->io.op) {
    case IO_ADOPT: return adopt(x, a);
    case IO_WRITE: return write_at(&blob_new(x, a->app, a->io.block, a->stage)->content, a);
    case IO_LOOK: return disk_open(x, a->blocks) ? 0 : -ENOENT;
    case IO_LIBRARY: return library(x, a);
    case IO_SERVE: b = disk_blob(x, a->app, a->io.block); return serve(x, a, b ? &b->content : NULL);
    case IO_FREE: return free_blocks(x, a);
    case IO_TOKEN: return token(x, a);
    case IO_SYNC: return sync_part(map_get(&x->x.dirs, a->app), a);
    default: break;
    }
    return -ENOSYS;
}

/* ---- a driver's ------------------------------------------------------------------------------ */

static const struct buf *served(struct app_sim *a, struct block_id id)
{
    if (!memcmp(a->lib.id, id.b, ID_BYTES))
        return &a->library;
    for (uint32_t j = 0; j < a->njobs; j++)
        for (uint32_t k = 0; k < STAGES_SIM_MAX * 2; k++)
            if (a->jobs[j].served_bytes[k / 2][k % 2].n &&
                !memcmp(a->jobs[j].served[k / 2][k % 2].id.b, id.b, ID_BYTES))
                return &a->jobs[j].served_bytes[k / 2][k % 2];
    return NULL;
}

static int64_t driver_write(struct proc *p, struct outdir *d, const struct action *a)
{
    struct buf *b;
    if (d) {
        struct inode *f = map_get(&d->staging, part_key(a->part, a->attempt));
        if (!f)
            f = staging_new(d, a->part, a->attempt);
        if (a->io.bytes.n && f->content.n >= a->io.offset + a->io.bytes.n &&
            !memcmp(f->content.p + a->io.offset, a->io.bytes.p, a->io.bytes.n))
            return a->io.bytes.n; /* a late write of a pull that was made again: it changes nothing */
        if (f->final)
            sim_fail(p->sim, "final-file", "the driver writes to a committed part");
        f->dirty = true;
        return write_at(&f->content, a);
    }
    if (!(b = map_get(&p->d.memory, task_key(a->stage, a->part, a->attempt)))) {
        if (!(b = calloc(1, sizeof *b)))
            abort();
        map_put(&p->d.memory, task_key(a->stage, a->part, a->attempt), b);
    }
    return write_at(b, a);
}

static int64_t driver_io(struct proc *p, struct outdir *d, const struct action *a)
{
    struct app_sim *app = &p->sim->apps[p->d.index];
    switch (a->io.op) {
    case IO_SERVE: return serve(p, a, served(app, a->io.block));
    case IO_WRITE: return driver_write(p, d, a);
    case IO_SYNC: return sync_part(d, a);
    case IO_COMMIT: return d ? commit(p->sim, d, a) : -EINVAL;
    case IO_FREE:
        if (a->io.path && d)
            staging_clear(d);
        return 0;
    default: return -ENOSYS;
    }
}

/* ---- all of it: later, and in any order ---------------------------------------------------------- */

/* An action with what it points to. */
struct kept_action {
    struct action a;
    struct block_ref ref;
    char path[512], root[512];
    uint8_t bytes[];
};

static struct kept_action *keep(const struct action *a)
{
    struct kept_action *k = calloc(1, sizeof *k + a->io.bytes.n);
    if (!k)
        abort();
    k->a = *a;
    if (a->io.bytes.n)
        memcpy(k->bytes, a->io.bytes.p, a->io.bytes.n);
    k->a.io.bytes.p = k->bytes;
    if (a->io.path) {
        snprintf(k->path, sizeof k->path, "%s", a->io.path);
        k->a.io.path = k->path;
    }
    if (a->nblocks) {
        k->ref = a->blocks[0];
        if (k->ref.root) {
            snprintf(k->root, sizeof k->root, "%s", k->ref.root);
            k->ref.root = k->root;
        }
        k->a.blocks = &k->ref;
    }
    return k;
}

/* Failing counts against somebody: who may say so afterwards. */
static void blame(struct proc *p, const struct action *a)
{
    struct app_sim *app = work_app(p->sim, a->app);
    if (p->kind == PROC_DRIVER)
        driver_excuse(p->sim, p->d.index, "the driver's disk failed");
    else if (a->io.op == IO_ADOPT || a->io.op == IO_SYNC)
        work_failed(p->sim, a->app, a->stage, a->part);
    else if ((a->io.op == IO_LIBRARY || (a->io.op == IO_WRITE && a->stage == UINT32_MAX)) && app)
        app->host_failures++;
}

static void on_served(struct sim *s, struct todo *t)
{
    (void)s;
    proc_event(t->p, &(struct event){ .kind = EV_IO_DONE, .id = t->a, .io = { (int64_t)t->b } });
}

static void on_io(struct sim *s, struct todo *t)
{
    struct kept_action *k = t->own;
    struct proc *p = t->p;
    int64_t result;
    if (k->a.io.op != IO_FREE && fault_hits(s, FAULT_IO_FAIL)) {
        result = sim_chance(s, 500000) ? -ENOSPC : -EIO;
        blame(p, &k->a);
    } else
        result = p->kind == PROC_DRIVER ? driver_io(p, t->x, &k->a) : executor_io(p, &k->a);
    sim_trace(s, "%s: io %llu is done: %lld", p->name, (unsigned long long)k->a.id, (long long)result);
    if (k->a.io.op == IO_SERVE && result >= 0) { /* it is done when the network has taken the chunk */
        struct todo *served = sim_after(s, sim_between(s, 10 * US, 3 * MSEC), on_served, p);
        served->a = k->a.id;
        served->b = (uint64_t)result;
        return;
    }
    proc_event(p, &(struct event){ .kind = EV_IO_DONE, .id = k->a.id, .io = { result } });
}

/* As executor/blocks/io.c has it: the removal of an application waits for its other file work, and what comes after for
 * that. */
static uint64_t in_order(struct proc *p, const struct action *a, uint64_t wait)
{
    uint64_t now = p->sim->now, last = 0, removed = 0;
    bool removes = a->io.op == IO_FREE && a->stage == UINT32_MAX;
    map_get_u64(&p->x.io_until, a->app, &last);
    map_get_u64(&p->x.io_removed, a->app, &removed);
    uint64_t after = removes ? last : removed;
    if (after > now + wait)
        wait = after - now + US;
    if (removes)
        map_put_u64(&p->x.io_removed, a->app, now + wait);
    if (now + wait > last)
        map_put_u64(&p->x.io_until, a->app, now + wait);
    return wait;
}

void disk_io(struct proc *p, const struct action *a)
{
    struct sim *s = p->sim;
    uint64_t wait = fault_hits(s, FAULT_IO_SLOW) ? sim_between(s, 100 * MSEC, 8 * SEC)
                                                 : sim_between(s, 20 * US, 3 * MSEC);
    if (p->kind == PROC_EXECUTOR)
        wait = in_order(p, a, wait);
    struct todo *t = sim_after(s, wait, on_io, p);
    t->own = keep(a);
    if (p->kind == PROC_DRIVER && p->d.job < s->apps[p->d.index].njobs)
        t->x = s->apps[p->d.index].jobs[p->d.job].out;
}

void disk_fini(struct sim *s)
{
    MAP_EACH(&s->outdirs, i) {
        struct outdir *d = map_at(&s->outdirs, i);
        staging_clear(d);
        MAP_EACH(&d->parts, k) {
            struct inode *f = map_at(&d->parts, k);
            disk_release(&f);
        }
        map_fini(&d->staging);
        map_fini(&d->parts);
        free(d);
    }
    map_fini(&s->outdirs);
}
