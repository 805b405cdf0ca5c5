/* latency.c - jobs of one task, one after the other in one application: latency JOBS
 *
 * Prints the median and the 99th percentile of an action's time in microseconds, after
 * WARM_UP jobs that don't count.
 */
#include <ferro.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { WARM_UP = 20, JOBS_MAX = 100000 };

static bool keep(fe_task *t, fe_slice key, fe_slice number)
{
    (void)t, (void)key, (void)number;
    return true;
}

static double now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static int by_size(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static int run(fe_app *app, int argc, char **argv)
{
    static double took[JOBS_MAX];
    int jobs = argc == 2 ? atoi(argv[1]) : 0;
    if (jobs < 1 || jobs > JOBS_MAX) {
        fprintf(stderr, "usage: latency JOBS   (1 to %d)\n", JOBS_MAX);
        return -1;
    }
    fe_set *one = fe_filter(fe_range(app, 0, 1, 1), keep);
    for (int i = -WARM_UP; i < jobs; i++) {
        int64_t count;
        double start = now_us();
        if (fe_count(one, &count) || count != 1)
            return -1;
        if (i >= 0)
            took[i] = now_us() - start;
    }
    qsort(took, (size_t)jobs, sizeof *took, by_size);
    printf("median_us %.1f\np99_us %.1f\n", took[jobs / 2], took[jobs * 99 / 100]);
    return 0;
}

FERRO_JOB("latency", run)
