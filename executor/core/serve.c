/* serve.c - our blocks, a chunk at a time, to the driver and to other executors of the same application. */
#include "executor/core/core.h"

#include <string.h>

static void answer_error(struct executor *x, conn_id conn, uint64_t tag, enum block_error code,
                         const char *words)
{
    frame_send(x, conn, MSG_BLOCK_ERR,
               &(struct msg_block_err){ .tag = tag, .code = code, .words = bytes_of(words) });
}

void on_block_get(struct executor *x, struct conn *c, const struct msg_block_get *m)
{
    struct block_id id;
    struct job *j;
    memcpy(id.b, m->block, ID_BYTES);
    const struct block *b = map_get(&x->blocks, block_key(c->app->app, id));
    uint64_t offset = m->offset;
    if (!b || b->app != c->app || memcmp(b->id.b, id.b, ID_BYTES)) {
        answer_error(x, c->id, m->tag, BLOCK_GONE, "no such block here");
        return;
    }
    if (m->flags & BLOCK_TAIL)
        offset = b->bytes > m->offset ? b->bytes - m->offset : 0;
    if (offset > b->bytes) {
        answer_error(x, c->id, m->tag, BLOCK_CORRUPT, "past its end");
        return;
    }
    if (c->serving >= SERVES_MAX) {
        answer_error(x, c->id, m->tag, BLOCK_BUSY, "too many chunks are under way");
        return;
    }
    c->serving++;
    x->serving++;
    struct action *act = io_start(x, JOB_SERVE, IO_SERVE, c->app->app, &j);
    act->conn = c->id;
    act->io.block = id;
    act->io.offset = offset;
    act->io.length = m->length && m->length < b->bytes - offset ? m->length : b->bytes - offset;
    if (act->io.length > CHUNK_BYTES_MAX)
        act->io.length = CHUNK_BYTES_MAX;
    act->io.tag = m->tag;
    j->conn = c->id;
    j->tag = m->tag;
}

void serve_done(struct executor *x, struct job *j, int64_t result)
{
    struct conn *c = map_get(&x->conns, j->conn);
    x->serving--;
    if (!c)
        return;
    c->serving--;
    if (result < 0)
        answer_error(x, c->id, j->tag, BLOCK_IO, "it can't be read");
}
