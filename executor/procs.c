/* procs.c - see procs.h.
 *
 * Three descriptors a host, all in one epoll: its socket, the pipe of its stdout
 * and stderr, and its pidfd.  Nothing but an exit forgets a host, and what it
 * had sent before is handed over first.
 */
#include "executor/procs.h"

#include "common/base/log.h"
#include "common/base/map.h"
#include "common/proto/proto.h"
#include "executor/host/board.h"
#include "executor/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#define TURN_EVENTS 64
#define RESTED UINT64_MAX /* what epoll says when the timer has run out */

enum watched { SOCKET, OUTPUT, PIDFD, WATCHED };

/* What a host has not taken yet. */
struct letter {
    struct letter *next;
    struct buf frame;
    int fds[HOST_FDS_MAX], nfds;
};

struct proc {
    uint64_t id;
    struct spawned at;
    int statm;                       /* -1: not measured */
    char tail[2 * PROCS_TAIL_BYTES]; /* its end is what counts */
    uint32_t tail_n;
    struct letter *first, **last;
    uint32_t letters;
    uint32_t held;
    bool failed, gone;
};

struct procs {
    struct procs_config config;
    struct map all; /* -> struct proc, owned */
    int epoll, timer;
    uint32_t rest_ms; /* before those that could not be started are told so; 0: the last one could */
    bool resting;
    struct buf ids;
    uint8_t frame[HOST_FRAME_BYTES_MAX];
};

/* ---- the tail of its output ---------------------------------------------------- */

/* Kept across tasks: what a later one wrote before it died may be read with an earlier one's DONE. */
static void tail_add(struct proc *h, const char *p, size_t n)
{
    if (n > PROCS_TAIL_BYTES) {
        p += n - PROCS_TAIL_BYTES;
        n = PROCS_TAIL_BYTES;
    }
    if (h->tail_n + n > sizeof h->tail - 1) {
        memmove(h->tail, h->tail + h->tail_n - PROCS_TAIL_BYTES / 2, PROCS_TAIL_BYTES / 2);
        h->tail_n = PROCS_TAIL_BYTES / 2;
    }
    memcpy(h->tail + h->tail_n, p, n);
    h->tail_n += (uint32_t)n;
    h->tail[h->tail_n] = 0;
}

static const char *tail_of(const struct proc *h)
{
    return h->tail + (h->tail_n > PROCS_TAIL_BYTES ? h->tail_n - PROCS_TAIL_BYTES : 0);
}

/* Whole pipes full at most, so that one that writes without end can't hold us. */
static void output_read(struct proc *h)
{
    char some[4096];
    for (int i = 0; i < 32; i++) {
        ssize_t n = read(h->at.output, some, sizeof some);
        if (n <= 0)
            return;
        tail_add(h, some, (size_t)n);
    }
}

/* ---- its socket ------------------------------------------------------------------ */

static void watch(struct procs *p, int op, struct proc *h, enum watched what, int fd, uint32_t events)
{
    struct epoll_event ev = { .events = events, .data.u64 = h->id * WATCHED + what };
    epoll_ctl(p->epoll, op, fd, &ev);
}

static void letter_free(struct letter *l)
{
    for (int i = 0; i < l->nfds; i++)
        close(l->fds[i]);
    buf_fini(&l->frame);
    free(l);
}

/* false: not now. */
static bool letter_send(struct proc *h, const struct letter *l)
{
    _Alignas(struct cmsghdr) uint8_t control[CMSG_SPACE(HOST_FDS_MAX * sizeof(int))];
    struct iovec io = { l->frame.p, l->frame.n };
    struct msghdr m = { .msg_iov = &io, .msg_iovlen = 1 };
    if (l->nfds) {
        m.msg_control = control;
        m.msg_controllen = CMSG_SPACE((size_t)l->nfds * sizeof(int));
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN((size_t)l->nfds * sizeof(int));
        memcpy(CMSG_DATA(c), l->fds, (size_t)l->nfds * sizeof(int));
    }
    ssize_t n = sendmsg(h->at.socket, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
    return n >= 0 || (errno != EAGAIN && errno != EWOULDBLOCK && errno != ENOBUFS && errno != ETOOMANYREFS);
}

static void letters_send(struct procs *p, struct proc *h)
{
    while (h->first && letter_send(h, h->first)) {
        struct letter *l = h->first;
        if (!(h->first = l->next))
            h->last = &h->first;
        h->letters--;
        letter_free(l);
    }
    watch(p, EPOLL_CTL_MOD, h, SOCKET, h->at.socket, EPOLLIN | (h->first ? EPOLLOUT : 0));
}

void procs_send(struct procs *p, uint64_t id, struct bytes frame, const int *fds, int nfds)
{
    struct proc *h = map_get(&p->all, id);
    struct letter *l = calloc(1, sizeof *l);
    if (!l)
        abort();
    buf_put(&l->frame, frame.p, frame.n);
    if (nfds)
        memcpy(l->fds, fds, (size_t)nfds * sizeof *fds);
    l->nfds = nfds;
    if (!h || h->failed || h->gone || (!h->first && letter_send(h, l))) {
        letter_free(l);
        return;
    }
    *h->last = l;
    h->last = &l->next;
    if (++h->letters > PROCS_QUEUE_MAX) /* it reads nothing */
        procs_kill(p, id);
    watch(p, EPOLL_CTL_MOD, h, SOCKET, h->at.socket, EPOLLIN | EPOLLOUT);
}

/* One frame handed over; false: none is there.  Its output is read before, so that a report's tail is whole. */
static bool socket_read(struct procs *p, struct proc *h)
{
    ssize_t n = recv(h->at.socket, p->frame, sizeof p->frame, MSG_DONTWAIT | MSG_TRUNC);
    if (n <= 0) {
        if (n == 0) /* it closed its end: its exit follows, or is made to */
            procs_kill(p, h->id);
        return false;
    }
    struct event ev = { .kind = EV_HOST_RECV, .id = h->id };
    ev.host.frame =
        (struct bytes){ p->frame, (uint32_t)((size_t)n < sizeof p->frame ? (size_t)n : sizeof p->frame) };
    output_read(h);
    ev.host.tail = tail_of(h);
    p->config.on_event(p->config.user, &ev);
    return true;
}

/* ---- its end --------------------------------------------------------------------- */

static void proc_free(struct procs *p, struct proc *h)
{
    while (h->first) {
        struct letter *l = h->first;
        h->first = l->next;
        letter_free(l);
    }
    if (h->statm >= 0)
        close(h->statm);
    spawned_close(&h->at);
    if (p->config.on_scratch)
        p->config.on_scratch(p->config.user, h->id);
    else
        files_host_close(p->config.files, h->id);
    map_del(&p->all, h->id);
    free(h);
}

static void gone(struct procs *p, struct proc *h, struct event *ev)
{
    h->gone = true;
    p->config.on_event(p->config.user, ev);
    if (h->held == 0)
        proc_free(p, h);
}

static void reap(struct procs *p, struct proc *h)
{
    int status = 0;
    struct rusage use = { 0 };
    struct event ev = { .kind = EV_HOST_EXITED, .id = h->id };
    while (socket_read(p, h))
        ;
    output_read(h);
    if (wait4(h->at.pid, &status, 0, &use) < 0)
        status = 0;
    epoll_ctl(p->epoll, EPOLL_CTL_DEL, h->at.pidfd, NULL);
    epoll_ctl(p->epoll, EPOLL_CTL_DEL, h->at.socket, NULL);
    epoll_ctl(p->epoll, EPOLL_CTL_DEL, h->at.output, NULL);
    ev.exited.code = WIFEXITED(status) ? WEXITSTATUS(status) : 0;
    ev.exited.signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    ev.exited.peak_bytes = (uint64_t)use.ru_maxrss << 10;
    ev.exited.tail = tail_of(h);
    ev.exited.ran = atomic_load_explicit(&h->at.board->running, memory_order_acquire);
    ev.exited.stage = h->at.board->stage;
    ev.exited.part = h->at.board->part;
    ev.exited.attempt = h->at.board->attempt;
    gone(p, h, &ev);
}

void procs_hold(struct procs *p, uint64_t id)
{
    struct proc *h = map_get(&p->all, id);
    if (h)
        h->held++;
}

void procs_release(struct procs *p, uint64_t id)
{
    struct proc *h = map_get(&p->all, id);
    if (h && --h->held == 0 && h->gone)
        proc_free(p, h);
}

/* ---- starting and ending ----------------------------------------------------------- */

static void started(struct procs *p, struct proc *h)
{
    p->rest_ms = 0;
    watch(p, EPOLL_CTL_ADD, h, SOCKET, h->at.socket, EPOLLIN);
    watch(p, EPOLL_CTL_ADD, h, OUTPUT, h->at.output, EPOLLIN);
    watch(p, EPOLL_CTL_ADD, h, PIDFD, h->at.pidfd, EPOLLIN);
}

static void timer_set(struct procs *p, uint32_t ms)
{
    struct itimerspec in = { .it_value = { ms / 1000, ms % 1000 * 1000000l } };
    timerfd_settime(p->timer, 0, &in, NULL);
}

/* Told after a rest, longer each time: what is wrong is here, and whoever hears of it tries again. */
static void failed(struct procs *p, struct proc *h, const char *words)
{
    h->failed = true;
    tail_add(h, words, strlen(words));
    if (p->resting)
        return;
    if (p->rest_ms == 0)
        log_line(LOG_ERROR, "no task host can be started: %s", words);
    p->rest_ms = p->rest_ms == 0                      ? PROCS_REST_MS_MIN
                 : p->rest_ms * 2 > PROCS_REST_MS_MAX ? PROCS_REST_MS_MAX
                                                      : p->rest_ms * 2;
    p->resting = true;
    timer_set(p, p->rest_ms);
}

static int scratch_open(struct procs *p, uint64_t id, struct error *e)
{
    char path[PATH_MAX];
    int r = files_host_open(p->config.files, id);
    if (r == 0)
        return 0;
    files_host_path(p->config.files, false, id, path, sizeof path);
    if (access(path, F_OK) == 0)
        files_host_path(p->config.files, true, id, path, sizeof path);
    return error_set(e, -r, "its scratch folder %s: %s", path, strerror(-r));
}

void procs_spawn(struct procs *p, uint64_t id)
{
    struct error e;
    struct proc *h = calloc(1, sizeof *h);
    if (!h)
        abort();
    h->id = id;
    h->at = (struct spawned){ .socket = -1, .output = -1, .pidfd = -1 };
    h->statm = -1;
    h->last = &h->first;
    map_put(&p->all, id, h);
    if (scratch_open(p, id, &e) || spawn_host(p->config.program, p->config.clean, &h->at, &e))
        failed(p, h, e.words);
    else
        started(p, h);
}

void procs_kill(struct procs *p, uint64_t id)
{
    struct proc *h = map_get(&p->all, id);
    if (h && h->failed && !h->gone)
        timer_set(p, 1); /* somebody waits for its end */
    else if (h && !h->gone)
        syscall(SYS_pidfd_send_signal, h->at.pidfd, SIGKILL, NULL, 0);
}

/* Listed first, for what follows changes the map. */
static size_t list_ids(struct procs *p)
{
    buf_reset(&p->ids);
    MAP_EACH(&p->all, i)
        buf_put(&p->ids, &((struct proc *)map_at(&p->all, i))->id, sizeof(uint64_t));
    return p->ids.n / sizeof(uint64_t);
}

static struct proc *listed(struct procs *p, size_t i)
{
    return map_get(&p->all, ((uint64_t *)p->ids.p)[i]);
}

static void tell_failed(struct procs *p)
{
    uint64_t times;
    if (read(p->timer, &times, sizeof times) < 0)
        return;
    p->resting = false;
    for (size_t i = 0, n = list_ids(p); i < n; i++) {
        struct proc *h = listed(p, i);
        if (!h || !h->failed || h->gone)
            continue;
        struct event ev = { .kind = EV_HOST_EXITED,
                            .id = h->id,
                            .exited = { .code = 127, .tail = tail_of(h) } };
        gone(p, h, &ev);
    }
}

/* ---- turns ---------------------------------------------------------------------------- */

static void ready(struct procs *p, uint64_t id, enum watched what, uint32_t events)
{
    struct proc *h = map_get(&p->all, id);
    if (!h || h->gone)
        return;
    if (what == PIDFD)
        reap(p, h);
    else if (what == OUTPUT) {
        output_read(h);
        if (events & EPOLLHUP && !(events & EPOLLIN))
            epoll_ctl(p->epoll, EPOLL_CTL_DEL, h->at.output, NULL);
    } else {
        if (events & EPOLLOUT)
            letters_send(p, h);
        int n = 0;
        while (n < PROCS_TURN_FRAMES && socket_read(p, h))
            n++;
        if (n == 0 && events & EPOLLHUP)
            epoll_ctl(p->epoll, EPOLL_CTL_DEL, h->at.socket, NULL);
    }
}

void procs_turn(struct procs *p)
{
    struct epoll_event v[TURN_EVENTS];
    int n = epoll_wait(p->epoll, v, TURN_EVENTS, 0);
    for (int i = 0; i < n; i++)
        if (v[i].data.u64 == RESTED)
            tell_failed(p);
        else
            ready(p, v[i].data.u64 / WATCHED, (enum watched)(v[i].data.u64 % WATCHED), v[i].events);
}

int procs_fd(const struct procs *p)
{
    return p->epoll;
}

/* ---- memory ------------------------------------------------------------------------------ */

void procs_work(struct procs *p, uint64_t id)
{
    char path[64];
    struct proc *h = map_get(&p->all, id);
    if (!h || h->failed || h->statm >= 0)
        return;
    snprintf(path, sizeof path, "/proc/%d/statm", (int)h->at.pid);
    h->statm = open(path, O_RDONLY | O_CLOEXEC);
    if (h->statm < 0) /* unmeasured it may take all memory */
        procs_kill(p, id);
}

bool procs_measured(const struct procs *p)
{
    MAP_EACH(&p->all, i) {
        const struct proc *h = map_at(&p->all, i);
        if (h->statm >= 0 && !h->gone)
            return true;
    }
    return false;
}

/* Resident pages less those of files and shared memory.  Files' the system can take back, or they lie in
 * memory and somebody else counts them; of shared memory a confined host can't make any. */
static bool own_bytes(const struct proc *h, uint64_t *bytes)
{
    char line[128];
    uint64_t size, resident, shared;
    ssize_t n = pread(h->statm, line, sizeof line - 1, 0);
    if (n <= 0)
        return false;
    line[n] = 0;
    if (sscanf(line, "%" SCNu64 " %" SCNu64 " %" SCNu64, &size, &resident, &shared) != 3 || size == 0)
        return false; /* it has ended */
    *bytes = (resident > shared ? resident - shared : 0) * (uint64_t)sysconf(_SC_PAGESIZE);
    return true;
}

void procs_measure(struct procs *p)
{
    for (size_t i = 0, n = list_ids(p); i < n; i++) {
        struct proc *h = listed(p, i);
        struct event ev = { .kind = EV_HOST_MEMORY };
        if (!h || h->statm < 0 || h->gone || !own_bytes(h, &ev.memory.bytes))
            continue;
        ev.id = h->id;
        p->config.on_event(p->config.user, &ev);
    }
}

/* ---- life --------------------------------------------------------------------------------- */

struct procs *procs_new(const struct procs_config *config, struct error *e)
{
    struct procs *p = calloc(1, sizeof *p);
    if (!p)
        abort();
    p->config = *config;
    struct epoll_event ev = { .events = EPOLLIN, .data.u64 = RESTED };
    p->epoll = epoll_create1(EPOLL_CLOEXEC);
    p->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (p->epoll < 0 || p->timer < 0 || epoll_ctl(p->epoll, EPOLL_CTL_ADD, p->timer, &ev)) {
        error_sys(e, "epoll");
        procs_free(&p);
    }
    return p;
}

void procs_free(struct procs **pp)
{
    struct procs *p = *pp;
    *pp = NULL;
    if (!p)
        return;
    MAP_EACH(&p->all, i)
        procs_kill(p, map_key(&p->all, i));
    MAP_EACH(&p->all, i) {
        struct proc *h = map_at(&p->all, i);
        if (!h->failed && !h->gone)
            waitpid(h->at.pid, NULL, 0);
        proc_free(p, h);
    }
    map_fini(&p->all);
    buf_fini(&p->ids);
    if (p->epoll >= 0)
        close(p->epoll);
    if (p->timer >= 0)
        close(p->timer);
    free(p);
}
