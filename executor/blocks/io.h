/* io.h - file work in threads of its own: what ACT_IO asks for, done elsewhere, back as events. */
#ifndef FERRO_EXECUTOR_BLOCKS_IO_H
#define FERRO_EXECUTOR_BLOCKS_IO_H

#include "executor/blocks/files.h"

struct io;

struct io_done {
    uint64_t id;
    int64_t result;
    /* IO_SERVE: what to send, malloc'd; the receiver frees it */
    conn_id conn;
    uint64_t tag, offset, total;
    uint8_t *bytes;
    uint32_t nbytes;
};

/* `writes`: folders below which saved output may be written (NULL-ended, borrowed). */
struct io *io_new(struct files *files, const char *const *writes, struct error *e);
void io_free(struct io **io);
void io_put(struct io *io, const struct action *act); /* an ACT_IO; copies what it needs */
int io_fd(const struct io *io);
bool io_take(struct io *io, struct io_done *out);

/* The application's output folder that IO_TOKEN found, for save descriptors: a
 * writable staging file, made now.  -errno when there is none. */
int io_save_open(struct io *io, uint64_t app, uint32_t part, uint32_t attempt);
/* A library that IO_LIBRARY found whole: its sealed memfd, owned by io; -1: none. */
int io_library_fd(struct io *io, uint64_t app, struct block_id id);
void io_app_gone(struct io *io, uint64_t app);

#endif
