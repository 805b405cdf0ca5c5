/* client.h - a short conversation with the manager, for programs without a loop. */
#ifndef FERRO_NET_CLIENT_H
#define FERRO_NET_CLIENT_H

#include "common/net/net.h"
#include "common/proto/proto.h"

struct client;

/* Dial, HELLO, WELCOME.  NULL and `e`: code EACCES when the key is not admitted,
 * EPROTO when the versions don't fit, ECONNREFUSED, ETIMEDOUT or EHOSTUNREACH
 * when the manager can't be reached. */
struct client *client_open(const char *manager, const uint8_t manager_key[KEY_BYTES],
                           const uint8_t public_key[KEY_BYTES], const uint8_t secret[KEY_BYTES],
                           uint64_t timeout_ms, struct error *e);
void client_close(struct client **c);

/* Queue a message.  -1 and `e` when the connection is gone. */
int client_send(struct client *c, uint8_t tag, const void *msg, struct error *e);

/* The next message with this tag; others are dropped, REFUSE is an error (code
 * EPERM: this key may not; else EINVAL).  Valid until the next call.  timeout 0: no limit.  NULL and `e` else. */
const void *client_recv(struct client *c, uint8_t tag, uint64_t timeout_ms, struct error *e);

uint64_t client_epoch(const struct client *c);

#endif
