/* user.c - people: open applications, and sometimes kill them, over the real frames. */
#include "tests/sim/sim.h"

#include <stdlib.h>
#include <string.h>

static void dial(struct sim *s, struct todo *t)
{
    struct user_sim *u = &s->users[t->a];
    if (!u->waiting)
        return;
    u->conn = CONN_DIALLED + ++s->next_user_conn;
    wire_dial(t->p, u->conn, "n0:7000", s->manager_key, s->user_key, ROLE_MANAGER);
}

static struct proc *person(struct sim *s)
{
    return &s->procs[1];
}

void user_add(struct sim *s, uint32_t app_index, bool kill, uint64_t after)
{
    uint32_t n = s->nusers;
    if (n == sizeof s->users / sizeof *s->users)
        return;
    s->users[s->nusers++] =
        (struct user_sim){ .p = person(s), .app_index = app_index, .waiting = true, .kill = kill };
    sim_after(s, after, dial, person(s))->a = n;
}

static void again(struct sim *s, struct user_sim *u)
{
    u->conn = 0;
    sim_after(s, sim_between(s, 50 * MSEC, SEC), dial, u->p)->a = (uint64_t)(u - s->users);
}

static void say(struct user_sim *u, uint8_t tag, const void *msg)
{
    struct buf frame = { 0 };
    proto_encode(&frame, &(struct head){ .tag = tag, .epoch = u->epoch, .generation = u->generation }, msg);
    wire_send(u->p, u->conn, (struct bytes){ frame.p, (uint32_t)frame.n });
    buf_fini(&frame);
}

/* Each try is another application, with keys of its own: the manager ends those that nobody drives. */
static void open_app(struct sim *s, struct user_sim *u)
{
    struct app_sim *a = &s->apps[u->app_index];
    sim_key(s, a->driver_key);
    sim_key(s, a->fetch_key);
    for (int i = 0; i < KEY_BYTES; i++)
        a->fetch_secret[i] = (uint8_t)~a->fetch_key[i];
    a->opens++;
    struct msg_app_open m = { .name = bytes_of(a->name) };
    memcpy(m.driver_key, a->driver_key, KEY_BYTES);
    memcpy(m.fetch_key, a->fetch_key, KEY_BYTES);
    memcpy(m.fetch_secret, a->fetch_secret, KEY_BYTES);
    say(u, MSG_APP_OPEN, &m);
}

static void opened(struct sim *s, struct user_sim *u, const struct head *head, const struct msg_app_ok *m)
{
    struct app_sim *a = &s->apps[u->app_index];
    struct proc *p = proc_of_app(s, u->app_index);
    u->waiting = false;
    wire_cut(u->p, u->conn);
    a->app = m->app;
    a->epoch = head->epoch;
    p->d.impaired_until = p->d.impaired_since = 0;
    proc_start(p);
}

static void welcomed(struct sim *s, struct user_sim *u, const struct head *head, const struct msg_welcome *m)
{
    u->epoch = head->epoch;
    u->generation = m->generation;
    if (s->old_store) { /* it would number an application as another is: nobody lets people in there */
        wire_cut(u->p, u->conn);
        again(s, u);
    } else if (u->kill)
        say(u, MSG_KILL, &(struct msg_kill){ .app = s->apps[u->app_index].app });
    else
        open_app(s, u);
}

static void heard(struct sim *s, struct user_sim *u, struct bytes frame)
{
    struct arena arena = { 0 };
    struct head head;
    struct error e;
    const void *m = proto_admit(frame, ROLE_MANAGER, &e) ? proto_decode(&arena, frame, &head, &e) : NULL;
    if (!m)
        sim_fail(s, "user-frame", "a user was sent nonsense: %s", e.words);
    else if (head.tag == MSG_WELCOME)
        welcomed(s, u, &head, m);
    else if (head.tag == MSG_APP_OK && !u->kill)
        opened(s, u, &head, m);
    else if (head.tag == MSG_APPS && u->kill) {
        u->waiting = false;
        wire_cut(u->p, u->conn);
    } else if (head.tag == MSG_REFUSE) {
        const struct msg_refuse *r = m;
        if (u->kill && r->code == REFUSE_NO_APP)
            u->waiting = false;
        else if (r->code == REFUSE_NO_APP) { /* it ended while it was being opened */
            wire_cut(u->p, u->conn);
            again(s, u);
        } else if (r->code != REFUSE_EPOCH && !s->hostile)
            sim_fail(s, "user-refused", "a user was refused with code %u: %.*s", r->code, (int)r->words.n,
                     (const char *)r->words.p);
    }
    arena_fini(&arena);
}

void user_event(struct proc *p, const struct event *ev)
{
    struct sim *s = p->sim;
    struct msg_hello hello = { .major = PROTO_MAJOR, .minor = PROTO_MINOR, .name = bytes_of("ferro") };
    for (uint32_t i = 0; i < s->nusers; i++) {
        struct user_sim *u = &s->users[i];
        if (!u->waiting || u->conn != ev->conn)
            continue;
        u->generation = ev->kind == EV_CONN_UP ? 0 : u->generation;
        if (ev->kind == EV_CONN_UP)
            say(u, MSG_HELLO, &hello);
        else if (ev->kind == EV_CONN_DOWN)
            again(s, u);
        else if (ev->kind == EV_RECV)
            heard(s, u, ev->recv.frame);
    }
}
