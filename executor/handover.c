/* handover.c - see handover.h. */
#include "executor/handover.h"

#include "common/proto/proto.h"
#include "executor/blocks/sealed.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define READS_MAX 64 /* of HOST_ASSIGN */

int handover_init(struct handover *h, struct error *e)
{
    h->none = open("/dev/null", O_RDONLY | O_CLOEXEC);
    return h->none < 0 ? error_sys(e, "/dev/null") : 0;
}

void handover_fini(struct handover *h)
{
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

static int open_ref(struct handover *h, const struct action *act, const struct block_ref *ref)
{
    int fd;
    if (ref->library)
        fd = copy_of(io_library_fd(h->io, ref->app, ref->block));
    else if (ref->save)
        fd = io_save_open(h->io, ref->app, act->stage, ref->part, ref->attempt);
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
    struct rec_str reads[READS_MAX];
    uint32_t n = 0;
    const struct msg_host_assign *bare = proto_decode(a, act->frame, &head, &e);
    assert(bare);
    struct msg_host_assign m = *bare;
    for (const char *const *path = h->reads; path && *path && n < READS_MAX; path++)
        reads[n++].s = bytes_of(*path);
    m.scratch = bytes_of(files_host_path(h->files, false, act->id, scratch, sizeof scratch));
    m.disk = bytes_of(files_host_path(h->files, true, act->id, disk, sizeof disk));
    m.reads.v = reads;
    m.reads.n = n;
    proto_encode(out, &head, &m);
    return (struct bytes){ out->p, (uint32_t)out->n };
}

void handover_send(struct handover *h, const struct action *act)
{
    int fds[HOST_FDS_MAX + 1], n = 0;
    struct arena a = { 0 };
    struct buf filled = { 0 };
    struct bytes frame = act->frame;
    assert(act->nblocks <= HOST_FDS_MAX);
    if (frame.p[1] == MSG_HOST_ASSIGN) {
        frame = assign_frame(h, act, &a, &filled);
        procs_work(h->procs, act->id);
    }
    for (uint32_t i = 0; i < act->nblocks; i++) {
        int fd = open_ref(h, act, &act->blocks[i]);
        if (fd >= 0)
            fds[n++] = fd;
    }
    int sealed = act->sealed.n && n < HOST_FDS_MAX ? sealed_memfd("stage", act->sealed.p, act->sealed.n) : -1;
    if (sealed >= 0)
        fds[n++] = sealed;
    procs_send(h->procs, act->id, frame, fds, n);
    buf_fini(&filled);
    arena_fini(&a);
}
