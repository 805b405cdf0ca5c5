/* rows.h - rows kept one behind the other in a region, named by their place: what waits to be sorted or partitioned. */
#ifndef FERRO_SHUFFLE_ROWS_H
#define FERRO_SHUFFLE_ROWS_H

#include "engine/ops/op.h"

#define ROWS_FULL UINT32_MAX
#define ROW_BYTES_MIN (1u << 20) /* a row of so many bytes is never too large */

/* A row passes a shuffle in up to five copies: is each of the batch's rows at most an eighth of the slot's memory?
 * 0, or -1 after run_fail(). */
int rows_small(struct run *r, const struct batch *b);

struct rows {
    struct run *run; /* borrowed */
    fe_type key, value;
    bool hashed;   /* each row's hash is kept */
    bool lasting;  /* set by who puts: the values that come now stay where they are, and need no copy */
    uint8_t *p;    /* owned region */
    uint64_t size; /* of the region */
    uint64_t used, held;
    uint64_t touched; /* the most that was ever used */
};

/* At most `limit` bytes, unless a single row is larger. */
void rows_init(struct rows *s, struct run *r, fe_type key, fe_type value, bool hashed, uint64_t limit);
/* The row's place, or ROWS_FULL: the limit or the budget is reached.  Never the first row's answer. */
uint32_t rows_put(struct rows *s, uint64_t hash, fe_slice key, fe_slice value);
void rows_reset(struct rows *s); /* gives back the budget too */
void rows_fini(struct rows *s);

/* A row: [hash] [key bytes: u32] [value bytes: u32] key value, lengths of texts only, all 8-aligned.  A lasting value is
 * a text without a key: ROW_ELSEWHERE as the key's bytes, and the value's address. */
#define ROW_ELSEWHERE UINT32_MAX
struct row {
    uint64_t hash;
    fe_slice key, value;
};
static inline void rows_at(const struct rows *s, uint32_t place, struct row *out)
{
    const uint8_t *p = s->p + (uint64_t)place * 8;
    uint32_t n[2] = { s->key & 0x0fffffff, s->value & 0x0fffffff };
    out->hash = 0;
    if (s->hashed) {
        memcpy(&out->hash, p, 8);
        p += 8;
    }
    if (s->key == FERRO_TEXT || s->value == FERRO_TEXT) {
        memcpy(n, p, sizeof n);
        p += sizeof n;
    }
    if (n[0] == ROW_ELSEWHERE) {
        memcpy(&out->value.p, p, sizeof out->value.p);
        out->value.n = n[1];
        out->key = (fe_slice){ 0 };
        return;
    }
    out->key = (fe_slice){ (const char *)p, n[0] };
    out->value = (fe_slice){ (const char *)p + (((uint64_t)n[0] + 7) & ~7ull), n[1] };
}

#endif
