/* cached.c - N PARTS MAIN TASKS: what is cached is read by three actions.
 *
 * Before the second one main waits for the file MAIN, in it each task for the file TASKS ("-": neither waits), so
 * that a test can act between actions, and in one.
 */
#include <ferro.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void wait_for(const char *path)
{
    while (strcmp(path, "-") && access(path, R_OK))
        poll(NULL, 0, 5);
}

static void triple(fe_task *t, fe_slice key, fe_slice value)
{
    (void)key;
    fe_emit(t, fe_i64(value) % 10, 3 * fe_i64(value));
}

static void value_alone(fe_task *t, fe_slice key, fe_slice value)
{
    (void)key;
    wait_for(fe_args(t));
    fe_emit_value(t, fe_i64(value));
}

static void add(fe_task *t, void *acc, const void *other)
{
    (void)t;
    *(int64_t *)acc += *(const int64_t *)other;
}

static int cached(fe_app *app, int argc, char **argv)
{
    int64_t count, sum, again;
    if (argc != 5)
        return -1;
    fe_set *numbers = fe_range(app, 0, atoll(argv[1]), (uint32_t)atoi(argv[2]));
    fe_set *kept = fe_cache(fe_map(numbers, triple, FERRO_I64, FERRO_I64));
    if (fe_count(kept, &count))
        return -1;
    printf("count %lld\n", (long long)count);
    fflush(stdout);
    wait_for(argv[3]);
    fe_set *values = fe_map(fe_with(kept, argv[4], strlen(argv[4]) + 1), value_alone, FERRO_NONE, FERRO_I64);
    if (fe_reduce(values, add, &sum, NULL) || fe_count(fe_union(kept, kept), &again))
        return -1;
    printf("sum %lld\nagain %lld\n", (long long)sum, (long long)again);
    fe_uncache(kept);
    if (fe_count(kept, &again))
        return -1;
    printf("anew %lld\n", (long long)again);
    return 0;
}

FERRO_JOB("cached", cached)
