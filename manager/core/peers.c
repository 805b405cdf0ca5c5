/* peers.c - connections: who is at the other end, HELLO and WELCOME, beats both ways. */
#include "manager/core/core.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BEAT_EXECUTORS 500 /* beats are stretched by one interval for each so many */
#define BEAT_MS_MAX 60000

struct peer *peers_get(struct manager *m, const struct event *ev)
{
    struct peer *p = map_get(&m->peers, ev->conn);
    if (p)
        return p;
    p = calloc(1, sizeof *p);
    if (!p)
        abort();
    p->conn = ev->conn;
    p->role = ev->recv.role;
    memcpy(p->key, ev->recv.key, KEY_BYTES);
    map_put(&m->peers, p->conn, p);
    return p;
}

/* More executors, fewer beats of each; always several before one is suspect. */
uint32_t peers_beat_ms(const struct manager *m)
{
    uint64_t ms = m->config.beat_ms * (1ull + m->executors.n / BEAT_EXECUTORS);
    uint64_t most = m->config.suspect_ms / 3 < BEAT_MS_MAX ? m->config.suspect_ms / 3 : BEAT_MS_MAX;
    if (ms > most)
        ms = most;
    return ms ? (uint32_t)ms : 1;
}

/* ---- the end of a connection ---------------------------------------------- */

static void forget(struct manager *m, struct peer *p)
{
    map_del(&m->peers, p->conn);
    if (p->x && p->x->conn == p->conn)
        watch_closed(m, p->x);
    if (p->role == ROLE_DRIVER)
        apps_driver_away(m, p);
    if (p->role == ROLE_SERVICE)
        service_away(m, p);
    if (p->listens) {
        query_forget(m, p);
        submit_forget(m, p->conn);
    }
    free(p);
}

void peers_down(struct manager *m, conn_id conn)
{
    struct peer *p = map_get(&m->peers, conn);
    if (p)
        forget(m, p);
}

void peers_cut(struct manager *m, conn_id conn)
{
    struct peer *p = map_get(&m->peers, conn);
    if (!p)
        return;
    actions_add(m->out, ACT_CUT)->conn = conn;
    forget(m, p);
}

/* ---- meeting -------------------------------------------------------------- */

static void dismiss(struct manager *m, struct peer *p, enum refusal code, const char *words)
{
    manager_refuse(m, p, code, 0, "%s", words);
    p->cut_ns = m->now + REFUSED_CUT_NS;
}

static bool version_fits(struct manager *m, struct peer *p, const struct msg_hello *h)
{
    char words[256], name[65];
    if (h->major == PROTO_MAJOR)
        return true;
    snprintf(words, sizeof words, "%s speaks protocol %u.%u, this manager %u.%u: upgrade %s",
             bytes_text(h->name, name, sizeof name), h->major, h->minor, PROTO_MAJOR, PROTO_MINOR,
             h->major < PROTO_MAJOR ? "that side" : "the manager");
    dismiss(m, p, REFUSE_VERSION, words);
    return false;
}

/* What its key says about it; false: refused. */
static bool introduce(struct manager *m, struct peer *p)
{
    struct known *k = keyring_find(m, p->key);
    if (!k) {
        dismiss(m, p, REFUSE_DENIED, "this key is revoked");
        return false;
    }
    memcpy(p->name, k->name, sizeof p->name);
    if (p->role == ROLE_EXECUTOR) {
        if (k->x->state == MEMBER_LOST) {
            dismiss(m, p, REFUSE_GENERATION, "this incarnation was given up as lost: start afresh");
            return false;
        }
        p->x = k->x;
        p->generation = k->x->generation;
    } else if (p->role == ROLE_DRIVER)
        apps_driver_here(m, p);
    else
        p->generation = m->next_generation++;
    return true;
}

void peers_on_hello(struct manager *m, struct peer *p, const void *msg)
{
    const struct msg_hello *h = msg;
    if (p->hello) {
        manager_refuse(m, p, REFUSE_MALFORMED, MSG_HELLO, "a second HELLO");
        return;
    }
    if (!version_fits(m, p, h) || !introduce(m, p))
        return;
    p->hello = true;
    if (!*p->name)
        bytes_text(h->name, p->name, sizeof p->name);
    beat_init(&p->beat, m->now);
    struct msg_welcome w = { .minor = PROTO_MINOR,
                             .generation = p->generation,
                             .beat_ms = peers_beat_ms(m),
                             .suspect_ms = m->config.suspect_ms,
                             .lost_ms = m->config.lost_ms };
    manager_send(m, p->conn, MSG_WELCOME, &w);
}

/* ---- beats ---------------------------------------------------------------- */

void peers_on_beat(struct manager *m, struct peer *p, const void *msg)
{
    const struct msg_beat *b = msg;
    manager_send(m, p->conn, MSG_BEAT_ACK, &(struct msg_beat_ack){ .seq = b->seq });
    claims_on_beat(m, p, b->digest);
}

void peers_on_beat_ack(struct manager *m, struct peer *p, const void *msg)
{
    (void)m;
    beat_echo(&p->beat, ((const struct msg_beat_ack *)msg)->seq);
    if (p->x && p->x->conn == p->conn)
        p->x->beat = p->beat; /* the executor's own outlives the connection */
}

static bool beats(const struct peer *p)
{
    return p->hello && (p->role == ROLE_EXECUTOR ? p->x && p->x->conn == p->conn
                                                 : p->role == ROLE_DRIVER || p->role == ROLE_SERVICE);
}

void peers_time(struct manager *m)
{
    MAP_EACH(&m->peers, i) {
        struct peer *p = map_at(&m->peers, i);
        if (p->cut_ns && m->now >= p->cut_ns)
            peers_cut(m, p->conn);
        else if (beats(p) && p->role != ROLE_EXECUTOR &&
                 beat_silence_ns(&p->beat, m->now) > m->config.driver_lost_ms * MS)
            peers_cut(m, p->conn); /* half-open; judged from now on by its absence */
        else if (beats(p) && beat_due(&p->beat, m->now, peers_beat_ms(m) * MS))
            manager_send(m, p->conn, MSG_BEAT, &(struct msg_beat){ .seq = p->beat.seq });
    }
}

/* We were deaf for so long: nobody's silence is their fault. */
void peers_stalled(struct manager *m, uint64_t late_ns)
{
    MAP_EACH(&m->peers, i)
        beat_stalled(&((struct peer *)map_at(&m->peers, i))->beat, late_ns);
    MAP_EACH(&m->executors, i) {
        struct executor *x = map_at(&m->executors, i);
        beat_stalled(&x->beat, late_ns);
        x->since_ns += late_ns;
    }
    MAP_EACH(&m->leases, i)
        ((struct lease *)map_at(&m->leases, i))->since_ns += late_ns;
    MAP_EACH(&m->apps, i) {
        struct app *a = map_at(&m->apps, i);
        a->away_ns += late_ns;
        a->service_away_ns += late_ns;
        MAP_EACH(&a->claims, j)
            ((struct claim *)map_at(&a->claims, j))->since_ns += late_ns;
    }
}

void peers_on_bye(struct manager *m, struct peer *p, const void *msg)
{
    (void)msg;
    manager_send(m, p->conn, MSG_BYE_OK, NULL);
    if (p->x && p->x->conn == p->conn)
        watch_lost(m, p->x, "executor.left", "left");
    else if (p->role == ROLE_SERVICE)
        service_away(m, p);
}
