/* bad.c - HOW [WHEN]: a job of four tasks of which one goes wrong in the way that HOW says.
 *
 * error: fe_fail.  crash: SIGSEGV.  exit: exit(7).  memory: allocates without end.
 * time: never returns.  WHEN "once": only its first attempt.
 */
#include <ferro.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void go_wrong(fe_task *t, const char *how)
{
    fprintf(stderr, "bad date '20O6-01-02'\n");
    if (!strcmp(how, "error"))
        fe_fail(t, "no such day");
    else if (!strcmp(how, "crash"))
        raise(SIGSEGV);
    else if (!strcmp(how, "exit"))
        exit(7);
    else if (!strcmp(how, "memory"))
        for (;;)
            memset(malloc(1 << 20), 1, 1 << 20);
    else if (!strcmp(how, "time"))
        for (;;)
            pause();
}

static void parse_line(fe_task *t, fe_slice key, fe_slice value)
{
    (void)key;
    char how[32];
    snprintf(how, sizeof how, "%.*s", (int)value.n, value.p);
    bool once = how[0] == '1';
    if (fe_partition(t) == 2 && (!once || fe_attempt(t) == 1))
        go_wrong(t, once ? how + 1 : how);
    fe_emit_value(t, 1);
}

/* Long enough for each slot of the cluster to take one. */
static bool slow(fe_task *t, fe_slice key, fe_slice value)
{
    (void)t, (void)key, (void)value;
    poll(NULL, 0, 100);
    return true;
}

static void add(fe_task *t, void *acc, const void *other)
{
    (void)t;
    *(int64_t *)acc += *(const int64_t *)other;
}

static int bad(fe_app *app, int argc, char **argv)
{
    char how[32];
    if (argc < 2)
        return -1;
    snprintf(how, sizeof how, "%s%s", argc > 2 ? "1" : "", argv[1]);
    const char *items[] = { how, how, how, how };
    int64_t sum, warm;
    /* first every executor gets a host: then no attempt is taken back from one that has none yet */
    if (fe_count(fe_filter(fe_range(app, 0, 4, 4), slow), &warm))
        return -1;
    if (fe_reduce(fe_map(fe_collection(app, FERRO_TEXT, items, 4, 4), parse_line, FERRO_NONE, FERRO_I64), add,
                  &sum, NULL))
        return -1;
    printf("%lld\n", (long long)sum);
    return 0;
}

FERRO_JOB("bad", bad)
