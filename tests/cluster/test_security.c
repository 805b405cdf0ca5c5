/* test_security.c - every listening port is offered everything but what it may take; nothing of it is decoded. */
#include "tests/cluster/gate.h"
#include "tests/cluster/slow.h"

#include "common/net/client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

TestSuite(security, .timeout = 120);

/* A manager and an executor between which no beat passes while a test counts frames. */
static void cluster_quiet(struct cluster *c)
{
    cluster_init(c);
    cluster_manager(c, "--beat 60s --suspect 200s --lost 300s");
    cluster_executor(c, 0, NULL);
}

static struct key_file key(const struct cluster *c, const char *file)
{
    struct key_file k;
    struct error e;
    cr_assert(key_load(words("%s/keys/%s", c->dir, file), &k, &e) == 0, "%s", e.words);
    return k;
}

/* ---- handshakes --------------------------------------------------------------- */

/* Each mechanism that must not pass, at each port of a process. */
static void offer_strangers(struct proc *p, int nports, const uint8_t server[KEY_BYTES],
                            const struct key_file *more, int nmore)
{
    int ports[PORTS_MAX];
    struct keypair stranger;
    keypair_make(&stranger);
    cr_assert_eq(ports_of(p->pid, ports), nports, "%s listens on %d ports", p->name, ports_of(p->pid, ports));
    int64_t frames = counter(p, "frames"), decoded = counter(p, "decoded"),
            refused = counter(p, "refused_by_auth");
    for (int i = 0; i < nports; i++) {
        struct gate g;
        cr_expect_not(gate_open(&g, ports[i], OFFER_NULL, NULL, NULL), "%s let NULL in at port %d", p->name,
                      ports[i]);
        gate_close(&g);
        cr_expect_not(gate_open(&g, ports[i], OFFER_PLAIN, NULL, NULL), "%s let PLAIN in at port %d", p->name,
                      ports[i]);
        gate_close(&g);
        cr_expect_not(gate_open(&g, ports[i], OFFER_CURVE, server, &stranger),
                      "%s let a stranger in at port %d", p->name, ports[i]);
        gate_close(&g);
        for (int k = 0; k < nmore; k++) {
            cr_expect_not(gate_open(&g, ports[i], OFFER_CURVE, server, &more[k].pair), "%s let %s in",
                          p->name, more[k].name);
            gate_close(&g);
        }
    }
    cr_expect_eq(counter(p, "frames"), frames, "%s took frames of strangers", p->name);
    cr_expect_eq(counter(p, "decoded"), decoded, "%s decoded what strangers sent", p->name);
    cr_expect_geq(counter(p, "refused_by_auth"), refused + nports * (1 + nmore), "%s counts those it refused",
                  p->name);
}

Test(security, strangers_at_the_manager)
{
    struct cluster c;
    cluster_init(&c);
    cluster_manager(&c, NULL);
    struct key_file user = key(&c, "users/user.key");
    offer_strangers(&c.manager, 1, user.manager, NULL, 0);
    cluster_fini(&c);
}

/* What a driver knows of an executor: a lease there, by the application's own key. */
struct insider {
    struct keypair driver, fetch;
    struct client *manager;
    uint64_t app, epoch, lease;
    uint8_t server[KEY_BYTES]; /* the executor's key */
    int control, data;         /* its ports */
};

/* It ends as a driver ends its application, so that executors don't wait for it. */
static void insider_end(struct insider *in)
{
    struct error e;
    client_send(in->manager, MSG_APP_CLOSE, &(struct msg_app_close){ .app = in->app }, &e);
    cr_expect(client_recv(in->manager, MSG_APP_END, AWAIT_MS, &e), "%s", e.words);
    client_close(&in->manager);
}

static int port_of(struct bytes address)
{
    char text[300];
    bytes_text(address, text, sizeof text);
    return atoi(strrchr(text, ':') + 1);
}

/* Open an application as `ferro submit` does, and ask for a slot as its driver does. */
static struct insider insider_make(struct cluster *c)
{
    struct insider in = { 0 };
    struct key_file user = key(c, "users/user.key");
    struct error e;
    keypair_make(&in.driver);
    keypair_make(&in.fetch);
    struct client *opener =
        client_open(c->manager_addr, user.manager, user.pair.public_key, user.pair.secret, AWAIT_MS, &e);
    cr_assert(opener, "%s", e.words);
    struct msg_app_open open = { .name = bytes_of("insider") };
    memcpy(open.driver_key, in.driver.public_key, KEY_BYTES);
    memcpy(open.fetch_key, in.fetch.public_key, KEY_BYTES);
    memcpy(open.fetch_secret, in.fetch.secret, KEY_BYTES);
    client_send(opener, MSG_APP_OPEN, &open, &e);
    const struct msg_app_ok *ok = client_recv(opener, MSG_APP_OK, AWAIT_MS, &e);
    cr_assert(ok, "%s", e.words);
    in.app = ok->app;
    client_close(&opener);
    in.manager =
        client_open(c->manager_addr, user.manager, in.driver.public_key, in.driver.secret, AWAIT_MS, &e);
    cr_assert(in.manager, "%s", e.words);
    open.app = in.app;
    client_send(in.manager, MSG_APP_OPEN, &open, &e);
    cr_assert(client_recv(in.manager, MSG_APP_OK, AWAIT_MS, &e), "%s", e.words);
    client_send(in.manager, MSG_ASK,
                &(struct msg_ask){ .app = in.app, .revision = 1, .slots = 1, .memory = 64 << 20 }, &e);
    const struct msg_lease_grant *grant = client_recv(in.manager, MSG_LEASE_GRANT, AWAIT_MS, &e);
    cr_assert(grant, "%s", e.words);
    in.lease = grant->lease;
    in.control = port_of(grant->control);
    in.data = port_of(grant->data);
    memcpy(in.server, grant->key, KEY_BYTES);
    in.epoch = client_epoch(in.manager);
    return in;
}

Test(security, strangers_at_an_executor)
{
    struct cluster c;
    cluster_quiet(&c);
    struct insider in = insider_make(&c);
    /* keys that are right at the manager have no business here */
    struct key_file others[] = { key(&c, "join.key"), key(&c, "service.key"), key(&c, "users/user.key"),
                                 key(&c, "users/admin.key") };
    offer_strangers(&c.executor[0], 2, in.server, others, 4);
    insider_end(&in);
    cluster_fini(&c);
}

Test(security, drivers_services_and_hosts_listen_nowhere)
{
    struct cluster c;
    int ports[PORTS_MAX];
    cluster_start(&c, 1);
    cluster_driver(&c);
    struct proc job = slow_start(&c, 20, 50, "out");
    cr_expect_eq(ports_of(job.pid, ports), 0);
    cr_expect_eq(ports_of(c.driver.pid, ports), 0);
    cr_expect_eq(ports_of(proc_find(&c, c.executor[0].pid, "ferro-host"), ports), 0);
    cr_expect_eq(proc_wait(&job), 0);
    cluster_fini(&c);
}

/* User code is hostile: what it may do is on the operator's list, and no more. */
Test(security, a_task_is_confined)
{
    struct cluster c;
    char far[] = "/tmp/ferro-far-XXXXXX";
    cluster_start(&c, 1);
    cr_assert(mkdtemp(far));
    file_write("secret", "%s/secret", far);
    char *out = ferro_expect(&c, 0, NULL,
                             words("submit tests/cluster/jobs/peek.c %s/secret %s/manager.err", far, c.dir));
    cr_expect_str_eq(out, "read what is on the list\n", "a task could:\n%s", out);
    free(out);
    cr_assert_eq(system(words("rm -rf %s", far)), 0);
    cluster_fini(&c);
}

/* ---- roles ---------------------------------------------------------------------- */

/* Every message that this role may not send is refused, and none is decoded. */
static void expect_role_bounds(struct proc *p, struct gate *g, enum role role, uint64_t epoch)
{
    struct head h;
    int64_t decoded = counter(p, "decoded"), refused = counter(p, "refused");
    int sent = 0;
    for (int tag = 1; tag < 256; tag++) {
        uint32_t code = 0;
        if (!strcmp(proto_name((uint8_t)tag), "?") || (proto_senders((uint8_t)tag) & role))
            continue;
        gate_send(g, (uint8_t)tag, epoch, 0, NULL);
        cr_assert_eq(gate_take(g, &h, &code), MSG_REFUSE, "%s answered %s by a key of role %d with %s",
                     p->name, proto_name((uint8_t)tag), role, proto_name(h.tag));
        cr_expect(code == REFUSE_ROLE || code == REFUSE_MALFORMED, "%s: code %u", proto_name((uint8_t)tag),
                  code);
        sent++;
    }
    cr_expect_eq(counter(p, "refused"), refused + sent, "%s counted other refusals than %d", p->name, sent);
    cr_expect_eq(counter(p, "decoded"), decoded, "%s decoded something", p->name);
}

Test(security, a_right_key_in_a_wrong_role_at_the_manager)
{
    static const char *const files[] = { "join.key", "service.key", "users/user.key", "users/admin.key" };
    struct cluster c;
    int ports[PORTS_MAX];
    cluster_init(&c);
    cluster_manager(&c, NULL);
    cr_assert_eq(ports_of(c.manager.pid, ports), 1);
    for (int i = 0; i < 4; i++) {
        struct gate g;
        struct key_file k = key(&c, files[i]);
        cr_assert(gate_open(&g, ports[0], OFFER_CURVE, k.manager, &k.pair));
        expect_role_bounds(&c.manager, &g, k.role, 1);
        gate_close(&g);
    }
    free(ferro_expect(&c, 0, NULL, "status"));
    cluster_fini(&c);
}

Test(security, a_right_key_in_a_wrong_role_at_an_executor)
{
    struct cluster c;
    struct gate g;
    cluster_quiet(&c);
    struct insider in = insider_make(&c);
    for (int plane = 0; plane < 2; plane++) {
        int port = plane ? in.data : in.control;
        cr_assert(gate_open(&g, port, OFFER_CURVE, in.server, &in.driver));
        expect_role_bounds(&c.executor[0], &g, ROLE_DRIVER, in.epoch);
        gate_close(&g);
        cr_assert(gate_open(&g, port, OFFER_CURVE, in.server, &in.fetch));
        expect_role_bounds(&c.executor[0], &g, ROLE_FETCH, in.epoch);
        gate_close(&g);
    }
    insider_end(&in);
    cluster_fini(&c);
}

/* ---- fences ----------------------------------------------------------------------- */

static void expect_refused(struct gate *g, enum refusal code)
{
    struct head h;
    uint32_t got = 0;
    cr_expect_eq(gate_take(g, &h, &got), MSG_REFUSE, "answered with %s", proto_name(h.tag));
    cr_expect_eq(got, code, "code %u, not %u", got, code);
}

Test(security, an_old_epoch_replayed_at_the_manager)
{
    struct cluster c;
    struct gate g;
    struct head h;
    uint32_t code;
    int ports[PORTS_MAX];
    cluster_init(&c);
    cluster_manager(&c, NULL);
    proc_kill(&c.manager, SIGTERM);
    proc_wait(&c.manager);
    cluster_manager(&c, NULL);
    struct key_file user = key(&c, "users/user.key");
    cr_assert_eq(ports_of(c.manager.pid, ports), 1);
    cr_assert(gate_open(&g, ports[0], OFFER_CURVE, user.manager, &user.pair));
    struct msg_hello hello = { .major = PROTO_MAJOR, .minor = PROTO_MINOR };
    gate_send(&g, MSG_HELLO, 1, 0, &hello);
    cr_assert_eq(gate_take(&g, &h, &code), MSG_WELCOME);
    cr_assert_eq(h.epoch, 2);
    int64_t refused = counter(&c.manager, "refused");
    gate_send(&g, MSG_SUBMIT, 1, h.generation, NULL);
    expect_refused(&g, REFUSE_EPOCH);
    gate_send(&g, MSG_SUBMIT, 3, h.generation, NULL);
    expect_refused(&g, REFUSE_EPOCH);
    gate_send(&g, MSG_SUBMIT, 2, h.generation + 777, NULL);
    expect_refused(&g, REFUSE_GENERATION);
    cr_expect_eq(counter(&c.manager, "refused"), refused + 3);
    gate_close(&g);
    char *out = ferro_expect(&c, 0, NULL, "apps --json");
    cr_expect_str_eq(out, "[]\n", "a fenced SUBMIT had an effect: %s", out);
    free(out);
    cluster_fini(&c);
}

Test(security, an_old_epoch_replayed_at_an_executor)
{
    struct cluster c;
    struct gate g;
    cluster_init(&c);
    cluster_manager(&c, NULL);
    proc_kill(&c.manager, SIGTERM);
    proc_wait(&c.manager);
    cluster_manager(&c, NULL);
    cluster_executor(&c, 0, NULL);
    struct insider in = insider_make(&c);
    cr_assert_eq(in.epoch, 2);
    cr_assert(gate_open(&g, in.control, OFFER_CURVE, in.server, &in.driver));
    struct msg_hello hello = { .major = PROTO_MAJOR, .minor = PROTO_MINOR };
    struct rec_id lease = { in.lease };
    struct msg_attach attach = { .app = in.app, .leases = { &lease, 1 } };
    gate_send(&g, MSG_HELLO, 2, 0, &hello);
    gate_send(&g, MSG_ATTACH, 1, 0, &attach);
    expect_refused(&g, REFUSE_EPOCH);
    gate_close(&g);
    insider_end(&in);
    cluster_fini(&c);
}

/* ---- nonsense ------------------------------------------------------------------------ */

Test(security, garbage_on_every_port)
{
    /* a ZMTP 3.0 greeting that asks for CURVE, and then nonsense */
    static const uint8_t greeting[80] = "\xff\0\0\0\0\0\0\0\1\x7f\3\0CURVE";
    struct cluster c;
    int ports[PORTS_MAX];
    uint8_t noise[8192];
    cluster_start(&c, 1);
    struct proc *const services[] = { &c.manager, &c.executor[0] };
    for (size_t i = 0; i < sizeof noise; i++)
        noise[i] = (uint8_t)(i * 2654435761u >> 13);
    for (int s = 0; s < 2; s++) {
        int64_t decoded = counter(services[s], "decoded");
        int n = ports_of(services[s]->pid, ports);
        for (int i = 0; i < n; i++) {
            cr_expect(port_takes_garbage(ports[i], noise, sizeof noise), "%s keeps garbage's connection",
                      services[s]->name);
            memcpy(noise, greeting, sizeof greeting);
            cr_expect(port_takes_garbage(ports[i], noise, sizeof noise), "%s keeps garbage's connection",
                      services[s]->name);
            cr_expect(port_takes_garbage(ports[i], "GET / HTTP/1.1\r\n\r\n", 18), "%s talks to a browser",
                      services[s]->name);
        }
        cr_expect_leq(counter(services[s], "decoded") - decoded, 200, "%s decoded garbage",
                      services[s]->name);
    }
    free(ferro_expect(&c, 0, NULL, "status"));
    cluster_fini(&c);
}

/* Frames of an admitted key that are no messages: refused one by one, then the connection goes; the manager stays. */
Test(security, frames_that_are_no_messages)
{
    struct cluster c;
    struct gate g;
    struct head h;
    uint32_t code;
    int ports[PORTS_MAX];
    cluster_init(&c);
    cluster_manager(&c, NULL);
    struct key_file user = key(&c, "users/user.key");
    cr_assert_eq(ports_of(c.manager.pid, ports), 1);
    cr_assert(gate_open(&g, ports[0], OFFER_CURVE, user.manager, &user.pair));
    static const char *const frames[] = {
        "", "\xfe", "\xfe\x46", "\xfe\x46\x90", "\xff\x48\x92\1\1", "\xfe\x48\xdd\xff\xff\xff\xff"
    };
    static const uint8_t sizes[] = { 0, 1, 2, 3, 5, 7 };
    int64_t decoded = counter(&c.manager, "decoded");
    for (int i = 0; i < 6; i++) {
        gate_send_bytes(&g, frames[i], sizes[i]);
        code = 0;
        cr_assert_eq(gate_take(&g, &h, &code), MSG_REFUSE, "frame %d", i);
        cr_expect_eq(code, REFUSE_MALFORMED, "frame %d: code %u", i, code);
    }
    cr_expect_eq(counter(&c.manager, "decoded"), decoded);
    for (int i = 0; i < 5000; i++)
        gate_send(&g, MSG_STATUS, 1, 0, NULL); /* before HELLO, again and again */
    gate_close(&g);
    free(ferro_expect(&c, 0, NULL, "status"));
    cluster_fini(&c);
}
