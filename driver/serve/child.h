/* child.h - one application's process: `ferro-driver run`, with its keys and its output on pipes. */
#ifndef FERRO_SERVE_CHILD_H
#define FERRO_SERVE_CHILD_H

#include "common/keys/keypipe.h"

#include <sys/types.h>

struct child {
    uint64_t app;
    pid_t pid;            /* 0: none */
    int fds[2];           /* read ends of its stdout and stderr, non-blocking; -1: closed */
    struct app_keys keys; /* until it is started */
};

struct child_command {
    const char *program; /* ferro-driver */
    const char *manager, *library;
    int events_fd;                            /* -1: none */
    const char *const *options, *const *args; /* NULL-ended */
};

/* Start it; it gets SIGTERM when this process dies.  The keys are wiped here either way.  -1 and `e`. */
int child_start(struct child *c, const struct child_command *command, struct error *e);

/* True when it has ended: reaped, `code` and `signal` say how, pid is 0. */
bool child_reap(struct child *c, int *code, int *signal);
void child_close(struct child *c, uint32_t stream);

#endif
