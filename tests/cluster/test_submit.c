/* test_submit.c - jobs on a cluster from both deploy modes, locally, compiled by hand; and what is said of mistakes. */
#include "tests/cluster/cluster.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

TestSuite(submit, .timeout = 120);

#define WORDCOUNT "examples/wordcount.c"
#define ENDS "tests/cluster/jobs/main.c"
#define TEXT "to be or not to be\nthat is the question\nto sleep\n"
#define COUNTED "to\t3\nbe\t2\nis\t1\nnot\t1\nor\t1\nquestion\t1\nsleep\t1\nthat\t1\nthe\t1\n"

static void expect_parts(const char *dir, const char *expected)
{
    char *parts = parts_text(dir);
    cr_expect_str_eq(parts, expected, "%s holds\n%s", dir, parts);
    cr_expect(access(words("%s/_SUCCESS", dir), F_OK) == 0, "%s/_SUCCESS is missing", dir);
    cr_expect(access(words("%s/_ferro", dir), F_OK) != 0, "%s/_ferro is left", dir);
    free(parts);
}

Test(submit, client_mode_prints_or_saves)
{
    struct cluster c;
    cluster_start(&c, 2);
    file_write(TEXT, "%s/text", c.dir);
    char *out = ferro_expect(&c, 0, "3 stages", words("submit " WORDCOUNT " %s/text -", c.dir));
    cr_expect_str_eq(out, COUNTED);
    free(out);
    free(ferro_expect(&c, 0, NULL, words("submit " WORDCOUNT " %s/text %s/out/", c.dir, c.dir)));
    expect_parts(words("%s/out", c.dir), COUNTED);
    cluster_fini(&c);
}

Test(submit, an_existing_output_is_kept_unless_overwritten)
{
    struct cluster c;
    cluster_start(&c, 1);
    file_write(TEXT, "%s/text", c.dir);
    file_write("once\n", "%s/less", c.dir);
    const char *args = words("submit " WORDCOUNT " %s/text %s/out", c.dir, c.dir);
    free(ferro_expect(&c, 0, NULL, args));
    struct proc p = { 0 };
    ferro_start(&c, &p, args);
    cr_expect_eq(proc_wait(&p), 3);
    char *err = file_text("%s/%s.err", c.dir, p.name);
    cr_expect(strstr(err, "/out") && strstr(err, "--overwrite"), "says what to do: %s", err);
    json_t *events = proc_events(&p);
    cr_expect_eq(events_count(events, "task.committed", NULL), 0, "it failed before the first task");
    expect_parts(words("%s/out", c.dir), COUNTED);
    free(ferro_expect(&c, 0, NULL, words("submit --overwrite " WORDCOUNT " %s/less %s/out", c.dir, c.dir)));
    expect_parts(words("%s/out", c.dir), "once\t1\n");
    json_decref(events);
    free(err);
    cluster_fini(&c);
}

/* An executor that sees the output folder, and may write there, writes its parts itself. */
Test(submit, executors_write_where_they_may)
{
    struct cluster c;
    cluster_init(&c);
    cluster_manager(&c, NULL);
    cluster_executor(&c, 0, words("--write %s", c.dir));
    cluster_executor(&c, 1, words("--write %s", c.dir));
    file_write(TEXT, "%s/text", c.dir);
    free(ferro_expect(&c, 0, "written by executors",
                      words("submit " WORDCOUNT " %s/text %s/out", c.dir, c.dir)));
    expect_parts(words("%s/out", c.dir), COUNTED);
    cluster_fini(&c);
}

/* Input that no executor may read comes from the driver: a job from a laptop needs no shared disk. */
Test(submit, the_driver_serves_what_executors_do_not_see)
{
    struct cluster c;
    char far[] = "/tmp/ferro-far-XXXXXX";
    cluster_start(&c, 2);
    cr_assert(mkdtemp(far));
    file_write(TEXT, "%s/one", far);
    file_write(TEXT, "%s/two words", far);
    char *out = ferro_expect(&c, 0, NULL, words("submit " WORDCOUNT " %s -", far));
    cr_expect_str_eq(out, "to\t6\nbe\t4\nis\t2\nnot\t2\nor\t2\nquestion\t2\nsleep\t2\nthat\t2\nthe\t2\n");
    free(out);
    free(ferro_expect(&c, 0, NULL, words("submit " WORDCOUNT " %s/one %s/out", far, far)));
    expect_parts(words("%s/out", far), COUNTED);
    cr_assert_eq(system(words("rm -rf %s", far)), 0);
    cluster_fini(&c);
}

Test(submit, cluster_mode_waits_and_tells_what_was_written)
{
    struct cluster c;
    cluster_start(&c, 2);
    cluster_driver(&c);
    file_write(TEXT, "%s/text", c.dir);
    char *out = ferro_expect(&c, 0, NULL,
                             words("submit --deploy-mode cluster --wait " WORDCOUNT " %s/text -", c.dir));
    cr_expect_str_eq(out, COUNTED);
    free(out);
    out = ferro_expect(&c, 0, "ferro wait 2",
                       words("submit --deploy-mode cluster " WORDCOUNT " %s/text %s/out", c.dir, c.dir));
    cr_expect_str_eq(out, "2\n", "its number alone: %s", out);
    free(out);
    out = ferro_expect(&c, 0, NULL, "wait 2");
    cr_expect(strstr(out, "app 2 ok"), "%s", out);
    free(out);
    expect_parts(words("%s/out", c.dir), COUNTED);
    out = ferro_expect(&c, 0, "3 stages", "logs 2");
    cr_expect_str_eq(out, "");
    free(out);
    out = ferro_expect(&c, 0, NULL, "logs --follow 1");
    cr_expect_str_eq(out, COUNTED);
    free(out);
    free(ferro_expect(&c, 3, "no such day",
                      "submit --deploy-mode cluster --wait tests/cluster/jobs/bad.c error"));
    cluster_fini(&c);
}

Test(submit, cluster_mode_says_that_no_service_is_there)
{
    struct cluster c;
    cluster_start(&c, 1);
    file_write(TEXT, "%s/text", c.dir);
    char *out = ferro_expect(&c, 0, "ferro-driver serve",
                             words("submit --deploy-mode cluster " WORDCOUNT " %s/text -", c.dir));
    cr_expect_str_eq(out, "1\n");
    free(out);
    cluster_driver(&c); /* and takes what waits */
    free(ferro_expect(&c, 0, NULL, "wait 1"));
    out = ferro_expect(&c, 0, NULL, "logs 1");
    cr_expect_str_eq(out, COUNTED);
    free(out);
    cluster_fini(&c);
}

Test(submit, local_mode_and_cc_from_any_folder)
{
    struct cluster c;
    char here[PATH_MAX], source[PATH_MAX + 32];
    folder_init(&c);
    cr_assert(getcwd(here, sizeof here));
    snprintf(source, sizeof source, "%s/" WORDCOUNT, here);
    file_write(TEXT, "%s/a text", c.dir);
    cr_assert(chdir(c.dir) == 0);
    setenv("TMPDIR", c.dir, 1);
    free(ferro_expect(&c, 0, NULL, words("cc %s -o job.so -- -O1", source)));
    char *out = ferro_expect(&c, 0, NULL, "run job.so a\1text -");
    cr_expect_str_eq(out, COUNTED);
    free(out);
    free(ferro_expect(&c, 0, NULL, words("run %s a\1text out", source)));
    expect_parts("out", COUNTED);
    free(ferro_expect(&c, 3, "wordcount.c:", words("run %s missing -", source)));
    free(ferro_expect(&c, 3, "missing", words("run %s missing -", source)));
    cr_expect(system("! ls -d ferro-run-* 2>/dev/null") == 0, "local mode left a folder");
    unsetenv("TMPDIR");
    cr_assert(chdir(here) == 0);
    cluster_fini(&c);
}

/* Whatever of a private cluster is killed: an end with a cause, and nothing left once the next one starts. */
Test(submit, local_mode_ends_with_its_services_and_sweeps_after_the_killed)
{
    static const char *const services[] = { "ferro-manager", "ferro-executor" };
    struct cluster c;
    struct proc p = { 0 };
    folder_init(&c);
    setenv("TMPDIR", c.dir, 1);
    for (int i = 0; i < 2; i++) {
        ferro_start(&c, &p, words("run tests/cluster/jobs/slow.c 200 100 %s/out%d", c.dir, i));
        json_decref(proc_await(&p, "task.committed", NULL));
        pid_t service = proc_find(&c, p.pid, services[i]);
        cr_assert(service > 0, "no %s was found", services[i]); /* 0 would be our own process group */
        kill(service, SIGKILL);
        cr_expect_eq(proc_wait(&p), 1);
        char *err = file_text("%s/%s.err", c.dir, p.name);
        cr_expect(strstr(err, words("the private %s was killed by SIGKILL", services[i] + 6)), "%s", err);
        free(err);
    }
    ferro_start(&c, &p, words("run tests/cluster/jobs/slow.c 200 100 %s/out3", c.dir));
    json_decref(proc_await(&p, "task.committed", NULL));
    free(ferro_expect(&c, 0, NULL, "run " ENDS " fine")); /* leaves the living alone */
    cr_expect(system(words("ls -d %s/ferro-run-*/lock >/dev/null", c.dir)) == 0);
    proc_kill(&p, SIGKILL);
    proc_wait(&p);
    cluster_expect_nothing_left(&c);
    free(ferro_expect(&c, 0, NULL, "run " ENDS " fine"));
    cr_expect(system(words("! ls -d %s/ferro-run-* 2>/dev/null", c.dir)) == 0);
    unsetenv("TMPDIR");
    cluster_fini(&c);
}

Test(submit, local_mode_says_at_once_what_it_can_not_have)
{
    struct cluster c;
    folder_init(&c);
    free(ferro_expect(&c, 1, "more than the", "run --mem 1000T " ENDS " fine"));
    free(ferro_expect(&c, 2, "at most 4096", "run --slots 5000 " ENDS " fine"));
    cluster_fini(&c);
}

Test(submit, names_are_files_folders_and_globs)
{
    struct cluster c;
    folder_init(&c);
    cr_assert(system(words("mkdir -p '%s/in/sub dir' %s/in/.hidden", c.dir, c.dir)) == 0);
    file_write("one\n", "%s/in/1.txt", c.dir);
    file_write("two two", "%s/in/2.txt", c.dir);
    file_write("three\nthree three\n", "%s/in/sub dir/3 x.log", c.dir);
    file_write("hidden\n", "%s/in/.hidden/4", c.dir);
    file_write("hidden\n", "%s/in/.5", c.dir);
    char *out = ferro_expect(&c, 0, NULL, words("run " WORDCOUNT " %s/in -", c.dir));
    cr_expect_str_eq(out, "three\t3\ntwo\t2\none\t1\n", "a folder: %s", out);
    free(out);
    out = ferro_expect(
        &c, 0, NULL,
        words("run " WORDCOUNT " %s/in/*.txt %s/in/sub\1dir/3\1x.log %s/in/1.txt -", c.dir, c.dir, c.dir));
    cr_expect_str_eq(out, "three\t3\none\t2\ntwo\t2\n", "globs and files: %s", out);
    free(out);
    free(ferro_expect(&c, 3, "*.csv", words("run " WORDCOUNT " %s/in/*.csv -", c.dir)));
    cluster_fini(&c);
}

Test(submit, mistakes_have_codes_and_say_what_to_do)
{
    struct cluster c;
    cluster_init(&c);
    free(ferro_expect(&c, 2, "Usage", ""));
    free(ferro_expect(&c, 2, "did you mean 'submit'", "sumbit x"));
    free(ferro_expect(&c, 2, "which job", "submit"));
    free(ferro_expect(&c, 2, "did you mean --json", "status --jsno"));
    free(ferro_expect(&c, 2, "7400", "status --manager 127.0.0.1"));
    free(ferro_expect(&c, 2, "client or cluster", "submit --deploy-mode here x.c"));
    free(ferro_expect(&c, 2, "one application", "kill"));
    free(ferro_expect(&c, 1, "nope.c", "run nope.c"));
    free(ferro_expect(&c, 1, "neither a source", "run README.md"));
    file_write("int broken(", "%s/broken.c", c.dir);
    free(ferro_expect(&c, 1, "broken.c:1", words("run %s/broken.c", c.dir)));
    file_write("int no_job;", "%s/nojob.c", c.dir);
    free(ferro_expect(&c, 1, "FERRO_JOB", words("run %s/nojob.c", c.dir)));
    free(ferro_expect(&c, 1, "FERRO_KEY", "status --key /nowhere/user.key"));
    free(ferro_expect(&c, 4, "is ferro-manager running", "status --manager 127.0.0.1:1"));
    free(ferro_expect(&c, 4, "is ferro-manager running",
                      words("submit --manager 127.0.0.1:1 " WORDCOUNT " %s/keys -", c.dir)));
    cluster_fini(&c);
}

/* A main that crashes has words and the code of a failed job, in each mode, and its application ends at once. */
Test(submit, a_main_that_crashes_says_so)
{
    struct cluster c;
    cluster_start(&c, 1);
    cluster_driver(&c);
    free(ferro_expect(&c, 3, "main: its main was killed by SIGSEGV", "submit " ENDS " segv"));
    free(ferro_expect(&c, 3, "main: its main was killed by SIGSEGV", "run " ENDS " deep"));
    free(ferro_expect(&c, 3, "main: its main was killed by SIGABRT",
                      "submit --deploy-mode cluster --wait " ENDS " abort"));
    for (int app = 1; app <= 2; app++) {
        char *out = ferro_expect(&c, 3, NULL, words("wait %d", app));
        cr_expect(strstr(out, "failed: main: its main was killed by SIG"), "%s", out);
        free(out);
    }
    free(ferro_expect(&c, 1, "main: its main returned 5", "submit " ENDS " return"));
    free(ferro_expect(&c, 9, "main: its main called exit() with 9", "submit " ENDS " exit"));
    cluster_fini(&c);
}

Test(submit, help_comes_from_the_table)
{
    static const char *const verbs[] = { "run",  "submit", "cc",   "status", "executors", "apps",
                                         "wait", "logs",   "kill", "drain",  "keys" };
    struct cluster c;
    folder_init(&c);
    char *out, *all = ferro_expect(&c, 0, NULL, "--help");
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++) {
        cr_expect(strstr(all, words("\n  %s ", verbs[i])), "--help leaves out %s", verbs[i]);
        out = ferro_expect(&c, 0, NULL, words("%s --help", verbs[i]));
        cr_expect(strstr(out, words("Usage: ferro %s", verbs[i])), "%s", out);
        free(out);
    }
    free(all);
    free(ferro_expect(&c, 0, NULL, "--version"));
    cluster_fini(&c);
}

Test(submit, keys_decide_who_may)
{
    struct cluster c;
    cluster_start(&c, 1);
    /* a key that this manager has not read yet; after SIGHUP it may, and after its removal no more */
    free(ferro_expect(&c, 0, "", words("keys add user bob --dir %s/keys", c.dir)));
    const char *bob = words("status --key %s/keys/users/bob.key", c.dir);
    free(ferro_expect(&c, 5, "FERRO_KEY", bob));
    proc_kill(&c.manager, SIGHUP);
    free(ferro_expect(&c, 0, NULL, bob));
    unlink(words("%s/keys/authorized/bob.pub", c.dir));
    proc_kill(&c.manager, SIGHUP);
    free(ferro_expect(&c, 5, NULL, bob));
    /* keys of another cluster */
    free(ferro_expect(&c, 0, NULL, words("keys init %s/other", c.dir)));
    free(ferro_expect(&c, 5, "not the one that this key is for",
                      words("status --key %s/other/users/user.key", c.dir)));
    free(ferro_expect(&c, 5, NULL, words("submit --key %s/other/users/user.key " WORDCOUNT " x -", c.dir)));
    /* a file that others may read */
    cr_assert(chmod(words("%s/keys/users/user.key", c.dir), 0644) == 0);
    free(ferro_expect(&c, 5, "chmod 600", "status"));
    cr_assert(chmod(words("%s/keys/users/user.key", c.dir), 0600) == 0);
    free(ferro_expect(&c, 1, "authorized", words("keys add user user --dir %s/keys", c.dir)));
    cluster_fini(&c);
}

Test(submit, others_applications_are_not_ones_own)
{
    struct cluster c;
    struct proc job = { 0 };
    cluster_init(&c);
    free(ferro_expect(&c, 0, NULL, words("keys add user bob --dir %s/keys", c.dir)));
    cluster_manager(&c, NULL);
    cluster_executor(&c, 0, NULL);
    ferro_start(&c, &job, words("submit tests/cluster/jobs/slow.c 200 100 %s/out", c.dir));
    json_decref(proc_await(&job, "task.committed", NULL));
    const char *bob = words("--key %s/keys/users/bob.key", c.dir),
               *admin = words("--key %s/keys/users/admin.key", c.dir);
    free(ferro_expect(&c, 5, "not yours", words("kill 1 %s", bob)));
    free(ferro_expect(&c, 5, "not yours", words("wait 1 %s", bob)));
    free(ferro_expect(&c, 5, "not yours", words("logs 1 %s", bob)));
    char *out = ferro_expect(&c, 0, NULL, words("apps --json %s", bob));
    cr_expect_str_eq(out, "[]\n");
    free(out);
    free(ferro_expect(&c, 5, "admin", words("drain 0000 %s", bob)));
    out = ferro_expect(&c, 0, NULL, words("apps %s", admin));
    cr_expect(strstr(out, "slow") && strstr(out, "running"), "%s", out);
    free(out);
    free(ferro_expect(&c, 0, NULL, words("kill 1 %s", admin)));
    cr_expect_neq(proc_wait(&job), 0);
    cluster_fini(&c);
}
