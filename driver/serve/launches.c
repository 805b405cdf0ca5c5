/* launches.c - applications of cluster mode at their driver service: library, keys, child, end.
 *
 * A launch that the manager may give to another service (nothing was opened yet) is dropped without a word when this
 * one can't go on with it; every other ends with EXITED, which is told again until an echoed beat shows that it was heard.
 */
#include "driver/serve/core.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXIT_WRONG 1
#define EXIT_USAGE 2
#define EXIT_FAILED 3

static void run_free(struct launcher *l, struct run *r)
{
    map_del(&l->runs, r->app);
    outputs_free(r);
    arena_fini(&r->arena);
    explicit_bzero(&r->keys, sizeof r->keys);
    free(r);
}

static void forget(struct launcher *l, struct run *r)
{
    struct action *a = actions_add(l->out, ACT_IO);
    a->id = ++l->next_io;
    a->app = r->app;
    a->io.op = IO_FREE;
    launcher_call(l, LAUNCHER_FORGET, r->app, NULL);
    run_free(l, r);
}

/* ---- the end --------------------------------------------------------------------- */

/* After all output: how it ended.  Without the manager, when it is back. */
static void tell(struct launcher *l, struct run *r)
{
    struct msg_exited m = { .app = r->app, .exit_code = r->exit_code, .words = bytes_of(r->words) };
    r->state = RUN_TOLD;
    if (!l->serving)
        return;
    launcher_send(l, MSG_EXITED, &m);
    l->beat.next_ns = l->now; /* the next beat's echo says that it was heard */
    r->told_seq = l->beat.seq + 1;
}

static void over(struct launcher *l, struct run *r, uint32_t code, const char *words)
{
    bool child = r->state == RUN_CHILD;
    r->state = RUN_OVER;
    r->over_ns = l->now;
    r->exit_code = code;
    r->term_ns = r->kill_ns = 0;
    if (!*r->words)
        snprintf(r->words, sizeof r->words, "%s", words);
    launcher_event(l, "app.exited", r->app, (int)code, r->words);
    if (!child || outputs_closed(r))
        tell(l, r);
}

void launches_on_exit(struct launcher *l, const struct event *ev)
{
    struct run *r = map_get(&l->runs, ev->id);
    int signal = ev->exited.signal;
    char words[64];
    if (!r || r->state != RUN_CHILD)
        return;
    if (signal) { /* its job failed: what a shell makes of signals would read as a code of main's */
        const char *name = sigabbrev_np(signal);
        snprintf(words, sizeof words, "its driver was killed by SIG%s", name ? name : "?");
        over(l, r, EXIT_FAILED, words);
    } else
        over(l, r, (uint32_t)ev->exited.code & 255, ev->exited.tail ? ev->exited.tail : "");
}

void launches_heard(struct launcher *l, uint64_t seq)
{
    MAP_EACH(&l->runs, i) {
        struct run *r = map_at(&l->runs, i);
        if (r->state == RUN_TOLD && r->told_seq && seq >= r->told_seq)
            forget(l, r);
    }
}

/* ---- launching --------------------------------------------------------------------- */

/* Of what a submitter typed only these reach the driver: the rest is the service's business. */
static const char *bad_option(const struct msg_launch *m, char name[65])
{
    static const char *const with_value[] = {
#define JOB_NUMBER(field, option, ...) "--" option,
#define JOB_TEXT(field, option, ...) "--" option,
#include "common/base/job_options.def"
    };
    static const char *const flags[] = {
#define JOB_FLAG(field, option, ...) "--" option,
#include "common/base/job_options.def"
    };
    for (uint32_t i = 0; i < m->options.n; i++) {
        bool known = false;
        bytes_text(m->options.v[i].s, name, 65);
        for (size_t k = 0; k < sizeof flags / sizeof *flags; k++)
            known |= !strcmp(name, flags[k]);
        for (size_t k = 0; k < sizeof with_value / sizeof *with_value; k++)
            if (!strcmp(name, with_value[k]) && i + 1 < m->options.n) {
                known = true;
                i++;
                break;
            }
        if (!known)
            return name;
    }
    return NULL;
}

static const char **strings(struct run *r, const struct rec_str *v, uint32_t n)
{
    const char **out = arena_alloc(&r->arena, (n + 1) * sizeof *out);
    for (uint32_t i = 0; i < n; i++) {
        char *text = arena_alloc(&r->arena, v[i].s.n + 1u);
        memcpy(text, v[i].s.p, v[i].s.n);
        out[i] = text;
    }
    return out;
}

static struct run *run_new(struct launcher *l, const struct msg_launch *m)
{
    struct run *r = calloc(1, sizeof *r);
    if (!r)
        abort();
    r->app = m->app;
    r->state = RUN_LOADING;
    r->lib_bytes = m->lib_bytes;
    r->options = strings(r, m->options.v, m->options.n);
    r->args = strings(r, m->args.v, m->args.n);
    map_put(&l->runs, m->app, r);
    return r;
}

static uint32_t running(const struct launcher *l)
{
    uint32_t n = 0;
    MAP_EACH(&l->runs, i)
        n += ((const struct run *)map_at(&l->runs, i))->state < RUN_TOLD;
    return n;
}

void launches_on_launch(struct launcher *l, const struct msg_launch *m)
{
    char name[65], words[160];
    struct run *r = map_get(&l->runs, m->app);
    if (r && r->state == RUN_TOLD)
        forget(l, r);
    else if (r || l->stopping)
        return; /* we have it; or it goes to another service when we have left */
    bool room = running(l) < l->config.capacity;
    r = run_new(l, m);
    const char *bad = bad_option(m, name);
    if (!room) {
        over(l, r, EXIT_WRONG, "its driver service has no place left");
    } else if (m->lib_bytes == 0 || m->lib_bytes > LIBRARY_BYTES_MAX) {
        over(l, r, EXIT_WRONG, "its library is empty or too large");
    } else if (bad) {
        snprintf(words, sizeof words, "option '%s' is not for submitted applications", bad);
        over(l, r, EXIT_USAGE, words);
    }
}

void launches_on_chunk(struct launcher *l, const struct msg_chunk *m)
{
    struct run *r = map_get(&l->runs, m->app);
    if (!r || r->state != RUN_LOADING)
        return;
    if (m->offset != r->received || m->bytes.n == 0 || m->bytes.n > r->lib_bytes - r->received) {
        over(l, r, EXIT_WRONG, "a piece of its library is out of order");
        return;
    }
    struct action *a = actions_add(l->out, ACT_IO);
    a->id = ++l->next_io;
    a->app = r->app;
    a->io.op = IO_WRITE;
    a->io.offset = m->offset;
    a->io.bytes = arena_bytes(&l->out->arena, m->bytes);
    r->received += m->bytes.n;
    a->io.last = r->received == r->lib_bytes;
    map_put_u64(&l->ios, a->id, r->app);
}

void launches_on_io(struct launcher *l, uint64_t id, int64_t result)
{
    uint64_t app = 0;
    char words[128];
    struct run *r = map_get_u64(&l->ios, id, &app) ? map_get(&l->runs, app) : NULL;
    map_del(&l->ios, id);
    if (!r || r->state != RUN_LOADING)
        return;
    if (result < 0) {
        snprintf(words, sizeof words, "its library can't be written at its driver service: %s",
                 strerror((int)-result));
        over(l, r, EXIT_WRONG, words);
        return;
    }
    r->written += (uint64_t)result;
    if (r->written < r->lib_bytes)
        return;
    r->state = RUN_KEYS;
    launcher_call(l, LAUNCHER_MAKE_KEYS, r->app, NULL);
}

static void open_app(struct launcher *l, struct run *r)
{
    struct msg_app_open m = { .app = r->app };
    memcpy(m.driver_key, r->keys.driver_key, KEY_BYTES);
    memcpy(m.fetch_key, r->keys.fetch_key, KEY_BYTES);
    memcpy(m.fetch_secret, r->keys.fetch_secret, KEY_BYTES);
    if (l->serving)
        launcher_send(l, MSG_APP_OPEN, &m);
}

void launches_on_keys(struct launcher *l, const struct launcher_keys *k)
{
    struct run *r = map_get(&l->runs, k->app);
    if (!r || r->state != RUN_KEYS)
        return;
    r->keys = *k;
    r->state = RUN_OPENING;
    open_app(l, r);
}

void launches_on_ok(struct launcher *l, uint64_t app)
{
    struct run *r = map_get(&l->runs, app);
    if (!r || r->state != RUN_OPENING)
        return;
    explicit_bzero(&r->keys, sizeof r->keys);
    r->state = RUN_CHILD;
    struct launcher_run run = { r->app, r->options, r->args };
    launcher_call(l, LAUNCHER_RUN, r->app, arena_copy(&l->out->arena, &run, sizeof run));
    launcher_send(l, MSG_LAUNCHED, &(struct msg_launched){ r->app });
    launcher_event(l, "app.launched", r->app, 0, "");
}

void launches_on_refuse(struct launcher *l, const struct msg_refuse *m)
{
    char words[513];
    struct run *r = map_get(&l->runs, m->about);
    if (r && r->state == RUN_OPENING)
        over(l, r, EXIT_WRONG, bytes_text(m->words, words, sizeof words));
    else if (r && r->state == RUN_TOLD)
        forget(l, r); /* it knows already */
}

/* ---- ending one ---------------------------------------------------------------------- */

/* The application is over; its driver hears so too and ends by itself, if it can. */
void launches_on_end(struct launcher *l, uint64_t app)
{
    struct run *r = map_get(&l->runs, app);
    if (!r || r->ended)
        return;
    r->ended = true;
    if (r->state < RUN_CHILD)
        over(l, r, EXIT_WRONG, "it ended before it was started");
    else if (r->state == RUN_CHILD)
        r->term_ns = l->now + l->config.end_ms * MS;
}

static void terminate(struct launcher *l, struct run *r)
{
    launcher_call(l, LAUNCHER_TERM, r->app, NULL);
    r->term_ns = 0;
    r->kill_ns = l->now + l->config.kill_ms * MS;
}

void launches_stop(struct launcher *l)
{
    static const char why[] = "its driver service was stopped";
    MAP_EACH(&l->runs, i) {
        struct run *r = map_at(&l->runs, i);
        if (r->state < RUN_OPENING)
            forget(l, r);
        else if (r->state == RUN_OPENING)
            over(l, r, EXIT_WRONG, why);
        else if (r->state == RUN_CHILD) {
            snprintf(r->words, sizeof r->words, "%s", why);
            terminate(l, r);
        }
    }
}

/* ---- the manager comes and goes --------------------------------------------------------- */

void launches_away(struct launcher *l)
{
    MAP_EACH(&l->runs, i) {
        struct run *r = map_at(&l->runs, i);
        r->told_seq = 0;
        if (r->state == RUN_LOADING)
            forget(l, r); /* the rest of its library won't come */
    }
}

void launches_serving(struct launcher *l)
{
    MAP_EACH(&l->runs, i) {
        struct run *r = map_at(&l->runs, i);
        outputs_flush(l, r);
        if (r->state == RUN_OPENING)
            open_app(l, r);
        else if (r->state == RUN_CHILD)
            launcher_send(l, MSG_LAUNCHED, &(struct msg_launched){ r->app });
        else if (r->state == RUN_TOLD)
            tell(l, r);
    }
}

/* ---- time --------------------------------------------------------------------------------- */

static void run_time(struct launcher *l, struct run *r)
{
    outputs_time(l, r);
    if (r->state == RUN_CHILD && r->term_ns && l->now >= r->term_ns)
        terminate(l, r);
    if (r->state == RUN_CHILD && r->kill_ns && l->now >= r->kill_ns) {
        actions_add(l->out, ACT_KILL)->id = r->app;
        r->kill_ns = 0;
    }
    if (r->state == RUN_OVER && (outputs_closed(r) || l->now - r->over_ns >= STREAMS_CLOSE_NS)) {
        launcher_call(l, LAUNCHER_CLOSE, r->app, NULL);
        tell(l, r);
    }
    if (r->state == RUN_TOLD && (l->now - r->over_ns >= EXITED_KEPT_NS || (l->stopping && !l->serving)))
        forget(l, r);
}

void launches_time(struct launcher *l)
{
    MAP_EACH(&l->runs, i)
        run_time(l, map_at(&l->runs, i));
}

static uint64_t run_deadline(const struct run *r)
{
    uint64_t t = outputs_deadline(r);
    const uint64_t others[] = { r->term_ns, r->kill_ns,
                                r->state == RUN_OVER ? r->over_ns + STREAMS_CLOSE_NS : 0,
                                r->state == RUN_TOLD ? r->over_ns + EXITED_KEPT_NS : 0 };
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (others[i] && others[i] < t)
            t = others[i];
    return t;
}

uint64_t launches_deadline(const struct launcher *l)
{
    uint64_t t = UINT64_MAX;
    MAP_EACH(&l->runs, i) {
        uint64_t own = run_deadline(map_at(&l->runs, i));
        t = own < t ? own : t;
    }
    return t;
}

void launches_free(struct launcher *l)
{
    MAP_EACH(&l->runs, i)
        run_free(l, map_at(&l->runs, i));
    map_fini(&l->runs);
    map_fini(&l->ios);
}
