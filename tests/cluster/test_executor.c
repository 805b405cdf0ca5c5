/* test_executor.c - executors come, drain, die, and freeze under a running application. */
#include "tests/cluster/slow.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

TestSuite(executor, .timeout = 120);

#define SUMS "tests/cluster/jobs/sums.c"
#define PARTS_MAX 64

/* What sums.c saves for 0..n-1. */
static void expect_sums(const struct cluster *c, int64_t n)
{
    char *parts = parts_text(words("%s/out", c->dir)), *at = parts;
    for (int64_t key = 0; key < 100; key++) {
        int64_t sum = 0;
        for (int64_t i = key; i < n; i += 100)
            sum += i;
        const char *line = words("%lld\t%lld\n", (long long)key, (long long)sum);
        cr_assert(strncmp(at, line, strlen(line)) == 0, "key %lld: expected %s, found %.40s", (long long)key,
                  line, at);
        at += strlen(line);
    }
    cr_expect_str_eq(at, "");
    free(parts);
}

Test(executor, a_new_one_takes_work_of_a_running_application)
{
    struct cluster c;
    cluster_start(&c, 1);
    struct proc job = slow_start(&c, 80, 50, "out");
    cluster_executor(&c, 1, NULL);
    json_t *attached = proc_await(&job, "executor.attached", NULL);
    char *id = strdup(json_string_value(json_object_get(attached, "executor")));
    json_decref(proc_await(&job, "task.committed", words("executor=%s", id), NULL));
    cr_expect_eq(proc_wait(&job), 0);
    slow_expect(&c, "out", 80);
    json_decref(attached);
    free(id);
    cluster_fini(&c);
}

Test(executor, sigterm_drains)
{
    struct cluster c;
    cluster_start(&c, 2);
    struct proc job = slow_start(&c, 60, 50, "out");
    proc_kill(&c.executor[0], SIGTERM);
    cr_expect_eq(proc_wait(&c.executor[0]), 0, "a drained executor exits with 0");
    json_decref(proc_await(&c.manager, "executor.left", NULL));
    cr_expect_eq(proc_wait(&job), 0);
    slow_expect(&c, "out", 60);
    json_t *events = proc_events(&job);
    cr_expect_eq(events_count(events, "task.failed", NULL), 0, "leaving is no failure: %s", job.seen);
    cr_expect_eq(events_count(events, "executor.lost", NULL), 0, "leaving is not dying: %s", job.seen);
    json_decref(events);
    cluster_fini(&c);
}

/* The admin's verb does the same. */
Test(executor, ferro_drain_lets_one_go)
{
    struct cluster c;
    cluster_start(&c, 2);
    struct proc job = slow_start(&c, 40, 50, "out");
    char *out = ferro_expect(&c, 0, NULL, "executors --json");
    json_t *rows = json_loads(out, 0, NULL);
    const char *id = json_string_value(json_object_get(json_array_get(rows, 0), "id"));
    const char *host = json_string_value(json_object_get(json_array_get(rows, 0), "host"));
    struct proc *gone = &c.executor[host[strlen(host) - 1] - '0'];
    free(ferro_expect(&c, 0, NULL, words("drain --key %s/keys/users/admin.key %s", c.dir, id)));
    cr_expect_eq(proc_wait(gone), 0);
    cr_expect_eq(proc_wait(&job), 0);
    slow_expect(&c, "out", 40);
    json_decref(rows);
    free(out);
    cluster_fini(&c);
}

/* ---- exactly the lost work runs again -------------------------------------- */

struct commits {
    int count[PARTS_MAX];      /* of each partition of a stage */
    char first[PARTS_MAX][64]; /* where it was committed first */
};

/* The commits of a stage among the first `until` events. */
static struct commits commits_of(const json_t *events, int stage, size_t until)
{
    struct commits c = { 0 };
    for (size_t i = 0; i < until; i++) {
        const json_t *e = json_array_get(events, i);
        const char *name = json_string_value(json_object_get(e, "event"));
        if (!name || strcmp(name, "task.committed") ||
            json_integer_value(json_object_get(e, "stage")) != stage)
            continue;
        int count = (int)json_integer_value(json_object_get(e, "count")),
            part = (int)json_integer_value(json_object_get(e, "part"));
        for (int k = 0; k < (count ? count : 1) && part + k < PARTS_MAX; k++)
            if (c.count[part + k]++ == 0)
                snprintf(c.first[part + k], sizeof c.first[0], "%s",
                         json_string_value(json_object_get(e, "executor")));
    }
    return c;
}

static size_t index_of(const json_t *events, const char *name)
{
    for (size_t i = 0; i < json_array_size(events); i++)
        if (!strcmp(json_string_value(json_object_get(json_array_get(events, i), "event")), name))
            return i;
    cr_assert(false, "no event %s", name);
    return 0;
}

/* What lay on the lost executor ran twice, all else once. */
static int expect_only_lost(const json_t *events, int stage, int parts, const char *lost)
{
    int again = 0;
    struct commits before = commits_of(events, stage, index_of(events, "executor.lost"));
    struct commits all = commits_of(events, stage, json_array_size(events));
    for (int part = 0; part < parts; part++) {
        bool was_there = before.count[part] && !strcmp(before.first[part], lost);
        cr_expect_eq(all.count[part], was_there ? 2 : 1,
                     "stage %d, partition %d, first on %s (lost: %s), was committed %d times", stage, part,
                     all.first[part], lost, all.count[part]);
        again += was_there;
    }
    return again;
}

/* A reduce waits at the barrier on one executor; the other, which has map outputs and committed reduces, is killed. */
Test(executor, killing_one_reruns_exactly_what_was_on_it)
{
    struct cluster c;
    const int n = 400000; /* maps take long enough for both to have some */
    struct proc job = { 0 };
    cluster_start(&c, 2);
    ferro_start(&c, &job, words("submit --quiet " SUMS " %d 8 %s/barrier %s/out", n, c.dir, c.dir));
    json_t *reduced = proc_await(&job, "task.committed", "stage=1", NULL);
    char *lost = strdup(json_string_value(json_object_get(reduced, "executor")));
    struct proc *victim = &c.executor[strstr(lost, "executor-0") ? 0 : 1];
    proc_kill(victim, SIGKILL);
    proc_wait(victim);
    json_decref(proc_await(&job, "executor.lost", NULL));
    /* with the barrier still closed, what was lost runs on a newcomer */
    cluster_executor(&c, 2, NULL);
    json_decref(proc_await(&job, "task.committed", "stage=0", NULL));
    file_write("", "%s/barrier", c.dir);
    cr_expect_eq(proc_wait(&job), 0);
    expect_sums(&c, n);
    json_t *events = proc_events(&job);
    cr_expect(expect_only_lost(events, 0, 9, lost) > 0, "no map output was on the lost executor: %s",
              job.seen);
    cr_expect(expect_only_lost(events, 1, 4, lost) > 0, "no reduce was on the lost executor: %s", job.seen);
    cr_expect_eq(events_count(events, "task.failed", NULL), 0, "losses are no failures: %s", job.seen);
    json_decref(events);
    json_decref(reduced);
    free(lost);
    cluster_fini(&c);
}

Test(executor, a_new_one_removes_what_a_killed_one_left)
{
    struct cluster c;
    cluster_start(&c, 1);
    struct proc job = slow_start(&c, 20, 50, "out");
    proc_kill(&c.executor[0], SIGKILL);
    proc_wait(&c.executor[0]);
    cluster_executor(&c, 1, NULL);
    cr_expect_eq(proc_wait(&job), 0);
    slow_expect(&c, "out", 20);
    proc_kill(&c.executor[1], SIGTERM);
    cr_expect_eq(proc_wait(&c.executor[1]), 0);
    cr_expect_eq(system(words("test -z \"$(find %s/blocks -type f 2>/dev/null)\"", c.dir)), 0,
                 "blocks are left in %s/blocks", c.dir);
    cluster_fini(&c);
}

/* ---- silence ---------------------------------------------------------------- */

Test(executor, a_frozen_one_is_lost_and_returns_afresh)
{
    struct cluster c;
    cluster_init(&c);
    cluster_manager(&c, "--beat 50ms --suspect 300ms --lost 900ms");
    cluster_executor(&c, 0, NULL);
    cluster_executor(&c, 1, NULL);
    struct proc job = slow_start(&c, 60, 50, "out");
    proc_kill(&c.executor[0], SIGSTOP);
    json_decref(proc_await(&c.manager, "executor.suspect", "host=executor-0", NULL));
    json_decref(proc_await(&c.manager, "executor.lost", "host=executor-0", NULL));
    cr_expect_eq(proc_wait(&job), 0, "its work ran elsewhere");
    slow_expect(&c, "out", 60);
    json_t *events = proc_events(&job);
    cr_expect_eq(events_count(events, "task.failed", NULL), 0, "%s", job.seen);
    json_decref(events);
    proc_kill(&c.executor[0], SIGCONT);
    json_decref(proc_await(&c.manager, "executor.joined", "host=executor-0", NULL));
    cluster_fini(&c);
}

/* It wakes while the job still runs: what it has to tell is void, and it gets work again as somebody else. */
Test(executor, a_woken_ones_old_word_is_void)
{
    struct cluster c;
    cluster_init(&c);
    cluster_manager(&c, "--beat 50ms --suspect 300ms --lost 900ms");
    cluster_executor(&c, 0, NULL);
    cluster_executor(&c, 1, NULL);
    struct proc job = slow_start(&c, 100, 50, "out");
    proc_kill(&c.executor[0], SIGSTOP);
    json_decref(proc_await(&c.manager, "executor.lost", "host=executor-0", NULL));
    json_decref(proc_await(&job, "executor.lost", NULL));
    proc_kill(&c.executor[0], SIGCONT);
    json_decref(proc_await(&c.manager, "executor.joined", "host=executor-0", NULL));
    json_decref(proc_await(&job, "executor.attached", NULL));
    cr_expect_eq(proc_wait(&job), 0);
    slow_expect(&c, "out", 100);
    cluster_fini(&c);
}

/* Somebody kills a task host by hand: that attempt fails alone. */
Test(executor, a_killed_host_is_one_failed_attempt)
{
    struct cluster c;
    cluster_start(&c, 1);
    struct proc job = slow_start(&c, 20, 100, "out");
    pid_t host = proc_find(&c, c.executor[0].pid, "ferro-host");
    cr_assert(host > 0, "no ferro-host runs");
    kill(host, SIGKILL);
    cr_expect_eq(proc_wait(&job), 0);
    slow_expect(&c, "out", 20);
    json_t *events = proc_events(&job);
    cr_expect_eq(events_count(events, "task.failed", NULL), 1, "%s", job.seen);
    json_decref(events);
    cluster_fini(&c);
}
