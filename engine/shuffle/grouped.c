/* grouped.c - see grouped.h. */
#include "engine/shuffle/grouped.h"

/* ---- gathering ------------------------------------------------------------------- */

static int spill_rows(struct grouped *g)
{
    if (!g->spill.file.run && mapfile_open(&g->spill, g->run, MAP_RANGE, 0, true))
        return -1;
    struct merge_run run = { .at = spillfile_end(&g->spill.file), .fd = g->spill.file.fd };
    sorter_sort(&g->sorter);
    if (sorter_flush(&g->sorter, &g->spill))
        return -1;
    run.end = spillfile_end(&g->spill.file);
    merge_add(&g->merge, &run);
    return 0;
}

static int put_rows(struct grouped *g, const struct batch *b, const uint64_t *hash)
{
    for (uint32_t i = 0; i < b->rows; i++) {
        fe_slice key = vec_at(&b->key, i), value = vec_at(&b->value, i);
        while (!sorter_put(&g->sorter, key, value, hash[i]))
            if (spill_rows(g))
                return -1;
    }
    return 0;
}

int grouped_gather(struct grouped *g)
{
    const struct batch *b;
    int got;
    while ((got = intake_next(&g->intake, &b)) > 0)
        if (put_rows(g, b, intake_hash(&g->intake)))
            return -1;
    intake_fini(&g->intake);
    if (got)
        return -1;
    if (!g->spill.file.run) {
        sorter_sort(&g->sorter);
        return 0;
    }
    if ((g->sorter.n && spill_rows(g)) || spillfile_flush(&g->spill.file))
        return -1;
    sorter_fini(&g->sorter);
    return merge_start(&g->merge);
}

/* ---- rows ---------------------------------------------------------------------------- */

bool grouped_peek(struct grouped *g, struct row *row)
{
    if (g->stale) {
        g->stale = false;
        if (merge_advance(&g->merge))
            return false;
    }
    if (g->at < g->sorter.n) {
        rows_at(&g->sorter.rows, g->sorter.v[g->at].place, row);
        row->hash = g->sorter.v[g->at].hi;
        return true;
    }
    struct cursor *top = merge_top(&g->merge);
    if (top)
        *row = (struct row){ top->prefix.hi, top->key, top->value };
    return top != NULL;
}

void grouped_step(struct grouped *g)
{
    if (g->at < g->sorter.n)
        g->at++;
    else
        g->stale = true;
}

fe_slice group_key(const struct group *g)
{
    static const uint64_t nothing;
    return (fe_slice){ g->key.n ? (const char *)g->key.p : (const char *)&nothing, g->key.n };
}

bool fe_next_value(fe_values *values, fe_slice *value)
{
    struct grouped *g = values->rows;
    struct row row;
    if (g->run->failed || !grouped_peek(g, &row) || row.hash != values->group->hash ||
        !type_equal(g->order.key, row.key, group_key(values->group)))
        return false;
    *value = row.value;
    grouped_step(g);
    return true;
}

/* ---- making ---------------------------------------------------------------------------- */

int grouped_init(struct grouped *g, struct run *r, const struct leaf *leaf, bool other, fe_type value,
                 uint64_t limit, const struct group *group)
{
    g->run = r;
    g->order = (struct order){ leaf->node->in_key, value, BY_HASH, false };
    g->values = (struct fe_values){ g, group };
    sorter_init(&g->sorter, r, &g->order, limit);
    merge_init(&g->merge, r, &g->order);
    return intake_maps(&g->intake, r, leaf, other, g->order.key, value);
}

void grouped_fini(struct grouped *g)
{
    merge_fini(&g->merge);
    sorter_fini(&g->sorter);
    mapfile_close(&g->spill);
    intake_fini(&g->intake);
}
