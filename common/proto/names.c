/* names.c - names of blocks and of causes, and sizes in one byte. */
#include "common/proto/proto.h"

#include <assert.h>
#include <math.h>
#include <sodium.h>
#include <string.h>
#include <xxhash.h>

static uint8_t *put_le(uint8_t *p, uint64_t v)
{
    for (int i = 0; i < 8; i++)
        *p++ = (uint8_t)(v >> (8 * i));
    return p;
}

struct block_id block_name(enum block_kind kind, uint64_t a, uint64_t b, uint64_t c)
{
    uint8_t what[32];
    put_le(put_le(put_le(put_le(what, kind), a), b), c);
    XXH128_canonical_t canonical;
    XXH128_canonicalFromHash(&canonical, XXH3_128bits(what, sizeof what));
    struct block_id id;
    memcpy(id.b, canonical.digest, sizeof id.b);
    return id;
}

struct block_id block_output(uint32_t stage, uint32_t part, uint32_t attempt)
{
    return block_name(BLOCK_OUTPUT, stage, part, attempt);
}

struct block_id block_of_content(const void *p, size_t n)
{
    struct block_id id;
    int rc = crypto_generichash(id.b, sizeof id.b, p, n, NULL, 0);
    assert(rc == 0);
    (void)rc;
    return id;
}

char *block_hex(struct block_id id, char out[33])
{
    static const char digits[] = "0123456789abcdef";
    for (int i = 0; i < ID_BYTES; i++) {
        out[2 * i] = digits[id.b[i] >> 4];
        out[2 * i + 1] = digits[id.b[i] & 15];
    }
    out[2 * ID_BYTES] = 0;
    return out;
}

/* Codes 1 to 255 stand for 2^0 to 2^64, evenly on the logarithmic scale: two
 * neighbours differ by 19 %, so the nearest is at most 9.2 % off
 * (and a few bytes are rounded to whole ones). */
#define CODES_PER_OCTAVE (254.0 / 64.0)

uint8_t size_code(uint64_t bytes)
{
    return bytes == 0 ? 0 : (uint8_t)(1 + lround(log2((double)bytes) * CODES_PER_OCTAVE));
}

uint64_t size_decode(uint8_t code)
{
    if (code == 0)
        return 0;
    return code == UINT8_MAX ? UINT64_MAX : (uint64_t)(exp2((code - 1) / CODES_PER_OCTAVE) + 0.5);
}

const char *cause_name(enum cause c)
{
    static const char *const names[] = {
        [CAUSE_OK] = "ok",         [CAUSE_ERROR] = "error",         [CAUSE_CRASH] = "crash",
        [CAUSE_MEMORY] = "memory", [CAUSE_TIME] = "time",           [CAUSE_FETCH] = "fetch",
        [CAUSE_INPUT] = "input",   [CAUSE_CANCELLED] = "cancelled", [CAUSE_HOST] = "host",
    };
    return (size_t)c < sizeof names / sizeof *names ? names[c] : "?";
}
