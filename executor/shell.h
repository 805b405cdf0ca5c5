/* shell.h - the executor's shell: sockets, hosts, files and signals around its core.  It decides nothing. */
#ifndef FERRO_EXECUTOR_SHELL_H
#define FERRO_EXECUTOR_SHELL_H

#include "common/base/options.h"
#include "executor/core/executor.h"

struct executor_options {
    const char *key;                        /* the join key's file */
    const char *listen, *listen_data;       /* NULL: where the manager is reached from, any port */
    const char *advertise, *advertise_data; /* NULL: where it listens; port 0: that of where it listens */
    const char *dir, *disk;
    const char *host_program;                 /* path of ferro-host */
    const char *const *reads, *const *writes; /* NULL-ended */
    struct executor_config core;              /* keys, addresses and root are filled in here */
};

struct executor_shell;

/* Open all: keys, folders, sockets; the core starts, which dials the manager.  NULL and `e`.  `options` is borrowed. */
struct executor_shell *executor_shell_new(const struct executor_options *options, struct error *e);

/* Until it has drained, or can't go on: the exit code (EXECUTOR_AGAIN: start afresh). */
int executor_shell_run(struct executor_shell *s);
void executor_shell_free(struct executor_shell **s); /* hosts are reaped when it returns */

#endif
