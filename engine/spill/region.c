/* region.c - see region.h.  A task host runs one task at a time in one thread: the kept regions need no lock. */
#include "engine/spill/region.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#define HUGE_BYTES ((size_t)2 << 20)
#define KEPT_MAX 16

struct kept {
    void *p;
    size_t bytes, touched;
};
static struct kept kept[KEPT_MAX];
static size_t nkept, kept_bytes;

static size_t whole(size_t bytes)
{
    size_t unit = bytes < HUGE_BYTES ? 4096 : HUGE_BYTES;
    return (bytes + unit - 1) & ~(unit - 1);
}

static void *map(size_t bytes)
{
    size_t extra = bytes < HUGE_BYTES ? 0 : HUGE_BYTES;
    uint8_t *p =
        mmap(NULL, bytes + extra, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) {
        fprintf(stderr, "out of memory: %zu bytes of address space for an operator\n", bytes);
        abort();
    }
    if (!extra)
        return p;
    size_t before = -(uintptr_t)p & (HUGE_BYTES - 1);
    if (before)
        munmap(p, before);
    if (extra > before)
        munmap(p + before + bytes, extra - before);
    madvise(p + before, bytes, MADV_HUGEPAGE);
    return p + before;
}

void *region_take(size_t bytes)
{
    bytes = whole(bytes);
    for (size_t i = 0; i < nkept; i++)
        if (kept[i].bytes == bytes) {
            void *p = kept[i].p;
            kept_bytes -= kept[i].touched;
            kept[i] = kept[--nkept];
            return p;
        }
    return map(bytes);
}

void region_give(void *p, size_t bytes, size_t touched)
{
    if (!p)
        return;
    bytes = whole(bytes);
    touched = whole(touched);
    if (nkept == KEPT_MAX || touched > REGION_KEPT_BYTES_MAX - kept_bytes) {
        munmap(p, bytes);
        return;
    }
    kept[nkept++] = (struct kept){ p, bytes, touched };
    kept_bytes += touched;
}
