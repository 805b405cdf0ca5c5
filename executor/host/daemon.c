/* daemon.c - see daemon.h. */
#include "executor/host/daemon.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void give_up(const char *what)
{
    fprintf(stderr, "ferro-host: %s: %s\n", what, strerror(errno));
    _exit(1);
}

static void take_fds(struct daemon *d, struct msghdr *m)
{
    d->nfds = 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        d->nfds = (int)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        memcpy(d->fds, CMSG_DATA(c), (size_t)d->nfds * sizeof(int));
    }
}

void daemon_close_fds(struct daemon *d)
{
    for (int i = 0; i < d->nfds; i++)
        close(d->fds[i]);
    d->nfds = 0;
}

uint8_t daemon_recv(struct daemon *d, bool wait, const void **msg)
{
    struct head head;
    struct error e;
    _Alignas(struct cmsghdr) uint8_t control[CMSG_SPACE(HOST_FDS_MAX * sizeof(int))];
    struct iovec io = { d->frame, sizeof d->frame };
    struct msghdr m = {
        .msg_iov = &io, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control
    };
    ssize_t n;
    while ((n = recvmsg(d->fd, &m, MSG_CMSG_CLOEXEC | (wait ? 0 : MSG_DONTWAIT))) < 0 && errno == EINTR)
        ;
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return 0;
    if (n < 0)
        give_up("its executor can't be heard");
    if (n == 0) /* it is gone */
        _exit(0);
    take_fds(d, &m);
    arena_reset(&d->arena);
    struct bytes frame = { d->frame, (uint32_t)n };
    uint8_t tag = proto_admit(frame, ROLE_EXECUTOR, &e);
    *msg = tag ? proto_decode(&d->arena, frame, &head, &e) : NULL;
    if (!*msg) {
        fprintf(stderr, "ferro-host: %s\n", e.words);
        _exit(1);
    }
    return tag;
}

void daemon_send(struct daemon *d, uint8_t tag, const void *msg)
{
    struct buf frame = { 0 };
    proto_encode(&frame, &(struct head){ .tag = tag }, msg);
    assert(frame.n <= HOST_FRAME_BYTES_MAX);
    while (send(d->fd, frame.p, frame.n, MSG_NOSIGNAL) < 0)
        if (errno == EPIPE || errno == ECONNRESET)
            _exit(0);
        else if (errno != EINTR)
            give_up("its executor can't be told");
    buf_fini(&frame);
}
