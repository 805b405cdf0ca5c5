/* daemon.h - a task host's side of its socketpair.  Whatever goes wrong with it ends the process: there is nobody left to work for. */
#ifndef FERRO_EXECUTOR_HOST_DAEMON_H
#define FERRO_EXECUTOR_HOST_DAEMON_H

#include "common/proto/proto.h"
#include "executor/host/board.h"

struct daemon {
    int fd;
    uint8_t frame[HOST_FRAME_BYTES_MAX]; /* the last one received */
    struct arena arena;                  /* and what was decoded from it */
    int fds[HOST_FDS_MAX];               /* that came with it; whoever handles it takes them over */
    int nfds;
};

/* The next message: its tag, and `msg`, which lives until the next call.  0: none is there (only with `wait` false). */
uint8_t daemon_recv(struct daemon *d, bool wait, const void **msg);
void daemon_send(struct daemon *d, uint8_t tag, const void *msg);
void daemon_close_fds(struct daemon *d); /* those that nobody took over */

#endif
