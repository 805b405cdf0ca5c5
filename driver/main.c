/* main.c - ferro-driver: run one application, or serve those that are submitted in cluster mode. */
#include "common/base/service.h"
#include "common/base/version.h"
#include "driver/verbs.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *name, *help;
    int (*run)(int argc, char **argv);
} verbs[] = {
    { "run", "run one application, opened by ferro (ferro run and ferro submit start this)", driver_run },
    { "serve", "run the applications that are submitted in cluster mode, each in a process of its own",
      driver_serve },
};

static void help(FILE *out)
{
    fprintf(out, "Usage: ferro-driver VERB [OPTION]...\n\nRuns jobs: their mains, and the scheduling of "
                 "their tasks.\n\n");
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
        options_help_line(out, verbs[i].name, verbs[i].help);
    fprintf(out, "\n`ferro-driver VERB --help` lists a verb's options.\n");
}

int driver_options(const struct options_program *p, int argc, char **argv, void *into,
                   struct option_list *rest, struct arena *a)
{
    return options_take(p, "ferro-driver", argc, argv, into, rest, a);
}

int main(int argc, char **argv)
{
    const char *verb = argc > 1 ? argv[1] : "";
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
        if (!strcmp(verb, verbs[i].name))
            return verbs[i].run(argc - 1, argv + 1);
    if (!strcmp(verb, "--help") || !strcmp(verb, "-h") || !strcmp(verb, "help")) {
        help(stdout);
        return DRIVER_OK;
    }
    if (!strcmp(verb, "--version") || !strcmp(verb, "-V")) {
        puts("ferro-driver " FERRO_VERSION);
        return DRIVER_OK;
    }
    if (*verb)
        fprintf(stderr, "ferro-driver: no verb '%s'\n", verb);
    help(stderr);
    return DRIVER_USAGE;
}
