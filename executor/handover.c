/* handover.c - see handover.h. */
#include "executor/handover.h"

#include "common/proto/proto.h"
#include "executor/blocks/sealed.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A frame whose staging files are being made. */
struct letter_out {
    uint64_t host;
    struct buf frame;
    int fds[HOST_FDS_MAX + 1], n;
    int pending; /* of fds; each -1 yet */
};
#define SAVE_INDEX_BITS 8 /* io_save_open()'s ids: the letter's number, then which of its descriptors */

int handover_init(struct handover *h, struct error *e)
{
    size_t n = 0, bytes = 0;
    for (; h->reads && h->reads[n]; n++)
        bytes += strlen(h->reads[n]);
    if (n > HANDOVER_READS_MAX || bytes > HANDOVER_READS_BYTES_MAX)
        return error_set(e, EINVAL, "--read: %zu folders of %zu bytes in all; at most %d of %u bytes", n,
                         bytes, HANDOVER_READS_MAX, HANDOVER_READS_BYTES_MAX);
    h->next_waiting = 1;
    h->none = open("/dev/null", O_RDONLY | O_CLOEXEC);
    return h->none < 0 ? error_sys(e, "/dev/null") : 0;
}

static void letter_free(struct letter_out *l)
{
    for (int i = 0; i < l->n; i++)
        if (l->fds[i] >= 0)
            close(l->fds[i]);
    buf_fini(&l->frame);
    free(l);
}

void handover_fini(struct handover *h)
{
    MAP_EACH(&h->waiting, i)
        letter_free(map_at(&h->waiting, i));
    map_fini(&h->waiting);
    for (int i = 0; i < HANDOVER_SEALED_MAX; i++)
        if (h->sealed[i].number)
            close(h->sealed[i].fd);
    memset(h->sealed, 0, sizeof h->sealed);
    if (h->none >= 0)
        close(h->none);
    h->none = -1;
}

/* ---- descriptors ------------------------------------------------------------------ */

static int copy_of(int fd)
{
    return fcntl(fd, F_DUPFD_CLOEXEC, 0);
}

static int open_own(struct handover *h, const struct block_ref *ref)
{
    struct stat st;
    int fd = files_open_block(h->files, ref->app, ref->block);
    if (fd < 0 || (fstat(fd, &st) == 0 && (uint64_t)st.st_size >= ref->bytes))
        return fd;
    close(fd);
    return -ESTALE;
}

static int open_ref(struct handover *h, const struct block_ref *ref)
{
    int fd;
    if (ref->library)
        fd = io_library_fd(h->io, ref->app, ref->block);
    else if (ref->root)
        fd = files_open_neighbour(ref->root, ref->owner, ref->app, ref->block, ref->bytes);
    else
        fd = open_own(h, ref);
    return fd >= 0 ? fd : copy_of(h->none);
}

/* ---- HOST_ASSIGN -------------------------------------------------------------------- */

static struct bytes assign_frame(struct handover *h, const struct action *act, struct arena *a,
                                 struct buf *out)
{
    char scratch[PATH_MAX], disk[PATH_MAX];
    struct head head;
    struct error e;
    struct rec_str reads[HANDOVER_READS_MAX];
    uint32_t n = 0;
    const struct msg_host_assign *bare = proto_decode(a, act->frame, &head, &e);
    assert(bare);
    struct msg_host_assign m = *bare;
    for (const char *const *path = h->reads; path && *path; path++)
        reads[n++].s = bytes_of(*path);
    m.scratch = bytes_of(files_host_path(h->files, false, act->id, scratch, sizeof scratch));
    m.disk = bytes_of(files_host_path(h->files, true, act->id, disk, sizeof disk));
    m.reads.v = reads;
    m.reads.n = n;
    proto_encode(out, &head, &m);
    return (struct bytes){ out->p, (uint32_t)out->n };
}

/* ---- sending ------------------------------------------------------------------------ */

/* The same bytes are sealed once, for as long as they are among the last that were told. */
static int sealed_of(struct handover *h, const struct action *act)
{
    for (int i = 0; i < HANDOVER_SEALED_MAX && act->sealed_number; i++)
        if (h->sealed[i].number == act->sealed_number)
            return copy_of(h->sealed[i].fd);
    int fd = sealed_memfd("stage", act->sealed.p, act->sealed.n);
    if (fd < 0 || !act->sealed_number)
        return fd;
    struct sealed *s = &h->sealed[h->next_sealed++ % HANDOVER_SEALED_MAX];
    if (s->number)
        close(s->fd);
    *s = (struct sealed){ act->sealed_number, fd };
    return copy_of(fd);
}

/* All descriptors but those of staging files, which are asked for. */
static void fds_open(struct handover *h, const struct action *act, struct letter_out *l)
{
    uint64_t number = h->next_waiting;
    for (uint32_t i = 0; i < act->nblocks; i++) {
        const struct block_ref *ref = &act->blocks[i];
        int fd = -1;
        if (ref->save) {
            io_save_open(h->io, number << SAVE_INDEX_BITS | (uint64_t)l->n, ref->app, act->stage, ref->part,
                         ref->attempt);
            l->pending++;
        } else if ((fd = open_ref(h, ref)) < 0)
            continue;
        l->fds[l->n++] = fd;
    }
    int sealed = act->sealed.n && l->n < HOST_FDS_MAX ? sealed_of(h, act) : -1;
    if (sealed >= 0)
        l->fds[l->n++] = sealed;
}

void handover_send(struct handover *h, const struct action *act)
{
    struct letter_out l = { .host = act->id };
    struct arena a = { 0 };
    struct bytes frame = act->frame;
    assert(act->nblocks <= HOST_FDS_MAX);
    if (frame.p[1] == MSG_HOST_ASSIGN) {
        frame = assign_frame(h, act, &a, &l.frame);
        procs_work(h->procs, act->id);
    }
    fds_open(h, act, &l);
    if (l.pending == 0)
        procs_send(h->procs, act->id, frame, l.fds, l.n);
    else {
        struct letter_out *kept = malloc(sizeof *kept);
        if (!kept)
            abort();
        if (!l.frame.n)
            buf_put(&l.frame, frame.p, frame.n);
        *kept = l;
        map_put(&h->waiting, h->next_waiting++, kept);
        l.frame = (struct buf){ 0 };
    }
    buf_fini(&l.frame);
    arena_fini(&a);
}

void handover_saved(struct handover *h, uint64_t id, int fd)
{
    struct letter_out *l = map_get(&h->waiting, id >> SAVE_INDEX_BITS);
    assert(l);
    l->fds[id & ((1u << SAVE_INDEX_BITS) - 1)] = fd >= 0 ? fd : copy_of(h->none);
    if (--l->pending)
        return;
    map_del(&h->waiting, id >> SAVE_INDEX_BITS);
    procs_send(h->procs, l->host, (struct bytes){ l->frame.p, (uint32_t)l->frame.n }, l->fds, l->n);
    l->n = 0; /* taken over */
    letter_free(l);
}
