/* broadcast.c - bytes that the driver serves: what doesn't fit into a plan, and what main gives to every task. */
#include "driver/api/set.h"
#include "common/proto/proto.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

int app_serve(fe_app *app, const void *p, size_t n, struct block_id *id, struct error *e)
{
    const struct runtime *rt = app->runtime;
    struct bytes bytes = { p, (uint32_t)n };
    if (n > UINT32_MAX)
        return error_set(e, EFBIG, "%zu MiB of data; at most 4,095", n >> 20);
    if (app->served == SERVED_MAX)
        return error_set(e, E2BIG, "over %u broadcasts, and datasets of more than %u KiB", SERVED_MAX,
                         PLAN_INLINE_BYTES_MAX >> 10);
    *id = block_name(BLOCK_GIVEN, app->served++, 0, 0); /* hashing it took longer than sending it */
    rt->serve(rt->user, &(struct served_block){ .id = *id, .bytes = bytes });
    return 0;
}

/* Said by the next action; the first one stays. */
static fe_shared broadcast_fail(fe_app *app, fe_place place, const char *why)
{
    char words[2 * ERROR_WORDS_MAX];
    const char *file = place.file ? place.file : "";
    size_t n = strlen(file), skip = n > ERROR_WORDS_MAX ? n - ERROR_WORDS_MAX : 0;
    snprintf(words, sizeof words, "%s:%d: fe_broadcast: %s", file + skip, place.line, why);
    if (!app->error)
        app->error = arena_strdup(&app->arena, words);
    return (fe_shared){ { 0, 0 }, UINT64_MAX }; /* fe_shared_data() refuses it */
}

fe_shared fe_broadcast_at(fe_app *app, const void *bytes, size_t n, fe_place place)
{
    struct block_id id;
    struct error e;
    fe_shared shared = { { 0, 0 }, n };
    fe_app *owner = app ? app : app_current;
    assert(owner); /* as builders it belongs into a job's main */
    if (!app)
        return broadcast_fail(owner, place, "the application is NULL");
    if (n && !bytes) {
        snprintf(e.words, sizeof e.words, "%zu bytes at NULL", n);
        return broadcast_fail(owner, place, e.words);
    }
    if (n == 0)
        return shared;
    if (app_serve(owner, bytes, n, &id, &e))
        return broadcast_fail(owner, place, e.words);
    memcpy(shared.id, id.b, sizeof shared.id);
    return shared;
}
