/* scan.c - is it msgpack, and no larger than it says?  See proto_scan() in codec.h.
 *
 * Foreign bytes pass through here before anything is allocated by their counts.
 */
#include "common/proto/codec.h"

#include <errno.h>

/* One object's head: what follows it at once, and how many objects lie inside. */
struct item {
    uint32_t head;     /* bytes of the head, the type byte included; 0: not msgpack */
    uint64_t skip;     /* bytes of content after the head */
    uint64_t children; /* objects inside */
};

static uint64_t read_be(const uint8_t *p, uint32_t width)
{
    uint64_t v = 0;
    for (uint32_t i = 0; i < width; i++)
        v = v << 8 | p[i];
    return v;
}

/* The types from 0xC0 to 0xDF: width of the length or value that follows, and what it counts. */
static const struct {
    uint8_t width;
    enum { NOTHING, BYTES, EXT, OBJECTS, PAIRS, INVALID } counts;
    uint8_t fixed; /* content of a fixed size */
} types[32] = {
    /* clang-format off */
    [0x00] = { 0, NOTHING, 0 }, /* nil, false, true */
    [0x01] = { 0, INVALID, 0 },
    [0x02 ... 0x03] = { 0, NOTHING, 0 },
    [0x04] = { 1, BYTES, 0 }, [0x05] = { 2, BYTES, 0 }, [0x06] = { 4, BYTES, 0 }, /* bin */
    [0x07] = { 1, EXT, 0 },   [0x08] = { 2, EXT, 0 },   [0x09] = { 4, EXT, 0 },
    [0x0A] = { 0, NOTHING, 4 }, [0x0B] = { 0, NOTHING, 8 }, /* float */
    [0x0C] = { 0, NOTHING, 1 }, [0x0D] = { 0, NOTHING, 2 }, [0x0E] = { 0, NOTHING, 4 }, [0x0F] = { 0, NOTHING, 8 },
    [0x10] = { 0, NOTHING, 1 }, [0x11] = { 0, NOTHING, 2 }, [0x12] = { 0, NOTHING, 4 }, [0x13] = { 0, NOTHING, 8 },
    [0x14] = { 0, NOTHING, 2 }, [0x15] = { 0, NOTHING, 3 }, [0x16] = { 0, NOTHING, 5 }, /* ext of fixed size */
    [0x17] = { 0, NOTHING, 9 }, [0x18] = { 0, NOTHING, 17 },
    [0x19] = { 1, BYTES, 0 }, [0x1A] = { 2, BYTES, 0 }, [0x1B] = { 4, BYTES, 0 }, /* str */
    [0x1C] = { 2, OBJECTS, 0 }, [0x1D] = { 4, OBJECTS, 0 },
    [0x1E] = { 2, PAIRS, 0 },   [0x1F] = { 4, PAIRS, 0 },
    /* clang-format on */
};

static struct item read_item(const uint8_t *p, size_t left)
{
    uint8_t c = p[0];
    if (c < 0x80 || c >= 0xE0)
        return (struct item){ 1, 0, 0 };
    if (c < 0x90)
        return (struct item){ 1, 0, 2u * (c & 0x0Fu) };
    if (c < 0xA0)
        return (struct item){ 1, 0, c & 0x0Fu };
    if (c < 0xC0)
        return (struct item){ 1, c & 0x1Fu, 0 };
    uint32_t width = types[c - 0xC0].width;
    if (types[c - 0xC0].counts == INVALID || left < 1 + width)
        return (struct item){ 0 };
    uint64_t count = read_be(p + 1, width);
    switch (types[c - 0xC0].counts) {
    case BYTES: return (struct item){ 1 + width, count, 0 };
    case EXT: return (struct item){ 1 + width, count + 1, 0 };
    case OBJECTS: return (struct item){ 1 + width, 0, count };
    case PAIRS: return (struct item){ 1 + width, 0, 2 * count };
    default: return (struct item){ 1, types[c - 0xC0].fixed, 0 };
    }
}

int proto_scan(struct bytes object, struct error *e)
{
    const uint8_t *p = object.p, *end = object.p + object.n;
    uint64_t inside[PROTO_DEPTH_MAX + 1] = { 1 }; /* objects still to come at each depth */
    int depth = 0;
    for (;;) {
        while (inside[depth] == 0)
            if (depth-- == 0)
                return p == end ? 0 : error_set(e, EPROTO, "%td bytes after the end", end - p);
        inside[depth]--;
        if (p == end)
            return error_set(e, EPROTO, "ends too early");
        struct item it = read_item(p, (size_t)(end - p));
        if (it.head == 0)
            return error_set(e, EPROTO, "no msgpack at byte %td", p - object.p);
        p += it.head;
        if (it.skip > (uint64_t)(end - p) || it.children > (uint64_t)(end - p))
            return error_set(e, EPROTO, "a count over the bytes left, before byte %td", p - object.p);
        p += it.skip;
        if (it.children == 0)
            continue;
        if (depth == PROTO_DEPTH_MAX)
            return error_set(e, EPROTO, "nested over %d deep", PROTO_DEPTH_MAX);
        inside[++depth] = it.children;
    }
}
