/* slow.h - the job slow.c, which tests disturb: start it, and compare what it saved. */
#ifndef FERRO_TESTS_SLOW_H
#define FERRO_TESTS_SLOW_H

#include "tests/cluster/cluster.h"

#define SLOW "tests/cluster/jobs/slow.c"

/* Submit it with so many tasks of so many milliseconds into DIR/out, and await its first committed task. */
struct proc slow_start(struct cluster *c, int tasks, int ms, const char *out);
/* DIR/out holds what an undisturbed run with so many tasks gives. */
void slow_expect(const struct cluster *c, const char *out, int64_t tasks);

/* `ferro apps` lists application `app` in this state, with a cause unless it is ok or running. */
void app_expect(struct cluster *c, int app, const char *state);

#endif
