/* verb.h - ferro's verbs: one file each, one table in main.c. */
#ifndef FERRO_CLI_VERB_H
#define FERRO_CLI_VERB_H

#include "common/base/options.h"

enum exit_code {
    EXIT_GOOD = 0,
    EXIT_WRONG = 1, /* an error that none of the others names */
    EXIT_USAGE = 2,
    EXIT_JOB_FAILED = 3,
    EXIT_NO_MANAGER = 4,
    EXIT_UNAUTHORISED = 5,
};

/* Each parses its own arguments (argv[0] is the verb) and returns an exit code. */
int verb_run(int argc, char **argv);
int verb_submit(int argc, char **argv);
int verb_cc(int argc, char **argv);
int verb_keys(int argc, char **argv);
int verb_status(int argc, char **argv);
int verb_executors(int argc, char **argv);
int verb_apps(int argc, char **argv);
int verb_wait(int argc, char **argv);
int verb_logs(int argc, char **argv);
int verb_kill(int argc, char **argv);
int verb_drain(int argc, char **argv);

/* What every verb does first: parse; print help, or the error.  -1: go on; else
 * the exit code to leave with. */
int verb_options(const struct options_program *p, int argc, char **argv, void *into, struct option_list *rest,
                 struct arena *a);

/* Say "ferro: words" on stderr, or "ferro VERB: words" where `fmt` begins with "VERB: "; return the code. */
int verb_error(int code, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
