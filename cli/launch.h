/* launch.h - open an application and become its driver: what run and submit share. */
#ifndef FERRO_CLI_LAUNCH_H
#define FERRO_CLI_LAUNCH_H

#include "cli/session.h"

/* Options for the job itself, passed on to ferro-driver as they were typed. */
struct job_options {
    const char *slots, *mem, *task_time, *attempts, *events;
    bool overwrite, quiet, verbose;
};
#define JOB_ROWS(holder, field) \
    { .name = "slots", \
      .letter = 's', \
      .value = "N", \
      .type = OPT_STRING, \
      .offset = offsetof(struct holder, field.slots), \
      .help = "at most so many tasks at once (default: all that the cluster gives)" }, \
        { .name = "mem", \
          .value = "SIZE", \
          .type = OPT_STRING, \
          .offset = offsetof(struct holder, field.mem), \
          .help = "memory of a slot (default: 512M)" }, \
        { .name = "task-time", \
          .value = "TIME", \
          .type = OPT_STRING, \
          .offset = offsetof(struct holder, field.task_time), \
          .help = "an attempt that takes longer fails (default: no limit)" }, \
        { .name = "attempts", \
          .value = "N", \
          .type = OPT_STRING, \
          .offset = offsetof(struct holder, field.attempts), \
          .help = "failures of one task that fail the job (default: 4)" }, \
        { .name = "overwrite", \
          .type = OPT_FLAG, \
          .offset = offsetof(struct holder, field.overwrite), \
          .help = "replace an output folder that exists" }, \
        { .name = "quiet", \
          .letter = 'q', \
          .type = OPT_FLAG, \
          .offset = offsetof(struct holder, field.quiet), \
          .help = "no progress; errors only" }, \
        { .name = "verbose", \
          .letter = 'v', \
          .type = OPT_FLAG, \
          .offset = offsetof(struct holder, field.verbose), \
          .help = "say more: every stage, every executor" }, \
    { \
        .name = "events", .value = "FD", .type = OPT_STRING, \
        .offset = offsetof(struct holder, field.events), \
        .help = "write events as JSON lines to this descriptor" \
    }

/* The options as ferro-driver takes them, after v[0..n): the new n. */
int job_options_out(const struct job_options *o, const char **v, int n);
#define JOB_OPTIONS_MAX 16

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
