/* share.c - free slots go to the applications that want some and have fewest, each one's spread over executors.
 *
 * First numbers, then places: the level up to which the free slots lift the
 * poorest says how many each gets; then each takes them from the executors where
 * it has fewest, the emptiest first.  What doesn't fit its wishes goes to the others.
 */
#include "manager/core/core.h"

#include <stdlib.h>

#define SHARE_APPS \
    64 /* applications served in one step, the poorest first; the others in the next, until all had their turn */

struct want {
    struct app *a;
    uint32_t quota;
};

struct place {
    struct executor *x;
    uint32_t room, have, got;
};

/* ---- who wants ------------------------------------------------------------------ */

static uint32_t missing(const struct app *a)
{
    uint32_t has = a->slots + a->claimed;
    return a->want > has ? a->want - has : 0;
}

void share_look(struct manager *m, struct app *a)
{
    map_put(&m->unmet, a->row.app, a);
}

bool share_wants(const struct app *a)
{
    return a->state == APP_RUNNING && a->asked && a->settled && a->driver && missing(a);
}

static bool poorer(const struct app *a, const struct app *than)
{
    return a->slots != than->slots ? a->slots < than->slots : a->row.app < than->row.app;
}

/* Of those that had no turn yet: the SHARE_APPS with fewest slots, fewest first, older ones before newer. */
static uint32_t poorest(struct manager *m, struct want *w)
{
    uint32_t n = 0;
    MAP_EACH(&m->unmet, i) {
        struct app *a = map_at(&m->unmet, i);
        if (!share_wants(a) || a->turn == m->turn || (n == SHARE_APPS && !poorer(a, w[n - 1].a)))
            continue;
        uint32_t at = n < SHARE_APPS ? n++ : n - 1;
        for (; at > 0 && poorer(a, w[at - 1].a); at--)
            w[at] = w[at - 1];
        w[at] = (struct want){ .a = a };
    }
    return n;
}

/* ---- how many each ---------------------------------------------------------------- */

static uint32_t up_to(const struct app *a, uint32_t level)
{
    uint32_t most = missing(a), lift = level > a->slots ? level - a->slots : 0;
    return lift < most ? lift : most;
}

static uint64_t all_up_to(const struct want *w, uint32_t n, uint32_t level)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < n; i++)
        sum += up_to(w[i].a, level);
    return sum;
}

/* The highest level that the free slots pay for; what is left over lifts the first ones by one more. */
static void set_quotas(struct want *w, uint32_t n, uint64_t free_slots)
{
    uint32_t low = 0, high = UINT32_MAX;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2 + 1;
        if (all_up_to(w, n, mid) <= free_slots)
            low = mid;
        else
            high = mid - 1;
    }
    uint64_t left = free_slots - all_up_to(w, n, low);
    for (uint32_t i = 0; i < n; i++) {
        w[i].quota = up_to(w[i].a, low);
        if (left && low < UINT32_MAX && up_to(w[i].a, low + 1) > w[i].quota) {
            w[i].quota++;
            left--;
        }
    }
}

static uint64_t count_free(const struct manager *m)
{
    uint64_t n = 0;
    MAP_EACH(&m->joined, i) {
        const struct executor *x = map_at(&m->joined, i);
        n += waits_usable(x) ? waits_free(x) : 0;
    }
    return n;
}

/* ---- where -------------------------------------------------------------------------- */

static int emptiest_first(const void *a, const void *b)
{
    const struct place *p = a, *q = b;
    if (p->room != q->room)
        return p->room < q->room ? 1 : -1;
    return p->x->generation < q->x->generation ? -1 : 1;
}

static struct place *find_places(struct manager *m, const struct app *a, uint32_t *n)
{
    buf_reset(&m->places);
    MAP_EACH(&m->joined, i)
        ((struct executor *)map_at(&m->joined, i))->here = 0;
    MAP_EACH(&a->leases, i) {
        const struct lease *l = map_at(&a->leases, i);
        l->x->here += l->slots;
    }
    MAP_EACH(&m->joined, i) {
        struct executor *x = map_at(&m->joined, i);
        struct place p = { .x = x, .room = waits_room(m, x, a), .have = x->here };
        if (p.room)
            buf_put(&m->places, &p, sizeof p);
    }
    *n = (uint32_t)(m->places.n / sizeof(struct place));
    struct place *v = (struct place *)m->places.p;
    if (*n)
        qsort(v, *n, sizeof *v, emptiest_first);
    return v;
}

/* Fewest slots that the application has in a place with room; UINT32_MAX: no room anywhere. */
static uint32_t lowest(const struct place *v, uint32_t n)
{
    uint32_t low = UINT32_MAX;
    for (uint32_t i = 0; i < n; i++)
        if (v[i].got < v[i].room && v[i].have + v[i].got < low)
            low = v[i].have + v[i].got;
    return low;
}

/* False: some of the quota found no place. */
static bool place(struct manager *m, struct app *a, uint32_t quota)
{
    uint32_t n, low;
    struct place *v = find_places(m, a, &n);
    while (quota && (low = lowest(v, n)) != UINT32_MAX)
        for (uint32_t i = 0; i < n && quota; i++)
            if (v[i].got < v[i].room && v[i].have + v[i].got == low) {
                v[i].got++;
                quota--;
            }
    for (uint32_t i = 0; i < n; i++)
        if (v[i].got)
            leases_offer(m, v[i].x, a, v[i].got);
    return quota == 0;
}

/* ---- the turn ------------------------------------------------------------------------- */

/* Give each its quota; keeps those that got it all and still want more.  True: somebody didn't, so that the rest may be shared again. */
static bool hand_out(struct manager *m, struct want *w, uint32_t *n)
{
    uint32_t kept = 0;
    bool left = false;
    for (uint32_t i = 0; i < *n; i++) {
        bool all = !w[i].quota || place(m, w[i].a, w[i].quota);
        left = left || !all;
        if (all && missing(w[i].a))
            w[kept++] = w[i];
    }
    *n = kept;
    return left;
}

/* And those that have what they want are looked at no more. */
static void answer(struct manager *m)
{
    MAP_EACH(&m->unmet, i) {
        struct app *a = map_at(&m->unmet, i);
        if (a->state == APP_RUNNING && a->asked && (a->say || a->look))
            waits_answer(m, a);
        if (!share_wants(a))
            map_del(&m->unmet, a->row.app);
    }
}

void share_slots(struct manager *m)
{
    struct want w[SHARE_APPS];
    uint64_t free_slots;
    m->turn += m->dirty;
    m->dirty = false;
    uint32_t n = poorest(m, w);
    m->sharing = n == SHARE_APPS;
    for (uint32_t i = 0; i < n; i++) {
        w[i].a->look = true;
        w[i].a->turn = m->turn;
    }
    while (m->now >= m->paused_ns && n && (free_slots = count_free(m))) {
        set_quotas(w, n, free_slots);
        if (!hand_out(m, w, &n))
            break;
    }
    answer(m);
}
