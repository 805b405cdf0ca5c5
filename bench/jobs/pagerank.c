/* pagerank.c - the pages' ranks after some iterations: pagerank EDGES NODES ITERATIONS OUT
 *
 * EDGES is a file of {int64 from, int64 to}, both below NODES.  A node's rank starts at 1 and becomes
 * 0.15 + 0.85 * the sum of rank[from] / outdegree[from] over its in-edges; what a node without out-edges has goes nowhere.
 *
 * Nodes are taken in blocks.  The edges are brought together by their target's block once, in order, and cached as
 * lists of sources.  What each node gives along an edge (its gift) is small: each iteration all gifts go to the executors as
 * a broadcast array, and a block's next ones come back; the last one's ranks are saved where they are made.
 */
#include <ferro.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DAMPING 0.85

enum { BLOCK = 4096, PIECE = 512 };

struct edge {
    int64_t from, to;
};
struct graph {
    int64_t nodes;
    fe_shared gifts; /* double[nodes] */
};

/* What is known of a block before all of it is together. */
struct piece {
    enum { EDGES, OUT_DEGREES } kind;
    uint32_t n; /* of edges */
    struct {
        uint32_t from, to; /* to: in the block */
    } edges[PIECE];
};
struct out_degrees {
    uint32_t kind, n;
    uint32_t of[BLOCK]; /* one after the other, these make each block's half of a `struct block` */
};

/* A block's edges by target: those into its node v are from[ends[v - 1]] to from[ends[v] - 1]. */
struct block {
    uint32_t out[BLOCK], ends[BLOCK], from[];
};

static void *zeroed(size_t n, size_t size)
{
    void *p = calloc(n ? n : 1, size);
    if (!p)
        abort();
    return p;
}

static int64_t blocks_of(int64_t nodes)
{
    return (nodes + BLOCK - 1) / BLOCK;
}

/* ---- edges by target -------------------------------------------------------------- */

static void put_piece(fe_task *t, int64_t block, struct piece *p)
{
    fe_slice whole = { (const char *)p, offsetof(struct piece, edges) + p->n * sizeof *p->edges };
    if (p->n)
        fe_emit(t, block, whole);
    p->n = 0;
}

static void put_out_degrees(fe_task *t, int64_t blocks, const uint32_t *out)
{
    struct out_degrees d = { OUT_DEGREES, BLOCK, { 0 } };
    for (int64_t b = 0; b < blocks; b++) {
        uint32_t any = 0;
        for (int i = 0; i < BLOCK; i++)
            any |= d.of[i] = out[b * BLOCK + i];
        if (any)
            fe_emit(t, b, ((fe_slice){ (const char *)&d, sizeof d }));
    }
}

static void put_edge(fe_task *t, struct piece *pieces, const struct edge *e)
{
    struct piece *p = &pieces[e->to / BLOCK];
    p->edges[p->n].from = (uint32_t)e->from;
    p->edges[p->n].to = (uint32_t)(e->to % BLOCK);
    if (++p->n == PIECE)
        put_piece(t, e->to / BLOCK, p);
}

static int by_target(fe_task *t, fe_rows *file)
{
    int64_t nodes = FERRO_ARGS(struct graph, t)->nodes, blocks = blocks_of(nodes);
    uint32_t *out = zeroed((size_t)blocks * BLOCK, sizeof *out);
    struct piece *pieces = zeroed((size_t)blocks, sizeof *pieces);
    const void *edges;
    bool sane = true;
    for (size_t n; sane && (n = fe_rows_array(file, NULL, &edges)) > 0;)
        for (const struct edge *e = edges, *end = e + n; e < end && sane; e++) {
            sane = (uint64_t)e->from < (uint64_t)nodes && (uint64_t)e->to < (uint64_t)nodes;
            if (!sane) {
                fe_fail(t, "edge %lld to %lld: there are %lld nodes", (long long)e->from, (long long)e->to,
                        (long long)nodes);
                break;
            }
            out[e->from]++;
            put_edge(t, pieces, e);
        }
    for (int64_t b = 0; b < blocks; b++)
        put_piece(t, b, &pieces[b]);
    put_out_degrees(t, blocks, out);
    free(pieces);
    free(out);
    return 0;
}

/* ---- lists of sources ----------------------------------------------------------------- */

/* The pieces of the block that is being put together. */
struct making {
    int64_t number; /* -1: none */
    uint32_t n;     /* edges */
    size_t room;    /* bytes at `edges` */
    char *edges;    /* as in pieces */
    struct block *block;
    size_t block_room;
};

static void *grown(void *p, size_t *room, size_t need)
{
    if (need <= *room)
        return p;
    *room = 2 * need;
    if (!(p = realloc(p, *room)))
        abort();
    return p;
}

static void take_piece(struct making *m, fe_slice value)
{
    const struct piece *p = FERRO_AS(struct piece, value);
    if (p->kind == OUT_DEGREES) {
        const uint32_t *of = FERRO_AS(struct out_degrees, value)->of;
        for (int i = 0; i < BLOCK; i++)
            m->block->out[i] += of[i];
        return;
    }
    size_t had = m->n * sizeof *p->edges, more = p->n * sizeof *p->edges;
    m->edges = grown(m->edges, &m->room, had + more);
    memcpy(m->edges + had, p->edges, more);
    m->n += p->n;
}

/* Counted, then placed: when all are, each `ends` is where it says. */
static void put_block(fe_task *t, struct making *m)
{
    size_t bytes = sizeof(struct block) + m->n * sizeof(uint32_t);
    m->block = grown(m->block, &m->block_room, bytes);
    uint32_t *ends = m->block->ends, at = 0;
    const uint32_t *edge = (const uint32_t *)(void *)m->edges;
    for (uint32_t i = 0; i < m->n; i++)
        ends[edge[2 * i + 1]]++;
    for (int v = 0; v < BLOCK; v++) {
        uint32_t n = ends[v];
        ends[v] = at;
        at += n;
    }
    for (uint32_t i = 0; i < m->n; i++)
        m->block->from[ends[edge[2 * i + 1]]++] = edge[2 * i];
    fe_emit(t, m->number, ((fe_slice){ (const char *)m->block, bytes }));
    m->n = 0;
    memset(m->block, 0, sizeof *m->block);
}

static int by_block(fe_task *t, fe_rows *pieces)
{
    struct making m = { .number = -1, .block = zeroed(1, sizeof *m.block), .block_room = sizeof *m.block };
    fe_slice number, piece;
    while (fe_rows_next(pieces, &number, &piece)) {
        if (m.number >= 0 && fe_i64(number) != m.number)
            put_block(t, &m);
        m.number = fe_i64(number);
        take_piece(&m, piece);
    }
    if (m.number >= 0)
        put_block(t, &m);
    free(m.edges);
    free(m.block);
    return 0;
}

/* ---- an iteration ------------------------------------------------------------------------ */

static double gift(double rank, uint32_t out)
{
    return out ? rank / out : 0;
}

static void first_gifts(fe_task *t, fe_slice number, fe_slice value)
{
    const struct block *b = FERRO_AS(struct block, value);
    double gifts[BLOCK];
    for (int v = 0; v < BLOCK; v++)
        gifts[v] = gift(1, b->out[v]);
    fe_emit(t, fe_i64(number), ((fe_slice){ (const char *)gifts, sizeof gifts }));
}

static inline double rank(const struct block *b, int v, const double *gifts)
{
    double sum = 0;
    for (uint32_t i = v ? b->ends[v - 1] : 0; i < b->ends[v]; i++)
        sum += gifts[b->from[i]];
    return 1 - DAMPING + DAMPING * sum;
}

static void next_gifts(fe_task *t, fe_slice number, fe_slice value)
{
    const struct block *b = FERRO_AS(struct block, value);
    const double *gifts = fe_shared_data(t, FERRO_ARGS(struct graph, t)->gifts);
    double next[BLOCK];
    for (int v = 0; gifts && v < BLOCK; v++)
        next[v] = gift(rank(b, v, gifts), b->out[v]);
    if (gifts)
        fe_emit(t, fe_i64(number), ((fe_slice){ (const char *)next, sizeof next }));
}

/* Nodes that no edge names are none. */
static void ranks(fe_task *t, fe_slice number, fe_slice value)
{
    const struct block *b = FERRO_AS(struct block, value);
    const double *gifts = fe_shared_data(t, FERRO_ARGS(struct graph, t)->gifts);
    for (int v = 0; gifts && v < BLOCK; v++)
        if (b->out[v] || b->ends[v] > (v ? b->ends[v - 1] : 0))
            fe_emit(t, fe_i64(number) * BLOCK + v, rank(b, v, gifts));
}

/* ---- what main does ----------------------------------------------------------------- */

static int collect(fe_set *set, int64_t blocks, double *gifts)
{
    fe_rows *rows;
    fe_slice number, value;
    bool whole = true;
    if (fe_collect(set, &rows))
        return -1;
    while (fe_rows_next(rows, &number, &value)) {
        int64_t b = fe_i64(number);
        whole &= b >= 0 && b < blocks && value.n == BLOCK * sizeof *gifts;
        if (whole)
            memcpy(gifts + b * BLOCK, value.p, value.n);
    }
    fe_rows_free(&rows);
    return whole ? 0 : -1;
}

static fe_set *graph_of(fe_app *app, char **names, const struct graph *g)
{
    fe_set *file = fe_with(fe_binary(app, 1, names, FERRO_STRUCT(struct edge)), g, sizeof *g);
    fe_set *pieces =
        fe_sort_by_key(fe_map_partitions(file, by_target, FERRO_I64, FERRO_TEXT), FERRO_ASCENDING);
    return fe_cache(fe_map_partitions(pieces, by_block, FERRO_I64, FERRO_TEXT));
}

static int iterate(fe_app *app, fe_set *graph, struct graph *g, int iterations, const char *out)
{
    int64_t blocks = blocks_of(g->nodes);
    size_t bytes = (size_t)blocks * BLOCK * sizeof(double);
    double *gifts = zeroed(1, bytes);
    int failed = collect(fe_flat_map(graph, first_gifts, FERRO_I64, FERRO_TEXT), blocks, gifts);
    for (int i = 0; i < iterations && !failed; i++) {
        g->gifts = fe_broadcast(app, gifts, bytes);
        fe_set *given = fe_with(graph, g, sizeof *g);
        if (i < iterations - 1)
            failed = collect(fe_flat_map(given, next_gifts, FERRO_I64, FERRO_TEXT), blocks, gifts);
        else
            failed = fe_save_text(fe_flat_map(given, ranks, FERRO_I64, FERRO_F64), out);
    }
    free(gifts);
    return failed;
}

static int pagerank(fe_app *app, int argc, char **argv)
{
    struct graph g = { argc == 5 ? atoll(argv[2]) : 0, { { 0, 0 }, 0 } };
    int iterations = argc == 5 ? atoi(argv[3]) : 0;
    if (g.nodes < 1 || g.nodes > INT32_MAX || iterations < 1) {
        fprintf(stderr, "usage: pagerank EDGES NODES ITERATIONS OUT\n");
        return -1;
    }
    return iterate(app, graph_of(app, argv + 1, &g), &g, iterations, argv[4]);
}

FERRO_JOB("pagerank", pagerank)
