/* run.c - ferro run: local mode.  A private manager and executor as child
 * processes with throw-away keys; the job runs through the very same code as on
 * a cluster, and nothing is left behind.
 */
#include "cli/compile.h"
#include "cli/launch.h"
#include "cli/object.h"
#include "cli/query.h"
#include "cli/scratch.h"
#include "common/base/clock.h"

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
#define END_MS 5000        /* a private service has so long to end after SIGTERM */
#define STOP_AGAIN_MS 2000 /* a driver that is told to end is told again: a second signal ends it at once */
#define STOP_MS 10000      /* and killed after this */
#define LOCAL_ARGS_MAX 36
#define LOCAL_SLOTS_MAX 4096 /* of an executor */

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
    .usage = "[OPTION]... JOB.c|JOB.cc|JOB.so [ARGUMENT]...",
    .about = "Runs a job on this machine, with no cluster and no configuration. A source is compiled first, "
             "and kept in ~/.cache/ferro (or XDG_CACHE_HOME/ferro).",
    .rows = rows,
    .after = "example: ferro run examples/wordcount.c README.md -",
    .job_args = true,
};

/* What local mode starts; all ends with it. */
struct local {
    struct scratch scratch; /* keys, logs, blocks on disk */
    struct scratch fast;    /* blocks in memory */
    const char *dir;        /* scratch's */
    struct places at;
    pid_t manager, executor;
    char address[64];
    bool failed;      /* a private service ended before the job; it was said */
    uint64_t stop_ns; /* since when the driver is being ended; 0: it isn't */
};

static volatile sig_atomic_t running;     /* the driver: what SIGINT and SIGTERM go on to */
static volatile sig_atomic_t interrupted; /* the signal that came */
static sigset_t caught, outside;          /* what is handled here; the mask that we were started with */

/* The terminal's ^C reaches the driver by itself. */
static void on_signal(int sig, siginfo_t *info, void *context)
{
    (void)context;
    interrupted = sig;
    if (running > 0 && info->si_code != SI_KERNEL)
        kill(running, sig);
}

static void on_child(int sig)
{
    (void)sig; /* it ends a ppoll() */
}

static void take_signals(void)
{
    static const int ends[] = { SIGINT, SIGTERM, SIGHUP };
    struct sigaction on = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO };
    sigemptyset(&caught);
    sigaddset(&caught, SIGCHLD);
    for (int i = 0; i < 3; i++) {
        sigaddset(&caught, ends[i]);
        sigaction(ends[i], &on, NULL);
    }
    sigaction(SIGCHLD, &(struct sigaction){ .sa_handler = on_child }, NULL);
    sigprocmask(SIG_BLOCK, NULL, &outside);
}

/* ---- child processes ---------------------------------------------------- */

/* In the child: signals that came meanwhile end it, as they would once it is what it becomes. */
static void become(const char *path, char *const *argv, int keep_fd, const char *log, pid_t parent)
{
    static const int ends[] = { SIGINT, SIGTERM, SIGHUP, SIGCHLD };
    for (int i = 0; i < 4; i++)
        signal(ends[i], SIG_DFL);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(127);
    if (keep_fd >= 0)
        fcntl(keep_fd, F_SETFD, 0);
    int fd = log ? open(log, O_WRONLY | O_CREAT | O_APPEND, 0600) : -1;
    if (fd >= 0)
        dup2(fd, STDERR_FILENO);
    if (log)
        setpgid(0, 0); /* ^C is for the driver; these end after it */
    sigprocmask(SIG_SETMASK, &outside, NULL);
    execv(path, argv);
    _exit(127);
}

/* Start a program; it dies with us.  Its stderr goes to DIR/log; without `log` it is the driver, which
 * interruptions go on to from the start.  -1: said. */
static pid_t start(struct local *l, char *const *argv, int keep_fd, const char *log)
{
    char path[PATH_MAX], log_path[128];
    snprintf(path, sizeof path, "%.4000s/%s", l->at.bin, strrchr(argv[0], '/') ? "" : argv[0]);
    snprintf(log_path, sizeof log_path, "%s/%s", l->dir, log ? log : "");
    sigprocmask(SIG_BLOCK, &caught, NULL);
    pid_t parent = getpid(), pid = fork();
    if (pid == 0)
        become(argv[0][0] == '/' ? argv[0] : path, argv, keep_fd, log ? log_path : NULL, parent);
    if (pid > 0 && !log) {
        running = pid;
        if (interrupted)
            kill(pid, interrupted);
    }
    sigprocmask(SIG_SETMASK, &outside, NULL);
    if (pid < 0)
        verb_error(EXIT_WRONG, "%s can't be started: %s", argv[0], strerror(errno));
    return pid;
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
    char keys[SCRATCH_PATH_MAX + 16], state[SCRATCH_PATH_MAX + 16], fd[16], words[512];
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
    return verb_error(EXIT_WRONG, "run: the private manager did not start: %s", words);
}

/* `events`: where to hear from it. */
static int start_executor(struct local *l, const struct job_options *o, int *events)
{
    int ends[2];
    char key[SCRATCH_PATH_MAX + 16], dir[SCRATCH_PATH_MAX + 16], disk[SCRATCH_PATH_MAX + 16], fd[16];
    snprintf(key, sizeof key, "%s/keys/join.key", l->dir);
    snprintf(disk, sizeof disk, "%s/disk", l->dir);
    snprintf(dir, sizeof dir, "%s/blocks", l->fast.path);
    if (pipe2(ends, O_CLOEXEC))
        return verb_error(EXIT_WRONG, "pipe: %s", strerror(errno));
    snprintf(fd, sizeof fd, "%d", ends[1]);
    char *argv[LOCAL_ARGS_MAX] = {
        "ferro-executor", "--manager", l->address, "--key",       key,
        "--host",         "local",     "--listen", "127.0.0.1:0", "--listen-data",
        "127.0.0.1:0",    "--dir",     dir,        "--disk",      disk,
        "--read",         "/",         "--write",  "/",           "--no-confine",
        "--events",       fd,
    };
    int n = 22;
    if (o->slots) {
        argv[n++] = "--slots";
        argv[n++] = (char *)o->slots;
    }
    if (o->labels) {
        argv[n++] = "--labels"; /* it is all that there is */
        argv[n++] = (char *)o->labels;
    }
    l->executor = start(l, argv, ends[1], "executor.log");
    close(ends[1]);
    *events = ends[0];
    return l->executor < 0 ? EXIT_WRONG : EXIT_GOOD;
}

/* The executor has joined, and has what one slot of this job needs: else the job would wait for ever. */
static int check_executor(struct local *l, const struct job_options *o, struct session *s, int events)
{
    char words[512], has[16];
    int code;
    uint64_t need = 0;
    if (await_event(events, "executor.joined", NULL, 0)) {
        last_words(l, "executor.log", words, sizeof words);
        return interrupted ? 128 + interrupted
                           : verb_error(EXIT_WRONG, "run: the private executor did not start: %s", words);
    }
    const struct msg_executors *m = session_call(s, MSG_LIST_EXECUTORS, NULL, MSG_EXECUTORS, &code);
    if (!m || !o->mem || options_bytes(o->mem, &need))
        return code;
    if (m->rows.n && need > m->rows.v[0].memory)
        return verb_error(EXIT_WRONG,
                          "run: --mem: '%s' is more than the %s that tasks may use on this machine", o->mem,
                          human_bytes(m->rows.v[0].memory, has));
    return EXIT_GOOD;
}

static int local_start(struct local *l)
{
    struct error e;
    char keys[SCRATCH_PATH_MAX + 16];
    const char *tmp = getenv("TMPDIR");
    bool own = tmp && *tmp == '/' && strlen(tmp) <= 40; /* sockets' paths are short */
    *l = (struct local){ .scratch.lock = -1, .fast.lock = -1 };
    if (scratch_make(&l->scratch, own ? tmp : "/tmp", &e) ||
        scratch_make(&l->fast, access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm", &e))
        return verb_error(EXIT_WRONG, "run: %s", e.words);
    l->dir = l->scratch.path;
    snprintf(keys, sizeof keys, "%s/keys", l->dir);
    if (places_find(&l->at, &e) || keys_init(keys, &e))
        return verb_error(EXIT_WRONG, "run: %s", e.words);
    return start_manager(l);
}

static void local_stop(struct local *l)
{
    end(l->executor);
    end(l->manager);
    scratch_remove(&l->fast);
    scratch_remove(&l->scratch);
}

/* ---- the job ------------------------------------------------------------ */

/* A private service that ends before the job: the job can't go on, and must not wait for ever. */
static void service_ended(struct local *l, pid_t pid, int status)
{
    char words[512];
    bool executor = pid == l->executor;
    if (pid != l->manager && !executor)
        return;
    *(executor ? &l->executor : &l->manager) = 0;
    const char *name = executor ? "executor" : "manager";
    last_words(l, executor ? "executor.log" : "manager.log", words, sizeof words);
    if (WIFSIGNALED(status))
        verb_error(EXIT_WRONG, "run: the private %s was killed by SIG%s", name,
                   sigabbrev_np(WTERMSIG(status)));
    else
        verb_error(EXIT_WRONG, "run: the private %s ended: %s", name, words);
    l->failed = true;
}

/* Make a driver end that has to: by a signal, by a second one, by SIGKILL.  Milliseconds until there is more to do, -1: none. */
static int driver_stop(struct local *l, pid_t pid)
{
    uint64_t now = clock_now_ns(), ms;
    bool first = !l->stop_ns;
    if (!l->failed && !interrupted)
        return -1;
    if (first)
        l->stop_ns = now;
    ms = (now - l->stop_ns) / 1000000;
    if (ms >= STOP_MS)
        kill(pid, SIGKILL);
    else if (first ? !interrupted : ms >= STOP_AGAIN_MS) /* an interruption was passed on when it came */
        kill(pid, SIGTERM);
    return ms >= STOP_MS ? STOP_AGAIN_MS : STOP_AGAIN_MS - (int)(ms % STOP_AGAIN_MS);
}

static int driver_wait(struct local *l, pid_t pid)
{
    int status = 0;
    sigprocmask(SIG_BLOCK, &caught, NULL);
    for (pid_t ended; (ended = waitpid(-1, &status, WNOHANG)) != pid;) {
        if (ended > 0) {
            service_ended(l, ended, status);
            continue;
        }
        int ms = driver_stop(l, pid);
        struct timespec t = { ms / 1000, ms % 1000 * 1000000L };
        ppoll(NULL, 0, ms < 0 ? NULL : &t, &outside);
    }
    running = 0;
    sigprocmask(SIG_SETMASK, &outside, NULL);
    if (l->failed)
        return EXIT_WRONG;
    if (WIFEXITED(status))
        return WEXITSTATUS(status);
    if (!interrupted)
        verb_error(EXIT_WRONG, "run: the job's driver was killed by SIG%s", sigabbrev_np(WTERMSIG(status)));
    return interrupted ? 128 + interrupted : EXIT_JOB_FAILED;
}

static int run_job(struct local *l, struct arena *a, const struct job_options *o, const char *job,
                   const char *library, const struct option_list *args)
{
    char key[SCRATCH_PATH_MAX + 32];
    struct session s;
    struct launch launch;
    int events = -1;
    snprintf(key, sizeof key, "%s/keys/users/user.key", l->dir);
    int code = start_executor(l, o, &events);
    if (code)
        return code;
    code = session_open(&s, &(struct where){ .manager = l->address, .key = key, .timeout_ms = START_MS });
    if (code == 0) {
        code = check_executor(l, o, &s, events);
        if (code == 0)
            code = launch_open(&launch, &s, job_name(a, job));
        session_close(&s);
    }
    close(events);
    if (code)
        return code;
    char **argv = launch_argv(a, &launch, o, library, args);
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
    uint64_t slots = 0;
    if (job_options_check(&o->job, &e))
        return verb_error(EXIT_USAGE, "run: %s", e.words);
    if (o->job.slots && options_u64(o->job.slots, &slots) == 0 && slots > LOCAL_SLOTS_MAX)
        return verb_error(EXIT_USAGE, "run: --slots: '%s' is too large: at most %d on one machine",
                          o->job.slots, LOCAL_SLOTS_MAX);
    const char *library = compile_cached(a, rest->v[0], &e);
    if (!library || object_check(rest->v[0], library, &e))
        return verb_error(EXIT_WRONG, "%s", e.words);
    struct option_list args = { rest->v + 1, rest->n - 1 };
    job_options_hint(&o->job, &args);
    take_signals();
    int code = local_start(&l);
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
