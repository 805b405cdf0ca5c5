/* shortest.c - see shortest.h.
 *
 * The double is m * 2^-shift; times a power of ten it is an integer of at most 120 bits over 2^shift, so that rounding, and
 * whether the rounded number reads back, are settled exactly by integers.
 */
#include "engine/shortest.h"

#include <stdbool.h>
#include <string.h>

#define DIGITS_LEAST 15 /* fewer are these with zeros at their end */
#define DIGITS_MOST 17  /* always read back */

typedef unsigned __int128 u128;

struct binary {
    uint64_t m;
    int shift;
};

struct decimal {
    uint64_t n;
    int digits, point; /* n has `digits` digits, the first of them worth 10^point */
};

static u128 ten_to(int power)
{
    static const uint64_t tens[] = { 1,       10,       100,       1000,       10000,      100000,
                                     1000000, 10000000, 100000000, 1000000000, 10000000000 };
    return (u128)tens[power / 2] * tens[power - power / 2];
}

/* `b` to as many digits, half to even. */
static void round_to(const struct binary *b, int digits, struct decimal *d)
{
    u128 whole = b->m * ten_to(digits - 1 - d->point), half = (u128)1 << (b->shift - 1);
    u128 rest = whole & (2 * half - 1);
    d->n = (uint64_t)(whole >> b->shift);
    d->n += rest > half || (rest == half && (d->n & 1));
    d->digits = digits;
}

/* Is `b` the nearest double?  Half way it is when it is even.  Its neighbours are alike far: it is no power of two. */
static bool reads_back(const struct binary *b, const struct decimal *d)
{
    u128 power = ten_to(d->digits - 1 - d->point), whole = b->m * power, n = (u128)d->n << b->shift;
    u128 off = n > whole ? n - whole : whole - n;
    return 2 * off < power || (2 * off == power && b->m % 2 == 0);
}

static uint64_t ten_u64(int power)
{
    return (uint64_t)ten_to(power);
}

/* Where the first of 17 digits stands.  17 digits tell a number from any power of ten that it isn't. */
static int point_of(const struct binary *b, double f)
{
    struct decimal d = { .point = 0 };
    for (double ten = 10; d.point < 14 && f >= ten; ten *= 10)
        d.point++;
    for (double one = 1; d.point > -4 && f < one; one /= 10)
        d.point--;
    round_to(b, DIGITS_MOST, &d);
    return d.point + (d.n >= ten_u64(DIGITS_MOST)) - (d.n < ten_u64(DIGITS_MOST - 1));
}

/* %g: no zeros at the end of a fraction. */
static uint32_t put_decimal(char *out, struct decimal d)
{
    char digits[DIGITS_MOST + 1] = "", *p = out;
    for (int i = d.digits; i-- > 0; d.n /= 10)
        digits[i] = (char)('0' + d.n % 10);
    while (d.digits > 1 && d.digits > d.point + 1 && digits[d.digits - 1] == '0')
        d.digits--;
    int whole = d.point < 0 ? 0 : d.point + 1;
    if (d.point < 0) {
        memcpy(p, "0.000", 5);
        p += 1 - d.point;
    }
    memcpy(p, digits, (size_t)whole);
    p += whole;
    if (d.digits > whole && whole)
        *p++ = '.';
    memcpy(p, digits + whole, (size_t)(d.digits - whole));
    return (uint32_t)(p + d.digits - whole - out);
}

uint32_t shortest_put(char *out, double f)
{
    double size = f < 0 ? -f : f;
    uint64_t bits;
    memcpy(&bits, &size, sizeof bits);
    struct binary b = { (bits & ((1ull << 52) - 1)) | 1ull << 52, 1075 - (int)(bits >> 52) };
    if (!(size >= 1e-4 && size < 1e15) || b.m == 1ull << 52)
        return 0;
    struct decimal d = { .point = point_of(&b, size) };
    if (d.point < -4)
        return 0;
    for (int digits = DIGITS_LEAST; digits <= DIGITS_MOST; digits++) {
        round_to(&b, digits, &d);
        if (reads_back(&b, &d))
            break;
    }
    if (d.n == ten_u64(d.digits)) { /* rounded up to the next power */
        d.n /= 10;
        d.point++;
    }
    if (d.point >= d.digits)
        return 0;
    if (f < 0)
        *out = '-';
    return (f < 0) + put_decimal(out + (f < 0), d);
}
