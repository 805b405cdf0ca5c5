/* shell.c - see shell.h. */
#include "executor/shell.h"

#include "common/base/clock.h"
#include "common/base/map.h"
#include "common/base/version.h"
#include "common/keys/keys.h"
#include "common/net/net.h"
#include "common/proto/proto.h"
#include "executor/blocks/io.h"
#include "executor/handover.h"
#include "executor/procs.h"

#include <errno.h>
#include <limits.h>
#include <linux/landlock.h>
#include <poll.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MEASURE_NS 50000000ull /* between two looks at hosts' memory */

struct executor_shell {
    const struct executor_options *options; /* borrowed */
    struct executor *core;
    struct net *net;
    struct files files;
    struct io *io;
    struct procs *procs;
    struct handover handover;
    struct actions out;
    struct buf probe;    /* net_config.probe */
    struct map adopting; /* IO id -> host whose scratch it needs */
    struct keypair own;
    char control[256], data[256]; /* announced */
    uint64_t epoch, generation;   /* as the I/O threads know them */
    uint64_t measure_ns;
    int signals;
    bool draining, leaving;
    int exit_code;
};

/* ---- actions ------------------------------------------------------------------- */

static void io_begin(struct executor_shell *s, const struct action *a)
{
    uint64_t epoch, generation;
    executor_stamp(s->core, &epoch, &generation);
    if (epoch != s->epoch || generation != s->generation)
        io_stamp(s->io, s->epoch = epoch, s->generation = generation);
    if (a->io.op == IO_ADOPT) {
        map_put_u64(&s->adopting, a->id, a->io.host);
        procs_hold(s->procs, a->io.host);
    }
    io_put(s->io, a);
}

static void on_call(struct executor_shell *s, int what, const void *arg)
{
    const struct executor_key *key = arg;
    if (what == EXECUTOR_KEY)
        net_own(s->net, key->own, key->public_key, key->secret);
    else if (what == EXECUTOR_KEY_GONE)
        net_disown(s->net, *(const uint32_t *)arg);
}

static void perform(struct executor_shell *s, const struct action *a)
{
    switch (a->kind) {
    case ACT_SEND: net_send(s->net, a->conn, a->frame.p, a->frame.n); break;
    case ACT_DIAL:
        net_dial(s->net, a->conn, a->dial.data ? PLANE_DATA : PLANE_CONTROL, a->dial.address, a->dial.key,
                 a->dial.own, a->dial.role);
        break;
    case ACT_CUT: net_cut(s->net, a->conn); break;
    case ACT_ADMIT: net_admit(s->net, a->admit.key, a->admit.role); break;
    case ACT_REVOKE: net_revoke(s->net, a->admit.key); break;
    case ACT_PROBE: net_probe(s->net, a->id, a->dial.address); break;
    case ACT_IO: io_begin(s, a); break;
    case ACT_SPAWN: procs_spawn(s->procs, a->id); break;
    case ACT_HOST_SEND: handover_send(&s->handover, a); break;
    case ACT_KILL: procs_kill(s->procs, a->id); break;
    case ACT_LOG: log_line(a->log.level, "%s", a->log.words); break;
    case ACT_EVENT:
        event_emit(a->log.words, "app", 'u', a->app, "id", 'u', a->id, "stage", 'u', (uint64_t)a->stage,
                   "part", 'u', (uint64_t)a->part, "attempt", 'u', (uint64_t)a->attempt, NULL);
        break;
    case ACT_CALL: on_call(s, a->call.what, a->call.arg); break;
    case ACT_EXIT:
        s->leaving = true;
        s->exit_code = a->exit_code;
        break;
    case ACT_PERSIST: break; /* this core has nothing to remember */
    }
}

static void step(struct executor_shell *s, const struct event *ev)
{
    if (s->leaving)
        return;
    actions_reset(&s->out);
    executor_step(s->core, ev, clock_now_ns(), &s->out);
    for (uint32_t i = 0; i < s->out.n; i++)
        perform(s, &s->out.v[i]);
}

static void on_event(void *user, const struct event *ev)
{
    step(user, ev);
}

/* ---- what is ready ---------------------------------------------------------------- */

/* A chunk on its way through ZeroMQ. */
struct leaving {
    struct io *io;
    uint64_t id;
    int64_t result;
};

/* Sent, or dropped with its connection: in a thread of ZeroMQ's, or in ours. */
static void chunk_left(void *frame, void *hint)
{
    struct leaving *l = hint;
    io_served(l->io, l->id, l->result);
    free(frame);
    free(l);
}

/* Its IO_SERVE is done when the network has taken it: so a peer's chunks under way are bounded. */
static void chunk_send(struct executor_shell *s, const struct io_done *d)
{
    struct leaving *l = malloc(sizeof *l);
    if (!l)
        abort();
    *l = (struct leaving){ s->io, d->id, d->result };
    net_send_zc(s->net, d->conn, d->frame.p, d->frame.n, chunk_left, l);
}

static void io_ended(struct executor_shell *s)
{
    struct io_done d;
    uint64_t host;
    while (io_take(s->io, &d)) {
        if (d.frame.n) {
            chunk_send(s, &d);
            continue;
        }
        if (d.saved) {
            handover_saved(&s->handover, d.id, (int)d.result);
            continue;
        }
        step(s, &(struct event){ .kind = EV_IO_DONE, .id = d.id, .io = { d.result } });
        if (map_get_u64(&s->adopting, d.id, &host)) {
            map_del(&s->adopting, d.id);
            procs_release(s->procs, host);
        }
    }
}

static void counters(struct executor_shell *s)
{
    struct net_stats n;
    struct executor_counters c;
    net_stats(s->net, &n);
    executor_counters(s->core, &c);
    event_emit("counters", "accepted", 'u', n.handshakes_admitted, "refused_by_auth", 'u',
               n.handshakes_refused, "frames", 'u', n.frames, "frames_dropped", 'u', n.frames_dropped,
               "decoded", 'u', c.frames - c.refused, "refused", 'u', c.refused, "apps", 'u', (uint64_t)c.apps,
               "leases", 'u', (uint64_t)c.leases, "hosts", 'u', (uint64_t)c.hosts, "blocks", 'u',
               (uint64_t)c.blocks, "epoch", 'u', c.epoch, NULL);
}

/* The first SIGTERM or SIGINT drains, a second one doesn't wait for that. */
static void signalled(struct executor_shell *s)
{
    struct signalfd_siginfo info;
    while (read(s->signals, &info, sizeof info) == sizeof info) {
        if (info.ssi_signo == SIGUSR1)
            counters(s);
        else if (s->draining)
            s->leaving = true;
        else {
            s->draining = true;
            step(s, &(struct event){ .kind = EV_CALL, .call = { .what = EXECUTOR_DRAIN } });
        }
    }
}

static void on_fd(void *user, int fd, short revents)
{
    struct executor_shell *s = user;
    (void)revents;
    if (fd == s->signals)
        signalled(s);
    else if (fd == io_fd(s->io))
        io_ended(s);
    else
        procs_turn(s->procs);
}

static uint64_t deadline(struct executor_shell *s)
{
    uint64_t next = executor_deadline(s->core);
    if (procs_measured(s->procs) && s->measure_ns < next)
        next = s->measure_ns;
    return next;
}

static void timers(struct executor_shell *s)
{
    uint64_t now = clock_now_ns();
    if (procs_measured(s->procs) && now >= s->measure_ns) {
        s->measure_ns = now + MEASURE_NS;
        procs_measure(s->procs);
    }
    if (executor_deadline(s->core) <= now)
        step(s, &(struct event){ .kind = EV_TIME });
}

int executor_shell_run(struct executor_shell *s)
{
    while (!s->leaving) {
        net_poll(s->net, deadline(s));
        timers(s);
    }
    counters(s);
    return s->exit_code;
}

/* ---- opening ------------------------------------------------------------------------ */

static int signals_take(struct executor_shell *s, struct error *e)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    s->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return s->signals < 0 ? error_sys(e, "signalfd") : 0;
}

static int keys_take(struct executor_shell *s, struct executor_config *core, struct error *e)
{
    struct key_file join;
    if (key_load(s->options->key, &join, e))
        return -1;
    int r = join.role == ROLE_JOIN ? 0 : error_set(e, EINVAL, "%s: not a join key", s->options->key);
    keypair_make(&s->own);
    net_own(s->net, 0, s->own.public_key, s->own.secret);
    net_own(s->net, 1, join.pair.public_key, join.pair.secret);
    memcpy(core->manager_key, join.manager, KEY_BYTES);
    memcpy(core->public_key, s->own.public_key, KEY_BYTES);
    key_wipe(&join, sizeof join);
    key_wipe(s->own.secret, sizeof s->own.secret);
    return r;
}

/* "host:port" with the port of `bound` where it says 0. */
static void announce(char *out, size_t size, const char *advertise, const char *bound)
{
    const char *port = advertise ? strrchr(advertise, ':') : NULL;
    if (port && !strcmp(port, ":0"))
        snprintf(out, size, "%.*s%s", (int)(port - advertise), advertise, strrchr(bound, ':'));
    else
        snprintf(out, size, "%s", advertise ? advertise : bound);
}

/* Bound to all addresses: announced as the one by which the manager is reached. */
static void announce_any(char *address, size_t size, const char *local)
{
    char port[16];
    if (strncmp(address, "0.0.0.0:", 8) && strncmp(address, "[::]:", 5))
        return;
    snprintf(port, sizeof port, "%.15s", strrchr(address, ':'));
    snprintf(address, size, strchr(local, ':') ? "[%s]%s" : "%s%s", local, port);
}

static int plane_open(struct executor_shell *s, enum plane plane, const char *listen, const char *advertise,
                      char *out, size_t size, struct error *e)
{
    char local[128], any[160], bound[256];
    if (net_local_address(s->options->core.manager, local, sizeof local, e))
        return -1;
    snprintf(any, sizeof any, strchr(local, ':') ? "[%s]:0" : "%s:0", local);
    if (net_bind(s->net, plane, listen ? listen : any, 0, bound, sizeof bound, e))
        return -1;
    announce(out, size, advertise, bound);
    announce_any(out, size, local);
    return 0;
}

static int sockets_open(struct executor_shell *s, struct error *e)
{
    struct net_config config = { .user = s, .on_event = on_event, .on_fd = on_fd };
    proto_encode(&s->probe, &(struct head){ .tag = MSG_BEAT }, &(struct msg_beat){ 0 });
    config.probe = (struct bytes){ s->probe.p, (uint32_t)s->probe.n };
    s->net = net_new(&config, e);
    return s->net ? 0 : -1;
}

static void on_scratch(void *user, uint64_t host)
{
    struct executor_shell *s = user;
    io_host_close(s->io, host);
}

static int files_and_hosts(struct executor_shell *s, const uint8_t incarnation[ID_BYTES], struct error *e)
{
    struct procs_config config = { .program = s->options->host_program,
                                   .clean = s->options->core.confine,
                                   .files = &s->files,
                                   .user = s,
                                   .on_event = on_event,
                                   .on_scratch = on_scratch };
    if (access(config.program, X_OK))
        return error_sys(e, "%s", config.program);
    if (files_open(&s->files, s->options->dir, s->options->disk, incarnation, e) ||
        !(s->io = io_new(&s->files, s->options->writes, e)) || !(s->procs = procs_new(&config, e)))
        return -1;
    s->handover =
        (struct handover){ .procs = s->procs, .io = s->io, .files = &s->files, .reads = s->options->reads };
    return handover_init(&s->handover, e);
}

static void confinement_say(const struct executor_shell *s)
{
    if (!s->options->core.confine)
        log_line(LOG_INFO, "task hosts are not confined: user code may do what this user may");
    else if (syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION) < 1)
        log_line(LOG_WARN, "this kernel has no Landlock: task hosts can read and write what this user can, "
                           "seccomp confines the rest");
}

static void core_start(struct executor_shell *s, struct executor_config *core)
{
    char root[PATH_MAX];
    struct event ev = { .kind = EV_START };
    snprintf(root, sizeof root, "%s", s->files.fast.path);
    *strrchr(root, '/') = 0;
    core->root = root;
    core->control = s->control;
    core->data = s->data;
    randombytes_buf(&ev.start.seed,
                    sizeof ev.start.seed); /* for the core's PRNG alone: nothing secret comes from it */
    s->core = executor_new(core);
    step(s, &ev);
}

static int open_all(struct executor_shell *s, struct error *e)
{
    const struct executor_options *o = s->options;
    struct executor_config core = o->core;
    randombytes_buf(core.incarnation, ID_BYTES);
    if (signals_take(s, e) || sockets_open(s, e) || keys_take(s, &core, e) ||
        plane_open(s, PLANE_CONTROL, o->listen, o->advertise, s->control, sizeof s->control, e) ||
        plane_open(s, PLANE_DATA, o->listen_data, o->advertise_data, s->data, sizeof s->data, e) ||
        files_and_hosts(s, core.incarnation, e))
        return -1;
    log_line(LOG_INFO, "ferro-executor " FERRO_VERSION " listens on %s, data on %s slots=%u memory=%llu",
             s->control, s->data, core.slots, (unsigned long long)core.memory);
    event_emit("listening", "address", 's', s->control, "data", 's', s->data, NULL);
    confinement_say(s);
    net_watch(s->net, s->signals, POLLIN);
    net_watch(s->net, io_fd(s->io), POLLIN);
    net_watch(s->net, procs_fd(s->procs), POLLIN);
    core_start(s, &core);
    return 0;
}

struct executor_shell *executor_shell_new(const struct executor_options *options, struct error *e)
{
    struct executor_shell *s = calloc(1, sizeof *s);
    if (!s)
        abort();
    s->options = options;
    s->signals = -1;
    s->handover.none = -1;
    if (open_all(s, e))
        executor_shell_free(&s);
    return s;
}

void executor_shell_free(struct executor_shell **sp)
{
    struct executor_shell *s = *sp;
    *sp = NULL;
    if (!s)
        return;
    procs_free(&s->procs);
    net_free(&s->net);
    io_free(&s->io);
    files_close(&s->files);
    executor_free(&s->core);
    handover_fini(&s->handover);
    actions_fini(&s->out);
    map_fini(&s->adopting);
    buf_fini(&s->probe);
    if (s->signals >= 0)
        close(s->signals);
    free(s);
}
