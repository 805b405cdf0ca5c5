/* types.h - what the engine knows of keys and values: hash, order, merging.  One kernel a type.
 *
 * The hash is the same on every CPU, and part of the shuffle's format: XXH3_64 of the key's bytes where they are over
 * 32; of shorter ones, as most keys are, products of the four words they make, which takes no branch by the length.
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
#define WORDS_KEY_BYTES 32 /* keys up to here are four: compared and hashed as such */

static inline uint64_t word_masked(const char *p, const char *mask)
{
    uint64_t word, keep;
    memcpy(&word, p, sizeof word);
    memcpy(&keep, mask, sizeof keep);
    return word & keep;
}

/* A key of n bytes, at most `size` (16 or 32), in as many words as that is, zeros behind it. */
static inline __attribute__((always_inline)) void key_words(const char *p, size_t n, uint64_t *w, size_t size)
{
    static const uint64_t ones[8] = { UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX };
    const char *mask = (const char *)ones + WORDS_KEY_BYTES - n;
    const char *whole = n ? fe_readable(p, size) : NULL;
    if (!whole) {
        memset(w, 0, size);
        if (n)
            memcpy(w, p, n);
        return;
    }
    w[0] = word_masked(whole, mask);
    w[1] = word_masked(whole + 8, mask + 8);
    if (size > SHORT_KEY_BYTES) {
        w[2] = word_masked(whole + 16, mask + 16);
        w[3] = word_masked(whole + 24, mask + 24);
    }
}

/* Both halves of a 128-bit product, and of each factor something, so that a factor of zero leaves no others without
 * effect. */
static inline uint64_t words_product(uint64_t a, uint64_t b)
{
    __extension__ unsigned __int128 product = (unsigned __int128)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64) ^ (a << 32 | a >> 32) ^ b;
}

/* The hash of a short key. */
static inline uint64_t words_hash(const uint64_t w[2], size_t n)
{
    uint64_t h = words_product(w[0] ^ 0x9e3779b97f4a7c15u, w[1] ^ 0xd6e8feb86659fd93u ^ n << 56);
    h = (h ^ h >> 32) * 0xe7037ed1a0b428dbu;
    return h ^ h >> 29;
}

/* The hash of a key of up to 32 bytes: of a short one, the same as words_hash(), as its other words' part is then 0. */
static inline uint64_t words_hash4(const uint64_t w[4], size_t n)
{
    const uint64_t a = 0xa0761d6478bd642fu, b = 0x8ebc6af09c88c6e3u;
    uint64_t rest = words_product(w[2] ^ a, w[3] ^ b) ^ words_product(a, b);
    return words_hash((uint64_t[2]){ w[0] ^ rest, w[1] }, n);
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
