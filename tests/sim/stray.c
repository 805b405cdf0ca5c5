/* stray.c - the hostile profile: frames are lost, overtaken, or come again, on the same
 * connection or on a later one between the same two.
 *
 * No network below CURVE does this; the fences must hold all the same.  What the cores
 * believe of each other may come to differ for good on a connection that goes on, so
 * when it is over all connections are cut: what settles a cut must settle this.
 */
#include "tests/sim/sim.h"

#include <stdlib.h>
#include <string.h>

#define LATER 500000 /* of a million: what comes again waits for another connection */
#define LONG_NS (20 * SEC)
#define MANY 12       /* chances to come again, of those that tell something */
#define TRIES_MAX 200 /* looks for one */

struct stray {
    uint64_t wire;
    bool later;
    uint32_t tries;
    int from;
    uint32_t n;
    uint8_t bytes[];
};

bool stray_goes_on(const struct sim *s)
{
    return s->hostile && !s->over && s->now < s->strikes_end;
}

static bool open_between(const struct wire *l, const struct wire *of)
{
    return l->up && !l->silent && !l->broken && l->conn[1] && l->attached[0] && l->attached[1] &&
           l->end[0] == of->end[0] && l->end[1] == of->end[1] && l->port == of->port &&
           l->end[0]->life == l->life[0] && l->end[1]->life == l->life[1] &&
           !memcmp(l->dialler_key, of->dialler_key, KEY_BYTES) &&
           !memcmp(l->server_key, of->server_key, KEY_BYTES);
}

/* The newest connection that it can come by. */
static struct wire *way(struct sim *s, const struct stray *st)
{
    const struct wire *of = map_get(&s->links, st->wire);
    struct wire *found = NULL;
    MAP_EACH(&s->links, i) {
        struct wire *l = map_at(&s->links, i);
        if ((l != of || !st->later) && open_between(l, of) && (!found || l->id > found->id))
            found = l;
    }
    return found;
}

static void on_stray(struct sim *s, struct todo *t)
{
    struct stray *st = t->own;
    struct wire *l = stray_goes_on(s) ? way(s, st) : NULL;
    if (l)
        wire_deliver(l, !st->from, (struct bytes){ st->bytes, st->n });
    else if (stray_goes_on(s) && ++st->tries < TRIES_MAX) {
        sim_after(s, sim_between(s, 50 * MSEC, 500 * MSEC), on_stray, NULL)->own = st;
        t->own = NULL;
    }
}

static void stray(struct sim *s, const struct wire *l, int from, struct bytes frame, uint64_t ns, bool later)
{
    struct stray *st = malloc(sizeof *st + frame.n);
    if (!st)
        abort();
    *st = (struct stray){ .wire = l->id, .later = later, .from = from, .n = frame.n };
    memcpy(st->bytes, frame.p, frame.n);
    sim_after(s, ns, on_stray, NULL)->own = st;
}

/* What changes what its receiver believes: more interesting than beats and blocks. */
static bool tells(uint8_t tag)
{
    static const uint8_t tags[] = { MSG_LEASE_OPEN, MSG_LEASE_OPENED, MSG_ATTACH, MSG_ATTACHED,
                                    MSG_STAGE,      MSG_ASK,          MSG_DONE,   MSG_JOIN };
    return memchr(tags, tag, sizeof tags) != NULL;
}

/* These are few, and a later one replaces them. */
static bool replaced(uint8_t tag)
{
    return tag == MSG_ATTACH || tag == MSG_STAGE || tag == MSG_LEASE_OPEN;
}

static void come_again(struct sim *s, const struct wire *l, int from, struct bytes frame)
{
    for (int i = tells(frame.p[1]) ? MANY : 1; i > 0; i--)
        if (fault_hits(s, FAULT_DOUBLE)) {
            bool later = sim_chance(s, LATER), soon = !later && sim_chance(s, 500000);
            stray(s, l, from, frame, sim_below(s, soon ? 20 * MSEC : 10 * SEC), later);
        }
    if (s->in_set[FAULT_DOUBLE] && replaced(frame.p[1]))
        for (int i = 0; i < 4; i++)
            stray(s, l, from, frame, sim_below(s, LONG_NS), i % 2);
}

bool stray_takes(struct sim *s, struct wire *l, int from, struct bytes frame)
{
    bool person = l->end[0]->kind == PROC_USER;
    if (!stray_goes_on(s) || (person && from == 1))
        return false;
    if (person) { /* people's words come again later, and are otherwise left alone */
        stray(s, l, from, frame, SEC, true);
        return false;
    }
    if (fault_hits(s, FAULT_LOSE))
        return true;
    come_again(s, l, from, frame);
    if (!fault_hits(s, FAULT_REORDER))
        return false;
    stray(s, l, from, frame, sim_below(s, sim_chance(s, 700000) ? 20 * MSEC : 2 * SEC), false);
    return true;
}
