/* launch.c - see launch.h.  The driver gets the application's own keys by a pipe
 * and never sees the user's. */
#include "cli/launch.h"
#include "cli/compile.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <pwd.h>
#include <string.h>
#include <unistd.h>

/* Options with a value: ferro-driver's parser has the last word, these find what it could not mean. */
struct pair {
    const char *name, *text;
    int (*parse)(const char *text, uint64_t *out);
    uint64_t min;
};
#define PAIRS_MAX 12

static int pairs_of(const struct job_options *o, struct pair pairs[PAIRS_MAX])
{
    const struct pair all[] = {
        { "--slots", o->slots, options_u64, 1 },
        { "--mem", o->mem, options_bytes, 1 << 20 },
        { "--task-time", o->task_time, options_duration, 0 },
        { "--attempts", o->attempts, options_u64, 1 },
        { "--events", o->events, options_u64, 0 },
        { "--parallelism", o->parallelism, options_u64, 0 },
        { "--split-size", o->split_size, options_bytes, 4096 },
        { "--reduce-size", o->reduce_size, options_bytes, 1 },
        { "--results-max", o->results_max, options_bytes, 4096 },
        { "--idle", o->idle, options_duration, 0 },
        { "--copy", o->copy, options_duration, 0 },
        { "--executor-lost", o->executor_lost, options_duration, 50 },
    };
    int n = 0;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (all[i].text)
            pairs[n++] = all[i];
    return n;
}

int job_options_check(const struct job_options *o, struct error *e)
{
    struct pair pairs[PAIRS_MAX];
    uint64_t value;
    for (int i = 0, n = pairs_of(o, pairs); i < n; i++)
        if (pairs[i].parse(pairs[i].text, &value) || value < pairs[i].min)
            return error_set(e, EINVAL, "%s: '%s' is not %s%s", pairs[i].name, pairs[i].text,
                             pairs[i].parse == options_u64     ? "a number"
                             : pairs[i].parse == options_bytes ? "a size such as 64M or 2G"
                                                               : "a time such as 300ms or 20s",
                             pairs[i].parse(pairs[i].text, &value) ? "" : " that is large enough");
    return 0;
}

int job_options_out(const struct job_options *o, const char **v, int n)
{
    struct pair pairs[PAIRS_MAX];
    for (int i = 0, npairs = pairs_of(o, pairs); i < npairs; i++) {
        v[n++] = pairs[i].name;
        v[n++] = pairs[i].text;
    }
    if (o->overwrite)
        v[n++] = "--overwrite";
    if (o->quiet)
        v[n++] = "--quiet";
    if (o->verbose)
        v[n++] = "--verbose";
    return n;
}

const char *job_name(struct arena *a, const char *path)
{
    const char *slash = strrchr(path, '/');
    char *name = arena_strdup(a, slash ? slash + 1 : path);
    char *dot = strrchr(name, '.');
    if (dot && dot > name)
        *dot = 0;
    if (strlen(name) > 64)
        name[64] = 0;
    return name;
}

static int keys_pipe(const uint8_t manager[KEY_BYTES], const struct keypair *driver,
                     const struct keypair *fetch, int *fd)
{
    int ends[2];
    char text[5 * 41 + 1];
    const uint8_t *keys[5] = { manager, driver->public_key, driver->secret, fetch->public_key,
                               fetch->secret };
    for (int i = 0; i < 5; i++) {
        key_text(keys[i], text + 41 * i);
        text[41 * i + 40] = '\n';
    }
    if (pipe2(ends, O_CLOEXEC))
        return -1;
    ssize_t n = write(ends[1], text, sizeof text - 1); /* fits the pipe's buffer */
    key_wipe(text, sizeof text);
    close(ends[1]);
    fcntl(ends[0], F_SETFD, 0);
    *fd = ends[0];
    return n == (ssize_t)sizeof text - 1 ? 0 : -1;
}

int launch_open(struct launch *l, struct session *s, const char *name)
{
    int code;
    struct keypair driver, fetch;
    struct passwd *pw = getpwuid(getuid());
    struct msg_app_open open = { .name = bytes_of(name), .user = bytes_of(pw ? pw->pw_name : "") };
    keypair_make(&driver);
    keypair_make(&fetch);
    memcpy(open.driver_key, driver.public_key, KEY_BYTES);
    memcpy(open.fetch_key, fetch.public_key, KEY_BYTES);
    memcpy(open.fetch_secret, fetch.secret, KEY_BYTES);
    const struct msg_app_ok *ok = session_call(s, MSG_APP_OPEN, &open, MSG_APP_OK, &code);
    if (ok) {
        *l = (struct launch){ .manager = s->where.manager, .app = ok->app, .epoch = client_epoch(s->client) };
        code = keys_pipe(s->key.manager, &driver, &fetch, &l->keys_fd)
                   ? verb_error(EXIT_WRONG, "pipe: %s", strerror(errno))
                   : 0;
    }
    key_wipe(&open, sizeof open);
    key_wipe(&driver, sizeof driver);
    key_wipe(&fetch, sizeof fetch);
    return code;
}

char **launch_argv(struct arena *a, const struct launch *l, const struct job_options *o, const char *library,
                   const struct option_list *args)
{
    struct places at;
    struct error e;
    char path[PATH_MAX + 16], app[24], fd[16];
    const char **v = arena_alloc(a, (args->n + JOB_OPTIONS_MAX + 12u) * sizeof *v);
    int n = 0;
    snprintf(path, sizeof path, "%s/ferro-driver", places_find(&at, &e) ? "." : at.bin);
    snprintf(app, sizeof app, "%" PRIu64, l->app);
    snprintf(fd, sizeof fd, "%d", l->keys_fd);
    v[n++] = arena_strdup(a, path);
    v[n++] = "run";
    v[n++] = "--manager";
    v[n++] = l->manager;
    v[n++] = "--app";
    v[n++] = arena_strdup(a, app);
    v[n++] = "--keys-fd";
    v[n++] = arena_strdup(a, fd);
    n = job_options_out(o, v, n);
    v[n++] = "--";
    v[n++] = library;
    for (uint32_t i = 0; i < args->n; i++)
        v[n++] = args->v[i];
    return (char **)v;
}
