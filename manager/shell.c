/* shell.c - see shell.h. */
#include "manager/shell.h"

#include "common/base/clock.h"
#include "common/base/version.h"
#include "common/keys/keys.h"
#include "common/net/net.h"
#include "common/proto/proto.h"
#include "manager/store/store.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define KEYS_MAX 32768 /* authorized keys; NET_ADMITTED_MAX leaves room for incarnations and applications */

struct shell {
    struct shell_config config;
    struct manager *core;
    struct net *net;
    struct store *store;
    struct actions out;
    struct buf keys;  /* of struct manager_key */
    struct buf probe; /* net_config.probe */
    int signals;
    bool leaving;
    int exit_code;
    struct error *failure; /* of shell_run()'s caller */
};

/* ---- actions ---------------------------------------------------------------- */

static void emit(const struct manager_event *e)
{
    const char *words = e->words ? e->words : "";
    if (!strncmp(e->name, "executor.", 9))
        event_emit(e->name, "id", 's', e->executor, "host", 's', e->host, "slots", 'u', (uint64_t)e->slots,
                   "words", 's', words, NULL);
    else if (!strncmp(e->name, "lease.", 6))
        event_emit(e->name, "lease", 'u', e->lease, "app", 'u', e->app, "executor", 's', e->executor, "slots",
                   'u', (uint64_t)e->slots, NULL);
    else if (!strncmp(e->name, "app.", 4))
        event_emit(e->name, "app", 'u', e->app, "state", 's', e->state, "words", 's', words, NULL);
    else if (!strncmp(e->name, "service.", 8))
        event_emit(e->name, "host", 's', e->host, "slots", 'u', (uint64_t)e->slots, NULL);
    else
        event_emit(e->name, "code", 'u', e->code, "words", 's', words, NULL);
}

static void perform(struct shell *s, const struct action *a)
{
    switch (a->kind) {
    case ACT_SEND: net_send(s->net, a->conn, a->frame.p, a->frame.n); break;
    case ACT_CUT: net_cut(s->net, a->conn); break;
    case ACT_ADMIT: net_admit(s->net, a->admit.key, a->admit.role); break;
    case ACT_REVOKE: net_revoke(s->net, a->admit.key); break;
    case ACT_PERSIST: store_put(s->store, a->id, a->persist.record); break;
    case ACT_PROBE: net_probe(s->net, a->id, a->dial.address); break;
    case ACT_LOG: log_line(a->log.level, "%s", a->log.words); break;
    case ACT_CALL:
        if (a->call.what == MANAGER_EVENT)
            emit(a->call.arg);
        break;
    case ACT_EXIT:
        s->leaving = true;
        s->exit_code = a->exit_code;
        break;
    default: break; /* nothing else comes from this core */
    }
}

static void step(struct shell *s, const struct event *ev)
{
    actions_reset(&s->out);
    manager_step(s->core, ev, clock_now_ns(), &s->out);
    for (uint32_t i = 0; i < s->out.n; i++)
        perform(s, &s->out.v[i]);
}

static void on_event(void *user, const struct event *ev)
{
    step(user, ev);
}

/* ---- keys --------------------------------------------------------------------- */

static void key_add(void *user, const struct key_file *file)
{
    struct shell *s = user;
    struct manager_key k = { .role = file->role };
    memcpy(k.key, file->pair.public_key, KEY_BYTES);
    snprintf(k.name, sizeof k.name, "%s", file->name);
    if (s->keys.n < KEYS_MAX * sizeof k)
        buf_put(&s->keys, &k, sizeof k);
}

/* Read authorized/ and tell the core.  -1 and `e`: it keeps what it has. */
static int keys_read(struct shell *s, struct error *e)
{
    buf_reset(&s->keys);
    if (keys_authorized(s->config.keys, key_add, s, e))
        return -1;
    if (s->keys.n == KEYS_MAX * sizeof(struct manager_key))
        log_line(LOG_WARN, "%s/authorized: only the first %d keys are admitted", s->config.keys, KEYS_MAX);
    struct manager_keys keys = { (const struct manager_key *)s->keys.p,
                                 (uint32_t)(s->keys.n / sizeof(struct manager_key)) };
    step(s, &(struct event){ .kind = EV_CALL, .call = { .what = MANAGER_KEYS, .arg = &keys } });
    return 0;
}

static int own_key(struct shell *s, struct error *e)
{
    char path[PATH_MAX];
    struct key_file own;
    snprintf(path, sizeof path, "%s/manager.key", s->config.keys);
    if (key_load(path, &own, e))
        return -1;
    int r = own.role == ROLE_MANAGER ? 0 : error_set(e, EINVAL, "%s: not a manager's key", path);
    net_own(s->net, 0, own.pair.public_key, own.pair.secret);
    key_wipe(&own, sizeof own);
    return r;
}

/* ---- signals and the store ------------------------------------------------------ */

static void counters(struct shell *s)
{
    struct net_stats n;
    struct manager_counters c;
    net_stats(s->net, &n);
    manager_counters(s->core, &c);
    event_emit("counters", "accepted", 'u', n.handshakes_admitted, "refused_by_auth", 'u',
               n.handshakes_refused, "frames", 'u', n.frames, "frames_dropped", 'u', n.frames_dropped,
               "decoded", 'u', c.frames - c.refused, "refused", 'u', c.refused, "peers", 'u',
               (uint64_t)c.peers, "executors", 'u', (uint64_t)c.executors, "leases", 'u', (uint64_t)c.leases,
               "apps", 'u', (uint64_t)c.apps, "epoch", 'u', c.epoch, NULL);
}

static void signalled(struct shell *s)
{
    struct signalfd_siginfo info;
    struct error e;
    while (read(s->signals, &info, sizeof info) == sizeof info) {
        if (info.ssi_signo == SIGUSR1)
            counters(s);
        else if (info.ssi_signo == SIGHUP) {
            if (keys_read(s, &e))
                log_line(LOG_ERROR, "%s; the keys stay as they were", e.words);
        } else
            step(s, &(struct event){ .kind = EV_CALL, .call = { .what = MANAGER_STOP } });
    }
}

static void persisted(struct shell *s)
{
    uint64_t id;
    int r;
    while ((r = store_take(s->store, &id, s->failure)) > 0)
        step(s, &(struct event){ .kind = EV_PERSISTED, .id = id });
    if (r < 0) { /* what can't be remembered must not be promised */
        s->leaving = true;
        s->exit_code = 1;
    }
}

static void on_fd(void *user, int fd, short revents)
{
    struct shell *s = user;
    (void)revents;
    if (fd == s->signals)
        signalled(s);
    else
        persisted(s);
}

static int signals_take(struct shell *s, struct error *e)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    s->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return s->signals < 0 ? error_sys(e, "signalfd") : 0;
}

/* ---- life ------------------------------------------------------------------------ */

/* An executor is a connection, for a moment two.  Half of our descriptors are for them; drivers, people and files
 * have the rest, so that none of these is met by a refusal that nobody can explain. */
static void bound_executors(struct shell *s)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) || s->config.core.executors_max <= files.rlim_cur / 2)
        return;
    log_line(LOG_WARN, "this process may have %llu open files: at most %llu executors are admitted, not %u",
             (unsigned long long)files.rlim_cur, (unsigned long long)files.rlim_cur / 2,
             s->config.core.executors_max);
    s->config.core.executors_max = (uint32_t)(files.rlim_cur / 2);
}

/* The seed is for the core's PRNG alone: nothing secret comes from it. */
static int core_start(struct shell *s, struct error *e)
{
    struct store_state state = *store_state(s->store);
    struct event ev = { .kind = EV_START, .start = { .state = &state } };
    state.unix_ms = clock_unix_ms();
    bound_executors(s);
    randombytes_buf(&ev.start.seed, sizeof ev.start.seed);
    s->core = manager_new(&s->config.core);
    step(s, &ev);
    return keys_read(s, e);
}

/* Two starts on one state folder must not both say something: the store is opened before the port. */
static int open_all(struct shell *s, struct error *e)
{
    struct net_config config = { .user = s, .on_event = on_event, .on_fd = on_fd };
    char bound[256];
    if (signals_take(s, e) || !(s->store = store_open(s->config.state, s->config.fast, e)))
        return -1;
    uint64_t epoch = store_state(s->store)->epoch;
    proto_encode(&s->probe, &(struct head){ .tag = MSG_BEAT, .epoch = epoch }, &(struct msg_beat){ 0 });
    config.probe = (struct bytes){ s->probe.p, (uint32_t)s->probe.n };
    if (!(s->net = net_new(&config, e)) || own_key(s, e) || core_start(s, e) ||
        net_bind(s->net, PLANE_CONTROL, s->config.listen, 0, bound, sizeof bound, e))
        return -1;
    net_watch(s->net, s->signals, POLLIN);
    net_watch(s->net, store_fd(s->store), POLLIN);
    log_line(LOG_INFO, "ferro-manager " FERRO_VERSION " listens on %s epoch=%llu", bound,
             (unsigned long long)epoch);
    event_emit("listening", "address", 's', bound, "epoch", 'u', epoch, NULL);
    return 0;
}

struct shell *shell_new(const struct shell_config *config, struct error *e)
{
    struct shell *s = calloc(1, sizeof *s);
    if (!s)
        abort();
    s->config = *config;
    s->signals = -1;
    s->failure = e;
    if (open_all(s, e))
        shell_free(&s);
    return s;
}

int shell_run(struct shell *s, struct error *e)
{
    s->failure = e;
    while (!s->leaving) {
        net_poll(s->net, manager_deadline(s->core));
        if (manager_deadline(s->core) <= clock_now_ns())
            step(s, &(struct event){ .kind = EV_TIME });
    }
    counters(s);
    return s->exit_code;
}

void shell_free(struct shell **sp)
{
    struct shell *s = *sp;
    *sp = NULL;
    if (!s)
        return;
    store_close(&s->store); /* first: what was promised is written before the port closes */
    net_free(&s->net);
    manager_free(&s->core);
    actions_fini(&s->out);
    buf_fini(&s->keys);
    buf_fini(&s->probe);
    if (s->signals >= 0)
        close(s->signals);
    free(s);
}
