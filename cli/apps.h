/* apps.h - following one application. */
#ifndef FERRO_CLI_APPS_H
#define FERRO_CLI_APPS_H

#include "cli/session.h"

/* Write what it wrote, as it comes with `follow`, until it ends.  0 or an exit code. */
int app_logs(struct session *s, uint64_t app, bool follow);

/* Wait until it ends: its exit code; says nothing. */
int app_outcome(struct session *s, uint64_t app);

#endif
