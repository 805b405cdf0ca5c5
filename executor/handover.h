/* handover.h - frames to task hosts, with the descriptors that belong to them: opened here, never named to a host. */
#ifndef FERRO_EXECUTOR_HANDOVER_H
#define FERRO_EXECUTOR_HANDOVER_H

#include "executor/blocks/io.h"
#include "executor/procs.h"

struct handover {
    struct procs *procs; /* all borrowed */
    struct io *io;
    struct files *files;
    const char *const *reads; /* what user code may open by itself; NULL-ended */
    int none;                 /* /dev/null: stands for a block that could not be opened */
};

int handover_init(struct handover *h, struct error *e); /* the fields above `none` are set */
void handover_fini(struct handover *h);

/* An ACT_HOST_SEND.  HOST_ASSIGN gets the host's folders and `reads`; blocks follow
 * in order, /dev/null in the place of one that can't be opened; then `sealed`. */
void handover_send(struct handover *h, const struct action *act);

#endif
