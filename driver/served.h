/* served.h - the blocks that this driver serves: bytes in memory, or files that must not change.
 *
 * Items live until served_fini() and never change: other threads may read them.
 */
#ifndef FERRO_DRIVER_SERVED_H
#define FERRO_DRIVER_SERVED_H

#include "common/base/map.h"
#include "driver/sched/job.h"

struct served_item {
    struct block_id id;
    uint8_t *bytes; /* owned; NULL: a file */
    char *path;     /* owned; NULL: in memory */
    uint64_t total; /* size */
    uint64_t mtime_ns;
};

struct served {
    struct map items; /* first 8 bytes of the id -> struct served_item, owned */
};

/* A copy of `block`; of a file its size and time as they are now.  A file that isn't there has size 0
 * and can't be read later: who asks for it is told so. */
struct served_item *served_item_new(const struct served_block *block);
void served_item_free(struct served_item **item);

/* Takes the item; false (and frees it) when a block of that name is there already. */
bool served_add(struct served *s, struct served_item *item);
const struct served_item *served_find(const struct served *s, struct block_id id);
void served_fini(struct served *s);

/* Up to `length` bytes from `offset`: a count; -ESTALE when the file is not what it was, or another -errno. */
int64_t served_read(const struct served_item *item, uint64_t offset, void *into, uint64_t length);

#endif
