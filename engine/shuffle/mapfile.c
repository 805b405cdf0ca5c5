/* mapfile.c - see mapfile.h. */
#define XXH_INLINE_ALL
#include "engine/shuffle/mapfile.h"

#include "common/base/error.h"

#include <errno.h>
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

int mapfile_run(struct mapfile *m)
{
    if (m->runs == MAP_RUNS_MAX)
        return run_fail(m->file.run, CAUSE_MEMORY,
                        "the slot's memory is too small: this partition came to over %u runs", MAP_RUNS_MAX);
    m->runs++;
    m->marked = 0;
    if (m->kind == MAP_RANGE) {
        uint64_t first = m->index.n / sizeof(struct map_frame);
        buf_put(&m->firsts, &first, sizeof first);
    }
    return 0;
}

void mapfile_mark(struct mapfile *m)
{
    struct map_mark mark = { spillfile_end(&m->file), m->marked };
    buf_put(&m->index, &mark, sizeof mark);
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
    struct map_index x;
    mapfile_view(m, &x);
    uint8_t *codes = arena_alloc(a, m->buckets);
    for (uint32_t b = 0; b < m->buckets; b++) {
        uint64_t bytes = 0;
        for (uint32_t r = 0; r < m->runs; r++)
            bytes += map_mark(&x, r, b + 1)->offset - map_mark(&x, r, b)->offset;
        codes[b] = size_code(bytes);
    }
    report->sizes = (struct bytes){ codes, m->buckets };
}

int mapfile_finish(struct mapfile *m)
{
    struct run *r = m->file.run;
    struct map_footer f = {
        .magic = MAP_MAGIC, .kind = m->kind, .runs = m->runs, .buckets = m->buckets, .rows = m->rows
    };
    if (m->kind == MAP_RANGE) {
        uint64_t frames = m->index.n / sizeof(struct map_frame);
        buf_put(&m->firsts, &frames, sizeof frames);
        buf_put(&m->firsts, m->index.p, m->index.n);
        struct buf whole = m->firsts;
        m->firsts = m->index;
        m->index = whole;
    } else
        report_sizes(m, r->report, &r->arena);
    f.index_offset = spillfile_end(&m->file);
    f.index_bytes = m->index.n;
    f.xxh3 = footer_sum(&f, m->index.p);
    buf_put(&m->file.pending, m->index.p, m->index.n);
    buf_put(&m->file.pending, &f, sizeof f);
    if (spillfile_flush(&m->file))
        return -1;
    spillfile_keep(&m->file);
    r->report->out_bytes = m->file.at;
    r->report->rows = m->rows;
    if (r->env->to_disk)
        r->report->flags |= REPORT_ON_DISK;
    return 0;
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
        uint64_t rows = 0;
        for (uint32_t b = 0; b <= x->buckets; b++) {
            const struct map_mark *m = map_mark(x, r, b);
            if (m->offset < at || m->offset % 8 || m->rows < rows || (b == 0 && m->rows))
                return false;
            at = m->offset;
            rows = m->rows;
        }
    }
    return at <= x->end;
}

static bool frames_sane(const struct map_index *x, uint64_t n)
{
    uint64_t at = 0;
    for (uint32_t r = 0; r < x->runs; r++)
        if (x->firsts[r] > x->firsts[r + 1])
            return false;
    for (uint64_t i = 0; i < n; i++) {
        const struct map_frame *f = &x->frames[i];
        if (f->offset < at || f->offset % 8 || f->n > NORMAL_BYTES_MAX)
            return false;
        at = f->offset;
    }
    return x->firsts[0] == 0 && x->firsts[x->runs] == n && at <= x->end;
}

int mapfile_index(const struct map_footer *f, const uint8_t *index, struct map_index *out, struct error *e)
{
    *out =
        (struct map_index){ .kind = f->kind, .runs = f->runs, .buckets = f->buckets, .end = f->index_offset };
    if (footer_sum(f, index) != f->xxh3)
        return error_set(e, EBADMSG, "its index's checksum is wrong");
    bool sane;
    if (f->kind == MAP_HASH) {
        out->marks = (const struct map_mark *)(const void *)index;
        sane = f->index_bytes == (f->buckets + 1ull) * f->runs * sizeof *out->marks && marks_sane(out);
    } else {
        uint64_t head = (f->runs + 1ull) * sizeof *out->firsts;
        uint64_t n = f->index_bytes < head ? 0 : (f->index_bytes - head) / sizeof *out->frames;
        out->firsts = (const uint64_t *)(const void *)index;
        out->frames = (const struct map_frame *)(const void *)(index + head);
        sane = f->index_bytes == head + n * sizeof *out->frames && frames_sane(out, n);
    }
    return sane ? 0 : error_set(e, EBADMSG, "its index contradicts itself");
}

void mapfile_view(const struct mapfile *m, struct map_index *out)
{
    *out = (struct map_index){
        .kind = m->kind, .runs = m->runs, .buckets = m->buckets, .end = spillfile_end(&m->file)
    };
    out->marks = (const struct map_mark *)(const void *)m->index.p;
}
