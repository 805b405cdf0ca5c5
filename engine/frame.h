/* frame.h - a batch at rest: in map outputs, spills, collections and results.
 *
 * A header (struct frame), then the columns' sections, each 8-aligned: with FRAME_HASHED the keys' hashes
 * (u64 a row); then of key and of value, for text the ends (u32 a row) and the bytes, for fixed-size types the
 * array.  Checked by who consumes it, with XXH3_64 over the stored bytes and the header.
 */
#ifndef FERRO_ENGINE_FRAME_H
#define FERRO_ENGINE_FRAME_H

#include "common/base/error.h"
#include "engine/batch.h"

#define FRAME_MAGIC 0x4d465246u      /* "FRFM" */
#define FRAME_BYTES_MAX (256u << 10) /* of rows, unless one row is larger */
#define FRAME_ROWS_MAX 65535u
#define FRAME_HASHED 1u /* flags: the batch's hashes are stored too */

enum frame_codec { FRAME_PLAIN, FRAME_LZ4 };
struct frame {
    uint32_t magic, rows, raw_bytes, stored_bytes;
    uint16_t codec, flags;
    uint32_t zero;
    uint64_t xxh3;
};

/* Append the batch's rows (those of `sel`) as one frame; a batch of any number of rows up to 65,535 and 1 GiB.
 * `out` holds nothing but frames (its length stays a multiple of 8).  Hashes are stored when the batch has them. */
void frame_put(struct buf *out, const struct batch *b, enum frame_codec codec);

/* A frame written in place: the columns' sections, to be filled in by the caller. */
struct frame_room {
    size_t head; /* in `out` */
    uint32_t rows;
    uint64_t *hashes; /* NULL: none */
    uint32_t *key_ends, *value_ends;
    uint8_t *keys, *values;
};
/* Room in `out` for so many rows, of so many bytes of texts in all (fixed sizes: rows times the size); valid until `out`
 * grows again. */
void frame_begin(struct buf *out, fe_type key, fe_type value, uint32_t rows, size_t key_bytes,
                 size_t value_bytes, bool hashed, struct frame_room *room);
void frame_end(struct buf *out, const struct frame_room *room, enum frame_codec codec);

/* Size in all of the frame whose header is at `in.p` (at least sizeof(struct frame) bytes), -1 when it is no header. */
int64_t frame_size(struct bytes in);

/* Check the frame at the beginning of `in`: types are what the plan says.  Its size in all, or -1 and `e` (cut, corrupt, of other types).
 * The columns point into `in` (which must be 8-aligned), or into `scratch` when it was compressed.
 * `scratch` NULL: a compressed one is refused. */
int64_t frame_get(struct bytes in, fe_type key, fe_type value, struct buf *scratch, struct batch *out,
                  struct error *e);
/* The same without the checksum: frame_get() has found this memory to be whole before. */
int64_t frame_get_again(struct bytes in, fe_type key, fe_type value, struct buf *scratch, struct batch *out,
                        struct error *e);

#endif
