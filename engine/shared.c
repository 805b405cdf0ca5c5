/* shared.c - see shared.h. */
#include "engine/shared.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct shared_block {
    fe_shared name;
    void *map;
};

void shared_fini(struct shared *s)
{
    for (uint32_t i = 0; i < s->n; i++)
        munmap(s->v[i].map, s->v[i].name.bytes);
    free(s->v);
    *s = (struct shared){ 0 };
}

static bool is_same(const fe_shared *a, const fe_shared *b)
{
    return a->id[0] == b->id[0] && a->id[1] == b->id[1] && a->bytes == b->bytes;
}

/* Mapped already?  Functions ask for it once a record. */
static const void *find(struct shared *s, const fe_shared *name)
{
    if (s->last < s->n && is_same(&s->v[s->last].name, name))
        return s->v[s->last].map;
    for (uint32_t i = 0; i < s->n; i++)
        if (is_same(&s->v[i].name, name)) {
            s->last = i;
            return s->v[i].map;
        }
    return NULL;
}

/* The whole block, mapped; NULL after run_fail(). */
static void *block_map(struct run *r, const fe_shared *name)
{
    struct rec_want want = { .kind = WANT_DRIVER,
                             .bytes = name->bytes,
                             .stage = r->stage->stage,
                             .part = r->part,
                             .attempt = r->attempt };
    struct rec_got got;
    int fd;
    memcpy(want.block, name->id, sizeof want.block);
    if (run_fetch(r, &want, 1, &got, &fd))
        return NULL;
    if (got.code) {
        run_driver_failed(r, &got, "fe_shared_data: a broadcast of %llu bytes can't be had",
                          (unsigned long long)name->bytes);
        return NULL;
    }
    void *map = MAP_FAILED;
    if (got.base || got.length != name->bytes)
        run_fail(r, CAUSE_INPUT, "fe_shared_data: a broadcast of %llu bytes has %llu",
                 (unsigned long long)name->bytes, (unsigned long long)got.length);
    else if ((map = mmap(NULL, name->bytes, PROT_READ, MAP_SHARED, fd, 0)) == MAP_FAILED)
        run_fail(r, CAUSE_ERROR, "fe_shared_data: mmap of %llu bytes: %s", (unsigned long long)name->bytes,
                 strerror(errno));
    close(fd);
    return map == MAP_FAILED ? NULL : map;
}

static const void *add(struct run *r, const fe_shared *name)
{
    struct shared *s = r->shared;
    if (s->n == SHARED_MAX) {
        run_fail(r, CAUSE_ERROR, "fe_shared_data: over %u broadcasts in one stage", SHARED_MAX);
        return NULL;
    }
    void *map = block_map(r, name);
    if (!map)
        return NULL;
    struct shared_block *more = realloc(s->v, (s->n + 1u) * sizeof *more);
    if (!more)
        abort();
    s->v = more;
    s->v[s->n] = (struct shared_block){ *name, map };
    s->last = s->n++;
    return map;
}

const void *fe_shared_data(fe_task *t, fe_shared name)
{
    static const _Alignas(16) uint8_t nothing[16];
    struct emitter *e = t->priv;
    struct run *r = e->run;
    const void *p = NULL;
    if (t->failed)
        return NULL;
    if (name.bytes == 0)
        return nothing;
    if (!r->shared)
        fe_fail(t, "fe_shared_data is for tasks; main has the bytes itself");
    else if (name.bytes > UINT32_MAX)
        fe_fail(t, "fe_shared_data: no fe_broadcast made this");
    else if (!(p = find(r->shared, &name)))
        p = add(r, &name);
    if (!p)
        emitter_failed(e);
    return p;
}
