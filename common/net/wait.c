/* wait.c - waiting for what is ready, at a cost that grows with what is, not with what is open.
 *
 * zmq_poll() asks every socket thrice a turn, at two system calls each.  Here one epoll holds the descriptors of
 * all.  A ZeroMQ socket's (ZMQ_FD) tells of commands, not of messages, and whoever calls the socket may take the
 * command that would have told: so a socket that was called, and not drained since, is due, and is asked before
 * the next sleep.
 */
#include "common/net/impl.h"

#include <poll.h>
#include <sys/epoll.h>
#include <unistd.h>

#define WAIT_EVENTS 64
#define PLAIN 1u /* in epoll's data: a plain descriptor, not a pointer to a source */

int wait_open(struct net *n)
{
    n->epoll = epoll_create1(EPOLL_CLOEXEC);
    return n->epoll < 0 ? -1 : 0;
}

void wait_close(struct net *n)
{
    if (n->epoll >= 0)
        close(n->epoll);
    buf_fini(&n->due);
    buf_fini(&n->turn);
    buf_fini(&n->watches);
}

/* ---- ZeroMQ sockets ------------------------------------------------------- */

int wait_add(struct net *n, struct source *s, void *sock, enum source_kind kind, struct dial *owner)
{
    size_t size = sizeof s->fd;
    *s = (struct source){ .sock = sock, .kind = kind, .owner = owner, .fd = -1 };
    struct epoll_event ev = { .events = EPOLLIN, .data.ptr = s };
    if (!sock || zmq_getsockopt(sock, ZMQ_FD, &s->fd, &size) ||
        epoll_ctl(n->epoll, EPOLL_CTL_ADD, s->fd, &ev)) {
        s->sock = NULL;
        return -1;
    }
    wait_due(n, s);
    return 0;
}

static void strike_out(struct buf *list, const struct source *s)
{
    struct source **v = (struct source **)list->p;
    for (size_t i = 0; i < list->n / sizeof *v; i++)
        if (v[i] == s)
            v[i] = NULL;
}

void wait_remove(struct net *n, struct source *s)
{
    if (!s->sock)
        return;
    epoll_ctl(n->epoll, EPOLL_CTL_DEL, s->fd, NULL);
    strike_out(&n->due, s);
    strike_out(&n->turn, s);
    *s = (struct source){ .fd = -1 };
}

void wait_due(struct net *n, struct source *s)
{
    s->due = true;
    if (s->listed || !s->sock)
        return;
    s->listed = true;
    buf_put(&n->due, &s, sizeof s);
}

static bool has_something(const struct source *s)
{
    int events = 0;
    size_t size = sizeof events;
    return zmq_getsockopt(s->sock, ZMQ_EVENTS, &events, &size) || events & ZMQ_POLLIN;
}

/* Those that have nothing tell by their descriptor when they have. */
static void settle(struct net *n)
{
    struct source **v = (struct source **)n->due.p;
    size_t count = n->due.n / sizeof *v, kept = 0;
    for (size_t i = 0; i < count; i++) {
        struct source *s = v[i];
        if (s && s->due && has_something(s))
            v[kept++] = s;
        else if (s)
            s->due = s->listed = false;
    }
    n->due.n = kept * sizeof *v;
}

/* ---- plain descriptors ----------------------------------------------------- */

void wait_plain(struct net *n, int fd, short events)
{
    struct epoll_event ev = { .events = (uint32_t)events, .data.u64 = (uint64_t)(uint32_t)fd << 1 | PLAIN };
    if (epoll_ctl(n->epoll, EPOLL_CTL_MOD, fd, &ev))
        epoll_ctl(n->epoll, EPOLL_CTL_ADD, fd, &ev);
}

static struct watch *watch_find(struct net *n, int fd)
{
    struct watch *w = (struct watch *)n->watches.p;
    for (size_t i = 0; i < n->watches.n / sizeof *w; i++)
        if (w[i].fd == fd)
            return &w[i];
    return NULL;
}

void net_watch(struct net *n, int fd, short events)
{
    struct watch *w = watch_find(n, fd), add = { .fd = fd };
    if (events) {
        if (!w)
            buf_put(&n->watches, &add, sizeof add);
        wait_plain(n, fd, events);
    } else if (w) {
        n->watches.n -= sizeof *w;
        *w = *(struct watch *)(n->watches.p + n->watches.n);
        epoll_ctl(n->epoll, EPOLL_CTL_DEL, fd, NULL);
    }
}

/* One that moves up while others are removed has its turn in the next one. */
void wait_watches(struct net *n)
{
    for (size_t i = 0; i < n->watches.n / sizeof(struct watch); i++) {
        struct watch *w = (struct watch *)n->watches.p + i;
        short ready = w->ready;
        w->ready = 0;
        if (ready)
            n->config.on_fd(n->config.user, w->fd, ready);
    }
}

/* ---- the wait ---------------------------------------------------------------- */

static void is_ready(struct net *n, const struct epoll_event *ev)
{
    if (!(ev->data.u64 & PLAIN)) {
        wait_due(n, ev->data.ptr);
        return;
    }
    struct watch *w = watch_find(n, (int)(ev->data.u64 >> 1));
    if (w) /* else a probe's, or the resolver's, which are looked at in every turn */
        w->ready = (short)ev->events;
}

int wait_ready(struct net *n, long ms)
{
    struct epoll_event v[WAIT_EVENTS];
    settle(n);
    int found = epoll_wait(n->epoll, v, WAIT_EVENTS, n->due.n ? 0 : (int)ms);
    for (int i = 0; i < found; i++)
        is_ready(n, &v[i]);
    if (found < 0)
        return -1;
    struct buf turn = n->due;
    n->due = n->turn;
    n->turn = turn;
    buf_reset(&n->due);
    for (size_t i = 0; i < turn.n / sizeof(struct source *); i++)
        ((struct source **)turn.p)[i]->listed = false;
    return 0;
}

struct source *wait_next(struct net *n, enum source_kind kind)
{
    struct source **v = (struct source **)n->turn.p;
    for (size_t i = 0; i < n->turn.n / sizeof *v; i++) {
        struct source *s = v[i];
        if (!s || s->kind != kind)
            continue;
        v[i] = NULL;
        s->due = false;
        return s;
    }
    return NULL;
}
