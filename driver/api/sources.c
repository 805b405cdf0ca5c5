/* sources.c - where records come from: text files, what main has in memory, integers. */
#include "driver/api/names.h"
#include "driver/api/set.h"
#include "engine/frame.h"
#include "engine/ops/files.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define PARTS_MAX (1u << 24)       /* partitions of one source */
#define SPLIT_BYTES_MIN (1u << 20) /* text: not cut smaller only to give every slot some */
#define SPLITS_A_SLOT 3
#define HEADER_READ_BYTES 4096
#define COLLECTION_BYTES_MAX (1ull << 30)

/* Hang the data on the node: inside the plan when it is small, else as a block that the driver serves. */
static void data_set(fe_set *s, struct buf *data)
{
    struct error e;
    if (data->n <= PLAN_INLINE_BYTES_MAX)
        s->node.data = (struct bytes){ arena_copy(&s->app->arena, data->p, data->n), (uint32_t)data->n };
    else if (app_serve(s->app, data->p, data->n, &s->node.block, &e))
        set_fail(s, "%s", e.words);
    else
        s->node.block_bytes = data->n;
    buf_fini(data);
}

static uint32_t slots(const fe_set *s)
{
    uint32_t n = s->app->runtime->parallelism;
    return n ? n : 1;
}

/* ---- files ----------------------------------------------------------------------------- */

/* Small inputs are cut so that every slot has something to do. */
static uint64_t split_bytes(const fe_set *s, uint64_t total)
{
    uint64_t most = s->app->runtime->split_bytes, want = total / (SPLITS_A_SLOT * (uint64_t)slots(s));
    if (want < SPLIT_BYTES_MIN)
        want = SPLIT_BYTES_MIN;
    return most && want > most ? most : want;
}

/* Where the first `header` lines of a file end; -1 and `e`.  Looked for here, once, so that no task needs to know of
 * lines in other splits than its own. */
static int64_t header_end(const struct name_row *f, uint32_t header, struct error *e)
{
    char text[HEADER_READ_BYTES];
    uint64_t at = 0;
    if (header == 0)
        return 0;
    int fd = open(f->path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return error_sys(e, "%s", f->path);
    while (header && at < f->bytes) {
        ssize_t n = pread(fd, text, sizeof text, (off_t)at);
        if (n <= 0) {
            close(fd);
            return n ? error_sys(e, "%s", f->path) : error_set(e, ESTALE, "%s: it became shorter", f->path);
        }
        const char *p = text, *end = text + n, *newline;
        while (header && (newline = memchr(p, '\n', (size_t)(end - p)))) {
            p = newline + 1;
            header--;
        }
        at += (uint64_t)(header ? n : p - text);
    }
    close(fd);
    return (int64_t)(at < f->bytes ? at : f->bytes);
}

/* Every file is a block too: an executor that can't see it, or sees another, gets it from here. */
static void files_set(fe_set *s, struct names *names, uint32_t header)
{
    const struct runtime *rt = s->app->runtime;
    struct file_table table;
    struct buf data = { 0 };
    struct error e;
    uint64_t total = 0;
    for (uint32_t i = 0; i < names->count; i++)
        total += names_row(names, i)->bytes;
    s->bytes = total;
    s->node.split_bytes = split_bytes(s, total);
    file_table_init(&table, s->node.split_bytes);
    for (uint32_t i = 0; i < names->count; i++) {
        struct name_row *f = names_row(names, i);
        int64_t from = s->error ? 0 : header_end(f, header, &e);
        if (from < 0)
            set_fail(s, "%s", e.words);
        else
            file_table_add(&table, f->path, (uint64_t)from, f->bytes, f->mtime_ns);
        f->block = file_block(f->path, f->bytes, f->mtime_ns);
    }
    s->parts = file_table_done(&table, &data);
    data_set(s, &data);
    rt->serve_files(rt->user, names);
}

static void names_find(fe_set *s, int n, char **names, struct names *found)
{
    struct error e;
    if (n <= 0 || !names)
        set_fail(s, "no file is named");
    for (int i = 0; i < n && !s->error; i++)
        if (!names[i])
            set_fail(s, "name %d of %d is NULL", i + 1, n);
        else if (names_add(found, names[i], &e))
            set_fail(s, "%s", e.words);
}

/* Every file must hold whole records of `size` bytes. */
static void sizes_check(fe_set *s, const struct names *names, uint32_t size)
{
    for (uint32_t i = 0; i < names->count && !s->error; i++) {
        const struct name_row *f = names_row(names, i);
        if (f->bytes % size)
            set_fail(s, "%s: its %llu bytes are no multiple of a record's %u", f->path,
                     (unsigned long long)f->bytes, size);
    }
}

static fe_set *source_files(fe_set *s, int n, char **names, uint32_t header)
{
    struct names found = { 0 };
    names_find(s, n, names, &found);
    if (s->node.op == OP_BINARY && !s->error)
        sizes_check(s, &found, type_size(s->node.value));
    if (!s->error)
        files_set(s, &found, header);
    names_fini(&found);
    return s;
}

fe_set *fe_text_at(fe_app *app, int n, char **names, fe_place place)
{
    return source_files(set_new(app, OP_TEXT, "text", place, FERRO_NONE, FERRO_TEXT), n, names, 0);
}

fe_set *fe_csv_at(fe_app *app, int n, char **names, uint32_t header, fe_place place)
{
    return source_files(set_new(app, OP_TEXT, "csv", place, FERRO_NONE, FERRO_TEXT), n, names, header);
}

fe_set *fe_binary_at(fe_app *app, int n, char **names, fe_type type, fe_place place)
{
    fe_set *s = set_new(app, OP_BINARY, "binary", place, FERRO_NONE, type);
    if (type == FERRO_NONE || type == FERRO_TEXT || !type_known(type))
        set_fail(s, "the records' type is none of FERRO_I64, _F64 or _STRUCT of 1 to 65536 bytes");
    return source_files(s, n, names, 0);
}

/* ---- what main has in memory --------------------------------------------------------------- */

/* Rows first..first+rows-1 of the items as a batch; the column's memory is `ends` and `bytes`. */
static struct batch rows_batch(fe_type type, const void *items, size_t first, uint32_t rows, struct buf *ends,
                               struct buf *bytes)
{
    struct batch b = { .rows = rows, .value = { .type = type } };
    if (type != FERRO_TEXT) {
        b.value.data = (const uint8_t *)items + first * type_size(type);
        return b;
    }
    const char *const *texts = (const char *const *)items + first;
    buf_reset(ends);
    buf_reset(bytes);
    for (uint32_t i = 0; i < rows; i++) {
        buf_put(bytes, texts[i], strlen(texts[i]));
        uint32_t end = (uint32_t)bytes->n;
        buf_put(ends, &end, sizeof end);
    }
    buf_grow(bytes, 1); /* all may be empty */
    b.value.data = bytes->p;
    b.value.end = (const uint32_t *)(const void *)ends->p;
    return b;
}

/* Bytes of each item, or of the average text: how many rows make a frame. */
static uint32_t frame_rows(fe_type type)
{
    uint32_t size = type == FERRO_TEXT ? FRAME_BYTES_MAX / BATCH_ROWS : type_size(type);
    uint32_t rows = FRAME_BYTES_MAX / size;
    return rows == 0 ? 1 : rows > BATCH_ROWS ? BATCH_ROWS : rows;
}

static size_t part_begin(size_t n, uint32_t part, uint32_t parts)
{
    size_t rest = n % parts;
    return n / parts * part + (part < rest ? part : rest);
}

static void items_set(fe_set *s, fe_type type, const void *items, size_t n)
{
    struct table table = { 0 };
    struct buf section = { 0 }, ends = { 0 }, bytes = { 0 }, data = { 0 };
    uint32_t most = frame_rows(type);
    for (uint32_t part = 0; part < s->parts; part++) {
        size_t at = part_begin(n, part, s->parts), end = part_begin(n, part + 1, s->parts);
        buf_reset(&section);
        for (; at < end; at += most) {
            uint32_t rows = end - at < most ? (uint32_t)(end - at) : most;
            struct batch b = rows_batch(type, items, at, rows, &ends, &bytes);
            frame_put(&section, &b, FRAME_PLAIN);
        }
        table_add(&table, section.p, section.n);
    }
    table_done(&table, &data);
    s->bytes = data.n;
    data_set(s, &data);
    buf_fini(&section);
    buf_fini(&ends);
    buf_fini(&bytes);
}

/* The first of n texts that is none, n when all are there. */
static size_t null_at(const void *items, size_t n)
{
    const char *const *texts = items;
    size_t i = 0;
    while (i < n && texts[i])
        i++;
    return i;
}

static uint64_t items_bytes(fe_type type, const void *items, size_t n)
{
    const char *const *texts = items;
    uint64_t bytes = 0;
    if (type != FERRO_TEXT)
        return (uint64_t)n * type_size(type);
    for (size_t i = 0; i < n; i++)
        bytes += strlen(texts[i]) + 1;
    return bytes;
}

static void parts_set(fe_set *s, uint32_t parts, uint64_t n)
{
    s->parts = parts ? parts : n < slots(s) ? (uint32_t)n : slots(s);
    if (s->parts == 0)
        s->parts = 1;
    if (s->parts > PARTS_MAX)
        set_fail(s, "%u partitions; at most %u", s->parts, PARTS_MAX);
}

fe_set *fe_collection_at(fe_app *app, fe_type type, const void *items, size_t n, uint32_t parts,
                         fe_place place)
{
    fe_set *s = set_new(app, OP_COLLECTION, "collection", place, FERRO_NONE, type);
    size_t null;
    parts_set(s, parts, n);
    if (n && !items)
        set_fail(s, "%zu items at NULL", n);
    else if (type == FERRO_NONE || !type_known(type))
        set_fail(s, "the items' type is none of FERRO_TEXT, _I64, _F64 or _STRUCT of 1 to 65536 bytes");
    else if (type == FERRO_TEXT && (null = null_at(items, n)) < n)
        set_fail(s, "item %zu of %zu is NULL", null + 1, n);
    else if (!s->error && (n > COLLECTION_BYTES_MAX || items_bytes(type, items, n) > COLLECTION_BYTES_MAX))
        set_fail(s, "over %llu MiB of items; what is that large is better read from files",
                 COLLECTION_BYTES_MAX >> 20);
    if (!s->error)
        items_set(s, type, items, n);
    return s;
}

fe_set *fe_range_at(fe_app *app, int64_t from, int64_t to, uint32_t parts, fe_place place)
{
    fe_set *s = set_new(app, OP_RANGE, "range", place, FERRO_NONE, FERRO_I64);
    s->node.from = from;
    s->node.to = to;
    if (to < from)
        set_fail(s, "it ends at %lld, before its beginning at %lld", (long long)to, (long long)from);
    uint64_t numbers = to > from ? (uint64_t)to - (uint64_t)from : 0;
    s->bytes = numbers < UINT64_MAX / sizeof to ? numbers * sizeof to : UINT64_MAX;
    parts_set(s, parts, numbers);
    return s;
}
