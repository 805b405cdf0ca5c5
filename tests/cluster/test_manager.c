/* test_manager.c - the manager freezes, dies and comes back; running applications don't mind. */
#include "tests/cluster/gate.h"
#include "tests/cluster/slow.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

TestSuite(manager, .timeout = 120);

static void manager_killed(struct cluster *c)
{
    proc_kill(&c->manager, SIGKILL);
    cr_assert_eq(proc_wait(&c->manager), 128 + SIGKILL);
}

Test(manager, a_frozen_one_stops_nobody)
{
    struct cluster c;
    cluster_start(&c, 2);
    struct proc job = slow_start(&c, 60, 50, "out");
    proc_kill(&c.manager, SIGSTOP);
    for (int i = 0; i < 8; i++)
        json_decref(proc_await(&job, "task.committed", "stage=0", NULL));
    proc_kill(&c.manager, SIGCONT);
    cr_expect_eq(proc_wait(&job), 0);
    slow_expect(&c, "out", 60);
    json_t *events = proc_events(&job);
    cr_expect_eq(events_count(events, "task.failed", NULL) + events_count(events, "executor.lost", NULL), 0,
                 "%s", job.seen);
    json_decref(events);
    app_expect(&c, 1, "ok");
    cluster_fini(&c);
}

Test(manager, killed_and_restarted_on_its_state)
{
    struct cluster c;
    cluster_start(&c, 2);
    struct proc done = slow_start(&c, 4, 1, "before");
    cr_expect_eq(proc_wait(&done), 0);
    struct proc job = slow_start(&c, 80, 50, "out");
    manager_killed(&c);
    json_decref(proc_await(&job, "task.committed", "stage=0", NULL));
    cluster_manager(&c, NULL);
    cr_expect(strstr(c.manager.seen, "\"epoch\":2"), "the epoch is raised: %s", c.manager.seen);
    json_decref(proc_await(&c.executor[0], "executor.joined", NULL));
    json_decref(proc_await(&c.executor[1], "executor.joined", NULL));
    cr_expect_eq(proc_wait(&job), 0);
    slow_expect(&c, "out", 80);
    json_t *events = proc_events(&job);
    cr_expect_eq(events_count(events, "task.committed", "stage=0", NULL), 80, "nothing ran twice");
    cr_expect_eq(events_count(events, "executor.lost", NULL), 0, "%s", job.seen);
    json_decref(events);
    app_expect(&c, 1, "ok");
    app_expect(&c, 2, "ok");
    /* and it goes on as before */
    struct proc after = slow_start(&c, 4, 1, "after");
    cr_expect_eq(proc_wait(&after), 0);
    app_expect(&c, 3, "ok");
    cluster_fini(&c);
}

/* The application ends while no manager is there, and a later one hears of it. */
Test(manager, away_when_an_application_ends)
{
    struct cluster c;
    cluster_start(&c, 2);
    struct proc job = slow_start(&c, 20, 50, "out");
    manager_killed(&c);
    json_decref(proc_await(&job, "job.ended", NULL));
    slow_expect(&c, "out", 20);
    cluster_manager(&c, NULL);
    cr_expect_eq(proc_wait(&job), 0);
    app_expect(&c, 1, "ok");
    cluster_fini(&c);
}

Test(manager, sigterm_leaves_applications_running)
{
    struct cluster c;
    cluster_start(&c, 1);
    struct proc job = slow_start(&c, 40, 50, "out");
    proc_kill(&c.manager, SIGTERM);
    cr_expect_eq(proc_wait(&c.manager), 0);
    json_decref(proc_await(&job, "task.committed", "stage=0", NULL));
    cluster_manager(&c, NULL);
    cr_expect_eq(proc_wait(&job), 0);
    slow_expect(&c, "out", 40);
    cluster_fini(&c);
}

/* Both go: what ran is lost, said so, and the cluster takes new work. */
Test(manager, restarted_after_the_driver_died_too)
{
    struct cluster c;
    cluster_start(&c, 1);
    struct proc job = slow_start(&c, 100, 50, "out");
    manager_killed(&c);
    proc_kill(&job, SIGKILL);
    proc_wait(&job);
    cluster_manager(&c, "--holding 500ms --claim 500ms --driver-lost 500ms");
    json_decref(proc_await(&c.executor[0], "app.ended", "app=1", NULL));
    json_decref(proc_await(&c.manager, "app.ended", "app=1", "state=lost", NULL));
    app_expect(&c, 1, "lost");
    struct proc after = slow_start(&c, 4, 1, "after");
    cr_expect_eq(proc_wait(&after), 0);
    cluster_fini(&c);
}

/* ferro wait and logs --follow outlive the restart too. */
Test(manager, who_waits_goes_on_waiting)
{
    struct cluster c;
    struct proc waits = { 0 };
    cluster_start(&c, 1);
    struct proc job = slow_start(&c, 40, 50, "out");
    char *argv[] = { "ferro", "wait", "1", NULL };
    int64_t peers = counter(&c.manager, "peers");
    proc_start(&c, &waits, "waits", argv, -1);
    while (counter(&c.manager, "peers") == peers)
        ;                                      /* it has said HELLO */
    free(ferro_expect(&c, 0, NULL, "status")); /* and has asked by the time that another has come and gone */
    manager_killed(&c);
    json_decref(proc_await(&job, "task.committed", "stage=0", NULL));
    cluster_manager(&c, NULL);
    cr_expect_eq(proc_wait(&job), 0);
    cr_expect_eq(proc_wait(&waits), 0);
    char *out = file_text("%s/waits.out", c.dir);
    cr_expect_str_eq(out, "app 1 ok\n");
    free(out);
    cluster_fini(&c);
}
