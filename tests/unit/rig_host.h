/* rig_host.h - one real ferro-host with a job compiled for the test, and its executor played by the test. */
#ifndef FERRO_TESTS_RIG_HOST_H
#define FERRO_TESTS_RIG_HOST_H

#include "common/proto/proto.h"
#include "executor/procs.h"

/* A frame, or the end. */
struct came {
    struct came *next;
    uint8_t tag; /* 0: it exited */
    const void *msg;
    struct arena arena; /* holds msg */
    char tail[4096];
    int code, signal;
    bool ran;
    uint32_t part;
};

struct rig_host {
    char dir[64]; /* temporary: blocks, the job */
    char job[96]; /* path of the compiled job */
    struct files files;
    struct procs *procs;
    struct came *first, **last; /* not awaited yet */
    struct came *now;           /* what the last rig_host_await() gave */
    uint64_t memory;            /* the last EV_HOST_MEMORY */
};

/* Compile `source`, start a host and assign it: confined or not, with these folders to read (NULL: none). */
void rig_host_init(struct rig_host *r, const char *source, bool confine, const char *read);
void rig_host_fini(struct rig_host *r);

void rig_host_send(struct rig_host *r, uint8_t tag, const void *msg, const int *fds, int nfds);
/* Its next frame or its end, within 20 s: the test fails after that.  Until the next call. */
const struct came *rig_host_await(struct rig_host *r);

/* Stage 1: integers 0..ntasks-1, one a task, through the job's function `fn` (a filter), counted. */
void rig_host_stage(struct rig_host *r, const char *fn, uint32_t ntasks);
void rig_host_tasks(struct rig_host *r, uint32_t first, uint32_t count);

#endif
