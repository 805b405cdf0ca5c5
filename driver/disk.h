/* disk.h - the scheduler's file work (ACT_IO), done by workers and back as answers. */
#ifndef FERRO_DRIVER_DISK_H
#define FERRO_DRIVER_DISK_H

#include "common/proto/proto.h"
#include "driver/served.h"
#include "driver/staging.h"

struct disk;

struct disk_done {
    enum {
        DISK_ANSWER,
        DISK_FRAME,
        DISK_DROPPED
    } kind;      /* FRAME: an answer, and a frame to send; DROPPED: no action's */
    uint64_t id; /* the action's */
    int64_t result;
    conn_id conn;
    struct buf frame; /* BLOCK_DATA: the receiver's */
};

struct disk *disk_new(struct error *e);
void disk_free(struct disk **d); /* waits for what was put */
int disk_fd(const struct disk *d);

/* IO_WRITE, IO_SYNC and IO_COMMIT on `staging`, which must live until nothing is under way. */
void disk_part(struct disk *d, const struct action *act, struct staging *staging);
/* IO_SERVE of a file. */
void disk_serve(struct disk *d, const struct action *act, const struct served_item *item,
                const struct head *head);
/* staging_free(), which removes files. */
void disk_drop(struct disk *d, struct staging *staging);

bool disk_take(struct disk *d, struct disk_done *out);
uint32_t disk_pending(const struct disk *d); /* put and not taken */

/* BLOCK_DATA with up to act->io.length bytes of the item, appended to `frame`.  A count or -errno (then nothing). */
int64_t disk_block_data(const struct served_item *item, const struct action *act, const struct head *head,
                        struct buf *frame);

#endif
