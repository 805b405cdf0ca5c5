/* cluster.h - real processes for the cluster tests: start, await their events, kill, clean up.
 *
 * Every wait has a deadline (AWAIT_MS) and fails the test with what it waited
 * for and the process's last events.  Everything lives in one temporary folder.
 */
#ifndef FERRO_TESTS_CLUSTER_H
#define FERRO_TESTS_CLUSTER_H

#include <criterion/criterion.h>
#include <jansson.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define AWAIT_MS 30000
#define EXECUTORS_MAX 8

struct proc {
    pid_t pid; /* 0: not running */
    char name[32];
    int events; /* read end of its --events pipe, -1: none */
    char *seen; /* events read so far, for failure messages */
    size_t nseen;
    int seen_slot;    /* it lives until cluster_fini(), whoever copies this struct */
    char rest[65536]; /* an event line that is not whole yet */
    size_t nrest;
    int status; /* wait status once reaped */
};

struct cluster {
    char dir[64]; /* temporary folder */
    char manager_addr[64];
    struct proc manager, driver;
    struct proc executor[EXECUTORS_MAX];
};

/* The folder of ferro's programs ($B/bin), and of this checkout. */
const char *bin_dir(void);

void folder_init(struct cluster *c);  /* the temporary folder only: enough for local mode */
void cluster_init(struct cluster *c); /* folder and keys */
void cluster_manager(
    struct cluster *c,
    const char *more); /* start and await "listening"; `more`: further options, space separated, or NULL */
void cluster_executor(struct cluster *c, int i, const char *more); /* and await its joining */
void cluster_driver(struct cluster *c);                            /* ferro-driver serve */
void cluster_start(struct cluster *c, int executors); /* manager and executors of one slot each */
void cluster_fini(
    struct cluster *c); /* SIGTERM, then SIGKILL after 10 s; asserts nothing is left; removes the folder */

/* Start a program: argv[0] without folder means one of ferro's.  stdout and
 * stderr go to DIR/name.out and DIR/name.err; with events, "--events FD" is appended after argv[at]. */
void proc_start(struct cluster *c, struct proc *p, const char *name, char *const *argv, int events_at);
/* The next event with this name for which each of the key=value pairs (NULL-ended) holds. Caller json_decref()s. */
json_t *proc_await(struct proc *p, const char *event, ...);
/* True when such an event comes within `ms`; the test goes on either way. */
bool proc_await_ms(struct proc *p, int ms, const char *event);
/* All events of a process that has ended, or of what it wrote so far when it runs: a JSON array, json_decref() it. */
json_t *proc_events(struct proc *p);
/* How many of these events have this name and each of the key=value pairs (NULL-ended); a "task." event counts for each of its tasks. */
int events_count(const json_t *events, const char *event, ...);
void proc_kill(struct proc *p, int sig);
int proc_wait(struct proc *p); /* reap within AWAIT_MS: exit code, or 128 + signal */

/* A descendant of `parent` (0: of anybody) that runs ferro's program `name` for this cluster, or 0. */
pid_t proc_find(const struct cluster *c, pid_t parent, const char *name);
/* Wait (bounded) until no process of ferro's that this test started is left. */
void cluster_expect_nothing_left(const struct cluster *c);

/* Run ferro with these arguments (space separated; '\1' in one stands for a space) to its end: exit code; stdout and stderr as text (caller frees; NULL: dropped). */
int ferro(struct cluster *c, const char *args, char **out, char **err);
/* Run ferro; expect this exit code and these words on stderr (NULL: any): what it printed, caller frees. */
char *ferro_expect(struct cluster *c, int code, const char *said, const char *args);
/* Start `ferro ARGS` and go on; with an event stream when args name a run or submit. */
void ferro_start(struct cluster *c, struct proc *p, const char *args);

/* printf into one of 16 strings that take turns. */
const char *words(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void file_await(const char *path, const char *text); /* until the file holds the text, at most AWAIT_MS */
char *file_text(const char *fmt, ...)
    __attribute__((format(printf, 1, 2))); /* whole file, "" when missing; caller frees */
void file_write(const char *text, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
char *parts_text(const char *dir); /* all part files, in order; caller frees */

#endif
