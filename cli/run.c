/* run.c - ferro run: local mode.  A private manager and executor as child
 * processes with throw-away keys; the job runs through the very same code as on
 * a cluster, and nothing is left behind.
 */
#include "cli/compile.h"
#include "cli/launch.h"
#include "common/base/clock.h"
#include "common/base/tree.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define START_MS 10000
#define END_MS 5000 /* a private service has so long to end after SIGTERM */
#define LOCAL_ARGS_MAX 32

struct run {
    struct job_options job;
};

static const struct option_row rows[] = {
#define JOB_HOLDER run
#include "cli/job_rows.def"
    { .name = NULL },
};
static const struct options_program program = {
    .name = "ferro run",
    .usage = "[OPTION]... JOB.c|JOB.so [ARGUMENT]...",
    .about = "Runs a job on this machine, with no cluster and no configuration. A source is compiled first.",
    .rows = rows,
    .after = "example: ferro run examples/wordcount.c README.md -",
    .job_args = true,
};

/* What local mode starts; all ends with it. */
struct local {
    char dir[64]; /* keys, logs, blocks */
    struct places at;
    pid_t manager, executor;
    char address[64];
};

static volatile sig_atomic_t running;     /* the driver: what SIGINT and SIGTERM go on to */
static volatile sig_atomic_t interrupted; /* the signal that came */

/* The terminal's ^C reaches the driver by itself. */
static void on_signal(int sig, siginfo_t *info, void *context)
{
    (void)context;
    interrupted = sig;
    if (running > 0 && info->si_code != SI_KERNEL)
        kill(running, sig);
}

/* ---- child processes ---------------------------------------------------- */

/* Start a program; it dies with us.  Its stderr goes to DIR/log when `log`. -1: said. */
static pid_t start(struct local *l, char *const *argv, int keep_fd, const char *log)
{
    char path[PATH_MAX], log_path[128];
    snprintf(path, sizeof path, "%.4000s/%s", l->at.bin, argv[0]);
    snprintf(log_path, sizeof log_path, "%s/%s", l->dir, log ? log : "");
    pid_t parent = getpid(), pid = fork();
    if (pid) {
        if (pid < 0)
            verb_error(EXIT_WRONG, "%s can't be started: %s", argv[0], strerror(errno));
        return pid;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(127);
    if (keep_fd >= 0)
        fcntl(keep_fd, F_SETFD, 0);
    int fd = log ? open(log_path, O_WRONLY | O_CREAT | O_APPEND, 0600) : -1;
    if (fd >= 0)
        dup2(fd, STDERR_FILENO);
    if (log)
        setpgid(0, 0); /* ^C is for the driver; these end after it */
    execv(argv[0][0] == '/' ? argv[0] : path, argv);
    _exit(127);
}

static void end(pid_t pid)
{
    if (pid <= 0)
        return;
    kill(pid, SIGTERM);
    const uint64_t until = clock_now_ns() + END_MS * 1000000ull;
    while (waitpid(pid, NULL, WNOHANG) == 0) {
        if (clock_now_ns() > until)
            kill(pid, SIGKILL);
        poll(NULL, 0, 2);
    }
}

/* The log's last line, for the reader of "it did not start". */
static void last_words(struct local *l, const char *log, char *out, size_t size)
{
    char path[128], text[2048] = "";
    snprintf(path, sizeof path, "%s/%s", l->dir, log);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, text, sizeof text - 1) : 0;
    if (fd >= 0)
        close(fd);
    while (n > 0 && text[n - 1] == '\n')
        text[--n] = 0;
    const char *line = strrchr(text, '\n');
    snprintf(out, size, "%s", line ? line + 1 : text);
}

/* ---- the private cluster ------------------------------------------------ */

/* Read events until the one with this name: its "address" (if asked for).  -1: the process ended or took too long. */
static int await_event(int fd, const char *name, char *address, size_t size)
{
    char text[8192];
    size_t n = 0;
    const uint64_t until = clock_now_ns() + START_MS * 1000000ull;
    for (uint64_t now; (now = clock_now_ns()) < until;) {
        struct pollfd p = { .fd = fd, .events = POLLIN };
        int ready = poll(&p, 1, (int)((until - now) / 1000000) + 1);
        ssize_t got = ready > 0 ? read(fd, text + n, sizeof text - n) : -1;
        if (ready < 0 && errno == EINTR && !interrupted)
            continue;
        if (got <= 0)
            return -1;
        n += (size_t)got;
        for (char *newline; (newline = memchr(text, '\n', n)) != NULL;) {
            json_t *j = json_loadb(text, (size_t)(newline - text), 0, NULL);
            const char *event = json_string_value(json_object_get(j, "event"));
            bool found = event && !strcmp(event, name);
            if (found && address)
                snprintf(address, size, "%s", json_string_value(json_object_get(j, "address")));
            json_decref(j);
            if (found)
                return 0;
            n -= (size_t)(newline + 1 - text);
            memmove(text, newline + 1, n);
        }
        if (n == sizeof text)
            return -1;
    }
    return -1;
}

static int start_manager(struct local *l)
{
    int ends[2];
    char keys[80], state[80], fd[16], words[512];
    snprintf(keys, sizeof keys, "%s/keys", l->dir);
    snprintf(state, sizeof state, "%s/state", l->dir);
    if (pipe2(ends, O_CLOEXEC))
        return verb_error(EXIT_WRONG, "pipe: %s", strerror(errno));
    snprintf(fd, sizeof fd, "%d", ends[1]);
    char *argv[] = { "ferro-manager", "--listen",   "127.0.0.1:0", "--keys", keys, "--state",
                     state,           "--volatile", "--events",    fd,       NULL };
    l->manager = start(l, argv, ends[1], "manager.log");
    close(ends[1]);
    int r = l->manager < 0 ? -1 : await_event(ends[0], "listening", l->address, sizeof l->address);
    close(ends[0]);
    if (r == 0 || interrupted)
        return r == 0 ? EXIT_GOOD : 128 + interrupted;
    last_words(l, "manager.log", words, sizeof words);
    return verb_error(EXIT_WRONG, "run: the manager did not start: %s", words);
}

static int start_executor(struct local *l, const struct job_options *o)
{
    char key[80], dir[80], disk[80];
    const char *tmp = access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm";
    snprintf(key, sizeof key, "%s/keys/join.key", l->dir);
    snprintf(disk, sizeof disk, "%s/blocks", l->dir);
    snprintf(dir, sizeof dir, "%s/%s", tmp, strrchr(l->dir, '/') + 1);
    char *argv[LOCAL_ARGS_MAX] = {
        "ferro-executor", "--manager", l->address, "--key",       key,
        "--host",         "local",     "--listen", "127.0.0.1:0", "--listen-data",
        "127.0.0.1:0",    "--dir",     dir,        "--disk",      disk,
        "--read",         "/",         "--write",  "/",           "--no-confine",
    };
    int n = 20;
    if (o->slots) {
        argv[n++] = "--slots";
        argv[n++] = (char *)o->slots;
    }
    if (o->labels) {
        argv[n++] = "--labels"; /* it is all that there is */
        argv[n++] = (char *)o->labels;
    }
    l->executor = start(l, argv, -1, "executor.log");
    return l->executor < 0 ? EXIT_WRONG : EXIT_GOOD;
}

static int local_start(struct local *l, const struct job_options *o)
{
    struct error e;
    char keys[80];
    const char *tmp = getenv("TMPDIR");
    *l = (struct local){ 0 };
    snprintf(l->dir, sizeof l->dir, "%.40s/ferro-run-XXXXXX",
             tmp && *tmp == '/' && strlen(tmp) <= 40 ? tmp : "/tmp");
    if (!mkdtemp(l->dir))
        return verb_error(EXIT_WRONG, "%s: %s", l->dir, strerror(errno));
    snprintf(keys, sizeof keys, "%s/keys", l->dir);
    if (places_find(&l->at, &e) || keys_init(keys, &e))
        return verb_error(EXIT_WRONG, "run: %s", e.words);
    int code = start_manager(l);
    return code ? code : start_executor(l, o);
}

static void local_stop(struct local *l)
{
    char fast[80];
    end(l->executor);
    end(l->manager);
    snprintf(fast, sizeof fast, "/dev/shm/%s", strrchr(l->dir, '/') + 1);
    tree_remove(fast);
    tree_remove(l->dir);
}

/* ---- the job ------------------------------------------------------------ */

/* A private service that ends before the job: the job can't go on, and must not wait for ever. */
static void service_ended(struct local *l, pid_t pid)
{
    char words[512];
    bool executor = pid == l->executor;
    if (pid != l->manager && !executor)
        return;
    *(executor ? &l->executor : &l->manager) = 0;
    last_words(l, executor ? "executor.log" : "manager.log", words, sizeof words);
    verb_error(EXIT_WRONG, "run: the private %s ended: %s", executor ? "executor" : "manager", words);
    kill(running, SIGTERM);
}

static int driver_wait(struct local *l, pid_t pid)
{
    int status;
    running = pid;
    if (interrupted)
        kill(pid, interrupted);
    for (pid_t ended; (ended = waitpid(-1, &status, 0)) != pid;) {
        if (ended > 0)
            service_ended(l, ended);
        else if (errno != EINTR)
            return verb_error(EXIT_WRONG, "run: %s", strerror(errno));
    }
    running = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int run_job(struct local *l, struct arena *a, const struct job_options *o, const char *job,
                   const char *library, const struct option_list *args)
{
    char key[96];
    struct session s;
    struct launch launch;
    snprintf(key, sizeof key, "%s/keys/users/user.key", l->dir);
    int code = session_open(&s, &(struct where){ .manager = l->address, .key = key, .timeout_ms = START_MS });
    if (code)
        return code;
    code = launch_open(&launch, &s, job_name(a, job));
    char **argv = code ? NULL : launch_argv(a, &launch, o, library, args);
    session_close(&s);
    if (code)
        return code;
    pid_t pid = start(l, argv, -1, NULL);
    close(launch.keys_fd);
    return pid < 0 ? EXIT_WRONG : driver_wait(l, pid);
}

static int run(struct arena *a, const struct run *o, const struct option_list *rest)
{
    struct error e;
    struct local l;
    if (rest->n < 1)
        return verb_error(EXIT_USAGE, "run: which job? see ferro run --help");
    if (job_options_check(&o->job, &e))
        return verb_error(EXIT_USAGE, "run: %s", e.words);
    const char *library = compile_cached(a, rest->v[0], &e);
    if (!library)
        return verb_error(EXIT_WRONG, "%s", e.words);
    struct option_list args = { rest->v + 1, rest->n - 1 };
    job_options_hint(&o->job, &args);
    struct sigaction on = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO };
    sigaction(SIGINT, &on, NULL);
    sigaction(SIGTERM, &on, NULL);
    sigaction(SIGHUP, &on, NULL);
    int code = local_start(&l, &o->job);
    if (code == 0 && interrupted)
        code = 128 + interrupted;
    if (code == 0)
        code = run_job(&l, a, &o->job, rest->v[0], library, &args);
    local_stop(&l);
    return code;
}

int verb_run(int argc, char **argv)
{
    struct arena a = { 0 };
    struct run o = { 0 };
    struct option_list rest;
    int code = verb_options(&program, argc, argv, &o, &rest, &a);
    if (code < 0)
        code = run(&a, &o, &rest);
    arena_fini(&a);
    return code;
}
