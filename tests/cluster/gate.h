/* gate.h - strangers at the gates: raw sockets that offer a service anything. */
#ifndef FERRO_TESTS_GATE_H
#define FERRO_TESTS_GATE_H

#include "common/keys/keys.h"
#include "common/proto/proto.h"
#include "tests/cluster/cluster.h"

#define PORTS_MAX 16

/* TCP ports on which a process listens: how many. */
int ports_of(pid_t pid, int ports[PORTS_MAX]);

enum offer { OFFER_NULL, OFFER_PLAIN, OFFER_CURVE };

/* A raw DEALER to 127.0.0.1:port. */
struct gate {
    void *ctx, *sock, *monitor;
};
/* Connect with this mechanism (CURVE: as `own`, expecting `server`); true when the handshake succeeds, false when the
 * service refuses it.  Close it in either case. */
bool gate_open(struct gate *g, int port, enum offer offer, const uint8_t server[KEY_BYTES],
               const struct keypair *own);
void gate_close(struct gate *g);
/* Send a frame of this message (NULL: all fields empty), with this epoch and generation; or any bytes. */
void gate_send(struct gate *g, uint8_t tag, uint64_t epoch, uint64_t generation, const void *msg);
void gate_send_bytes(struct gate *g, const void *bytes, size_t n);
/* The next frame within the deadline, skipping BEATs: its tag; *h and, when it is a REFUSE, *code are filled. 0: closed or none. */
uint8_t gate_take(struct gate *g, struct head *h, uint32_t *code);

/* Raw bytes on a port: true when the service hangs up. */
bool port_takes_garbage(int port, const void *bytes, size_t n);

/* A service's figure, by SIGUSR1 and its `counters` event. */
int64_t counter(struct proc *p, const char *name);

#endif
