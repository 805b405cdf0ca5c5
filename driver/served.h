/* served.h - the blocks that this driver serves: bytes in memory, or files that must not change.
 *
 * Items live until served_fini() and never change: other threads may read them.  A file becomes an
 * item when it is first asked for: of thousands that a job names, mostly none is.
 */
#ifndef FERRO_DRIVER_SERVED_H
#define FERRO_DRIVER_SERVED_H

#include "common/base/map.h"
#include "driver/api/names.h"
#include "driver/sched/job.h"

struct served_item {
    struct block_id id;
    uint8_t *bytes; /* owned; NULL: a file */
    char *path;     /* owned; NULL: in memory */
    uint64_t total; /* size */
    uint64_t mtime_ns;
};

/* What one fe_text names. */
struct served_files {
    struct served_files *next; /* owned */
    struct names names;        /* owned */
    struct map rows;           /* first 8 bytes of the id -> number of the row */
};

struct served {
    struct map items;           /* first 8 bytes of the id -> struct served_item, owned */
    struct served_files *files; /* owned */
};

/* A copy of `block`. */
struct served_item *served_item_new(const struct served_block *block);
void served_item_free(struct served_item **item);

/* Takes what `names` holds, and empties it.  In any thread. */
struct served_files *served_files_new(struct names *names);
void served_files_free(struct served_files **files);

/* Takes the item; false (and frees it) when a block of that name is there already. */
bool served_add(struct served *s, struct served_item *item);
void served_add_files(struct served *s, struct served_files *files);
const struct served_item *served_find(struct served *s, struct block_id id);
void served_fini(struct served *s);

/* Up to `length` bytes from `offset`: a count; -ESTALE when the file is not what it was, -EINVAL past
 * the end, or another -errno.  Of bytes in memory `into` may be NULL: they are at item->bytes + offset. */
int64_t served_read(const struct served_item *item, uint64_t offset, void *into, uint64_t length);

#endif
