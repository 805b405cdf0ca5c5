/* decode.c - the strict decoder: frames into structs, by the table.
 *
 * It reads the few msgpack types that the table needs and accepts one form of
 * each: the shortest.  Text and binaries borrow from the frame; lists go to the
 * arena once their count is known to fit into the bytes left.
 */
#include "common/proto/codec.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

struct reader {
    const uint8_t *p, *end;
    struct arena *arena;
    struct error *e;
};

static size_t left(const struct reader *r)
{
    return (size_t)(r->end - r->p);
}

/* A big-endian number of `width` bytes, the byte at r->p being the type before it. */
static bool read_wide(struct reader *r, uint32_t width, uint64_t *v)
{
    if (left(r) < 1 + (size_t)width)
        return false;
    *v = 0;
    for (uint32_t i = 1; i <= width; i++)
        *v = *v << 8 | r->p[i];
    r->p += 1 + width;
    return true;
}

static bool read_uint(struct reader *r, uint64_t *v)
{
    if (r->p == r->end)
        return false;
    uint8_t c = *r->p;
    if (c < 0x80) {
        *v = c;
        r->p++;
        return true;
    }
    if (c < 0xCC || c > 0xCF)
        return false;
    static const uint64_t least[] = { 0x80, 0x100, 0x10000, 0x100000000 };
    return read_wide(r, 1u << (c - 0xCC), v) && *v >= least[c - 0xCC];
}

/* How a type writes its length: within the type byte, or in 1, 2 or 4 bytes after it. */
struct form {
    uint8_t fix, fix_max, code8, code16, code32; /* 0: no such form */
};
static const struct form form_str = { 0xA0, 31, 0xD9, 0xDA, 0xDB };
static const struct form form_bin = { 0, 0, 0xC4, 0xC5, 0xC6 };
static const struct form form_array = { 0x90, 15, 0, 0xDC, 0xDD };

static bool read_length(struct reader *r, const struct form *form, uint32_t *n)
{
    if (r->p == r->end)
        return false;
    uint8_t c = *r->p;
    uint32_t width, least = form->fix == 0 ? 0 : form->fix_max + 1u;
    if (form->fix != 0 && c >= form->fix && c <= form->fix + form->fix_max) {
        *n = c - form->fix;
        r->p++;
        return true;
    }
    if (c == form->code8 && c != 0) {
        width = 1;
    } else if (c == form->code16) {
        width = 2;
        least = form->code8 == 0 ? least : 0x100;
    } else if (c == form->code32) {
        width = 4;
        least = 0x10000;
    } else {
        return false;
    }
    uint64_t v;
    if (!read_wide(r, width, &v) || v < least)
        return false;
    *n = (uint32_t)v;
    return true;
}

/* ---- fields ---------------------------------------------------------------- */

static int wrong(struct reader *r, const struct field *f, const char *what)
{
    return error_set(r->e, EPROTO, "%s: %s", f->name, what);
}

static int over(struct reader *r, const struct field *f, uint64_t v)
{
    return error_set(r->e, EPROTO, "%s: %llu is over %u", f->name, (unsigned long long)v, f->max);
}

static int read_number(struct reader *r, const struct field *f, uint8_t *at)
{
    uint64_t v;
    if (!read_uint(r, &v))
        return wrong(r, f, "not an unsigned integer");
    if (f->kind == FIELD_U64)
        *(uint64_t *)at = v;
    else if (v > f->max)
        return over(r, f, v);
    else
        *(uint32_t *)at = (uint32_t)v;
    return 0;
}

static int read_bytes(struct reader *r, const struct field *f, struct bytes *b)
{
    bool text = f->kind == FIELD_STR || f->kind == FIELD_WORDS;
    if (!read_length(r, text ? &form_str : &form_bin, &b->n))
        return wrong(r, f, text ? "not text" : "not binary");
    if (b->n > f->max)
        return over(r, f, b->n);
    if (b->n > left(r))
        return wrong(r, f, "ends too early");
    b->p = r->p;
    r->p += b->n;
    return text && !bytes_utf8(*b) ? wrong(r, f, "not UTF-8, or with a NUL") : 0;
}

static int read_fixed(struct reader *r, const struct field *f, uint8_t *at)
{
    struct bytes b;
    if (read_bytes(r, f, &b) < 0)
        return -1;
    if (b.n != f->max)
        return error_set(r->e, EPROTO, "%s: %u bytes instead of %u", f->name, b.n, f->max);
    memcpy(at, b.p, b.n);
    return 0;
}

static int read_fields(struct reader *r, const struct shape *shape, uint8_t *object);

static int read_record(struct reader *r, const struct shape *shape, uint8_t *object)
{
    uint32_t n;
    if (!read_length(r, &form_array, &n) || n != shape->nfields)
        return error_set(r->e, EPROTO, "%s: not an array of %u fields", shape->name, shape->nfields);
    return read_fields(r, shape, object);
}

static int read_list(struct reader *r, const struct field *f, uint8_t *at)
{
    uint32_t n;
    if (!read_length(r, &form_array, &n))
        return wrong(r, f, "not a list");
    if (n > f->max)
        return over(r, f, n);
    size_t bytes_least = 1 + f->record->nfields; /* of one record on the wire */
    if (n > left(r) / bytes_least)
        return wrong(r, f, "more elements than the bytes left can hold");
    uint8_t *v = n == 0 ? NULL : arena_alloc(r->arena, (size_t)n * f->record->size);
    for (uint32_t i = 0; i < n; i++)
        if (read_record(r, f->record, v + (size_t)i * f->record->size) < 0)
            return error_prefix(r->e, "%s[%u]", f->name, i);
    struct any_list list = { v, n };
    memcpy(at, &list, sizeof list);
    return 0;
}

/* Recursion is as deep as lists are nested in messages.def. */
static int read_fields(struct reader *r, const struct shape *shape, uint8_t *object)
{
    for (const struct field *f = shape->fields; f < shape->fields + shape->nfields; f++) {
        uint8_t *at = object + f->offset;
        int rc = -1;
        switch (f->kind) {
        case FIELD_U32:
        case FIELD_U64: rc = read_number(r, f, at); break;
        case FIELD_STR:
        case FIELD_WORDS:
        case FIELD_BIN: rc = read_bytes(r, f, (struct bytes *)at); break;
        case FIELD_FIX: rc = read_fixed(r, f, at); break;
        case FIELD_LIST: rc = read_list(r, f, at); break;
        }
        if (rc < 0)
            return -1;
    }
    return 0;
}

static int read_head(struct reader *r, const struct message *m, struct head *head)
{
    uint32_t n;
    if (!read_length(r, &form_array, &n) || n != 2 + m->shape->nfields)
        return error_set(r->e, EPROTO, "not an array of %u fields", 2 + m->shape->nfields);
    if (!read_uint(r, &head->epoch) || !read_uint(r, &head->generation))
        return error_set(r->e, EPROTO, "the epoch or the generation is not an unsigned integer");
    return 0;
}

const void *proto_decode(struct arena *a, struct bytes frame, struct head *head, struct error *e)
{
    const struct message *m = proto_message(frame, e);
    if (m == NULL)
        return NULL;
    struct bytes object = { frame.p + PROTO_HEAD_BYTES, frame.n - PROTO_HEAD_BYTES };
    struct reader r = { object.p, object.p + object.n, a, e };
    head->tag = frame.p[1];
    if (proto_scan(object, e) < 0 || read_head(&r, m, head) < 0)
        return error_prefix(e, "%s", m->name), NULL;
    uint8_t *msg = arena_alloc(a, m->shape->size);
    if (read_fields(&r, m->shape, msg) < 0)
        return error_prefix(e, "%s", m->name), NULL;
    assert(r.p == r.end); /* the scan saw one object, and every count in it was the one read */
    return msg;
}
