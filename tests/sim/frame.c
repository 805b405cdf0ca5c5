/* frame.c - a frame in words, for traces: its name, and its fields from the table. */
#include "common/proto/codec.h"
#include "tests/sim/sim.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define ELEMENTS_SHOWN 8

static void show(struct buf *out, const struct shape *shape, const uint8_t *msg);

static void show_list(struct buf *out, const struct field *f, const struct any_list *list)
{
    buf_printf(out, " %s=%" PRIu32, f->name, list->n);
    for (uint32_t i = 0; i < list->n && i < ELEMENTS_SHOWN; i++) {
        buf_printf(out, "%s", i ? " |" : " [");
        show(out, f->record, (const uint8_t *)list->v + (size_t)i * f->record->size);
    }
    if (list->n)
        buf_printf(out, "%s", list->n > ELEMENTS_SHOWN ? " ...]" : "]");
}

static void show(struct buf *out, const struct shape *shape, const uint8_t *msg)
{
    for (uint32_t i = 0; i < shape->nfields; i++) {
        const struct field *f = &shape->fields[i];
        const void *at = msg + f->offset;
        uint32_t small;
        uint64_t large;
        switch (f->kind) {
        case FIELD_U32:
            memcpy(&small, at, sizeof small);
            if (small)
                buf_printf(out, " %s=%" PRIu32, f->name, small);
            break;
        case FIELD_U64:
            memcpy(&large, at, sizeof large);
            if (large)
                buf_printf(out, " %s=%" PRIu64, f->name, large);
            break;
        case FIELD_STR:
        case FIELD_WORDS: {
            const struct bytes *b = at;
            if (b->n)
                buf_printf(out, " %s='%.*s'", f->name, (int)b->n, (const char *)b->p);
            break;
        }
        case FIELD_LIST: show_list(out, f, at); break;
        case FIELD_BIN:
        case FIELD_FIX: break;
        }
    }
}

void frame_show(struct buf *out, struct bytes frame)
{
    struct arena arena = { 0 };
    struct head head;
    struct error e;
    const void *m = proto_decode(&arena, frame, &head, &e);
    buf_reset(out);
    if (m) {
        buf_printf(out, "%s %" PRIu64 "/%" PRIu64, proto_name(head.tag), head.epoch, head.generation);
        show(out, proto_messages[head.tag].shape, m);
    } else
        buf_printf(out, "nonsense: %s", e.words);
    arena_fini(&arena);
}
