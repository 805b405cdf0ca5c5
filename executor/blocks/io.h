/* io.h - file work in threads of its own: what ACT_IO asks for, done elsewhere, back as events. */
#ifndef FERRO_EXECUTOR_BLOCKS_IO_H
#define FERRO_EXECUTOR_BLOCKS_IO_H

#include "executor/blocks/files.h"

struct io;

struct io_done {
    uint64_t id;
    int64_t result;
    bool saved;       /* of io_save_open(): the result is a descriptor, whoever takes it closes it */
    conn_id conn;     /* IO_SERVE: where the frame is to go */
    struct buf frame; /* its BLOCK_DATA; whoever takes it frees it, and says io_served() */
};

/* `writes`: folders below which saved output may be written (NULL-ended, borrowed). */
struct io *io_new(struct files *files, const char *const *writes, struct error *e);
void io_free(struct io **io);
void io_stamp(struct io *io, uint64_t epoch, uint64_t generation); /* of BLOCK_DATA's heads, from now on */
void io_put(struct io *io, const struct action *act);              /* an ACT_IO; copies what it needs */
int io_fd(const struct io *io);
bool io_take(struct io *io, struct io_done *out);

/* The network has let go of that chunk: only now its IO_SERVE is done.  From any thread. */
void io_served(struct io *io, uint64_t id, int64_t result);

/* In the output folder that IO_TOKEN found for this stage: a writable staging
 * file (what an earlier host left of the same attempt is removed).  Answered as
 * `saved`, with this id; -errno when there is none. */
void io_save_open(struct io *io, uint64_t id, uint64_t app, uint32_t stage, uint32_t part, uint32_t attempt);
/* A host is gone: remove its scratch folders.  Nothing is answered. */
void io_host_close(struct io *io, uint64_t host);
/* A library that IO_LIBRARY found whole: a copy of its sealed memfd, for the caller to close; -1: none. */
int io_library_fd(struct io *io, uint64_t app, struct block_id id);

#endif
