/* pagerank.c - the limit that Ferro's PageRank is held against: pagerank EDGES NODES ITERATIONS OUTPUT [THREADS=2]
 *
 * EDGES are records {int64 from, to} of nodes below NODES; repeated ones count again.  A rank
 * starts at 1 and becomes 0.15 + 0.85 * the sum, over edges into the node, of rank[from] / edges out
 * of from.  What nodes without edges out hold is not shared out.  A line is node and rank, by node, of
 * all that an edge names.
 *
 * What was tried, in seconds of CPU time for 1 M nodes, 5 M edges (80 MB) and 10 iterations, uniform and
 * skewed (2-core Intel VM with 2 MB of second-level cache a core, one thread; two take half the time):
 *
 *   adding along the edges as the file has them                 0.58   0.41
 *   sources sorted by target (counted, then placed), sums pulled,
 *     rank / edges out kept beside the rank; ranks by printf    0.42   0.38
 *   ranks' 17 digits by 128-bit integers, not by printf         0.28   0.25
 *
 * The last one's without huge pages: 0.32, 0.28.  Of its 0.28 s sorting takes 0.09, the iterations 0.16
 * (3 ns an edge), the output 0.03.  Dropped, as they gave nothing: four edges a turn (0.29, 0.25), and
 * prefetching 32 edges ahead (0.30, 0.26): an iteration's loads don't wait for each other.
 */
#include "lib/numbers.h"
#include "lib/tools.h"

#include <pthread.h>
#include <unistd.h>

#define DAMPING 0.85
#define LINE_MAX (PUT_I64_MAX + PUT_F64_MAX + 2)

struct edge {
    int64_t from, to;
};

struct graph {
    const struct edge *edges;
    size_t edge_count;
    uint32_t nodes;
    unsigned threads;
    int iterations;
    /* Of each thread's share of the edges: edges out of a node, and into it; the latter become
     * where in sources the thread puts the next edge into the node. */
    uint32_t *out[THREADS_MAX], *in[THREADS_MAX];
    uint32_t *start;               /* of each node's edges in sources; one more at the end */
    uint32_t *sources;             /* of edges, by target */
    uint32_t cut[THREADS_MAX + 1]; /* nodes of each thread, with a like number of edges into them */
    double *gift[2];               /* rank / edges out, before and after an iteration */
    double *rank;
    pthread_barrier_t turn;
    char *text[THREADS_MAX];
    size_t bytes[THREADS_MAX];
    int fd;
};

static const struct edge *share(const struct graph *g, int thread, size_t *count)
{
    size_t first = g->edge_count * thread / g->threads;
    *count = g->edge_count * (thread + 1) / g->threads - first;
    return g->edges + first;
}

static void count_edges(void *context, unsigned thread)
{
    struct graph *g = context;
    size_t n;
    const struct edge *e = share(g, thread, &n);
    uint32_t *out = g->out[thread], *in = g->in[thread];
    for (size_t i = 0; i < n; i++) {
        if ((uint64_t)e[i].from >= g->nodes || (uint64_t)e[i].to >= g->nodes) {
            die_of("EDGES", "a node is not from 0 to NODES - 1");
        }
        out[e[i].from]++;
        in[e[i].to]++;
    }
}

static void place_edges(struct graph *g)
{
    uint32_t at = 0;
    for (uint32_t v = 0; v < g->nodes; v++) {
        g->start[v] = at;
        for (unsigned t = 0; t < g->threads; t++) {
            uint32_t n = g->in[t][v];
            g->in[t][v] = at;
            at += n;
        }
        for (unsigned t = 1; t < g->threads; t++)
            g->out[0][v] += g->out[t][v];
    }
    g->start[g->nodes] = at;
    uint32_t v = 0;
    for (unsigned t = 1; t < g->threads; t++) {
        while (v < g->nodes && g->start[v] < g->edge_count * t / g->threads)
            v++;
        g->cut[t] = v;
    }
    g->cut[g->threads] = g->nodes;
}

static void sort_edges(void *context, unsigned thread)
{
    struct graph *g = context;
    size_t n;
    const struct edge *e = share(g, thread, &n);
    uint32_t *in = g->in[thread];
    for (size_t i = 0; i < n; i++)
        g->sources[in[e[i].to]++] = (uint32_t)e[i].from;
}

static inline double gift_of(const struct graph *g, uint32_t v, double rank)
{
    uint32_t out = g->out[0][v];
    return rank / (out ? out : 1);
}

static void iterate(void *context, unsigned thread)
{
    struct graph *g = context;
    uint32_t first = g->cut[thread], end = g->cut[thread + 1];
    for (uint32_t v = first; v < end; v++)
        g->gift[0][v] = gift_of(g, v, g->rank[v] = 1.0);
    for (int i = 0; i < g->iterations; i++) {
        const double *gift = g->gift[i % 2];
        double *next = g->gift[(i + 1) % 2];
        pthread_barrier_wait(&g->turn);
        const uint32_t *source = g->sources + g->start[first];
        for (uint32_t v = first; v < end; v++) {
            double sum = 0;
            for (const uint32_t *last = g->sources + g->start[v + 1]; source < last; source++)
                sum += gift[*source];
            next[v] = gift_of(g, v, g->rank[v] = 1 - DAMPING + DAMPING * sum);
        }
    }
}

static void make_lines(void *context, unsigned thread)
{
    struct graph *g = context;
    char *p = g->text[thread];
    for (uint32_t v = g->cut[thread]; v < g->cut[thread + 1]; v++) {
        if (!g->out[0][v] && g->start[v] == g->start[v + 1])
            continue;
        p = put_u64(p, v);
        *p++ = '\t';
        p = put_f64(p, g->rank[v]);
        *p++ = '\n';
    }
    g->bytes[thread] = (size_t)(p - g->text[thread]);
}

static void write_lines(void *context, unsigned thread)
{
    struct graph *g = context;
    size_t at = 0;
    for (unsigned t = 0; t < thread; t++)
        at += g->bytes[t];
    write_at(g->fd, g->text[thread], g->bytes[thread], (off_t)at);
}

static void make_room(struct graph *g)
{
    for (unsigned t = 0; t < g->threads; t++) {
        g->out[t] = huge_new(g->nodes * sizeof(uint32_t));
        g->in[t] = huge_new(g->nodes * sizeof(uint32_t));
    }
    g->start = huge_new((g->nodes + 1ull) * sizeof(uint32_t));
    g->sources = huge_new((g->edge_count + 1) * sizeof(uint32_t));
    g->rank = huge_new(g->nodes * sizeof(double));
    for (int i = 0; i < 2; i++)
        g->gift[i] = huge_new(g->nodes * sizeof(double));
}

int main(int argc, char **argv)
{
    struct graph g = { .threads = thread_count(argc, argv, 6, "EDGES NODES ITERATIONS OUTPUT") };
    g.edges = map_records(argv[1], sizeof *g.edges, &g.edge_count);
    g.nodes = (uint32_t)number_argument(argv[2], 1, UINT32_MAX - 1, "NODES");
    g.iterations = (int)number_argument(argv[3], 0, 1000000, "ITERATIONS");
    if (g.edge_count > UINT32_MAX)
        die_of(argv[1], "too many edges");
    make_room(&g);
    in_threads(g.threads, count_edges, &g);
    place_edges(&g);
    in_threads(g.threads, sort_edges, &g);
    pthread_barrier_init(&g.turn, NULL, g.threads);
    in_threads(g.threads, iterate, &g);
    for (unsigned t = 0; t < g.threads; t++)
        g.text[t] = huge_new((size_t)(g.cut[t + 1] - g.cut[t]) * LINE_MAX + 1);
    in_threads(g.threads, make_lines, &g);
    g.fd = create_output(argv[4]);
    in_threads(g.threads, write_lines, &g);
    close(g.fd);
    return 0;
}
