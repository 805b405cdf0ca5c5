/* launcher.h - the driver service's pure core: launches, children, their output, the manager.
 *
 * Keys by number (ACT_DIAL.own): 0 the service's key.  A child is known by its application's number.
 *
 * EV_CALL what:          arg
 *   LAUNCHER_STOP        NULL (SIGTERM): children end, then the service leaves
 *   LAUNCHER_KEYS        const struct launcher_keys * : the answer to LAUNCHER_MAKE_KEYS
 *   LAUNCHER_OUTPUT      const struct launcher_output * : a child wrote something, or closed a stream
 * EV_CHILD_EXITED{id = application}: the child ended; `tail` has words when it could not be started.
 * ACT_CALL what:
 *   LAUNCHER_MAKE_KEYS   NULL, action.app : make the application's keys; the driver's secret stays with the shell
 *   LAUNCHER_RUN         const struct launcher_run * : start the child
 *   LAUNCHER_TERM        NULL, action.app : SIGTERM to the child (ACT_KILL{id}: SIGKILL)
 *   LAUNCHER_READ        const struct launcher_read * : go on, or stop, reading what a child writes
 *   LAUNCHER_CLOSE       NULL, action.app : nothing more is read of the child's streams
 *   LAUNCHER_FORGET      NULL, action.app : its keys and all else that the shell has
 *   LAUNCHER_EVENT       const struct launcher_event * : a line on the event stream
 * ACT_IO: IO_WRITE a piece of `app`'s library (the folder is made), IO_FREE: remove the application's folder.
 */
#ifndef FERRO_SERVE_LAUNCHER_H
#define FERRO_SERVE_LAUNCHER_H

#include "common/core/step.h"
#include "common/proto/proto.h"

#define LAUNCHER_STREAMS 2 /* stdout, stderr: OUTPUT.stream less one */

enum launcher_call { LAUNCHER_STOP = 1, LAUNCHER_KEYS, LAUNCHER_OUTPUT };
enum launcher_note {
    LAUNCHER_MAKE_KEYS = 1,
    LAUNCHER_RUN,
    LAUNCHER_TERM,
    LAUNCHER_READ,
    LAUNCHER_CLOSE,
    LAUNCHER_FORGET,
    LAUNCHER_EVENT,
};

struct launcher_keys {
    uint64_t app;
    uint8_t driver_key[KEY_BYTES], fetch_key[KEY_BYTES], fetch_secret[KEY_BYTES];
};
struct launcher_output {
    uint64_t app;
    uint32_t stream;    /* 0 stdout, 1 stderr */
    struct bytes bytes; /* empty: closed */
};
struct launcher_run {
    uint64_t app;
    const char *const *options, *const *args; /* NULL-ended */
};
struct launcher_read {
    uint64_t app;
    uint32_t stream;
    bool on;
};
struct launcher_event {
    const char *name; /* "service.joined", "app.launched", "app.exited" */
    uint64_t app;
    int code;
    const char *words;
};

/* All are options of ferro-driver serve; defaults in brackets. */
struct launcher_config {
    const char *manager; /* host:port */
    uint8_t manager_key[KEY_BYTES];
    const char *host;         /* what people call this machine */
    uint32_t capacity;        /* [4] applications at once */
    uint64_t manager_lost_ms; /* [20000] silence after which it is dialled again */
    uint64_t end_ms;  /* [2000] an ended application's child has this long to end by itself; then SIGTERM */
    uint64_t kill_ms; /* [5000] and this long after SIGTERM; then SIGKILL */
};

struct launcher;
struct launcher *launcher_new(const struct launcher_config *config);
void launcher_free(struct launcher **l);
void launcher_step(struct launcher *l, const struct event *ev, uint64_t now_ns, struct actions *out);
uint64_t launcher_deadline(const struct launcher *l);

#endif
