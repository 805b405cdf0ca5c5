/* session.c - see session.h: errors are said here, once, with what to do. */
#include "cli/session.h"
#include "common/base/clock.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#define REFUSED_MS 2000 /* a manager that was started a moment ago will listen */
#define REFUSED_SAID_MS 1000
#define REFUSED_EACH_MS 50
#define AGAIN_MS 60000 /* a manager that went away is given so long to come back */
#define AGAIN_EACH_MS 250

static int exit_code_for(const struct error *e)
{
    switch (e->code) {
    case ECONNREFUSED:
    case EHOSTUNREACH:
    case ETIMEDOUT: return EXIT_NO_MANAGER;
    case EACCES:
    case EPERM: return EXIT_UNAUTHORISED;
    }
    return EXIT_WRONG;
}

static int said(const struct error *e)
{
    const char *hint = "";
    if (e->code == ECONNREFUSED || e->code == EHOSTUNREACH)
        hint = "; is ferro-manager running there? (--manager or FERRO_MANAGER)";
    else if (e->code == EACCES && strncmp(e->words, "key ", 4))
        hint = "; is this key of that cluster? (--key or FERRO_KEY)";
    else if (e->code == EPERM)
        hint = "; the owner's or an admin's key may (--key or FERRO_KEY)";
    return verb_error(exit_code_for(e), "%s%s", e->words, hint);
}

static int dial(struct session *s, struct error *e)
{
    const struct where *w = &s->where;
    s->client =
        client_open(w->manager, s->key.manager, s->key.pair.public_key, s->key.pair.secret, w->timeout_ms, e);
    return s->client ? 0 : -1;
}

/* The same, again while nobody listens there, for a little. */
static int dial_patiently(struct session *s, struct error *e)
{
    const uint64_t began = clock_now_ns(), ms = 1000000;
    uint64_t patience = s->where.timeout_ms < REFUSED_MS ? s->where.timeout_ms : REFUSED_MS;
    bool said_it = false;
    while (dial(s, e)) {
        uint64_t waited = (clock_now_ns() - began) / ms;
        if (e->code != ECONNREFUSED || waited >= patience)
            return -1;
        if (waited >= REFUSED_SAID_MS && !said_it)
            fprintf(stderr, "ferro: waiting for ferro-manager at %s\n", s->where.manager);
        said_it = waited >= REFUSED_SAID_MS;
        poll(NULL, 0, REFUSED_EACH_MS);
    }
    return 0;
}

int session_open(struct session *s, const struct where *where)
{
    struct error e;
    *s = (struct session){ .where = *where };
    if (key_load(where->key, &s->key, &e))
        return verb_error(e.code == EACCES ? EXIT_UNAUTHORISED : EXIT_WRONG,
                          "%s (--key or FERRO_KEY names another)", e.words);
    int failed = dial_patiently(s, &e);
    key_wipe(s->key.pair.secret, KEY_BYTES);
    return failed ? said(&e) : EXIT_GOOD;
}

/* The manager went away.  SESSION_AGAIN when it came back, else an exit code after the error was said. */
static int come_back(struct session *s, struct error *e)
{
    fprintf(stderr, "%s; waiting up to %d s for it to come back\n", e->words, AGAIN_MS / 1000);
    for (int waited = 0; waited < AGAIN_MS; waited += AGAIN_EACH_MS) {
        poll(NULL, 0, AGAIN_EACH_MS);
        client_close(&s->client);
        bool back = key_load(s->where.key, &s->key, e) == 0 && dial(s, e) == 0;
        key_wipe(s->key.pair.secret, KEY_BYTES);
        if (back)
            return SESSION_AGAIN;
        if (exit_code_for(e) != EXIT_NO_MANAGER)
            break;
    }
    return said(e);
}

void session_close(struct session *s)
{
    client_close(&s->client);
    key_wipe(&s->key, sizeof s->key);
}

int session_send(struct session *s, uint8_t tag, const void *msg)
{
    struct error e;
    if (!s->client)
        return verb_error(EXIT_NO_MANAGER, "manager %s: no connection", s->where.manager);
    return client_send(s->client, tag, msg, &e) ? said(&e) : EXIT_GOOD;
}

const void *session_await(struct session *s, uint8_t reply, uint64_t wait_ms, int *code)
{
    struct error e;
    const void *m = client_recv(s->client, reply, wait_ms, &e);
    if (m)
        *code = EXIT_GOOD;
    else
        *code = s->patient && exit_code_for(&e) == EXIT_NO_MANAGER ? come_back(s, &e) : said(&e);
    return m;
}

const void *session_call(struct session *s, uint8_t tag, const void *msg, uint8_t reply, int *code)
{
    *code = session_send(s, tag, msg);
    return *code ? NULL : session_await(s, reply, s->where.timeout_ms, code);
}
