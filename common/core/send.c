/* send.c - see send.h. */
#include "common/core/send.h"

void actions_send(struct actions *a, conn_id conn, struct head head, const void *msg)
{
    buf_reset(&a->scratch);
    proto_encode(&a->scratch, &head, msg);
    struct action *act = actions_add(a, ACT_SEND);
    act->conn = conn;
    act->frame = arena_bytes(&a->arena, (struct bytes){ a->scratch.p, (uint32_t)a->scratch.n });
}
