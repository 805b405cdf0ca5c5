/* runner.c - ferro-driver run: its options, and the order in which one application is set up.
 *
 * Keys are read before the job's code is loaded, and given to the sockets before its main runs.
 */
#include "common/base/service.h"
#include "driver/loop.h"
#include "driver/verbs.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct run {
    const char *manager;
    uint64_t app, keys_fd, events, beat;
#define JOB_NUMBER(field, ...) uint64_t field;
#define JOB_TEXT(field, ...) const char *field;
#define JOB_FLAG(field, ...) bool field;
#include "common/base/job_options.def"
};

#define ROW(option, value_name, kind, field, ...) \
    { \
        .name = option, .value = value_name, .type = kind, .offset = offsetof(struct run, field), \
        __VA_ARGS__ \
    }

static const struct option_row rows[] = {
    ROW("manager", "HOST:PORT", OPT_HOSTPORT, manager, .letter = 'm', .env = "FERRO_MANAGER",
        .help = "where the manager listens"),
    ROW("app", "N", OPT_U64, app, .min = 1, .help = "the application's number, as the manager gave it"),
    ROW("keys-fd", "FD", OPT_U64, keys_fd, .max = 65535,
        .help = "descriptor of a pipe with the application's keys"),
    ROW("events", "FD", OPT_U64, events, .max = 65535,
        .help = "write events as JSON lines to this descriptor"),
    ROW("beat", "TIME", OPT_DURATION, beat, .min = 10, .max = 60000, .fallback = "1s",
        .help = "time between two beats, until the manager says another"),
#define JOB_NUMBER(field, option, key, value_name, kind, least, most, default_, shown, words) \
    ROW(option, value_name, OPT_##kind, field, .letter = key, .min = least, .max = most, \
        .fallback = default_, .help = words),
#define JOB_TEXT(field, option, value_name, words) ROW(option, value_name, OPT_STRING, field, .help = words),
#define JOB_FLAG(field, option, key, words) ROW(option, NULL, OPT_FLAG, field, .letter = key, .help = words),
#include "common/base/job_options.def"
    { .name = NULL },
};
static const struct options_program program = {
    .name = "ferro-driver run",
    .usage = "[OPTION]... LIBRARY [ARGUMENT]...",
    .about = "Runs one application that was opened at the manager: its job's main, and the scheduling of its "
             "tasks. "
             "`ferro run` and `ferro submit` start it; it gets the application's keys by a pipe. SIGINT and "
             "SIGTERM end "
             "the application; a second one ends this process at once.",
    .rows = rows,
    .job_args = true,
};

static uint32_t parallelism(const struct run *o)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    if (o->parallelism)
        return (uint32_t)o->parallelism;
    return o->slots < 1048576 ? (uint32_t)o->slots : 2u * (uint32_t)(cores < 1 ? 1 : cores);
}

static void configure(struct loop_config *c, const struct run *o, const struct app_keys *keys,
                      struct joblib *lib)
{
    const char *no_colour = getenv("NO_COLOR"), *term = getenv("TERM");
    bool terminal = isatty(STDERR_FILENO) && (!term || strcmp(term, "dumb"));
    c->lib = lib;
    c->results_max = o->results_max;
    c->sched = (struct sched_config){
        .manager = o->manager,
        .app = o->app,
        .slots_max = (uint32_t)o->slots,
        .memory = o->mem,
        .labels = o->labels,
        .attempts_max = (uint32_t)o->attempts,
        .time_ms_max = (uint32_t)o->task_time,
        .idle_ms = o->idle,
        .copy_ms = o->copy,
        .executor_lost_ms = o->executor_lost,
        .reduce_bytes = o->reduce_size,
        .beat_ms = o->beat,
        .libs = lib->libs,
        .nlibs = lib->nlibs,
        .name = lib->job->name,
    };
    memcpy(c->sched.manager_key, keys->manager, KEY_BYTES);
    c->main = (struct jobmain_config){
        .job = lib->job,
        .app = o->app,
        .overwrite = o->overwrite,
        .parallelism = parallelism(o),
        .split_bytes = o->split_size,
        .library_fd = lib->fd,
    };
    c->progress = (struct progress_config){
        .fd = STDERR_FILENO,
        .terminal = terminal,
        .colour = terminal && (!no_colour || !*no_colour),
        .quiet = o->quiet,
        .verbose = o->verbose,
        .app = o->app,
        .name = lib->job->name,
    };
}

/* Leaves the process itself when the job's main doesn't end. */
static int run_loop(const struct loop_config *config, struct app_keys *keys)
{
    struct error e;
    struct loop *l = loop_new(config, keys, &e);
    if (!l) {
        fprintf(stderr, "ferro: %s\n", e.words);
        return DRIVER_WRONG;
    }
    int code = loop_run(l);
    if (!loop_free(&l))
        _exit(code);
    return code;
}

static int run(struct arena *a, const struct run *o, const struct option_list *rest)
{
    struct error e;
    struct app_keys keys;
    struct joblib lib;
    struct loop_config config = { 0 };
    if (keypipe_read((int)o->keys_fd, &keys, &e) || joblib_open(&lib, rest->v[0], &e)) {
        key_wipe(&keys, sizeof keys);
        fprintf(stderr, "ferro: %s\n", e.words);
        return DRIVER_WRONG;
    }
    configure(&config, o, &keys, &lib);
    config.main.argc = (int)rest->n;
    config.main.argv = arena_copy(a, rest->v, (rest->n + 1) * sizeof *rest->v);
    config.main.argv[0] = arena_strdup(a, lib.job->name);
    int code = run_loop(&config, &keys);
    joblib_close(&lib);
    return code;
}

static bool is_complete(const struct run *o, const struct option_list *rest)
{
    const char *missing = !o->manager                ? "--manager"
                          : !o->app                  ? "--app"
                          : o->keys_fd == UINT64_MAX ? "--keys-fd"
                                                     : NULL;
    if (missing)
        fprintf(stderr, "ferro-driver run: %s is missing; ferro run and ferro submit start it rightly\n",
                missing);
    else if (rest->n < 1)
        fprintf(stderr, "ferro-driver run: which library?\n");
    else if (o->labels && strlen(o->labels) > JOB_LABELS_BYTES_MAX)
        fprintf(stderr, "ferro-driver run: --labels has over %u bytes\n", JOB_LABELS_BYTES_MAX);
    return !missing && rest->n >= 1 && (!o->labels || strlen(o->labels) <= JOB_LABELS_BYTES_MAX);
}

int driver_run(int argc, char **argv)
{
    struct arena a = { 0 };
    struct run o = { .keys_fd = UINT64_MAX, .events = UINT64_MAX };
    struct option_list rest;
    process_harden();
    int code = driver_options(&program, argc, argv, &o, &rest, &a);
    if (code < 0 && !is_complete(&o, &rest))
        code = DRIVER_USAGE;
    if (code < 0 && o.events != UINT64_MAX && service_events_take((int)o.events, program.name))
        code = DRIVER_USAGE;
    if (code < 0) {
        log_init("driver", o.verbose ? LOG_INFO : LOG_WARN, o.events == UINT64_MAX ? -1 : (int)o.events);
        code = run(&a, &o, &rest);
    }
    arena_fini(&a);
    return code;
}
