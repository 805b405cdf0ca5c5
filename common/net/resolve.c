/* resolve.c - names to addresses, in a thread: getaddrinfo() may block for seconds. */
#include "common/net/impl.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define ASKS_MAX NET_DIALS_MAX

struct ask {
    enum resolve_for what;
    uint64_t id;
    char address[300]; /* asked: a name; answered: numeric, or "" */
};

struct resolver {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t work;
    struct buf asked, answered; /* of struct ask */
    int fd;
    bool stop;
};

bool address_split(const char *address, char *host, size_t size, const char **port)
{
    const char *colon = strrchr(address, ':');
    if (!colon || colon == address)
        return false;
    size_t n = (size_t)(colon - address);
    if (address[0] == '[' && colon[-1] == ']') {
        address++;
        n -= 2;
    }
    if (n >= size)
        return false;
    memcpy(host, address, n);
    host[n] = 0;
    *port = colon + 1;
    return true;
}

/* The resolver's first choice; but "localhost" is 127.0.0.1, where services listen by default, rather than ::1. */
static const struct addrinfo *preferred(const struct addrinfo *found)
{
    const struct sockaddr_in6 *first = (const struct sockaddr_in6 *)(const void *)found->ai_addr;
    if (found->ai_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&first->sin6_addr))
        for (const struct addrinfo *a = found->ai_next; a; a = a->ai_next)
            if (a->ai_family == AF_INET)
                return a;
    return found;
}

static bool lookup(const char *address, int flags, char numeric[64])
{
    char host[256], ip[48];
    const char *port;
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = flags | AI_NUMERICSERV }, *found;
    numeric[0] = 0;
    if (!address_split(address, host, sizeof host, &port) || getaddrinfo(host, port, &hints, &found))
        return false;
    const struct addrinfo *best = preferred(found);
    bool ok = getnameinfo(best->ai_addr, best->ai_addrlen, ip, sizeof ip, NULL, 0, NI_NUMERICHOST) == 0;
    if (ok)
        snprintf(numeric, 64, best->ai_family == AF_INET6 ? "[%s]:%s" : "%s:%s", ip, port);
    freeaddrinfo(found);
    return ok;
}

bool address_numeric(const char *address, char numeric[64])
{
    return lookup(address, AI_NUMERICHOST, numeric);
}

bool address_resolve(const char *address, char numeric[64])
{
    return lookup(address, 0, numeric);
}

static void *resolve(void *arg)
{
    struct resolver *r = arg;
    pthread_mutex_lock(&r->lock);
    while (!r->stop) {
        if (r->asked.n == 0) {
            pthread_cond_wait(&r->work, &r->lock);
            continue;
        }
        struct ask a;
        char numeric[64];
        memcpy(&a, r->asked.p, sizeof a);
        r->asked.n -= sizeof a;
        memmove(r->asked.p, r->asked.p + sizeof a, r->asked.n);
        pthread_mutex_unlock(&r->lock);
        lookup(a.address, 0, numeric);
        snprintf(a.address, sizeof a.address, "%s", numeric);
        pthread_mutex_lock(&r->lock);
        buf_put(&r->answered, &a, sizeof a);
        eventfd_write(r->fd, 1);
    }
    pthread_mutex_unlock(&r->lock);
    return NULL;
}

struct resolver *resolver_new(void)
{
    struct resolver *r = calloc(1, sizeof *r);
    if (!r || (r->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) < 0) {
        free(r);
        return NULL;
    }
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->work, NULL);
    if (pthread_create(&r->thread, NULL, resolve, r)) {
        close(r->fd);
        free(r);
        return NULL;
    }
    return r;
}

void resolver_free(struct resolver **rp)
{
    struct resolver *r = *rp;
    *rp = NULL;
    if (!r)
        return;
    pthread_mutex_lock(&r->lock);
    r->stop = true;
    pthread_cond_signal(&r->work);
    pthread_mutex_unlock(&r->lock);
    pthread_join(r->thread, NULL);
    close(r->fd);
    buf_fini(&r->asked);
    buf_fini(&r->answered);
    free(r);
}

int resolver_fd(const struct resolver *r)
{
    return r->fd;
}

void resolver_ask(struct resolver *r, enum resolve_for what, uint64_t id, const char *address)
{
    struct ask a = { .what = what, .id = id };
    pthread_mutex_lock(&r->lock);
    if (r->asked.n / sizeof a >= ASKS_MAX) { /* not found, then */
        buf_put(&r->answered, &a, sizeof a);
        eventfd_write(r->fd, 1);
    } else {
        snprintf(a.address, sizeof a.address, "%s", address);
        buf_put(&r->asked, &a, sizeof a);
        pthread_cond_signal(&r->work);
    }
    pthread_mutex_unlock(&r->lock);
}

bool resolver_take(struct resolver *r, enum resolve_for *what, uint64_t *id, char numeric[64])
{
    eventfd_t count;
    struct ask a;
    pthread_mutex_lock(&r->lock);
    bool any = r->answered.n > 0;
    if (any) {
        r->answered.n -= sizeof a;
        memcpy(&a, r->answered.p + r->answered.n, sizeof a);
        *what = a.what;
        *id = a.id;
        snprintf(numeric, 64, "%.63s", a.address);
    } else
        eventfd_read(r->fd, &count);
    pthread_mutex_unlock(&r->lock);
    return any;
}

int net_local_address(const char *peer, char *out, size_t size, struct error *e)
{
    char host[256];
    const char *port;
    struct addrinfo hints = { .ai_socktype = SOCK_DGRAM }, *found;
    struct sockaddr_storage own;
    socklen_t own_size = sizeof own;
    if (!address_split(peer, host, sizeof host, &port))
        return error_set(e, EINVAL, "%s: not a host:port", peer);
    int r = getaddrinfo(host, port, &hints, &found);
    if (r)
        return error_set(e, EHOSTUNREACH, "%s: %s", host, gai_strerror(r));
    /* Connecting a datagram socket sends nothing, but binds it to the address of the route. */
    int fd = socket(found->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool ok =
        fd >= 0 && connect(fd, found->ai_addr, found->ai_addrlen) == 0 &&
        getsockname(fd, (struct sockaddr *)&own, &own_size) == 0 &&
        getnameinfo((struct sockaddr *)&own, own_size, out, (socklen_t)size, NULL, 0, NI_NUMERICHOST) == 0;
    if (!ok)
        error_sys(e, "%s: no route", peer);
    if (fd >= 0)
        close(fd);
    freeaddrinfo(found);
    return ok ? 0 : -1;
}
