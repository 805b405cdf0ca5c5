/* worker.h - a task host at work: tasks in, run one after the other, what became of them out. */
#ifndef FERRO_EXECUTOR_HOST_WORKER_H
#define FERRO_EXECUTOR_HOST_WORKER_H

#include "engine/kept.h"
#include "engine/task.h"
#include "executor/host/outbox.h"

#define WORKER_QUEUE_MAX 2048 /* messages that wait; an executor sends far less ahead */
#define KEPT_IDLE_MS 1000     /* without work for so long: what is mapped for the next job goes */

/* What waits: tasks, or a stage that the tasks after it belong to. */
struct item {
    uint8_t tag; /* MSG_TASKS or MSG_HOST_STAGE */
    struct rec_run tasks;
    struct msg_host_stage stage;
    int fd; /* of the STAGE frame; -1: only the head of HOST_STAGE changed */
};

struct worker {
    struct daemon daemon;
    struct host_board *board;
    struct outbox outbox;
    struct item queue[WORKER_QUEUE_MAX]; /* a ring */
    uint32_t first, n;
    uint64_t since_ns; /* when the last task ended; 0: we have slept since */

    struct arena keep; /* what HOST_ASSIGN named */
    struct task_env env;
    struct kept kept; /* env has it */
    struct task_stage *stage;
    struct error stage_error; /* why there is none */
    uint32_t stage_number;
    void *mapped;
    size_t mapped_bytes;

    struct arena fetched; /* words of the last FETCHED */
};

void worker_init(struct worker *w); /* descriptors HOST_SOCKET_FD and HOST_BOARD_FD are open */
void worker_run(struct worker *w) __attribute__((noreturn)); /* until the executor is gone */

/* stages.c */
void worker_stage(struct worker *w, const struct item *it);
void worker_assign(struct worker *w, const struct msg_host_assign *m);

#endif
