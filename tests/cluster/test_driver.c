/* test_driver.c - how applications end before their time: killed, interrupted, their driver or its service gone. */
#include "tests/cluster/slow.h"

#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

TestSuite(driver, .timeout = 120);

/* A shell command is true, now or within some seconds: files go in threads of their own. */
static void expect_soon(const char *command)
{
    time_t end = time(NULL) + 10;
    int code;
    while ((code = system(command)) != 0 && time(NULL) < end)
        ;
    cr_expect_eq(code, 0, "not true within 10 s: %s", command);
}

/* Nothing of the application is left: its end came to each executor, no blocks lie there, every slot is free. */
static void expect_released(struct cluster *c, int executors)
{
    for (int i = 0; i < executors; i++)
        json_decref(proc_await(&c->executor[i], "app.ended", "app=1", NULL));
    expect_soon(words("test -z \"$(find %s/blocks -type f -path '*/1/*' 2>/dev/null)\"", c->dir));
    char *out = ferro_expect(c, 0, NULL, "executors --json");
    json_t *rows = json_loads(out, 0, NULL);
    cr_expect_eq(json_array_size(rows), (size_t)executors);
    for (size_t i = 0; i < json_array_size(rows); i++)
        cr_expect_eq(json_integer_value(json_object_get(json_array_get(rows, i), "slots_used")), 0, "%s",
                     out);
    json_decref(rows);
    free(out);
}

Test(driver, killed_hard_is_lost_and_everything_is_released)
{
    struct cluster c;
    cluster_init(&c);
    cluster_manager(&c, "--driver-lost 700ms");
    cluster_executor(&c, 0, NULL);
    cluster_executor(&c, 1, NULL);
    struct proc job = slow_start(&c, 200, 50, "out");
    proc_kill(&job, SIGKILL);
    proc_wait(&job);
    json_decref(proc_await(&c.manager, "app.ended", "app=1", "state=lost", NULL));
    expect_released(&c, 2);
    app_expect(&c, 1, "lost");
    cr_expect(access(words("%s/out/_SUCCESS", c.dir), F_OK) != 0, "it must not look complete");
    cluster_fini(&c);
}

Test(driver, interrupted_is_killed_and_cleans_up)
{
    static const int signals[] = { SIGINT, SIGTERM };
    for (int i = 0; i < 2; i++) {
        struct cluster c;
        cluster_start(&c, 1);
        struct proc job = slow_start(&c, 200, 50, "out");
        proc_kill(&job, signals[i]);
        int code = proc_wait(&job);
        cr_expect(code == 128 + signals[i] || code == 130, "its exit code is %d", code);
        json_decref(proc_await(&c.manager, "app.ended", "app=1", "state=killed", NULL));
        expect_released(&c, 1);
        app_expect(&c, 1, "killed");
        cr_expect(access(words("%s/out/_ferro", c.dir), F_OK) != 0, "the staging folder is left");
        cluster_fini(&c);
    }
}

Test(driver, ferro_kill_ends_it)
{
    struct cluster c;
    cluster_start(&c, 2);
    struct proc job = slow_start(&c, 200, 50, "out");
    char *out = ferro_expect(&c, 0, NULL, "kill 1 --json");
    json_t *row = json_loads(out, 0, NULL);
    cr_expect_eq(json_integer_value(json_object_get(row, "app")), 1, "%s", out);
    cr_expect_neq(proc_wait(&job), 0);
    char *err = file_text("%s/%s.err", c.dir, job.name);
    cr_expect(strstr(err, "kill"), "it says that it was killed: %s", err);
    json_decref(proc_await(&c.manager, "app.ended", "app=1", "state=killed", NULL));
    expect_released(&c, 2);
    app_expect(&c, 1, "killed");
    free(ferro_expect(&c, 1, "no application 99", "kill 99"));
    json_decref(row);
    free(err);
    free(out);
    cluster_fini(&c);
}

/* A frozen driver: executors end its hosts by themselves, and when it wakes it is told. */
Test(driver, frozen_is_given_up)
{
    struct cluster c;
    cluster_init(&c);
    cluster_manager(&c, "--beat 50ms --suspect 300ms --lost 900ms --driver-lost 900ms");
    cluster_executor(&c, 0, NULL);
    struct proc job = slow_start(&c, 200, 50, "out");
    proc_kill(&job, SIGSTOP);
    json_decref(proc_await(&c.manager, "app.ended", "app=1", "state=lost", NULL));
    expect_released(&c, 1);
    proc_kill(&job, SIGCONT);
    cr_expect_neq(proc_wait(&job), 0, "it learns that it was given up");
    cr_expect(access(words("%s/out/_SUCCESS", c.dir), F_OK) != 0, "it must not look complete");
    cluster_fini(&c);
}

/* ---- local mode ---- */

/* Where the one `ferro run` in this cluster's folder keeps its blocks. */
static char *fast_folder(const struct cluster *c)
{
    glob_t g;
    cr_assert(glob(words("%s/ferro-run-*", c->dir), 0, NULL, &g) == 0 && g.gl_pathc == 1);
    char *fast = strdup(words("/dev/shm/%s", strrchr(g.gl_pathv[0], '/') + 1));
    globfree(&g);
    return fast;
}

/* `ferro run` of the slow job, interrupted: all that it started goes with it. */
Test(driver, local_mode_ends_with_what_it_started)
{
    static const int signals[] = { SIGINT, SIGTERM, SIGKILL };
    for (int i = 0; i < 3; i++) {
        struct cluster c;
        struct proc job = { 0 };
        folder_init(&c);
        setenv("TMPDIR", c.dir, 1);
        ferro_start(&c, &job, words("run --quiet --slots 2 " SLOW " 200 50 %s/out", c.dir));
        json_decref(proc_await(&job, "task.committed", "stage=0", NULL));
        char *fast = fast_folder(&c);
        proc_kill(&job, signals[i]);
        int code = proc_wait(&job);
        cr_expect_geq(code, 128, "its exit code is %d", code);
        if (signals[i] != SIGKILL)
            expect_soon(words("! ls -d %s/ferro-run-* %s 2>/dev/null", c.dir, fast));
        unsetenv("TMPDIR");
        cluster_fini(&c); /* which looks for processes */
        cr_assert_eq(system(words("rm -rf %s", fast)), 0);
        free(fast);
    }
}

/* ---- the driver service ------------------------------------------------------ */

/* A cluster whose service runs the slow job. */
static void service_start(struct cluster *c, const char *manager)
{
    cluster_init(c);
    cluster_manager(c, manager);
    cluster_executor(c, 0, NULL);
    cluster_driver(c);
    free(ferro_expect(c, 0, NULL, words("submit --deploy-mode cluster " SLOW " 200 50 %s/out", c->dir)));
    json_decref(proc_await(&c->executor[0], "stage.started", "app=1", NULL));
}

Test(driver, a_service_that_stops_ends_its_applications)
{
    struct cluster c;
    service_start(&c, NULL);
    proc_kill(&c.driver, SIGTERM);
    cr_expect_eq(proc_wait(&c.driver), 0);
    json_decref(proc_await(&c.manager, "app.ended", "app=1", NULL));
    expect_released(&c, 1);
    app_expect(&c, 1, "killed");
    free(ferro_expect(&c, 130, NULL, "wait 1"));
    cluster_fini(&c);
}

/* Its children are told by the kernel, and close what they can. */
Test(driver, a_service_that_dies_takes_its_applications_along)
{
    struct cluster c;
    service_start(&c, "--driver-lost 700ms");
    proc_kill(&c.driver, SIGKILL);
    proc_wait(&c.driver);
    json_decref(proc_await(&c.manager, "app.ended", "app=1", "state=killed", NULL));
    expect_released(&c, 1);
    app_expect(&c, 1, "killed");
    cluster_fini(&c);
}

Test(driver, ferro_kill_reaches_cluster_mode)
{
    struct cluster c;
    service_start(&c, NULL);
    free(ferro_expect(&c, 0, NULL, "kill 1"));
    json_decref(proc_await(&c.manager, "app.ended", "app=1", "state=killed", NULL));
    expect_released(&c, 1);
    free(
        ferro_expect(&c, 0, NULL, words("submit --deploy-mode cluster --wait " SLOW " 4 1 %s/again", c.dir)));
    cluster_fini(&c);
}

/* The application's own process is killed; the service says so and lives on. */
Test(driver, a_child_that_dies_is_reported)
{
    struct cluster c;
    service_start(&c, NULL);
    pid_t child = proc_find(&c, c.driver.pid, "ferro-driver");
    cr_assert(child > 0 && child != c.driver.pid, "no child of the service");
    kill(child, SIGKILL);
    json_decref(proc_await(&c.manager, "app.ended", "app=1", NULL));
    expect_released(&c, 1);
    char *out = ferro_expect(&c, 3, NULL, "wait 1"); /* a failed job: no code of its main's */
    cr_expect(strstr(out, "SIGKILL") || strstr(out, "signal 9"), "the cause: %s", out);
    free(out);
    free(
        ferro_expect(&c, 0, NULL, words("submit --deploy-mode cluster --wait " SLOW " 4 1 %s/again", c.dir)));
    cluster_fini(&c);
}
