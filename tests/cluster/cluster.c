/* cluster.c - see cluster.h. */
#include "tests/cluster/cluster.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <limits.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ARGS_MAX 96
#define KEPT_MAX 256
#define EVENTS_BYTES (1 << 20)
#define LEFT_MS 5000 /* what was told to end is gone by then */

static char *kept[KEPT_MAX]; /* arguments, for as long as the test lives */
static int nkept;
static char *seens[KEPT_MAX]; /* every struct proc's `seen` */
static int nseens;

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

const char *bin_dir(void)
{
    static char dir[PATH_MAX];
    if (!dir[0]) {
        const char *b = getenv("B");
        char path[PATH_MAX];
        snprintf(path, sizeof path, "%s/bin", b ? b : "build");
        cr_assert(realpath(path, dir), "%s: %s", path, strerror(errno));
    }
    return dir;
}

/* ---- processes ---------------------------------------------------------- */

/* Its stdout and stderr are there as soon as it is: see file_await(). */
static void files_make(const struct cluster *c, const char *name)
{
    static const char *const endings[] = { "out", "err" };
    for (int i = 0; i < 2; i++) {
        char path[256];
        snprintf(path, sizeof path, "%s/%s.%s", c->dir, name, endings[i]);
        close(open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
    }
}

static void child_output(const struct cluster *c, const char *name, const char *ending, int fd)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s.%s", c->dir, name, ending);
    int file = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (file < 0 || dup2(file, fd) < 0)
        _exit(126);
    close(file);
}

static void child_exec(const struct cluster *c, const char *name, char *const *argv, int events_at,
                       int events)
{
    char *args[ARGS_MAX], path[PATH_MAX + 64], fd[16];
    int n = 0;
    for (; argv[n] && n < ARGS_MAX - 4; n++)
        args[n] = argv[n];
    args[n] = NULL;
    if (events >= 0) {
        snprintf(fd, sizeof fd, "%d", events);
        memmove(args + events_at + 3, args + events_at + 1, sizeof *args * (size_t)(n - events_at));
        args[events_at + 1] = "--events";
        args[events_at + 2] = fd;
    }
    snprintf(path, sizeof path, "%s/%s", bin_dir(), argv[0]);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    child_output(c, name, "out", 1);
    child_output(c, name, "err", 2);
    execv(strchr(argv[0], '/') ? argv[0] : path, args);
    _exit(127);
}

void proc_start(struct cluster *c, struct proc *p, const char *name, char *const *argv, int events_at)
{
    int ends[2] = { -1, -1 };
    *p = (struct proc){ .events = -1 };
    snprintf(p->name, sizeof p->name, "%s", name);
    if (events_at >= 0) {
        cr_assert(pipe2(ends, O_CLOEXEC) == 0);
        fcntl(ends[1], F_SETPIPE_SZ,
              EVENTS_BYTES); /* nobody reads it all the time, and what doesn't fit is lost */
    }
    files_make(c, name);
    p->pid = fork();
    cr_assert(p->pid >= 0);
    if (p->pid == 0) {
        if (ends[1] >= 0)
            fcntl(ends[1], F_SETFD, 0);
        child_exec(c, name, argv, events_at, ends[1]);
    }
    if (ends[1] >= 0)
        close(ends[1]);
    p->events = ends[0];
}

void proc_kill(struct proc *p, int sig)
{
    if (p->pid > 0)
        kill(p->pid, sig);
}

/* Wait for the end of a process; false: it didn't within `ms`. */
static bool gone_within(pid_t pid, int ms)
{
    int fd = pidfd_open(pid, 0);
    struct pollfd ended = { .fd = fd, .events = POLLIN };
    bool gone = fd < 0 || poll(&ended, 1, ms) == 1;
    if (fd >= 0)
        close(fd);
    return gone;
}

static bool reap_within(struct proc *p, int ms)
{
    if (p->pid > 0 && (!gone_within(p->pid, ms) || waitpid(p->pid, &p->status, 0) != p->pid))
        return false;
    p->pid = 0;
    return true;
}

int proc_wait(struct proc *p)
{
    cr_assert(reap_within(p, AWAIT_MS), "%s did not end within %d ms; events so far:\n%s", p->name, AWAIT_MS,
              p->seen ? p->seen : "(none)");
    return WIFEXITED(p->status) ? WEXITSTATUS(p->status) : 128 + WTERMSIG(p->status);
}

/* ---- events ------------------------------------------------------------- */

static void remember(struct proc *p, const char *line, size_t n)
{
    p->seen = realloc(p->seen, p->nseen + n + 2);
    memcpy(p->seen + p->nseen, line, n);
    p->nseen += n;
    p->seen[p->nseen++] = '\n';
    p->seen[p->nseen] = 0;
    if (p->seen_slot == 0) {
        cr_assert(nseens < KEPT_MAX);
        p->seen_slot = ++nseens;
    }
    seens[p->seen_slot - 1] = p->seen;
}

/* The next whole line, parsed; NULL when none comes before `end`. */
static json_t *event_next(struct proc *p, int64_t end)
{
    for (;;) {
        char *newline = memchr(p->rest, '\n', p->nrest);
        if (newline) {
            size_t n = (size_t)(newline - p->rest);
            json_t *j = json_loadb(p->rest, n, 0, NULL);
            remember(p, p->rest, n);
            p->nrest -= n + 1;
            memmove(p->rest, newline + 1, p->nrest);
            cr_assert(j, "%s wrote an event that is no JSON: %s", p->name, p->seen);
            return j;
        }
        int64_t left = end - now_ms();
        struct pollfd fd = { .fd = p->events, .events = POLLIN };
        if (left <= 0 || poll(&fd, 1, (int)left) <= 0)
            return NULL;
        ssize_t got = read(p->events, p->rest + p->nrest, sizeof p->rest - p->nrest);
        if (got <= 0)
            return NULL;
        p->nrest += (size_t)got;
    }
}

static bool pair_holds(const json_t *event, const char *pair)
{
    char key[64], text[256];
    const char *eq = strchr(pair, '=');
    snprintf(key, sizeof key, "%.*s", (int)(eq - pair), pair);
    const json_t *v = json_object_get(event, key);
    if (json_is_integer(v))
        snprintf(text, sizeof text, "%lld", (long long)json_integer_value(v));
    else
        snprintf(text, sizeof text, "%s", json_is_string(v) ? json_string_value(v) : "");
    return strcmp(text, eq + 1) == 0;
}

static json_t *await(struct proc *p, int64_t ms, const char *event, va_list pairs)
{
    json_t *j;
    for (int64_t end = now_ms() + ms; (j = event_next(p, end)) != NULL; json_decref(j)) {
        const char *name = json_string_value(json_object_get(j, "event"));
        if (!name || strcmp(name, event))
            continue;
        bool holds = true;
        va_list each;
        va_copy(each, pairs);
        for (const char *pair; holds && (pair = va_arg(each, const char *)) != NULL;)
            holds = pair_holds(j, pair);
        va_end(each);
        if (holds)
            return j;
    }
    return NULL;
}

json_t *proc_await(struct proc *p, const char *event, ...)
{
    va_list pairs;
    va_start(pairs, event);
    json_t *j = await(p, AWAIT_MS, event, pairs);
    va_end(pairs);
    cr_assert(j, "%s: no event %s within %d ms; so far:\n%s", p->name, event, AWAIT_MS,
              p->seen ? p->seen : "(none)");
    return j;
}

static json_t *await_plain(struct proc *p, int ms, const char *event, ...)
{
    va_list none;
    va_start(none, event);
    json_t *j = await(p, ms, event, none);
    va_end(none);
    return j;
}

bool proc_await_ms(struct proc *p, int ms, const char *event)
{
    json_t *j = await_plain(p, ms, event, NULL);
    json_decref(j);
    return j != NULL;
}

json_t *proc_events(struct proc *p)
{
    json_t *all = json_array(), *j;
    for (int64_t end = now_ms() + (p->pid > 0 ? 0 : AWAIT_MS); (j = event_next(p, end + 1)) != NULL;)
        json_decref(j);
    for (char *line = p->seen, *newline; line && *line; line = newline + 1) {
        newline = strchr(line, '\n');
        json_array_append_new(all, json_loadb(line, (size_t)(newline - line), 0, NULL));
    }
    return all;
}

int events_count(const json_t *events, const char *event, ...)
{
    int count = 0;
    for (size_t i = 0; i < json_array_size(events); i++) {
        const json_t *e = json_array_get(events, i);
        const char *name = json_string_value(json_object_get(e, "event"));
        bool holds = name && !strcmp(name, event);
        va_list pairs;
        va_start(pairs, event);
        for (const char *pair; holds && (pair = va_arg(pairs, const char *)) != NULL;)
            holds = pair_holds(e, pair);
        va_end(pairs);
        int times =
            holds && !strncmp(event, "task.", 5) ? (int)json_integer_value(json_object_get(e, "count")) : 0;
        count += !holds ? 0 : times > 0 ? times : 1;
    }
    return count;
}

const char *words(const char *fmt, ...)
{
    static char text[16][1024];
    static int at;
    va_list ap;
    va_start(ap, fmt);
    at = (at + 1) % 16;
    vsnprintf(text[at], sizeof text[at], fmt, ap);
    va_end(ap);
    return text[at];
}

/* ---- files -------------------------------------------------------------- */

char *file_text(const char *fmt, ...)
{
    char path[PATH_MAX];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(path, sizeof path, fmt, ap);
    va_end(ap);
    char *text = calloc(1, 1);
    size_t n = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    for (ssize_t got = 1; fd >= 0 && got > 0; n += got > 0 ? (size_t)got : 0) {
        text = realloc(text, n + 65537);
        got = read(fd, text + n, 65536);
    }
    if (fd >= 0)
        close(fd);
    text[n] = 0;
    return text;
}

void file_await(const char *path, const char *text)
{
    struct pollfd changes = { .fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK), .events = POLLIN };
    char events[4096];
    bool found = false;
    cr_assert(inotify_add_watch(changes.fd, path, IN_MODIFY) >= 0, "%s: %s", path, strerror(errno));
    for (int64_t end = now_ms() + AWAIT_MS; !found && now_ms() < end;) {
        char *all = file_text("%s", path);
        found = strstr(all, text) != NULL;
        free(all);
        if (!found && poll(&changes, 1, (int)(end - now_ms())) == 1)
            while (read(changes.fd, events, sizeof events) > 0)
                ;
    }
    close(changes.fd);
    cr_assert(found, "'%s' is not in %s within %d ms", text, path, AWAIT_MS);
}

void file_write(const char *text, const char *fmt, ...)
{
    char path[PATH_MAX];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(path, sizeof path, fmt, ap);
    va_end(ap);
    FILE *f = fopen(path, "w");
    cr_assert(f, "%s: %s", path, strerror(errno));
    fputs(text, f);
    fclose(f);
}

char *parts_text(const char *dir)
{
    char pattern[PATH_MAX];
    glob_t g;
    char *all = calloc(1, 1);
    size_t n = 0;
    snprintf(pattern, sizeof pattern, "%s/part-*", dir);
    if (glob(pattern, 0, NULL, &g) == 0)
        for (size_t i = 0; i < g.gl_pathc; i++) {
            char *part = file_text("%s", g.gl_pathv[i]);
            size_t more = strlen(part);
            all = realloc(all, n + more + 1);
            memcpy(all + n, part, more + 1);
            n += more;
            free(part);
        }
    globfree(&g);
    return all;
}

/* ---- services ----------------------------------------------------------- */

/* Split `text` at spaces into argv after `n` arguments; borrows from a copy that lives as long as the test. */
static int args_split(char **argv, int n, const char *text)
{
    char *save, *copy = text ? strdup(text) : NULL;
    cr_assert(nkept < KEPT_MAX);
    kept[nkept++] = copy;
    for (char *w = copy ? strtok_r(copy, " ", &save) : NULL; w && n < ARGS_MAX - 1;
         w = strtok_r(NULL, " ", &save)) {
        for (char *one = w; (one = strchr(one, '\1'));)
            *one = ' ';
        argv[n++] = w;
    }
    argv[n] = NULL;
    return n;
}

int ferro(struct cluster *c, const char *args, char **out, char **err)
{
    static int count;
    struct proc p = { 0 };
    char name[32], *argv[ARGS_MAX] = { "ferro" };
    snprintf(name, sizeof name, "ferro-%d", ++count);
    args_split(argv, 1, args);
    proc_start(c, &p, name, argv, -1);
    int code = proc_wait(&p);
    if (out)
        *out = file_text("%s/%s.out", c->dir, name);
    if (err)
        *err = file_text("%s/%s.err", c->dir, name);
    return code;
}

char *ferro_expect(struct cluster *c, int code, const char *said, const char *args)
{
    char *out, *err;
    int got = ferro(c, args, &out, &err);
    cr_expect_eq(got, code, "ferro %s: exit code %d, not %d; it said: %s", args, got, code, err);
    cr_expect(!said || strstr(err, said), "ferro %s: '%s' is not in what it said: %s", args, said, err);
    free(err);
    return out;
}

void ferro_start(struct cluster *c, struct proc *p, const char *args)
{
    static int count;
    char name[32], *argv[ARGS_MAX] = { "ferro" };
    snprintf(name, sizeof name, "job-%d", ++count);
    args_split(argv, 1, args);
    proc_start(c, p, name, argv, 1);
}

/* FERRO_TEST marks everything that a test starts: see proc_find(). */
void folder_init(struct cluster *c)
{
    char cache[PATH_MAX + 32];
    *c = (struct cluster){ .dir = "/tmp/ferro-test-XXXXXX" };
    cr_assert(mkdtemp(c->dir));
    snprintf(cache, sizeof cache, "%s/../tests/cache", bin_dir());
    setenv("XDG_CACHE_HOME", cache, 1);
    setenv("FERRO_TEST", c->dir, 1);
    unsetenv("FERRO_MANAGER");
    unsetenv("FERRO_KEY");
}

void cluster_init(struct cluster *c)
{
    char keys[128];
    folder_init(c);
    snprintf(keys, sizeof keys, "keys init %s/keys", c->dir);
    cr_assert(ferro(c, keys, NULL, NULL) == 0, "ferro keys init failed");
    snprintf(keys, sizeof keys, "%s/keys/users/user.key", c->dir);
    setenv("FERRO_KEY", keys, 1);
}

void cluster_manager(struct cluster *c, const char *more)
{
    char keys[128], state[128], *argv[ARGS_MAX];
    snprintf(keys, sizeof keys, "%s/keys", c->dir);
    snprintf(state, sizeof state, "%s/state", c->dir);
    mkdir(state, 0700);
    char *own[] = { "ferro-manager",
                    "--keys",
                    keys,
                    "--state",
                    state,
                    "--listen",
                    c->manager_addr[0] ? c->manager_addr : "127.0.0.1:0" };
    memcpy(argv, own, sizeof own);
    args_split(argv, 7, more);
    proc_start(c, &c->manager, "manager", argv, 0);
    json_t *j = proc_await(&c->manager, "listening", NULL);
    snprintf(c->manager_addr, sizeof c->manager_addr, "%s", json_string_value(json_object_get(j, "address")));
    json_decref(j);
    setenv("FERRO_MANAGER", c->manager_addr, 1);
}

void cluster_executor(struct cluster *c, int i, const char *more)
{
    char key[128], blocks[128], name[32], *argv[ARGS_MAX];
    snprintf(key, sizeof key, "%s/keys/join.key", c->dir);
    snprintf(blocks, sizeof blocks, "%s/blocks", c->dir);
    snprintf(name, sizeof name, "executor-%d", i);
    char *own[] = { "ferro-executor", "--manager", c->manager_addr, "--key",  key,
                    "--host",         name,        "--slots",       "1",      "--dir",
                    blocks,           "--disk",    blocks,          "--read", c->dir };
    memcpy(argv, own, sizeof own);
    args_split(argv, sizeof own / sizeof *own, more);
    proc_start(c, &c->executor[i], name, argv, 0);
    json_decref(proc_await(&c->executor[i], "executor.joined", NULL));
}

void cluster_driver(struct cluster *c)
{
    char key[128];
    snprintf(key, sizeof key, "%s/keys/service.key", c->dir);
    char *argv[] = { "ferro-driver", "serve", "--manager", c->manager_addr, "--key", key,
                     "--dir",        c->dir,  NULL };
    proc_start(c, &c->driver, "driver", argv, 1);
    json_decref(proc_await(&c->driver, "service.joined", NULL));
}

void cluster_start(struct cluster *c, int executors)
{
    cluster_init(c);
    cluster_manager(c, NULL);
    for (int i = 0; i < executors; i++)
        cluster_executor(c, i, NULL);
}

static void proc_stop(struct proc *p)
{
    proc_kill(p, SIGCONT);
    proc_kill(p, SIGTERM);
    if (!reap_within(p, 10000)) {
        proc_kill(p, SIGKILL);
        reap_within(p, AWAIT_MS);
        cr_expect(false, "%s did not end on SIGTERM within 10 s", p->name);
    }
    if (p->events > 0)
        close(p->events);
    p->events = -1;
}

/* ---- what is left --------------------------------------------------------- */

/* Is this process one that the test (or something it started) has started? */
static bool is_ours(const struct cluster *c, pid_t pid)
{
    char mark[96];
    char *text, path[64];
    snprintf(mark, sizeof mark, "FERRO_TEST=%s", c->dir);
    snprintf(path, sizeof path, "/proc/%d/environ", (int)pid);
    size_t n = 0;
    bool ours = false;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    text = calloc(1, 65537);
    ssize_t got = fd >= 0 ? read(fd, text, 65536) : 0;
    if (fd >= 0)
        close(fd);
    for (; !ours && got > 0 && n < (size_t)got; n += strlen(text + n) + 1)
        ours = !strcmp(text + n, mark);
    free(text);
    return ours;
}

/* Its name and parent; false: it is gone, or a zombie. */
static bool process_look(pid_t pid, char name[32], pid_t *parent)
{
    char *text = file_text("/proc/%d/stat", (int)pid), state = 0;
    char *open = strchr(text, '('), *close = strrchr(text, ')');
    int up = 0;
    bool found = open && close && sscanf(close + 1, " %c %d", &state, &up) == 2 && state != 'Z';
    if (found)
        snprintf(name, 32, "%.*s", (int)(close - open - 1), open + 1);
    *parent = up;
    free(text);
    return found;
}

static bool descends(pid_t pid, pid_t from)
{
    char name[32];
    pid_t parent = pid;
    while (parent > 1 && parent != from)
        if (!process_look(parent, name, &parent))
            return false;
    return parent == from;
}

pid_t proc_find(const struct cluster *c, pid_t parent, const char *name)
{
    glob_t g;
    pid_t found = 0;
    glob("/proc/[0-9]*", GLOB_NOSORT, NULL, &g);
    for (size_t i = 0; i < g.gl_pathc && !found; i++) {
        char own[32];
        pid_t up, pid = atoi(g.gl_pathv[i] + 6);
        if (process_look(pid, own, &up) && !strncmp(own, name, strlen(name)) && pid != getpid() &&
            pid != parent && (parent ? descends(pid, parent) : is_ours(c, pid)))
            found = pid;
    }
    globfree(&g);
    return found;
}

void cluster_expect_nothing_left(const struct cluster *c)
{
    pid_t left;
    int64_t end = now_ms() + LEFT_MS;
    while ((left = proc_find(c, 0, "ferro")) != 0 && now_ms() < end)
        gone_within(left, LEFT_MS);
    cr_expect(left == 0, "process %d of ferro's is left", (int)left);
}

void cluster_fini(struct cluster *c)
{
    char command[128];
    for (int i = 0; i < EXECUTORS_MAX; i++)
        proc_stop(&c->executor[i]);
    proc_stop(&c->driver);
    proc_stop(&c->manager);
    cluster_expect_nothing_left(c);
    while (nseens > 0)
        free(seens[--nseens]);
    while (nkept > 0)
        free(kept[--nkept]);
    snprintf(command, sizeof command, "rm -rf %s", c->dir);
    cr_assert(system(command) == 0);
}
