/* keyring.c - whose keys there are: authorized ones, incarnations, applications.
 *
 * Peers choose their throw-away keys, so a key that is somebody's already is
 * never given a second meaning.
 */
#include "manager/core/core.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t hash_of(const uint8_t key[KEY_BYTES])
{
    uint64_t h;
    memcpy(&h, key, sizeof h);
    return h;
}

struct known *keyring_find(const struct manager *m, const uint8_t key[KEY_BYTES])
{
    struct known *k = map_get(&m->known, hash_of(key));
    return k && !memcmp(k->key, key, KEY_BYTES) ? k : NULL;
}

struct known *keyring_add(struct manager *m, const uint8_t key[KEY_BYTES], enum role role)
{
    if (map_has(&m->known, hash_of(key)))
        return NULL;
    struct known *k = calloc(1, sizeof *k);
    if (!k)
        abort();
    memcpy(k->key, key, KEY_BYTES);
    k->role = role;
    map_put(&m->known, hash_of(key), k);
    if (role != ROLE_FETCH) { /* fetch keys are for executors: known here only to be unique */
        struct action *act = actions_add(m->out, ACT_ADMIT);
        memcpy(act->admit.key, key, KEY_BYTES);
        act->admit.role = role;
    }
    return k;
}

void keyring_revoke(struct manager *m, const uint8_t key[KEY_BYTES])
{
    struct known *k = keyring_find(m, key);
    if (!k)
        return;
    if (k->role != ROLE_FETCH) {
        struct action *act = actions_add(m->out, ACT_REVOKE);
        memcpy(act->admit.key, key, KEY_BYTES);
        act->admit.role = k->role;
    }
    map_del(&m->known, hash_of(key));
    free(k);
}

static bool authorized(const struct known *k)
{
    return k->role & (ROLE_JOIN | ROLE_SERVICE | ROLE_USER | ROLE_ADMIN);
}

static void list(struct manager *m, const struct manager_key *key)
{
    struct known *k = keyring_find(m, key->key);
    if (k && authorized(k) &&
        k->role != key->role) { /* the same key in a new role: its connections start afresh */
        keyring_revoke(m, key->key);
        k = NULL;
    }
    if (!k)
        k = keyring_add(m, key->key, key->role);
    if (!k || !authorized(k)) {
        actions_log(m->out, LOG_ERROR, "key '%s' is in use already: not admitted", key->name);
        return;
    }
    snprintf(k->name, sizeof k->name, "%s", key->name);
    k->listed = true;
}

static void revoke_unlisted(struct manager *m, struct known *k)
{
    actions_log(m->out, LOG_INFO, "key '%s' is revoked", k->name);
    if (k->role == ROLE_JOIN)
        watch_revoked(m, k->key);
    keyring_revoke(m, k->key);
}

void keyring_set(struct manager *m, const struct manager_keys *keys)
{
    MAP_EACH(&m->known, i)
        ((struct known *)map_at(&m->known, i))->listed = false;
    for (uint32_t i = 0; i < keys->n; i++)
        list(m, &keys->v[i]);
    MAP_EACH(&m->known, i) {
        struct known *k = map_at(&m->known, i);
        if (authorized(k) && !k->listed)
            revoke_unlisted(m, k);
    }
}
