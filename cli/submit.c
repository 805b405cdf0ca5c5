/* submit.c - ferro submit: client mode becomes the driver; cluster mode hands the job to the manager. */
#include "cli/apps.h"
#include "cli/compile.h"
#include "cli/launch.h"
#include "cli/object.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define UPLOAD_MS 120000 /* for a library's last byte to arrive */

struct submit {
    struct where where;
    struct job_options job;
    const char *mode;
    bool wait;
};

static const struct option_row rows[] = {
    WHERE_ROWS(submit, where),
    { .name = "deploy-mode",
      .value = "client|cluster",
      .type = OPT_STRING,
      .offset = offsetof(struct submit, mode),
      .fallback = "client",
      .help = "where the driver runs: here, or under ferro-driver serve (paths are then that machine's)" },
    { .name = "wait",
      .letter = 'w',
      .type = OPT_FLAG,
      .offset = offsetof(struct submit, wait),
      .help = "cluster mode: show the output and exit with the application's code" },
#define JOB_HOLDER submit
#include "cli/job_rows.def"
    { .name = NULL },
};
static const struct options_program program = {
    .name = "ferro submit",
    .usage = "[OPTION]... JOB.c|JOB.cc|JOB.so [ARGUMENT]...",
    .about = "Runs a job on a cluster. A source is compiled first, and kept in ~/.cache/ferro (or "
             "XDG_CACHE_HOME/ferro). The job's library travels by itself.",
    .rows = rows,
    .after = "example: ferro submit examples/wordcount.c data/ out/",
    .job_args = true,
};

static int send_library(struct session *s, uint64_t app, int fd, uint64_t size)
{
    static uint8_t chunk[CHUNK_BYTES_MAX];
    for (uint64_t at = 0; at < size;) {
        ssize_t n = read(fd, chunk, sizeof chunk);
        if (n <= 0)
            return verb_error(EXIT_WRONG, "the job's library can't be read: %s",
                              n ? strerror(errno) : "it has shrunk");
        struct msg_chunk m = { .app = app, .offset = at, .bytes = { chunk, (uint32_t)n } };
        int code = session_send(s, MSG_CHUNK, &m);
        if (code)
            return code;
        at += (uint64_t)n;
    }
    return EXIT_GOOD;
}

static struct rec_str *strings(struct arena *a, const char *const *v, uint32_t n)
{
    struct rec_str *r = arena_alloc(a, n * sizeof *r + 1);
    for (uint32_t i = 0; i < n; i++)
        r[i].s = bytes_of(v[i]);
    return r;
}

/* Ask how it stands, and say what it waits for.  The answer also proves that the whole library has arrived. */
static int say_waits(struct session *s, uint64_t app, int *code)
{
    char words[513];
    *code = session_send(s, MSG_LIST_APPS, &(struct msg_list_apps){ .app = app });
    const struct msg_apps *m = *code ? NULL : session_await(s, MSG_APPS, UPLOAD_MS, code);
    const struct rec_app_row *r = m && m->rows.n ? &m->rows.v[0] : NULL;
    if (r && r->words.n && bytes_eq(r->state, bytes_of("waiting")))
        fprintf(stderr, "app %" PRIu64 " waits: %s\n", app, bytes_text(r->words, words, sizeof words));
    return *code;
}

/* SUBMIT and the library: the application's number, or 0 with the exit code. */
static uint64_t hand_over(struct session *s, struct arena *a, const struct submit *o, const char *name,
                          const char *library, const struct option_list *args, int *code)
{
    const char *options[JOB_OPTIONS_MAX];
    struct job_options job = o->job;
    job.events = NULL; /* a descriptor of this process means nothing there */
    uint32_t noptions = (uint32_t)job_options_out(&job, options, 0);
    struct stat st;
    int fd = open(library, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st)) {
        *code = verb_error(EXIT_WRONG, "%s: %s", library, strerror(errno));
        return 0;
    }
    if (st.st_size > LIBRARY_BYTES_MAX) {
        *code = verb_error(EXIT_WRONG, "%s: has %lld bytes; a submitted library may have %u", library,
                           (long long)st.st_size, LIBRARY_BYTES_MAX);
        close(fd);
        return 0;
    }
    struct msg_submit m = {
        .name = bytes_of(name),
        .lib_bytes = (uint64_t)st.st_size,
        .args = { strings(a, args->v, args->n), args->n },
        .options = { strings(a, options, noptions), noptions },
    };
    const struct msg_submitted *r = session_call(s, MSG_SUBMIT, &m, MSG_SUBMITTED, code);
    uint64_t app = r ? r->app : 0;
    if (app)
        *code = send_library(s, app, fd, (uint64_t)st.st_size);
    close(fd);
    return *code || say_waits(s, app, code) ? 0 : app;
}

static int submit_to_cluster(struct session *s, struct arena *a, const struct submit *o, const char *job,
                             const char *library, const struct option_list *args)
{
    int code = 0;
    uint64_t app = hand_over(s, a, o, job_name(a, job), library, args, &code);
    if (code)
        return code;
    if (!o->wait) {
        printf("%" PRIu64 "\n", app);
        fprintf(stderr, "app %" PRIu64 " submitted; next: ferro wait %" PRIu64 ", ferro logs %" PRIu64 "\n",
                app, app, app);
        return EXIT_GOOD;
    }
    code = app_logs(s, app, true);
    return code ? code : app_outcome(s, app);
}

static int submit_from_here(struct session *s, struct arena *a, const struct submit *o, const char *job,
                            const char *library, const struct option_list *args)
{
    struct launch l;
    int code = launch_open(&l, s, job_name(a, job));
    if (code)
        return code;
    char **argv = launch_argv(a, &l, &o->job, library, args);
    session_close(s);
    execv(argv[0], argv);
    return verb_error(EXIT_WRONG, "%s: %s", argv[0], strerror(errno));
}

static int submit(struct arena *a, const struct submit *o, struct option_list *rest)
{
    struct error e;
    struct session s;
    bool cluster = strcmp(o->mode, "cluster") == 0;
    if (!cluster && strcmp(o->mode, "client"))
        return verb_error(EXIT_USAGE, "submit: --deploy-mode is client or cluster, not '%s'", o->mode);
    if (rest->n < 1)
        return verb_error(EXIT_USAGE, "submit: which job? see ferro submit --help");
    if (job_options_check(&o->job, &e))
        return verb_error(EXIT_USAGE, "submit: %s", e.words);
    const char *job = rest->v[0], *library = compile_cached(a, job, &e);
    if (!library || object_check(job, library, &e))
        return verb_error(EXIT_WRONG, "%s", e.words);
    int code = session_open(&s, &o->where);
    if (code)
        return code;
    struct option_list args = { rest->v + 1, rest->n - 1 };
    job_options_hint(&o->job, &args);
    code = cluster ? submit_to_cluster(&s, a, o, job, library, &args)
                   : submit_from_here(&s, a, o, job, library, &args);
    session_close(&s);
    return code;
}

int verb_submit(int argc, char **argv)
{
    struct arena a = { 0 };
    struct submit o = { 0 };
    struct option_list rest;
    int code = verb_options(&program, argc, argv, &o, &rest, &a);
    if (code < 0)
        code = submit(&a, &o, &rest);
    arena_fini(&a);
    return code;
}
