/* proto.h - frames in and out: structs, encoder and strict decoder, all
 * derived from messages.def.
 *
 *     struct msg_ask ask = { .app = 7, .revision = 2, .slots = 4 };
 *     proto_encode(&buf, &(struct head){ .tag = MSG_ASK, .epoch = e, .generation = g }, &ask);
 *
 *     struct head h;
 *     union { struct msg_ask ask; ... } -- or: const struct msg_ask *m = proto_decode(&arena, frame, &h, &err);
 *
 * Strings, binaries and lists of a decoded message borrow from the frame and the
 * arena.  Text is checked to be UTF-8 without NUL,
 * integers and lengths to be in their shortest form: a message has one encoding.
 */
#ifndef FERRO_PROTO_PROTO_H
#define FERRO_PROTO_PROTO_H

#include "common/base/error.h"
#include "common/core/step.h"

#define PROTO_MAJOR 1u
#define PROTO_MINOR 0u
#define PROTO_MAGIC 0xFE
#define PROTO_FRAME_BYTES_MAX (8u << 20) /* no frame of any kind is larger */
#define PROTO_DEPTH_MAX 16
#define HOST_FRAME_BYTES_MAX (128u << 10) /* on a task host's socketpair: the largest report fits */
#define HOST_FDS_MAX 64
#define CHUNK_BYTES_MAX (1u << 20)
#define LIBRARY_BYTES_MAX (16u << 20)
#define JOB_LABELS_BYTES_MAX 512u /* of ASK.labels */
#define RESULT_INLINE_BYTES_MAX (16u << 10)

enum refusal {
    REFUSE_VERSION = 1, /* another major: words say which side to upgrade */
    REFUSE_EPOCH,       /* a lower epoch than one seen */
    REFUSE_GENERATION,  /* declared lost: start afresh */
    REFUSE_ROLE,        /* this role may not send that */
    REFUSE_MALFORMED,
    REFUSE_NO_LEASE,
    REFUSE_NO_APP,
    REFUSE_LIMIT,
    REFUSE_BUSY,
    REFUSE_DENIED, /* not one's own application */
};
enum exec_state { EXEC_READY, EXEC_SUSPECT, EXEC_DRAINING, EXEC_LOST };
enum block_error {
    BLOCK_GONE = 1,
    BLOCK_CORRUPT,
    BLOCK_BUSY,
    BLOCK_DENIED,
    BLOCK_UNREACHABLE,
    BLOCK_IO,
    BLOCK_FULL /* never a peer's word: there is no room for the copy here */
};
#define BLOCK_TAIL 1u /* BLOCK_GET.flags: offset counts back from the end */
enum want_kind { WANT_BLOCK, WANT_DRIVER, WANT_SAVE };

/* Why an attempt failed.  Only the four marked * count towards a task's limit. */
enum cause {
    CAUSE_OK,
    CAUSE_ERROR,     /* * the user's function returned one, or the engine met one in it */
    CAUSE_CRASH,     /* * its host died by a signal or exited */
    CAUSE_MEMORY,    /* * over the slot's memory */
    CAUSE_TIME,      /* * over the time limit */
    CAUSE_FETCH,     /* an input block could not be had: not this task's fault */
    CAUSE_INPUT,     /* * an input file could not be read */
    CAUSE_CANCELLED, /* ended on request, or with its lease */
    CAUSE_HOST,      /* the host could not be started or loaded: the executor's fault, counts */
};
#define REPORT_SAVED_HERE 1u   /* the part was written to the staging directory itself */
#define REPORT_ON_DISK 2u      /* the output file lies in the disk directory */
#define REPORT_SAVE_BLOCK 4u   /* the part is a block; the driver pulls it */
#define REPORT_RESULT_BLOCK 8u /* the result is a block; the driver pulls it */

/* clang-format off */
/* Structs: struct rec_NAME and struct msg_NAME. */
#define REC(name) struct rec_##name {
#define MSG(tag, NAME, name, senders, prose) struct msg_##name {
#define U32(name, field, max) uint32_t field;
#define U64(name, field) uint64_t field;
#define STR(name, field, max) struct bytes field;
#define WORDS(name, field, max) struct bytes field;
#define BIN(name, field, max) struct bytes field;
#define FIX(name, field, len) uint8_t field[len];
#define LIST(name, field, rec, max) struct { const struct rec_##rec *v; uint32_t n; } field;
#define END(name) };
#include "common/proto/messages.def"

enum msg_tag {
#define MSG(tag, NAME, name, senders, prose) MSG_##NAME = tag,
#include "common/proto/messages.def"
};
/* clang-format on */

struct head {
    uint8_t tag;
    uint64_t epoch, generation;
};

/* Append the frame of `msg` (a struct msg_X matching head->tag) to `out`.
 * A field beyond its limit is a programmer's error (assert); WORDS are cut, and
 * bytes of text that aren't UTF-8 go out as '?', so that what was encoded decodes.
 * A frame may come out over PROTO_FRAME_BYTES_MAX, which receivers refuse: who
 * encodes lists that grow with a user's job checks out->n. */
void proto_encode(struct buf *out, const struct head *head, const void *msg);

/* The tag of a frame that may be decoded at all: right magic, known tag, and
 * `sender` may send it.  0 otherwise, with the reason in `e` (code EPROTO, EPERM or EMSGSIZE).  Nothing is decoded. */
uint8_t proto_admit(struct bytes frame, enum role sender, struct error *e);

/* Decode a whole frame into the arena: every type, range, count and the absence
 * of trailing bytes checked, after an iterative pre-scan (each count <= bytes
 * left, depth <= PROTO_DEPTH_MAX).  NULL and `e` when it is not exactly right. */
const void *proto_decode(struct arena *a, struct bytes frame, struct head *head, struct error *e);

const char *proto_name(uint8_t tag);  /* "ASK"; "?" when unknown */
uint32_t proto_senders(uint8_t tag);  /* mask of enum role; 0 when unknown */
const char *cause_name(enum cause c); /* "crash" */

/* Names of blocks, derived from what they are: XXH3-128 over (kind, a, b, c).
 * A library's or file's name derives from its content or identity instead; what a job's main gives to its
 * tasks is numbered. */
enum block_kind { BLOCK_OUTPUT = 1, BLOCK_INPUT, BLOCK_COPY, BLOCK_GIVEN };
struct block_id block_name(enum block_kind kind, uint64_t a, uint64_t b, uint64_t c);
struct block_id block_output(uint32_t stage, uint32_t part, uint32_t attempt); /* a task's output file */
struct block_id block_of_content(const void *p, size_t n);                     /* BLAKE2b-128 */
char *block_hex(struct block_id id, char out[33]);

/* One byte for a size: logarithmic, within 10 %; 0 is 0. */
uint8_t size_code(uint64_t bytes);
uint64_t size_decode(uint8_t code);

#endif
