/* loop.c - see loop.h.
 *
 * Answers to the core's actions that are at hand at once (memory) wait in `answers` until its
 * step is over; a step is never begun within another.
 */
#include "driver/loop.h"

#include "common/base/clock.h"
#include "common/net/net.h"
#include "driver/disk.h"
#include "driver/results.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define EXIT_FAILED 3   /* cli/verb.h */
#define OWN_DRIVER 0    /* sched.h: keys by number */
#define STAGINGS_MAX 8  /* outputs opened and not run: more than one only when main has threads */
#define MAIN_END_MS 200 /* a main that is told that all is over has this long to return */
#define TWICE_NS \
    500000000ull /* ^C comes from the terminal and from ferro: only a later one is a second one */

struct answer {
    uint64_t id;
    int64_t result;
};

struct loop {
    struct loop_config config;
    struct sched *core;
    struct net *net;
    struct disk *disk;
    struct jobmain *main;
    struct progress *progress;
    struct actions out;
    struct arena arena; /* of note_head() */
    struct head head;   /* the core's own, for BLOCK_DATA */
    struct buf answers; /* of struct answer */
    struct served served;
    struct results results;
    struct staging *opened[STAGINGS_MAX];
    int signals, signal;
    uint64_t interrupted_ns; /* 0: not yet */
    /* the job that runs */
    const struct job_spec *job;
    struct staging *staging; /* of its output */
    bool job_ended;          /* and main is told once no file work is under way */
    int job_code;
    uint64_t job_rows;
    struct error story;   /* of the last job that failed */
    char said[256];       /* the scheduler's last error: a story that is the same isn't told again */
    char last_words[512]; /* the last that main said: its thread's, until it has ended */
    bool main_ended, main_exited, over;
    int main_code, main_returned, exit_code;
};

static void step(struct loop *l, const struct event *ev);

/* ---- file work ------------------------------------------------------------------ */

static void answer(struct loop *l, uint64_t id, int64_t result)
{
    buf_put(&l->answers, &(struct answer){ id, result }, sizeof(struct answer));
}

static void release_frame(void *frame, void *hint)
{
    (void)hint;
    free(frame);
}

static void send_owned(struct loop *l, conn_id conn, struct buf *frame)
{
    net_send_zc(l->net, conn, frame->p, frame->n, release_frame, NULL);
    *frame = (struct buf){ 0 };
}

static void serve(struct loop *l, const struct action *a)
{
    struct buf frame = { 0 };
    const struct served_item *item = served_find(&l->served, a->io.block);
    if (item && item->path) {
        disk_serve(l->disk, a, item, &l->head);
        return;
    }
    int64_t r = item ? disk_block_data(item, a, &l->head, &frame) : -ENOENT;
    if (r >= 0)
        send_owned(l, a->conn, &frame);
    answer(l, a->id, r);
}

static void perform_io(struct loop *l, const struct action *a)
{
    bool saves = l->job && l->job->save_dir;
    if (a->io.op == IO_SERVE) {
        serve(l, a);
    } else if (a->io.op == IO_FREE) {
        results_forget(&l->results, a->stage);
        answer(l, a->id, 0); /* a failed job's staging goes when it has ended */
    } else if (saves && l->staging) {
        disk_part(l->disk, a, l->staging);
    } else if (a->io.op == IO_WRITE && !saves) {
        results_write(&l->results, a->stage, a->part, a->attempt, a->io.offset, a->io.bytes);
        answer(l, a->id, a->io.bytes.n);
    } else {
        answer(l, a->id, -ENOENT);
    }
}

static void on_disk(struct loop *l)
{
    struct disk_done d;
    while (disk_take(l->disk, &d)) {
        if (d.kind == DISK_FRAME)
            send_owned(l, d.conn, &d.frame);
        if (d.kind != DISK_DROPPED)
            step(l, &(struct event){ .kind = EV_IO_DONE, .id = d.id, .io.result = d.result });
    }
}

/* ---- a job, from main's call to its answer ------------------------------------------ */

static void keep_staging(struct loop *l, struct staging *s)
{
    struct staging **slot = &l->opened[0];
    for (int i = 0; i < STAGINGS_MAX && *slot; i++)
        slot = &l->opened[i];
    if (*slot)
        disk_drop(l->disk, *slot); /* its job never came */
    *slot = s;
}

static struct staging *find_staging(struct loop *l, const char *dir)
{
    size_t n = strlen(dir);
    while (n > 1 && dir[n - 1] == '/')
        n--;
    for (int i = 0; i < STAGINGS_MAX; i++) {
        struct staging *s = l->opened[i];
        if (s && !strncmp(staging_dir(s), dir, n) && !staging_dir(s)[n]) {
            l->opened[i] = NULL;
            return s;
        }
    }
    return NULL;
}

static void job_begin(struct loop *l, const struct job_spec *job)
{
    l->job = job;
    l->job_ended = false;
    l->staging = job->save_dir ? find_staging(l, job->save_dir) : NULL;
    results_reset(&l->results);
    progress_begin(l->progress, job->save_dir, clock_now_ns());
    step(l, &(struct event){ .kind = EV_CALL, .call = { .what = SCHED_RUN, .arg = job } });
}

/* The story may be longer than what main gets of it. */
static void tell_failure(struct loop *l, const char *words)
{
    struct buf story = { 0 };
    buf_printf(&story, "app %" PRIu64 " FAILED: %s", l->config.main.app, words);
    error_set(&l->story, 0, "%s", (const char *)story.p);
    if (!*l->said || strncmp(words, l->said, strlen(l->said)))
        progress_error(l->progress, (const char *)story.p);
    buf_fini(&story);
}

static void on_job_ended(struct loop *l, const struct sched_ended *ended)
{
    struct sched_progress s;
    char words[128];
    l->job_ended = true;
    l->job_code = ended->code || l->results.full ? -1 : 0;
    l->job_rows = ended->rows;
    sched_progress(l->core, &s);
    progress_end(l->progress, &s, l->job_code == 0);
    snprintf(words, sizeof words,
             "its results are over %" PRIu64 " MiB: save them, take fewer, or raise --results-max",
             l->config.results_max >> 20);
    event_emit("job.ended", "app", 'u', l->config.main.app, "code", 'i', (int64_t)l->job_code, "tasks", 'u',
               s.tasks_all, "failures", 'u', s.failed, "reruns", 'u', s.reruns, "task_messages", 'u',
               s.task_messages, NULL);
    if (l->job_code)
        tell_failure(l, !ended->code ? words : ended->words ? ended->words : "");
}

/* Main is told when the files are as they will stay. */
static void job_settle(struct loop *l)
{
    struct job_outcome outcome = { .code = l->job_code, .rows = l->job_rows };
    if (!l->job || !l->job_ended || disk_pending(l->disk))
        return;
    if (l->staging) {
        disk_drop(l->disk, l->staging);
        l->staging = NULL;
        return;
    }
    if (l->job_code)
        outcome.why = l->story;
    else
        outcome.nresults = results_take(&l->results, &outcome.results);
    l->job = NULL;
    results_reset(&l->results);
    jobmain_answer(l->main, &outcome);
}

/* In words, how main ended by itself, not well. */
static void main_words(const struct loop *l, char *out, size_t size)
{
    snprintf(out, size, "%s: its main %s %d", l->config.progress.name,
             l->main_exited ? "called exit() with" : "returned", l->main_returned);
}

static void on_main_crashed(struct loop *l, int sig)
{
    char words[128];
    const char *name = sigabbrev_np(sig);
    snprintf(words, sizeof words, "%s: its main was killed by SIG%s", l->config.progress.name,
             name ? name : "?");
    struct sched_close close = { .exit_code = EXIT_FAILED, .words = words };
    l->main_ended = true;
    l->main_code = EXIT_FAILED;
    progress_error(l->progress, words);
    step(l, &(struct event){ .kind = EV_CALL, .call = { .what = SCHED_CLOSE, .arg = &close } });
}

static void on_main_ended(struct loop *l, const struct jobmain_post *p)
{
    char words[128] = "";
    struct sched_close close = { .exit_code = (uint32_t)p->code, .words = words };
    l->main_ended = true;
    l->main_exited = p->exited;
    l->main_code = p->code;
    l->main_returned = p->returned;
    if (p->code == EXIT_FAILED)
        close.words = *l->story.words ? l->story.words : l->last_words;
    else if (p->code)
        main_words(l, words, sizeof words);
    step(l, &(struct event){ .kind = EV_CALL, .call = { .what = SCHED_CLOSE, .arg = &close } });
}

static void on_post(struct loop *l, struct jobmain_post *p)
{
    switch (p->what) {
    case JOBMAIN_SERVE: {
        struct served_block b = { p->item->id, { p->item->bytes, (uint32_t)p->item->total } };
        if (served_add(&l->served, p->item))
            step(l, &(struct event){ .kind = EV_CALL, .call = { .what = SCHED_SERVE, .arg = &b } });
        break;
    }
    case JOBMAIN_FILES: served_add_files(&l->served, p->files); break;
    case JOBMAIN_SAVE: keep_staging(l, p->staging); break;
    case JOBMAIN_FORGET:
        step(l, &(struct event){ .kind = EV_CALL, .call = { .what = SCHED_FORGET, .arg = &p->keep } });
        break;
    case JOBMAIN_RUN: job_begin(l, p->job); break;
    case JOBMAIN_ENDED: on_main_ended(l, p); break;
    }
}

static void on_main(struct loop *l)
{
    for (struct jobmain_post *p; !l->over && (p = jobmain_take(l->main)); free(p))
        on_post(l, p);
    int crashed = jobmain_crashed(l->main);
    if (crashed && !l->main_ended && !l->over)
        on_main_crashed(l, crashed);
}

/* ---- what the core asks for ------------------------------------------------------------- */

static void emit(const struct sched_event *e)
{
    event_emit(e->name, "app", 'u', e->app, "stage", 'u', (uint64_t)e->stage, "part", 'u', (uint64_t)e->part,
               "attempt", 'u', (uint64_t)e->attempt, "count", 'u', (uint64_t)e->count, "executor", 's',
               e->executor ? e->executor : "", "words", 's', e->words ? e->words : "", NULL);
}

static void note(struct loop *l, const struct action *a)
{
    const struct sched_result *r = a->call.arg;
    switch (a->call.what) {
    case SCHED_JOB_ENDED: on_job_ended(l, a->call.arg); break;
    case SCHED_RESULT: results_accept(&l->results, r->stage, r->part, r->attempt, r->bytes); break;
    case SCHED_EVENT:
        emit(a->call.arg);
        progress_event(l->progress, a->call.arg);
        break;
    default: break; /* SCHED_PROGRESS: looked at once a turn */
    }
}

static void say_log(struct loop *l, const struct action *a)
{
    if (a->log.level == LOG_ERROR) {
        char words[ERROR_WORDS_MAX];
        snprintf(l->said, sizeof l->said, "%s", a->log.words);
        snprintf(words, sizeof words, "app %" PRIu64 ": %s", l->config.main.app, a->log.words);
        progress_error(l->progress, words);
    } else if (a->log.level == LOG_WARN || l->config.progress.verbose) {
        progress_say(l->progress, "app %" PRIu64 ": %s", l->config.main.app, a->log.words);
    }
}

/* The shell sends BLOCK_DATA itself; its head is the one of the core's own frames. */
static void note_head(struct loop *l, struct bytes frame)
{
    struct head h;
    if (frame.n < 2 || (frame.p[1] != MSG_ATTACH && frame.p[1] != MSG_BEAT))
        return;
    arena_reset(&l->arena);
    if (proto_decode(&l->arena, frame, &h, NULL))
        l->head = h;
}

static void perform(struct loop *l, const struct action *a)
{
    switch (a->kind) {
    case ACT_SEND:
        note_head(l, a->frame);
        net_send(l->net, a->conn, a->frame.p, a->frame.n);
        break;
    case ACT_DIAL:
        net_dial(l->net, a->conn, a->dial.data ? PLANE_DATA : PLANE_CONTROL, a->dial.address, a->dial.key,
                 a->dial.own, a->dial.role);
        break;
    case ACT_CUT: net_cut(l->net, a->conn); break;
    case ACT_PROBE: net_probe(l->net, a->id, a->dial.address); break;
    case ACT_IO: perform_io(l, a); break;
    case ACT_LOG: say_log(l, a); break;
    case ACT_CALL: note(l, a); break;
    case ACT_EXIT:
        l->over = true;
        l->exit_code = a->exit_code;
        break;
    default: break; /* nothing else comes from this core */
    }
}

static void step_once(struct loop *l, const struct event *ev)
{
    actions_reset(&l->out);
    sched_step(l->core, ev, clock_now_ns(), &l->out);
    for (uint32_t i = 0; i < l->out.n; i++)
        perform(l, &l->out.v[i]);
}

static void step(struct loop *l, const struct event *ev)
{
    if (l->over)
        return;
    step_once(l, ev);
    for (size_t at = 0; !l->over && at < l->answers.n; at += sizeof(struct answer)) {
        struct answer a;
        memcpy(&a, l->answers.p + at, sizeof a);
        step_once(l, &(struct event){ .kind = EV_IO_DONE, .id = a.id, .io.result = a.result });
    }
    buf_reset(&l->answers);
}

/* ---- events ---------------------------------------------------------------------------- */

static void signalled(struct loop *l)
{
    struct signalfd_siginfo info;
    while (read(l->signals, &info, sizeof info) == sizeof info) {
        uint64_t now = clock_now_ns();
        if (l->interrupted_ns && now - l->interrupted_ns > TWICE_NS)
            _exit(128 + (int)info.ssi_signo);
        if (l->interrupted_ns)
            continue;
        l->interrupted_ns = now;
        l->signal = (int)info.ssi_signo;
        step(l, &(struct event){ .kind = EV_CALL, .call = { .what = SCHED_INTERRUPT } });
    }
}

static void on_event(void *user, const struct event *ev)
{
    step(user, ev);
}

static void on_fd(void *user, int fd, short revents)
{
    struct loop *l = user;
    (void)revents;
    if (fd == l->signals)
        signalled(l);
    else if (fd == disk_fd(l->disk))
        on_disk(l);
    else
        on_main(l);
}

static void say(void *user, const char *words)
{
    struct loop *l = user;
    snprintf(l->last_words, sizeof l->last_words, "%s", words);
    progress_error(l->progress, words); /* errors of actions come this way too: never quiet */
}

/* ---- life ------------------------------------------------------------------------------- */

/* Before any thread is started: all inherit the mask, and the signals come here alone. */
static int take_signals(struct loop *l, struct error *e)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    l->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return l->signals < 0 ? error_sys(e, "signalfd") : 0;
}

static void serve_libraries(struct loop *l)
{
    const struct joblib *lib = l->config.lib;
    for (uint32_t i = 0; i < lib->nlibs; i++) {
        struct served_block b = { .bytes = lib->contents[i] };
        memcpy(b.id.b, lib->libs[i].id, ID_BYTES);
        served_add(&l->served, served_item_new(&b));
    }
}

static int open_all(struct loop *l, struct app_keys *keys, struct error *e)
{
    struct net_config net = { .user = l, .on_event = on_event, .on_fd = on_fd };
    struct event start = { .kind = EV_START };
    if (take_signals(l, e) || !(l->disk = disk_new(e)) || !(l->net = net_new(&net, e)))
        return -1;
    net_own(l->net, OWN_DRIVER, keys->driver.public_key, keys->driver.secret);
    key_wipe(keys, sizeof *keys);
    serve_libraries(l);
    l->core = sched_new(&l->config.sched);
    randombytes_buf(&start.start.seed,
                    sizeof start.start.seed); /* for the core's PRNG alone: nothing secret comes from it */
    step(l, &start);
    if (!(l->main = jobmain_start(&l->config.main, e)))
        return -1;
    net_watch(l->net, l->signals, POLLIN);
    net_watch(l->net, disk_fd(l->disk), POLLIN);
    net_watch(l->net, jobmain_fd(l->main), POLLIN);
    return 0;
}

struct loop *loop_new(const struct loop_config *config, struct app_keys *keys, struct error *e)
{
    struct loop *l = calloc(1, sizeof *l);
    if (!l)
        abort();
    l->config = *config;
    l->config.main.user = l;
    l->config.main.say = say;
    l->head.epoch = config->sched.epoch;
    l->signals = -1;
    l->progress = progress_new(&config->progress, clock_now_ns());
    results_init(&l->results, config->results_max);
    if (open_all(l, keys, e))
        loop_free(&l);
    return l;
}

static void turn(struct loop *l)
{
    struct sched_progress s;
    uint64_t core = sched_deadline(l->core), people = progress_deadline(l->progress);
    net_poll(l->net, core < people ? core : people);
    uint64_t now = clock_now_ns();
    if (!l->over && sched_deadline(l->core) <= now)
        step(l, &(struct event){ .kind = EV_TIME });
    if (l->job && !l->job_ended) {
        sched_progress(l->core, &s);
        progress_update(l->progress, &s, now);
    }
    job_settle(l);
}

int loop_run(struct loop *l)
{
    while (!l->over)
        turn(l);
    if (l->main_ended && (l->exit_code == 0 || l->main_exited))
        l->exit_code = l->main_code;
    if (l->signal && l->exit_code >= 128)
        l->exit_code = 128 + l->signal;
    if (l->exit_code == 0)
        progress_last(l->progress, clock_now_ns());
    else if (l->main_ended && l->main_code && l->main_code != EXIT_FAILED) {
        char words[128];
        main_words(l, words, sizeof words);
        progress_error(l->progress, words);
    }
    return l->exit_code;
}

bool loop_free(struct loop **lp)
{
    struct loop *l = *lp;
    *lp = NULL;
    disk_free(&l->disk);
    staging_free(&l->staging);
    for (int i = 0; i < STAGINGS_MAX; i++)
        staging_free(&l->opened[i]);
    net_free(&l->net);
    if (l->main) {
        jobmain_over(l->main, "the application is over");
        if (!jobmain_join(&l->main, MAIN_END_MS))
            return false;
    }
    sched_free(&l->core);
    progress_free(&l->progress);
    served_fini(&l->served);
    results_fini(&l->results);
    actions_fini(&l->out);
    arena_fini(&l->arena);
    buf_fini(&l->answers);
    if (l->signals >= 0)
        close(l->signals);
    free(l);
    return true;
}
