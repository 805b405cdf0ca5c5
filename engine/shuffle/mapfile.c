/* mapfile.c - see mapfile.h. */
#define XXH_INLINE_ALL
#include "engine/shuffle/mapfile.h"

#include "common/base/error.h"

#include <errno.h>
#include <stdlib.h>
#include <xxhash.h>

#define MAP_MAGIC 0x31545550544f5246u /* "FROTPUT1" */

static uint64_t footer_sum(const struct map_footer *f, const uint8_t *index)
{
    struct map_footer head = *f;
    head.xxh3 = 0;
    return XXH3_64bits(index, f->index_bytes) ^ XXH3_64bits(&head, sizeof head);
}

/* ---- writing ------------------------------------------------------------------ */

int mapfile_open(struct mapfile *m, struct run *r, enum map_kind kind, uint32_t buckets, bool temporary)
{
    *m = (struct mapfile){ .kind = kind,
                           .codec = !temporary && r->stage->spread ? FRAME_LZ4 : FRAME_PLAIN,
                           .buckets = buckets };
    return temporary ? spillfile_open(&m->file, r) : spillfile_create(&m->file, r);
}

static uint64_t entries(const struct mapfile *m)
{
    return m->index.n / (m->kind == MAP_RANGE ? sizeof(struct map_frame) : sizeof(struct map_mark));
}

int mapfile_run(struct mapfile *m)
{
    if (m->runs == MAP_RUNS_MAX)
        return run_fail(m->file.run, CAUSE_MEMORY,
                        "the slot's memory is too small: this partition came to over %u runs", MAP_RUNS_MAX);
    uint64_t first = entries(m);
    m->runs++;
    m->marked = 0;
    buf_put(&m->firsts, &first, sizeof first);
    return 0;
}

int mapfile_mark(struct mapfile *m, uint32_t bucket)
{
    if (m->marked > UINT32_MAX)
        return run_fail(m->file.run, CAUSE_MEMORY, "a run of over %u rows", UINT32_MAX);
    struct map_mark mark = { spillfile_end(&m->file), bucket, (uint32_t)m->marked };
    buf_put(&m->index, &mark, sizeof mark);
    return 0;
}

void mapfile_note(struct mapfile *m, uint32_t rows, const uint8_t *normal, uint32_t n)
{
    if (m->kind == MAP_RANGE) {
        struct map_frame f = { .offset = spillfile_end(&m->file), .rows = rows, .n = n };
        if (n)
            memcpy(f.first, normal, n);
        buf_put(&m->index, &f, sizeof f);
    }
    m->rows += rows;
    m->marked += rows;
}

int mapfile_put(struct mapfile *m, const struct batch *b, const uint8_t *normal, uint32_t n)
{
    mapfile_note(m, b->rows, normal, n);
    frame_put(&m->file.pending, b, m->codec);
    return spillfile_settle(&m->file);
}

int mapfile_append(struct mapfile *m, const void *frame, uint32_t bytes, uint32_t rows)
{
    m->rows += rows;
    m->marked += rows;
    buf_put(&m->file.pending, frame, bytes);
    return spillfile_settle(&m->file);
}

static void report_sizes(const struct mapfile *m, struct rec_report *report, struct arena *a)
{
    uint64_t *bytes = calloc(m->buckets + 1ull, sizeof *bytes);
    const struct map_mark *marks = (const struct map_mark *)(const void *)m->index.p;
    uint8_t *codes = arena_alloc(a, m->buckets);
    if (!bytes)
        abort();
    for (uint64_t i = 0; i < entries(m); i++)
        if (marks[i].bucket < m->buckets) /* not a run's end */
            bytes[marks[i].bucket] += marks[i + 1].offset - marks[i].offset;
    for (uint32_t b = 0; b < m->buckets; b++)
        codes[b] = size_code(bytes[b]);
    free(bytes);
    report->sizes = (struct bytes){ codes, m->buckets };
}

int mapfile_finish(struct mapfile *m)
{
    struct run *r = m->file.run;
    struct map_footer f = {
        .magic = MAP_MAGIC, .kind = m->kind, .runs = m->runs, .buckets = m->buckets, .rows = m->rows
    };
    uint64_t n = entries(m);
    if (m->firsts.n + sizeof n + m->index.n > MAP_INDEX_BYTES_MAX)
        return run_fail(
            r, CAUSE_MEMORY,
            "the slot's memory is too small: the index of this partition's %u runs has over %u MiB", m->runs,
            MAP_INDEX_BYTES_MAX >> 20);
    if (m->kind == MAP_HASH)
        report_sizes(m, r->report, &r->arena);
    buf_put(&m->firsts, &n, sizeof n);
    buf_put(&m->firsts, m->index.p, m->index.n);
    f.index_offset = spillfile_end(&m->file);
    f.index_bytes = m->firsts.n;
    f.xxh3 = footer_sum(&f, m->firsts.p);
    buf_put(&m->file.pending, m->firsts.p, m->firsts.n);
    buf_put(&m->file.pending, &f, sizeof f);
    r->report->rows = m->rows;
    return spillfile_finish(&m->file);
}

void mapfile_close(struct mapfile *m)
{
    spillfile_close(&m->file);
    buf_fini(&m->index);
    buf_fini(&m->firsts);
}

/* ---- reading ------------------------------------------------------------------ */

int mapfile_footer(const struct map_footer *f, uint64_t total, enum map_kind kind, struct error *e)
{
    if (f->magic != MAP_MAGIC || f->zero)
        return error_set(e, EBADMSG, "it does not end as a map output does");
    if (f->kind != kind)
        return error_set(e, EBADMSG, "it is a map output of another kind (%u)", f->kind);
    bool sane = f->runs > 0 && f->runs <= MAP_RUNS_MAX && f->buckets <= MAP_BUCKETS_MAX &&
                (kind == MAP_RANGE) == !f->buckets && f->index_bytes <= MAP_INDEX_BYTES_MAX &&
                f->index_bytes < total && f->index_offset % 8 == 0 &&
                f->index_offset == total - sizeof *f - f->index_bytes;
    return sane ? 0 : error_set(e, EBADMSG, "its footer contradicts its size");
}

static bool marks_sane(const struct map_index *x)
{
    uint64_t at = 0;
    for (uint32_t r = 0; r < x->runs; r++) {
        const struct map_mark *m = &x->marks[x->firsts[r]], *end = &x->marks[x->firsts[r + 1]];
        if (m == end || m->rows || end[-1].bucket != x->buckets)
            return false;
        for (; m < end; m++) {
            bool in_order = m + 1 == end || (m->bucket < m[1].bucket && m->rows <= m[1].rows);
            if (m->offset < at || m->offset % 8 || !in_order)
                return false;
            at = m->offset;
        }
    }
    return at <= x->end;
}

static bool firsts_sane(const struct map_index *x)
{
    for (uint32_t r = 0; r < x->runs; r++)
        if (x->firsts[r] > x->firsts[r + 1])
            return false;
    return x->firsts[0] == 0 && x->firsts[x->runs] == x->n;
}

static bool frames_sane(const struct map_index *x)
{
    uint64_t at = 0;
    for (uint64_t i = 0; i < x->n; i++) {
        const struct map_frame *f = &x->frames[i];
        if (f->offset < at || f->offset % 8 || f->n > NORMAL_BYTES_MAX)
            return false;
        at = f->offset;
    }
    return at <= x->end;
}

int mapfile_index(const struct map_footer *f, const uint8_t *index, struct map_index *out, struct error *e)
{
    *out =
        (struct map_index){ .kind = f->kind, .runs = f->runs, .buckets = f->buckets, .end = f->index_offset };
    if (footer_sum(f, index) != f->xxh3)
        return error_set(e, EBADMSG, "its index's checksum is wrong");
    uint64_t head = (f->runs + 1ull) * sizeof *out->firsts;
    uint64_t each = f->kind == MAP_HASH ? sizeof *out->marks : sizeof *out->frames;
    out->n = f->index_bytes < head ? 0 : (f->index_bytes - head) / each;
    out->firsts = (const uint64_t *)(const void *)index;
    out->marks = (const struct map_mark *)(const void *)(index + head);
    out->frames = (const struct map_frame *)(const void *)(index + head);
    bool sane = f->index_bytes == head + out->n * each && firsts_sane(out) &&
                (f->kind == MAP_HASH ? marks_sane(out) : frames_sane(out));
    return sane ? 0 : error_set(e, EBADMSG, "its index contradicts itself");
}

void mapfile_view(const struct mapfile *m, struct map_index *out)
{
    *out = (struct map_index){ .kind = m->kind,
                               .runs = m->runs,
                               .buckets = m->buckets,
                               .end = spillfile_end(&m->file),
                               .n = entries(m) };
    out->firsts = (const uint64_t *)(const void *)m->firsts.p;
    out->marks = (const struct map_mark *)(const void *)m->index.p;
}

const struct map_mark *map_mark(const struct map_index *x, uint32_t run, uint32_t bucket)
{
    uint64_t low = x->firsts[run], high = (run + 1 < x->runs ? x->firsts[run + 1] : x->n) - 1;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (x->marks[middle].bucket < bucket)
            low = middle + 1;
        else
            high = middle;
    }
    return &x->marks[low];
}
