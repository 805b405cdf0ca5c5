/* source.h - input files within reach of a task: opened here, or brought by the executor from the driver.
 *
 * A file counts as the driver's own when size and time of change are the driver's;
 * any other, and one that can't be opened, is fetched from the driver as a block.
 */
#ifndef FERRO_ENGINE_OPS_SOURCE_H
#define FERRO_ENGINE_OPS_SOURCE_H

#include "engine/ops/files.h"

/* Bytes base..base+length-1 of the file lie at the descriptor's byte 0 and on. */
struct source {
    int fd; /* -1: none */
    bool fetched;
    uint64_t base, length;
};

/* Sources for `n` pieces (at most HOST_FDS_MAX), each from the byte before its begin up to at least its end.
 * 0, or -1 after run_fail(): then none is open. */
int sources_open(struct run *r, const struct file_piece *pieces, uint32_t n, struct source *out);

/* Make an open source reach up to the file's byte `to` (at most piece->bytes).  0, or -1 after run_fail(). */
int source_reach(struct run *r, const struct file_piece *piece, uint64_t to, struct source *s);

/* Read `n` bytes at `at` of the file, within reach.  0, or -1 after run_fail(). */
int source_read(struct run *r, const struct file_piece *piece, const struct source *s, void *p, uint64_t at,
                size_t n);

void source_close(struct source *s);

struct mapping {
    void *p; /* NULL: none */
    size_t bytes;
};

/* Map the file's bytes from..to-1, within reach: where byte `from` is, or NULL after run_fail().  The descriptor may be
 * closed; mapping_end() ends it. */
const uint8_t *source_map(struct run *r, const struct file_piece *piece, const struct source *s,
                          uint64_t from, uint64_t to, struct mapping *m);
void mapping_end(struct mapping *m);

/* The pieces that the leaf's partition reads, in order, in the run's arena.  0, or -1 after run_fail(). */
int leaf_pieces(struct run *r, const struct leaf *leaf, struct file_piece **out, uint32_t *n);

/* Where a piece's reading begins: one byte early, to see whether a line begins with the piece. */
static inline uint64_t piece_from(const struct file_piece *p)
{
    return p->begin ? p->begin - 1 : 0;
}

#endif
