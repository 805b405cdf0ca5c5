/* names.h - the input files that a job's names stand for. */
#ifndef FERRO_API_NAMES_H
#define FERRO_API_NAMES_H

#include "common/base/arena.h"
#include "common/base/error.h"
#include "common/core/step.h"

#define NAMES_MAX 4000000u

struct name_row {
    const char *path; /* absolute */
    uint64_t bytes, mtime_ns;
    struct block_id block; /* how the driver serves it (file_block); names_add() leaves it zero */
};

struct names {
    struct arena arena; /* holds the paths */
    struct buf rows;    /* of struct name_row */
    uint32_t count;
};

static inline struct name_row *names_row(const struct names *n, uint32_t i)
{
    return (struct name_row *)(void *)n->rows.p + i;
}

static inline void names_fini(struct names *n)
{
    arena_fini(&n->arena);
    buf_fini(&n->rows);
    n->count = 0;
}

/* Add what `name` stands for: a file, a folder (all regular files below, in byte
 * order, names that begin with '.' left out, links followed) or a glob.  What
 * exists by that very name is no glob.  -1 and `e` when it matches nothing, or
 * something below can't be read. */
int names_add(struct names *n, const char *name, struct error *e);

#endif
