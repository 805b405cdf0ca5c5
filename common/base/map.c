/* map.c - see map.h.
 *
 * Entries lie in an array in order of insertion; an open-addressing table of
 * indices finds them (linear probing, at most two thirds full; deletion shifts
 * back, so the table has no tombstones).  Dead entries are squeezed out when the
 * array is full.
 */
#include "common/base/map.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ENTRIES_MIN 8

/* The table has 2 * cap slots: a power of two, as cap is. */
static uint32_t slot_mask(const struct map *m)
{
    return 2 * m->cap - 1;
}

/* The finaliser of splitmix64: every bit of the key counts. */
static uint32_t home_slot(const struct map *m, uint64_t key)
{
    key = (key ^ (key >> 30)) * 0xbf58476d1ce4e5b9u;
    key = (key ^ (key >> 27)) * 0x94d049bb133111ebu;
    return (uint32_t)(key ^ (key >> 31)) & slot_mask(m);
}

/* The slot that holds key, or the free one where it belongs. */
static uint32_t find_slot(const struct map *m, uint64_t key)
{
    uint32_t s = home_slot(m, key);
    while (m->slots[s] != 0 && m->entries[m->slots[s] - 1].key != key)
        s = (s + 1) & slot_mask(m);
    return s;
}

static struct map_entry *find(const struct map *m, uint64_t key)
{
    if (m->n == 0)
        return NULL;
    uint32_t index = m->slots[find_slot(m, key)];
    return index == 0 ? NULL : &m->entries[index - 1];
}

static void *must(void *p)
{
    if (p == NULL) {
        fprintf(stderr, "out of memory: a map grows\n");
        abort();
    }
    return p;
}

/* Squeeze out the dead, in order, and index what is left. */
static void rebuild(struct map *m)
{
    uint32_t end = 0;
    for (uint32_t i = m->first; i < m->end; i++)
        if (m->entries[i].live)
            m->entries[end++] = m->entries[i];
    m->first = 0;
    m->end = end;
    assert(end == m->n);
    memset(m->slots, 0, 2 * (size_t)m->cap * sizeof *m->slots);
    for (uint32_t i = 0; i < end; i++)
        m->slots[find_slot(m, m->entries[i].key)] = i + 1;
}

/* Room for one more entry.  Squeezing suffices while a quarter or more is dead. */
static void make_room(struct map *m)
{
    if (m->end < m->cap)
        return;
    if (m->cap == 0 || m->n > m->cap - m->cap / 4) {
        m->cap = m->cap == 0 ? ENTRIES_MIN : 2 * m->cap;
        assert(m->cap <= MAP_ENTRIES_MAX);
        m->entries = must(realloc(m->entries, m->cap * sizeof *m->entries));
        free(m->slots);
        m->slots = must(malloc(2 * (size_t)m->cap * sizeof *m->slots));
    }
    rebuild(m);
}

bool map_get_u64(const struct map *m, uint64_t key, uint64_t *value)
{
    const struct map_entry *e = find(m, key);
    if (e != NULL)
        *value = e->value;
    return e != NULL;
}

void *map_get(const struct map *m, uint64_t key)
{
    const struct map_entry *e = find(m, key);
    return e == NULL ? NULL : (void *)(uintptr_t)e->value;
}

bool map_has(const struct map *m, uint64_t key)
{
    return find(m, key) != NULL;
}

void map_put_u64(struct map *m, uint64_t key, uint64_t value)
{
    struct map_entry *e = find(m, key);
    if (e != NULL) {
        e->value = value;
        return;
    }
    make_room(m);
    m->entries[m->end] = (struct map_entry){ key, value, true };
    m->slots[find_slot(m, key)] = ++m->end;
    m->n++;
}

void map_put(struct map *m, uint64_t key, void *value)
{
    map_put_u64(m, key, (uintptr_t)value);
}

/* Empty slot s and move up those behind it that probing would no longer reach. */
static void free_slot(struct map *m, uint32_t s)
{
    uint32_t mask = slot_mask(m);
    for (uint32_t next = (s + 1) & mask; m->slots[next] != 0; next = (next + 1) & mask) {
        uint32_t home = home_slot(m, m->entries[m->slots[next] - 1].key);
        if (((next - home) & mask) < ((next - s) & mask))
            continue; /* its home lies after s */
        m->slots[s] = m->slots[next];
        s = next;
    }
    m->slots[s] = 0;
}

bool map_del(struct map *m, uint64_t key)
{
    struct map_entry *e = find(m, key);
    if (e == NULL)
        return false;
    free_slot(m, find_slot(m, key));
    e->live = false;
    m->n--;
    while (m->first < m->end && !m->entries[m->first].live)
        m->first++;
    return true;
}

void map_clear(struct map *m)
{
    if (m->cap > 0)
        memset(m->slots, 0, 2 * (size_t)m->cap * sizeof *m->slots);
    m->n = m->first = m->end = 0;
}

void map_fini(struct map *m)
{
    free(m->entries);
    free(m->slots);
    *m = (struct map){ 0 };
}

uint32_t map_next(const struct map *m, uint32_t from)
{
    for (uint32_t i = from < m->first ? m->first : from; i < m->end; i++)
        if (m->entries[i].live)
            return i;
    return UINT32_MAX;
}

uint64_t map_key(const struct map *m, uint32_t i)
{
    assert(i < m->end && m->entries[i].live);
    return m->entries[i].key;
}

uint64_t map_at_u64(const struct map *m, uint32_t i)
{
    assert(i < m->end && m->entries[i].live);
    return m->entries[i].value;
}

void *map_at(const struct map *m, uint32_t i)
{
    return (void *)(uintptr_t)map_at_u64(m, i);
}
