/* test_launcher.c - the driver service's core: launch, open, run, output, end; and the manager that comes and goes. */
#include "driver/serve/launcher.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MS 1000000ull

static struct launcher *l;
static struct actions out;
static struct arena arena;
static uint64_t now;
static conn_id conn;

static void do_step(struct event ev)
{
    actions_reset(&out);
    launcher_step(l, &ev, now, &out);
    for (uint32_t i = 0; i < out.n; i++)
        if (out.v[i].kind == ACT_DIAL)
            conn = out.v[i].conn;
}

static void receive(uint8_t tag, const void *msg)
{
    struct buf b = { 0 };
    proto_encode(&b, &(struct head){ .tag = tag, .epoch = 3, .generation = 1 }, msg);
    do_step((struct event){
        .kind = EV_RECV, .conn = conn, .recv = { .role = ROLE_MANAGER, .frame = { b.p, (uint32_t)b.n } } });
    buf_fini(&b);
}

static void call(int what, const void *arg)
{
    do_step((struct event){ .kind = EV_CALL, .call = { .what = what, .arg = arg } });
}

static void at(uint64_t ms)
{
    now = ms * MS;
    do_step((struct event){ .kind = EV_TIME });
}

/* The nth message with this tag of the last step; NULL: not sent. */
static const void *sent(uint8_t tag, int nth)
{
    struct head h;
    struct error e;
    for (uint32_t i = 0; i < out.n; i++)
        if (out.v[i].kind == ACT_SEND && out.v[i].frame.p[1] == tag && nth-- == 0) {
            cr_assert(proto_admit(out.v[i].frame, ROLE_SERVICE, &e), "%s", e.words);
            return proto_decode(&arena, out.v[i].frame, &h, &e);
        }
    return NULL;
}

static const struct action *called(int what)
{
    for (uint32_t i = 0; i < out.n; i++)
        if (out.v[i].kind == ACT_CALL && out.v[i].call.what == what)
            return &out.v[i];
    return NULL;
}

static const struct action *did(enum action_kind kind)
{
    for (uint32_t i = 0; i < out.n; i++)
        if (out.v[i].kind == kind)
            return &out.v[i];
    return NULL;
}

static void connect_up(void)
{
    do_step((struct event){ .kind = EV_CONN_UP, .conn = conn });
    cr_assert(sent(MSG_HELLO, 0));
    receive(MSG_WELCOME, &(struct msg_welcome){ .generation = 9, .beat_ms = 1000 });
}

static void set_up(void)
{
    l = launcher_new(&(struct launcher_config){ .manager = "m:1",
                                                .host = "here",
                                                .capacity = 2,
                                                .manager_lost_ms = 20000,
                                                .end_ms = 2000,
                                                .kill_ms = 5000 });
    now = 1000 * MS;
    do_step((struct event){ .kind = EV_START, .start = { .seed = 1 } });
    cr_assert(did(ACT_DIAL));
    connect_up();
    const struct msg_serve *s = sent(MSG_SERVE, 0);
    cr_assert(s && s->capacity == 2 && s->apps.n == 0);
}

static void tear_down(void)
{
    launcher_free(&l);
    actions_fini(&out);
    arena_fini(&arena);
}

TestSuite(launcher, .init = set_up, .fini = tear_down);

static struct rec_str strs[2];

static void launch(uint64_t app, const char *option)
{
    strs[0].s = bytes_of(option ? option : "");
    strs[1].s = bytes_of("data");
    receive(MSG_LAUNCH,
            &(struct msg_launch){
                .app = app, .options = { strs, option != NULL }, .args = { strs + 1, 1 }, .lib_bytes = 6 });
}

static void chunk(uint64_t app, uint64_t offset, const char *text)
{
    receive(MSG_CHUNK, &(struct msg_chunk){ .app = app, .offset = offset, .bytes = bytes_of(text) });
}

static void until_open(uint64_t app)
{
    launch(app, "--overwrite");
    chunk(app, 0, "abcdef");
    const struct action *io = did(ACT_IO);
    cr_assert(io && io->io.op == IO_WRITE && io->io.last && io->io.bytes.n == 6);
    do_step((struct event){ .kind = EV_IO_DONE, .id = io->id, .io.result = 6 });
    cr_assert(called(LAUNCHER_MAKE_KEYS) && called(LAUNCHER_MAKE_KEYS)->app == app);
    struct launcher_keys k = { .app = app, .driver_key = { 1 }, .fetch_key = { 2 }, .fetch_secret = { 3 } };
    call(LAUNCHER_KEYS, &k);
}

static void until_running(uint64_t app)
{
    until_open(app);
    const struct msg_app_open *open = sent(MSG_APP_OPEN, 0);
    cr_assert(open && open->app == app && open->driver_key[0] == 1 && open->fetch_secret[0] == 3);
    receive(MSG_APP_OK, &(struct msg_app_ok){ .app = app });
    cr_assert(sent(MSG_LAUNCHED, 0) && called(LAUNCHER_RUN));
}

static void wrote(uint64_t app, uint32_t stream, const char *text)
{
    struct launcher_output o = { app, stream, bytes_of(text) };
    call(LAUNCHER_OUTPUT, &o);
}

static void exited(uint64_t app, int code)
{
    do_step((struct event){ .kind = EV_CHILD_EXITED, .id = app, .exited.code = code });
}

/* A beat goes out; its echo comes. */
static void beat(void)
{
    const struct msg_beat *b = sent(MSG_BEAT, 0);
    cr_assert(b, "a beat is sent");
    receive(MSG_BEAT_ACK, &(struct msg_beat_ack){ b->seq });
}

Test(launcher, a_launch_to_its_end)
{
    until_running(7);
    const struct launcher_run *run = called(LAUNCHER_RUN)->call.arg;
    cr_assert_str_eq(run->options[0], "--overwrite");
    cr_assert_str_eq(run->args[0], "data");
    cr_assert_null(run->args[1]);
    wrote(7, 0, "hello");
    const struct msg_output *o = sent(MSG_OUTPUT, 0);
    cr_assert(o && o->stream == 1 && o->offset == 0 && bytes_eq(o->bytes, bytes_of("hello")));
    exited(7, 3);
    cr_assert_null(sent(MSG_EXITED, 0), "not before its output is closed");
    wrote(7, 0, "!");
    cr_assert_eq(((const struct msg_output *)sent(MSG_OUTPUT, 0))->offset, 5);
    wrote(7, 0, "");
    wrote(7, 1, "");
    const struct msg_exited *x = sent(MSG_EXITED, 0);
    if (!x) { /* in the next turn */
        at(1001);
        x = sent(MSG_EXITED, 0);
    }
    cr_assert(x && x->exit_code == 3 && x->signal == 0);
    beat();
    cr_assert(called(LAUNCHER_FORGET) && did(ACT_IO) && did(ACT_IO)->io.op == IO_FREE);
}

Test(launcher, a_stream_that_is_held_open_delays_the_end_a_second)
{
    until_running(7);
    wrote(7, 0, "");
    exited(7, 0);
    at(1500);
    cr_assert_null(sent(MSG_EXITED, 0));
    at(2100);
    cr_assert(sent(MSG_EXITED, 0) && called(LAUNCHER_CLOSE));
}

Test(launcher, strange_options_are_refused)
{
    launch(7, "--keys-fd");
    const struct msg_exited *x = sent(MSG_EXITED, 0);
    cr_assert(x && x->exit_code == 2);
    launch(8, "--slots"); /* without its value */
    cr_assert(sent(MSG_EXITED, 0));
    chunk(8, 0, "abc");
    cr_assert_null(did(ACT_IO));
}

Test(launcher, no_more_than_its_capacity)
{
    launch(1, NULL);
    launch(2, NULL);
    cr_assert_null(sent(MSG_EXITED, 0));
    launch(3, NULL);
    cr_assert(sent(MSG_EXITED, 0));
}

Test(launcher, a_library_out_of_order_or_that_cannot_be_written_ends_it)
{
    launch(1, NULL);
    chunk(1, 3, "def");
    cr_assert(sent(MSG_EXITED, 0));
    launch(2, NULL);
    chunk(2, 0, "abcdef");
    do_step((struct event){ .kind = EV_IO_DONE, .id = did(ACT_IO)->id, .io.result = -ENOSPC });
    cr_assert(sent(MSG_EXITED, 0));
}

Test(launcher, the_manager_away_output_is_kept_and_the_end_told_later)
{
    until_running(7);
    wrote(7, 1, "before ");
    do_step((struct event){ .kind = EV_CONN_DOWN, .conn = conn, .down = { .reason = DOWN_CLOSED } });
    wrote(7, 1, "while ");
    wrote(7, 1, "away");
    wrote(7, 0, "");
    wrote(7, 1, "");
    exited(7, 0);
    cr_assert_null(did(ACT_SEND));
    at(1500);
    cr_assert(did(ACT_DIAL));
    connect_up();
    const struct msg_serve *s = sent(MSG_SERVE, 0);
    cr_assert(s && s->apps.n == 1 && s->apps.v[0].id == 7);
    const struct msg_output *o = sent(MSG_OUTPUT, 0);
    cr_assert(o && o->offset == 7 && bytes_eq(o->bytes, bytes_of("while away")));
    cr_assert(sent(MSG_EXITED, 0));
    beat();
    cr_assert(called(LAUNCHER_FORGET));
}

Test(launcher, an_end_that_was_not_heard_is_told_again)
{
    until_running(7);
    wrote(7, 0, "");
    wrote(7, 1, "");
    exited(7, 0);
    cr_assert(sent(MSG_EXITED, 0));
    do_step((struct event){ .kind = EV_CONN_DOWN, .conn = conn, .down = { .reason = DOWN_CLOSED } });
    at(1500);
    connect_up();
    cr_assert(sent(MSG_EXITED, 0));
    receive(MSG_REFUSE, &(struct msg_refuse){ .code = REFUSE_NO_APP, .about = 7 });
    cr_assert(called(LAUNCHER_FORGET));
}

Test(launcher, an_opening_is_repeated_and_half_a_library_is_not)
{
    until_open(7);
    launch(8, NULL);
    chunk(8, 0, "abc");
    do_step((struct event){ .kind = EV_CONN_DOWN, .conn = conn, .down = { .reason = DOWN_CLOSED } });
    at(1500);
    connect_up();
    const struct msg_serve *s = sent(MSG_SERVE, 0);
    cr_assert(s && s->apps.n == 1 && s->apps.v[0].id == 7);
    cr_assert(sent(MSG_APP_OPEN, 0) && !sent(MSG_APP_OPEN, 1));
    receive(MSG_REFUSE, &(struct msg_refuse){ .code = REFUSE_DENIED, .about = 7, .words = bytes_of("no") });
    const struct msg_exited *x = sent(MSG_EXITED, 0);
    cr_assert(x && bytes_eq(x->words, bytes_of("no")));
}

Test(launcher, an_ended_application_s_child_is_asked_then_killed)
{
    until_running(7);
    receive(MSG_APP_END, &(struct msg_app_end){ .app = 7 });
    cr_assert_null(called(LAUNCHER_TERM), "it hears of it by itself");
    at(3001);
    cr_assert(called(LAUNCHER_TERM));
    at(7900);
    cr_assert_null(did(ACT_KILL));
    at(8002);
    cr_assert(did(ACT_KILL) && did(ACT_KILL)->id == 7);
}

Test(launcher, stopping_ends_children_with_a_cause_and_says_bye)
{
    until_running(7);
    call(LAUNCHER_STOP, NULL);
    cr_assert(called(LAUNCHER_TERM));
    launch(8, NULL);
    cr_assert_null(did(ACT_EXIT));
    wrote(7, 0, "");
    wrote(7, 1, "");
    exited(7, 130);
    const struct msg_exited *x = sent(MSG_EXITED, 0);
    cr_assert(x && bytes_eq(x->words, bytes_of("its driver service was stopped")));
    cr_assert_null(sent(MSG_BYE, 0));
    beat();
    cr_assert(sent(MSG_BYE, 0));
    receive(MSG_BYE_OK, NULL);
    cr_assert(did(ACT_EXIT));
}

Test(launcher, a_flood_is_not_read_for_a_moment)
{
    static uint8_t much[65536];
    struct launcher_output o = { 7, 0, { much, sizeof much } };
    int sent_before = 0;
    until_running(7);
    while (sent_before < 100) {
        call(LAUNCHER_OUTPUT, &o);
        sent_before++;
        if (called(LAUNCHER_READ))
            break;
    }
    cr_assert_lt(sent_before, 20);
    cr_assert_not(((const struct launcher_read *)called(LAUNCHER_READ)->call.arg)->on);
    cr_assert_leq(launcher_deadline(l), now + 100 * MS);
    at(1101);
    cr_assert(called(LAUNCHER_READ) && ((const struct launcher_read *)called(LAUNCHER_READ)->call.arg)->on);
}

Test(launcher, the_key_is_not_admitted)
{
    launcher_free(&l);
    l = launcher_new(&(struct launcher_config){
        .manager = "m:1", .host = "here", .capacity = 1, .manager_lost_ms = 20000 });
    do_step((struct event){ .kind = EV_START, .start = { .seed = 1 } });
    do_step((struct event){
        .kind = EV_CONN_DOWN, .conn = conn, .down = { .reason = DOWN_UNAUTHORISED, .words = "no" } });
    cr_assert(did(ACT_EXIT) && did(ACT_EXIT)->exit_code == 5);
}

Test(launcher, a_silent_manager_is_dialled_again)
{
    for (uint64_t ms = 2000; ms < 25000 && !did(ACT_CUT); ms += 500)
        at(ms);
    cr_assert(did(ACT_CUT));
    cr_assert_gt(now, 20000 * MS);
}
