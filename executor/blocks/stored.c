/* stored.c - see stored.h. */
#include "executor/blocks/stored.h"

#include <stdlib.h>

static void *map_make(struct map *m, uint64_t key, size_t size)
{
    void *p = map_get(m, key);
    if (!p) {
        if (!(p = calloc(1, size)))
            abort();
        map_put(m, key, p);
    }
    return p;
}

void stored_add(struct stored *s, uint64_t app, uint32_t stage, struct block_id id)
{
    struct map *stages = map_make(&s->apps, app, sizeof *stages);
    struct buf *ids = map_make(stages, stage, sizeof *ids);
    buf_put(ids, &id, sizeof id);
}

struct buf stored_take(struct stored *s, uint64_t app, uint32_t stage)
{
    struct buf ids = { 0 };
    struct map *stages = map_get(&s->apps, app);
    struct buf *kept = stages ? map_get(stages, stage) : NULL;
    if (kept) {
        ids = *kept;
        map_del(stages, stage);
        free(kept);
    }
    return ids;
}

static void stages_free(struct map *stages)
{
    if (!stages)
        return;
    MAP_EACH(stages, i) {
        buf_fini(map_at(stages, i));
        free(map_at(stages, i));
    }
    map_fini(stages);
    free(stages);
}

void stored_drop(struct stored *s, uint64_t app)
{
    struct map *stages = map_get(&s->apps, app);
    map_del(&s->apps, app);
    stages_free(stages);
}

void stored_fini(struct stored *s)
{
    MAP_EACH(&s->apps, i)
        stages_free(map_at(&s->apps, i));
    map_fini(&s->apps);
}
