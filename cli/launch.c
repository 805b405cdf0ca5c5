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

int job_options_out(const struct job_options *o, const char **v, int n)
{
    const char *const pairs[][2] = {
        { "--slots", o->slots },       { "--mem", o->mem },       { "--task-time", o->task_time },
        { "--attempts", o->attempts }, { "--events", o->events },
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
        if (pairs[i][1]) {
            v[n++] = pairs[i][0];
            v[n++] = pairs[i][1];
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
