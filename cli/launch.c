/* launch.c - see launch.h.  The driver gets the application's own keys by a pipe
 * and never sees the user's. */
#include "cli/launch.h"
#include "cli/compile.h"
#include "common/keys/keypipe.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

/* As they were typed: ferro-driver's parser has the last word, these find what it could not mean. */
static int number_check(const char *name, const char *text, int (*parse)(const char *, uint64_t *),
                        uint64_t min, uint64_t max, struct error *e)
{
    uint64_t value = 0;
    if (!text || (parse(text, &value) == 0 && value >= min && (max == 0 || value <= max)))
        return 0;
    const char *what = parse == options_u64     ? "a number"
                       : parse == options_bytes ? "a size such as 64M or 2G"
                                                : "a time such as 300ms or 20s";
    const char *unit = parse == options_bytes ? " bytes" : parse == options_duration ? " ms" : "";
    if (parse(text, &value))
        return error_set(e, EINVAL, "--%s: '%s' is not %s", name, text, what);
    return error_set(e, EINVAL, "--%s: '%s' is too %s: at %s %" PRIu64 "%s", name, text,
                     value < min ? "small" : "large", value < min ? "least" : "most", value < min ? min : max,
                     unit);
}

int job_options_check(const struct job_options *o, struct error *e)
{
    if (number_check("events", o->events, options_u64, 0, 65535, e))
        return -1;
#define PARSE_U64 options_u64
#define PARSE_BYTES options_bytes
#define PARSE_DURATION options_duration
#define JOB_NUMBER(field, name, letter, value, type, min, max, ...) \
    if (number_check(name, o->field, PARSE_##type, min, max, e)) \
        return -1;
#include "common/base/job_options.def"
    if (o->labels && strlen(o->labels) > JOB_LABELS_BYTES_MAX)
        return error_set(e, E2BIG, "--labels has %zu bytes, at most %u", strlen(o->labels),
                         JOB_LABELS_BYTES_MAX);
    return 0;
}

static int pair_out(const char **v, int n, const char *name, const char *text)
{
    if (!text)
        return n;
    v[n++] = name;
    v[n++] = text;
    return n;
}

int job_options_out(const struct job_options *o, const char **v, int n)
{
    n = pair_out(v, n, "--events", o->events);
#define JOB_NUMBER(field, name, ...) n = pair_out(v, n, "--" name, o->field);
#define JOB_TEXT(field, name, ...) n = pair_out(v, n, "--" name, o->field);
#define JOB_FLAG(field, name, ...) \
    if (o->field) \
        v[n++] = "--" name;
#include "common/base/job_options.def"
    return n;
}

void job_options_hint(const struct job_options *o, const struct option_list *args)
{
    static const char *const names[] = {
#define JOB_NUMBER(field, name, ...) "--" name,
#define JOB_TEXT(field, name, ...) "--" name,
#define JOB_FLAG(field, name, ...) "--" name,
#include "common/base/job_options.def"
    };
    for (uint32_t i = 0; i < args->n && !o->quiet; i++)
        for (size_t k = 0; k < sizeof names / sizeof *names; k++)
            if (!strcmp(args->v[i], names[k]))
                fprintf(stderr,
                        "ferro: %s goes to the job, as an argument; Ferro's own options stand before it\n",
                        names[k]);
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

int launch_open(struct launch *l, struct session *s, const char *name)
{
    int code;
    struct error e;
    struct app_keys keys;
    struct msg_app_open open = { .name = bytes_of(name) };
    memcpy(keys.manager, s->key.manager, KEY_BYTES);
    keypair_make(&keys.driver);
    keypair_make(&keys.fetch);
    memcpy(open.driver_key, keys.driver.public_key, KEY_BYTES);
    memcpy(open.fetch_key, keys.fetch.public_key, KEY_BYTES);
    memcpy(open.fetch_secret, keys.fetch.secret, KEY_BYTES);
    const struct msg_app_ok *ok = session_call(s, MSG_APP_OPEN, &open, MSG_APP_OK, &code);
    if (ok) {
        *l = (struct launch){ .manager = s->where.manager, .app = ok->app, .epoch = client_epoch(s->client) };
        l->keys_fd = keypipe_new(&keys, &e);
        if (l->keys_fd < 0)
            code = verb_error(EXIT_WRONG, "%s", e.words);
        else
            fcntl(l->keys_fd, F_SETFD, 0); /* for the driver */
    }
    key_wipe(&open, sizeof open);
    key_wipe(&keys, sizeof keys);
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
