/* send.h - a message as an ACT_SEND. */
#ifndef FERRO_CORE_SEND_H
#define FERRO_CORE_SEND_H

#include "common/proto/proto.h"

/* Encode `msg` (a struct msg_X that fits head.tag), to be sent on `conn`. */
void actions_send(struct actions *a, conn_id conn, struct head head, const void *msg);

#endif
