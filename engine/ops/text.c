/* text.c - the lines of text files.
 *
 * A piece that doesn't begin at 0 starts after the first newline at or after
 * begin-1, and reads its last line past its end: so each line is read once,
 * wherever the splits fall.  Large pieces are mapped and their lines handed up
 * without a copy; small ones are read one behind the other into one buffer, each
 * line with its newline.  A batch has lines of one piece, so that a function can ask
 * which file that is.  Mapped lines last as long as the operator, up to a bound.
 */
#include "engine/ops/source.h"

#include <stdlib.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#define SMALL_BYTES (1u << 20) /* below: read; from here on: mapped */
#define LINE_BYTES_MAX (1u << 30)
#define TAIL_BYTES_FIRST 4096u
#define KEPT_BYTES_MAX (64ull << 20) /* of mapped pieces that were read, before the last */

struct text {
    struct op op;
    struct run *run;
    struct file_piece *pieces; /* in the run's arena */
    uint32_t n, next;
    struct buf read; /* lines of small pieces */
    struct {
        size_t end; /* in `read` */
        const char *path;
    } small[HOST_FDS_MAX]; /* the pieces in it */
    uint32_t nsmall, at_small;
    struct mapping map; /* a large one */
    struct buf kept;    /* earlier ones: struct mapping */
    uint64_t kept_bytes;
    const uint8_t *at, *end; /* lines not yet handed up */
    struct batch batch;
    uint32_t ends[BATCH_ROWS];
};

/* ---- small pieces: read ---------------------------------------------------------- */

/* The read buffer ends within the piece's last line: the rest of it. */
static int last_line_read(struct text *t, const struct file_piece *p, struct source *s)
{
    uint64_t at = p->end, step = TAIL_BYTES_FIRST;
    while (at < p->bytes) {
        uint64_t n = p->bytes - at < step ? p->bytes - at : step;
        if (source_reach(t->run, p, at + n, s))
            return -1;
        uint8_t *to = buf_grow(&t->read, n + 1);
        if (source_read(t->run, p, s, to, at, n))
            return -1;
        const uint8_t *newline = memchr(to, '\n', n);
        if (newline) {
            t->read.n += (size_t)(newline + 1 - to);
            return 0;
        }
        t->read.n += n;
        at += n;
        step *= 2;
        if (at - p->end > LINE_BYTES_MAX)
            return run_fail(t->run, CAUSE_INPUT, "%s: a line of over 1 GiB", p->path);
    }
    buf_put(&t->read, "\n", 1);
    return 0;
}

static int piece_read(struct text *t, const struct file_piece *p, struct source *s)
{
    uint64_t from = piece_from(p);
    size_t n = (size_t)(p->end - from), skip = 0;
    uint8_t *to = buf_grow(&t->read, n + 1);
    if (source_read(t->run, p, s, to, from, n))
        return -1;
    if (p->begin) {
        const uint8_t *newline = memchr(to, '\n', n - 1);
        if (!newline)
            return 0;
        skip = (size_t)(newline + 1 - to);
        memmove(to, to + skip, n - skip);
    }
    t->read.n += n - skip;
    return to[n - skip - 1] == '\n' ? 0 : last_line_read(t, p, s);
}

static bool is_small(const struct file_piece *p)
{
    return p->end - p->begin < SMALL_BYTES;
}

/* As many small pieces as one request can bring and one buffer holds. */
static int small_pieces(struct text *t)
{
    struct source sources[HOST_FDS_MAX];
    const struct file_piece *pieces = t->pieces + t->next;
    uint64_t bytes = 0;
    uint32_t n = 0;
    for (; t->next + n < t->n && n < HOST_FDS_MAX && is_small(&pieces[n]) && bytes < SMALL_BYTES; n++)
        bytes += pieces[n].end - pieces[n].begin;
    buf_reset(&t->read);
    buf_grow(&t->read, bytes + n + 2); /* at once: a piece's first byte, a newline that is missing */
    if (sources_open(t->run, pieces, n, sources))
        return -1;
    for (uint32_t i = 0; i < n; i++) {
        if (!t->run->failed)
            piece_read(t, &pieces[i], &sources[i]);
        source_close(&sources[i]);
        t->small[i].end = t->read.n;
        t->small[i].path = pieces[i].path;
    }
    t->next += n;
    t->batch.lasting = false;
    t->nsmall = n;
    t->at_small = 0;
    t->run->report->bytes_read += bytes;
    t->at = t->end = t->read.p;
    return t->run->failed ? -1 : 0;
}

/* Set at and end to the lines of the next small piece that was read. */
static void small_next(struct text *t)
{
    t->batch.input = t->small[t->at_small].path;
    t->end = t->read.p + t->small[t->at_small++].end; /* they lie one behind the other */
}

/* ---- a large piece: mapped -------------------------------------------------------- */

/* How far the file is looked at, at first, for the end of the piece's last line. */
static uint64_t reach_first(const struct file_piece *p, const struct source *s)
{
    uint64_t reach = s->fetched ? s->base + s->length : p->bytes;
    uint64_t most = p->end + LINE_BYTES_MAX + 1;
    reach = reach < p->bytes ? reach : p->bytes;
    return reach < most ? reach : most;
}

/* Set at and end to the piece's lines. */
static int piece_lines(struct text *t, const struct file_piece *p, struct source *s)
{
    uint64_t from = piece_from(p), to = reach_first(p, s);
    for (;;) {
        const uint8_t *data = source_map(t->run, p, s, from, to, &t->map);
        if (!data)
            return -1;
        const uint8_t *limit = data + (p->end - from);
        t->at = data;
        if (p->begin) {
            const uint8_t *newline = memchr(data, '\n', (size_t)(limit - data) - 1);
            t->at = t->end = newline ? newline + 1 : limit;
            if (!newline)
                return 0;
        }
        const uint8_t *newline = memchr(limit - 1, '\n', (size_t)(data + (to - from) - (limit - 1)));
        t->end = newline ? newline + 1 : data + (to - from);
        if (newline || to == p->bytes)
            return 0;
        mapping_end(&t->map);
        if (to - p->end > LINE_BYTES_MAX)
            return run_fail(t->run, CAUSE_INPUT, "%s: a line of over 1 GiB", p->path);
        uint64_t more = 4 * (to - p->end + TAIL_BYTES_FIRST);
        to = p->bytes - p->end < more ? p->bytes : p->end + more;
        if (source_reach(t->run, p, to, s))
            return -1;
    }
}

/* Their lines were said to last, or they are ended. */
static void mapping_keep(struct text *t)
{
    if (!t->map.p || !t->batch.lasting) {
        mapping_end(&t->map);
        return;
    }
    buf_put(&t->kept, &t->map, sizeof t->map);
    t->kept_bytes += t->map.bytes;
    t->map = (struct mapping){ 0 };
}

static int large_piece(struct text *t)
{
    const struct file_piece *p = &t->pieces[t->next++];
    struct source s;
    if (sources_open(t->run, p, 1, &s))
        return -1;
    int failed = piece_lines(t, p, &s);
    t->batch.input = p->path;
    t->batch.lasting = t->kept_bytes + t->map.bytes <= KEPT_BYTES_MAX;
    source_close(&s); /* the mapping stays */
    t->run->report->bytes_read += p->end - p->begin;
    return failed;
}

/* ---- lines -------------------------------------------------------------------------- */

/* Where the newlines in p[0..n) are, at most BATCH_ROWS: how many. */
static uint32_t newlines(const uint8_t *p, uint32_t n, uint32_t *at)
{
    uint32_t rows = 0, i = 0;
#ifdef __SSE2__
    const __m128i newline = _mm_set1_epi8('\n');
    for (; i + 64 <= n; i += 64) {
        uint64_t mask = 0;
        for (uint32_t k = 0; k < 64; k += 16) {
            __m128i block = _mm_loadu_si128((const __m128i *)(const void *)(p + i + k));
            mask |= (uint64_t)(uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(block, newline)) << k;
        }
        for (; mask; mask &= mask - 1) {
            at[rows++] = i + (uint32_t)__builtin_ctzll(mask);
            if (rows == BATCH_ROWS)
                return rows;
        }
    }
#endif
    for (const uint8_t *found; i < n && rows < BATCH_ROWS && (found = memchr(p + i, '\n', n - i));
         i = at[rows - 1] + 1)
        at[rows++] = (uint32_t)(found - p);
    return rows;
}

/* The next batch of what lies between at and end. */
static int lines_cut(struct text *t)
{
    size_t n = (size_t)(t->end - t->at), used;
    uint32_t some = n < BATCH_BYTES ? (uint32_t)n : BATCH_BYTES;
    uint32_t rows = newlines(t->at, some, t->ends);
    if (rows)
        used = t->ends[rows - 1] + 1u;
    else {
        const uint8_t *newline = memchr(t->at + some, '\n', n - some);
        size_t line = newline ? (size_t)(newline - t->at) : n;
        if (line > LINE_BYTES_MAX)
            return run_fail(t->run, CAUSE_INPUT, "%s: a line of over 1 GiB", t->batch.input);
        t->ends[0] = (uint32_t)line;
        used = line + (newline != NULL);
        rows = 1;
    }
    t->batch.rows = rows;
    t->batch.value.data = t->at;
    t->at += used;
    t->batch.lines = t->at[-1] == '\n'; /* the file's last line may have none */
    return 1;
}

static int text_next(struct op *op, const struct batch **out)
{
    struct text *t = (struct text *)op;
    while (t->at == t->end) {
        if (t->at_small < t->nsmall) {
            small_next(t);
            continue;
        }
        if (t->next == t->n)
            return 0;
        mapping_keep(t);
        if (is_small(&t->pieces[t->next]) ? small_pieces(t) : large_piece(t))
            return -1;
    }
    *out = &t->batch;
    return lines_cut(t);
}

static void text_free(struct op *op)
{
    struct text *t = (struct text *)op;
    mapping_end(&t->map);
    for (size_t i = 0; i < t->kept.n / sizeof(struct mapping); i++)
        mapping_end((struct mapping *)(void *)t->kept.p + i);
    buf_fini(&t->kept);
    buf_fini(&t->read);
    free(t);
}

fe_slice fe_input_name(const fe_task *t)
{
    const struct emitter *e = t->priv;
    return fe_str(e->input ? e->input : "");
}

struct op *op_text(struct run *r, const struct leaf *leaf)
{
    struct text *t = malloc(sizeof *t);
    if (!t)
        abort();
    *t = (struct text){ .op = { text_next, text_free }, .run = r };
    t->batch.value = (struct vec){ .type = FERRO_TEXT, .gap = 1, .end = t->ends };
    if (leaf_pieces(r, leaf, &t->pieces, &t->n) == 0)
        return &t->op;
    text_free(&t->op);
    return NULL;
}
