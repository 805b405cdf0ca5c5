/* test_cache.c - cached datasets: computed once, read where they lie, made again where they are lost. */
#include "tests/cluster/cluster.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

TestSuite(cache, .timeout = 120);

#define CACHED "tests/cluster/jobs/cached.c"
#define N 20000
#define PARTS 16
#define RESULT "count 20000\nsum 599970000\nagain 40000\nanew 20000\n"

/* The job's events when it has ended well: its stages are 0 (what is cached) and 1; 3; 5; and anew 6 and 7. */
static json_t *ended(struct cluster *c, struct proc *p)
{
    cr_expect_eq(proc_wait(p), 0, "exit code %d", p->status);
    char *out = file_text("%s/%s.out", c->dir, p->name);
    cr_expect_str_eq(out, RESULT);
    free(out);
    return proc_events(p);
}

static int made(const json_t *events)
{
    return events_count(events, "task.committed", "stage=0", NULL);
}

static void runs(struct cluster *c, const char *options)
{
    struct proc p = { 0 };
    ferro_start(c, &p, words("submit --quiet %s " CACHED " %d %d - -", options, N, PARTS));
    json_t *events = ended(c, &p);
    cr_expect_eq(made(events), PARTS, "computed once: %s", p.seen);
    cr_expect_eq(events_count(events, "task.committed", "stage=3", NULL), PARTS);
    cr_expect_eq(events_count(events, "task.committed", "stage=5", NULL), 2 * PARTS);
    cr_expect_eq(events_count(events, "task.committed", "stage=6", NULL), PARTS, "and anew when forgotten");
    json_decref(events);
}

Test(cache, is_computed_once)
{
    struct cluster c;
    cluster_start(&c, 2);
    runs(&c, "");
    runs(&c, "--idle 10ms"); /* the leases go back between the actions */
    cluster_fini(&c);
}

Test(cache, in_local_mode)
{
    struct cluster c;
    folder_init(&c);
    char *out = ferro_expect(&c, 0, NULL, words("run --quiet --slots 2 " CACHED " %d %d - -", N, PARTS));
    cr_expect_str_eq(out, RESULT);
    free(out);
    cluster_fini(&c);
}

Test(cache, on_disk_beyond_the_budget_of_memory)
{
    struct cluster c;
    cluster_init(&c);
    cluster_manager(&c, NULL);
    cluster_executor(&c, 0, "--blocks 64K");
    runs(&c, "");
    cluster_fini(&c);
}

/* Kill the executor that made the first partition: its name, owned by the caller. */
static char *kill_one(struct cluster *c, struct proc *p, const char *event, const char *stage)
{
    json_t *first = proc_await(p, "task.committed", "stage=0", NULL);
    char *name = strdup(json_string_value(json_object_get(first, "executor")));
    struct proc *victim = &c->executor[strstr(name, "executor-0") ? 0 : 1];
    json_decref(first);
    json_decref(proc_await(p, event, stage, NULL));
    proc_kill(victim, SIGKILL);
    proc_wait(victim);
    json_decref(proc_await(p, "executor.lost", NULL));
    return name;
}

/* Just what the dead one had is made again. */
static void expect_lost(const json_t *events, const struct proc *p, const char *name)
{
    int had = events_count(events, "task.committed", "stage=0", words("executor=%s", name), NULL);
    cr_expect_gt(had, 0);
    cr_expect_eq(made(events), PARTS + had, "%d of %d were on %s: %s", had, PARTS, name, p->seen);
}

Test(cache, an_executor_is_killed_between_two_actions)
{
    struct cluster c;
    struct proc p = { 0 };
    cluster_start(&c, 2);
    const char *go = words("%s/go", c.dir);
    ferro_start(&c, &p, words("submit --quiet " CACHED " %d %d %s -", N, PARTS, go));
    char *name = kill_one(&c, &p, "job.ended", NULL);
    file_write("", "%s", go);
    json_t *events = ended(&c, &p);
    expect_lost(events, &p, name);
    free(name);
    json_decref(events);
    cluster_fini(&c);
}

Test(cache, an_executor_is_killed_while_its_part_is_read)
{
    struct cluster c;
    struct proc p = { 0 };
    cluster_start(&c, 2);
    const char *go = words("%s/go", c.dir);
    ferro_start(&c, &p, words("submit --quiet " CACHED " %d %d - %s", N, PARTS, go));
    char *name = kill_one(&c, &p, "stage.begun", "stage=3");
    file_write("", "%s", go);
    json_t *events = ended(&c, &p);
    expect_lost(events, &p, name);
    free(name);
    json_decref(events);
    cluster_fini(&c);
}
