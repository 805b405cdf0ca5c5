/* tables.c - see tables.h.
 *
 * A file is mapped, and read once for its checksum; after that a batch's keys are looked for in memory.  Keys come in no
 * order, so that a table beyond the caches is looked at in another page each time, and in pages of 4 KiB most of the time
 * goes into finding the page.  So the first host makes the file's pages huge ones, for all hosts.  A table that
 * can't be had, or is none, is its map's fault (CAUSE_FETCH), and is made again.
 */
#include "engine/join/tables.h"

#include "engine/shuffle/read.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define HUGE_BYTES (2u << 20)
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25 /* Linux 6.1; glibc 2.37 names it */
#endif

struct mapped {
    uint8_t *p;   /* owned: address space, */
    size_t bytes; /* of so many bytes */
    const uint8_t *file;
};

struct tables {
    struct lookups lookups;
    struct lookup *all;    /* owned: [0] has no row, for buckets without any */
    struct mapped *mapped; /* owned */
    uint32_t *of;          /* owned, by bucket */
    uint32_t n, max;       /* mapped ones; of the side's maps */
};

static bool is_of_side(const struct rec_map *m, uint32_t side)
{
    return m->stage == side && m->bytes;
}

static struct tables *tables_new(const struct msg_stage *stage, uint32_t side)
{
    static const uint32_t nothing[2];
    struct tables *t = calloc(1, sizeof *t);
    for (uint32_t i = 0; t && i < stage->maps.n; i++)
        t->max += is_of_side(&stage->maps.v[i], side);
    if (t) {
        t->all = calloc(t->max + 1ull, sizeof *t->all);
        t->mapped = calloc(t->max + 1ull, sizeof *t->mapped);
    }
    if (!t || !t->all || !t->mapped)
        abort();
    t->all[0] = (struct lookup){ .entries = 1, .directory = nothing, .records = (const uint8_t *)nothing };
    t->lookups.one = t->all; /* until there is another */
    t->lookups.all = t->all;
    return t;
}

/* Its buckets must be nobody else's. */
static bool take_buckets(struct tables *t, const struct lookup *l)
{
    if (!t->of) {
        t->of = calloc(l->buckets, sizeof *t->of);
        if (!t->of)
            abort();
        t->lookups = (struct lookups){ .all = t->all, .of = t->of, .buckets = l->buckets };
    }
    if (l->buckets != t->lookups.buckets)
        return false;
    for (uint32_t b = l->lo; b < l->hi; b++) {
        if (t->of[b])
            return false;
        t->of[b] = t->n;
    }
    return true;
}

/* The file, from a multiple of HUGE_BYTES on, in huge pages as far as they reach. */
static int table_map(struct mapped *m, int fd, uint64_t bytes)
{
    m->bytes = bytes + HUGE_BYTES;
    m->p = mmap(NULL, m->bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (m->p == MAP_FAILED)
        return -1;
    uint8_t *at = m->p + (-(uintptr_t)m->p & (HUGE_BYTES - 1));
    m->file = at;
    if (mmap(at, bytes, PROT_READ, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED) {
        munmap(m->p, m->bytes);
        return -1;
    }
    if (bytes >=
        HUGE_BYTES) /* fails where the file is on a disk, or the kernel is older: small pages do, too */
        (void)madvise(at, bytes, MADV_COLLAPSE);
    return 0;
}

static int table_add(struct tables *t, struct run *r, const struct plan_node *node, const struct rec_map *map,
                     int fd)
{
    struct error e;
    struct stat st;
    fe_type value = node->swapped ? node->in_value : node->other;
    if (fstat(fd, &st) || (uint64_t)st.st_size < map->bytes)
        return read_fail(r, map, "it is shorter than it was said to be");
    struct mapped *m = &t->mapped[t->n];
    if (table_map(m, fd, map->bytes))
        return run_fail(r, CAUSE_MEMORY, "a table of %llu MiB can't be mapped",
                        (unsigned long long)(map->bytes >> 20));
    struct lookup *l = &t->all[++t->n];
    if (lookup_view(m->file, map->bytes, l, &e))
        return read_fail(r, map, e.words);
    if (l->key != node->in_key || l->value != value || !take_buckets(t, l))
        return read_fail(r, map, "it is a table of other records");
    r->report->bytes_read += map->bytes;
    return 0;
}

/* Take over every descriptor before judging any: none may leak. */
static int window_add(struct tables *t, struct run *r, const struct plan_node *node,
                      const struct rec_map *const *maps, const struct rec_want *wants, uint32_t n)
{
    struct rec_got got[HOST_FDS_MAX];
    int fds[HOST_FDS_MAX], failed = 0;
    if (n == 0)
        return 0;
    if (run_fetch(r, wants, n, got, fds))
        return -1;
    for (uint32_t i = 0; i < n; i++) {
        if (got[i].code)
            failed = failed ? failed : read_got_fail(r, maps[i], &got[i]);
        else if (!failed && (got[i].base || got[i].length != maps[i]->bytes))
            failed = read_fail(r, maps[i], "its size is not what its map said");
        else if (!failed)
            failed = table_add(t, r, node, maps[i], fds[i]);
        if (!got[i].code)
            close(fds[i]);
    }
    return failed;
}

static int tables_fetch(struct tables *t, struct run *r, const struct plan_node *node)
{
    const struct rec_map *maps[HOST_FDS_MAX];
    struct rec_want wants[HOST_FDS_MAX];
    uint32_t side = r->stage->sides.v[node->side].n, n = 0;
    for (uint32_t i = 0; i < r->stage->maps.n; i++) {
        const struct rec_map *m = &r->stage->maps.v[i];
        if (!is_of_side(m, side))
            continue;
        maps[n] = m;
        wants[n++] = read_want(m);
        if (n == HOST_FDS_MAX) {
            if (window_add(t, r, node, maps, wants, n))
                return -1;
            n = 0;
        }
    }
    return window_add(t, r, node, maps, wants, n);
}

struct tables *tables_open(struct run *r, const struct plan_node *node)
{
    struct tables *t = tables_new(r->stage, r->stage->sides.v[node->side].n);
    if (tables_fetch(t, r, node))
        tables_close(&t);
    return t;
}

const struct lookups *tables_lookups(const struct tables *t)
{
    return &t->lookups;
}

void tables_close(struct tables **tp)
{
    struct tables *t = *tp;
    if (!t)
        return;
    for (uint32_t i = 0; i < t->n; i++)
        munmap(t->mapped[i].p, t->mapped[i].bytes);
    free(t->mapped);
    free(t->all);
    free(t->of);
    free(t);
    *tp = NULL;
}
