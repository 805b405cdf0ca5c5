/* session.h - a verb's conversation with the manager. */
#ifndef FERRO_CLI_SESSION_H
#define FERRO_CLI_SESSION_H

#include "cli/verb.h"
#include "common/keys/keys.h"
#include "common/net/client.h"

/* The options that every verb which talks to a manager has. */
struct where {
    const char *manager; /* host:port */
    const char *key;     /* file */
    uint64_t timeout_ms;
};
#define WHERE_ROWS(holder, field) \
    { .name = "manager", \
      .letter = 'm', \
      .value = "HOST:PORT", \
      .type = OPT_HOSTPORT, \
      .offset = offsetof(struct holder, field.manager), \
      .env = "FERRO_MANAGER", \
      .fallback = "127.0.0.1:7400", \
      .help = "where the manager listens" }, \
        { .name = "key", \
          .letter = 'k', \
          .value = "FILE", \
          .type = OPT_PATH, \
          .offset = offsetof(struct holder, field.key), \
          .env = "FERRO_KEY", \
          .fallback = "keys/users/user.key", \
          .help = "a user's key file" }, \
    { \
        .name = "timeout", .value = "TIME", .type = OPT_DURATION, \
        .offset = offsetof(struct holder, field.timeout_ms), .fallback = "10s", .min = 1, \
        .help = "how long to wait for the manager" \
    }

struct session {
    struct client *client; /* owned */
    struct key_file key;   /* the user's; wiped by session_close */
    struct where where;
    bool patient; /* waits for a manager that goes away meanwhile: the verb's work may outlive it */
};
#define SESSION_AGAIN (-1) /* the exit code of session_await() for "it went and is back: ask again" */

/* Load the key, dial, HELLO, WELCOME.  0, or an exit code after the error was said. */
int session_open(struct session *s, const struct where *where);
void session_close(struct session *s);

/* Send a message and wait for the reply of this tag: NULL after the error was
 * said (also for REFUSE); the exit code is then in *code. */
const void *session_call(struct session *s, uint8_t tag, const void *msg, uint8_t reply, int *code);
int session_send(struct session *s, uint8_t tag,
                 const void *msg); /* 0, or an exit code after the error was said */
/* The next message of that tag, with no time limit when wait_ms is 0.  NULL: the exit code is in *code, or
 * SESSION_AGAIN when the session is patient. */
const void *session_await(struct session *s, uint8_t reply, uint64_t wait_ms, int *code);

#endif
