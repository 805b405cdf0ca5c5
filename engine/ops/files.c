/* files.c - see files.h.  A piece is four u64, two u16 and the end of its path; what
 * it shares with the beginning of the path before it is left out. */
#include "engine/ops/files.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <xxhash.h>

#define FILE_COST 4096 /* opening one takes about as long as reading so many bytes */

struct piece_head {
    uint64_t begin, end, bytes, mtime_ns;
    uint16_t shared, rest; /* bytes of the path */
};
#define HEAD_BYTES 36

/* ---- the driver's side ------------------------------------------------------------- */

void file_table_init(struct file_table *t, uint64_t split_bytes)
{
    *t = (struct file_table){ .split_bytes = split_bytes ? split_bytes : 1 };
}

static void split_end(struct file_table *t)
{
    table_add(&t->table, t->section.p, t->section.n);
    buf_reset(&t->section);
    t->last = NULL;
    t->weight = 0;
}

static void piece_add(struct file_table *t, const struct file_piece *p)
{
    size_t n = strlen(p->path), shared = 0;
    while (t->last && shared < n && t->last[shared] == p->path[shared])
        shared++;
    struct piece_head head = { p->begin,    p->end,           p->bytes,
                               p->mtime_ns, (uint16_t)shared, (uint16_t)(n - shared) };
    buf_put(&t->section, &head, HEAD_BYTES);
    buf_put(&t->section, p->path + shared, n - shared);
    t->last = p->path;
    t->weight += FILE_COST + p->end - p->begin;
}

void file_table_add(struct file_table *t, const char *path, uint64_t from, uint64_t bytes, uint64_t mtime_ns)
{
    struct file_piece p = { path, from, from, bytes, mtime_ns };
    while (p.begin < bytes) {
        uint64_t left = bytes - p.begin, room = t->split_bytes > t->weight ? t->split_bytes - t->weight : 0;
        if (left > room && t->weight && room < t->split_bytes / 8) { /* no scraps at the end of a split */
            split_end(t);
            continue;
        }
        if (room == 0)
            room = 1;
        p.end = left <= room + t->split_bytes / 8 ? bytes : p.begin + room;
        piece_add(t, &p);
        if (t->weight >= t->split_bytes)
            split_end(t);
        p.begin = p.end;
    }
}

uint32_t file_table_done(struct file_table *t, struct buf *out)
{
    if (t->section.n || t->table.parts == 0)
        split_end(t);
    uint32_t parts = t->table.parts;
    table_done(&t->table, out);
    buf_fini(&t->section);
    return parts;
}

/* ---- the task's side ----------------------------------------------------------------- */

static int piece_in(struct arena *a, struct bytes *in, const struct file_piece *before, struct file_piece *p)
{
    struct piece_head head;
    if (in->n < HEAD_BYTES)
        return -1;
    memcpy(&head, in->p, HEAD_BYTES);
    size_t known = before ? strlen(before->path) : 0;
    if (head.rest > in->n - HEAD_BYTES || head.shared > known || head.shared + head.rest >= PATH_MAX)
        return -1;
    if (head.begin >= head.end || head.end > head.bytes || head.bytes > INT64_MAX)
        return -1;
    char *path = arena_alloc(a, (size_t)head.shared + head.rest + 1);
    if (head.shared)
        memcpy(path, before->path, head.shared);
    memcpy(path + head.shared, in->p + HEAD_BYTES, head.rest);
    *p = (struct file_piece){ path, head.begin, head.end, head.bytes, head.mtime_ns };
    in->p += HEAD_BYTES + head.rest;
    in->n -= HEAD_BYTES + head.rest;
    return 0;
}

int file_pieces(struct arena *a, struct bytes section, struct file_piece **out, uint32_t *n, struct error *e)
{
    struct file_piece *pieces = arena_alloc(a, (section.n / HEAD_BYTES + 1) * sizeof *pieces);
    *n = 0;
    while (section.n >= HEAD_BYTES) { /* what is left is padding to 8 */
        if (piece_in(a, &section, *n ? &pieces[*n - 1] : NULL, &pieces[*n]))
            return error_set(e, EPROTO, "file %u of the list is broken", *n);
        ++*n;
    }
    *out = pieces;
    return 0;
}

struct block_id file_block(const char *path, uint64_t bytes, uint64_t mtime_ns)
{
    return block_name(BLOCK_INPUT, XXH3_64bits(path, strlen(path)), bytes, mtime_ns);
}
