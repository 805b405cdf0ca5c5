/* hosts.c - task hosts: one a slot, blank until a lease needs it, replaced when it ends. */
#include "executor/core/core.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

uint32_t hosts_of(const struct executor *x, const struct lease *l)
{
    uint32_t n = 0;
    MAP_EACH(&x->hosts, i)
        n += ((const struct host *)map_at(&x->hosts, i))->lease == l;
    return n;
}

void hosts_fill(struct executor *x)
{
    while (x->hosts.n < x->config.slots && !x->exiting) {
        struct host *h = calloc(1, sizeof *h);
        if (!h)
            abort();
        h->id = x->next_host++;
        map_put(&x->hosts, h->id, h);
        actions_add(x->out, ACT_SPAWN)->id = h->id;
    }
}

void host_send(struct executor *x, struct host *h, uint8_t tag, const void *msg)
{
    struct buf frame = { 0 };
    proto_encode(&frame, &(struct head){ .tag = tag, .epoch = x->epoch, .generation = x->generation }, msg);
    struct action *act = actions_add(x->out, ACT_HOST_SEND);
    act->id = h->id;
    act->frame = (struct bytes){ arena_copy(&x->out->arena, frame.p, frame.n), (uint32_t)frame.n };
    buf_fini(&frame);
}

void host_kill(struct executor *x, struct host *h, enum cause why)
{
    if (h->state == HOST_ENDING)
        return;
    h->state = HOST_ENDING;
    h->ending = why;
    actions_add(x->out, ACT_KILL)->id = h->id;
}

/* HOST_ASSIGN: the shell fills in folders and what may be read; the libraries go as sealed memfds. */
static void assign(struct executor *x, struct host *h, struct lease *l)
{
    struct app *a = l->app;
    uint32_t nlibs = (uint32_t)(a->lib_list.n / sizeof(struct rec_lib));
    struct msg_host_assign m = { .app = a->app, .confine = x->config.confine, .memory = l->memory,
                                 .libs = { (const struct rec_lib *)a->lib_list.p, nlibs } };
    struct block_ref *refs = arena_alloc(&x->out->arena, (nlibs + 1) * sizeof *refs);
    for (uint32_t i = 0; i < nlibs; i++) {
        refs[i] = (struct block_ref){ .app = a->app, .library = true };
        memcpy(refs[i].block.b, m.libs.v[i].id, ID_BYTES);
    }
    h->lease = l;
    h->state = HOST_LOADING;
    host_send(x, h, MSG_HOST_ASSIGN, &m);
    struct action *act = &x->out->v[x->out->n - 1];
    act->app = a->app;
    act->blocks = refs;
    act->nblocks = nlibs;
}

void hosts_assign(struct executor *x, struct lease *l)
{
    uint32_t have = hosts_of(x, l);
    if (l->state != LEASE_ATTACHED || l->app->libs != 2)
        return;
    MAP_EACH(&x->hosts, i) {
        struct host *h = map_at(&x->hosts, i);
        if (have >= l->slots)
            return;
        if (h->state == HOST_BLANK) {
            assign(x, h, l);
            have++;
        }
    }
}

/* It could not load the job: the first waiting task is told why, and counts. */
static void not_ready(struct executor *x, struct host *h, const char *words)
{
    struct run r;
    struct app *a = h->lease ? h->lease->app : NULL;
    if (a && runs_pop(&a->queue, 1, &r))
        report_fail(x, a, r, CAUSE_HOST, 0, 0, 0, words, "");
    host_kill(x, h, CAUSE_CANCELLED);
}

void host_frame(struct executor *x, struct host *h, struct bytes frame)
{
    struct head head;
    struct error e;
    arena_reset(&x->in);
    uint8_t tag = proto_admit(frame, ROLE_HOST, &e);
    const void *m = tag ? proto_decode(&x->in, frame, &head, &e) : NULL;
    if (!m) { /* user code has got at the socket: it is not a host any more */
        x->refused++;
        actions_log(x->out, LOG_WARN, "a task host spoke nonsense: %s", e.words);
        host_kill(x, h, CAUSE_CRASH);
        return;
    }
    if (tag == MSG_HOST_READY && h->state == HOST_LOADING) {
        char words[513];
        bytes_text(((const struct msg_host_ready *)m)->words, words, sizeof words);
        if (*words) {
            not_ready(x, h, words);
            return;
        }
        h->state = HOST_UP;
        executor_event(x, "host.ready", h->lease->app->app, h->id, 0, 0);
        tasks_dispatch(x, h->lease->app);
    } else if (tag == MSG_DONE)
        on_host_done(x, h, m);
    else if (tag == MSG_FETCH)
        on_fetch(x, h, m);
}

void host_memory(struct executor *x, struct host *h, uint64_t bytes)
{
    h->resident = bytes;
    if (h->lease && h->under_way.tasks && bytes > h->lease->memory)
        host_kill(x, h, CAUSE_MEMORY);
}

static void head_words(const struct host *h, const struct event *ev, enum cause cause, char *out, size_t size)
{
    if (cause == CAUSE_MEMORY)
        snprintf(out, size, "over its slot's memory: %" PRIu64 " MiB of %" PRIu64 " MiB", h->resident >> 20, h->lease->memory >> 20);
    else if (cause == CAUSE_TIME)
        snprintf(out, size, "over its time limit");
    else if (ev->exited.signal)
        snprintf(out, size, "killed by %s", strsignal(ev->exited.signal));
    else
        snprintf(out, size, "its process exited with %d", ev->exited.code);
}

/* The task that it ran has failed, unless it was ended on request; the others go back. */
static void reap_tasks(struct executor *x, struct host *h, const struct event *ev)
{
    char words[256];
    struct run r;
    struct app *a = h->lease->app;
    enum cause cause = h->state == HOST_ENDING ? h->ending : CAUSE_CRASH;
    bool fails = cause == CAUSE_CRASH || cause == CAUSE_MEMORY || cause == CAUSE_TIME;
    if (fails && runs_pop(&h->under_way, 1, &r)) {
        head_words(h, ev, cause, words, sizeof words);
        report_fail(x, a, r, cause, ev->exited.signal, ev->exited.peak_bytes, (x->now - h->head_since_ns) / MS, words,
                    ev->exited.tail ? ev->exited.tail : "");
    } else if (cause == CAUSE_CANCELLED && h->lease->state != LEASE_CLOSING)
        runs_pop(&h->under_way, 1, &r); /* its head was cancelled: nothing is reported of it */
    while (runs_pop(&h->under_way, UINT32_MAX, &r))
        runs_push(&a->queue, r);
}

void host_exited(struct executor *x, struct host *h, const struct event *ev)
{
    struct lease *l = h->lease;
    if (l && !l->app->ending)
        reap_tasks(x, h, ev);
    map_del(&x->hosts, h->id);
    runs_fini(&h->under_way);
    free(h->fetch);
    free(h);
    hosts_fill(x);
    if (!l)
        return;
    struct app *a = l->app;
    if (l->state == LEASE_CLOSING) {
        tasks_give_back(x, a);
        lease_settle(x, l);
        return;
    }
    hosts_assign(x, l);
    tasks_dispatch(x, a);
}

/* ---- the time limit of attempts ----------------------------------------- */

static uint64_t limit_ns(const struct host *h)
{
    struct run head;
    if (h->state != HOST_UP || !runs_peek(&h->under_way, &head))
        return UINT64_MAX;
    const struct stage *s = map_get(&h->lease->app->stages, head.stage);
    return s && s->msg->time_ms_max ? h->head_since_ns + s->msg->time_ms_max * MS : UINT64_MAX;
}

void hosts_time(struct executor *x)
{
    MAP_EACH(&x->hosts, i) {
        struct host *h = map_at(&x->hosts, i);
        if (x->now >= limit_ns(h))
            host_kill(x, h, CAUSE_TIME);
    }
}

uint64_t hosts_deadline(const struct executor *x)
{
    uint64_t next = UINT64_MAX;
    MAP_EACH(&x->hosts, i) {
        uint64_t at = limit_ns(map_at(&x->hosts, i));
        next = at < next ? at : next;
    }
    return next;
}
