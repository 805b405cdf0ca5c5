/* wire.c - connections: FIFO each way, with delays, partitions and every way to break.
 *
 * A connection that breaks loses a suffix of what was sent, and tells each end
 * after what still came through; one that is half open tells nobody until
 * somebody sends long enough.  A sender never knows what arrived.
 */
#include "tests/sim/sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DIAL_NS_MAX (5 * SEC)      /* then it is unreachable */
#define HANDSHAKE_NS_MAX (3 * SEC) /* of a listener that does not answer */
#define PROBE_NS_MAX SEC

/* ---- pipes --------------------------------------------------------------------- */

static void on_arrival(struct sim *s, struct todo *t);

static struct item *head_of(struct pipe_sim *q)
{
    return q->head < q->items.n / sizeof(struct item) ? (struct item *)q->items.p + q->head : NULL;
}

static uint32_t length_of(const struct pipe_sim *q)
{
    return (uint32_t)(q->items.n / sizeof(struct item)) - q->head;
}

static void schedule(struct sim *s, struct wire *l, int from)
{
    struct pipe_sim *q = &l->pipe[from];
    struct item *it = head_of(q);
    if (q->scheduled || !it || l->stalled)
        return;
    q->scheduled = true;
    struct todo *t = sim_after(s, it->at > s->now ? it->at - s->now : 0, on_arrival, NULL);
    t->x = l;
    t->a = (uint64_t)from;
}

static uint64_t latency(struct sim *s, const struct wire *l, int from)
{
    uint32_t a = l->end[from]->node, b = l->end[!from]->node;
    if (s->delayed[a][b] > s->now)
        return sim_between(s, 100 * US, 5 * SEC);
    return sim_between(s, 50 * US, 600 * US);
}

static void put(struct sim *s, struct wire *l, int from, struct item it)
{
    struct pipe_sim *q = &l->pipe[from];
    it.at = s->now + latency(s, l, from);
    if (it.at < q->last_at)
        it.at = q->last_at;
    q->last_at = it.at;
    buf_put(&q->items, &it, sizeof it);
    schedule(s, l, from);
}

/* Of what is under way only the first `keep` still arrive. */
static void truncate_to(struct pipe_sim *q, uint32_t keep)
{
    uint32_t n = length_of(q);
    for (uint32_t i = keep; i < n; i++)
        free((void *)((struct item *)q->items.p + q->head + i)->frame.p);
    if (n > keep)
        q->items.n = (q->head + keep) * sizeof(struct item);
}

static void detach(struct wire *l, int end)
{
    if (!l->attached[end])
        return;
    l->attached[end] = false;
    if (l->end[end]->life == l->life[end] && l->conn[end])
        map_del(&l->end[end]->conns, l->conn[end]);
}

/* ---- breaking --------------------------------------------------------------------- */

/* End `end` will hear no more than a random part of what is under way to it, then that it is down. */
static void tell_down(struct sim *s, struct wire *l, int end, enum down_reason reason, bool all_arrives)
{
    struct pipe_sim *q = &l->pipe[!end];
    if (!all_arrives)
        truncate_to(q, (uint32_t)sim_below(s, length_of(q) + 1u));
    put(s, l, !end, (struct item){ .kind = ITEM_DOWN, .reason = reason });
}

/* Both ends hear of it, each in its own time. */
static void break_both(struct sim *s, struct wire *l, bool all_arrives)
{
    for (int e = 0; e < 2; e++)
        if (l->attached[e] || (e == 1 && !l->conn[1]))
            tell_down(s, l, e, DOWN_CLOSED, all_arrives);
    l->broken = true;
    l->up = false;
}

static void to_link(struct proc *p, struct wire *l, int end, enum down_reason reason);

static void on_down_now(struct sim *s, struct todo *t)
{
    (void)s;
    struct wire *l = t->x;
    to_link(t->p, l, (int)t->a, (enum down_reason)t->b);
}

/* This end notices by itself, at once: frames that it has not read are gone. */
static void down_here(struct sim *s, struct wire *l, int end, enum down_reason reason)
{
    truncate_to(&l->pipe[!end], 0);
    struct todo *t = sim_after(s, 0, on_down_now, l->end[end]);
    t->x = l;
    t->a = (uint64_t)end;
    t->b = reason;
    if (l->attached[end] && l->conn[end])
        map_del(&l->end[end]->conns, l->conn[end]);
}

/* ---- arriving ------------------------------------------------------------------------ */

static void to_link(struct proc *p, struct wire *l, int end, enum down_reason reason)
{
    static const char *const words[] = {
        "", "connection closed", "connection refused", "key not admitted", "no answer", "peer does not read"
    };
    if (!l->attached[end])
        return;
    detach(l, end);
    sim_trace(p->sim, "%s: conn=%llx down: %s", p->name, (unsigned long long)l->conn[end], words[reason]);
    proc_event(
        p, &(struct event){ .kind = EV_CONN_DOWN, .conn = l->conn[end], .down = { reason, words[reason] } });
}

static void accept_first(struct proc *p, struct wire *l)
{
    l->conn[1] = p->next_conn++;
    l->attached[1] = true;
    map_put(&p->conns, l->conn[1], l);
}

/* Without a credit: the end that was asked answers so by itself. */
static bool out_of_credit(struct sim *s, struct wire *l, int end, struct bytes frame)
{
    struct arena arena = { 0 };
    struct buf out = { 0 };
    struct head head;
    struct error e;
    struct proc *p = l->end[end];
    if (frame.p[1] != MSG_BLOCK_GET || !l->one_credit || !stray_goes_on(s) || l->serving[end]++ == 0)
        return false;
    l->serving[end]--;
    const struct msg_block_get *m = proto_decode(&arena, frame, &head, &e);
    struct msg_block_err busy = { .tag = m ? m->tag : 0,
                                  .code = BLOCK_BUSY,
                                  .words = bytes_of("too many chunks are under way") };
    fault_struck(s, FAULT_CREDIT);
    proto_encode(&out, &(struct head){ .tag = MSG_BLOCK_ERR, .epoch = p->epoch, .generation = p->generation },
                 &busy);
    uint8_t *own = malloc(out.n);
    if (!own)
        abort();
    memcpy(own, out.p, out.n);
    put(s, l, end, (struct item){ .kind = ITEM_FRAME, .frame = { own, (uint32_t)out.n } });
    buf_fini(&out);
    arena_fini(&arena);
    return true;
}

static void frame_arrives(struct sim *s, struct wire *l, int end, const struct item *it)
{
    struct proc *p = l->end[end];
    enum role role;
    if (end == 1 && !l->conn[1])
        accept_first(p, l);
    if (!l->attached[end])
        return;
    struct event ev = { .kind = EV_RECV, .conn = l->conn[end] };
    ev.recv.role = end ? l->dialler_role : l->acceptor_role;
    ev.recv.frame = it->frame;
    memcpy(ev.recv.key, end ? l->dialler_key : l->server_key, KEY_BYTES);
    if (end && !proc_admits(p, l->dialler_key, &role))
        return; /* of a key revoked meanwhile */
    if (out_of_credit(s, l, end, it->frame))
        return;
    proc_event(p, &ev);
}

void wire_deliver(struct wire *l, int end, struct bytes frame)
{
    frame_arrives(l->end[end]->sim, l, end, &(struct item){ .frame = frame });
}

static void arrive(struct sim *s, struct wire *l, int from, struct item it)
{
    int end = !from;
    struct proc *p = l->end[end];
    if (p->life != l->life[end] || !p->alive)
        return;
    if (it.kind == ITEM_FRAME)
        frame_arrives(s, l, end, &it);
    else if (it.kind == ITEM_DOWN)
        to_link(p, l, end, it.reason);
    else if (l->attached[end]) {
        sim_trace(s, "%s: conn=%llx up", p->name, (unsigned long long)l->conn[end]);
        l->up = true;
        proc_event(p, &(struct event){ .kind = EV_CONN_UP, .conn = l->conn[end] });
    }
}

static void compact(struct pipe_sim *q)
{
    uint32_t n = length_of(q);
    if (q->head < 64 && n)
        return;
    if (n)
        memmove(q->items.p, q->items.p + q->head * sizeof(struct item), n * sizeof(struct item));
    q->items.n = n * sizeof(struct item);
    q->head = 0;
}

static void on_arrival(struct sim *s, struct todo *t)
{
    struct wire *l = t->x;
    int from = (int)t->a;
    struct pipe_sim *q = &l->pipe[from];
    struct item *it = head_of(q);
    uint64_t until = s->blocked[l->end[from]->node][l->end[!from]->node];
    q->scheduled = false;
    if (!it || l->stalled)
        return;
    if (until > it->at && until > s->now) /* sent again once the way is free */
        it->at = until + sim_between(s, MSEC, 300 * MSEC);
    if (it->at > s->now) {
        q->last_at = it->at > q->last_at ? it->at : q->last_at;
        schedule(s, l, from);
        return;
    }
    struct item now = *it;
    q->head++;
    compact(q);
    arrive(s, l, from, now);
    free((void *)now.frame.p);
    schedule(s, l, from);
}

/* ---- sending ---------------------------------------------------------------------------- */

void wire_send(struct proc *p, conn_id conn, struct bytes frame)
{
    struct sim *s = p->sim;
    struct wire *l = map_get(&p->conns, conn);
    if (!l)
        return; /* it has been told that this one is down */
    int end = l->end[1] == p && l->conn[1] == conn && l->attached[1];
    if (l->silent && s->now >= l->rst_at) {
        down_here(s, l, end, DOWN_CLOSED);
        return;
    }
    if (l->silent)
        return;
    if (!l->up) {
        if (end == 0 && l->attached[0] && !l->broken)
            down_here(s, l, 0, DOWN_CLOSED); /* not connected: a programmer's error in a core */
        return;
    }
    if (length_of(&l->pipe[end]) >= l->limit) {
        if (l->limit < QUEUE_FRAMES_MAX)
            fault_struck(s, FAULT_FULL);
        tell_down(s, l, !end, DOWN_CLOSED, false);
        down_here(s, l, end, DOWN_FULL);
        l->broken = true;
        l->up = false;
        return;
    }
    if ((frame.p[1] == MSG_BLOCK_DATA || frame.p[1] == MSG_BLOCK_ERR) && l->serving[end])
        l->serving[end]--;
    if (stray_takes(s, l, end, frame))
        return;
    uint8_t *copy = malloc(frame.n + 1u);
    if (!copy)
        abort();
    memcpy(copy, frame.p, frame.n);
    put(s, l, end, (struct item){ .kind = ITEM_FRAME, .frame = { copy, frame.n } });
}

void wire_cut(struct proc *p, conn_id conn)
{
    struct sim *s = p->sim;
    struct wire *l = map_get(&p->conns, conn);
    if (!l)
        return;
    int end = l->end[1] == p && l->conn[1] == conn && l->attached[1];
    detach(l, end);
    truncate_to(&l->pipe[!end], 0);
    if (!l->silent && (l->up || end == 0))
        tell_down(s, l, !end, DOWN_CLOSED, end == 0); /* a dialled one lingers, a ROUTER's is shut */
    l->broken = true;
    l->up = false;
}

/* ---- dialling ------------------------------------------------------------------------------ */

static struct proc *at_address(struct sim *s, const char *address, uint32_t *port)
{
    uint32_t node;
    if (sscanf(address, "n%u:%u", &node, port) != 2 || node >= s->nprocs)
        return NULL;
    return &s->procs[node];
}

static void answer_dial(struct sim *s, struct wire *l, uint64_t ns, enum down_reason reason)
{
    struct todo *t = sim_after(s, ns, on_down_now, l->end[0]);
    t->x = l;
    t->b = reason;
}

static bool unreachable(const struct sim *s, const struct proc *from, const struct proc *to)
{
    return (!to->alive && to->silent_dead) || s->blocked[from->node][to->node] > s->now ||
           s->blocked[to->node][from->node] > s->now;
}

static void on_dial(struct sim *s, struct todo *t)
{
    struct wire *l = t->x;
    struct proc *from = l->end[0], *to = l->end[1];
    uint64_t waited = s->now - l->asked_at;
    if (!l->attached[0])
        return;
    if (unreachable(s, from, to)) { /* SYN goes out again */
        if (waited >= DIAL_NS_MAX)
            answer_dial(s, l, 0, DOWN_UNREACHABLE);
        else
            sim_after(s, 250 * MSEC, on_dial, from)->x = l;
    } else if (!to->alive || (l->port != to->port && l->port != to->port + 1))
        answer_dial(s, l, 100 * US, DOWN_REFUSED);
    else if (to->paused) {
        if (waited >= HANDSHAKE_NS_MAX)
            answer_dial(s, l, 0, DOWN_CLOSED);
        else
            sim_after(s, 250 * MSEC, on_dial, from)->x = l;
    } else if (memcmp(l->server_key, to->kind == PROC_MANAGER ? s->manager_key : to->x.public_key,
                      KEY_BYTES) ||
               !proc_admits(to, l->dialler_key, &l->dialler_role))
        answer_dial(s, l, 200 * US, DOWN_UNAUTHORISED);
    else {
        l->life[1] = to->life;
        l->accepted = true;
        put(s, l, 1, (struct item){ .kind = ITEM_UP });
    }
}

void wire_dial(struct proc *p, conn_id conn, const char *address, const uint8_t server_key[KEY_BYTES],
               const uint8_t own_key[KEY_BYTES], enum role role)
{
    struct sim *s = p->sim;
    uint32_t port = 0;
    struct proc *to = at_address(s, address, &port);
    struct wire *l = calloc(1, sizeof *l);
    if (!l)
        abort();
    *l = (struct wire){ .id = s->next_link++,
                        .end = { p, to },
                        .life = { p->life, 0 },
                        .conn = { conn, 0 },
                        .attached = { true, false },
                        .acceptor_role = role,
                        .port = port,
                        .asked_at = s->now,
                        .limit = QUEUE_FRAMES_MAX };
    memcpy(l->server_key, server_key, KEY_BYTES);
    memcpy(l->dialler_key, own_key, KEY_BYTES);
    map_put(&s->links, l->id, l);
    if (map_has(&p->conns, conn))
        sim_fail(s, "conn-numbers", "%s dials with a connection number that is in use", p->name);
    map_put(&p->conns, conn, l);
    if (!to) {
        sim_fail(s, "address", "%s dials '%s'", p->name, address);
        l->end[1] = p;
        return;
    }
    l->one_credit = fault_hits(s, FAULT_CREDIT);
    l->limit = fault_hits(s, FAULT_FULL) ? (uint32_t)sim_between(s, 1, 6) : QUEUE_FRAMES_MAX;
    sim_after(s, sim_between(s, 100 * US, 2 * MSEC), on_dial, p)->x = l;
}

void wire_revoke(struct proc *p, const uint8_t key[KEY_BYTES])
{
    struct sim *s = p->sim;
    MAP_EACH(&p->conns, i) {
        struct wire *l = map_at(&p->conns, i);
        if (l->end[1] != p || l->life[1] != p->life || !l->attached[1] ||
            memcmp(l->dialler_key, key, KEY_BYTES))
            continue;
        if (!l->silent)
            tell_down(s, l, 0, DOWN_CLOSED, false);
        down_here(s, l, 1, DOWN_UNAUTHORISED);
        l->broken = true;
        l->up = false;
    }
}

/* ---- probes ----------------------------------------------------------------------------------- */

static void on_probed(struct sim *s, struct todo *t)
{
    (void)s;
    proc_event(t->p, &(struct event){ .kind = EV_PROBED, .id = t->a, .probed = { t->b != 0 } });
}

void wire_probe(struct proc *p, uint64_t id, const char *address)
{
    struct sim *s = p->sim;
    uint32_t port = 0;
    struct proc *to = at_address(s, address, &port);
    bool silent = !to || unreachable(s, p, to);
    bool refused = !silent && (!to->alive || (port != to->port && port != to->port + 1));
    struct todo *t = sim_after(s, silent ? PROBE_NS_MAX : sim_between(s, 50 * US, MSEC), on_probed, p);
    t->a = id;
    t->b = refused;
}

/* ---- faults ------------------------------------------------------------------------------------- */

void wire_died(struct proc *p, bool in_silence, bool flushed)
{
    struct sim *s = p->sim;
    MAP_EACH(&s->links, i) {
        struct wire *l = map_at(&s->links, i);
        for (int e = 0; e < 2; e++) {
            if (l->end[e] != p || l->life[e] != p->life || (e == 1 && !l->accepted))
                continue;
            truncate_to(&l->pipe[!e], 0);
            if (in_silence && !l->silent) {
                l->silent = true;
                l->rst_at = s->now + sim_below(s, 40 * SEC);
                sim_trouble(s, l->rst_at);
                truncate_to(&l->pipe[e], 0);
            } else if (!l->silent && l->accepted && !l->broken)
                tell_down(s, l, !e, DOWN_CLOSED, flushed);
            l->broken = !l->silent;
            l->up = l->silent && l->up;
            l->attached[e] = false;
        }
    }
}

/* Those that carry tasks are more interesting than those that carry beats. */
static uint32_t weight(const struct wire *l)
{
    return l->end[0]->kind == PROC_DRIVER && l->end[1]->kind == PROC_EXECUTOR && l->port == l->end[1]->port
               ? 5
               : 1;
}

struct wire *wire_some(struct sim *s)
{
    uint32_t n = 0;
    struct wire *chosen = NULL;
    MAP_EACH(&s->links, i) {
        struct wire *l = map_at(&s->links, i);
        if (!l->up || l->silent || l->stalled || !l->attached[0] || l->end[0]->kind == PROC_USER)
            continue;
        n += weight(l);
        if (sim_below(s, n) < weight(l))
            chosen = l;
    }
    return chosen;
}

static void on_cut(struct sim *s, struct todo *t)
{
    struct wire *l = t->x;
    l->stalled = false;
    sim_trace(s, "FAULT the connection between %s and %s is cut", l->end[0]->name, l->end[1]->name);
    if (l->up && !l->silent)
        break_both(s, l, false);
    for (int e = 0; e < 2; e++)
        schedule(s, l, e);
}

/* What is sent in its last moments is among what may be lost. */
void wire_fault_cut(struct sim *s, struct wire *l)
{
    l->stalled = true;
    sim_after(s, sim_below(s, sim_chance(s, 500000) ? 2 * MSEC : 400 * MSEC), on_cut, NULL)->x = l;
}

void wire_fault_half_open(struct sim *s, struct wire *l)
{
    int told = (int)sim_below(s, 3);
    sim_trace(s, "FAULT the connection between %s and %s is half open", l->end[0]->name, l->end[1]->name);
    for (int e = 0; e < 2; e++)
        truncate_to(&l->pipe[e], 0);
    l->silent = true;
    l->rst_at = s->now + sim_below(s, 40 * SEC);
    if (told < 2 && l->attached[told])
        tell_down(s, l, told, DOWN_CLOSED, true);
    sim_trouble(s, l->rst_at);
}

void wire_calm(struct sim *s)
{
    MAP_EACH(&s->links, i) {
        struct wire *l = map_at(&s->links, i);
        if (l->up && !l->silent && l->end[0]->kind != PROC_USER)
            break_both(s, l, false);
    }
}

void wire_fini(struct sim *s)
{
    MAP_EACH(&s->links, i) {
        struct wire *l = map_at(&s->links, i);
        for (int e = 0; e < 2; e++) {
            truncate_to(&l->pipe[e], 0);
            buf_fini(&l->pipe[e].items);
        }
        free(l);
    }
    map_fini(&s->links);
}
