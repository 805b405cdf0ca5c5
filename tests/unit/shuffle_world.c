/* shuffle_world.c - see shuffle_world.h. */
#include "tests/unit/shuffle_world.h"

#include "engine/types.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAP_STAGE 7u
#define SOURCE_ROWS 700u

struct place {
    size_t at;
    uint32_t key, value;
};

void recs_add(struct recs *r, const void *key, size_t nk, const void *value, size_t nv)
{
    static const uint8_t zeros[8];
    struct place p = { r->bytes.n, (uint32_t)nk, (uint32_t)nv };
    buf_put(&r->bytes, key, nk);
    buf_put(&r->bytes, zeros, -r->bytes.n & 7);
    buf_put(&r->bytes, value, nv);
    buf_put(&r->bytes, zeros, -r->bytes.n & 7);
    buf_put(&r->bytes, zeros, 8);
    buf_put(&r->places, &p, sizeof p);
    r->n++;
}

struct rec recs_at(const struct recs *r, size_t i)
{
    struct place p = ((struct place *)(void *)r->places.p)[i];
    const char *at = (const char *)r->bytes.p + p.at;
    return (struct rec){ { at, p.key }, { at + ((p.key + 7u) & ~7u), p.value } };
}

void recs_fini(struct recs *r)
{
    buf_fini(&r->bytes);
    buf_fini(&r->places);
    r->n = 0;
}

int rec_cmp(const struct rec *a, const struct rec *b)
{
    int order = type_compare(FERRO_TEXT, a->key, b->key);
    return order ? order : type_compare(FERRO_TEXT, a->value, b->value);
}

static int by_bytes(const void *a, const void *b)
{
    return rec_cmp(a, b);
}

struct rec *recs_sorted(const struct recs *r)
{
    struct rec *v = calloc(r->n + 1, sizeof *v);
    for (size_t i = 0; i < r->n; i++)
        v[i] = recs_at(r, i);
    qsort(v, r->n, sizeof *v, by_bytes);
    return v;
}

/* ---- the executor's side ------------------------------------------------------------ */

char *shuffle_world_path(const struct shuffle_world *w, uint32_t part, char out[128])
{
    snprintf(out, 128, "%s/%u.%u.1", w->dir, MAP_STAGE, part);
    return out;
}

/* As from another host: a copy of what was asked for. */
static int copy_of(struct shuffle_world *w, int fd, const struct rec_want *want, struct rec_got *got)
{
    uint64_t total = got->total, offset = want->offset;
    if (want->tail)
        offset = want->offset < total ? total - want->offset : 0;
    uint64_t length = want->length == 0 || want->length > total - offset ? total - offset : want->length;
    uint8_t *p = malloc(length + 1);
    int copy = open(w->dir, O_TMPFILE | O_RDWR, 0600);
    cr_assert(pread(fd, p, length, (off_t)offset) == (ssize_t)length &&
              write(copy, p, length) == (ssize_t)length);
    free(p);
    close(fd);
    got->base = offset;
    got->length = length;
    return copy;
}

static void fetch_one(struct shuffle_world *w, const struct rec_want *want, struct rec_got *got, int *fd)
{
    char path[128];
    struct stat st;
    struct block_id id = block_output(want->stage, want->part, want->attempt);
    *got = (struct rec_got){ 0 };
    cr_assert(!memcmp(id.b, want->block, sizeof id.b) && want->kind == WANT_BLOCK && want->attempt == 1);
    *fd = open(shuffle_world_path(w, want->part, path), O_RDONLY);
    if (*fd < 0) {
        got->code = BLOCK_GONE;
        got->words = bytes_of("no such block here");
        return;
    }
    fstat(*fd, &st);
    got->length = got->total = (uint64_t)st.st_size;
    if (w->remote)
        *fd = copy_of(w, *fd, want, got);
}

static int fetch(void *user, const struct rec_want *wants, uint32_t n, struct rec_got *got, int *fds)
{
    struct shuffle_world *w = user;
    cr_assert(n > 0 && n <= HOST_FDS_MAX);
    w->fetches++;
    for (uint32_t i = 0; i < n; i++)
        fetch_one(w, &wants[i], &got[i], &fds[i]);
    return 0;
}

void shuffle_world_init(struct shuffle_world *w, uint64_t budget)
{
    *w = (struct shuffle_world){ .budget = budget };
    snprintf(w->dir, sizeof w->dir, "/tmp/test-shuffle-XXXXXX");
    cr_assert(mkdtemp(w->dir));
    w->env = (struct task_env){ .scratch = w->dir, .disk = w->dir, .fetch = fetch, .user = w };
    w->stage.maps.v = w->maps;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st, (void)type, (void)at;
    return remove(path);
}

void shuffle_world_fini(struct shuffle_world *w)
{
    arena_fini(&w->arena);
    nftw(w->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static struct run run_of(struct shuffle_world *w, uint32_t part)
{
    arena_fini(&w->arena);
    w->report = (struct rec_report){ .part = part, .attempt = 1 };
    return (struct run){ .env = &w->env,
                         .stage = &w->stage,
                         .part = part,
                         .attempt = 1,
                         .report = &w->report,
                         .budget = w->budget };
}

static int run_end(struct shuffle_world *w, struct run *r, int result)
{
    w->arena = r->arena;
    cr_assert_eq(r->held, 0, "%llu bytes of the budget were not given back", (unsigned long long)r->held);
    cr_assert_eq(r->failed, result != 0);
    return result;
}

/* ---- maps ------------------------------------------------------------------------------ */

struct source {
    struct op op;
    const struct recs *in;
    size_t at, to;
    fe_type key, value;
    bool hashed, select;
    struct buf keys, values, key_ends, value_ends;
    uint16_t sel[SOURCE_ROWS];
    uint64_t hash[SOURCE_ROWS];
    struct batch batch;
};

static void put(struct buf *data, struct buf *ends, fe_slice s)
{
    buf_put(data, s.p, s.n);
    uint32_t end = (uint32_t)data->n;
    buf_put(ends, &end, sizeof end);
}

static int source_next(struct op *op, const struct batch **out)
{
    struct source *s = (struct source *)op;
    uint32_t rows = 0, counting = 0;
    s->keys.n = s->values.n = s->key_ends.n = s->value_ends.n = 0;
    for (; s->at < s->to && rows < SOURCE_ROWS; rows++) {
        bool counts = !s->select || rows % 3;
        struct rec r = recs_at(s->in, s->at);
        put(&s->keys, &s->key_ends, r.key);
        put(&s->values, &s->value_ends, r.value);
        s->hash[rows] = type_hash(s->key, r.key);
        if (counts)
            s->sel[counting++] = (uint16_t)rows;
        s->at += counts;
    }
    s->batch = (struct batch){ .rows = counting,
                               .sel = s->select ? s->sel : NULL,
                               .hash = s->hashed ? s->hash : NULL };
    s->batch.key = (struct vec){ s->key, 0, 0, s->keys.p, (uint32_t *)(void *)s->key_ends.p };
    s->batch.value = (struct vec){ s->value, 0, 0, s->values.p, (uint32_t *)(void *)s->value_ends.p };
    *out = &s->batch;
    return counting > 0;
}

int shuffle_world_map(struct shuffle_world *w, const struct plan_node *sink, const struct recs *in,
                      size_t from, size_t to)
{
    uint32_t part = w->stage.maps.n;
    struct source *s = calloc(1, sizeof *s);
    struct run r = run_of(w, part);
    *s = (struct source){ .op = { source_next, NULL },
                          .in = in,
                          .at = from,
                          .to = to,
                          .key = sink->key,
                          .value = sink->value,
                          .hashed = w->hashed,
                          .select = w->select };
    w->stage.stage = MAP_STAGE;
    int result = (sink->op == OP_WRITE_RANGE  ? sink_write_range
                  : sink->op == OP_WRITE_ROWS ? sink_write_rows
                                              : sink_write_hash)(&r, sink, &s->op);
    w->maps[part] = (struct rec_map){ MAP_STAGE, part, 1, 0, w->report.out_bytes };
    w->stage.maps.n++;
    buf_fini(&s->keys);
    buf_fini(&s->values);
    buf_fini(&s->key_ends);
    buf_fini(&s->value_ends);
    free(s);
    return run_end(w, &r, result);
}

/* ---- reduces ----------------------------------------------------------------------------- */

const struct rec_cut *shuffle_world_bounds(uint32_t buckets, uint32_t n)
{
    static uint8_t be[64][4];
    static struct rec_cut cuts[64];
    for (uint32_t i = 0; i <= n; i++) {
        uint32_t b = __builtin_bswap32(buckets * i / n);
        memcpy(be[i], &b, 4);
        cuts[i].key = (struct bytes){ be[i], 4 };
    }
    return cuts;
}

int shuffle_world_reduce(struct shuffle_world *w, const struct plan_node *leaf, const struct rec_cut *cuts,
                         uint32_t ncuts, uint32_t ntasks, uint32_t part, struct recs *out)
{
    struct rec_input in = { .ntasks = ntasks, .shuffle = MAP_STAGE, .cuts = { cuts, ncuts } };
    struct leaf at = { leaf, 0, part };
    struct run r = run_of(w, part);
    const struct batch *b;
    int got = -1;
    w->stage.stage = MAP_STAGE + 1;
    w->stage.inputs.v = &in;
    w->stage.inputs.n = 1;
    struct op *op = leaf->op == OP_READ_HASH     ? op_read_hash(&r, &at)
                    : leaf->op == OP_READ_GROUPS ? op_read_groups(&r, &at)
                    : leaf->op == OP_READ_ROWS   ? op_read_rows(&r, &at)
                                                 : op_read_sorted(&r, &at);
    while (op && (got = op->next(op, &b)) > 0) {
        cr_assert(b->rows > 0 && b->rows <= BATCH_ROWS);
        for (uint32_t i = 0; i < b->rows; i++) {
            fe_slice k = vec_at(&b->key, i), v = vec_at(&b->value, i);
            recs_add(out, k.p, k.n, v.p, v.n);
        }
    }
    if (op)
        op->free(op);
    return run_end(w, &r, got);
}
