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

struct served_item *served_item_new(const struct served_block *block)
{
    struct stat st;
    struct served_item *item = calloc(1, sizeof *item);
    if (!item)
        abort();
    item->id = block->id;
    if (block->path) {
        item->path = strdup(block->path);
        if (stat(block->path, &st) == 0) {
            item->total = (uint64_t)st.st_size;
            item->mtime_ns = mtime_of(&st);
        }
    } else {
        item->bytes = malloc((size_t)block->bytes.n + 1);
        item->total = block->bytes.n;
    }
    if (!item->path && !item->bytes)
        abort();
    if (item->bytes && block->bytes.n)
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

const struct served_item *served_find(const struct served *s, struct block_id id)
{
    const struct served_item *item = map_get(&s->items, key_of(id));
    return item && !memcmp(item->id.b, id.b, ID_BYTES) ? item : NULL;
}

void served_fini(struct served *s)
{
    MAP_EACH(&s->items, i) {
        struct served_item *item = map_at(&s->items, i);
        served_item_free(&item);
    }
    map_fini(&s->items);
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
    memcpy(into, item->bytes + offset, length);
    return (int64_t)length;
}
