/* codec.h - the message table as data: what proto.h's functions and their tests walk over. */
#ifndef FERRO_PROTO_CODEC_H
#define FERRO_PROTO_CODEC_H

#include "common/proto/proto.h"

#define PROTO_HEAD_BYTES 2 /* magic and tag, before the msgpack array */
#define PROTO_TAGS 128     /* tags are below this */

enum field_kind { FIELD_U32, FIELD_U64, FIELD_STR, FIELD_WORDS, FIELD_BIN, FIELD_FIX, FIELD_LIST };

struct shape;

struct field {
    const char *name;
    enum field_kind kind;
    uint32_t offset;
    uint32_t max;               /* U32: value; STR, WORDS, BIN: bytes; FIX: exact bytes; LIST: elements */
    const struct shape *record; /* LIST: its element */
};

/* A record's or message's struct. */
struct shape {
    const char *name;
    const struct field *fields;
    uint32_t nfields;
    uint32_t size; /* sizeof the struct */
};

/* What every LIST field is, whatever its element. */
struct any_list {
    const void *v;
    uint32_t n;
};

struct message {
    const char *name; /* NULL: no such tag */
    uint32_t senders;
    const struct shape *shape;
};

extern const struct message proto_messages[PROTO_TAGS];

/* The row of a frame's tag: size, magic and tag are checked, nothing more.  NULL and `e` otherwise. */
const struct message *proto_message(struct bytes frame, struct error *e);

/* Iterative check of foreign msgpack, without allocation: exactly one object
 * that fills `object`, each count no more than the bytes left, nesting at most
 * PROTO_DEPTH_MAX.  0, or -1 and `e` (EPROTO). */
int proto_scan(struct bytes object, struct error *e);

#endif
