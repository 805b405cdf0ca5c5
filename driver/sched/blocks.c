/* blocks.c - what the driver serves: the job's libraries, and data that travels as blocks. */
#include "driver/sched/core.h"

#include <stdlib.h>
#include <string.h>

static uint64_t key_of(struct block_id id)
{
    uint64_t key;
    memcpy(&key, id.b, sizeof key);
    return key;
}

void blocks_serve(struct sched *s, struct block_id id, bool sized, uint64_t bytes)
{
    if (map_has(&s->served, key_of(id)))
        return;
    if (s->served.n >= SERVED_MAX) {
        actions_log(s->out, LOG_ERROR, "over %u blocks are served by this driver; one more will not be found",
                    SERVED_MAX);
        return;
    }
    struct served *b = calloc(1, sizeof *b);
    if (!b)
        abort();
    *b = (struct served){ id, sized, bytes };
    map_put(&s->served, key_of(id), b);
}

struct action *blocks_io(struct sched *s, enum io_kind kind, enum io_op op, struct io_work **work)
{
    struct io_work *w = calloc(1, sizeof *w);
    if (!w)
        abort();
    w->kind = kind;
    uint64_t id = s->next_io++;
    map_put(&s->works, id, w);
    struct action *act = actions_add(s->out, ACT_IO);
    act->id = id;
    act->app = s->config.app;
    act->io.op = op;
    *work = w;
    return act;
}

static void refuse_chunk(struct sched *s, conn_id conn, uint64_t tag, enum block_error code,
                         const char *words)
{
    sched_send(s, conn, MSG_BLOCK_ERR,
               &(struct msg_block_err){ .tag = tag, .code = code, .words = bytes_of(words) });
}

void blocks_on_get(struct sched *s, struct exec *x, conn_id conn, const struct msg_block_get *m)
{
    struct block_id id;
    struct io_work *w;
    memcpy(id.b, m->block, ID_BYTES);
    const struct served *b = map_get(&s->served, key_of(id));
    bool tail = m->flags & BLOCK_TAIL;
    if (m->app != s->config.app || !b || memcmp(b->id.b, id.b, ID_BYTES) != 0 || (tail && !b->sized)) {
        x->denied = true;
        refuse_chunk(s, conn, m->tag, BLOCK_GONE, "the driver serves no such block");
        return;
    }
    uint64_t offset = tail ? b->bytes > m->offset ? b->bytes - m->offset : 0 : m->offset;
    if (x->serving >= SERVING_MAX || (b->sized && offset > b->bytes)) {
        refuse_chunk(s, conn, m->tag, BLOCK_BUSY,
                     x->serving >= SERVING_MAX ? "too many chunks are under way" : "past its end");
        return;
    }
    x->serving++;
    struct action *act = blocks_io(s, WORK_SERVE, IO_SERVE, &w);
    act->conn = conn;
    act->io.block = id;
    act->io.offset = offset;
    act->io.length = m->length ? m->length : CHUNK_BYTES_MAX;
    if (b->sized && act->io.length > b->bytes - offset)
        act->io.length = b->bytes - offset;
    act->io.tag = m->tag;
    w->x = x;
    w->conn = conn;
    w->tag = m->tag;
}

void blocks_served(struct sched *s, const struct io_work *w, int64_t result)
{
    w->x->serving--;
    w->x->denied |= result < 0;
    if (result < 0 && w->x->data.conn == w->conn)
        refuse_chunk(s, w->conn, w->tag, BLOCK_IO, strerror((int)-result));
}
