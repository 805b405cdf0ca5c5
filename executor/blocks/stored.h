/* stored.h - which blocks lie in an executor's trees, by application and stage. */
#ifndef FERRO_EXECUTOR_BLOCKS_STORED_H
#define FERRO_EXECUTOR_BLOCKS_STORED_H

#include "common/base/map.h"
#include "common/core/step.h"

/* Zero-initialise to use. */
struct stored {
    struct map apps; /* -> struct map of stage -> struct buf of struct block_id, all owned */
};

void stored_add(struct stored *s, uint64_t app, uint32_t stage, struct block_id id);
struct buf stored_take(struct stored *s, uint64_t app, uint32_t stage); /* for the caller to free */
void stored_drop(struct stored *s, uint64_t app);
void stored_fini(struct stored *s);

#endif
