/* read.c - see read.h. */
#include "engine/shuffle/read.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

int read_fail(struct run *r, const struct rec_map *map, const char *words)
{
    struct rec_report *report = r->report;
    if (!r->failed) {
        report->fetch_stage = map->stage;
        report->fetch_part = map->part;
        report->fetch_attempt = map->attempt;
    }
    return run_fail(r, CAUSE_FETCH, "the output of map %u.%u.%u can't be used: %s", map->stage, map->part,
                    map->attempt, words);
}

/* ---- what to read ------------------------------------------------------------------ */

static uint32_t bound(struct bytes b)
{
    return (uint32_t)b.p[0] << 24 | (uint32_t)b.p[1] << 16 | (uint32_t)b.p[2] << 8 | b.p[3];
}

int read_bucket_range(struct run *r, const struct rec_input *in, uint32_t part, uint32_t *lo, uint32_t *hi)
{
    if (in->cuts.n <= part + 1 || in->cuts.v[part].key.n != 4 || in->cuts.v[part + 1].key.n != 4)
        return run_fail(r, CAUSE_ERROR, "the stage does not say which buckets partition %u has", part);
    *lo = bound(in->cuts.v[part].key);
    *hi = bound(in->cuts.v[part + 1].key);
    return 0;
}

static int init_range(struct read *rd, const struct rec_input *in, uint32_t part)
{
    if (in->ntasks == 0 || in->cuts.n != in->ntasks - 1)
        return run_fail(rd->run, CAUSE_ERROR, "the stage has %u cuts for %u partitions", in->cuts.n,
                        in->ntasks);
    rd->has_low = part > 0;
    rd->has_high = part < in->cuts.n;
    if (rd->has_low)
        rd->low = in->cuts.v[part - 1].key;
    if (rd->has_high)
        rd->high = in->cuts.v[part].key;
    return 0;
}

int read_init(struct read *rd, struct run *r, const struct leaf *leaf, enum map_kind kind)
{
    *rd = (struct read){ .run = r, .kind = kind };
    if (leaf->input >= r->stage->inputs.n || leaf->part >= r->stage->inputs.v[leaf->input].ntasks)
        return run_fail(r, CAUSE_ERROR, "the stage has no partition %u of input %u", leaf->part, leaf->input);
    const struct rec_input *in = &r->stage->inputs.v[leaf->input];
    rd->shuffle = in->shuffle;
    return kind == MAP_HASH ? read_bucket_range(r, in, leaf->part, &rd->lo, &rd->hi)
                            : init_range(rd, in, leaf->part);
}

/* ---- descriptors --------------------------------------------------------------------- */

struct rec_want read_want(const struct rec_map *m)
{
    struct rec_want w = { .kind = WANT_BLOCK,
                          .peer = m->peer,
                          .bytes = m->bytes,
                          .stage = m->stage,
                          .part = m->part,
                          .attempt = m->attempt };
    struct block_id id = block_output(m->stage, m->part, m->attempt);
    memcpy(w.block, id.b, sizeof w.block);
    return w;
}

int read_got_fail(struct run *r, const struct rec_map *map, const struct rec_got *got)
{
    char words[ERROR_WORDS_MAX];
    bytes_text(got->words, words, sizeof words);
    if (got->code == BLOCK_FULL) /* not its map's fault */
        return run_fail(r, CAUSE_ERROR, "partition %u of stage %u can't be had: %s", map->part, map->stage,
                        words);
    return read_fail(r, map, words[0] ? words : "its executor does not give it");
}

static int read_at(struct read *rd, const struct read_map *m, uint64_t offset, void *out, uint64_t n)
{
    if (offset < m->base || offset + n > m->end)
        return read_fail(rd->run, m->map, "only a part of it came");
    for (uint64_t done = 0; done < n;) {
        ssize_t k = pread(m->fd, (uint8_t *)out + done, n - done, (off_t)(offset - m->base + done));
        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0)
            return read_fail(rd->run, m->map, k ? strerror(errno) : "it is shorter than it was said to be");
        done += (uint64_t)k;
    }
    return 0;
}

/* The window's maps and what to ask for; false: there are none left. */
static bool gather(struct read *rd, struct rec_want *wants)
{
    const struct msg_stage *stage = rd->run->stage;
    for (; rd->next < stage->maps.n && rd->nmaps < HOST_FDS_MAX; rd->next++) {
        const struct rec_map *m = &stage->maps.v[rd->next];
        if (m->stage != rd->shuffle || m->bytes == 0)
            continue;
        struct rec_want *w = &wants[rd->nmaps];
        rd->maps[rd->nmaps++] = (struct read_map){ .map = m, .fd = -1 };
        *w = read_want(m);
        if (m->bytes > READ_WHOLE_BYTES) {
            w->tail = 1;
            w->offset = w->length = READ_TAIL_BYTES;
        }
    }
    return rd->nmaps > 0;
}

/* Take over every descriptor before judging any: none may leak. */
static int fetch_maps(struct read *rd, const struct rec_want *wants)
{
    struct rec_got got[HOST_FDS_MAX];
    int fds[HOST_FDS_MAX];
    if (run_fetch(rd->run, wants, rd->nmaps, got, fds))
        return -1;
    for (uint32_t i = 0; i < rd->nmaps; i++) {
        struct read_map *m = &rd->maps[i];
        m->fd = got[i].code ? -1 : fds[i];
        m->base = got[i].base;
        m->end = got[i].base + got[i].length;
    }
    for (uint32_t i = 0; i < rd->nmaps; i++) {
        struct read_map *m = &rd->maps[i];
        if (m->fd < 0)
            return read_got_fail(rd->run, m->map, &got[i]);
        if (got[i].total != m->map->bytes || m->end < m->base || m->end > got[i].total)
            return read_fail(rd->run, m->map, "its size is not what its map said");
    }
    return 0;
}

/* The index, when the tail was too short for it. */
static int fetch_index(struct read *rd, struct read_map *m)
{
    struct rec_want want = read_want(m->map);
    struct rec_got got;
    int fd;
    want.offset = m->footer.index_offset;
    want.length = m->map->bytes - want.offset;
    if (run_fetch(rd->run, &want, 1, &got, &fd))
        return -1;
    if (got.code)
        return read_got_fail(rd->run, m->map, &got);
    close(m->fd);
    m->fd = fd;
    m->base = got.base;
    m->end = got.base + got.length;
    return 0;
}

static int open_map(struct read *rd, struct read_map *m)
{
    struct error e;
    uint64_t total = m->map->bytes;
    if (total < sizeof m->footer)
        return read_fail(rd->run, m->map, "it is too short for a footer");
    if (read_at(rd, m, total - sizeof m->footer, &m->footer, sizeof m->footer))
        return -1;
    if (mapfile_footer(&m->footer, total, rd->kind, &e))
        return read_fail(rd->run, m->map, e.words);
    if (m->footer.index_offset < m->base && fetch_index(rd, m))
        return -1;
    uint8_t *index = buf_grow(&m->index_bytes, m->footer.index_bytes);
    if (read_at(rd, m, m->footer.index_offset, index, m->footer.index_bytes))
        return -1;
    if (mapfile_index(&m->footer, index, &m->index, &e))
        return read_fail(rd->run, m->map, e.words);
    if (rd->kind == MAP_HASH && (rd->lo > rd->hi || rd->hi > m->index.buckets))
        return read_fail(rd->run, m->map, "it has fewer buckets than the stage says");
    return 0;
}

/* ---- runs ------------------------------------------------------------------------------ */

static void add_run(struct read *rd, struct read_run run)
{
    rd->rows += run.rows;
    rd->most = run.rows > rd->most ? run.rows : rd->most;
    if (run.at == run.end)
        return;
    buf_put(&rd->runs, &run, sizeof run);
    rd->nruns++;
}

/* How many of the frames from..to-1 begin before `key`. */
static uint64_t frames_below(const struct map_index *x, uint64_t from, uint64_t to, struct bytes key)
{
    uint64_t low = from;
    while (low < to) {
        uint64_t mid = low + (to - low) / 2;
        if (bytes_cmp((struct bytes){ x->frames[mid].first, x->frames[mid].n }, key) < 0)
            low = mid + 1;
        else
            to = mid;
    }
    return low - from;
}

/* The frames that may hold rows within the cuts: rows equal to the lower one may lie at the end of the frame before. */
static void range_run(struct read *rd, uint32_t map, uint32_t run)
{
    const struct map_index *x = &rd->maps[map].index;
    uint64_t from = x->firsts[run], to = x->firsts[run + 1];
    if (rd->has_high)
        to = from + frames_below(x, from, to, rd->high);
    if (rd->has_low) {
        uint64_t below = frames_below(x, from, to, rd->low);
        from += below ? below - 1 : 0;
    }
    struct read_run r = { .map = map, .fd = -1, .first = rd->has_low, .last = rd->has_high };
    for (uint64_t i = from; i < to; i++)
        r.rows += x->frames[i].rows;
    if (from < to) {
        r.at = x->frames[from].offset;
        r.end = map_frame_end(x, to - 1);
    }
    add_run(rd, r);
}

static void hash_run(struct read *rd, uint32_t map, uint32_t run)
{
    const struct map_index *x = &rd->maps[map].index;
    const struct map_mark *lo = map_mark(x, run, rd->lo), *hi = map_mark(x, run, rd->hi);
    add_run(rd, (struct read_run){ .map = map,
                                   .run = run,
                                   .fd = -1,
                                   .at = lo->offset,
                                   .end = hi->offset,
                                   .rows = hi->rows - lo->rows });
}

struct read_run read_buckets(const struct read *rd, uint32_t i, uint32_t lo, uint32_t hi)
{
    struct read_run r = ((const struct read_run *)(const void *)rd->runs.p)[i];
    const struct map_index *x = &rd->maps[r.map].index;
    const struct map_mark *from = map_mark(x, r.run, lo), *to = map_mark(x, r.run, hi);
    r.at += from->offset - map_mark(x, r.run, rd->lo)->offset;
    r.end = r.at + (to->offset - from->offset);
    r.rows = to->rows - from->rows;
    return r;
}

bool read_last(const struct read *rd)
{
    return rd->next == rd->run->stage->maps.n;
}

static void find_runs(struct read *rd)
{
    for (uint32_t m = 0; m < rd->nmaps; m++)
        for (uint32_t r = 0; r < rd->maps[m].index.runs; r++)
            (rd->kind == MAP_HASH ? hash_run : range_run)(rd, m, r);
}

static int take_stretch(struct read *rd, struct read_run *r, const struct rec_got *got, int fd)
{
    const struct rec_map *map = rd->maps[r->map].map;
    if (got->code)
        return read_got_fail(rd->run, map, got);
    r->fd = fd;
    r->own = true;
    if (got->base > r->at || got->base + got->length < r->end)
        return read_fail(rd->run, map, "only a part of it came");
    r->at -= got->base;
    r->end -= got->base;
    return 0;
}

/* Ask for the stretches of these runs, at most a window of them. */
static int fetch_stretches(struct read *rd, const uint32_t *which, uint32_t n)
{
    struct rec_want wants[HOST_FDS_MAX];
    struct rec_got got[HOST_FDS_MAX];
    int fds[HOST_FDS_MAX], failed = 0;
    for (uint32_t i = 0; i < n; i++) {
        const struct read_run *r = read_run(rd, which[i]);
        wants[i] = read_want(rd->maps[r->map].map);
        wants[i].offset = r->at;
        wants[i].length = r->end - r->at;
    }
    if (n == 0)
        return 0;
    if (run_fetch(rd->run, wants, n, got, fds))
        return -1;
    for (uint32_t i = 0; i < n; i++) {
        if (!failed)
            failed = take_stretch(rd, read_run(rd, which[i]), &got[i], fds[i]);
        else if (!got[i].code)
            close(fds[i]);
    }
    return failed;
}

static int fetch_runs(struct read *rd)
{
    uint32_t which[HOST_FDS_MAX], n = 0;
    for (uint32_t i = 0; i < rd->nruns; i++) {
        struct read_run *r = read_run(rd, i);
        const struct read_map *m = &rd->maps[r->map];
        if (r->at >= m->base && r->end <= m->end) {
            r->fd = m->fd;
            r->at -= m->base;
            r->end -= m->base;
            continue;
        }
        which[n++] = i;
        if (n == HOST_FDS_MAX) {
            if (fetch_stretches(rd, which, n))
                return -1;
            n = 0;
        }
    }
    return fetch_stretches(rd, which, n);
}

static void window_close(struct read *rd)
{
    for (uint32_t i = 0; i < rd->nruns; i++)
        if (read_run(rd, i)->own)
            close(read_run(rd, i)->fd);
    for (uint32_t i = 0; i < rd->nmaps; i++) {
        if (rd->maps[i].fd >= 0)
            close(rd->maps[i].fd);
        buf_fini(&rd->maps[i].index_bytes);
    }
    buf_reset(&rd->runs);
    rd->nruns = rd->nmaps = 0;
    rd->rows = rd->most = 0;
}

int read_window(struct read *rd)
{
    struct rec_want wants[HOST_FDS_MAX];
    window_close(rd);
    if (!gather(rd, wants))
        return 0;
    if (fetch_maps(rd, wants))
        return -1;
    for (uint32_t i = 0; i < rd->nmaps; i++)
        if (open_map(rd, &rd->maps[i]))
            return -1;
    find_runs(rd);
    for (uint32_t i = 0; i < rd->nruns; i++)
        rd->run->report->bytes_read += read_run(rd, i)->end - read_run(rd, i)->at;
    return fetch_runs(rd) ? -1 : 1;
}

void read_stream(struct read *rd, uint32_t i, fe_type key, fe_type value, uint32_t step, struct stream *out)
{
    const struct read_run *r = read_run(rd, i);
    stream_start(out, r->fd, r->at, r->end, key, value, step);
}

uint32_t read_keep(struct read *rd)
{
    for (uint32_t i = 0; i < rd->nruns; i++)
        if (read_run(rd, i)->own) {
            buf_put(&rd->kept, &read_run(rd, i)->fd, sizeof(int));
            read_run(rd, i)->own = false;
        }
    for (uint32_t i = 0; i < rd->nmaps; i++) {
        buf_put(&rd->kept, &rd->maps[i].fd, sizeof(int));
        rd->maps[i].fd = -1;
    }
    return (uint32_t)(rd->kept.n / sizeof(int));
}

void read_drop(struct read *rd)
{
    for (size_t i = 0; i < rd->kept.n / sizeof(int); i++)
        close(((const int *)(const void *)rd->kept.p)[i]);
    buf_reset(&rd->kept);
}

void read_fini(struct read *rd)
{
    window_close(rd);
    read_drop(rd);
    buf_fini(&rd->kept);
    buf_fini(&rd->runs);
}
