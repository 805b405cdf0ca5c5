/* peek.c - FORBIDDEN ALLOWED: what a task may do that it must not: says on stdout which of these it could. */
#include <ferro.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static void could(fe_task *t, const char *what, bool did)
{
    if (did)
        fe_emit_value(t, what);
}

static bool opens(const char *path, int flags)
{
    int fd = open(path, flags | O_CLOEXEC, 0600);
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

static bool runs(const char *program)
{
    int status = 0;
    pid_t pid = fork();
    if (pid == 0) {
        execl(program, program, (char *)NULL);
        _exit(127);
    }
    return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static bool connects_out(int family, int type)
{
    int fd = socket(family, type, 0);
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

/* This it may: it shows that the others could fail. */
static void look(fe_task *t, fe_slice key, fe_slice value)
{
    (void)key;
    char path[4096];
    snprintf(path, sizeof path, "%.*s", (int)value.n, value.p);
    could(t, "read what is on the list", opens(path, O_RDONLY));
}

static void peek(fe_task *t, fe_slice key, fe_slice value)
{
    (void)key;
    char path[4096], other[4104];
    snprintf(path, sizeof path, "%.*s", (int)value.n, value.p);
    snprintf(other, sizeof other, "%s.made", path);
    could(t, "read a file outside the list", opens(path, O_RDONLY));
    could(t, "make a file", opens(other, O_WRONLY | O_CREAT));
    could(t, "read /etc/shadow", opens("/etc/shadow", O_RDONLY));
    could(t, "open an internet socket", connects_out(AF_INET, SOCK_STREAM));
    could(t, "open a datagram socket", connects_out(AF_INET6, SOCK_DGRAM));
    could(t, "open a local socket", connects_out(AF_UNIX, SOCK_STREAM));
    snprintf(path, sizeof path, "/proc/%d/mem", (int)getppid());
    could(t, "open its executor's memory", opens(path, O_RDWR));
    could(t, "trace its executor", ptrace(PTRACE_ATTACH, getppid(), NULL, NULL) == 0);
    could(t, "signal its executor", kill(getppid(), 0) == 0);
    could(t, "run a program", runs("/bin/true"));
}

static int peek_main(fe_app *app, int argc, char **argv)
{
    if (argc != 3)
        return -1;
    const char *forbidden[] = { argv[1] }, *allowed[] = { argv[2] };
    fe_set *peeks =
        fe_flat_map(fe_collection(app, FERRO_TEXT, forbidden, 1, 1), peek, FERRO_NONE, FERRO_TEXT);
    fe_set *looks = fe_flat_map(fe_collection(app, FERRO_TEXT, allowed, 1, 1), look, FERRO_NONE, FERRO_TEXT);
    return fe_save_text(fe_union(peeks, looks), "-");
}

FERRO_JOB("peek", peek_main)
