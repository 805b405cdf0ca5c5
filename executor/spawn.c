/* spawn.c - see spawn.h. */
#include "executor/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define SOCKET_BYTES (512 << 10) /* asked for; the system's limit may be lower */
#define ABOVE 16                 /* the child's descriptors are made above those that it gets them as */
#define ENVIRONMENT_MAX 64
#define SPARE_FDS 64 /* left to connections and files when there is no room for more hosts */

extern char **environ;

/* The ends that go to the child. */
struct ends {
    int socket, output, board;
};

static int lift(int fd)
{
    int up = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, ABOVE);
    if (fd >= 0)
        close(fd);
    return up;
}

static int make_board(struct spawned *s, struct ends *c)
{
    c->board = lift(memfd_create("board", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    if (c->board < 0 || ftruncate(c->board, sizeof *s->board) ||
        fcntl(c->board, F_ADD_SEALS,
              F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)) /* a cut page would be our SIGBUS */
        return -1;
    s->board = mmap(NULL, sizeof *s->board, PROT_READ | PROT_WRITE, MAP_SHARED, c->board, 0);
    if (s->board == MAP_FAILED)
        s->board = NULL;
    return s->board ? 0 : -1;
}

/* The lowest that is free is taken: one near the limit says that nearly all are. */
static bool few_left(int fd)
{
    struct rlimit most;
    return getrlimit(RLIMIT_NOFILE, &most) == 0 && most.rlim_cur <= (rlim_t)fd + SPARE_FDS;
}

static int make_ends(struct spawned *s, struct ends *c)
{
    int pair[2], pipes[2], bytes = SOCKET_BYTES;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
        return -1;
    s->socket = pair[0];
    c->socket = lift(pair[1]);
    setsockopt(s->socket, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
    setsockopt(c->socket, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
    if (pipe2(pipes, O_CLOEXEC))
        return -1;
    s->output = pipes[0];
    c->output = lift(pipes[1]);
    fcntl(s->output, F_SETFL, O_NONBLOCK);
    if (few_left(s->output)) {
        errno = EMFILE;
        return -1;
    }
    return c->socket < 0 || c->output < 0 ? -1 : make_board(s, c);
}

static bool is_harmless(const char *entry)
{
    static const char *const names[] = {
        "LANG=", "LC_", "TZ=", "PATH=", "MALLOC_", "GLIBC_TUNABLES=", "ASAN_OPTIONS=", "UBSAN_OPTIONS=", NULL
    };
    for (const char *const *n = names; *n; n++)
        if (!strncmp(entry, *n, strlen(*n)))
            return true;
    return false;
}

static void choose_environment(char *out[ENVIRONMENT_MAX + 1])
{
    int n = 0;
    for (char **e = environ; *e && n < ENVIRONMENT_MAX; e++)
        if (is_harmless(*e))
            out[n++] = *e;
    out[n] = NULL;
}

static int spawn(const char *program, bool clean, const struct ends *c, pid_t *pid)
{
    char parent[24], *few[ENVIRONMENT_MAX + 1];
    char *argv[] = { "ferro-host", parent, NULL };
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attr;
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    snprintf(parent, sizeof parent, "%d", (int)getpid());
    choose_environment(few);
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&files, c->output, STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&files, c->output, STDERR_FILENO);
    posix_spawn_file_actions_adddup2(&files, c->socket, HOST_SOCKET_FD);
    posix_spawn_file_actions_adddup2(&files, c->board, HOST_BOARD_FD);
    posix_spawnattr_init(&attr);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
    posix_spawnattr_setsigmask(&attr, &none);
    posix_spawnattr_setsigdefault(&attr, &all);
    posix_spawnattr_setpgroup(&attr, 0); /* a terminal's ^C is for us: we drain */
    int r = posix_spawn(pid, program, &files, &attr, argv, clean ? few : environ);
    posix_spawnattr_destroy(&attr);
    posix_spawn_file_actions_destroy(&files);
    return r;
}

static void close_one(int fd)
{
    if (fd >= 0)
        close(fd);
}

int spawn_host(const char *program, bool clean, struct spawned *out, struct error *e)
{
    struct ends c = { -1, -1, -1 };
    *out = (struct spawned){ .socket = -1, .output = -1, .pidfd = -1 };
    int r = make_ends(out, &c) ? errno : spawn(program, clean, &c, &out->pid);
    close_one(c.socket);
    close_one(c.output);
    close_one(c.board);
    if (r == 0 && (out->pidfd = (int)syscall(SYS_pidfd_open, out->pid, 0)) < 0) {
        r = errno;
        kill(out->pid, SIGKILL);
        waitpid(out->pid, NULL, 0);
    }
    if (r == 0)
        return 0;
    spawned_close(out);
    return error_set(e, r, "%s can't be started: %s", program, strerror(r));
}

void spawned_close(struct spawned *s)
{
    close_one(s->socket);
    close_one(s->output);
    close_one(s->pidfd);
    if (s->board)
        munmap(s->board, sizeof *s->board);
    *s = (struct spawned){ .socket = -1, .output = -1, .pidfd = -1 };
}
