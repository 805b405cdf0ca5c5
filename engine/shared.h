/* shared.h - what fe_broadcast gave, within reach of a stage's tasks: mapped once, and kept until the stage closes. */
#ifndef FERRO_ENGINE_SHARED_H
#define FERRO_ENGINE_SHARED_H

#include "engine/ops/op.h"

#define SHARED_MAX 4096 /* blocks that one stage's tasks may read in a host */

struct shared {
    struct shared_block *v; /* owned */
    uint32_t n, last;       /* last: found last, looked at first */
};

void shared_fini(struct shared *s);

#endif
