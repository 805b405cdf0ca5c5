/* cuts.c - from what map outputs said of themselves to reduce tasks of a good size.
 *
 * Kept is one number a bucket, or a bounded number of sample keys: never a table of
 * maps by reduces.  A map that runs again is not counted twice.
 */
#include "driver/sched/core.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define TABLE_SHARE 32u /* of a slot's memory: so much of the shuffle is aimed at for one table */

/* ---- collecting ----------------------------------------------------------------------- */

static void add_sizes(struct stage *map, struct bytes sizes)
{
    uint32_t n = sizes.n < map->spec->buckets ? sizes.n : map->spec->buckets;
    for (uint32_t b = 0; b < n; b++)
        map->bucket_bytes[b] += size_decode(sizes.p[b]);
}

/* Too many: every second one goes, the others weigh twice as much. */
static void thin(struct stage *map)
{
    struct sample *v = (struct sample *)map->samples.p;
    uint32_t n = (uint32_t)(map->samples.n / sizeof *v), kept = 0;
    for (uint32_t i = 0; i < n; i += 2) {
        v[kept] = v[i];
        v[kept++].weight *= 2;
    }
    map->samples.n = kept * sizeof *v;
    map->sample_stride *= 2;
}

static void add_samples(struct stage *map, const struct rec_report *r)
{
    for (uint32_t i = 0; i < r->samples.n; i++) {
        if (map->nsamples_seen++ % map->sample_stride)
            continue;
        if (map->samples.n / sizeof(struct sample) >= SAMPLES_MAX)
            thin(map);
        uint64_t weight = (r->out_bytes / r->samples.n + 1) * map->sample_stride;
        struct sample sample = { arena_bytes(&map->arena, r->samples.v[i].key), weight };
        buf_put(&map->samples, &sample, sizeof sample);
    }
}

void cuts_add(struct job *j, struct stage *map, const struct rec_report *r)
{
    struct task *t = &map->tasks[r->part];
    if (t->flags & TASK_SIZED)
        return;
    t->flags |= TASK_SIZED;
    map->map_bytes += r->out_bytes;
    if (map->spec->kind == STAGE_HASH || map->spec->kind == STAGE_RANGE)
        j->bytes_shuffled += r->out_bytes;
    if (map->spec->kind == STAGE_HASH)
        add_sizes(map, r->sizes);
    else if (map->spec->kind == STAGE_RANGE)
        add_samples(map, r);
}

/* ---- hash: ranges of buckets -------------------------------------------------------------- */

static struct rec_cut bound(struct arena *a, uint32_t bucket)
{
    uint8_t be[4] = { (uint8_t)(bucket >> 24), (uint8_t)(bucket >> 16), (uint8_t)(bucket >> 8),
                      (uint8_t)bucket };
    return (struct rec_cut){ { arena_copy(a, be, sizeof be), sizeof be } };
}

static uint64_t bucket_bytes(const struct stage *map, const struct stage *other, uint32_t b)
{
    return map->bucket_bytes[b] + (other ? other->bucket_bytes[b] : 0);
}

static uint32_t by_size(struct arena *a, const struct stage *map, const struct stage *other, uint64_t aim,
                        struct rec_cut *cuts)
{
    uint32_t n = 0;
    uint64_t sum = 0;
    cuts[n++] = bound(a, 0);
    for (uint32_t b = 0; b < map->spec->buckets; b++) {
        uint64_t bytes = bucket_bytes(map, other, b);
        if (sum && sum + bytes > aim) {
            cuts[n++] = bound(a, b);
            sum = 0;
        }
        sum += bytes;
    }
    cuts[n] = bound(a, map->spec->buckets);
    return n;
}

/* `other`: of a join, whose two sides are cut alike; NULL: there is none. */
static void form_hash(struct arena *a, uint64_t aim, const struct stage *map, const struct stage *other,
                      uint32_t named, struct input *out)
{
    assert(!other || (other->spec->kind == STAGE_HASH && other->spec->buckets == map->spec->buckets));
    uint32_t most = named ? named : map->spec->buckets;
    struct rec_cut *cuts = arena_alloc(a, (most + 1ull) * sizeof *cuts);
    out->ntasks = named;
    if (named)
        for (uint64_t i = 0; i <= named; i++)
            cuts[i] = bound(a, (uint32_t)(i * map->spec->buckets / named));
    else
        out->ntasks = by_size(a, map, other, aim, cuts);
    out->cuts = cuts;
    out->ncuts = out->ntasks + 1;
}

/* ---- ranges of keys ------------------------------------------------------------------------- */

static int by_key(const void *pa, const void *pb)
{
    const struct sample *a = pa, *b = pb;
    int c = bytes_cmp(a->key, b->key);
    return c ? c : (a->weight > b->weight) - (a->weight < b->weight);
}

/* Keys that cut the samples' weight into `wanted` equal pieces.  Unless the user named the number,
 * a key that fills several pieces is cut once. */
static uint32_t quantiles(const struct sample *v, uint32_t n, uint64_t wanted, bool named,
                          struct rec_cut *cuts)
{
    unsigned __int128 total = 0, before = 0;
    uint32_t ncuts = 0;
    uint64_t next = 1;
    for (uint32_t i = 0; i < n; i++)
        total += v[i].weight;
    for (uint32_t i = 0; i < n; i++) {
        for (; next < wanted && i && before * wanted >= next * total; next++) {
            bool again = bytes_eq(v[i].key, ncuts ? cuts[ncuts - 1].key : v[0].key);
            if (named || !again)
                cuts[ncuts++].key = v[i].key;
        }
        before += v[i].weight;
    }
    for (; named && next < wanted; next++) /* too few keys: empty ranges at the end */
        cuts[ncuts++].key = n ? v[n - 1].key : (struct bytes){ (const uint8_t *)"", 0 };
    return ncuts;
}

static void form_range(struct arena *a, const struct sched *s, struct stage *map, uint32_t named,
                       struct input *out)
{
    struct sample *v = (struct sample *)map->samples.p;
    uint32_t n = (uint32_t)(map->samples.n / sizeof *v);
    uint64_t aim = s->config.reduce_bytes ? s->config.reduce_bytes : 1,
             wanted = named ? named : map->map_bytes / aim + 1;
    if (!named && wanted > n)
        wanted = n ? n : 1;
    if (n)
        qsort(v, n, sizeof *v, by_key);
    struct rec_cut *cuts = arena_alloc(a, wanted * sizeof *cuts);
    out->ncuts = quantiles(v, n, wanted, named, cuts);
    for (uint32_t i = 0; i < out->ncuts; i++) /* the stage may outlive the shuffle */
        cuts[i].key = arena_bytes(a, cuts[i].key);
    out->cuts = cuts;
    out->ntasks = out->ncuts + 1;
}

/* A quarter of a slot holds a whole table, whose rows take several times what they take in the shuffle. */
static uint64_t aim_of(const struct sched *s, enum stage_kind reader)
{
    uint64_t aim = s->config.reduce_bytes, most = s->config.memory / TABLE_SHARE;
    return reader == STAGE_TABLE && most && most < aim ? most : aim;
}

void cuts_form(const struct sched *s, enum stage_kind reader, const struct stage_input *in, struct arena *a,
               struct input *out)
{
    *out = (struct input){ .ntasks = in->ntasks };
    if (in->shuffle == STAGE_NO_SHUFFLE)
        return;
    struct stage *map = s->job->stages[in->shuffle];
    const struct stage *other = in->other == in->shuffle ? NULL : s->job->stages[in->other];
    if (map->spec->kind == STAGE_HASH)
        form_hash(a, aim_of(s, reader), map, other, in->ntasks, out);
    else if (map->spec->kind == STAGE_RANGE)
        form_range(a, s, map, in->ntasks, out);
    else
        out->ntasks = map->ntasks;
}
