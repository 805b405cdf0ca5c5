/* desk.c - see desk.h. */
#include "driver/serve/desk.h"

#include "common/base/clock.h"
#include "common/base/map.h"
#include "common/net/net.h"
#include "driver/serve/child.h"
#include "driver/serve/shelf.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define READ_BYTES 65536

/* What happened while actions were performed: told to the core after them. */
struct later {
    enum { LATER_KEYS, LATER_FAILED } what;
    uint64_t app;
    char words[ERROR_WORDS_MAX];
};

struct desk {
    struct desk_config config;
    struct launcher *core;
    struct net *net;
    struct shelf *shelf;
    struct actions out;
    struct map children; /* app -> struct child, owned */
    struct buf later;    /* of struct later */
    int signals;
    bool over;
    int exit_code;
    uint8_t chunk[READ_BYTES];
};

/* ---- children ------------------------------------------------------------------- */

static void later(struct desk *d, int what, uint64_t app, const char *words)
{
    struct later l = { .what = what, .app = app };
    snprintf(l.words, sizeof l.words, "%s", words);
    buf_put(&d->later, &l, sizeof l);
}

static struct child *child_of(struct desk *d, uint64_t app)
{
    struct child *c = map_get(&d->children, app);
    if (c)
        return c;
    if (!(c = calloc(1, sizeof *c)))
        abort();
    c->app = app;
    c->fds[0] = c->fds[1] = -1;
    map_put(&d->children, app, c);
    return c;
}

static void make_keys(struct desk *d, uint64_t app)
{
    struct child *c = child_of(d, app);
    keypair_make(&c->keys.driver);
    keypair_make(&c->keys.fetch);
    memcpy(c->keys.manager, d->config.core.manager_key, KEY_BYTES);
    later(d, LATER_KEYS, app, "");
}

static void start(struct desk *d, const struct launcher_run *run)
{
    struct error e;
    char library[PATH_MAX];
    struct child *c = child_of(d, run->app);
    struct child_command command = {
        .program = d->config.program,
        .manager = d->config.core.manager,
        .library = shelf_library(d->shelf, run->app, library, sizeof library),
        .events_fd = d->config.events_fd,
        .options = run->options,
        .args = run->args,
    };
    if (child_start(c, &command, &e)) {
        child_close(c, 0);
        child_close(c, 1);
        later(d, LATER_FAILED, run->app, e.words);
        return;
    }
    net_watch(d->net, c->fds[0], POLLIN);
    net_watch(d->net, c->fds[1], POLLIN);
}

static void stream_close(struct desk *d, struct child *c, uint32_t stream)
{
    if (c->fds[stream] >= 0)
        net_watch(d->net, c->fds[stream], 0);
    child_close(c, stream);
}

static void child_forget(struct desk *d, struct child *c)
{
    if (!c)
        return;
    stream_close(d, c, 0);
    stream_close(d, c, 1);
    map_del(&d->children, c->app);
    key_wipe(&c->keys, sizeof c->keys);
    free(c);
}

static void read_on(struct desk *d, const struct launcher_read *r)
{
    struct child *c = map_get(&d->children, r->app);
    if (c && c->fds[r->stream] >= 0)
        net_watch(d->net, c->fds[r->stream], r->on ? POLLIN : 0);
}

static void signal_child(struct desk *d, uint64_t app, int sig)
{
    struct child *c = map_get(&d->children, app);
    if (c && c->pid)
        kill(c->pid, sig);
}

/* ---- actions ----------------------------------------------------------------------- */

static void note(struct desk *d, const struct action *a)
{
    const struct launcher_event *e = a->call.arg;
    struct child *c = map_get(&d->children, a->app);
    switch (a->call.what) {
    case LAUNCHER_MAKE_KEYS: make_keys(d, a->app); break;
    case LAUNCHER_RUN: start(d, a->call.arg); break;
    case LAUNCHER_TERM: signal_child(d, a->app, SIGTERM); break;
    case LAUNCHER_READ: read_on(d, a->call.arg); break;
    case LAUNCHER_CLOSE:
        if (c) {
            stream_close(d, c, 0);
            stream_close(d, c, 1);
        }
        break;
    case LAUNCHER_FORGET: child_forget(d, c); break;
    case LAUNCHER_EVENT:
        event_emit(e->name, "app", 'u', e->app, "code", 'i', (int64_t)e->code, "words", 's', e->words, NULL);
        if (e->app)
            log_line(LOG_INFO, "%s app=%llu code=%d %s", e->name, (unsigned long long)e->app, e->code,
                     e->words);
        break;
    default: break;
    }
}

static void perform(struct desk *d, const struct action *a)
{
    switch (a->kind) {
    case ACT_SEND: net_send(d->net, a->conn, a->frame.p, a->frame.n); break;
    case ACT_DIAL:
        net_dial(d->net, a->conn, PLANE_CONTROL, a->dial.address, a->dial.key, a->dial.own, a->dial.role);
        break;
    case ACT_CUT: net_cut(d->net, a->conn); break;
    case ACT_IO: shelf_put(d->shelf, a); break;
    case ACT_KILL: signal_child(d, a->id, SIGKILL); break;
    case ACT_LOG: log_line(a->log.level, "%s", a->log.words); break;
    case ACT_CALL: note(d, a); break;
    case ACT_EXIT:
        d->over = true;
        d->exit_code = a->exit_code;
        break;
    default: break; /* nothing else comes from this core */
    }
}

static void step_once(struct desk *d, const struct event *ev)
{
    actions_reset(&d->out);
    launcher_step(d->core, ev, clock_now_ns(), &d->out);
    for (uint32_t i = 0; i < d->out.n; i++)
        perform(d, &d->out.v[i]);
}

static void tell_later(struct desk *d, const struct later *l)
{
    if (l->what == LATER_FAILED) {
        step_once(d, &(struct event){ .kind = EV_CHILD_EXITED,
                                      .id = l->app,
                                      .exited = { .code = 127, .tail = l->words } });
        for (uint32_t i = 0; i < LAUNCHER_STREAMS; i++) {
            struct launcher_output closed = { .app = l->app, .stream = i };
            step_once(
                d, &(struct event){ .kind = EV_CALL, .call = { .what = LAUNCHER_OUTPUT, .arg = &closed } });
        }
        return;
    }
    const struct child *c = map_get(&d->children, l->app);
    if (!c)
        return;
    struct launcher_keys k = { .app = l->app };
    memcpy(k.driver_key, c->keys.driver.public_key, KEY_BYTES);
    memcpy(k.fetch_key, c->keys.fetch.public_key, KEY_BYTES);
    memcpy(k.fetch_secret, c->keys.fetch.secret, KEY_BYTES);
    step_once(d, &(struct event){ .kind = EV_CALL, .call = { .what = LAUNCHER_KEYS, .arg = &k } });
    key_wipe(&k, sizeof k);
}

static void step(struct desk *d, const struct event *ev)
{
    if (d->over)
        return;
    step_once(d, ev);
    for (size_t at = 0; at < d->later.n; at += sizeof(struct later)) {
        struct later l;
        memcpy(&l, d->later.p + at, sizeof l);
        tell_later(d, &l);
    }
    buf_reset(&d->later);
}

/* ---- events ---------------------------------------------------------------------------- */

static void reap(struct desk *d)
{
    MAP_EACH(&d->children, i) {
        struct child *c = map_at(&d->children, i);
        struct event ev = { .kind = EV_CHILD_EXITED, .id = c->app };
        if (child_reap(c, &ev.exited.code, &ev.exited.signal))
            step(d, &ev);
    }
}

static void signalled(struct desk *d)
{
    struct signalfd_siginfo info;
    while (read(d->signals, &info, sizeof info) == sizeof info) {
        if (info.ssi_signo == SIGCHLD)
            reap(d);
        else
            step(d, &(struct event){ .kind = EV_CALL, .call = { .what = LAUNCHER_STOP } });
    }
}

static void stream_read(struct desk *d, struct child *c, uint32_t stream)
{
    struct launcher_output o = { .app = c->app, .stream = stream };
    ssize_t n = read(c->fds[stream], d->chunk, sizeof d->chunk);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0)
        stream_close(d, c, stream);
    else
        o.bytes = (struct bytes){ d->chunk, (uint32_t)n };
    step(d, &(struct event){ .kind = EV_CALL, .call = { .what = LAUNCHER_OUTPUT, .arg = &o } });
}

static void on_fd(void *user, int fd, short revents)
{
    struct desk *d = user;
    struct shelf_done done;
    (void)revents;
    if (fd == d->signals) {
        signalled(d);
        return;
    }
    if (fd == shelf_fd(d->shelf)) {
        while (shelf_take(d->shelf, &done))
            step(d, &(struct event){ .kind = EV_IO_DONE, .id = done.id, .io.result = done.result });
        return;
    }
    MAP_EACH(&d->children, i) {
        struct child *c = map_at(&d->children, i);
        if (fd == c->fds[0] || fd == c->fds[1]) {
            stream_read(d, c, fd == c->fds[1]);
            return;
        }
    }
}

static void on_event(void *user, const struct event *ev)
{
    step(user, ev);
}

/* ---- life -------------------------------------------------------------------------------- */

static int take_signals(struct desk *d, struct error *e)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGCHLD);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    d->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return d->signals < 0 ? error_sys(e, "signalfd") : 0;
}

static int open_all(struct desk *d, struct key_file *key, struct error *e)
{
    struct net_config net = { .user = d, .on_event = on_event, .on_fd = on_fd };
    struct event ev = { .kind = EV_START };
    if (take_signals(d, e) || !(d->shelf = shelf_new(d->config.dir, e)) || !(d->net = net_new(&net, e)))
        return -1;
    net_own(d->net, 0, key->pair.public_key, key->pair.secret);
    key_wipe(key, sizeof *key);
    net_watch(d->net, d->signals, POLLIN);
    net_watch(d->net, shelf_fd(d->shelf), POLLIN);
    d->core = launcher_new(&d->config.core);
    randombytes_buf(&ev.start.seed, sizeof ev.start.seed); /* for the core's PRNG alone */
    step(d, &ev);
    return 0;
}

struct desk *desk_new(const struct desk_config *config, struct key_file *key, struct error *e)
{
    struct desk *d = calloc(1, sizeof *d);
    if (!d)
        abort();
    d->config = *config;
    d->signals = -1;
    if (open_all(d, key, e))
        desk_free(&d);
    return d;
}

int desk_run(struct desk *d)
{
    while (!d->over) {
        net_poll(d->net, launcher_deadline(d->core));
        if (launcher_deadline(d->core) <= clock_now_ns())
            step(d, &(struct event){ .kind = EV_TIME });
    }
    return d->exit_code;
}

void desk_free(struct desk **dp)
{
    struct desk *d = *dp;
    *dp = NULL;
    if (!d)
        return;
    MAP_EACH(&d->children, i) {
        struct child *c = map_at(&d->children, i);
        if (c->pid)
            kill(c->pid, SIGTERM); /* the core left without them: it can't go on, they can't be heard */
        child_forget(d, c);
    }
    map_fini(&d->children);
    net_free(&d->net);
    shelf_free(&d->shelf);
    launcher_free(&d->core);
    actions_fini(&d->out);
    buf_fini(&d->later);
    if (d->signals >= 0)
        close(d->signals);
    free(d);
}
