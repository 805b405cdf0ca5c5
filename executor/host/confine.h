/* confine.h - a task host gives up what user code has no business with. */
#ifndef FERRO_EXECUTOR_HOST_CONFINE_H
#define FERRO_EXECUTOR_HOST_CONFINE_H

#include "common/base/error.h"
#include "common/proto/proto.h"

/* For all hosts: no new privileges, no core files, first to go when memory is
 * out, dead with its executor (process `parent`).  Ends the process when that is gone already. */
void confine_always(long parent);

/* With Landlock, where the kernel has it: writes below scratch and disk, reads
 * below those, below `reads` and of the system's libraries and data.  By seccomp:
 * no sockets, no other processes, no kernel interfaces that a task doesn't need.  -1 and `e` when the kernel refuses. */
int confine_host(const struct msg_host_assign *m, struct error *e);

int filter_install(struct error *e); /* filter.c: the seccomp part */

#endif
