/* names.c - from names to files: files, folders and globs, as fe_text takes them. */
#include "driver/api/names.h"

#include <errno.h>
#include <fts.h>
#include <glob.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int file_add(struct names *n, const char *path, const struct stat *st, struct error *e)
{
    if (n->count == NAMES_MAX)
        return error_set(e, E2BIG, "over %u files", NAMES_MAX);
    struct name_row row = {
        .path = arena_strdup(&n->arena, path),
        .bytes = (uint64_t)st->st_size,
        .mtime_ns = (uint64_t)st->st_mtim.tv_sec * 1000000000u + (uint64_t)st->st_mtim.tv_nsec,
    };
    buf_put(&n->rows, &row, sizeof row);
    n->count++;
    return 0;
}

static int by_name(const FTSENT **a, const FTSENT **b)
{
    return strcmp((*a)->fts_name, (*b)->fts_name);
}

/* One entry of a folder's walk: 0, or -1. */
static int entry_add(struct names *n, FTS *fts, FTSENT *ent, struct error *e)
{
    bool hidden = ent->fts_level > FTS_ROOTLEVEL && ent->fts_name[0] == '.';
    switch (ent->fts_info) {
    case FTS_D:
        if (hidden)
            fts_set(fts, ent, FTS_SKIP);
        return 0;
    case FTS_F: return hidden ? 0 : file_add(n, ent->fts_path, ent->fts_statp, e);
    case FTS_DNR:
    case FTS_ERR:
    case FTS_NS:
        return hidden ? 0 : error_set(e, ent->fts_errno, "%s: %s", ent->fts_path, strerror(ent->fts_errno));
    default: /* links to nowhere, loops, sockets, the way back up */ return 0;
    }
}

static int folder_add(struct names *n, const char *path, struct error *e)
{
    char *roots[] = { (char *)path, NULL };
    FTS *fts = fts_open(roots, FTS_LOGICAL | FTS_NOCHDIR, by_name);
    if (!fts)
        return error_sys(e, "%s", path);
    int r = 0;
    for (FTSENT *ent; r == 0 && (errno = 0, ent = fts_read(fts)) != NULL;)
        r = entry_add(n, fts, ent, e);
    if (r == 0 && errno)
        r = error_sys(e, "%s", path);
    fts_close(fts);
    return r;
}

static int path_add(struct names *n, const char *path, struct error *e)
{
    struct stat st;
    if (stat(path, &st))
        return error_sys(e, "%s", path);
    if (S_ISDIR(st.st_mode))
        return folder_add(n, path, e);
    if (!S_ISREG(st.st_mode))
        return error_set(e, EINVAL, "%s: neither a file nor a folder", path);
    if (access(path, R_OK))
        return error_sys(e, "%s", path);
    return file_add(n, path, &st, e);
}

static int glob_add(struct names *n, const char *pattern, struct error *e)
{
    glob_t g;
    int r = glob(pattern, 0, NULL, &g);
    if (r == GLOB_NOMATCH)
        return error_set(e, ENOENT, "%s: matches no file", pattern);
    if (r)
        return error_set(e, r == GLOB_NOSPACE ? ENOMEM : EIO, "%s: can't be searched", pattern);
    for (size_t i = 0; r == 0 && i < g.gl_pathc; i++)
        r = path_add(n, g.gl_pathv[i], e);
    globfree(&g);
    return r;
}

int names_add(struct names *n, const char *name, struct error *e)
{
    char *path = NULL;
    size_t prefix = 0; /* of `path` that the user did not type */
    if (!*name)
        return error_set(e, ENOENT, "a file's name is empty"); /* and not the current folder */
    if (name[0] == '/')
        path = strdup(name);
    else {
        char *cwd = getcwd(NULL, 0);
        if (!cwd || asprintf(&path, "%s/%s", cwd, name) < 0)
            path = NULL;
        else
            prefix = strlen(cwd) + 1;
        free(cwd);
    }
    if (!path)
        return error_sys(e, "%s", name);
    struct stat st;
    bool plain = stat(path, &st) == 0 || !strpbrk(name, "*?[");
    int r = plain ? path_add(n, path, e) : glob_add(n, path, e);
    if (r && e && strncmp(e->words, path, prefix) == 0)
        memmove(e->words, e->words + prefix, strlen(e->words + prefix) + 1);
    free(path);
    return r;
}
