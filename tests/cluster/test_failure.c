/* test_failure.c - user code that goes wrong: alone, retried elsewhere first, and told with the whole story. */
#include "tests/cluster/cluster.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

TestSuite(failure, .timeout = 120);

#define BAD "tests/cluster/jobs/bad.c"
#define PART 2 /* the one that goes wrong, of four */

/* A failed job tells: the function, its place, the partition, each attempt with its cause, the last line on stderr. */
static void expect_story(const char *err, const char *how, const char *cause)
{
    const char *const pieces[] = {
        "parse_line", "bad.c:", "partition 2", "4 attempts", "bad date '20O6-01-02'", cause
    };
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++)
        cr_expect(strstr(err, pieces[i]), "%s: '%s' is not in the story:\n%s", how, pieces[i], err);
    for (int a = 1; a <= 4; a++)
        cr_expect(strstr(err, words("attempt %d on executor-", a)), "%s: attempt %d is not told:\n%s", how, a,
                  err);
    cr_expect(strstr(err, "executor-0") && strstr(err, "executor-1"), "%s: where each ran:\n%s", how, err);
}

/* Where the attempt of the bad task failed, as its event has it; "" when there is none. */
static const char *failed_on(const json_t *events, int attempt)
{
    for (size_t i = 0; i < json_array_size(events); i++) {
        json_t *e = json_array_get(events, i), *one = json_array();
        json_array_append(one, e);
        bool it =
            events_count(one, "task.failed", words("part=%d", PART), words("attempt=%d", attempt), NULL) > 0;
        json_decref(one);
        if (it)
            return json_string_value(json_object_get(e, "executor"));
    }
    return "";
}

static void fails(struct cluster *c, const char *options, const char *how, const char *cause)
{
    struct proc p = { 0 };
    ferro_start(c, &p, words("submit --quiet %s " BAD " %s", options, how));
    cr_expect_eq(proc_wait(&p), 3, "%s: exit code %d", how, p.status);
    char *err = file_text("%s/%s.err", c->dir, p.name);
    json_t *events = proc_events(&p);
    expect_story(err, how, cause);
    cr_expect_eq(events_count(events, "task.failed", words("part=%d", PART), NULL), 4, "%s: %s", how, p.seen);
    cr_expect_eq(events_count(events, "task.failed", NULL), 4, "%s: nothing else failed: %s", how, p.seen);
    for (int a = 1; a <= 4; a++)
        cr_expect_eq(
            events_count(events, "task.failed", words("part=%d", PART), words("attempt=%d", a), NULL), 1,
            "%s: attempt %d", how, a);
    cr_expect_str_neq(failed_on(events, 1), failed_on(events, 2), "%s: the second attempt runs elsewhere",
                      how);
    json_decref(events);
    free(err);
}

static void recovers(struct cluster *c, const char *options, const char *how)
{
    struct proc p = { 0 };
    ferro_start(c, &p, words("submit --quiet %s " BAD " %s once", options, how));
    cr_expect_eq(proc_wait(&p), 0, "%s once: exit code %d", how, p.status);
    char *out = file_text("%s/%s.out", c->dir, p.name);
    cr_expect_str_eq(out, "4\n", "%s once: %s", how, out);
    json_t *events = proc_events(&p);
    cr_expect_eq(events_count(events, "task.failed", NULL), 1, "%s once: %s", how, p.seen);
    cr_expect_eq(events_count(events, "task.committed", "stage=1", NULL), 4, "%s once: %s", how, p.seen);
    cr_expect_eq(events_count(events, "task.committed", words("part=%d", PART), "attempt=2",
                              words("executor=%s", failed_on(events, 1)), NULL),
                 0, "%s once: the retry ran where it had failed: %s", how, p.seen);
    json_decref(events);
    free(out);
}

static void bad(const char *options, const char *how, const char *cause)
{
    struct cluster c;
    cluster_start(&c, 2);
    fails(&c, options, how, cause);
    recovers(&c, options, how);
    cluster_fini(&c);
}

Test(failure, an_error)
{
    bad("", "error", "no such day");
}

Test(failure, a_crash)
{
    bad("", "crash", "SIGSEGV");
}

Test(failure, an_exit)
{
    bad("", "exit", "exit");
}

Test(failure, too_much_memory)
{
    bad("--mem 64M", "memory", "memory");
}

Test(failure, too_much_time)
{
    bad("--task-time 300ms", "time", "over its time limit");
}

/* What failed leaves nothing: the same cluster runs the next job, and the failed one is listed with its cause. */
Test(failure, is_listed_and_leaves_the_cluster_whole)
{
    struct cluster c;
    cluster_start(&c, 1);
    free(ferro_expect(&c, 3, "no such day", "submit --attempts 2 " BAD " error"));
    free(ferro_expect(&c, 3, "2 attempts", "submit --attempts 2 " BAD " crash"));
    char *out = ferro_expect(&c, 0, NULL, "submit " BAD " never");
    cr_expect_str_eq(out, "4\n");
    free(out);
    out = ferro_expect(&c, 0, NULL, "apps --json");
    json_t *apps = json_loads(out, 0, NULL);
    cr_assert_eq(json_array_size(apps), 3);
    cr_expect_str_eq(json_string_value(json_object_get(json_array_get(apps, 0), "state")), "ok");
    cr_expect_str_eq(json_string_value(json_object_get(json_array_get(apps, 1), "state")), "failed");
    cr_expect(strstr(json_string_value(json_object_get(json_array_get(apps, 1), "words")), "SIGSEGV"), "%s",
              out);
    cr_expect_eq(json_integer_value(json_object_get(json_array_get(apps, 2), "exit_code")), 3);
    json_decref(apps);
    free(out);
    free(ferro_expect(&c, 3, NULL, "wait 1"));
    cluster_fini(&c);
}
