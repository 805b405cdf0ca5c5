/* test_query.c - ferro status, executors and apps: what people read, and the same as JSON. */
#include "tests/cluster/slow.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

TestSuite(query, .timeout = 120);

/* Run a verb with --json: its value, json_decref() it. */
static json_t *ask(struct cluster *c, const char *verb)
{
    json_error_t e;
    char *out = ferro_expect(c, 0, NULL, words("%s --json", verb));
    json_t *j = json_loads(out, 0, &e);
    cr_assert(j, "%s --json: %s: %s", verb, e.text, out);
    free(out);
    return j;
}

static json_int_t number(const json_t *j, const char *name)
{
    const json_t *v = json_object_get(j, name);
    cr_expect(json_is_integer(v), "%s is missing or no number", name);
    return json_integer_value(v);
}

static const char *text(const json_t *j, const char *name)
{
    const json_t *v = json_object_get(j, name);
    cr_expect(json_is_string(v), "%s is missing or no string", name);
    return json_string_value(v);
}

Test(query, an_empty_cluster)
{
    struct cluster c;
    cluster_init(&c);
    cluster_manager(&c, NULL);
    json_t *s = ask(&c, "status");
    cr_expect_eq(number(s, "epoch"), 1);
    cr_expect_eq(
        number(s, "executors") + number(s, "slots") + number(s, "apps_running") + number(s, "drivers"), 0);
    json_t *x = ask(&c, "executors"), *a = ask(&c, "apps");
    cr_expect(json_is_array(x) && json_array_size(x) == 0 && json_is_array(a) && json_array_size(a) == 0);
    char *out = ferro_expect(&c, 0, NULL, "executors");
    cr_expect(strstr(out, "ferro-executor"), "it says how to start one: %s", out);
    free(out);
    out = ferro_expect(&c, 0, NULL, "status");
    cr_expect(strstr(out, "epoch 1") && strstr(out, "executors 0"), "%s", out);
    json_decref(s);
    json_decref(x);
    json_decref(a);
    free(out);
    cluster_fini(&c);
}

Test(query, a_cluster_at_work)
{
    struct cluster c;
    cluster_start(&c, 1);
    cluster_executor(&c, 1, "--slots 3 --mem 2G");
    cluster_driver(&c);
    struct proc job = slow_start(&c, 200, 50, "out");
    json_decref(proc_await(&c.executor[1], "stage.started", NULL));
    json_t *s = ask(&c, "status"), *x = ask(&c, "executors"), *a = ask(&c, "apps");
    cr_expect_eq(number(s, "executors"), 2);
    cr_expect_eq(number(s, "slots"), 4);
    cr_expect_eq(number(s, "slots_used"), 4);
    cr_expect_eq(number(s, "apps_running"), 1);
    cr_expect_eq(number(s, "drivers"), 1);
    cr_assert_eq(json_array_size(x), 2);
    for (size_t i = 0; i < 2; i++) {
        json_t *row = json_array_get(x, i);
        bool large = !strcmp(text(row, "host"), "executor-1");
        cr_expect_eq(number(row, "slots"), large ? 3 : 1);
        cr_expect_eq(number(row, "slots_used"), number(row, "slots"));
        cr_expect_eq(number(row, "memory_used"), number(row, "slots_used") * (512 << 20));
        cr_expect(!large || number(row, "memory") == 2ll << 30);
        cr_expect_str_eq(text(row, "state"), "ready");
        cr_expect_lt(number(row, "beat_age_ms"), 10000);
    }
    cr_assert_eq(json_array_size(a), 1);
    json_t *row = json_array_get(a, 0);
    cr_expect_eq(number(row, "app"), 1);
    cr_expect_str_eq(text(row, "name"), "slow");
    cr_expect_str_eq(text(row, "state"), "running");
    cr_expect_str_eq(text(row, "mode"), "client");
    cr_expect_eq(number(row, "slots"), 4);
    char *out = ferro_expect(&c, 0, NULL, "status");
    cr_expect(strstr(out, "slots 4/4") && strstr(out, "executor-1") && strstr(out, "ready"), "%s", out);
    free(out);
    out = ferro_expect(&c, 0, NULL, "apps");
    cr_expect(strstr(out, "slow") && strstr(out, "running"), "%s", out);
    free(out);
    proc_kill(&job, SIGTERM);
    proc_wait(&job);
    json_decref(s);
    json_decref(x);
    json_decref(a);
    cluster_fini(&c);
}

/* What waits says for what. */
Test(query, who_waits_says_for_what)
{
    struct cluster c;
    struct proc job = { 0 };
    cluster_start(&c, 1);
    ferro_start(&c, &job, words("submit --mem 1000G " SLOW " 2 1 %s/out", c.dir));
    file_await(words("%s/%s.err", c.dir, job.name), "waits");
    json_t *a = ask(&c, "apps");
    cr_expect(strstr(text(json_array_get(a, 0), "words"), "GiB"), "ferro apps says so too: %s",
              text(json_array_get(a, 0), "words"));
    json_decref(a);
    proc_kill(&job, SIGINT);
    proc_wait(&job);
    char *err = file_text("%s/%s.err", c.dir, job.name);
    cr_expect(strstr(err, "waits") && strstr(err, "GiB"), "and so does the driver: %s", err);
    free(err);
    cluster_fini(&c);
}

/* Two applications share: the second gets slots while the first runs. */
Test(query, two_applications_share_the_slots)
{
    struct cluster c;
    cluster_start(&c, 2);
    struct proc first = slow_start(&c, 100, 50, "first");
    struct proc second = slow_start(&c, 10, 50, "second");
    json_t *s = ask(&c, "status");
    cr_expect_leq(number(s, "slots_used"), 2);
    cr_expect_eq(proc_wait(&second), 0);
    cr_expect_eq(proc_wait(&first), 0);
    slow_expect(&c, "first", 100);
    slow_expect(&c, "second", 10);
    json_decref(s);
    cluster_fini(&c);
}
