/* verbs.h - ferro-driver's two verbs; each parses its own arguments and returns an exit code. */
#ifndef FERRO_DRIVER_VERBS_H
#define FERRO_DRIVER_VERBS_H

#include "common/base/options.h"

/* The same numbers as ferro's (cli/verb.h). */
enum driver_exit {
    DRIVER_OK,
    DRIVER_WRONG,
    DRIVER_USAGE,
    DRIVER_JOB_FAILED,
    DRIVER_NO_MANAGER,
    DRIVER_UNAUTHORISED
};

int driver_run(int argc, char **argv);
int driver_serve(int argc, char **argv);

/* Parse; print help, the version or the error.  -1: go on; else the exit code to leave with. */
int driver_options(const struct options_program *p, int argc, char **argv, void *into,
                   struct option_list *rest, struct arena *a);

#endif
