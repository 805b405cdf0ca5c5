/* cache.c - datasets that are computed once and kept on the executors. */
#include "driver/api/set.h"

fe_set *fe_cache_at(fe_set *set, fe_place place)
{
    set = set_given(set, "cache", place);
    fe_set *s = set_over(set, OP_READ_ROWS, "cache", place, set->node.key, set->node.value);
    s->keep = ++s->app->cached;
    return s;
}

/* Nothing carries an error on: the next action says it. */
static void uncache_fail(fe_app *app, fe_place place)
{
    fe_set *bad = set_new(app, OP_COLLECTION, "uncache", place, FERRO_NONE, FERRO_NONE);
    set_fail(bad, "the dataset is not one that fe_cache made");
    if (!app->error)
        app->error = bad->error;
}

void fe_uncache_at(fe_set *set, fe_place place)
{
    set = set_given(set, "uncache", place);
    const struct runtime *rt = set->app->runtime;
    if (set->keep)
        rt->forget(rt->user, set->keep);
    else
        uncache_fail(set->app, place);
}
