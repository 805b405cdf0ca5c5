/* zap.c - who may connect: the ZAP handler (ZeroMQ RFC 27), answered inside the loop. */
#include "common/net/impl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include <xxhash.h>

#define ZAP_PARTS_MAX 8
#define FILES_SPARE(limit) ((limit) / 8) /* descriptors kept for what is not a peer */

int zap_open(struct net *n, struct error *e)
{
    n->zap = zmq_socket(n->ctx, ZMQ_REP);
    if (!n->zap || zmq_bind(n->zap, "inproc://zeromq.zap.01"))
        return error_set(e, zmq_errno(), "the ZAP handler can't start: %s", zmq_strerror(zmq_errno()));
    return wait_add(n, &n->requests, n->zap, SOURCE_ZAP, NULL) ? error_sys(e, "the ZAP handler's descriptor")
                                                               : 0;
}

static uint64_t key_hash(const uint8_t key[KEY_BYTES])
{
    return XXH3_64bits(key, KEY_BYTES);
}

struct admitted *zap_find(const struct net *n, const uint8_t key[KEY_BYTES])
{
    uint64_t serial;
    if (!map_get_u64(&n->admitted, key_hash(key), &serial))
        return NULL;
    struct admitted *a = map_get(&n->serials, serial);
    return a && memcmp(a->key, key, KEY_BYTES) == 0 ? a : NULL;
}

void zap_forget(struct net *n, struct admitted *a)
{
    map_del(&n->admitted, key_hash(a->key));
    map_del(&n->serials, a->serial);
    free(a);
}

void net_admit(struct net *n, const uint8_t key[KEY_BYTES], enum role role)
{
    struct admitted *a = zap_find(n, key);
    if (a) {
        a->role = role;
        return;
    }
    if (n->admitted.n >= NET_ADMITTED_MAX || map_has(&n->admitted, key_hash(key)) ||
        !(a = calloc(1, sizeof *a))) {
        log_line(LOG_ERROR, "a key can't be admitted: %u are (at most %d)", n->admitted.n, NET_ADMITTED_MAX);
        return;
    }
    *a = (struct admitted){ .role = role, .serial = n->next_serial++ };
    memcpy(a->key, key, KEY_BYTES);
    map_put(&n->serials, a->serial, a);
    map_put_u64(&n->admitted, key_hash(key), a->serial);
}

const struct admitted *zap_by_user(struct net *n, const char *user_id)
{
    return map_get(&n->serials, strtoull(user_id, NULL, 10));
}

/* A request's parts: version, id, domain, address, identity, mechanism, credentials. */
static int request_take(void *zap, char parts[ZAP_PARTS_MAX][256], int sizes[ZAP_PARTS_MAX])
{
    int n = 0, more = 1;
    size_t size = sizeof more;
    for (; more; n++) {
        char rest[256];
        char *to = n < ZAP_PARTS_MAX ? parts[n] : rest;
        int got = zmq_recv(zap, to, 255, n ? 0 : ZMQ_DONTWAIT);
        if (got < 0)
            return -1;
        if (n < ZAP_PARTS_MAX) {
            sizes[n] = got > 255 ? 255 : got;
            parts[n][sizes[n]] = 0;
        }
        zmq_getsockopt(zap, ZMQ_RCVMORE, &more, &size);
    }
    return n;
}

static void reply(void *zap, const char *id, int id_size, const char *status, const char *words,
                  const char *user)
{
    zmq_send(zap, "1.0", 3, ZMQ_SNDMORE);
    zmq_send(zap, id, (size_t)id_size, ZMQ_SNDMORE);
    zmq_send(zap, status, 3, ZMQ_SNDMORE);
    zmq_send(zap, words, strlen(words), ZMQ_SNDMORE);
    zmq_send(zap, user, strlen(user), ZMQ_SNDMORE);
    zmq_send(zap, "", 0, 0);
}

/* Descriptors are numbered from the lowest free one: when that is high, all below it are in use. */
static bool is_full(void)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) || files.rlim_cur == RLIM_INFINITY)
        return false;
    int most = (int)(files.rlim_cur - FILES_SPARE(files.rlim_cur)),
        lowest = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0);
    if (lowest >= 0)
        close(lowest);
    return lowest < 0 ? errno == EMFILE : lowest >= most;
}

void zap_answer(struct net *n)
{
    char parts[ZAP_PARTS_MAX][256], user[24];
    int sizes[ZAP_PARTS_MAX];
    for (int got; (got = request_take(n->zap, parts, sizes)) > 0;) {
        bool curve =
            got == 7 && !strcmp(parts[0], "1.0") && !strcmp(parts[5], "CURVE") && sizes[6] == KEY_BYTES;
        const struct admitted *a = curve ? zap_find(n, (const uint8_t *)parts[6]) : NULL;
        if (a && is_full()) { /* 300: hung up on without a word about its key, so that it tries again later */
            n->stats.handshakes_refused++;
            reply(n->zap, parts[1], sizes[1], "300", "too many connections", "");
        } else if (a) {
            n->stats.handshakes_admitted++;
            snprintf(user, sizeof user, "%llu", (unsigned long long)a->serial);
            reply(n->zap, parts[1], sizes[1], "200", "OK", user);
        } else { /* 400, never 300: the client hears it at once */
            n->stats.handshakes_refused++;
            reply(n->zap, got > 1 ? parts[1] : "", got > 1 ? sizes[1] : 0, "400", "unknown key", "");
        }
    }
}
