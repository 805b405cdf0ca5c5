/* test_join.c - joins on real processes, undisturbed and with an executor killed in the middle. */
#include "tests/cluster/cluster.h"

#include <stdlib.h>
#include <string.h>

TestSuite(join, .timeout = 120);

#define JOINS "tests/cluster/jobs/joins.c"
#define RESTS 97
#define LEFT 2400
#define RIGHT 300

static void expect_joined(const struct cluster *c, const char *out)
{
    char *parts = parts_text(words("%s/%s", c->dir, out)), *at = parts;
    for (int64_t rest = 0; rest < RESTS; rest++) {
        int64_t sum = 0;
        for (int64_t l = rest; l < LEFT; l += RESTS)
            for (int64_t r = rest; r < RIGHT; r += RESTS)
                sum += l * 1000 + r;
        const char *line = words("%lld\t%lld\n", (long long)rest, (long long)sum);
        cr_assert(strncmp(at, line, strlen(line)) == 0, "rest %lld: expected %s, found %.40s",
                  (long long)rest, line, at);
        at += strlen(line);
    }
    cr_expect_str_eq(at, "");
    free(parts);
}

/* Stage 2 is the join: of both sides' buckets, or with the table that stage 1 made of stage 0's buckets.  The
 * executor that is killed has some of what stage 1 made, and it has to be made again. */
static void disturbed(const char *how)
{
    struct cluster c;
    struct proc job = { 0 };
    cluster_start(&c, 2);
    free(ferro_expect(&c, 0, NULL,
                      words("submit --quiet " JOINS " %s %d %d 0 %s/calm", how, LEFT, RIGHT, c.dir)));
    expect_joined(&c, "calm");
    ferro_start(&c, &job, words("submit --quiet " JOINS " %s %d %d 40 %s/out", how, LEFT, RIGHT, c.dir));
    json_t *made = proc_await(&job, "task.committed", "stage=1", NULL);
    bool first = strstr(json_string_value(json_object_get(made, "executor")), "executor-0") != NULL;
    json_decref(made);
    json_decref(proc_await(&job, "task.committed", "stage=2", NULL));
    proc_kill(&c.executor[first ? 0 : 1], SIGKILL);
    cr_expect_eq(proc_wait(&job), 0, "%s", job.seen);
    expect_joined(&c, "out");
    json_t *events = proc_events(&job);
    cr_expect_eq(events_count(events, "executor.lost", NULL), 1, "%s", job.seen);
    cr_expect_gt(events_count(events, "maps.lost", NULL), 0, "nothing was made again: %s", job.seen);
    cr_expect_eq(events_count(events, "task.failed", NULL), 0, "a lost executor is no failure: %s", job.seen);
    json_decref(events);
    cluster_fini(&c);
}

Test(join, with_a_table_when_an_executor_is_killed)
{
    disturbed("table");
}

Test(join, shuffled_when_an_executor_is_killed)
{
    disturbed("shuffled");
}

Test(join, cogroup_when_an_executor_is_killed)
{
    disturbed("cogroup");
}
