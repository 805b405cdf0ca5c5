/* types.h - what the engine knows of keys and values: hash, order, merging.  One kernel a type.
 *
 * The hash is the same on every CPU, and part of the shuffle's format: XXH3_64 of the key's bytes where they are over
 * 16; of shorter ones, as most keys are, a product of the two words they make, which takes no branch by the length.
 * -0.0 equals 0.0 and all NaNs are one key; NaN sorts last, in either direction.
 */
#ifndef FERRO_ENGINE_TYPES_H
#define FERRO_ENGINE_TYPES_H

#include "engine/batch.h"

static inline bool type_is_number(fe_type t)
{
    return t == FERRO_I64 || t == FERRO_F64;
}

/* A double's bits, the same for all that count as one key. */
static inline uint64_t type_f64_bits(const void *p)
{
    double d;
    uint64_t bits;
    memcpy(&d, p, sizeof d);
    memcpy(&bits, p, sizeof bits);
    return d != d ? 0x7ff8000000000000u : d == 0 ? 0 : bits;
}

#define SHORT_KEY_BYTES 16 /* keys up to here are two words: compared, hashed and kept in a slot as such */

/* A short key in two words, zeros behind it. */
static inline void key_words(const char *p, size_t n, uint64_t w[2])
{
    static const uint64_t ones[4] = { UINT64_MAX, UINT64_MAX, 0, 0 };
    uint64_t mask[2];
    const char *whole = n ? fe_readable(p, SHORT_KEY_BYTES) : NULL;
    if (!whole) {
        w[0] = w[1] = 0;
        if (n)
            memcpy(w, p, n);
        return;
    }
    memcpy(mask, (const char *)ones + SHORT_KEY_BYTES - n, sizeof mask);
    memcpy(w, whole, SHORT_KEY_BYTES);
    w[0] &= mask[0];
    w[1] &= mask[1];
}

/* The hash of a short key: both halves of a 128-bit product, and of each factor something, so that a factor of zero
 * leaves no others without effect; then what is left to mix. */
static inline uint64_t words_hash(const uint64_t w[2], size_t n)
{
    uint64_t a = w[0] ^ 0x9e3779b97f4a7c15u, b = w[1] ^ 0xd6e8feb86659fd93u ^ n << 56;
    __extension__ unsigned __int128 product = (unsigned __int128)a * b;
    uint64_t h = (uint64_t)product ^ (uint64_t)(product >> 64) ^ (a << 32 | a >> 32) ^ b;
    h = (h ^ h >> 32) * 0xe7037ed1a0b428dbu;
    return h ^ h >> 29;
}

uint64_t type_hash(fe_type t, fe_slice key);
/* out[i] = hash of row i (or of row sel[i]'s index) for `rows` rows. */
void vec_hash(const struct vec *v, const uint16_t *sel, uint32_t rows, uint64_t *out);
bool type_equal(fe_type t, fe_slice a, fe_slice b);
int type_compare(fe_type t, fe_slice a, fe_slice b);          /* ascending: <0, 0, >0 */
int type_order(fe_type t, fe_slice a, fe_slice b, bool down); /* as the sort does: NaN last even when down */

/* First 8 bytes in an order that an unsigned comparison keeps (ties need type_compare); descending when `down`. */
uint64_t type_prefix(fe_type t, fe_slice key, bool down);
/* At most 64 bytes that bytes_cmp() orders as the sort does (a longer text's beginning): what samples and cuts are.
 * Different keys may have one normal form, never a wrong order. */
#define NORMAL_BYTES_MAX 64
uint32_t type_normal(fe_type t, fe_slice key, bool down, uint8_t out[NORMAL_BYTES_MAX]);

/* acc = acc (+) other, for fixed-size values. */
typedef void type_merge(void *acc, const void *other);
type_merge *kernel_merge(enum fe_kernel kernel,
                         fe_type value); /* NULL: no such kernel for that type; COUNT merges as SUM of i64 */

#endif
