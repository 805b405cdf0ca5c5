/* shuffle.c - many maps by many reduces, each pair with next to nothing: shuffle MAPS REDUCES [NUMBERS]
 *
 * NUMBERS (ten a map by default) integers in MAPS partitions are counted by key in REDUCES partitions; each key occurs
 * twice.  Prints the seconds of the action; fails when a key is missing.
 */
#include <ferro.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { NUMBERS_A_MAP = 10 };

static void halve(fe_task *t, fe_slice key, fe_slice number)
{
    (void)key;
    fe_emit(t, fe_i64(number) / 2, 1);
}

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int run(fe_app *app, int argc, char **argv)
{
    long maps = argc > 2 ? atol(argv[1]) : 0, reduces = argc > 2 ? atol(argv[2]) : 0;
    long numbers = argc > 3 ? atol(argv[3]) : NUMBERS_A_MAP * maps;
    if (maps < 1 || reduces < 1 || reduces > 65536 || numbers < 2) {
        fprintf(stderr, "usage: shuffle MAPS REDUCES [NUMBERS]\n");
        return -1;
    }
    int64_t keys;
    double start = now_s();
    fe_set *pairs =
        fe_flat_map(fe_range(app, 0, numbers / 2 * 2, (uint32_t)maps), halve, FERRO_I64, FERRO_I64);
    if (fe_count(fe_partitions(fe_sum_by_key(pairs), (uint32_t)reduces), &keys))
        return -1;
    double seconds = now_s() - start;
    if (keys != numbers / 2) {
        fprintf(stderr, "shuffle: %lld of %ld keys\n", (long long)keys, numbers / 2);
        return -1;
    }
    printf("pairs %ld\nseconds %.6f\n", maps * reduces, seconds);
    return 0;
}

FERRO_JOB("shuffle", run)
