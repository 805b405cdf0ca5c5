/* service.h - what the programs that run for long have in common: the options for their events and their log.
 *
 *     struct options { struct service service; ... };
 *     static const struct option_row rows[] = { ..., SERVICE_ROWS(options, service), { .name = NULL } };
 */
#ifndef FERRO_BASE_SERVICE_H
#define FERRO_BASE_SERVICE_H

#include "common/base/options.h"

struct service {
    uint64_t
        events; /* the descriptor; UINT64_MAX, which the caller puts there before options_parse(): none */
    const char *level;
};

#define SERVICE_ROWS(holder, field) \
    { .name = "events", \
      .value = "FD", \
      .type = OPT_U64, \
      .offset = offsetof(struct holder, field.events), \
      .max = 65535, \
      .help = "write events as JSON lines to this descriptor" }, \
    { \
        .name = "log-level", .value = "error|warn|info|debug", .type = OPT_STRING, \
        .offset = offsetof(struct holder, field.level), .fallback = "info", .env = "FERRO_LOG", \
        .help = "how much to say on stderr" \
    }

/* options_parse() for a program's whole command line, and what follows from it: prints help, the version
 * (`what` and its number), or the error.  -1: go on; else the exit code to leave with. */
int options_take(const struct options_program *p, const char *what, int argc, char **argv, void *into,
                 struct option_list *rest, struct arena *a);

/* Begin the log of the service of that name, whose program `p` is for errors; its events go to no child process.
 * -1: go on; else the exit code to leave with, after the error was said. */
int service_begin(const struct service *s, const struct options_program *p, const char *name);

int service_events_fd(const struct service *s); /* -1: none */

/* Keep the descriptor that --events names from child processes.  -1 and one line on stderr when nothing can be written to it. */
int service_events_take(int fd, const char *program);

#endif
