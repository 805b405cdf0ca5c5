/* hash.h - how the references hash and mask keys that they hold in vector registers */
#ifndef FERRO_BENCH_REF_HASH_H
#define FERRO_BENCH_REF_HASH_H

#include <emmintrin.h>
#include <stddef.h>
#include <stdint.h>

#define HASH_FIRST 0x9e3779b97f4a7c15u /* keys are mixed with these before they are folded */
#define HASH_SECOND 0xd1b54a32d192ed03u

/* Both halves of the product: each bit of a and b moves about half of the result's. */
static inline uint64_t fold(uint64_t a, uint64_t b)
{
    unsigned __int128 product = (unsigned __int128)a * b;
    return (uint64_t)(product >> 64) ^ (uint64_t)product;
}

/* The first n of the 16 bytes at p, zeroes behind; all 16 are read. */
static inline __m128i load_masked(const char *p, size_t n)
{
    static const uint8_t ones[32] = { -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1 };
    __m128i keep = _mm_loadu_si128((const __m128i *)(ones + 16 - n));
    return _mm_and_si128(_mm_loadu_si128((const __m128i *)p), keep);
}

/* The bytes equal to c among the 64 at p, a bit each. */
static inline uint64_t equal_mask(const char *p, char c)
{
    uint64_t mask = 0;
    for (int i = 0; i < 4; i++) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)(p + 16 * i));
        mask |= (uint64_t)(unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(bytes, _mm_set1_epi8(c))) << 16 * i;
    }
    return mask;
}

#endif
