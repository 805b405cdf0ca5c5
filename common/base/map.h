/* map.h - a hash map from uint64_t to a pointer or a number, for pure cores.
 *
 * Iteration is in the order of insertion, whatever the keys: nothing depends on
 * addresses or on a hash's seed, so the same events give the same actions.
 *
 *     struct map leases = {0};                       // zero-initialise to use
 *     map_put(&leases, l->id, l);
 *     struct lease *l = map_get(&leases, id);
 *     MAP_EACH(&leases, i) { struct lease *l = map_at(&leases, i); ... }
 *
 * Values are borrowed: the map never frees one.  map_del() during an iteration
 * is allowed (of any entry); map_put() of a new key isn't: it may move entries.
 */
#ifndef FERRO_BASE_MAP_H
#define FERRO_BASE_MAP_H

#include <stdbool.h>
#include <stdint.h>

struct map_entry {
    uint64_t key, value;
    bool live;
};

struct map {
    struct map_entry *entries; /* owned; in order of insertion, with dead ones between */
    uint32_t *slots;           /* owned; open addressing: 1 + index into entries, 0 is free */
    uint32_t n;                /* live entries */
    uint32_t first, end, cap;  /* of entries: none live before `first`, none used from `end` on */
};

#define MAP_ENTRIES_MAX (1u << 28) /* more is a programmer's error: callers have limits of their own */

void *map_get(const struct map *m, uint64_t key);                     /* NULL: not there */
bool map_get_u64(const struct map *m, uint64_t key, uint64_t *value); /* false: not there, *value untouched */
bool map_has(const struct map *m, uint64_t key);

/* Set key's value.  A key that was there keeps its place in the order. */
void map_put(struct map *m, uint64_t key, void *value);
void map_put_u64(struct map *m, uint64_t key, uint64_t value);

bool map_del(struct map *m, uint64_t key); /* true: was there */
void map_clear(struct map *m);             /* memory is kept */
void map_fini(struct map *m);

/* Index of the first live entry at or after `from`; UINT32_MAX when there is none. */
uint32_t map_next(const struct map *m, uint32_t from);
#define MAP_EACH(m, i) for (uint32_t i = map_next((m), 0); i != UINT32_MAX; i = map_next((m), i + 1))

uint64_t map_key(const struct map *m, uint32_t i); /* of a live entry, i from map_next() */
void *map_at(const struct map *m, uint32_t i);
uint64_t map_at_u64(const struct map *m, uint32_t i);

#endif
