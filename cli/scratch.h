/* scratch.h - folders that belong to one run of `ferro run`, and what is left of runs that were killed. */
#ifndef FERRO_CLI_SCRATCH_H
#define FERRO_CLI_SCRATCH_H

#include "common/base/error.h"

#define SCRATCH_PATH_MAX 96

struct scratch {
    char path[SCRATCH_PATH_MAX]; /* "": none */
    int lock;                    /* held while its owner lives; -1: none */
};

/* Make a folder of our own below `root`, after those of this user whose owners are dead were removed.  -1 and `e`. */
int scratch_make(struct scratch *s, const char *root, struct error *e);

/* Remove it with all that is in it. */
void scratch_remove(struct scratch *s);

#endif
