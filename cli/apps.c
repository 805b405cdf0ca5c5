/* apps.c - ferro wait, logs, kill and drain: one application, or one executor. */
#include "cli/apps.h"
#include "cli/query.h"

#include <inttypes.h>
#include <string.h>
#include <unistd.h>

struct one {
    struct where where;
    bool json, follow;
};

static const struct option_row rows[] = {
    WHERE_ROWS(one, where),
    { .name = "json", .type = OPT_FLAG, .offset = offsetof(struct one, json), .help = "print JSON" },
    { .name = NULL },
};
static const struct option_row logs_rows[] = {
    WHERE_ROWS(one, where),
    { .name = "follow",
      .letter = 'f',
      .type = OPT_FLAG,
      .offset = offsetof(struct one, follow),
      .help = "go on until the application ends" },
    { .name = NULL },
};

static bool is_state(const struct rec_app_row *r, const char *state)
{
    return bytes_eq(r->state, bytes_of(state));
}

static void app_said(const struct rec_app_row *r, bool json)
{
    char state[17], words[513];
    if (json) {
        json_out(app_json(r));
        return;
    }
    bytes_text(r->words, words, sizeof words);
    printf("app %" PRIu64 " %s%s%s\n", r->app, bytes_text(r->state, state, sizeof state), *words ? ": " : "",
           words);
}

/* The row of an application that has ended, or NULL with the exit code. */
static const struct rec_app_row *app_ended(struct session *s, uint64_t app, int *code)
{
    const struct msg_apps *m;
    s->patient = true;
    do {
        *code = session_send(s, MSG_WAIT, &(struct msg_wait){ .app = app });
        m = *code ? NULL : session_await(s, MSG_APPS, 0, code);
    } while (*code == SESSION_AGAIN);
    if (m && m->rows.n)
        return &m->rows.v[0];
    if (m)
        *code = verb_error(EXIT_WRONG, "no application %" PRIu64 "; ferro apps lists yours", app);
    return NULL;
}

static int exit_code_of(const struct rec_app_row *r)
{
    if (is_state(r, "ok"))
        return EXIT_GOOD;
    return r->exit_code ? (int)r->exit_code : EXIT_JOB_FAILED;
}

int app_outcome(struct session *s, uint64_t app)
{
    int code;
    const struct rec_app_row *r = app_ended(s, app, &code);
    return r ? exit_code_of(r) : code;
}

static int wait_app(struct session *s, uint64_t app, bool json)
{
    int code;
    const struct rec_app_row *r = app_ended(s, app, &code);
    if (!r)
        return code;
    app_said(r, json);
    return exit_code_of(r);
}

static int write_whole(int fd, struct bytes b)
{
    for (uint32_t at = 0; at < b.n;) {
        ssize_t n = write(fd, b.p + at, b.n - at);
        if (n <= 0)
            return verb_error(EXIT_WRONG, "logs: the output can't be written");
        at += (uint32_t)n;
    }
    return EXIT_GOOD;
}

/* What of this was not written yet.  written: the end of what was, of either stream. */
static int write_new(const struct msg_output *m, uint64_t written[2])
{
    uint64_t *end = &written[m->stream == 2];
    struct bytes b = m->bytes;
    if (m->offset + b.n <= *end)
        return EXIT_GOOD;
    if (m->offset < *end) {
        b.p += *end - m->offset;
        b.n -= (uint32_t)(*end - m->offset);
    }
    *end = m->offset + m->bytes.n;
    return write_whole(m->stream == 2 ? STDERR_FILENO : STDOUT_FILENO, b);
}

int app_logs(struct session *s, uint64_t app, bool follow)
{
    uint64_t written[2] = { 0 };
    struct msg_logs logs = { .app = app, .follow = follow };
    int code = session_send(s, MSG_LOGS, &logs);
    s->patient = follow;
    while (code == 0) {
        const struct msg_output *m = session_await(s, MSG_OUTPUT, 0, &code);
        if (code == SESSION_AGAIN)
            code = session_send(s, MSG_LOGS, &logs); /* from the start of what it has: see write_new() */
        if (!m)
            continue;
        code = write_new(m, written);
        if (m->last)
            break;
    }
    return code;
}

static int kill_app(struct session *s, uint64_t app, bool json)
{
    int code;
    const struct msg_apps *m = session_call(s, MSG_KILL, &(struct msg_kill){ .app = app }, MSG_APPS, &code);
    if (!m)
        return code;
    if (m->rows.n == 0)
        return verb_error(EXIT_WRONG, "no application %" PRIu64, app);
    app_said(&m->rows.v[0], json);
    return EXIT_GOOD;
}

/* One application named on the command line, and what to do with it. */
static int one_app(const struct options_program *p, int (*act)(struct session *, uint64_t, bool), int argc,
                   char **argv)
{
    struct arena a = { 0 };
    struct one o = { 0 };
    struct option_list rest;
    struct session s;
    uint64_t app;
    int code = verb_options(p, argc, argv, &o, &rest, &a);
    if (code >= 0)
        goto done;
    if (rest.n != 1 || options_u64(rest.v[0], &app) || app == 0)
        code = verb_error(EXIT_USAGE, "%s takes the number of one application (see ferro apps)",
                          p->name + strlen("ferro "));
    else if ((code = session_open(&s, &o.where)) == 0) {
        code = act(&s, app, o.json || o.follow);
        session_close(&s);
    }
done:
    arena_fini(&a);
    return code;
}

int verb_wait(int argc, char **argv)
{
    static const struct options_program p = {
        .name = "ferro wait",
        .usage = "[OPTION]... APP",
        .rows = rows,
        .about = "Waits until the application ends, says how, and exits with its code.",
    };
    return one_app(&p, wait_app, argc, argv);
}

int verb_logs(int argc, char **argv)
{
    static const struct options_program p = {
        .name = "ferro logs",
        .usage = "[OPTION]... APP",
        .rows = logs_rows,
        .about = "What an application run in cluster mode wrote: its stdout on stdout, its stderr on stderr; "
                 "the last MiB of each.",
    };
    return one_app(&p, app_logs, argc, argv);
}

int verb_kill(int argc, char **argv)
{
    static const struct options_program p = {
        .name = "ferro kill",
        .usage = "[OPTION]... APP",
        .rows = rows,
        .about = "Ends an application of yours (an admin's key: of anybody's).",
    };
    return one_app(&p, kill_app, argc, argv);
}

int verb_drain(int argc, char **argv)
{
    static const struct options_program p = {
        .name = "ferro drain",
        .usage = "[OPTION]... EXECUTOR",
        .rows = rows,
        .about = "Lets an executor (its id from `ferro executors`) finish its tasks and leave. Needs an "
                 "admin's key.",
    };
    struct arena a = { 0 };
    struct one o = { 0 };
    struct option_list rest;
    struct session s;
    int code = verb_options(&p, argc, argv, &o, &rest, &a);
    if (code < 0 && rest.n != 1)
        code = verb_error(EXIT_USAGE, "drain takes the id of one executor (see ferro executors)");
    if (code < 0 && (code = session_open(&s, &o.where)) == 0) {
        struct msg_drain m = { .executor = bytes_of(rest.v[0]) };
        const void *ok = m.executor.n > 16 ? NULL : session_call(&s, MSG_DRAIN, &m, MSG_BYE_OK, &code);
        if (ok)
            printf("executor %s drains\n", rest.v[0]);
        else if (m.executor.n > 16)
            code = verb_error(EXIT_WRONG, "no executor '%s'", rest.v[0]);
        session_close(&s);
    }
    arena_fini(&a);
    return code;
}
