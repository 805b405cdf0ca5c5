/* pagerank.c - the pages' ranks after some iterations: pagerank EDGES NODES ITERATIONS OUT
 *
 * EDGES is a file of {int64 from, int64 to}, both below NODES.  A node's rank starts at 1 and becomes
 * 0.15 + 0.85 * the sum of rank[from] / outdegree[from] over its in-edges; what a node without out-edges has goes nowhere.
 *
 * The edges are partitioned by their target once, and cached.  The ranks are small: each iteration they go to the executors as
 * a broadcast array, tasks add up what flows into the nodes of their partition, and main puts them together.
 */
#include <ferro.h>
#include <stdio.h>
#include <stdlib.h>

#define DAMPING 0.85

struct edge {
    int64_t from, to;
};
struct row {
    int64_t node;
    double rank;
};
struct graph {
    int64_t nodes;
    fe_shared flow; /* double[nodes]: rank / outdegree */
};

static void *zeroed(size_t n, size_t size)
{
    void *p = calloc(n, size);
    if (!p)
        abort();
    return p;
}

/* ---- what tasks do --------------------------------------------------------------- */

static void by_target(fe_task *t, fe_slice key, fe_slice value)
{
    (void)key;
    const struct edge *e = FERRO_AS(struct edge, value);
    int64_t nodes = FERRO_ARGS(struct graph, t)->nodes;
    if (e->from < 0 || e->from >= nodes || e->to < 0 || e->to >= nodes)
        fe_fail(t, "edge %lld to %lld: there are %lld nodes", (long long)e->from, (long long)e->to,
                (long long)nodes);
    else
        fe_emit(t, e->to, e->from);
}

static void put_all(fe_task *t, const double *of_node, int64_t nodes)
{
    for (int64_t i = 0; i < nodes; i++)
        if (of_node[i] != 0)
            fe_emit(t, i, of_node[i]);
}

/* How many edges of the partition begin at each node, where there are any. */
static int degrees(fe_task *t, fe_rows *edges)
{
    int64_t nodes = FERRO_ARGS(struct graph, t)->nodes;
    double *out = zeroed((size_t)nodes, sizeof *out);
    const void *from;
    for (size_t n; (n = fe_rows_array(edges, NULL, &from)) > 0;)
        for (size_t i = 0; i < n; i++)
            out[((const int64_t *)from)[i]]++;
    put_all(t, out, nodes);
    free(out);
    return 0;
}

/* What flows into each node of the partition. */
static int inflow(fe_task *t, fe_rows *edges)
{
    const struct graph *g = FERRO_ARGS(struct graph, t);
    const double *flow = fe_shared_data(t, g->flow);
    if (!flow)
        return -1;
    double *in = zeroed((size_t)g->nodes, sizeof *in);
    const void *to, *from;
    for (size_t n; (n = fe_rows_array(edges, &to, &from)) > 0;)
        for (size_t i = 0; i < n; i++)
            in[((const int64_t *)to)[i]] += flow[((const int64_t *)from)[i]];
    put_all(t, in, g->nodes);
    free(in);
    return 0;
}

/* ---- what main does ----------------------------------------------------------------- */

/* Add the records (node, number) of `set` to `sums`. */
static int add_up(fe_set *set, int64_t nodes, double *sums)
{
    fe_rows *rows;
    const void *node, *number;
    bool whole = set != NULL;
    if (fe_collect(set, &rows))
        return -1;
    for (size_t n; (n = fe_rows_array(rows, &node, &number)) > 0;)
        for (size_t i = 0; i < n; i++) {
            int64_t at = ((const int64_t *)node)[i];
            whole &= at >= 0 && at < nodes;
            if (whole)
                sums[at] += ((const double *)number)[i];
        }
    fe_rows_free(&rows);
    return whole ? 0 : -1;
}

struct ranks {
    int64_t nodes;
    double *rank, *degree, *flow, *in;
};

static int iterate(fe_app *app, fe_set *edges, struct ranks *r)
{
    for (int64_t i = 0; i < r->nodes; i++) {
        r->flow[i] = r->degree[i] != 0 ? r->rank[i] / r->degree[i] : 0;
        r->in[i] = 0;
    }
    struct graph g = { r->nodes, fe_broadcast(app, r->flow, (size_t)r->nodes * sizeof *r->flow) };
    fe_set *flows = fe_map_partitions(fe_with(edges, &g, sizeof g), inflow, FERRO_I64, FERRO_F64);
    if (add_up(flows, r->nodes, r->in))
        return -1;
    for (int64_t i = 0; i < r->nodes; i++)
        r->rank[i] = 1 - DAMPING + DAMPING * r->in[i];
    return 0;
}

static void as_pair(fe_task *t, fe_slice key, fe_slice value)
{
    (void)key;
    const struct row *r = FERRO_AS(struct row, value);
    fe_emit(t, r->node, r->rank);
}

/* Nodes that no edge names are none. */
static int save(fe_app *app, const struct ranks *r, const char *out)
{
    struct row *rows = zeroed((size_t)r->nodes, sizeof *rows);
    size_t n = 0;
    for (int64_t i = 0; i < r->nodes; i++)
        if (r->degree[i] != 0 || r->in[i] != 0)
            rows[n++] = (struct row){ i, r->rank[i] };
    fe_set *all = fe_collection(app, FERRO_STRUCT(struct row), rows, n, 0);
    free(rows);
    return fe_save_text(fe_map(all, as_pair, FERRO_I64, FERRO_F64), out);
}

static int pagerank(fe_app *app, int argc, char **argv)
{
    struct ranks r = { argc == 5 ? atoll(argv[2]) : 0, NULL, NULL, NULL, NULL };
    int iterations = argc == 5 ? atoi(argv[3]) : 0;
    if (r.nodes < 1 || r.nodes > INT32_MAX || iterations < 1) {
        fprintf(stderr, "usage: pagerank EDGES NODES ITERATIONS OUT\n");
        return -1;
    }
    double **const arrays[] = { &r.rank, &r.degree, &r.flow, &r.in };
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++)
        *arrays[i] = zeroed((size_t)r.nodes, sizeof(double));
    for (int64_t i = 0; i < r.nodes; i++)
        r.rank[i] = 1;
    struct graph g = { r.nodes, { { 0, 0 }, 0 } };
    fe_set *file = fe_with(fe_binary(app, 1, argv + 1, FERRO_STRUCT(struct edge)), &g, sizeof g);
    fe_set *edges = fe_cache(fe_partition_by_key(fe_map(file, by_target, FERRO_I64, FERRO_I64)));
    int failed = add_up(fe_map_partitions(fe_with(edges, &g, sizeof g), degrees, FERRO_I64, FERRO_F64),
                        r.nodes, r.degree);
    for (int i = 0; i < iterations && !failed; i++)
        failed = iterate(app, edges, &r);
    failed = failed || save(app, &r, argv[4]);
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++)
        free(*arrays[i]);
    return failed ? -1 : 0;
}

FERRO_JOB("pagerank", pagerank)
