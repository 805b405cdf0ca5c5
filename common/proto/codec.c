/* codec.c - the table of messages as data, who may send what, and the encoder.
 *
 * The decoder is decode.c.  Encoding walks a message's fields and hands them to
 * msgpack-c's packer, which writes into the caller's buffer.
 */
#include "common/proto/codec.h"

#include <assert.h>
#include <errno.h>
#include <msgpack/pack.h>
#include <string.h>

/* clang-format off */
/* ---- the table -------------------------------------------------------------
 * Pass 1: within a record or message, fields are given by its bare name. */
#define REC(name) typedef struct rec_##name layout_##name;
#define MSG(tag, NAME, name, senders, prose) typedef struct msg_##name layout_##name;
#include "common/proto/messages.def"

/* Pass 2: an array of fields and a shape for each.  Records precede their users. */
#define AT(name, field) #field, .offset = offsetof(layout_##name, field)
#define REC(name) static const struct field fields_##name[] = {
#define MSG(tag, NAME, name, senders, prose) REC(name)
#define U32(name, field, limit) { AT(name, field), .kind = FIELD_U32, .max = (limit) },
#define U64(name, field) { AT(name, field), .kind = FIELD_U64 },
#define STR(name, field, limit) { AT(name, field), .kind = FIELD_STR, .max = (limit) },
#define WORDS(name, field, limit) { AT(name, field), .kind = FIELD_WORDS, .max = (limit) },
#define BIN(name, field, limit) { AT(name, field), .kind = FIELD_BIN, .max = (limit) },
#define FIX(name, field, len) { AT(name, field), .kind = FIELD_FIX, .max = (len) },
#define LIST(name, field, rec, limit) \
    { AT(name, field), .kind = FIELD_LIST, .max = (limit), .record = &shape_##rec },
#define END(name) \
    }; \
    static const struct shape shape_##name = { \
        #name, fields_##name, sizeof fields_##name / sizeof *fields_##name, sizeof(layout_##name) \
    };
#include "common/proto/messages.def"

/* Pass 3: by tag. */
#define MSG(tag, NAME, name, senders, prose) [tag] = { #NAME, senders, &shape_##name },
const struct message proto_messages[PROTO_TAGS] = {
#include "common/proto/messages.def"
};
/* clang-format on */

static const struct message *message_of(uint8_t tag)
{
    return tag < PROTO_TAGS && proto_messages[tag].name != NULL ? &proto_messages[tag] : NULL;
}

const char *proto_name(uint8_t tag)
{
    const struct message *m = message_of(tag);
    return m == NULL ? "?" : m->name;
}

uint32_t proto_senders(uint8_t tag)
{
    const struct message *m = message_of(tag);
    return m == NULL ? 0 : m->senders;
}

/* ---- admission ------------------------------------------------------------- */

static const char *sender_name(enum role role)
{
    switch (role) {
    case ROLE_MANAGER: return "manager";
    case ROLE_JOIN: return "join key";
    case ROLE_EXECUTOR: return "executor";
    case ROLE_DRIVER: return "driver";
    case ROLE_SERVICE: return "driver service";
    case ROLE_USER: return "user";
    case ROLE_ADMIN: return "admin";
    case ROLE_FETCH: return "fetch key";
    case ROLE_HOST: return "task host";
    }
    return "peer of no known role";
}

const struct message *proto_message(struct bytes frame, struct error *e)
{
    if (frame.n > PROTO_FRAME_BYTES_MAX)
        return error_set(e, EMSGSIZE, "a frame of %u bytes; %u are allowed", frame.n, PROTO_FRAME_BYTES_MAX),
               NULL;
    if (frame.n <= PROTO_HEAD_BYTES)
        return error_set(e, EPROTO, "a frame of %u bytes holds no message", frame.n), NULL;
    if (frame.p[0] != PROTO_MAGIC)
        return error_set(e, EPROTO, "a frame that starts with 0x%02x is not ours", frame.p[0]), NULL;
    const struct message *m = message_of(frame.p[1]);
    if (m == NULL)
        error_set(e, EPROTO, "no message has the tag %u", frame.p[1]);
    return m;
}

uint8_t proto_admit(struct bytes frame, enum role sender, struct error *e)
{
    const struct message *m = proto_message(frame, e);
    if (m == NULL)
        return 0;
    if (!(m->senders & (uint32_t)sender))
        return error_set(e, EPERM, "%s may not come from a %s", m->name, sender_name(sender)), 0;
    return frame.p[1];
}

/* ---- the encoder ----------------------------------------------------------- */

static int put(void *out, const char *p, size_t n)
{
    buf_put(out, p, n);
    return 0;
}

/* Text goes out as valid UTF-8 of the same length, whatever it was. */
static void pack_text(msgpack_packer *pk, struct bytes text)
{
    msgpack_pack_str(pk, text.n);
    while (text.n > 0) {
        uint32_t good = bytes_utf8_run(text.p, text.n);
        msgpack_pack_str_body(pk, text.p, good);
        if (good == text.n)
            return;
        msgpack_pack_str_body(pk, "?", 1);
        text.p += good + 1;
        text.n -= good + 1;
    }
}

/* At most max bytes, not in mid character. */
static struct bytes cut(struct bytes text, uint32_t max)
{
    if (text.n <= max)
        return text;
    text.n = max;
    for (int i = 0; i < 3 && text.n > 0 && (text.p[text.n] & 0xC0) == 0x80; i++)
        text.n--;
    return text;
}

static void pack_bin(msgpack_packer *pk, const void *p, uint32_t n)
{
    msgpack_pack_bin(pk, n);
    msgpack_pack_bin_body(pk, p, n);
}

static void pack_fields(msgpack_packer *pk, const struct shape *shape, const uint8_t *object);

static void pack_list(msgpack_packer *pk, const struct field *f, const void *at)
{
    struct any_list list;
    memcpy(&list, at, sizeof list);
    assert(list.n <= f->max);
    msgpack_pack_array(pk, list.n);
    for (uint32_t i = 0; i < list.n; i++) {
        msgpack_pack_array(pk, f->record->nfields);
        pack_fields(pk, f->record, (const uint8_t *)list.v + (size_t)i * f->record->size);
    }
}

/* Recursion is as deep as lists are nested in messages.def. */
static void pack_fields(msgpack_packer *pk, const struct shape *shape, const uint8_t *object)
{
    for (const struct field *f = shape->fields; f < shape->fields + shape->nfields; f++) {
        const uint8_t *at = object + f->offset;
        const struct bytes *run = (const struct bytes *)at;
        switch (f->kind) {
        case FIELD_U32:
            assert(*(const uint32_t *)at <= f->max);
            msgpack_pack_uint32(pk, *(const uint32_t *)at);
            break;
        case FIELD_U64: msgpack_pack_uint64(pk, *(const uint64_t *)at); break;
        case FIELD_STR:
            assert(run->n <= f->max);
            pack_text(pk, *run);
            break;
        case FIELD_WORDS: pack_text(pk, cut(*run, f->max)); break;
        case FIELD_BIN:
            assert(run->n <= f->max);
            pack_bin(pk, run->p, run->n);
            break;
        case FIELD_FIX: pack_bin(pk, at, f->max); break;
        case FIELD_LIST: pack_list(pk, f, at); break;
        }
    }
}

void proto_encode(struct buf *out, const struct head *head, const void *msg)
{
    const struct message *m = message_of(head->tag);
    assert(m != NULL);
    buf_put(out, (uint8_t[PROTO_HEAD_BYTES]){ PROTO_MAGIC, head->tag }, PROTO_HEAD_BYTES);
    msgpack_packer pk;
    msgpack_packer_init(&pk, out, put);
    msgpack_pack_array(&pk, 2 + m->shape->nfields);
    msgpack_pack_uint64(&pk, head->epoch);
    msgpack_pack_uint64(&pk, head->generation);
    pack_fields(&pk, m->shape, msg);
}
