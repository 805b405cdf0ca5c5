/* spawn.h - one task host process, with what connects it to us. */
#ifndef FERRO_EXECUTOR_SPAWN_H
#define FERRO_EXECUTOR_SPAWN_H

#include "common/base/error.h"
#include "executor/host/board.h"

#include <sys/types.h>

struct spawned {
    pid_t pid;
    int socket, output, pidfd;
    struct host_board *board;
};

/* Start `program`.  It gets a socketpair's other end, its board, and one pipe for
 * stdout and stderr; of the environment only what libc reads when `clean`.  Its
 * memory is never ours: posix_spawn, not fork.  -1 and `e`. */
int spawn_host(const char *program, bool clean, struct spawned *out, struct error *e);
void spawned_close(struct spawned *s); /* our ends; the process must be reaped */

#endif
