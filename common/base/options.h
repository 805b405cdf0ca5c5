/* options.h - a program's options: one table, from which the parser and --help are made.
 *
 *     struct config { uint64_t slots, beat_ms; const char *manager; bool quiet; struct option_list reads; };
 *     static const struct option_row rows[] = {
 *         { .name = "slots", .letter = 's', .value = "N", .type = OPT_U64, .min = 1, .max = 4096,
 *           .offset = offsetof(struct config, slots), .env = "FERRO_SLOTS",
 *           .help = "tasks at once (default: one a core)" },
 *         { .name = "beat", .value = "TIME", .type = OPT_DURATION, .offset = offsetof(struct config, beat_ms),
 *           .fallback = "1s", .help = "time between two beats" },
 *         { .name = NULL },
 *     };
 *     static const struct options_program program = {
 *         .name = "ferro-executor", .usage = "[OPTION]...", .about = "Runs tasks.", .rows = rows };
 *
 * A value comes from the command line, else from the environment, else from the
 * row's fallback, which passes through the same parser.  A field whose row has
 * no fallback keeps what the caller put there before.
 */
#ifndef FERRO_BASE_OPTIONS_H
#define FERRO_BASE_OPTIONS_H

#include "common/base/arena.h"
#include "common/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct option_list {
    const char **v; /* in the arena; v[n] is NULL */
    uint32_t n;
};

enum option_type {             /* the field at `offset` is a ... */
                   OPT_FLAG,   /* bool; takes no value.  In the environment: 1 yes true on, 0 no false off */
                   OPT_STRING, /* const char * */
                   OPT_U64,    /* uint64_t: a whole decimal number */
                   OPT_BYTES, /* uint64_t: 65536, 64K, 512M, 4G, 1T (powers of 1024; "MiB" is as good as "M") */
                   OPT_DURATION, /* uint64_t milliseconds: 500ms, 20s, 5m, 1h; 0 needs no unit */
                   OPT_HOSTPORT, /* const char *: name:7400, 10.0.0.1:7400, [::1]:7400, *:7400 */
                   OPT_PATH,     /* const char *, not empty */
                   OPT_LIST, /* struct option_list: may be repeated; in the environment separated by ':' */
};

struct option_row {
    const char *name;  /* without the dashes; NULL ends the table */
    char letter;       /* -s, or 0 */
    const char *value; /* the value's name in --help; NULL for a flag */
    enum option_type type;
    size_t offset;        /* of the field in the struct that options_parse() fills */
    uint64_t min, max;    /* of U64, BYTES and DURATION (ms); max 0: no limit */
    const char *fallback; /* default, as one would type it; NULL: none */
    const char *env;      /* environment variable, or NULL */
    const char *help;     /* one line without a final stop */
};

struct options_program {
    const char *name;  /* "ferro-executor", "ferro submit" */
    const char *usage; /* what follows the name: "[OPTION]... JOB [ARGUMENT]..." */
    const char *about; /* one paragraph */
    const struct option_row *rows;
    const char *after; /* text after the options (examples), or NULL */
    bool job_args;     /* the first argument that is no option ends the options: the rest is a job's own */
};

#define OPTIONS_HELP 1    /* --help or -h was given: call options_help(stdout), exit 0 */
#define OPTIONS_VERSION 2 /* --version or -V */

/* Fill *into from argv[1..], the environment and the fallbacks.  Arguments that
 * are no options go to `rest`, in order; with `rest` NULL there may be none.
 * Strings borrow from argv, the environment, the table and the arena.
 * 0, OPTIONS_HELP, OPTIONS_VERSION; or -1 and one line in `e` that names the
 * program, the option, the value and what is allowed (exit with 2). */
int options_parse(const struct options_program *p, int argc, char **argv, void *into,
                  struct option_list *rest, struct arena *a, struct error *e);

void options_help(const struct options_program *p, FILE *out);

/* One aligned line of help, wrapped: "  left    text".  For tables of one's own, such as the CLI's verbs. */
void options_help_line(FILE *out, const char *left, const char *text);

/* The candidate (a NULL-ended list) that `word` was probably meant to be, or NULL. */
const char *options_near(const char *word, const char *const *candidates);

/* The values' own parsers, for text from elsewhere.  0, or -1 when it is not such a value. */
int options_u64(const char *text, uint64_t *out);
int options_bytes(const char *text, uint64_t *out);
int options_duration(const char *text, uint64_t *ms);
int options_hostport(const char *text);

#endif
