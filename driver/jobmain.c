/* jobmain.c - see jobmain.h. */
#include "driver/jobmain.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

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

static void *thread(void *arg)
{
    struct jobmain *j = arg;
    int code = ferro_job_main(j->config.job, j->config.argc, j->config.argv, &j->runtime);
    post(j, (struct jobmain_post){ .what = JOBMAIN_ENDED, .code = code });
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
    post(j, (struct jobmain_post){ .what = JOBMAIN_ENDED, .code = status & 255, .exited = true });
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
    of_process = j;
    on_exit(on_main_exit, NULL);
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
    if (exiting || pthread_timedjoin_np(j->thread, NULL, &until))
        return false;
    *jp = of_process = NULL;
    while ((p = jobmain_take(j)))
        post_drop(p);
    close(j->fd);
    free(j);
    return true;
}
