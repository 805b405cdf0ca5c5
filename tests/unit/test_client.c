/* test_client.c - the short conversation with a manager, played by a thread with sockets of its own. */
#include "common/base/clock.h"
#include "common/net/client.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define ANSWERS_MS 10000

struct keys {
    uint8_t public_key[KEY_BYTES], secret[KEY_BYTES];
};

enum mood { FRIENDLY, OLD, DENIES, SILENT };

static struct manager {
    struct net *net;
    enum mood mood;
    struct keys keys, user;
    char at[64];
    pthread_t thread;
    atomic_bool stop;
} m;
static struct error e;

static void say(conn_id to, uint8_t tag, const void *msg)
{
    struct buf b = { 0 };
    proto_encode(&b, &(struct head){ .tag = tag, .epoch = 5 }, msg);
    net_send(m.net, to, b.p, b.n);
    buf_fini(&b);
}

static void on_event(void *user, const struct event *ev)
{
    (void)user;
    if (ev->kind != EV_RECV || m.mood == SILENT)
        return;
    uint8_t tag = proto_admit(ev->recv.frame, ROLE_USER, &e);
    if (tag == MSG_HELLO && m.mood == OLD)
        say(ev->conn, MSG_REFUSE,
            &(struct msg_refuse){ .code = REFUSE_VERSION, .words = bytes_of("too old") });
    else if (tag == MSG_HELLO)
        say(ev->conn, MSG_WELCOME, &(struct msg_welcome){ .generation = 9 });
    else if (m.mood == DENIES)
        say(ev->conn, MSG_REFUSE,
            &(struct msg_refuse){ .code = REFUSE_DENIED, .words = bytes_of("not yours") });
    else
        say(ev->conn, MSG_STATUS_IS, &(struct msg_status_is){ .executors = 3 });
}

static void *run(void *arg)
{
    while (!m.stop)
        net_poll(m.net, clock_now_ns() + 10000000);
    return arg;
}

static void begin(enum mood mood)
{
    struct net_config config = { .on_event = on_event, .probe = { (const uint8_t *)"probe", 5 } };
    m.mood = mood;
    crypto_box_keypair(m.keys.public_key, m.keys.secret);
    crypto_box_keypair(m.user.public_key, m.user.secret);
    m.net = net_new(&config, &e);
    cr_assert(m.net, "%s", e.words);
    net_own(m.net, 0, m.keys.public_key, m.keys.secret);
    net_admit(m.net, m.user.public_key, ROLE_USER);
    cr_assert_eq(net_bind(m.net, PLANE_CONTROL, "127.0.0.1:0", 0, m.at, sizeof m.at, &e), 0, "%s", e.words);
    cr_assert_eq(pthread_create(&m.thread, NULL, run, NULL), 0);
}

static void end(void)
{
    m.stop = true;
    pthread_join(m.thread, NULL);
    net_free(&m.net);
}

static struct client *dial(uint64_t timeout_ms)
{
    return client_open(m.at, m.keys.public_key, m.user.public_key, m.user.secret, timeout_ms, &e);
}

TestSuite(client, .timeout = 60);

Test(client, asks_and_is_answered)
{
    begin(FRIENDLY);
    struct client *c = dial(ANSWERS_MS);
    cr_assert_not_null(c, "%s", e.words);
    cr_assert_eq(client_epoch(c), 5);
    cr_assert_eq(client_send(c, MSG_STATUS, NULL, &e), 0);
    const struct msg_status_is *s = client_recv(c, MSG_STATUS_IS, ANSWERS_MS, &e);
    cr_assert_not_null(s, "%s", e.words);
    cr_assert_eq(s->executors, 3);
    client_close(&c);
    end();
}

Test(client, a_refusal_is_an_error_with_its_words)
{
    begin(DENIES);
    struct client *c = dial(ANSWERS_MS);
    cr_assert_not_null(c, "%s", e.words);
    client_send(c, MSG_STATUS, NULL, &e);
    cr_assert_null(client_recv(c, MSG_STATUS_IS, ANSWERS_MS, &e));
    cr_assert_eq(e.code, EPERM);
    cr_assert_str_eq(e.words, "not yours");
    client_close(&c);
    end();
}

Test(client, another_version_is_told_apart)
{
    begin(OLD);
    cr_assert_null(dial(ANSWERS_MS));
    cr_assert_eq(e.code, EPROTO);
    end();
}

Test(client, waits_no_longer_than_it_was_told)
{
    begin(SILENT);
    cr_assert_null(dial(100));
    cr_assert_eq(e.code, ETIMEDOUT, "%s", e.words);
    end();
}

Test(client, an_unknown_key_and_a_closed_port_are_told_apart)
{
    begin(FRIENDLY);
    crypto_box_keypair(m.user.public_key, m.user.secret);
    cr_assert_null(dial(ANSWERS_MS));
    cr_assert_eq(e.code, EACCES, "%s", e.words);
    end();
    cr_assert_null(dial(ANSWERS_MS));
    cr_assert_eq(e.code, ECONNREFUSED, "%s", e.words);
}

Test(client, who_comes_when_descriptors_are_short_is_turned_away_until_they_are_not)
{
    enum { LIMIT = 1024, MOST = LIMIT - LIMIT / 8 };
    int taken[LIMIT], n = 0;
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &(struct rlimit){ LIMIT, LIMIT }), 0);
    begin(FRIENDLY);
    do
        cr_assert_geq(taken[n] = dup(STDERR_FILENO), 0);
    while (taken[n++] < MOST);
    cr_assert_null(dial(ANSWERS_MS));
    cr_assert(strstr(e.words, "no room"), "%s", e.words);
    while (n > 0)
        close(taken[--n]);
    struct client *c = dial(ANSWERS_MS);
    cr_assert_not_null(c, "%s", e.words);
    client_close(&c);
    end();
}
