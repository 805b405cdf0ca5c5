/* main.c - ferro-host: the process that runs user code, one task at a time, for its executor. */
#include "executor/host/confine.h"
#include "executor/host/worker.h"

#include <stdio.h>
#include <stdlib.h>
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

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "ferro-host runs tasks; ferro-executor starts it\n");
        return 2;
    }
    confine_always(atol(argv[1]));
    syscall(SYS_close_range, HOST_BOARD_FD + 1, ~0u, 0);
    setvbuf(stdout, NULL, _IOLBF, 0);
    worker_init(&worker);
    worker_run(&worker);
}
