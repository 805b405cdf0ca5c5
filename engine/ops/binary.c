/* binary.c - records of a fixed size from files.
 *
 * A record belongs to the piece in which its first byte lies, and is handed up where it is: large pieces are mapped, small ones read
 * one behind the other into one buffer.  A batch has records of one piece, so that a function can ask which file
 * that is.
 */
#include "engine/ops/source.h"

#include <stdlib.h>

#define SMALL_BYTES (1u << 20) /* below: read; from here on: mapped */
#define ALIGN 16               /* of each piece in the buffer */

struct binary {
    struct op op;
    struct run *run;
    struct file_piece *pieces; /* in the run's arena; from the first byte of a record to the last of one */
    uint32_t n, next;
    uint32_t size, rows_max; /* bytes of a record; of a batch: records */
    struct buf read;         /* small pieces, each aligned */
    struct {
        size_t begin, end; /* in `read` */
        const char *path;
    } small[HOST_FDS_MAX];
    uint32_t nsmall, at_small;
    struct mapping map;      /* a large one */
    const uint8_t *at, *end; /* records not yet handed up */
    struct batch batch;
};

/* Cut to whole records.  A piece in which none begins is left out. */
static void pieces_round(struct binary *b)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < b->n; i++) {
        struct file_piece p = b->pieces[i];
        p.begin = (p.begin + b->size - 1) / b->size * b->size;
        p.end = (p.end + b->size - 1) / b->size * b->size;
        if (p.begin < p.end)
            b->pieces[kept++] = p;
    }
    b->n = kept;
}

static bool is_small(const struct file_piece *p)
{
    return p->end - p->begin < SMALL_BYTES;
}

static int piece_read(struct binary *b, uint32_t i, const struct file_piece *p, struct source *s)
{
    size_t n = (size_t)(p->end - p->begin);
    if (source_reach(b->run, p, p->end, s) || source_read(b->run, p, s, b->read.p + b->read.n, p->begin, n))
        return -1;
    b->small[i].begin = b->read.n;
    b->small[i].end = b->read.n + n;
    b->small[i].path = p->path;
    b->read.n += (n + ALIGN - 1) / ALIGN * ALIGN;
    b->run->report->bytes_read += n;
    return 0;
}

/* As many small pieces as one request can bring and one buffer holds. */
static int small_pieces(struct binary *b)
{
    struct source sources[HOST_FDS_MAX];
    const struct file_piece *pieces = b->pieces + b->next;
    uint64_t bytes = 0;
    uint32_t n = 0;
    for (; b->next + n < b->n && n < HOST_FDS_MAX && is_small(&pieces[n]) && bytes < SMALL_BYTES; n++)
        bytes += pieces[n].end - pieces[n].begin + ALIGN;
    buf_reset(&b->read);
    buf_grow(&b->read, bytes);
    if (sources_open(b->run, pieces, n, sources))
        return -1;
    for (uint32_t i = 0; i < n; i++) {
        if (!b->run->failed)
            piece_read(b, i, &pieces[i], &sources[i]);
        source_close(&sources[i]);
    }
    b->next += n;
    b->nsmall = n;
    b->at_small = 0;
    return b->run->failed ? -1 : 0;
}

static int large_piece(struct binary *b)
{
    const struct file_piece *p = &b->pieces[b->next++];
    struct source s;
    if (sources_open(b->run, p, 1, &s))
        return -1;
    if (source_reach(b->run, p, p->end, &s) == 0)
        b->at = source_map(b->run, p, &s, p->begin, p->end, &b->map);
    source_close(&s); /* the mapping stays */
    if (b->run->failed)
        return -1;
    b->end = b->at + (p->end - p->begin);
    b->batch.input = p->path;
    b->run->report->bytes_read += p->end - p->begin;
    return 0;
}

static void small_next(struct binary *b)
{
    b->batch.input = b->small[b->at_small].path;
    b->at = b->read.p + b->small[b->at_small].begin;
    b->end = b->read.p + b->small[b->at_small++].end;
}

static int binary_next(struct op *op, const struct batch **out)
{
    struct binary *b = (struct binary *)op;
    while (b->at == b->end) {
        if (b->at_small < b->nsmall) {
            small_next(b);
            continue;
        }
        mapping_end(&b->map);
        if (b->next == b->n)
            return 0;
        if (is_small(&b->pieces[b->next]) ? small_pieces(b) : large_piece(b))
            return -1;
    }
    size_t left = (size_t)(b->end - b->at) / b->size;
    b->batch.rows = left < b->rows_max ? (uint32_t)left : b->rows_max;
    b->batch.value.data = b->at;
    b->at += (size_t)b->batch.rows * b->size;
    *out = &b->batch;
    return 1;
}

static void binary_free(struct op *op)
{
    struct binary *b = (struct binary *)op;
    mapping_end(&b->map);
    buf_fini(&b->read);
    free(b);
}

struct op *op_binary(struct run *r, const struct leaf *leaf)
{
    struct binary *b = calloc(1, sizeof *b);
    if (!b)
        abort();
    uint32_t size = type_size(leaf->node->value);
    *b = (struct binary){ .op = { binary_next, binary_free }, .run = r, .size = size };
    b->rows_max = size > BATCH_BYTES / BATCH_ROWS ? BATCH_BYTES / size : BATCH_ROWS;
    b->batch.value.type = leaf->node->value;
    if (leaf_pieces(r, leaf, &b->pieces, &b->n)) {
        binary_free(&b->op);
        return NULL;
    }
    pieces_round(b);
    return &b->op;
}
