/* roster.c - executors come: a throw-away key is admitted, an incarnation joins; and they drain. */
#include "manager/core/core.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- who is there --------------------------------------------------------- */

static uint64_t hash_of(const uint8_t incarnation[ID_BYTES])
{
    uint64_t h;
    memcpy(&h, incarnation, sizeof h);
    return h;
}

struct executor *roster_find(const struct manager *m, const uint8_t incarnation[ID_BYTES])
{
    struct executor *x = map_get(&m->joined, hash_of(incarnation));
    return x && !memcmp(x->incarnation, incarnation, ID_BYTES) ? x : NULL;
}

struct executor *roster_member(struct manager *m, struct peer *p, uint8_t tag)
{
    if (p->x && p->x->conn == p->conn)
        return p->x;
    manager_refuse(m, p, REFUSE_MALFORMED, tag, "%s before JOIN", proto_name(tag));
    return NULL;
}

static struct executor *by_id(const struct manager *m, const char *id)
{
    MAP_EACH(&m->joined, i) {
        struct executor *x = map_at(&m->joined, i);
        if (!strcmp(x->id, id))
            return x;
    }
    return NULL;
}

void roster_event(struct manager *m, const char *name, const struct executor *x, const char *words)
{
    struct manager_event *e = manager_event(m, name);
    e->executor = manager_copy(m, x->id);
    e->host = manager_copy(m, x->host);
    e->slots = x->slots;
    e->words = manager_copy(m, words);
    actions_log(m->out, LOG_INFO, "%s id=%s host=%s slots=%u%s%s", name, x->id, x->host, x->slots,
                *words ? ": " : "", words);
}

void roster_tell(struct manager *m, struct executor *x, enum exec_state state, const char *words)
{
    struct msg_exec_state s = { .generation = x->generation, .state = state, .words = bytes_of(words) };
    MAP_EACH(&x->apps, i) {
        const struct app *a = map_get(&m->apps, map_key(&x->apps, i));
        if (a && a->driver && apps_live(a))
            manager_send(m, a->driver, MSG_EXEC_STATE, &s);
    }
}

void roster_free(struct executor *x)
{
    map_fini(&x->leases);
    map_fini(&x->apps);
    free(x);
}

/* ---- enrolling ------------------------------------------------------------ */

static bool enrol(struct manager *m, struct peer *p, const uint8_t key[KEY_BYTES])
{
    if (m->executors.n >= m->config.executors_max) {
        manager_refuse(m, p, REFUSE_LIMIT, MSG_ENROL, "this cluster has its %u executors (--executors-max)",
                       m->config.executors_max);
        return false;
    }
    struct known *k = keyring_add(m, key, ROLE_EXECUTOR);
    if (!k) {
        manager_refuse(m, p, REFUSE_DENIED, MSG_ENROL, "that key is somebody's already");
        return false;
    }
    struct executor *x = calloc(1, sizeof *x);
    if (!x)
        abort();
    x->generation = m->next_generation++;
    x->state = MEMBER_ENROLLED;
    x->since_ns = m->now;
    memcpy(x->key, key, KEY_BYTES);
    memcpy(x->join_key, p->key, KEY_BYTES);
    map_put(&m->executors, x->generation, x);
    k->x = x;
    return true;
}

void roster_on_enrol(struct manager *m, struct peer *p, const void *msg)
{
    const struct msg_enrol *e = msg;
    const struct known *k = keyring_find(m, e->key);
    bool ours = k && k->role == ROLE_EXECUTOR && !memcmp(k->x->join_key, p->key, KEY_BYTES);
    if (ours && k->x->state == MEMBER_LOST)
        manager_refuse(m, p, REFUSE_GENERATION, 0, "this incarnation was given up as lost: start afresh");
    else if (ours || enrol(m, p, e->key))
        manager_send(m, p->conn, MSG_ENROLLED, NULL);
}

/* ---- joining -------------------------------------------------------------- */

static bool may_join(struct manager *m, struct peer *p, const struct msg_join *j)
{
    const struct executor *x = p->x, *other = map_get(&m->joined, hash_of(j->incarnation));
    if (j->epoch_max > m->epoch)
        manager_refuse(m, p, REFUSE_EPOCH, MSG_JOIN,
                       "this executor has seen epoch %llu, this manager is at %llu: its state is an old copy",
                       (unsigned long long)j->epoch_max, (unsigned long long)m->epoch);
    else if (x->state != MEMBER_ENROLLED && memcmp(x->incarnation, j->incarnation, ID_BYTES))
        manager_refuse(m, p, REFUSE_MALFORMED, MSG_JOIN, "one key is one incarnation; this is another");
    else if (other && other != x)
        manager_refuse(m, p, REFUSE_DENIED, MSG_JOIN, "that incarnation is another executor's (%s)",
                       other->host);
    else
        return true;
    return false;
}

static void name_it(const struct manager *m, struct executor *x)
{
    char hex[2 * ID_BYTES + 1];
    struct block_id id;
    memcpy(id.b, x->incarnation, ID_BYTES);
    block_hex(id, hex);
    snprintf(x->id, sizeof x->id, "%.8s", hex);
    if (by_id(m, x->id))
        snprintf(x->id, sizeof x->id, "%.16s", hex);
}

static void introduce(struct manager *m, struct executor *x, const struct msg_join *j)
{
    memcpy(x->incarnation, j->incarnation, ID_BYTES);
    x->slots = j->slots;
    x->memory = j->memory;
    name_it(m, x);
    map_put(&m->joined, hash_of(x->incarnation), x);
}

/* What may differ from one connection to the next. */
static void address_it(struct executor *x, const struct msg_join *j)
{
    bytes_text(j->host, x->host, sizeof x->host);
    bytes_text(j->host_id, x->host_id, sizeof x->host_id);
    bytes_text(j->control, x->control, sizeof x->control);
    bytes_text(j->data, x->data, sizeof x->data);
    bytes_text(j->root, x->root, sizeof x->root);
    bytes_text(j->labels, x->labels, sizeof x->labels);
}

void roster_on_join(struct manager *m, struct peer *p, const void *msg)
{
    const struct msg_join *j = msg;
    struct executor *x = p->x;
    if (!may_join(m, p, j))
        return;
    conn_id old = x->conn;
    enum member was = x->state;
    if (was == MEMBER_ENROLLED)
        introduce(m, x, j);
    address_it(x, j);
    x->conn = p->conn;
    x->beat = p->beat;
    x->state = x->draining ? MEMBER_DRAINING : MEMBER_READY;
    map_del(&m->probing, x->generation);
    if (old && old != p->conn)
        peers_cut(m, old);
    claims_on_join(m, x, j, old == p->conn);
    if (was == MEMBER_ENROLLED)
        roster_event(m, "executor.joined", x, "");
    else if (was == MEMBER_SUSPECT)
        roster_tell(m, x, x->draining ? EXEC_DRAINING : EXEC_READY, "it is back");
    m->dirty = true;
}

/* ---- draining ------------------------------------------------------------- */

static void drain(struct manager *m, struct executor *x)
{
    if (x->draining)
        return;
    x->draining = true;
    if (x->state == MEMBER_READY)
        x->state = MEMBER_DRAINING;
    roster_tell(m, x, EXEC_DRAINING, "it is leaving");
    MAP_EACH(&x->leases, i)
        leases_close(m, map_at(&x->leases, i), DRAIN_GRACE_MS, "its executor is leaving");
    roster_event(m, "executor.draining", x, "");
    m->dirty = true;
}

void roster_on_drain(struct manager *m, struct peer *p, const void *msg)
{
    char id[17];
    struct executor *x;
    bytes_text(((const struct msg_drain *)msg)->executor, id, sizeof id);
    if (p->role == ROLE_EXECUTOR) {
        if ((x = roster_member(m, p, MSG_DRAIN)))
            drain(m, x);
    } else if (!(x = by_id(m, id)))
        manager_refuse(m, p, REFUSE_NO_APP, MSG_DRAIN, "no executor '%s'; ferro executors lists them", id);
    else {
        drain(m, x);
        manager_send(m, x->conn, MSG_DRAIN, &(struct msg_drain){ 0 });
        manager_send(m, p->conn, MSG_BYE_OK, NULL);
    }
}
