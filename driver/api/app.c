/* app.c - one run of a job's main. */
#include "driver/api/set.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <sodium.h>
#include <stdio.h>

enum { EXIT_OK = 0, EXIT_MAIN = 1, EXIT_JOB = 3 };

fe_app *app_current;

int ferro_job_main(const struct ferro_job *job, int argc, char **argv, const struct runtime *runtime,
                   int *returned)
{
    Dl_info info;
    fe_app app = { .runtime = runtime };
    app.library = dladdr(job, &info) ? info.dli_fbase : NULL;
    app_current = &app;
    int rc =
        sodium_init(); /* this library's own copy finds out which instructions there are: hashing takes half as long */
    (void)rc;          /* and works without */
    int code = job->main(&app, argc, argv);
    app_current = NULL;
    fflush(stdout);
    if (returned)
        *returned = code;
    arena_fini(&app.arena);
    if (code == 0)
        return app.failed ? EXIT_JOB : EXIT_OK;
    return app.failed ? EXIT_JOB : EXIT_MAIN;
}

void fe_say(fe_app *app, const char *fmt, ...)
{
    char words[ERROR_WORDS_MAX];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(words, sizeof words, fmt, ap);
    va_end(ap);
    app->runtime->say(app->runtime->user, words);
}
