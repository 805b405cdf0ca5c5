/* main.c - ferro: the command line.  One table of verbs. */
#include "cli/verb.h"
#include "common/base/service.h"
#include "common/base/version.h"

#include <stdarg.h>
#include <string.h>

static const struct verb {
    const char *name;
    int (*main)(int argc, char **argv);
    const char *help;
} verbs[] = {
    { "run", verb_run, "run a job on this machine: starts what it needs, leaves nothing behind" },
    { "submit", verb_submit, "run a job on a cluster" },
    { "cc", verb_cc, "compile a job" },
    { "status", verb_status, "the cluster in a few numbers, and its executors" },
    { "executors", verb_executors, "list the executors" },
    { "apps", verb_apps, "list applications" },
    { "wait", verb_wait, "wait until an application ends, and exit with its code" },
    { "logs", verb_logs, "what an application run in cluster mode has written" },
    { "kill", verb_kill, "end an application" },
    { "drain", verb_drain, "let an executor finish its tasks and leave (admins)" },
    { "keys", verb_keys, "make the keys of a cluster, and users' keys" },
};
enum { NVERBS = sizeof verbs / sizeof *verbs };

static bool begins_with_verb(const char *words)
{
    for (int i = 0; i < NVERBS; i++) {
        size_t n = strlen(verbs[i].name);
        if (!strncmp(words, verbs[i].name, n) && words[n] == ':')
            return true;
    }
    return false;
}

int verb_error(int code, const char *fmt, ...)
{
    va_list ap;
    fputs(begins_with_verb(fmt) ? "ferro " : "ferro: ", stderr);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
    return code;
}

int verb_options(const struct options_program *p, int argc, char **argv, void *into, struct option_list *rest,
                 struct arena *a)
{
    return options_take(p, "ferro", argc, argv, into, rest, a);
}

static void help(FILE *out)
{
    fprintf(out, "Usage: ferro VERB [OPTION]... [ARGUMENT]...\n\n"
                 "Runs jobs written in C or C++ on this machine or on a cluster.\n\nverbs:\n");
    for (int i = 0; i < NVERBS; i++)
        options_help_line(out, verbs[i].name, verbs[i].help);
    fprintf(out, "\n`ferro VERB --help` tells a verb's options.  To begin: ferro run examples/wordcount.c "
                 "README.md -\n");
}

static int unknown(const char *word)
{
    const char *names[NVERBS + 1] = { NULL };
    for (int i = 0; i < NVERBS; i++)
        names[i] = verbs[i].name;
    const char *near = options_near(word, names);
    if (near)
        return verb_error(EXIT_USAGE, "no verb '%s'; did you mean '%s'?  See ferro --help", word, near);
    return verb_error(EXIT_USAGE, "no verb '%s'; see ferro --help", word);
}

int main(int argc, char **argv)
{
    const char *word = argc > 1 ? argv[1] : "";
    for (int i = 0; i < NVERBS; i++)
        if (!strcmp(word, verbs[i].name))
            return verbs[i].main(argc - 1, argv + 1);
    if (!strcmp(word, "help") && argc > 2) {
        char *asked[] = { argv[2], "--help", NULL };
        for (int i = 0; i < NVERBS; i++)
            if (!strcmp(argv[2], verbs[i].name))
                return verbs[i].main(2, asked);
        return unknown(argv[2]);
    }
    if (!strcmp(word, "--help") || !strcmp(word, "-h") || !strcmp(word, "help")) {
        help(stdout);
        return EXIT_GOOD;
    }
    if (!strcmp(word, "--version") || !strcmp(word, "-V")) {
        printf("ferro %s\n", FERRO_VERSION);
        return EXIT_GOOD;
    }
    if (!*word) {
        help(stderr);
        return EXIT_USAGE;
    }
    return unknown(word);
}
