/* launch.h - open an application and become its driver: what run and submit share. */
#ifndef FERRO_CLI_LAUNCH_H
#define FERRO_CLI_LAUNCH_H

#include "cli/session.h"

/* Options for the job itself, passed on to ferro-driver as they were typed. */
struct job_options {
    const char *slots, *mem, *task_time, *attempts, *events;
    const char *split_size, *reduce_size, *results_max, *parallelism, *idle, *copy, *executor_lost;
    bool overwrite, quiet, verbose;
};
#define JOB_ROW(holder, field, option, value_name, words) \
    { \
        .name = option, .value = value_name, .type = OPT_STRING, .offset = offsetof(struct holder, field), \
        .help = words \
    }
#define JOB_FLAG(holder, field, option, key, words) \
    { \
        .name = option, .letter = key, .type = OPT_FLAG, .offset = offsetof(struct holder, field), \
        .help = words \
    }
#define JOB_ROWS(holder, field) \
    { .name = "slots", \
      .letter = 's', \
      .value = "N", \
      .type = OPT_STRING, \
      .offset = offsetof(struct holder, field.slots), \
      .help = "at most so many tasks at once (default: all that there are)" }, \
        JOB_ROW(holder, field.mem, "mem", "SIZE", "memory of a slot (default: 512M)"), \
        JOB_ROW(holder, field.task_time, "task-time", "TIME", \
                "an attempt that takes longer fails (default: no limit)"), \
        JOB_ROW(holder, field.attempts, "attempts", "N", \
                "failures of one task that fail the job (default: 4)"), \
        JOB_FLAG(holder, field.overwrite, "overwrite", 0, "replace an output folder that exists"), \
        JOB_FLAG(holder, field.quiet, "quiet", 'q', "no progress; errors only"), \
        JOB_FLAG(holder, field.verbose, "verbose", 'v', "say more: every stage, every executor"), \
        JOB_ROW(holder, field.events, "events", "FD", "write events as JSON lines to this descriptor"), \
        JOB_ROW(holder, field.parallelism, "parallelism", "N", \
                "parts of a dataset that names none (default: by slots)"), \
        JOB_ROW(holder, field.split_size, "split-size", "SIZE", "bytes of a file per task (default: 32M)"), \
        JOB_ROW(holder, field.reduce_size, "reduce-size", "SIZE", \
                "bytes aimed at per reduce task (default: 16M)"), \
        JOB_ROW(holder, field.results_max, "results-max", "SIZE", \
                "memory for one action's results (default: 1G)"), \
        JOB_ROW(holder, field.idle, "idle", "TIME", "slots without work go back after this (default: 1s)"), \
        JOB_ROW(holder, field.copy, "copy", "TIME", \
                "tasks behind a closed connection run again elsewhere after this (default: 300ms)"), \
        JOB_ROW(holder, field.executor_lost, "executor-lost", "TIME", \
                "an executor silent for so long is lost to the job (default: 20s)")

/* Are they numbers, sizes and times?  0, or -1 and `e`: said before anything is started for the job. */
int job_options_check(const struct job_options *o, struct error *e);
/* The options as ferro-driver takes them, after v[0..n): the new n. */
int job_options_out(const struct job_options *o, const char **v, int n);
#define JOB_OPTIONS_MAX 32

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
