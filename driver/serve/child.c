/* child.c - see child.h. */
#include "driver/serve/child.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define ARGV_FIXED 16

static char **command_line(const struct child_command *c, const char *app, const char *keys_fd,
                           const char *events_fd)
{
    size_t n = 0, more = 0;
    for (size_t i = 0; c->options[i]; i++)
        more++;
    for (size_t i = 0; c->args[i]; i++)
        more++;
    const char **v = calloc(ARGV_FIXED + more, sizeof *v);
    if (!v)
        abort();
    const char *const fixed[] = { c->program, "run", "--manager", c->manager,
                                  "--app",    app,   "--keys-fd", keys_fd };
    for (; n < sizeof fixed / sizeof *fixed; n++)
        v[n] = fixed[n];
    if (c->events_fd >= 0) {
        v[n++] = "--events";
        v[n++] = events_fd;
    }
    for (size_t i = 0; c->options[i]; i++)
        v[n++] = c->options[i];
    v[n++] = "--";
    v[n++] = c->library;
    for (size_t i = 0; c->args[i]; i++)
        v[n++] = c->args[i];
    return (char **)v;
}

/* Between fork and exec: only calls that are safe there. */
static void become(char **argv, const int *out, int keys_fd, int events_fd, int null, pid_t parent)
{
    sigset_t none;
    sigemptyset(&none);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent)
        _exit(127);
    setpgid(0, 0); /* a terminal's ^C is for the service, which ends its children itself */
    signal(SIGPIPE, SIG_DFL);
    sigprocmask(SIG_SETMASK, &none, NULL);
    dup2(null, STDIN_FILENO);
    dup2(out[0], STDOUT_FILENO);
    dup2(out[1], STDERR_FILENO);
    fcntl(keys_fd, F_SETFD, 0);
    if (events_fd >= 0)
        fcntl(events_fd, F_SETFD, 0);
    execv(argv[0], argv);
    _exit(127);
}

/* Pipes for both streams: write ends in out[]. */
static int make_pipes(struct child *c, int out[2], struct error *e)
{
    for (int i = 0; i < 2; i++) {
        int ends[2];
        if (pipe2(ends, O_CLOEXEC))
            return error_sys(e, "pipe");
        c->fds[i] = ends[0];
        out[i] = ends[1];
        fcntl(ends[0], F_SETFL, O_NONBLOCK);
    }
    return 0;
}

int child_start(struct child *c, const struct child_command *command, struct error *e)
{
    char app[24], keys_text[16], events_text[16];
    int out[2] = { -1, -1 }, keys_fd = keypipe_new(&c->keys, e),
        null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    key_wipe(&c->keys, sizeof c->keys);
    int r = keys_fd < 0 ? -1 : null < 0 ? error_sys(e, "/dev/null") : make_pipes(c, out, e);
    if (r == 0) {
        snprintf(app, sizeof app, "%" PRIu64, c->app);
        snprintf(keys_text, sizeof keys_text, "%d", keys_fd);
        snprintf(events_text, sizeof events_text, "%d", command->events_fd);
        char **argv = command_line(command, app, keys_text, events_text);
        pid_t parent = getpid(), pid = fork();
        if (pid == 0)
            become(argv, out, keys_fd, command->events_fd, null, parent);
        c->pid = pid > 0 ? pid : 0;
        r = pid < 0 ? error_sys(e, "its driver can't be started") : 0;
        free(argv);
    }
    const int ours[] = { out[0], out[1], keys_fd, null };
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
        if (ours[i] >= 0)
            close(ours[i]);
    return r;
}

bool child_reap(struct child *c, int *code, int *sig)
{
    int status;
    if (!c->pid || waitpid(c->pid, &status, WNOHANG) != c->pid)
        return false;
    c->pid = 0;
    *code = WIFEXITED(status) ? WEXITSTATUS(status) : 0;
    *sig = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    return true;
}

void child_close(struct child *c, uint32_t stream)
{
    if (c->fds[stream] >= 0)
        close(c->fds[stream]);
    c->fds[stream] = -1;
}
