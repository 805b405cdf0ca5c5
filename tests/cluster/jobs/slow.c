/* slow.c - TASKS MS OUT: squares of 0..TASKS-1 summed by their last digit; each map task takes MS milliseconds,
 * so that somebody may kill or add executors meanwhile.
 */
#include <ferro.h>
#include <poll.h>
#include <stdlib.h>

/* The pause travels in the record: range item = ms * 1,000,000 + n. */
static void square(fe_task *t, fe_slice key, fe_slice value)
{
    (void)key;
    int64_t n = fe_i64(value) % 1000000;
    poll(NULL, 0, (int)(fe_i64(value) / 1000000));
    fe_emit(t, n * n % 10, n * n);
}

static int slow(fe_app *app, int argc, char **argv)
{
    if (argc != 4)
        return -1;
    int64_t tasks = atoll(argv[1]), base = atoll(argv[2]) * 1000000;
    fe_set *squares =
        fe_map(fe_range(app, base, base + tasks, (uint32_t)tasks), square, FERRO_I64, FERRO_I64);
    return fe_save_text(fe_sort_by_key(fe_sum_by_key(squares), FERRO_ASCENDING), argv[3]);
}

FERRO_JOB("slow", slow)
