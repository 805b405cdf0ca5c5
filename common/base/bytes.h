/* bytes.h - a borrowed run of bytes, and a growing buffer that owns some. */
#ifndef FERRO_BASE_BYTES_H
#define FERRO_BASE_BYTES_H

#include <stddef.h>
#include <stdint.h>

/* Borrowed: never freed through this; who lends it says until when. */
struct bytes {
    const uint8_t *p;
    uint32_t n;
};

struct bytes bytes_of(const char *text); /* without the final NUL */
int bytes_eq(struct bytes a, struct bytes b);
int bytes_cmp(struct bytes a, struct bytes b); /* memcmp order, shorter first */
/* Copy into dst as a C string, cut to size-1, control bytes as '?'. Returns dst. */
char *bytes_text(struct bytes b, char *dst, size_t size);
int bytes_utf8(struct bytes b);                        /* is it UTF-8 without NUL? */
uint32_t bytes_utf8_run(const uint8_t *p, uint32_t n); /* length of the longest such prefix */

/* Owned, growing.  Zero-initialise to use; allocation failure aborts the
 * process with one line (every growth here is bounded by a named limit). */
struct buf {
    uint8_t *p;
    size_t n, cap;
};

uint8_t *buf_grow(struct buf *b, size_t extra); /* room for `extra` more at b->p + b->n; n unchanged */
void buf_put(struct buf *b, const void *p, size_t n);
void buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void buf_reset(struct buf *b); /* n = 0, memory kept */
void buf_fini(struct buf *b);

#endif
