/* outbox.c - see outbox.h. */
#include "executor/host/outbox.h"

#include <string.h>

#define REPORT_OVERHEAD 256 /* a report's numbers on the wire */

static uint32_t size_of(const struct rec_report *r)
{
    uint32_t n = REPORT_OVERHEAD + r->sizes.n + r->result.n + r->words.n + r->tail.n;
    for (uint32_t i = 0; i < r->samples.n; i++)
        n += r->samples.v[i].key.n + 3;
    return n;
}

void outbox_run(struct outbox *o, uint32_t stage, uint32_t part, uint32_t attempt)
{
    struct rec_run *last = o->nruns ? &o->runs[o->nruns - 1] : NULL;
    o->tasks++;
    if (last && last->stage == stage && last->attempt == attempt && last->first + last->count == part)
        last->count++;
    else
        o->runs[o->nruns++] = (struct rec_run){ stage, part, 1, attempt };
}

void outbox_report(struct outbox *o, struct daemon *d, const struct rec_report *r)
{
    if (o->tasks && o->arena.total + size_of(r) > HOST_FRAME_BYTES_MAX / 2)
        outbox_flush(o, d);
    struct rec_report *c = &o->reports[o->nreports++];
    struct rec_cut *samples = arena_alloc(&o->arena, (r->samples.n + 1u) * sizeof *samples);
    *c = *r;
    c->sizes = arena_bytes(&o->arena, r->sizes);
    c->result = arena_bytes(&o->arena, r->result);
    c->words = arena_bytes(&o->arena, r->words);
    c->tail = arena_bytes(&o->arena, r->tail);
    for (uint32_t i = 0; i < r->samples.n; i++)
        samples[i].key = arena_bytes(&o->arena, r->samples.v[i].key);
    c->samples.v = samples;
    o->tasks++;
}

bool outbox_took(struct outbox *o, uint64_t ns, uint64_t now_ns)
{
    if (o->tasks == 1)
        o->first_ns = now_ns;
    o->busy_ns += ns;
    o->average_ns = o->average_ns ? o->average_ns - o->average_ns / 8 + ns / 8 : ns;
    return o->tasks >= OUTBOX_TASKS_MAX || o->average_ns > OUTBOX_ALONE_NS ||
           now_ns - o->first_ns >= OUTBOX_NS_MAX;
}

void outbox_flush(struct outbox *o, struct daemon *d)
{
    if (o->tasks == 0)
        return;
    struct msg_done m = { .app = o->app,
                          .busy_ns = o->busy_ns,
                          .runs = { o->runs, o->nruns },
                          .reports = { o->reports, o->nreports } };
    daemon_send(d, MSG_DONE, &m);
    o->tasks = o->nruns = o->nreports = 0;
    o->busy_ns = 0;
    arena_reset(&o->arena);
}
