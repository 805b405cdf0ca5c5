/* served.c - see served.h. */
#include "driver/served.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static uint64_t key_of(struct block_id id)
{
    uint64_t k;
    memcpy(&k, id.b, sizeof k);
    return k;
}

static uint64_t mtime_of(const struct stat *st)
{
    return (uint64_t)st->st_mtim.tv_sec * 1000000000u + (uint64_t)st->st_mtim.tv_nsec;
}

static struct served_item *item_new(struct block_id id, uint64_t total)
{
    struct served_item *item = calloc(1, sizeof *item);
    if (!item)
        abort();
    item->id = id;
    item->total = total;
    return item;
}

struct served_item *served_item_new(const struct served_block *block)
{
    struct served_item *item = item_new(block->id, block->bytes.n);
    item->bytes = malloc((size_t)block->bytes.n + 1);
    if (!item->bytes)
        abort();
    if (block->bytes.n)
        memcpy(item->bytes, block->bytes.p, block->bytes.n);
    return item;
}

void served_item_free(struct served_item **ip)
{
    struct served_item *item = *ip;
    *ip = NULL;
    if (!item)
        return;
    free(item->bytes);
    free(item->path);
    free(item);
}

bool served_add(struct served *s, struct served_item *item)
{
    if (map_has(&s->items, key_of(item->id))) {
        served_item_free(&item);
        return false;
    }
    map_put(&s->items, key_of(item->id), item);
    return true;
}

/* ---- files ------------------------------------------------------------------ */

struct served_files *served_files_new(struct names *names)
{
    struct served_files *files = calloc(1, sizeof *files);
    if (!files)
        abort();
    files->names = *names;
    *names = (struct names){ 0 };
    for (uint32_t i = 0; i < files->names.count; i++)
        map_put_u64(&files->rows, key_of(names_row(&files->names, i)->block), i);
    return files;
}

void served_files_free(struct served_files **fp)
{
    struct served_files *files = *fp;
    *fp = NULL;
    if (!files)
        return;
    names_fini(&files->names);
    map_fini(&files->rows);
    free(files);
}

void served_add_files(struct served *s, struct served_files *files)
{
    files->next = s->files;
    s->files = files;
}

static const struct name_row *find_row(const struct served *s, struct block_id id)
{
    uint64_t i;
    for (const struct served_files *f = s->files; f; f = f->next)
        if (map_get_u64(&f->rows, key_of(id), &i) &&
            !memcmp(names_row(&f->names, (uint32_t)i)->block.b, id.b, ID_BYTES))
            return names_row(&f->names, (uint32_t)i);
    return NULL;
}

static struct served_item *file_item(const struct name_row *row)
{
    struct served_item *item = item_new(row->block, row->bytes);
    item->path = strdup(row->path);
    if (!item->path)
        abort();
    item->mtime_ns = row->mtime_ns;
    return item;
}

/* ---- all ---------------------------------------------------------------------- */

const struct served_item *served_find(struct served *s, struct block_id id)
{
    struct served_item *item = map_get(&s->items, key_of(id));
    if (item)
        return memcmp(item->id.b, id.b, ID_BYTES) ? NULL : item;
    const struct name_row *row = find_row(s, id);
    if (!row)
        return NULL;
    item = file_item(row);
    map_put(&s->items, key_of(id), item);
    return item;
}

void served_fini(struct served *s)
{
    MAP_EACH(&s->items, i) {
        struct served_item *item = map_at(&s->items, i);
        served_item_free(&item);
    }
    map_fini(&s->items);
    while (s->files) {
        struct served_files *files = s->files;
        s->files = files->next;
        served_files_free(&files);
    }
}

static int64_t file_read(const struct served_item *item, uint64_t offset, uint8_t *into, uint64_t length)
{
    struct stat st;
    int fd = open(item->path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int64_t r = fstat(fd, &st) ? -errno : 0;
    if (r == 0 && ((uint64_t)st.st_size != item->total || mtime_of(&st) != item->mtime_ns))
        r = -ESTALE;
    uint64_t at = 0;
    while (r >= 0 && at < length) {
        r = pread(fd, into + at, length - at, (off_t)(offset + at));
        if (r <= 0)
            r = r ? -errno : -ESTALE;
        else
            at += (uint64_t)r;
    }
    close(fd);
    return r < 0 ? r : (int64_t)at;
}

int64_t served_read(const struct served_item *item, uint64_t offset, void *into, uint64_t length)
{
    if (offset > item->total)
        return -EINVAL;
    if (length > item->total - offset)
        length = item->total - offset;
    if (item->path)
        return file_read(item, offset, into, length);
    if (into)
        memcpy(into, item->bytes + offset, length);
    return (int64_t)length;
}
