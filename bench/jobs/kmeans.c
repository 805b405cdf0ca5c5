/* kmeans.c - Lloyd's algorithm over points of 8 doubles: kmeans POINTS K ITERATIONS OUT
 *
 * The centres start as the first K points; a point goes to the nearest, of several to the first; a centre without
 * points stays.  Each is a line of 8 numbers in OUT.
 */
#include <ferro.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef __x86_64__
#include <immintrin.h>
#endif

#define INLINE static inline __attribute__((always_inline))

enum { DIMENSIONS = 8, LANES = 4, BLOCK = 16, K_MAX = 512 };

struct point {
    double x[DIMENSIONS];
};

struct sum {
    struct point at;
    int64_t count;
};

typedef double lanes __attribute__((vector_size(LANES * sizeof(double)), aligned(16), may_alias));

/* Centres side by side, dimension by dimension, and half the square of each one's length; those that fill up the last
 * block are infinitely far. */
struct block {
    lanes x[DIMENSIONS][BLOCK / LANES];
    lanes half[BLOCK / LANES];
};

struct args {
    int64_t blocks;
    struct block block[K_MAX / BLOCK];
} __attribute__((aligned(16)));

/* |p - c|^2 is least where |c|^2 / 2 - p.c is. */
INLINE void scores_of(const struct block *c, const double *p, lanes s[BLOCK / LANES])
{
#pragma GCC unroll 4
    for (int l = 0; l < BLOCK / LANES; l++)
        s[l] = c->half[l];
#pragma GCC unroll 8
    for (int d = 0; d < DIMENSIONS; d++)
#pragma GCC unroll 4
        for (int l = 0; l < BLOCK / LANES; l++)
            s[l] -= c->x[d][l] * p[d];
}

/* The first of the least of a block's scores. */
typedef int least_of(const double *scores);

INLINE int least_baseline(const double *scores)
{
    int at = 0;
#pragma GCC unroll 16
    for (int i = 1; i < BLOCK; i++)
        at = scores[i] < scores[at] ? i : at;
    return at;
}

INLINE void point_add(const struct args *a, struct sum *sums, const struct point *p, least_of *least)
{
    int64_t best = 0;
    double lowest = 0;
    for (int64_t b = 0; b < a->blocks; b++) {
        lanes s[BLOCK / LANES];
        scores_of(&a->block[b], p->x, s);
        int at = least((const double *)s);
        if (b == 0 || ((const double *)s)[at] < lowest) {
            lowest = ((const double *)s)[at];
            best = b * BLOCK + at;
        }
    }
    for (int d = 0; d < DIMENSIONS; d++)
        sums[best].at.x[d] += p->x[d];
    sums[best].count++;
}

#ifdef __x86_64__
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

AVX2 static void point_add_avx2(const struct args *a, struct sum *sums, const struct point *p)
{
    point_add(a, sums, p, least_avx2);
}
#endif

static void assign(fe_task *t, void *acc, fe_slice key, fe_slice value)
{
    (void)key;
    const struct args *a = FERRO_ARGS(struct args, t);
    const struct point *p = FERRO_AS(struct point, value);
#ifdef __x86_64__
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        point_add_avx2(a, acc, p);
        return;
    }
#endif
    point_add(a, acc, p, least_baseline);
}

static void merge(fe_task *t, void *acc, const void *other)
{
    struct sum *to = acc;
    const struct sum *from = other;
    const struct args *a = FERRO_ARGS(struct args, t);
    for (int64_t i = 0; i < a->blocks * BLOCK; i++) {
        for (int d = 0; d < DIMENSIONS; d++)
            to[i].at.x[d] += from[i].at.x[d];
        to[i].count += from[i].count;
    }
}

static void arrange(struct args *a, const struct point *centres, int k)
{
    a->blocks = (k + BLOCK - 1) / BLOCK;
    for (int i = 0; i < a->blocks * BLOCK; i++) {
        struct block *b = &a->block[i / BLOCK];
        int lane = i % BLOCK;
        double half = i < k ? 0 : __builtin_inf();
        for (int d = 0; d < DIMENSIONS; d++) {
            double x = i < k ? centres[i].x[d] : 0;
            b->x[d][lane / LANES][lane % LANES] = x;
            half += x * x / 2;
        }
        b->half[lane / LANES][lane % LANES] = half;
    }
}

static int first_points(fe_set *points, int k, struct point *centres)
{
    fe_rows *rows;
    fe_slice p;
    if (fe_take(points, (size_t)k, &rows))
        return -1;
    int n = 0;
    for (; n < k && fe_rows_next(rows, NULL, &p); n++)
        centres[n] = *FERRO_AS(struct point, p);
    fe_rows_free(&rows);
    if (n < k)
        fprintf(stderr, "kmeans: %d points for %d centres\n", n, k);
    return n < k ? -1 : 0;
}

static int save(fe_app *app, const struct point *centres, int k, const char *out)
{
    enum { NUMBER_BYTES = 32 };
    char *text[K_MAX] = { NULL }, line[DIMENSIONS * NUMBER_BYTES];
    for (int i = 0; i < k; i++) {
        size_t n = 0;
        for (int d = 0; d < DIMENSIONS; d++)
            n += (size_t)snprintf(line + n, sizeof line - n, "%s%.17g", d ? " " : "", centres[i].x[d]);
        if (!(text[i] = strdup(line)))
            abort();
    }
    fe_set *lines = fe_collection(app, FERRO_TEXT, text, (size_t)k, 1);
    for (int i = 0; i < k; i++)
        free(text[i]);
    return fe_save_text(lines, out);
}

static int kmeans(fe_app *app, int argc, char **argv)
{
    static struct args args;
    static struct sum sums[K_MAX];
    static struct point centres[K_MAX];
    int k = argc == 5 ? atoi(argv[2]) : 0, iterations = argc == 5 ? atoi(argv[3]) : 0;
    if (k < 1 || k > K_MAX || iterations < 1) {
        fprintf(stderr, "usage: kmeans POINTS K ITERATIONS OUT (K up to %d)\n", K_MAX);
        return -1;
    }
    fe_set *points = fe_cache(fe_binary(app, 1, argv + 1, FERRO_STRUCT(struct point)));
    if (first_points(points, k, centres))
        return -1;
    for (int i = 0; i < iterations; i++) {
        arrange(&args, centres, k);
        size_t blocks = (size_t)args.blocks;
        fe_set *given = fe_with(points, &args, offsetof(struct args, block) + blocks * sizeof *args.block);
        if (fe_aggregate(given, sums, blocks * BLOCK * sizeof *sums, assign, merge))
            return -1;
        for (int c = 0; c < k; c++)
            for (int d = 0; d < DIMENSIONS && sums[c].count; d++)
                centres[c].x[d] = sums[c].at.x[d] / (double)sums[c].count;
    }
    return save(app, centres, k, argv[4]);
}

FERRO_JOB("kmeans", kmeans)
