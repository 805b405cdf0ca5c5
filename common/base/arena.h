/* arena.h - memory that is freed all at once. */
#ifndef FERRO_BASE_ARENA_H
#define FERRO_BASE_ARENA_H

#include "common/base/bytes.h"

#define ARENA_KEEP_MAX (1u << 20) /* an idle arena holds no more */

struct arena_block;
struct arena {
    struct arena_block *blocks; /* owned; newest first */
    size_t used, cap;           /* within the newest */
    size_t total;               /* bytes handed out since the last reset */
};

void *arena_alloc(struct arena *a, size_t n); /* 16-aligned, zeroed; aborts when memory is out, saying so */
void *arena_copy(struct arena *a, const void *p, size_t n);
char *arena_strdup(struct arena *a, const char *s);
struct bytes arena_bytes(struct arena *a, struct bytes b);
void arena_reset(struct arena *a); /* keeps the newest block, if at most ARENA_KEEP_MAX */
void arena_fini(struct arena *a);

#endif
