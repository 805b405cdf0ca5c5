/* table.h - what a source reads, cut by partition, so that a task takes only its own part.
 *
 * Made by the driver, inline in the plan or served as a block.  Little-endian u64 offsets, one a
 * partition and one more for the end, then the sections, each 8-aligned.
 */
#ifndef FERRO_ENGINE_OPS_TABLE_H
#define FERRO_ENGINE_OPS_TABLE_H

#include "engine/ops/op.h"

struct table {
    struct buf offsets, body; /* owned */
    uint32_t parts;
};

/* One more partition's section; at least one before table_done(). */
void table_add(struct table *t, const void *p, size_t n);
/* Append the whole table to `out`, and free `t`. */
void table_done(struct table *t, struct buf *out);

/* The section of the leaf's partition, 8-aligned, into `out`.  0, or -1 after run_fail(). */
int table_section(struct run *r, const struct leaf *leaf, struct buf *out);

#endif
