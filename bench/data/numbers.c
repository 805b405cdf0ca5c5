/* numbers.c - tables to join, graphs, points; all numbers in this machine's byte order
 *
 *   join-right         SIZE rows {int64 key, int64 value}: distinct keys, which are a
 *                      seeded bijection of 0..SIZE-1 on 64 bits, shuffled; value 0..999
 *   join-left-uniform  SIZE rows of the same form: keys drawn from those of a right side
 *   join-left-zipf     of RIGHT rows, each alike, or by Zipf's law (the first of 5 M takes
 *                      4.5 %); one in twenty from keys that the right side lacks; value 0..9999.
 *                      The seed must be the right side's.
 *   graph-uniform      SIZE edges {int64 from, int64 to} over SIZE / 5 nodes 0..n-1, each end alike
 *   graph-skewed       both ends by Zipf's law (of 1 M nodes the first takes 5 %), each with its own
 *                      shuffling from rank to node, so that big sources are no big targets.
 *                      Edges may repeat and loop; nodes may lack edges in or out.
 *   points             SIZE rows of 8 doubles in 16 clusters, each alike: centres uniform
 *                      in [-100, 100), deviation of each cluster from 2 to 18 in all dimensions;
 *                      a Gaussian draw is the sum of twelve uniform ones
 */
#include "data.h"

#include <string.h>

#define EDGES_PER_NODE 5
#define MISSES 20 /* one left row in so many matches nothing */

#define CLUSTERS 16
#define DIMENSIONS 8

static void put_pair(uint64_t first, uint64_t second)
{
    uint64_t pair[2] = { first, second };
    memcpy(out_room(sizeof pair), pair, sizeof pair);
    out_take(sizeof pair);
}

/* ---- joins --------------------------------------------------------------- */

/* Bijective, so numbers from the right side's size on give keys that it lacks. */
static uint64_t key_of(uint64_t number, uint64_t seed)
{
    return mix(number + mix(seed));
}

void write_join_right(const struct wanted *w)
{
    uint64_t stream = mix(w->seed + 1);
    struct shuffle order;
    shuffle_init(&order, w->size ? w->size : 1, w->seed);
    for (uint64_t row = 0; row < w->size; row++)
        put_pair(key_of(shuffle_at(&order, row), w->seed), draw_below(&stream, 1000));
}

/* ranks: NULL for uniform keys. */
static void write_join_left(const struct wanted *w, const struct zipf *ranks)
{
    uint64_t stream = mix(w->seed + 2);
    for (uint64_t row = 0; row < w->size; row++) {
        uint64_t random = next_random(&stream), number;
        if ((random >> 32) % MISSES == 0)
            number = w->right + draw_below(&stream, w->right);
        else if (ranks)
            number = zipf_draw(ranks, &stream) - 1;
        else
            number = draw_below(&stream, w->right);
        put_pair(key_of(number, w->seed), (random & 0xffffffff) * 10000 >> 32);
    }
}

void write_join_left_uniform(const struct wanted *w)
{
    write_join_left(w, NULL);
}

void write_join_left_zipf(const struct wanted *w)
{
    static struct zipf ranks;
    zipf_init(&ranks, w->right);
    write_join_left(w, &ranks);
}

/* ---- graphs -------------------------------------------------------------- */
static uint64_t node_count(uint64_t edges)
{
    return edges < EDGES_PER_NODE ? 1 : edges / EDGES_PER_NODE;
}

void write_graph_uniform(const struct wanted *w)
{
    uint64_t stream = mix(w->seed), nodes = node_count(w->size);
    for (uint64_t i = 0; i < w->size; i++) {
        uint64_t from = draw_below(&stream, nodes);
        put_pair(from, draw_below(&stream, nodes));
    }
}

void write_graph_skewed(const struct wanted *w)
{
    static struct zipf ranks;
    struct shuffle from, to;
    uint64_t stream = mix(w->seed), nodes = node_count(w->size);
    zipf_init(&ranks, nodes);
    shuffle_init(&from, nodes, w->seed + 1);
    shuffle_init(&to, nodes, w->seed + 2);
    for (uint64_t i = 0; i < w->size; i++) {
        uint64_t node = shuffle_at(&from, zipf_draw(&ranks, &stream) - 1);
        put_pair(node, shuffle_at(&to, zipf_draw(&ranks, &stream) - 1));
    }
}

/* ---- points -------------------------------------------------------------- */

/* Mean 0, deviation 65,536: the sum of twelve uniform draws of 16 bits. */
static int64_t draw_gauss(uint64_t *stream)
{
    int64_t sum = -6 * 65535;
    for (int i = 0; i < 3; i++) {
        uint64_t r = next_random(stream);
        sum += (int64_t)((r & 0xffff) + (r >> 16 & 0xffff) + (r >> 32 & 0xffff) + (r >> 48));
    }
    return sum;
}

/* Exact arithmetic, since every step fits the 53 bits of a double: the same points everywhere. */
void write_points(const struct wanted *w)
{
    double centre[CLUSTERS][DIMENSIONS], deviation[CLUSTERS];
    uint64_t stream = mix(w->seed);
    for (int c = 0; c < CLUSTERS; c++) {
        deviation[c] = (double)(draw_below(&stream, 16 * 64 + 1) + 2 * 64) / 64;
        for (int d = 0; d < DIMENSIONS; d++)
            centre[c][d] = (double)draw_below(&stream, 200 * 1024) / 1024 - 100;
    }
    for (uint64_t row = 0; row < w->size; row++) {
        uint64_t c = draw_below(&stream, CLUSTERS);
        double point[DIMENSIONS];
        for (int d = 0; d < DIMENSIONS; d++)
            point[d] = centre[c][d] + deviation[c] * (double)draw_gauss(&stream) / 65536;
        memcpy(out_room(sizeof point), point, sizeof point);
        out_take(sizeof point);
    }
}
