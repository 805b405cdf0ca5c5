/* files.h - the file table of OP_TEXT: which bytes of which files each split reads.
 *
 * Made by the driver, read by hosts.  Large files are cut into splits of about
 * split_bytes, small ones packed together; a file counts for some bytes more than
 * it has, as opening it costs time.
 */
#ifndef FERRO_ENGINE_OPS_FILES_H
#define FERRO_ENGINE_OPS_FILES_H

#include "engine/ops/table.h"

/* Bytes begin..end-1 of a file that had `bytes` bytes when the job began. */
struct file_piece {
    const char *path;
    uint64_t begin, end, bytes, mtime_ns;
};

struct file_table {
    struct table table;
    struct buf section; /* of the split that is being filled */
    const char *last;   /* path of its last piece */
    uint64_t split_bytes, weight;
};

/* The file from byte `from` on.  Paths are borrowed until file_table_done(). */
void file_table_init(struct file_table *t, uint64_t split_bytes);
void file_table_add(struct file_table *t, const char *path, uint64_t from, uint64_t bytes, uint64_t mtime_ns);
/* Append the table to `out` and free `t`: how many splits there are, at least one. */
uint32_t file_table_done(struct file_table *t, struct buf *out);

/* The pieces of one split's section, in order; paths in the arena.  -1 and `e` when it is broken. */
int file_pieces(struct arena *a, struct bytes section, struct file_piece **out, uint32_t *n, struct error *e);

/* How an input file is named as a driver's block. */
struct block_id file_block(const char *path, uint64_t bytes, uint64_t mtime_ns);

#endif
