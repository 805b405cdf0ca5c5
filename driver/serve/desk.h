/* desk.h - the driver service's shell: its socket, children, pipes and files around the launcher.  It decides nothing. */
#ifndef FERRO_SERVE_DESK_H
#define FERRO_SERVE_DESK_H

#include "common/keys/keys.h"
#include "driver/serve/launcher.h"

struct desk_config {
    struct launcher_config core;
    const char *dir;     /* libraries of running applications; NULL: a temporary folder of its own */
    const char *program; /* ferro-driver */
    int events_fd;       /* for children; -1: none */
};

struct desk;

/* Take the signals and the folder, open the socket with the service's key (and wipe it), start the core.  NULL and `e`. */
struct desk *desk_new(const struct desk_config *config, struct key_file *key, struct error *e);
int desk_run(struct desk *d);    /* until the core leaves: the exit code */
void desk_free(struct desk **d); /* kills what still runs; the folder is left as it was */

#endif
