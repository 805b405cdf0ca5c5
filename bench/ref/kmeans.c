/* kmeans.c - the limit that Ferro's k-means is held against: kmeans POINTS K ITERATIONS OUTPUT [THREADS=2]
 *
 * Lloyd's algorithm over records of 8 doubles.  The centres start as the first K points;
 * a point goes to the nearest, of several to the first; a centre without points stays.
 * Output: a line of 8 numbers a centre.  Every point is held against every centre in every
 * iteration, as the job does: bounds that spare comparisons (Hamerly, Elkan) are another algorithm.
 *
 * What was tried, in seconds of CPU time for 5 M points, 16 centres and 10 iterations
 * (2-core Intel VM, one thread; two take half the time):
 *
 *   vectors of 4 doubles in baseline instructions, a centre each,
 *     |c|^2 / 2 - p.c for (p - c)^2: 16 operations, not 24         3.3
 *   vectors of 2, two at a time and unrolled: what a machine
 *     without AVX2 runs                                              1.55
 *   AVX2 and FMA, chosen at run time; the least by comparing all
 *     with the least of all, not one by one                           1.66
 *   the same unrolled, so that a block's 16 scores stay in registers,
 *     and for two points, so that each centre is loaded once          0.83
 *
 * Dropped: the baseline's least by SSE2's masks (1.38, but not portable).  Not tried: AVX-512,
 * as two threads then come near to reading 320 MB an iteration from memory.
 */
#include "lib/numbers.h"
#include "lib/tools.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#define DIMENSIONS 8
#define K_MAX 1024
#define LANES 4
#define BLOCK 16   /* centres whose scores stay in registers */
#define GRAIN 8192 /* points a thread takes at once */

typedef double pair __attribute__((vector_size(16), aligned(8), may_alias));
typedef double lanes __attribute__((vector_size(LANES * sizeof(double)), aligned(8), may_alias));

struct point {
    double x[DIMENSIONS];
};

struct sum {
    struct point at;
    uint64_t count;
} __attribute__((aligned(64)));

/* A block of centres by dimension, side by side; those that fill up the last are infinitely far. */
struct block {
    lanes x[DIMENSIONS][BLOCK / LANES];
    lanes half[BLOCK / LANES]; /* half their squared length */
};

struct kmeans {
    const struct point *points;
    size_t point_count;
    int k, blocks, iterations;
    unsigned threads;
    struct point centres[K_MAX];
    struct block block[K_MAX / BLOCK];
    struct sum sums[THREADS_MAX][K_MAX];
    atomic_size_t next;
    void (*assign)(const struct kmeans *, struct sum *, const struct point *, size_t);
};

#define INLINE static inline __attribute__((always_inline))

/* The first of the least of a block's scores. */
typedef int least_of(const double *scores);
typedef void score_of(const struct block *, const struct point *, int points, double scores[][BLOCK]);

/* Four accumulators of two centres each leave room in a baseline's registers. */
INLINE void score_baseline(const struct block *c, const struct point *p, int points, double scores[][BLOCK])
{
    for (int i = 0; i < points; i++)
        for (int l = 0; l < BLOCK; l += 4) {
            pair low = *(const pair *)((const double *)c->half + l),
                 high = *(const pair *)((const double *)c->half + l + 2);
#pragma GCC unroll 8
            for (int d = 0; d < DIMENSIONS; d++) {
                const double *x = (const double *)c->x[d] + l;
                low -= *(const pair *)x * p[i].x[d];
                high -= *(const pair *)(x + 2) * p[i].x[d];
            }
            *(pair *)&scores[i][l] = low;
            *(pair *)&scores[i][l + 2] = high;
        }
}

INLINE int least_baseline(const double *scores)
{
    int at = 0;
#pragma GCC unroll 16
    for (int i = 1; i < BLOCK; i++)
        at = scores[i] < scores[at] ? i : at;
    return at;
}

/* The nearest centre is that of the least |c|^2 / 2 - p.c. */
INLINE void assign(const struct kmeans *m, struct sum *sums, const struct point *p, int points,
                   score_of *score, least_of *least)
{
    int best[2] = { 0 };
    double lowest[2] = { 0 }, scores[2][BLOCK];
    for (int b = 0; b < m->blocks; b++) {
        score(&m->block[b], p, points, scores);
#pragma GCC unroll 2
        for (int i = 0; i < points; i++) {
            int at = least(scores[i]);
            if (b == 0 || scores[i][at] < lowest[i]) {
                lowest[i] = scores[i][at];
                best[i] = b * BLOCK + at;
            }
        }
    }
#pragma GCC unroll 2
    for (int i = 0; i < points; i++) {
        struct sum *s = &sums[best[i]];
        for (int d = 0; d < DIMENSIONS; d += LANES)
            *(lanes *)&s->at.x[d] += *(const lanes *)&p[i].x[d];
        s->count++;
    }
}

static void assign_baseline(const struct kmeans *m, struct sum *sums, const struct point *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        assign(m, sums, p + i, 1, score_baseline, least_baseline);
}

#ifdef __x86_64__
#include <immintrin.h>
#define AVX2 __attribute__((target("avx2,fma")))

INLINE AVX2 int least_avx2(const double *scores)
{
    __m256d least = _mm256_loadu_pd(scores);
#pragma GCC unroll 4
    for (int i = LANES; i < BLOCK; i += LANES)
        least = _mm256_min_pd(least, _mm256_loadu_pd(scores + i));
    least = _mm256_min_pd(least, _mm256_permute2f128_pd(least, least, 1));
    least = _mm256_min_pd(least, _mm256_permute_pd(least, 5));
    int mask = 1 << BLOCK;
#pragma GCC unroll 4
    for (int i = 0; i < BLOCK; i += LANES)
        mask |= _mm256_movemask_pd(_mm256_cmp_pd(_mm256_loadu_pd(scores + i), least, _CMP_EQ_OQ)) << i;
    return __builtin_ctz((unsigned)mask);
}

/* Eight accumulators of AVX2 hold a block for two points. */
INLINE AVX2 void score_avx2(const struct block *c, const struct point *p, int points, double scores[][BLOCK])
{
    lanes s[2][BLOCK / LANES];
#pragma GCC unroll 2
    for (int i = 0; i < points; i++)
#pragma GCC unroll 4
        for (int l = 0; l < BLOCK / LANES; l++)
            s[i][l] = c->half[l];
#pragma GCC unroll 8
    for (int d = 0; d < DIMENSIONS; d++)
#pragma GCC unroll 4
        for (int l = 0; l < BLOCK / LANES; l++)
#pragma GCC unroll 2
            for (int i = 0; i < points; i++)
                s[i][l] -= c->x[d][l] * p[i].x[d];
    memcpy(scores, s, (size_t)points * sizeof *s);
}

AVX2 static void assign_avx2(const struct kmeans *m, struct sum *sums, const struct point *p, size_t n)
{
    for (size_t i = 0; i + 1 < n; i += 2)
        assign(m, sums, p + i, 2, score_avx2, least_avx2);
    if (n % 2)
        assign(m, sums, p + n - 1, 1, score_avx2, least_avx2);
}

static bool has_avx2(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}
#else
#define assign_avx2 assign_baseline
static bool has_avx2(void)
{
    return false;
}
#endif

static void work(void *context, unsigned thread)
{
    struct kmeans *m = context;
    struct sum *sums = m->sums[thread];
    memset(sums, 0, (size_t)m->k * sizeof *sums);
    size_t first;
    while ((first = atomic_fetch_add(&m->next, GRAIN)) < m->point_count)
        m->assign(m, sums, m->points + first,
                  m->point_count - first < GRAIN ? m->point_count - first : GRAIN);
}

static void spread(struct kmeans *m)
{
    for (int k = 0; k < m->blocks * BLOCK; k++) {
        struct block *b = &m->block[k / BLOCK];
        double half = 0;
        for (int d = 0; d < DIMENSIONS; d++) {
            double x = k < m->k ? m->centres[k].x[d] : 0;
            ((double *)b->x[d])[k % BLOCK] = x;
            half += x * x / 2;
        }
        ((double *)b->half)[k % BLOCK] = k < m->k ? half : __builtin_inf();
    }
}

static void iterate(struct kmeans *m)
{
    spread(m);
    atomic_store(&m->next, 0);
    in_threads(m->threads, work, m);
    for (int k = 0; k < m->k; k++) {
        struct sum all = { .count = 0 };
        for (unsigned t = 0; t < m->threads; t++) {
            for (int d = 0; d < DIMENSIONS; d++)
                all.at.x[d] += m->sums[t][k].at.x[d];
            all.count += m->sums[t][k].count;
        }
        for (int d = 0; all.count && d < DIMENSIONS; d++)
            m->centres[k].x[d] = all.at.x[d] / (double)all.count;
    }
}

static void write_centres(const struct kmeans *m, const char *path)
{
    static char text[K_MAX * DIMENSIONS * (PUT_F64_MAX + 1)];
    char *p = text;
    for (int k = 0; k < m->k; k++)
        for (int d = 0; d < DIMENSIONS; d++) {
            p = put_f64(p, m->centres[k].x[d]);
            *p++ = d + 1 < DIMENSIONS ? ' ' : '\n';
        }
    int fd = create_output(path);
    write_at(fd, text, (size_t)(p - text), 0);
    close(fd);
}

int main(int argc, char **argv)
{
    static struct kmeans m;
    m.threads = thread_count(argc, argv, 6, "POINTS K ITERATIONS OUTPUT");
    m.points = map_records(argv[1], sizeof *m.points, &m.point_count);
    m.k = (int)number_argument(argv[2], 1, K_MAX, "K");
    m.iterations = (int)number_argument(argv[3], 0, 1000000, "ITERATIONS");
    m.blocks = (m.k + BLOCK - 1) / BLOCK;
    m.assign = has_avx2() ? assign_avx2 : assign_baseline;
    if (m.point_count < (size_t)m.k)
        die_of(argv[1], "fewer points than centres");
    memcpy(m.centres, m.points, (size_t)m.k * sizeof *m.centres);
    for (int i = 0; i < m.iterations; i++)
        iterate(&m);
    write_centres(&m, argv[4]);
    return 0;
}
