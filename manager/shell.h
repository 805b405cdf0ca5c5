/* shell.h - the manager's shell: sockets, store, signals and keys around its core.  It decides nothing. */
#ifndef FERRO_MANAGER_SHELL_H
#define FERRO_MANAGER_SHELL_H

#include "common/base/error.h"
#include "manager/core/manager.h"

struct shell_config {
    const char *listen, *keys, *state; /* host:port, folder, folder */
    bool fast;                         /* a store without fsync */
    struct manager_config core;
};

struct shell;

/* Open all: keys, store (which raises the epoch), sockets; the core starts and then the port is bound.  NULL and `e`. */
struct shell *shell_new(const struct shell_config *config, struct error *e);

/* Until SIGTERM or SIGINT: the exit code, with `e` filled when it isn't 0. */
int shell_run(struct shell *s, struct error *e);
void shell_free(struct shell **s);

#endif
