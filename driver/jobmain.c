/* jobmain.c - see jobmain.h. */
#include "driver/jobmain.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#define CRASH_HEARD_MS 2000 /* a loop that isn't caught up in what crashed hears of it sooner */
#define CRASH_END_MS 60000  /* to close the application, for which the scheduler gives itself half as long */
#define CRASH_STACK_BYTES 65536
#define CRASH_EXIT 3 /* the job failed */

struct jobmain {
    struct jobmain_config config;
    struct runtime runtime;
    pthread_t thread;
    int fd;
    pthread_mutex_t actions; /* one at a time, should main have threads of its own */
    pthread_mutex_t lock;    /* of what follows */
    pthread_cond_t answered;
    struct jobmain_post *first, **last;
    struct job_outcome *outcome; /* of the action that waits; NULL: none, or answered */
    bool over, exiting;
    struct error why;
    /* of signal handlers */
    pid_t pid; /* ours, not that of a child which main forks */
    volatile sig_atomic_t crashed, crash_heard;
};

static void post(struct jobmain *j, struct jobmain_post what)
{
    struct jobmain_post *p = malloc(sizeof *p);
    if (!p)
        abort();
    *p = what;
    p->next = NULL;
    pthread_mutex_lock(&j->lock);
    *j->last = p;
    j->last = &p->next;
    pthread_mutex_unlock(&j->lock);
    eventfd_write(j->fd, 1);
}

/* ---- libferro's calls, in the job's thread ------------------------------------ */

static int run(void *user, const struct job_spec *job, struct job_outcome *outcome)
{
    struct jobmain *j = user;
    *outcome = (struct job_outcome){ 0 };
    pthread_mutex_lock(&j->actions);
    pthread_mutex_lock(&j->lock);
    j->outcome = outcome;
    pthread_mutex_unlock(&j->lock);
    post(j, (struct jobmain_post){ .what = JOBMAIN_RUN, .job = job });
    pthread_mutex_lock(&j->lock);
    while (j->outcome && !j->over)
        pthread_cond_wait(&j->answered, &j->lock);
    if (j->outcome) {
        j->outcome = NULL;
        outcome->code = -1;
        outcome->why = j->why;
    }
    pthread_mutex_unlock(&j->lock);
    pthread_mutex_unlock(&j->actions);
    return outcome->code;
}

static void release(void *user, struct job_outcome *outcome)
{
    (void)user;
    for (uint64_t i = 0; i < outcome->nresults; i++)
        free((void *)outcome->results[i].p);
    free(outcome->results);
    *outcome = (struct job_outcome){ 0 };
}

static void serve(void *user, const struct served_block *block)
{
    post(user, (struct jobmain_post){ .what = JOBMAIN_SERVE, .item = served_item_new(block) });
}

static void serve_files(void *user, struct names *files)
{
    post(user, (struct jobmain_post){ .what = JOBMAIN_FILES, .files = served_files_new(files) });
}

static void forget(void *user, uint64_t keep)
{
    post(user, (struct jobmain_post){ .what = JOBMAIN_FORGET, .keep = keep });
}

static int save_open(void *user, const char *dir, uint8_t token[ID_BYTES], struct error *e)
{
    struct jobmain *j = user;
    struct staging *s = staging_new(dir, j->config.app, j->config.overwrite, e);
    if (!s)
        return -1;
    memcpy(token, staging_token(s), ID_BYTES);
    post(j, (struct jobmain_post){ .what = JOBMAIN_SAVE, .staging = s });
    return 0;
}

static void say(void *user, const char *words)
{
    const struct jobmain *j = user;
    j->config.say(j->config.user, words);
}

/* ---- the thread ------------------------------------------------------------------ */

static struct jobmain *of_process; /* for on_exit(), which nothing takes back */

static const int crashes[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT };
enum { CRASHES = sizeof crashes / sizeof *crashes };
static struct sigaction before[CRASHES];    /* what the process did at these signals */
static char crash_stack[CRASH_STACK_BYTES]; /* of main's thread: it may have used up its own */

/* Not main's doing: as if there were no handler. */
static void crash_pass(int sig, const siginfo_t *info)
{
    for (int i = 0; i < CRASHES; i++)
        if (crashes[i] == sig)
            sigaction(sig, &before[i], NULL);
    if (info->si_code <= 0) /* it was sent: nothing repeats it when we return */
        raise(sig);
}

static void wait_while(const volatile sig_atomic_t *flag, sig_atomic_t value, int ms)
{
    for (int waited = 0; *flag == value && waited < ms; waited += 10)
        poll(NULL, 0, 10);
}

/* The loop closes the application and leaves the process.  What it needs may have been left locked by what
 * crashed (an allocator's lock), so that this thread doesn't rely on it.  Only calls that are safe in a handler. */
static void on_crash(int sig, siginfo_t *info, void *context)
{
    static const char words[] = "ferro: the job's main crashed\n";
    struct jobmain *j = of_process;
    (void)context;
    if (!j || !pthread_equal(pthread_self(), j->thread) ||
        getpid() != j->pid) { /* or a child that it forked */
        crash_pass(sig, info);
        return;
    }
    if (!j->crashed)
        j->crashed = sig;
    eventfd_write(j->fd, 1);
    wait_while(&j->crash_heard, 0, CRASH_HEARD_MS);
    if (j->crash_heard)
        wait_while(&j->crash_heard, 1, CRASH_END_MS);
    else if (write(STDERR_FILENO, words, sizeof words - 1) < 0)
        _exit(CRASH_EXIT);
    _exit(CRASH_EXIT);
}

static void catch_crashes(void)
{
    struct sigaction on = { .sa_sigaction = on_crash, .sa_flags = SA_SIGINFO | SA_ONSTACK };
    for (int i = 0; i < CRASHES; i++)
        sigaction(crashes[i], &on, &before[i]);
}

static void *thread(void *arg)
{
    struct jobmain *j = arg;
    int returned = 0;
    stack_t own; /* a sanitizer's, which takes it back when the thread ends */
    sigaltstack(&(stack_t){ .ss_sp = crash_stack, .ss_size = sizeof crash_stack }, &own);
    int code = ferro_job_main(j->config.job, j->config.argc, j->config.argv, &j->runtime, &returned);
    sigaltstack(&own, NULL);
    post(j, (struct jobmain_post){ .what = JOBMAIN_ENDED, .code = code, .returned = returned });
    return NULL;
}

/* main called exit(): the loop closes the application first. */
static void on_main_exit(int status, void *arg)
{
    struct jobmain *j = of_process;
    (void)arg;
    if (!j || !pthread_equal(pthread_self(), j->thread))
        return;
    fflush(NULL);
    pthread_mutex_lock(&j->lock);
    j->exiting = true;
    pthread_mutex_unlock(&j->lock);
    post(j, (struct jobmain_post){
                .what = JOBMAIN_ENDED, .code = status & 255, .returned = status, .exited = true });
    pthread_mutex_lock(&j->lock);
    while (!j->over)
        pthread_cond_wait(&j->answered, &j->lock);
    pthread_mutex_unlock(&j->lock);
    for (;;)
        pause(); /* the loop's thread leaves the process */
}

struct jobmain *jobmain_start(const struct jobmain_config *config, struct error *e)
{
    struct jobmain *j = calloc(1, sizeof *j);
    if (!j)
        abort();
    j->config = *config;
    j->runtime = (struct runtime){
        .user = j,
        .run = run,
        .release = release,
        .serve = serve,
        .serve_files = serve_files,
        .forget = forget,
        .save_open = save_open,
        .say = say,
        .parallelism = config->parallelism,
        .split_bytes = config->split_bytes,
        .library_fd = config->library_fd,
    };
    j->last = &j->first;
    pthread_mutex_init(&j->actions, NULL);
    pthread_mutex_init(&j->lock, NULL);
    pthread_cond_init(&j->answered, NULL);
    j->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    j->pid = getpid();
    of_process = j;
    on_exit(on_main_exit, NULL);
    catch_crashes();
    if (j->fd < 0 || (errno = pthread_create(&j->thread, NULL, thread, j))) {
        error_sys(e, "a thread for the job's main can't be started");
        of_process = NULL;
        free(j);
        return NULL;
    }
    return j;
}

int jobmain_fd(const struct jobmain *j)
{
    return j->fd;
}

struct jobmain_post *jobmain_take(struct jobmain *j)
{
    eventfd_t count;
    pthread_mutex_lock(&j->lock);
    struct jobmain_post *p = j->first;
    if (!p)
        eventfd_read(j->fd, &count);
    else if (!(j->first = p->next))
        j->last = &j->first;
    pthread_mutex_unlock(&j->lock);
    return p;
}

int jobmain_crashed(struct jobmain *j)
{
    if (j->crashed)
        j->crash_heard = 1;
    return j->crashed;
}

void jobmain_answer(struct jobmain *j, const struct job_outcome *outcome)
{
    struct job_outcome unwanted = *outcome;
    pthread_mutex_lock(&j->lock);
    bool waits = j->outcome != NULL;
    if (waits)
        *j->outcome = *outcome;
    j->outcome = NULL;
    pthread_cond_broadcast(&j->answered);
    pthread_mutex_unlock(&j->lock);
    if (!waits)
        release(j, &unwanted);
}

void jobmain_over(struct jobmain *j, const char *words)
{
    pthread_mutex_lock(&j->lock);
    j->over = true;
    error_set(&j->why, ECANCELED, "%s", words);
    pthread_cond_broadcast(&j->answered);
    pthread_mutex_unlock(&j->lock);
}

static void post_drop(struct jobmain_post *p)
{
    served_item_free(&p->item);
    served_files_free(&p->files);
    staging_free(&p->staging);
    free(p);
}

bool jobmain_join(struct jobmain **jp, uint64_t ms)
{
    struct jobmain *j = *jp;
    struct timespec until;
    struct jobmain_post *p;
    if (!j)
        return true;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += (time_t)(ms / 1000);
    until.tv_nsec += (long)(ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    pthread_mutex_lock(&j->lock);
    bool exiting = j->exiting;
    pthread_mutex_unlock(&j->lock);
    if (exiting || j->crashed || pthread_timedjoin_np(j->thread, NULL, &until))
        return false;
    *jp = of_process = NULL;
    while ((p = jobmain_take(j)))
        post_drop(p);
    close(j->fd);
    free(j);
    return true;
}
