/* kept.c - see kept.h. */
#include "engine/kept.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

void kept_forget(struct kept *k, struct kept_block *b)
{
    munmap((void *)b->p, b->bytes);
    *b = k->v[--k->n];
}

void kept_stage(struct kept *k)
{
    k->stage++;
    for (uint32_t i = k->n; i-- > 0;)
        if (k->v[i].stage + KEPT_STAGES_MAX < k->stage)
            kept_forget(k, &k->v[i]);
}

struct kept_block *kept_find(struct kept *k, struct block_id id)
{
    for (uint32_t i = 0; i < k->n; i++)
        if (!memcmp(k->v[i].id.b, id.b, sizeof id.b)) {
            k->v[i].stage = k->stage;
            return &k->v[i];
        }
    return NULL;
}

static void make_room(struct kept *k)
{
    uint32_t oldest = 0;
    for (uint32_t i = 1; i < k->n; i++)
        if (k->v[i].stage < k->v[oldest].stage)
            oldest = i;
    if (k->n == KEPT_BLOCKS_MAX)
        kept_forget(k, &k->v[oldest]);
}

struct kept_block *kept_map(struct kept *k, struct block_id id, int fd, uint64_t bytes, struct error *e)
{
    struct stat st;
    struct kept_block b = { .id = id, .bytes = bytes, .stage = k->stage };
    if (fstat(fd, &st))
        return error_sys(e, "fstat"), NULL;
    if ((uint64_t)st.st_size != bytes || bytes == 0)
        return error_set(e, EBADMSG, "its file has %llu bytes, not %llu", (unsigned long long)st.st_size,
                         (unsigned long long)bytes),
               NULL;
    b.p = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, 0);
    if (b.p == MAP_FAILED)
        return error_sys(e, "mmap of %llu bytes", (unsigned long long)bytes), NULL;
    make_room(k);
    if (!k->v && !(k->v = calloc(KEPT_BLOCKS_MAX, sizeof *k->v)))
        abort();
    k->v[k->n] = b;
    return &k->v[k->n++];
}

void ferro_kept_drop(struct kept *k)
{
    while (k->n)
        kept_forget(k, &k->v[k->n - 1]);
    free(k->v);
    k->v = NULL;
}
