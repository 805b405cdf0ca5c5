/* launch.h - open an application and become its driver: what run and submit share. */
#ifndef FERRO_CLI_LAUNCH_H
#define FERRO_CLI_LAUNCH_H

#include "cli/session.h"

/* Options for the job itself (common/base/job_options.def), passed on to ferro-driver as they were typed. */
struct job_options {
    const char *events;
#define JOB_NUMBER(field, ...) const char *field;
#define JOB_TEXT(field, ...) const char *field;
#define JOB_FLAG(field, ...) bool field;
#include "common/base/job_options.def"
};

/* Are they numbers, sizes and times?  0, or -1 and `e`: said before anything is started for the job. */
int job_options_check(const struct job_options *o, struct error *e);
/* The options as ferro-driver takes them, after v[0..n): the new n. */
int job_options_out(const struct job_options *o, const char **v, int n);
#define JOB_OPTIONS_MAX 40

/* Say so when one of the job's own arguments is called as one of these, which go before the job; not with --quiet. */
void job_options_hint(const struct job_options *o, const struct option_list *args);

/* What a driver process needs to begin. */
struct launch {
    const char *manager; /* host:port */
    uint64_t app, epoch;
    int keys_fd; /* read end of a pipe that holds the application's keys; inherited by the driver */
};

/* Open an application in the user's name.  0, or an exit code after the error was said. */
int launch_open(struct launch *l, struct session *s, const char *name);

/* argv of `ferro-driver run ...` for the job; lives in `a`. */
char **launch_argv(struct arena *a, const struct launch *l, const struct job_options *o, const char *library,
                   const struct option_list *args);

/* A job's name: the file's, without folder and ending. */
const char *job_name(struct arena *a, const char *path);

#endif
