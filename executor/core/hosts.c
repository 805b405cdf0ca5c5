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
    while (x->hosts.n < x->config.slots && !x->exiting && x->now >= x->fill_ns) {
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
    h->blamed.count = 0;
    runs_peek(&h->under_way, &h->blamed);
    actions_add(x->out, ACT_KILL)->id = h->id;
}

/* HOST_ASSIGN: the shell fills in folders and what may be read; the libraries go as sealed memfds. */
static void assign(struct executor *x, struct host *h, struct lease *l)
{
    struct app *a = l->app;
    uint32_t nlibs = (uint32_t)(a->lib_list.n / sizeof(struct rec_lib));
    struct msg_host_assign m = { .app = a->app,
                                 .confine = x->config.confine,
                                 .memory = l->memory,
                                 .libs = { (const struct rec_lib *)a->lib_list.p, nlibs } };
    struct block_ref *refs = arena_alloc(&x->out->arena, (nlibs + 1) * sizeof *refs);
    for (uint32_t i = 0; i < nlibs; i++) {
        refs[i] = (struct block_ref){ .app = a->app, .library = true };
        memcpy(refs[i].block.b, m.libs.v[i].id, ID_BYTES);
    }
    h->lease = l;
    h->state = HOST_LOADING;
    h->head_since_ns = x->now;
    host_send(x, h, MSG_HOST_ASSIGN, &m);
    struct action *act = &x->out->v[x->out->n - 1];
    act->app = a->app;
    act->blocks = refs;
    act->nblocks = nlibs;
}

void hosts_assign(struct executor *x, struct lease *l)
{
    uint32_t have = hosts_of(x, l);
    if (l->state != LEASE_ATTACHED || !libs_here(l->app) || (l->app->load_failed && l->app->queue.tasks == 0))
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

void load_failed(struct executor *x, struct app *a, const char *words, const char *tail)
{
    struct run r;
    a->load_failed = true;
    if (queue_pop(&a->queue, UINT32_MAX, 1, &r))
        report_fail(x, a, r, CAUSE_HOST, 0, 0, 0, words, tail ? tail : "");
    else
        actions_log(x->out, LOG_WARN, "app %" PRIu64 ": %s", a->app, words);
}

static void on_ready(struct executor *x, struct host *h, const struct msg_host_ready *m, const char *tail)
{
    char words[513];
    struct app *a = h->lease->app;
    if (*bytes_text(m->words, words, sizeof words)) {
        load_failed(x, a, words, tail);
        host_kill(x, h, CAUSE_CANCELLED);
        return;
    }
    h->state = HOST_UP;
    a->load_failed = false;
    x->fill_ms = 0;
    executor_event(x, "host.ready", a->app, h->id, 0, 0);
    tasks_dispatch(x, a);
}

void host_frame(struct executor *x, struct host *h, struct bytes frame, const char *tail)
{
    struct head head;
    struct error e;
    arena_reset(&x->in);
    x->frames++;
    uint8_t tag = proto_admit(frame, ROLE_HOST, &e);
    const void *m = tag ? proto_decode(&x->in, frame, &head, &e) : NULL;
    if (!m) { /* user code has got at the socket: it is not a host any more */
        x->refused++;
        actions_log(x->out, LOG_WARN, "a task host spoke nonsense: %s", e.words);
        host_kill(x, h, CAUSE_CRASH);
        return;
    }
    if (tag == MSG_HOST_READY && h->state == HOST_LOADING)
        on_ready(x, h, m, tail);
    else if (tag == MSG_DONE)
        on_host_done(x, h, m, tail);
    else if (tag == MSG_FETCH)
        on_fetch(x, h, m);
}

void host_memory(struct executor *x, struct host *h, uint64_t bytes)
{
    h->resident = bytes;
    if (h->lease && h->under_way.tasks && bytes > h->lease->memory)
        host_kill(x, h, CAUSE_MEMORY);
}

static void end_words(const struct host *h, const struct event *ev, enum cause cause, char *out, size_t size)
{
    if (cause == CAUSE_MEMORY)
        snprintf(out, size, "over its slot's memory: %" PRIu64 " MiB of %" PRIu64 " MiB", h->resident >> 20,
                 h->lease->memory >> 20);
    else if (cause == CAUSE_TIME)
        snprintf(out, size, "over its time limit");
    else if (ev->exited.signal)
        snprintf(out, size, "killed by %s", strsignal(ev->exited.signal));
    else
        snprintf(out, size, "its process exited with %d", ev->exited.code);
}

/* The task that it was in, by its own account, if that is one of those that it had. */
static bool begun(struct host *h, const struct event *ev, struct run *r)
{
    *r = (struct run){ ev->exited.stage, ev->exited.part, 1, ev->exited.attempt };
    return ev->exited.ran && runs_remove(&h->under_way, *r, NULL) > 0;
}

static bool blamed(struct host *h, const struct event *ev, struct run *r)
{
    if (begun(h, ev, r))
        return true;
    if (h->state == HOST_ENDING)
        *r = h->blamed;
    else if (!runs_peek(&h->under_way, r))
        return false;
    r->count = r->count ? 1 : 0;
    return runs_remove(&h->under_way, *r, NULL) > 0;
}

/* What it was in has failed, unless it was ended on request; the others go back. */
static void reap_tasks(struct executor *x, struct host *h, const struct event *ev)
{
    char words[256];
    struct run r;
    struct app *a = h->lease->app;
    enum cause cause = h->state == HOST_ENDING ? h->ending : CAUSE_CRASH;
    bool fails = cause == CAUSE_CRASH || cause == CAUSE_MEMORY || cause == CAUSE_TIME;
    end_words(h, ev, cause, words, sizeof words);
    if (h->state == HOST_LOADING)
        load_failed(x, a, words, ev->exited.tail);
    else if (fails && blamed(h, ev, &r)) {
        report_fail(x, a, r, cause, ev->exited.signal, ev->exited.peak_bytes,
                    (x->now - h->head_since_ns) / MS, words, ev->exited.tail ? ev->exited.tail : "");
        if (FERRO_PLANT(failed_attempt_runs_on))
            queue_put(&a->queue, &r, 1);
    } else if (!fails && begun(h, ev, &r))
        task_give_back(x, a, r); /* an attempt runs once: what it wrote may be there still */
    tasks_requeue(x, a, &h->under_way);
}

/* It ended before it had work: something is wrong here, and trying again at once would not mend it. */
static void start_failed(struct executor *x, struct host *h, const struct event *ev)
{
    char words[256];
    end_words(h, ev, CAUSE_CRASH, words, sizeof words);
    x->fill_ms = x->fill_ms == 0                       ? SPAWN_RETRY_MS_MIN
                 : x->fill_ms * 2 > SPAWN_RETRY_MS_MAX ? SPAWN_RETRY_MS_MAX
                                                       : x->fill_ms * 2;
    x->fill_ns = x->now + x->fill_ms * MS;
    actions_log(x->out, LOG_ERROR, "a task host ended before it had work: %s; %s", words,
                ev->exited.tail ? ev->exited.tail : "");
    MAP_EACH(&x->apps, i) {
        struct app *a = map_at(&x->apps, i);
        if (a->queue.tasks)
            load_failed(x, a, words, ev->exited.tail);
    }
}

static void host_free(struct executor *x, struct host *h)
{
    map_del(&x->hosts, h->id);
    runs_fini(&h->under_way);
    told_drop(&h->told);
    free(h->fetch);
    free(h);
}

void host_exited(struct executor *x, struct host *h, const struct event *ev)
{
    struct lease *l = h->lease;
    if (l && !l->app->ending)
        reap_tasks(x, h, ev);
    else if (h->state == HOST_BLANK && !x->exiting)
        start_failed(x, h, ev);
    host_free(x, h);
    hosts_fill(x);
    if (!l)
        return;
    struct app *a = l->app;
    if (l->state == LEASE_CLOSING) {
        if (leases_open(x, a) == 0)
            tasks_give_back(x, a);
        else
            tasks_dispatch(x, a);
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
    if (h->state == HOST_LOADING)
        return h->head_since_ns + LOAD_MS_MAX * MS;
    if (h->state != HOST_UP || !runs_peek(&h->under_way, &head))
        return UINT64_MAX;
    const struct stage *s = map_get(&h->lease->app->stages, head.stage);
    return s && s->told->msg->time_ms_max ? h->head_since_ns + s->told->msg->time_ms_max * MS : UINT64_MAX;
}

/* Blank hosts that are missing, and hosts that are over their time. */
void hosts_time(struct executor *x)
{
    hosts_fill(x);
    MAP_EACH(&x->hosts, i) {
        struct host *h = map_at(&x->hosts, i);
        if (x->now < limit_ns(h))
            continue;
        if (h->state == HOST_LOADING)
            load_failed(x, h->lease->app, "its host did not load the job in time", "");
        host_kill(x, h, h->state == HOST_LOADING ? CAUSE_CANCELLED : CAUSE_TIME);
    }
}

uint64_t hosts_deadline(const struct executor *x)
{
    uint64_t next = x->hosts.n < x->config.slots && !x->exiting ? x->fill_ns : UINT64_MAX;
    MAP_EACH(&x->hosts, i) {
        uint64_t at = limit_ns(map_at(&x->hosts, i));
        next = at < next ? at : next;
    }
    return next;
}
