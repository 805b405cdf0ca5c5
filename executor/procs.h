/* procs.h - the processes of task hosts: started, spoken to, measured, reaped.  Decides nothing. */
#ifndef FERRO_EXECUTOR_PROCS_H
#define FERRO_EXECUTOR_PROCS_H

#include "executor/blocks/files.h"

#define PROCS_TAIL_BYTES 2048 /* of what a host wrote last on stdout and stderr */
#define PROCS_QUEUE_MAX 1024  /* messages that a host has not taken yet: past that it is killed */
#define PROCS_TURN_FRAMES 64  /* taken from one host in one turn */
#define PROCS_REST_MS_MIN 100 /* after a host that can't be started, doubled at each that follows */
#define PROCS_REST_MS_MAX 5000

struct procs_config {
    const char *program; /* path of ferro-host */
    bool clean;          /* without the environment, but for what libc reads */
    struct files *files; /* borrowed */
    void *user;
    void (*on_event)(void *user, const struct event *ev); /* may call all of the below */
    void (*on_scratch)(void *user,
                       uint64_t host); /* is to be removed; NULL: it is, before anything goes on */
};

struct procs;
struct procs *procs_new(const struct procs_config *config, struct error *e);
void procs_free(struct procs **p); /* kills and reaps all: returns when they are gone */

int procs_fd(const struct procs *p);        /* readable: call procs_turn() */
void procs_turn(struct procs *p);           /* hand over what happened */
bool procs_measured(const struct procs *p); /* some have work: call procs_measure() every 50 ms */
void procs_measure(
    struct procs *p); /* EV_HOST_MEMORY of those that have work: memory of their own, without files mapped */

void procs_spawn(struct procs *p,
                 uint64_t id); /* a failure comes as EV_HOST_EXITED after a rest, with words as its tail */
void procs_kill(struct procs *p, uint64_t id);
/* Takes the descriptors over, whatever becomes of the frame.  A host that is gone gets nothing. */
void procs_send(struct procs *p, uint64_t id, struct bytes frame, const int *fds, int nfds);
void procs_work(struct procs *p, uint64_t id); /* from now on it may run user code */

/* File work on what a host made is under way: its scratch stays until as many have ended. */
void procs_hold(struct procs *p, uint64_t id);
void procs_release(struct procs *p, uint64_t id);

#endif
