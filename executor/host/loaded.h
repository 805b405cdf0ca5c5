/* loaded.h - the job's library in this process: loaded from a sealed memfd, and checked. */
#ifndef FERRO_EXECUTOR_HOST_LOADED_H
#define FERRO_EXECUTOR_HOST_LOADED_H

#include "common/base/error.h"

/* Load the libraries behind `fds`: the job's first in the list, last in time.
 * `base` gets the job's load base.  0, or -1 and `e`.  Constructors run: they are user code. */
int loaded_open(const int *fds, int n, const void **base, struct error *e);

#endif
