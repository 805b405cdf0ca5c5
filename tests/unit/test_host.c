/* test_host.c - a real task host: it loads, runs, reports, dies and is confined. */
#include "tests/unit/rig_host.h"

#include "common/base/clock.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define SOURCE(functions) \
    "#define _GNU_SOURCE\n#include <ferro.h>\n#include <errno.h>\n#include <fcntl.h>\n#include " \
    "<signal.h>\n#include " \
    "<stdio.h>\n#include <stdlib.h>\n" \
    "#include <sys/mman.h>\n#include <sys/socket.h>\n#include <sys/wait.h>\n#include <unistd.h>\n" \
    "#include <sched.h>\n#include <sys/ioctl.h>\n#include <sys/resource.h>\n#include <sys/shm.h>\n" \
    "#include <sys/stat.h>\n#include <sys/syscall.h>\n#include <sys/xattr.h>\n#include <asm/sockios.h>\n" \
    "#include <string.h>\n" \
    "#define DENIED(what) do { errno = 0; if ((long)(what) != -1 || errno != EPERM) fe_fail(t, #what \": " \
    "%s\", strerror(errno)); } while (0)\n" \
    "#define ALLOWED(what) do { if ((long)(what) < 0) fe_fail(t, #what \": %s\", strerror(errno)); } while " \
    "(0)\n" \
    "#define FILTER(name) FERRO_API bool name(fe_task *t, fe_slice key, fe_slice value); \\\n" \
    "    FERRO_API bool name(fe_task *t, fe_slice key, fe_slice value)\n" functions \
    "\nstatic int job(fe_app *a, int n, char **v) { (void)a; (void)n; (void)v; return 0; " \
    "}\nFERRO_JOB(\"job\", job)\n"

static void ready(struct rig_host *r)
{
    char words[513];
    const struct came *c = rig_host_await(r);
    cr_assert_eq(c->tag, MSG_HOST_READY, "tag %u, exit %d, signal %d: %s", c->tag, c->code, c->signal,
                 c->tail);
    bytes_text(((const struct msg_host_ready *)c->msg)->words, words, sizeof words);
    cr_assert_str_eq(words, "");
}

static const struct msg_done *done(struct rig_host *r)
{
    const struct came *c = rig_host_await(r);
    cr_assert_eq(c->tag, MSG_DONE, "tag %u, exit %d, signal %d: %s", c->tag, c->code, c->signal, c->tail);
    return c->msg;
}

static const struct rec_report *report(struct rig_host *r)
{
    const struct msg_done *m = done(r);
    cr_assert_eq(m->reports.n, 1);
    return &m->reports.v[0];
}

/* One task, with nothing to say but its count. */
static void succeeds(struct rig_host *r)
{
    char words[513] = "";
    const struct msg_done *m = done(r);
    if (m->reports.n)
        bytes_text(m->reports.v[0].words, words, sizeof words);
    cr_assert(m->runs.n == 1 && m->runs.v[0].count == 1, "%s", words);
}

static void fails_with(struct rig_host *r, uint32_t part, const char *words)
{
    char said[513];
    rig_host_tasks(r, part, 1);
    const struct rec_report *p = report(r);
    bytes_text(p->words, said, sizeof said);
    cr_assert(strstr(said, words), "'%s' where '%s' was to be", said, words);
}

Test(host, runs_tasks_and_tells_all_of_them, .timeout = 60)
{
    struct rig_host r;
    rig_host_init(&r, SOURCE("FILTER(odd) { (void)t; (void)key; return fe_i64(value) & 1; }"), true, NULL);
    ready(&r);
    rig_host_stage(&r, "odd", 1000);
    rig_host_tasks(&r, 0, 256);
    bool seen[256] = { false };
    for (uint32_t told = 0; told < 256;) {
        const struct came *c = rig_host_await(&r);
        cr_assert_eq(c->tag, MSG_DONE);
        const struct msg_done *m = c->msg;
        uint32_t before = told;
        cr_assert_eq(m->reports.n, 0, "what only has a count needs no report of its own");
        for (uint32_t i = 0; i < m->runs.n; i++)
            for (uint32_t k = 0; k < m->runs.v[i].count; k++, told++) {
                uint32_t part = m->runs.v[i].first + k;
                cr_assert_eq(m->runs.v[i].rows, part & 1);
                seen[part] = true;
            }
        cr_assert(m->busy_ns > 0 && told - before <= 64);
    }
    for (uint32_t i = 0; i < 256; i++)
        cr_assert(seen[i], "task %u", i);
    rig_host_fini(&r);
}

/* Quick tasks are told many at once; but not only when a long one behind them has ended. */
Test(host, what_is_done_does_not_wait_for_what_runs, .timeout = 60)
{
    struct rig_host r;
    rig_host_init(
        &r, SOURCE("FILTER(slow) { (void)t; (void)key; if (fe_i64(value) == 299) pause(); return true; }"),
        true, NULL);
    ready(&r);
    rig_host_stage(&r, "slow", 300);
    rig_host_tasks(&r, 0, 300);
    for (uint32_t told = 0; told < 299;) { /* the last one never ends */
        const struct came *c = rig_host_await(&r);
        cr_assert_eq(c->tag, MSG_DONE);
        const struct msg_done *m = c->msg;
        for (uint32_t i = 0; i < m->runs.n; i++)
            told += m->runs.v[i].count;
        told += m->reports.n;
    }
    rig_host_fini(&r);
}

Test(host, tells_an_error_with_its_words, .timeout = 60)
{
    struct rig_host r;
    rig_host_init(&r,
                  SOURCE("FILTER(no) { (void)key; (void)value; fprintf(stderr, \"look here\\n\"); fe_fail(t, "
                         "\"no good\"); return true; }"),
                  true, NULL);
    ready(&r);
    rig_host_stage(&r, "no", 10);
    fails_with(&r, 3, "no good");
    cr_assert(strstr(r.now->tail, "look here"), "its stderr was '%s'", r.now->tail);
    rig_host_fini(&r);
}

Test(host, a_crash_ends_it_and_says_where_it_was, .timeout = 60)
{
    struct rig_host r;
    rig_host_init(&r,
                  SOURCE("FILTER(boom) { (void)t; (void)key; if (fe_i64(value) == 7) { fputs(\"boom\", "
                         "stderr); raise(SIGSEGV); } return true; }"),
                  true, NULL);
    ready(&r);
    rig_host_stage(&r, "boom", 10);
    rig_host_tasks(&r, 0, 10);
    while (rig_host_await(&r)->tag)
        ;
    cr_assert_eq(r.now->signal, SIGSEGV);
    cr_assert(r.now->ran && r.now->part == 7, "it was in %u", r.now->part);
    cr_assert(strstr(r.now->tail, "boom"));
    rig_host_fini(&r);
}

Test(host, a_task_that_exits_is_an_exit, .timeout = 60)
{
    struct rig_host r;
    rig_host_init(&r, SOURCE("FILTER(leave) { (void)t; (void)key; (void)value; exit(3); }"), true, NULL);
    ready(&r);
    rig_host_stage(&r, "leave", 1);
    rig_host_tasks(&r, 0, 1);
    const struct came *c = rig_host_await(&r);
    cr_assert(c->tag == 0 && c->code == 3 && c->ran);
    rig_host_fini(&r);
}

Test(host, is_confined, .timeout = 60)
{
    struct rig_host r;
    rig_host_init(
        &r,
        SOURCE("#define TRY(what) do { errno = 0; if ((long)(what) >= 0) fe_fail(t, \"allowed: \" #what); } "
               "while (0)\n"
               "FILTER(try) { (void)key; TRY(socket(AF_INET, SOCK_STREAM, 0)); TRY(socket(AF_UNIX, "
               "SOCK_STREAM, 0));"
               " TRY(open(\"/etc/passwd\", O_RDONLY)); TRY(open(\"/tmp/ferro-test-leak\", O_WRONLY | "
               "O_CREAT, 0600));"
               " TRY(fork()); TRY(kill(getppid(), 0)); TRY(execl(\"/bin/true\", \"true\", NULL));"
               " if (!fopen(\"/usr/include/stdio.h\", \"r\")) fe_fail(t, \"what it may read it can't\");"
               " void *p = malloc(1 << 20); if (!p) fe_fail(t, \"no memory\"); free(p);"
               " if (kill(getpid(), 0)) fe_fail(t, \"its own signals are gone\");"
               " char name[] = \"/dev/null\"; if (open(name, O_WRONLY) < 0) fe_fail(t, \"no /dev/null\");"
               " (void)value; return true; }"),
        true, "/usr/include");
    ready(&r);
    rig_host_stage(&r, "try", 1);
    rig_host_tasks(&r, 0, 1);
    succeeds(&r);
    rig_host_fini(&r);
}

/* One confined task without a fault. */
static void passes(const char *source)
{
    struct rig_host r;
    rig_host_init(&r, source, true, NULL);
    ready(&r);
    rig_host_stage(&r, "try", 1);
    rig_host_tasks(&r, 0, 1);
    succeeds(&r);
    rig_host_fini(&r);
}

/* Nothing of this would do harm if it weren't denied, but for its times to /tmp. */
Test(host, a_files_owner_mode_times_and_attributes_are_not_its_to_change, .timeout = 60)
{
    passes(SOURCE(
        "FILTER(try) { (void)key; (void)value; int own[2]; ALLOWED(pipe(own));"
        " DENIED(chmod(\"/tmp\", 01777)); DENIED(fchmod(own[0], 0600)); DENIED(fchmodat(AT_FDCWD, \"/tmp\", "
        "01777, 0)); DENIED(chown(\"/tmp\", -1, -1)); DENIED(lchown(\"/tmp\", -1, -1));"
        " DENIED(fchown(own[0], -1, -1)); DENIED(fchownat(AT_FDCWD, \"/tmp\", -1, -1, 0));"
        " DENIED(utimensat(AT_FDCWD, \"/tmp\", NULL, 0)); DENIED(futimens(own[0], NULL));"
        " DENIED(setxattr(\"/tmp\", \"user.none\", \"\", 0, XATTR_REPLACE));"
        " DENIED(fsetxattr(own[0], \"user.none\", \"\", 0, XATTR_REPLACE));"
        " DENIED(removexattr(\"/tmp\", \"user.none\")); DENIED(lremovexattr(\"/tmp\", \"user.none\"));"
        " struct stat st; ALLOWED(stat(\"/tmp\", &st)); return true; }"));
}

Test(host, signals_no_other_process_through_a_descriptor_and_sets_no_ones_priority, .timeout = 60)
{
    passes(SOURCE(
        "FILTER(try) { (void)key; (void)value; int other = getppid(), own[2], n;"
        " struct f_owner_ex owner = { F_OWNER_PID, other }; struct sched_param batch = { 0 }; cpu_set_t cpus;"
        " ALLOWED(pipe(own)); DENIED(fcntl(own[0], F_SETOWN, other)); DENIED(fcntl(own[0], F_SETOWN_EX, "
        "&owner)); DENIED(fcntl(own[0], F_SETSIG, SIGKILL)); DENIED(fcntl(own[0], F_SETLEASE, F_WRLCK));"
        " DENIED(ioctl(3, FIOSETOWN, &other)); DENIED(ioctl(3, SIOCSPGRP, &other)); DENIED(ioctl(3, TIOCSTI, "
        "\"x\")); DENIED(setpriority(PRIO_PROCESS, other, 1)); DENIED(setpriority(PRIO_PROCESS, 0, 1));"
        " DENIED(sched_setscheduler(other, SCHED_BATCH, &batch)); DENIED(sched_setparam(other, &batch));"
        " DENIED(syscall(SYS_ioprio_set, 1, other, 3 << 13));"
        " ALLOWED(sched_getaffinity(0, sizeof cpus, &cpus)); ALLOWED(sched_setaffinity(0, sizeof cpus, "
        "&cpus)); DENIED(sched_setaffinity(other, sizeof cpus, &cpus));"
        " ALLOWED(fcntl(own[0], F_SETFL, O_NONBLOCK)); ALLOWED(fcntl(own[0], F_DUPFD, 0));"
        " ALLOWED(ioctl(own[0], FIONREAD, &n)); return true; }"));
}

/* Its memory is measured by its private pages: it can't have others. */
Test(host, makes_no_memory_that_is_not_measured, .timeout = 60)
{
    passes(SOURCE(
        "FILTER(try) { (void)key; (void)value; int rw = PROT_READ | PROT_WRITE;"
        " DENIED(syscall(SYS_memfd_create, \"x\", 0)); DENIED(shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600));"
        " DENIED(mmap(NULL, 4096, rw, MAP_SHARED | MAP_ANONYMOUS, -1, 0));"
        " DENIED(mmap(NULL, 4096, rw, MAP_SHARED_VALIDATE | MAP_ANONYMOUS, -1, 0));"
        " if (open(\"/dev/zero\", O_RDONLY) >= 0) fe_fail(t, \"it maps zeros that are shared\");"
        " if (mmap(NULL, 4096, rw, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED) fe_fail(t, \"none of "
        "its own\"); return true; }"));
}

Test(host, its_own_memory_is_measured_and_files_are_not, .timeout = 60)
{
    struct rig_host r;
    rig_host_init(&r,
                  SOURCE("FILTER(eat) { (void)t; (void)key; (void)value; char *p = malloc(80 << 20);"
                         " for (long i = 0; i < 80 << 20; i += 4096) ((volatile char *)p)[i] = 1; fe_fail(t, "
                         "\"%d\", p[5]); return true; }"),
                  true, NULL);
    ready(&r);
    procs_measure(r.procs);
    cr_assert_gt(r.memory, 0);
    uint64_t before = r.memory;
    rig_host_stage(&r, "eat", 1);
    rig_host_tasks(&r, 0, 1);
    cr_assert_gt(report(&r)->peak_bytes, 80 << 20);
    procs_measure(r.procs);
    cr_assert_geq(r.memory, before + (79 << 20));
    rig_host_fini(&r);
}

Test(host, what_is_no_job_is_said_to_be_none, .timeout = 60)
{
    struct rig_host r;
    char words[513];
    rig_host_init(&r, "int nothing;\n", true, NULL);
    const struct came *c = rig_host_await(&r);
    cr_assert_eq(c->tag, MSG_HOST_READY);
    bytes_text(((const struct msg_host_ready *)c->msg)->words, words, sizeof words);
    cr_assert(strstr(words, "not a Ferro job"), "%s", words);
    rig_host_fini(&r);
}

Test(host, cancelled_tasks_that_wait_do_not_run, .timeout = 60)
{
    struct rig_host r;
    rig_host_init(&r, SOURCE("FILTER(slow) { (void)t; (void)key; (void)value; usleep(20000); return true; }"),
                  true, NULL);
    ready(&r);
    rig_host_stage(&r, "slow", 100);
    rig_host_tasks(&r, 0, 10);
    struct rec_run five = { 1, 2, 5, 1 };
    rig_host_send(&r, MSG_CANCEL, &(struct msg_cancel){ .app = 7, .runs = { &five, 1 } }, NULL, 0);
    bool seen[10] = { false };
    while (!seen[9]) {
        const struct came *c = rig_host_await(&r);
        cr_assert_eq(c->tag, MSG_DONE);
        const struct msg_done *m = c->msg;
        for (uint32_t i = 0; i < m->runs.n; i++)
            for (uint32_t k = 0; k < m->runs.v[i].count; k++)
                seen[m->runs.v[i].first + k] = true;
    }
    for (uint32_t i = 0; i < 10; i++)
        cr_assert_eq(seen[i], i < 2 || i >= 7, "task %u", i);
    rig_host_fini(&r);
}

Test(host, one_that_is_killed_was_in_no_task)
{
    struct rig_host r;
    rig_host_init(&r, SOURCE(""), true, NULL);
    procs_kill(r.procs, 1);
    while (rig_host_await(&r)->tag)
        ;
    cr_assert_eq(r.now->signal, SIGKILL);
    cr_assert_not(r.now->ran);
    rig_host_fini(&r);
}

/* ---- hosts that can't be started ------------------------------------------------- */

static const struct came *exit_of_next(struct rig_host *r)
{
    const struct came *c;
    procs_spawn(r->procs, 2);
    while ((c = rig_host_await(r))->tag)
        ;
    return c;
}

Test(host, one_without_scratch_says_why_after_a_rest_and_closes_nothing, .timeout = 60)
{
    struct rig_host r;
    rig_host_init(&r, SOURCE(""), true, NULL);
    ready(&r);
    cr_assert_eq(rename(r.files.fast.path, strcat(strcpy((char[4200]){ 0 }, r.files.fast.path), "x")), 0);
    int before = open("/dev/null", O_RDONLY);
    close(STDIN_FILENO);
    cr_assert_eq(open("/dev/null", O_RDONLY), STDIN_FILENO);
    uint64_t began = clock_now_ns(), rests[2];
    for (int i = 0; i < 2; i++) {
        const struct came *c = exit_of_next(&r);
        cr_assert(c->code == 127 && strstr(c->tail, "scratch") && strstr(c->tail, "No such file"), "%d: '%s'",
                  c->code, c->tail);
        rests[i] = clock_now_ns() - began;
        began += rests[i];
    }
    cr_assert_geq(rests[0], PROCS_REST_MS_MIN * 1000000ull);
    cr_assert_geq(rests[1], 2 * PROCS_REST_MS_MIN * 1000000ull);
    cr_assert(fcntl(STDIN_FILENO, F_GETFD) >= 0 && fcntl(before, F_GETFD) >= 0);
    rig_host_fini(&r);
}

Test(host, none_is_started_with_the_last_descriptors, .timeout = 60)
{
    struct rig_host r;
    rig_host_init(&r, SOURCE(""), true, NULL);
    ready(&r);
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &(struct rlimit){ 64, 64 }), 0);
    const struct came *c = exit_of_next(&r);
    cr_assert(c->code == 127 && strstr(c->tail, "Too many open files"), "%d: '%s'", c->code, c->tail);
    cr_assert_geq(open("/dev/null", O_RDONLY), 0, "some are left");
    rig_host_fini(&r);
}
