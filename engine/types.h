/* types.h - what the engine knows of keys and values: hash, order, merging.  One kernel a type.
 *
 * The hash is XXH3_64 of the key's canonical bytes on every CPU, and part of the shuffle's format.
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
