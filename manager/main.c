/* main.c - ferro-manager: its options, and the exit code. */
#include "common/base/log.h"
#include "common/base/service.h"
#include "common/keys/keys.h"
#include "manager/shell.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>

struct options {
    struct service service;
    const char *listen, *keys, *state;
    bool fast;
    uint64_t beat_ms, suspect_ms, lost_ms, driver_lost_ms, claim_ms, holding_ms, bar_ms, executors_max,
        apps_max;
};

#define DURATION(option, field, least, most, text, words) \
    { \
        .name = option, .value = "TIME", .type = OPT_DURATION, .offset = offsetof(struct options, field), \
        .min = least, .max = most, .fallback = text, .help = words \
    }

static const struct option_row rows[] = {
    { .name = "listen",
      .letter = 'l',
      .value = "HOST:PORT",
      .type = OPT_HOSTPORT,
      .offset = offsetof(struct options, listen),
      .fallback = "127.0.0.1:7400",
      .env = "FERRO_LISTEN",
      .help = "where to listen (port 0: any)" },
    { .name = "keys",
      .letter = 'k',
      .value = "DIR",
      .type = OPT_PATH,
      .offset = offsetof(struct options, keys),
      .fallback = "keys",
      .env = "FERRO_KEYS",
      .help = "folder made by `ferro keys init`: manager.key and authorized/ (read again on SIGHUP)" },
    { .name = "state",
      .letter = 's',
      .value = "DIR",
      .type = OPT_PATH,
      .offset = offsetof(struct options, state),
      .fallback = "state",
      .env = "FERRO_STATE",
      .help = "folder for what must not be forgotten" },
    { .name = "volatile",
      .type = OPT_FLAG,
      .offset = offsetof(struct options, fast),
      .help = "don't wait for the disk: for clusters that need not survive a power failure" },
    DURATION("beat", beat_ms, 10, 60000, "1s", "time between two beats (longer in a large cluster)"),
    DURATION("suspect", suspect_ms, 30, 600000, "5s", "a silent executor gets no new work after this"),
    DURATION("lost", lost_ms, 50, 3600000, "20s", "and is lost after this"),
    DURATION("driver-lost", driver_lost_ms, 50, 3600000, "30s",
             "an application whose driver is away ends after this"),
    DURATION("claim", claim_ms, 50, 3600000, "20s",
             "after a restart: a driver's lease that its executor doesn't confirm"),
    DURATION("holding", holding_ms, 50, 3600000, "30s",
             "after a restart: an executor's lease whose driver stays away"),
    DURATION("bar", bar_ms, 0, 3600000, "30s",
             "an application that can't use an executor isn't given it for this long"),
    { .name = "executors-max",
      .value = "N",
      .type = OPT_U64,
      .offset = offsetof(struct options, executors_max),
      .min = 1,
      .max = 4096,
      .fallback = "4096",
      .help = "executors at once" },
    { .name = "apps-max",
      .value = "N",
      .type = OPT_U64,
      .offset = offsetof(struct options, apps_max),
      .min = 1,
      .max = 10000,
      .fallback = "10000",
      .help = "applications waiting or running at once" },
    SERVICE_ROWS(options, service),
    { .name = NULL },
};
static const struct options_program program = {
    .name = "ferro-manager",
    .usage = "[OPTION]...",
    .about = "Keeps a cluster: who is there, who has which slots, which applications run. SIGTERM stops it "
             "(applications go on), "
             "SIGHUP reads the keys again, SIGUSR1 writes its counters to the event stream.",
    .rows = rows,
};

static struct manager_config core_config(const struct options *o)
{
    return (struct manager_config){
        .beat_ms = (uint32_t)o->beat_ms,
        .suspect_ms = (uint32_t)o->suspect_ms,
        .lost_ms = (uint32_t)o->lost_ms,
        .driver_lost_ms = (uint32_t)o->driver_lost_ms,
        .claim_ms = (uint32_t)o->claim_ms,
        .holding_ms = (uint32_t)o->holding_ms,
        .bar_ms = (uint32_t)o->bar_ms,
        .executors_max = (uint32_t)o->executors_max,
        .apps_max = (uint32_t)o->apps_max,
    };
}

/* Before anything is made or opened: a manager without keys is of no use to anybody. */
static int check_keys(const char *dir, struct error *e)
{
    char path[PATH_MAX];
    struct key_file k;
    snprintf(path, sizeof path, "%s/manager.key", dir);
    int r = key_load(path, &k, e);
    if (r && e->code == ENOENT)
        error_set(e, ENOENT, "%s: there is no such file; make keys with `ferro keys init %s`", path, dir);
    key_wipe(&k, sizeof k);
    return r;
}

static int run(const struct options *o)
{
    struct error e;
    if (check_keys(o->keys, &e)) {
        log_line(LOG_ERROR, "%s", e.words);
        return 1;
    }
    struct shell_config config = {
        .listen = o->listen, .keys = o->keys, .state = o->state, .fast = o->fast, .core = core_config(o)
    };
    struct shell *s = shell_new(&config, &e);
    int code = s ? shell_run(s, &e) : 1;
    if (code)
        log_line(LOG_ERROR, "%s", e.words);
    shell_free(&s);
    return code;
}

static int check(const struct options *o)
{
    if (o->suspect_ms >= 2 * o->beat_ms && o->lost_ms >= o->suspect_ms)
        return -1;
    fprintf(stderr, "ferro-manager: --suspect must be at least two beats, --lost no less than --suspect\n");
    return 2;
}

int main(int argc, char **argv)
{
    struct arena a = { 0 };
    struct options o = { .service.events = UINT64_MAX };
    int code = options_take(&program, program.name, argc, argv, &o, NULL, &a);
    if (code < 0)
        code = check(&o);
    if (code < 0)
        code = service_begin(&o.service, &program, "manager");
    if (code < 0) {
        process_harden();
        code = run(&o);
    }
    arena_fini(&a);
    return code;
}
