/* noop.c - tasks that do nothing: noop TASKS
 *
 * One partition, and so one task, a number.  The first attempt of the last task of
 * every 10,000 fails, and a number whose first attempt had to fail is kept only by a
 * later one: the count is right when each of these ran again.  Prints how many tasks
 * and failures there were, and the seconds.
 */
#include <ferro.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { TASKS_A_FAILURE = 10000 };

static bool noop(fe_task *t, fe_slice key, fe_slice number)
{
    (void)key;
    if (fe_i64(number) % TASKS_A_FAILURE != TASKS_A_FAILURE - 1)
        return true;
    if (fe_attempt(t) > 1)
        return true;
    fe_fail(t, "number %lld fails at first, by design", (long long)fe_i64(number));
    return false;
}

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int run(fe_app *app, int argc, char **argv)
{
    long tasks = argc == 2 ? atol(argv[1]) : 0;
    if (tasks < 1 || tasks > UINT32_MAX) {
        fprintf(stderr, "usage: noop TASKS\n");
        return -1;
    }
    int64_t count;
    double start = now_s();
    if (fe_count(fe_filter(fe_range(app, 0, tasks, (uint32_t)tasks), noop), &count))
        return -1;
    double seconds = now_s() - start;
    if (count != tasks) {
        fprintf(stderr, "noop: %lld of %ld tasks counted\n", (long long)count, tasks);
        return -1;
    }
    printf("tasks %ld\nfailures %ld\nseconds %.6f\n", tasks, tasks / TASKS_A_FAILURE, seconds);
    return 0;
}

FERRO_JOB("noop", run)
