/* jobmain.h - the job's main in a thread of its own, and what it asks of the loop.
 *
 * libferro's calls (driver/api/runtime.h) come in the job's thread; each becomes a post that the
 * loop takes when jobmain_fd() is readable.  One action runs at a time; it blocks the job's
 * thread until jobmain_answer().
 */
#ifndef FERRO_DRIVER_JOBMAIN_H
#define FERRO_DRIVER_JOBMAIN_H

#include "driver/api/runtime.h"
#include "driver/served.h"
#include "driver/staging.h"

struct jobmain_config {
    const struct ferro_job *job;
    int argc; /* argv[0] is the job's name */
    char **argv;
    uint64_t app;
    bool overwrite;
    uint32_t parallelism;
    uint64_t split_bytes;
    int library_fd;
    void *user;
    void (*say)(void *user, const char *words); /* called in the job's thread */
};

enum jobmain_what {
    JOBMAIN_SERVE = 1, /* item: the loop's from now on */
    JOBMAIN_FILES,     /* files: the same */
    JOBMAIN_SAVE,      /* staging: the loop's from now on, for the job with that save_dir */
    JOBMAIN_FORGET,    /* keep */
    JOBMAIN_RUN,       /* job: valid until it is answered */
    JOBMAIN_ENDED,     /* main returned, or called exit(): code */
};

struct jobmain_post {
    struct jobmain_post *next;
    enum jobmain_what what;
    struct served_item *item;
    struct served_files *files;
    struct staging *staging;
    const struct job_spec *job;
    uint64_t keep;
    int code;
    int returned; /* what main itself returned, or called exit() with */
    bool exited;  /* by exit() */
};

struct jobmain;

struct jobmain *jobmain_start(const struct jobmain_config *config, struct error *e);
int jobmain_fd(const struct jobmain *j);
struct jobmain_post *jobmain_take(struct jobmain *j); /* in order; NULL: none. free() it */

/* The signal that main has crashed with, 0: it hasn't.  Its thread never runs again; should the caller not leave
 * the process within a minute, or not ask within two seconds, the crash itself ends it with code 3. */
int jobmain_crashed(struct jobmain *j);

/* The job that runs has ended so; `outcome` is copied, its results are the job thread's from now on. */
void jobmain_answer(struct jobmain *j, const struct job_outcome *outcome);

/* The application is over: whatever main still asks fails with these words. */
void jobmain_over(struct jobmain *j, const char *words);

/* Wait for main's end; frees when it came within `ms`.  False: it goes on (and *j stays), so the process
 * can only be left by _exit(). */
bool jobmain_join(struct jobmain **j, uint64_t ms);

#endif
