/* serving.c - ferro-driver serve: its options. */
#include "common/base/service.h"
#include "driver/serve/desk.h"
#include "driver/verbs.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

struct serve {
    struct service service;
    const char *manager, *key, *dir, *host;
    uint64_t capacity, manager_lost_ms, end_ms, kill_ms;
};

#define ROW(option, value_name, kind, field, ...) \
    { \
        .name = option, .value = value_name, .type = kind, .offset = offsetof(struct serve, field), \
        __VA_ARGS__ \
    }

static const struct option_row rows[] = {
    ROW("manager", "HOST:PORT", OPT_HOSTPORT, manager, .letter = 'm', .fallback = "127.0.0.1:7400",
        .env = "FERRO_MANAGER", .help = "where the manager listens"),
    ROW("key", "FILE", OPT_PATH, key, .letter = 'k', .fallback = "keys/service.key", .env = "FERRO_KEY",
        .help = "the driver service's key, made by `ferro keys init`"),
    ROW("capacity", "N", OPT_U64, capacity, .letter = 'c', .min = 1, .max = 1024, .fallback = "4",
        .help = "applications at once"),
    ROW("dir", "DIR", OPT_PATH, dir,
        .help = "folder for the libraries of running applications (default: a temporary one)"),
    ROW("host", "NAME", OPT_STRING, host, .help = "what people call this machine (default: its host name)"),
    ROW("manager-lost", "TIME", OPT_DURATION, manager_lost_ms, .min = 50, .fallback = "20s",
        .help = "a silent manager is dialled again after this"),
    ROW("end-wait", "TIME", OPT_DURATION, end_ms, .fallback = "2s",
        .help = "an ended application's driver gets SIGTERM after this"),
    ROW("kill-wait", "TIME", OPT_DURATION, kill_ms, .fallback = "5s",
        .help = "and SIGKILL so long after that"),
    SERVICE_ROWS(serve, service),
    { .name = NULL },
};
static const struct options_program program = {
    .name = "ferro-driver serve",
    .usage = "[OPTION]...",
    .about = "Runs the applications that are submitted in cluster mode, each in a process of its own, whose "
             "output goes to the "
             "manager for `ferro logs`. Jobs' paths are this machine's, relative ones start where this runs. "
             "SIGTERM ends the "
             "applications and leaves.",
    .rows = rows,
};

static int serve(const struct serve *o)
{
    struct error e;
    struct key_file key;
    char host[256] = "", self[PATH_MAX] = "";
    struct desk_config c = { .dir = o->dir, .program = self, .events_fd = service_events_fd(&o->service) };
    gethostname(host, sizeof host - 1);
    if (readlink("/proc/self/exe", self, sizeof self - 1) < 0) {
        log_line(LOG_ERROR, "/proc/self/exe: %s", strerror(errno));
        return DRIVER_WRONG;
    }
    int r = key_load(o->key, &key, &e);
    if (r == 0 && key.role != ROLE_SERVICE)
        r = error_set(&e, EINVAL, "%s: not a driver service's key", o->key);
    if (r) {
        log_line(LOG_ERROR, "%s", e.words);
        key_wipe(&key, sizeof key);
        return DRIVER_WRONG;
    }
    c.core = (struct launcher_config){ .manager = o->manager,
                                       .host = o->host ? o->host : host,
                                       .capacity = (uint32_t)o->capacity,
                                       .manager_lost_ms = o->manager_lost_ms,
                                       .end_ms = o->end_ms,
                                       .kill_ms = o->kill_ms };
    memcpy(c.core.manager_key, key.manager, KEY_BYTES);
    struct desk *d = desk_new(&c, &key, &e);
    key_wipe(&key, sizeof key);
    if (!d) {
        log_line(LOG_ERROR, "%s", e.words);
        return DRIVER_WRONG;
    }
    int code = desk_run(d);
    desk_free(&d);
    return code;
}

int driver_serve(int argc, char **argv)
{
    struct arena a = { 0 };
    struct serve o = { .service.events = UINT64_MAX };
    process_harden();
    int code = driver_options(&program, argc, argv, &o, NULL, &a);
    if (code < 0)
        code = service_begin(&o.service, &program, "driver-service");
    if (code < 0)
        code = serve(&o);
    arena_fini(&a);
    return code;
}
