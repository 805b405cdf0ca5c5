/* loop.h - the driver's shell: sockets, files, signals and the job's main around the scheduler.  It decides nothing. */
#ifndef FERRO_DRIVER_LOOP_H
#define FERRO_DRIVER_LOOP_H

#include "driver/joblib.h"
#include "driver/jobmain.h"
#include "common/keys/keypipe.h"
#include "driver/progress.h"

struct loop_config {
    struct sched_config sched;
    struct jobmain_config main; /* user and say are the loop's */
    struct progress_config progress;
    const struct joblib *lib; /* borrowed, until loop_free() */
    uint64_t results_max;     /* bytes of one job's results, in memory */
};

struct loop;

/* Takes the signals, opens the sockets with the driver's key (and wipes `keys`), starts core and main.  NULL and `e`. */
struct loop *loop_new(const struct loop_config *config, struct app_keys *keys, struct error *e);

/* Until the application is over: its exit code (cli/verb.h). */
int loop_run(struct loop *l);

/* True: all is freed.  False: main does not end, so only _exit() may follow. */
bool loop_free(struct loop **l);

#endif
