/* source.c - see source.h. */
#include "engine/ops/source.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define TAIL_BYTES (64u << 10) /* fetched beyond a piece's end at once: its last line */
#define ALIGN 64 /* of what is fetched, in the file: a record that is aligned there is aligned here */

void source_close(struct source *s)
{
    if (s->fd >= 0)
        close(s->fd);
    s->fd = -1;
}

/* 0, or an errno value: ESTALE for a file that isn't the driver's. */
static int open_here(const struct file_piece *p, struct source *s)
{
    struct stat st;
    int fd = open(p->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return errno;
    if (fstat(fd, &st) || !S_ISREG(st.st_mode) || (uint64_t)st.st_size != p->bytes ||
        (uint64_t)st.st_mtim.tv_sec * 1000000000u + (uint64_t)st.st_mtim.tv_nsec != p->mtime_ns) {
        close(fd);
        return ESTALE;
    }
    *s = (struct source){ .fd = fd, .length = p->bytes };
    return 0;
}

static struct rec_want want_of(const struct run *r, const struct file_piece *p, uint64_t to)
{
    uint64_t from = piece_from(p) / ALIGN * ALIGN;
    struct rec_want w = { .kind = WANT_DRIVER,
                          .bytes = p->bytes,
                          .offset = from,
                          .length = to - from,
                          .stage = r->stage->stage,
                          .part = r->part,
                          .attempt = r->attempt };
    struct block_id id = file_block(p->path, p->bytes, p->mtime_ns);
    memcpy(w.block, id.b, sizeof w.block);
    return w;
}

static uint64_t with_tail(const struct file_piece *p)
{
    return p->bytes - p->end > TAIL_BYTES ? p->end + TAIL_BYTES : p->bytes;
}

/* Take over what came for one want; -1 after run_fail() when it is not what was wanted. */
static int source_got(struct run *r, const struct file_piece *p, const struct rec_want *w,
                      const struct rec_got *got, int fd, int code, struct source *s)
{
    *s = (struct source){
        .fd = got->code ? -1 : fd, .fetched = true, .base = got->base, .length = got->length
    };
    if (got->code)
        return run_driver_failed(r, got, "%s: %s%s", p->path, code == ESTALE ? "" : strerror(code),
                                 code == ESTALE ? "not the file here that the driver sees" : " here");
    if (got->base > w->offset || w->offset + w->length - got->base > got->length)
        return run_fail(r, CAUSE_INPUT, "%s: it has changed since the job began: it had %llu bytes", p->path,
                        (unsigned long long)p->bytes);
    return 0;
}

static int fetch_missing(struct run *r, const struct file_piece *pieces, uint32_t n, const int *codes,
                         struct source *out)
{
    struct rec_want wants[HOST_FDS_MAX];
    struct rec_got got[HOST_FDS_MAX];
    int fds[HOST_FDS_MAX];
    uint32_t nwants = 0, at = 0;
    for (uint32_t i = 0; i < n; i++)
        if (codes[i])
            wants[nwants++] = want_of(r, &pieces[i], with_tail(&pieces[i]));
    if (nwants == 0)
        return 0;
    if (run_fetch(r, wants, nwants, got, fds))
        return -1;
    for (uint32_t i = 0; i < n; i++)
        if (codes[i]) {
            source_got(r, &pieces[i], &wants[at], &got[at], fds[at], codes[i], &out[i]);
            at++;
        }
    return r->failed ? -1 : 0;
}

int sources_open(struct run *r, const struct file_piece *pieces, uint32_t n, struct source *out)
{
    int codes[HOST_FDS_MAX] = { 0 };
    for (uint32_t i = 0; i < n; i++) {
        out[i].fd = -1;
        codes[i] = open_here(&pieces[i], &out[i]);
    }
    if (fetch_missing(r, pieces, n, codes, out) == 0)
        return 0;
    for (uint32_t i = 0; i < n; i++)
        source_close(&out[i]);
    return -1;
}

int source_reach(struct run *r, const struct file_piece *piece, uint64_t to, struct source *s)
{
    if (to <= s->base + s->length)
        return 0;
    if (!s->fetched)
        return run_fail(r, CAUSE_INPUT, "%s: it was cut while it was read", piece->path);
    struct rec_want want = want_of(r, piece, to);
    struct rec_got got;
    int fd;
    source_close(s);
    if (run_fetch(r, &want, 1, &got, &fd))
        return -1;
    return source_got(r, piece, &want, &got, fd, ESTALE, s);
}

int source_read(struct run *r, const struct file_piece *piece, const struct source *s, void *p, uint64_t at,
                size_t n)
{
    for (size_t done = 0; done < n;) {
        ssize_t got = pread(s->fd, (uint8_t *)p + done, n - done, (off_t)(at + done - s->base));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return run_fail(r, CAUSE_INPUT, "%s: %s", piece->path, strerror(errno));
        if (got == 0)
            return run_fail(r, CAUSE_INPUT, "%s: it was cut while it was read", piece->path);
        done += (size_t)got;
    }
    return 0;
}

/* ---- mapped -------------------------------------------------------------------------- */

void mapping_end(struct mapping *m)
{
    if (m->p)
        munmap(m->p, m->bytes);
    m->p = NULL;
}

const uint8_t *source_map(struct run *r, const struct file_piece *piece, const struct source *s,
                          uint64_t from, uint64_t to, struct mapping *m)
{
    uint64_t at = from - s->base, page = (uint64_t)sysconf(_SC_PAGESIZE), offset = at - at % page;
    m->bytes = (size_t)(to - s->base - offset);
    m->p = mmap(NULL, m->bytes, PROT_READ, MAP_PRIVATE, s->fd, (off_t)offset);
    if (m->p == MAP_FAILED) {
        m->p = NULL;
        run_fail(r, CAUSE_INPUT, "%s: mmap of %zu bytes: %s", piece->path, m->bytes, strerror(errno));
        return NULL;
    }
    posix_fadvise(s->fd, (off_t)at, (off_t)(piece->end - piece->begin), POSIX_FADV_SEQUENTIAL);
    return (const uint8_t *)m->p + (at - offset);
}

/* ---- which pieces -------------------------------------------------------------------- */

int leaf_pieces(struct run *r, const struct leaf *leaf, struct file_piece **out, uint32_t *n)
{
    struct buf section = { 0 };
    struct error e;
    int failed = table_section(r, leaf, &section);
    if (!failed && file_pieces(&r->arena, (struct bytes){ section.p, (uint32_t)section.n }, out, n, &e))
        failed = run_fail(r, CAUSE_INPUT, "%s (%s:%u): %s", leaf->node->fn_name, leaf->node->file,
                          leaf->node->line, e.words);
    buf_fini(&section);
    return failed;
}
