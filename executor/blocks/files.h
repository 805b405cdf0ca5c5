/* files.h - where an executor's files lie.
 *
 *     DIR/<incarnation>/<app>/<block>   blocks, named by their hash
 *     DIR/<incarnation>/host-<n>/       scratch of task host n: what it makes before it is adopted
 *
 * in two trees: a fast one (tmpfs, up to a budget) and one on disk.  DIR/<incarnation>
 * is locked (flock) while its owner lives; a starting executor removes the unlocked
 * ones beside its own.  All names below DIR are opened with openat2(RESOLVE_BENEATH).
 */
#ifndef FERRO_EXECUTOR_BLOCKS_FILES_H
#define FERRO_EXECUTOR_BLOCKS_FILES_H

#include "common/base/error.h"
#include "common/core/step.h"

struct tree {
    char path[4096]; /* DIR/<incarnation> */
    int fd, lock;
};

struct files {
    struct tree fast, disk;
    uint8_t incarnation[ID_BYTES];
};

/* Make both trees (they may be in one folder) and clean up what dead neighbours left. */
int files_open(struct files *f, const char *fast, const char *disk, const uint8_t incarnation[ID_BYTES],
               struct error *e);
void files_close(struct files *f); /* and remove them */

int files_host_open(struct files *f, uint64_t host); /* its scratch folders; 0 or -errno */
void files_host_close(struct files *f, uint64_t host);
char *files_host_path(const struct files *f, bool on_disk, uint64_t host, char *out, size_t size);

/* All return a descriptor or a count, or -errno. */
int files_open_block(const struct files *f, uint64_t app, struct block_id id);
int files_open_neighbour(const char *root, const uint8_t owner[ID_BYTES], uint64_t app, struct block_id id,
                         uint64_t bytes);
/* For writing; made when missing, for `bytes` in all: with room for them in the fast tree unless `on_disk`,
 * on the disk when there is none. */
int files_open_copy(struct files *f, uint64_t app, struct block_id id, uint64_t bytes, bool on_disk);
int64_t files_adopt(struct files *f, uint64_t host, bool on_disk, uint64_t app, uint32_t stage, uint32_t part,
                    uint32_t attempt, struct block_id id);
void files_remove_block(struct files *f, uint64_t app, struct block_id id);
void files_remove_app(struct files *f, uint64_t app);

#endif
