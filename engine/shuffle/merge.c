/* merge.c - see merge.h. */
#include "engine/shuffle/merge.h"

#include "engine/frame.h"
#include "engine/shuffle/read.h"
#include "engine/shuffle/sorter.h"
#include "engine/spill/budget.h"

#include <stdlib.h>

void merge_init(struct merge *m, struct run *r, const struct order *o)
{
    *m = (struct merge){ .run = r, .order = *o };
}

void merge_add(struct merge *m, const struct merge_run *run)
{
    buf_put(&m->runs, run, sizeof *run);
    m->foreign += run->fd >= 0;
}

uint32_t merge_width(const struct merge *m)
{
    uint64_t width = budget_left(m->run) / MERGE_CURSOR_BYTES;
    return width < 2 ? 2 : width > MERGE_WIDTH_MAX ? MERGE_WIDTH_MAX : (uint32_t)width;
}

/* ---- one run ------------------------------------------------------------------------ */

static int unreadable(struct merge *m, const struct cursor *c, const char *words)
{
    if (c->run.map)
        return read_fail(m->run, c->run.map, words);
    return run_fail(m->run, CAUSE_ERROR, "a spill in the folder %s: %s", m->run->env->disk, words);
}

static inline bool prefix_less(struct prefix a, struct prefix b)
{
    return a.hi != b.hi ? a.hi < b.hi : a.lo < b.lo;
}

/* No row with a lower prefix has this normal form or a later one.  Behind a struct by whose value rows are sorted, the
 * normal form goes on with the key, and the prefix doesn't. */
static struct prefix normal_prefix(const struct order *o, struct bytes normal)
{
    uint64_t p[2] = { 0 };
    size_t n = normal.n < sizeof p ? normal.n : sizeof p;
    if (o->by == BY_VALUE && o->value != FERRO_TEXT && o->value != FERRO_I64 && o->value != FERRO_F64)
        n = n < type_size(o->value) ? n : type_size(o->value);
    if (n)
        memcpy(p, normal.p, n);
    return (struct prefix){ __builtin_bswap64(p[0]), __builtin_bswap64(p[1]) };
}

static int below(const struct merge *m, const struct cursor *c, struct bytes cut)
{
    uint8_t normal[NORMAL_BYTES_MAX];
    struct bytes n = { normal, order_normal(&m->order, c->key, c->value, normal) };
    return bytes_cmp(n, cut) < 0;
}

static int load_frame(struct merge *m, struct cursor *c)
{
    struct error e;
    int got;
    do
        got = stream_next(&c->stream, &c->batch, &e);
    while (got > 0 && c->batch.rows == 0);
    if (got < 0)
        return unreadable(m, c, e.words);
    c->over = got == 0;
    c->row = 0;
    c->hash = c->batch.hash;
    if (got && m->order.by == BY_HASH && !c->hash) {
        buf_reset(&c->hashes);
        uint64_t *hash = (uint64_t *)(void *)buf_grow(&c->hashes, c->batch.rows * sizeof *hash);
        vec_hash(&c->batch.key, NULL, c->batch.rows, hash);
        c->hash = hash;
    }
    return 0;
}

/* At c->row, which may be one beyond the batch. */
static int arrive(struct merge *m, struct cursor *c)
{
    if (c->row == c->batch.rows && load_frame(m, c))
        return -1;
    if (c->over)
        return 0;
    c->key = vec_at(&c->batch.key, c->row);
    c->value = vec_at(&c->batch.value, c->row);
    c->prefix = order_prefix(&m->order, c->key, c->value, m->order.by == BY_HASH ? c->hash[c->row] : 0);
    if (c->run.last && !prefix_less(c->prefix, m->high_prefix) && !below(m, c, m->high))
        c->over = true;
    return 0;
}

static int open_run(struct merge *m, struct cursor *c, const struct merge_run *run)
{
    c->run = *run;
    stream_start(&c->stream, run->fd < 0 ? m->spill.file.fd : run->fd, run->at, run->end, m->order.key,
                 m->order.value, STREAM_BY_FRAME);
    if (arrive(m, c))
        return -1;
    while (run->first && !c->over && below(m, c, m->low)) {
        c->row++;
        if (arrive(m, c))
            return -1;
    }
    c->run.first = false;
    return 0;
}

/* ---- the tree ------------------------------------------------------------------------ */

static bool before_in_full(const struct merge *m, uint32_t i, uint32_t k)
{
    const struct cursor *a = &m->cursors[i], *b = &m->cursors[k];
    if (a->over || b->over)
        return a->over == b->over ? i < k : b->over;
    int order = order_rest(&m->order, a->key, a->value, b->key, b->value);
    return order ? order < 0 : i < k;
}

static inline bool before(const struct merge *m, const struct player *a, const struct player *b)
{
    if (a->prefix.hi != b->prefix.hi)
        return a->prefix.hi < b->prefix.hi;
    if (a->prefix.lo != b->prefix.lo)
        return a->prefix.lo < b->prefix.lo;
    return before_in_full(m, a->run, b->run);
}

static inline struct player player_of(const struct merge *m, uint32_t run)
{
    const struct cursor *c = &m->cursors[run];
    struct prefix last = { UINT64_MAX, UINT64_MAX };
    return (struct player){ c->over ? last : c->prefix, run };
}

/* Node `at`'s winner; the losers stay on the way.  Leaves are n..2n-1. */
static struct player play(struct merge *m, uint32_t at)
{
    if (at >= m->n)
        return player_of(m, at - m->n);
    struct player a = play(m, 2 * at), b = play(m, 2 * at + 1);
    bool first = before(m, &a, &b);
    m->tree[at] = first ? b : a;
    return first ? a : b;
}

int merge_advance(struct merge *m)
{
    uint32_t run = m->tree[0].run;
    struct cursor *c = &m->cursors[run];
    c->row++;
    if (arrive(m, c))
        return -1;
    struct player winner = player_of(m, run);
    for (uint32_t at = (run + m->n) / 2; at; at /= 2)
        if (before(m, &m->tree[at], &winner)) {
            struct player loser = winner;
            winner = m->tree[at];
            m->tree[at] = loser;
        }
    m->tree[0] = winner;
    return 0;
}

static void close_runs(struct merge *m)
{
    for (uint32_t i = 0; i < m->n; i++) {
        stream_fini(&m->cursors[i].stream);
        buf_fini(&m->cursors[i].hashes);
    }
    free(m->cursors);
    free(m->tree);
    m->cursors = NULL;
    m->tree = NULL;
    m->n = 0;
    budget_release(m->run, m->held);
    m->held = 0;
}

static int open_runs(struct merge *m, uint32_t n)
{
    m->cursors = calloc(n + 1ull, sizeof *m->cursors);
    m->tree = calloc(n + 1ull, sizeof *m->tree);
    if (!m->cursors || !m->tree)
        abort();
    m->n = n;
    m->high_prefix = normal_prefix(&m->order, m->high);
    m->held = n * (uint64_t)MERGE_CURSOR_BYTES;
    budget_force(m->run, m->held);
    const struct merge_run *runs = (const struct merge_run *)(const void *)m->runs.p + m->next;
    m->next += n;
    for (uint32_t i = 0; i < n; i++) {
        m->foreign -= runs[i].fd >= 0;
        if (open_run(m, &m->cursors[i], &runs[i]))
            return -1;
    }
    m->tree[0] = play(m, 1); /* of one run, it is node 1 */
    return 0;
}

/* ---- more runs than can be open ---------------------------------------------------------- */

static int put_frame(struct merge *m, struct columns *c)
{
    struct batch b;
    columns_batch(c, &b);
    int failed = mapfile_put(&m->spill, &b, NULL, 0);
    columns_reset(c);
    return failed;
}

static int copy_rows(struct merge *m)
{
    struct columns c;
    int failed = 0;
    columns_init(&c, m->order.key, m->order.value, m->order.by == BY_HASH);
    for (struct cursor *top; !failed && (top = merge_top(m)) != NULL;) {
        if (columns_full(&c, top->key.n + top->value.n, FRAME_ROWS_MAX, SORTED_FRAME_BYTES))
            failed = put_frame(m, &c);
        columns_put(&c, top->key, top->value, top->prefix.hi);
        failed = failed || merge_advance(m) ? -1 : 0;
    }
    if (c.rows && !failed)
        failed = put_frame(m, &c);
    columns_fini(&c);
    return failed;
}

/* The next `n` runs become one, at the end of the list. */
static int merge_some(struct merge *m, uint32_t n)
{
    if (!m->spill.file.run && mapfile_open(&m->spill, m->run, MAP_RANGE, 0, true))
        return -1;
    struct merge_run out = { .fd = -1, .at = spillfile_end(&m->spill.file) };
    int failed = mapfile_run(&m->spill) || open_runs(m, n) || copy_rows(m) || spillfile_flush(&m->spill.file);
    close_runs(m);
    out.end = spillfile_end(&m->spill.file);
    merge_add(m, &out);
    return failed ? -1 : 0;
}

int merge_settle(struct merge *m)
{
    while (m->foreign) {
        uint32_t n = merge_count(m), width = merge_width(m);
        if (merge_some(m, n < width ? n : width))
            return -1;
    }
    return 0;
}

int merge_start(struct merge *m)
{
    for (uint32_t n, width; (n = merge_count(m)) > (width = merge_width(m));)
        if (merge_some(m, n - width + 1 < width ? n - width + 1 : width))
            return -1;
    return merge_count(m) ? open_runs(m, merge_count(m)) : 0;
}

void merge_fini(struct merge *m)
{
    if (!m->run)
        return;
    close_runs(m);
    mapfile_close(&m->spill);
    buf_fini(&m->runs);
    *m = (struct merge){ 0 };
}
