/* main.c - ferro-host: the process that runs user code, one task at a time, for its executor. */
#include "common/base/version.h"
#include "executor/host/confine.h"
#include "executor/host/worker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifdef __SANITIZE_ADDRESS__
const char *__asan_default_options(void);
/* The search for leaks needs a process of its own, which a confined host can't have;
 * a task's crash must be the signal that it is. */
__attribute__((visibility("default"))) const char *__asan_default_options(void)
{
    return "detect_leaks=0:handle_segv=0:handle_sigbus=0:handle_abort=0:handle_sigfpe=0:handle_sigill=0";
}
#endif

static struct worker worker;

/* Started by hand.  The exit code; -1: by its executor, whose process id is the argument. */
static int answer(int argc, char **argv, long *executor)
{
    char *end = NULL;
    const char *word = argc == 2 ? argv[1] : "";
    if (!strcmp(word, "--help") || !strcmp(word, "-h")) {
        puts("ferro-host: the process that runs an application's tasks.\n"
             "ferro-executor starts it and speaks to it; it has no options of its own.");
        return 0;
    }
    if (!strcmp(word, "--version") || !strcmp(word, "-V")) {
        puts("ferro-host " FERRO_VERSION);
        return 0;
    }
    *executor = strtol(word, &end, 10);
    if (end != word && *end == 0 && *executor > 0)
        return -1;
    fputs("ferro-host runs tasks; ferro-executor starts it\n", stderr);
    return 2;
}

int main(int argc, char **argv)
{
    long executor;
    int code = answer(argc, argv, &executor);
    if (code >= 0)
        return code;
    confine_always(executor);
    syscall(SYS_close_range, HOST_BOARD_FD + 1, ~0u, 0);
    setvbuf(stdout, NULL, _IOLBF, 0);
    worker_init(&worker);
    worker_run(&worker);
}
