/* launcher.c - the service and its manager: dial, serve, beat, leave. */
#include "driver/serve/core.h"

#include "common/base/version.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define EXIT_UNAUTHORISED 5

struct launcher *launcher_new(const struct launcher_config *config)
{
    struct launcher *l = calloc(1, sizeof *l);
    if (!l)
        abort();
    l->config = *config;
    l->beat_ms = 1000;
    return l;
}

void launcher_free(struct launcher **lp)
{
    struct launcher *l = *lp;
    *lp = NULL;
    if (!l)
        return;
    launches_free(l);
    arena_fini(&l->in);
    free(l);
}

void launcher_send(struct launcher *l, uint8_t tag, const void *msg)
{
    if (l->up)
        actions_send(l->out, l->conn, (struct head){ tag, l->epoch, l->generation }, msg);
}

void launcher_call(struct launcher *l, enum launcher_note what, uint64_t app, const void *arg)
{
    struct action *a = actions_add(l->out, ACT_CALL);
    a->app = app;
    a->call.what = what;
    a->call.arg = arg;
}

void launcher_event(struct launcher *l, const char *name, uint64_t app, int code, const char *words)
{
    struct launcher_event e = { name, app, code, arena_strdup(&l->out->arena, words) };
    launcher_call(l, LAUNCHER_EVENT, app, arena_copy(&l->out->arena, &e, sizeof e));
}

static void leave(struct launcher *l, int code)
{
    actions_add(l->out, ACT_EXIT)->exit_code = code;
}

/* ---- the connection ------------------------------------------------------------- */

static void dial(struct launcher *l)
{
    struct action *a = actions_add(l->out, ACT_DIAL);
    l->conn = CONN_DIALLED + ++l->next_conn;
    l->dial_ns = 0;
    a->conn = l->conn;
    a->dial.address = l->config.manager;
    memcpy(a->dial.key, l->config.manager_key, KEY_BYTES);
    a->dial.role = ROLE_MANAGER;
}

static void gone(struct launcher *l)
{
    l->conn = 0;
    l->up = l->serving = false;
    l->dial_ns = l->now + backoff_next(&l->backoff, &l->prng);
    launches_away(l);
}

static void cut(struct launcher *l)
{
    actions_add(l->out, ACT_CUT)->conn = l->conn;
    gone(l);
}

static void on_up(struct launcher *l)
{
    struct msg_hello hello = { .major = PROTO_MAJOR,
                               .minor = PROTO_MINOR,
                               .name = bytes_of("ferro-driver " FERRO_VERSION) };
    l->up = true;
    beat_init(&l->beat, l->now);
    launcher_send(l, MSG_HELLO, &hello);
}

static void on_down(struct launcher *l, const struct event *ev)
{
    const char *words = ev->down.words ? ev->down.words : "the connection closed";
    if (ev->down.reason == DOWN_UNAUTHORISED && !l->epoch) {
        actions_log(l->out, LOG_ERROR, "manager %s: %s; is the key authorized there?", l->config.manager,
                    words);
        leave(l, EXIT_UNAUTHORISED);
    } else if (!l->warned) {
        actions_log(l->out, LOG_WARN, "manager %s: %s; trying again", l->config.manager, words);
    }
    l->warned = true;
    gone(l);
}

/* All that it has here, also ends that it may not have heard of. */
static void serve(struct launcher *l)
{
    struct msg_serve m = { .capacity = l->config.capacity, .host = bytes_of(l->config.host) };
    struct rec_id *apps = arena_alloc(&l->in, l->runs.n * sizeof *apps + 1);
    MAP_EACH(&l->runs, i) {
        const struct run *r = map_at(&l->runs, i);
        if (r->state != RUN_LOADING)
            apps[m.apps.n++].id = r->app;
    }
    m.apps.v = apps;
    launcher_send(l, MSG_SERVE, &m);
    l->serving = true;
    l->warned = false;
    backoff_reset(&l->backoff);
    launcher_event(l, "service.joined", 0, 0, "");
    launches_serving(l);
}

static void on_welcome(struct launcher *l, const struct head *h, const struct msg_welcome *m)
{
    l->epoch = h->epoch;
    l->generation = m->generation;
    l->beat_ms = m->beat_ms ? m->beat_ms : 1000;
    actions_log(l->out, LOG_INFO, "serving manager=%s capacity=%u epoch=%" PRIu64, l->config.manager,
                l->config.capacity, l->epoch);
    serve(l);
}

static void on_refuse(struct launcher *l, const struct msg_refuse *m)
{
    char words[513];
    bytes_text(m->words, words, sizeof words);
    actions_log(l->out, LOG_WARN, "manager: refused: %s", words);
    if (m->code == REFUSE_VERSION)
        leave(l, 1);
    else if (m->code == REFUSE_GENERATION || m->code == REFUSE_EPOCH)
        cut(l);
    else if (m->about)
        launches_on_refuse(l, m);
}

static void on_frame(struct launcher *l, const struct event *ev)
{
    struct head h;
    struct error e;
    const void *m = NULL;
    uint8_t tag = proto_admit(ev->recv.frame, ev->recv.role, &e);
    arena_reset(&l->in);
    if (!tag || !(m = proto_decode(&l->in, ev->recv.frame, &h, &e))) {
        actions_log(l->out, LOG_WARN, "manager: a frame that can't be read: %s", e.words);
        cut(l);
        return;
    }
    if (h.epoch < l->epoch) {
        actions_log(l->out, LOG_ERROR,
                    "manager %s: its epoch is lower than one seen before; is its state an old copy?",
                    l->config.manager);
        cut(l);
        return;
    }
    beat_heard(&l->beat, l->now);
    switch (tag) {
    case MSG_WELCOME: on_welcome(l, &h, m); break;
    case MSG_REFUSE: on_refuse(l, m); break;
    case MSG_BEAT:
        launcher_send(l, MSG_BEAT_ACK, &(struct msg_beat_ack){ ((const struct msg_beat *)m)->seq });
        break;
    case MSG_BEAT_ACK:
        beat_echo(&l->beat, ((const struct msg_beat_ack *)m)->seq);
        launches_heard(l, ((const struct msg_beat_ack *)m)->seq);
        break;
    case MSG_LAUNCH: launches_on_launch(l, m); break;
    case MSG_CHUNK: launches_on_chunk(l, m); break;
    case MSG_APP_OK: launches_on_ok(l, ((const struct msg_app_ok *)m)->app); break;
    case MSG_APP_END: launches_on_end(l, ((const struct msg_app_end *)m)->app); break;
    case MSG_BYE_OK:
        if (l->bye)
            leave(l, 0);
        break;
    default: break; /* a newer manager's */
    }
}

/* ---- calls and time --------------------------------------------------------------- */

static void on_call(struct launcher *l, const struct event *ev)
{
    switch (ev->call.what) {
    case LAUNCHER_STOP:
        if (!l->stopping)
            launches_stop(l);
        l->stopping = true;
        break;
    case LAUNCHER_KEYS: launches_on_keys(l, ev->call.arg); break;
    case LAUNCHER_OUTPUT: outputs_on_output(l, ev->call.arg); break;
    default: break;
    }
}

static void on_time(struct launcher *l)
{
    if (l->dial_ns && l->now >= l->dial_ns)
        dial(l);
    launches_time(l); /* before the beat, whose echo may have to answer for what it sends */
    if (l->up && beat_due(&l->beat, l->now, l->beat_ms * MS))
        launcher_send(l, MSG_BEAT, &(struct msg_beat){ .seq = l->beat.seq });
    if (l->up && beat_silence_ns(&l->beat, l->now) > l->config.manager_lost_ms * MS) {
        actions_log(l->out, LOG_WARN, "manager %s: silent for %" PRIu64 " ms; dialling again",
                    l->config.manager, l->config.manager_lost_ms);
        cut(l);
    }
}

/* Children are gone and told of: a word of parting, and a moment for the answer. */
static void look_at_leaving(struct launcher *l)
{
    if (!l->stopping || l->runs.n)
        return;
    if (!l->bye && l->serving) {
        l->bye = true;
        l->bye_ns = l->now + BYE_NS;
        launcher_send(l, MSG_BYE, NULL);
    } else if (!l->serving || l->now >= l->bye_ns) {
        leave(l, 0);
    }
}

void launcher_step(struct launcher *l, const struct event *ev, uint64_t now_ns, struct actions *out)
{
    l->now = now_ns;
    l->out = out;
    uint64_t late = stall_begin(&l->stall, now_ns);
    if (late)
        beat_stalled(&l->beat, late);
    bool ours = ev->conn == l->conn && l->conn;
    switch (ev->kind) {
    case EV_START:
        prng_seed(&l->prng, ev->start.seed);
        dial(l);
        break;
    case EV_CONN_UP:
        if (ours)
            on_up(l);
        break;
    case EV_CONN_DOWN:
        if (ours)
            on_down(l, ev);
        break;
    case EV_RECV:
        if (ours)
            on_frame(l, ev);
        break;
    case EV_IO_DONE: launches_on_io(l, ev->id, ev->io.result); break;
    case EV_CHILD_EXITED: launches_on_exit(l, ev); break;
    case EV_CALL: on_call(l, ev); break;
    default: break;
    }
    on_time(l);
    look_at_leaving(l);
    stall_end(&l->stall, launcher_deadline(l));
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

uint64_t launcher_deadline(const struct launcher *l)
{
    uint64_t t = launches_deadline(l);
    if (l->dial_ns)
        t = earlier(t, l->dial_ns);
    if (l->up)
        t = earlier(t, l->beat.next_ns);
    if (l->bye)
        t = earlier(t, l->bye_ns);
    return t;
}
