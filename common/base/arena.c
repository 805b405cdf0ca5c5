/* arena.c - see arena.h.  Blocks double in size up to ARENA_KEEP_MAX, so that an
 * arena that is reset each turn soon needs no malloc. */
#include "common/base/arena.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ARENA_ALIGN 16
#define ARENA_BLOCK_BYTES_MIN 4096

struct arena_block {
    struct arena_block *next;
    _Alignas(ARENA_ALIGN) uint8_t bytes[];
};

static void add_block(struct arena *a, size_t need)
{
    size_t cap = a->cap == 0 ? ARENA_BLOCK_BYTES_MIN : 2 * a->cap;
    if (cap > ARENA_KEEP_MAX)
        cap = ARENA_KEEP_MAX;
    if (cap < need)
        cap = need;
    struct arena_block *b = aligned_alloc(ARENA_ALIGN, sizeof *b + cap);
    if (b == NULL) {
        fprintf(stderr, "out of memory: %zu bytes for an arena\n", cap);
        abort();
    }
    b->next = a->blocks;
    a->blocks = b;
    a->cap = cap;
    a->used = 0;
}

void *arena_alloc(struct arena *a, size_t n)
{
    if (n > SIZE_MAX / 4)
        n = SIZE_MAX / 4; /* no allocator has that: add_block() dies, with words */
    n = (n + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
    if (a->blocks == NULL || n > a->cap - a->used)
        add_block(a, n);
    void *p = a->blocks->bytes + a->used;
    a->used += n;
    a->total += n;
    return memset(p, 0, n);
}

void *arena_copy(struct arena *a, const void *p, size_t n)
{
    void *copy = arena_alloc(a, n);
    return n == 0 ? copy : memcpy(copy, p, n);
}

char *arena_strdup(struct arena *a, const char *s)
{
    return arena_copy(a, s, strlen(s) + 1);
}

struct bytes arena_bytes(struct arena *a, struct bytes b)
{
    return (struct bytes){ arena_copy(a, b.p, b.n), b.n };
}

static void free_blocks(struct arena_block *b)
{
    while (b != NULL) {
        struct arena_block *next = b->next;
        free(b);
        b = next;
    }
}

void arena_reset(struct arena *a)
{
    if (a->blocks == NULL)
        return;
    if (a->cap > ARENA_KEEP_MAX) {
        arena_fini(a);
        return;
    }
    free_blocks(a->blocks->next);
    a->blocks->next = NULL;
    a->used = a->total = 0;
}

void arena_fini(struct arena *a)
{
    free_blocks(a->blocks);
    *a = (struct arena){ 0 };
}
