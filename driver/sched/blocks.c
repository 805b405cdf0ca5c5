/* blocks.c - what the driver serves: the job's libraries, and data that travels as blocks. */
#include "driver/sched/core.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static uint64_t key_of(struct block_id id)
{
    uint64_t key;
    memcpy(&key, id.b, sizeof key);
    return key;
}

void blocks_serve(struct sched *s, struct block_id id, uint64_t bytes)
{
    if (map_has(&s->served, key_of(id)))
        return;
    struct served *b = calloc(1, sizeof *b);
    if (!b)
        abort();
    *b = (struct served){ id, bytes };
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

static const struct served *find(const struct sched *s, const uint8_t id[ID_BYTES])
{
    struct block_id key;
    memcpy(key.b, id, ID_BYTES);
    const struct served *b = map_get(&s->served, key_of(key));
    return b && memcmp(b->id.b, id, ID_BYTES) == 0 ? b : NULL;
}

static void read_chunk(struct sched *s, struct exec *x, conn_id conn, const struct msg_block_get *m,
                       uint64_t offset, uint64_t left)
{
    struct io_work *w;
    uint64_t length = m->length ? m->length : CHUNK_BYTES_MAX;
    struct action *act = blocks_io(s, WORK_SERVE, IO_SERVE, &w);
    x->serving++;
    act->conn = conn;
    memcpy(act->io.block.b, m->block, ID_BYTES);
    act->io.offset = offset;
    act->io.length = length < left ? length : left;
    act->io.tag = m->tag;
    w->x = x;
    w->conn = conn;
    w->tag = m->tag;
}

/* A block that isn't known here may be an input file: the shell knows. */
void blocks_on_get(struct sched *s, struct exec *x, conn_id conn, const struct msg_block_get *m)
{
    const struct served *b = find(s, m->block);
    bool tail = m->flags & BLOCK_TAIL;
    if (m->app != s->config.app || (tail && !b)) {
        x->denied = true;
        refuse_chunk(s, conn, m->tag, BLOCK_GONE, "the driver serves no such block");
        return;
    }
    uint64_t bytes = b ? b->bytes : UINT64_MAX;
    uint64_t offset = !tail ? m->offset : bytes > m->offset ? bytes - m->offset : 0;
    if (x->serving >= SERVING_MAX)
        refuse_chunk(s, conn, m->tag, BLOCK_BUSY, "too many chunks are under way");
    else if (offset > bytes)
        refuse_chunk(s, conn, m->tag, BLOCK_CORRUPT, "it ends before that");
    else
        read_chunk(s, x, conn, m, offset, bytes - offset);
}

static enum block_error code_of(int64_t result)
{
    switch (result) {
    case -ENOENT: return BLOCK_GONE;
    case -ESTALE:
    case -EINVAL: return BLOCK_CORRUPT;
    default: return BLOCK_IO;
    }
}

void blocks_served(struct sched *s, const struct io_work *w, int64_t result)
{
    w->x->serving--;
    w->x->denied |= result < 0;
    if (result < 0 && w->x->data.conn == w->conn)
        refuse_chunk(s, w->conn, w->tag, code_of(result),
                     result == -ESTALE ? "it has changed since the job began" : strerror((int)-result));
}
