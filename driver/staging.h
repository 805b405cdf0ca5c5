/* staging.h - a saved output on its way: from staging files to part files.
 *
 *     OUT/_ferro/<app>/token              16 random bytes, locked (flock) while the driver lives
 *     OUT/_ferro/<app>/<part>.<attempt>   what attempts write, here or on executors
 *     OUT/_ferro/commit-<token>/          the same folder while it is being committed
 *     OUT/_ferro/old-<token>/             the output that is being replaced
 *     OUT/part-00000 ... OUT/_SUCCESS     the output; _SUCCESS is written last
 *
 * Rules:
 * - A new output's folder may exist when it is empty, or holds only what dead drivers left in
 *   _ferro, which is removed.  Otherwise it is an error before the first task, and with
 *   `overwrite` only a folder that holds nothing but an earlier output is replaced: at
 *   the commit, not before.  While a driver that lives is writing there, no other may, with `overwrite` or without.
 * - A commit begins by renaming the staging folder to a name of its own, and goes by paths below that name:
 *   who renamed a folder away has fenced its owner, whose commit fails with ENOENT.
 *   Where the file system has no locks a living driver looks dead, and is fenced so.
 * - A commit can be repeated until it succeeds.  One that is given up puts the earlier output back.
 */
#ifndef FERRO_DRIVER_STAGING_H
#define FERRO_DRIVER_STAGING_H

#include "common/base/error.h"
#include "driver/sched/sched.h"

struct staging;

/* Make OUT (and its parents), its staging folder and the token.  `dir` is absolute.  NULL and `e`. */
struct staging *staging_new(const char *dir, uint64_t app, bool overwrite, struct error *e);

/* What was not committed is removed; and OUT, when it was made for this and is empty. */
void staging_free(struct staging **s);

const char *staging_dir(const struct staging *s);
const uint8_t *staging_token(const struct staging *s); /* ID_BYTES */

/* 0 or bytes; or -errno.  The first two may run in several threads at once. */
int64_t staging_write(const struct staging *s, uint32_t part, uint32_t attempt, uint64_t offset,
                      struct bytes bytes);
int64_t staging_sync(const struct staging *s, uint32_t part, uint32_t attempt);
int64_t staging_commit(struct staging *s, const struct sched_winner *winners, uint32_t n);

#endif
