/* handover.h - frames to task hosts, with the descriptors that belong to them: opened here, never named to a host. */
#ifndef FERRO_EXECUTOR_HANDOVER_H
#define FERRO_EXECUTOR_HANDOVER_H

#include "common/base/map.h"
#include "executor/blocks/io.h"
#include "executor/procs.h"

#define HANDOVER_READS_MAX 64                /* folders of --read */
#define HANDOVER_READS_BYTES_MAX (64u << 10) /* their names, in all: they travel in one HOST_ASSIGN */
#define HANDOVER_SEALED_MAX 8 /* versions of stages that stay sealed, for the next host that is told */

struct sealed {
    uint64_t number; /* action.sealed_number; 0: none */
    int fd;
};

struct handover {
    struct procs *procs; /* all borrowed */
    struct io *io;
    struct files *files;
    const char *const *reads;                  /* what user code may open by itself; NULL-ended */
    int none;                                  /* /dev/null: stands for a block that could not be opened */
    struct sealed sealed[HANDOVER_SEALED_MAX]; /* a ring */
    uint32_t next_sealed;
    struct map waiting; /* number -> struct letter_out, owned: until its staging files are made */
    uint64_t next_waiting;
};

/* The fields above `none` are set.  -1 and `e`: also when `reads` are more than a host can be told. */
int handover_init(struct handover *h, struct error *e);
void handover_fini(struct handover *h);

/* An ACT_HOST_SEND.  HOST_ASSIGN gets the host's folders and `reads`; blocks follow
 * in order, /dev/null in the place of one that can't be opened; then `sealed`.  One
 * with staging files goes out when the I/O threads have made them: what is sent
 * meanwhile overtakes it. */
void handover_send(struct handover *h, const struct action *act);
void handover_saved(struct handover *h, uint64_t id,
                    int fd); /* io_save_open()'s answer; takes the descriptor */

#endif
