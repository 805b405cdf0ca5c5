/* tree.c - see tree.h. */
#include "common/base/tree.h"

#include <ftw.h>
#include <stdio.h>

#define WALK_FDS 16 /* open at once: deeper folders are opened again */

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st;
    (void)type;
    (void)at;
    remove(path);
    return 0; /* what can't be removed keeps its folder; the rest goes */
}

void tree_remove(const char *path)
{
    nftw(path, remove_one, WALK_FDS, FTW_DEPTH | FTW_PHYS);
}
