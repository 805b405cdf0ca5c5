/* io.h - file work in threads of its own: what ACT_IO asks for, done elsewhere, back as events. */
#ifndef FERRO_EXECUTOR_BLOCKS_IO_H
#define FERRO_EXECUTOR_BLOCKS_IO_H

#include "executor/blocks/files.h"

struct io;

struct io_done {
    uint64_t id;
    int64_t result;
    conn_id conn;
    struct buf frame; /* IO_SERVE: the BLOCK_DATA to send on conn; whoever takes it frees it */
};

/* `writes`: folders below which saved output may be written (NULL-ended, borrowed). */
struct io *io_new(struct files *files, const char *const *writes, struct error *e);
void io_free(struct io **io);
void io_stamp(struct io *io, uint64_t epoch, uint64_t generation); /* of BLOCK_DATA's heads, from now on */
void io_put(struct io *io, const struct action *act);              /* an ACT_IO; copies what it needs */
int io_fd(const struct io *io);
bool io_take(struct io *io, struct io_done *out);

/* In the output folder that IO_TOKEN found for this stage: a writable staging
 * file, made now (what an earlier host left of the same attempt is removed).  -errno when there is none. */
int io_save_open(struct io *io, uint64_t app, uint32_t stage, uint32_t part, uint32_t attempt);
/* A library that IO_LIBRARY found whole: its sealed memfd, owned by io; -1: none. */
int io_library_fd(struct io *io, uint64_t app, struct block_id id);

#endif
