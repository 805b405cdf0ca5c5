/* board.h - what ferro-host and its executor have agreed on beyond the messages. */
#ifndef FERRO_EXECUTOR_HOST_BOARD_H
#define FERRO_EXECUTOR_HOST_BOARD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define HOST_SOCKET_FD 3
#define HOST_BOARD_FD 4

/* A page that both map: completions are told in batches, so only this tells what
 * a host was in when it died.  User code can write to it; the executor believes
 * it only where it names a task that this host has. */
struct host_board {
    atomic_bool running;
    uint32_t stage, part, attempt;
};

#endif
