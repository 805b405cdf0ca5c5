/* numbers.c - files of numbers, and numbers as arguments and in output */
#include "numbers.h"

#include "tools.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const void *map_records(const char *path, size_t size, size_t *n)
{
    struct input in = map_input(path);
    *n = in.n / size;
    if (*n * size != in.n)
        die_of(path, "the last record is cut");
    return in.bytes;
}

int64_t number_argument(const char *text, int64_t low, int64_t high, const char *what)
{
    char *end;
    errno = 0;
    int64_t n = strtoll(text, &end, 10);
    if (errno || end == text || *end || n < low || n > high)
        die_of(what, "no number, or out of range");
    return n;
}

char *put_u64(char *p, uint64_t n)
{
    char digits[PUT_I64_MAX];
    int at = PUT_I64_MAX;
    do
        digits[--at] = (char)('0' + n % 10);
    while (n /= 10);
    memcpy(p, digits + at, (size_t)(PUT_I64_MAX - at));
    return p + PUT_I64_MAX - at;
}

char *put_i64(char *p, int64_t n)
{
    if (n < 0)
        *p++ = '-';
    return put_u64(p, n < 0 ? -(uint64_t)n : (uint64_t)n);
}

/* d * 10^power to the nearest integer, half to even; d from 1e-4 to 2^53, power from 0 to 20. */
static uint64_t scale(double d, int power)
{
    static const uint64_t tens[] = { 1,       10,       100,       1000,       10000,      100000,
                                     1000000, 10000000, 100000000, 1000000000, 10000000000 };
    uint64_t bits;
    memcpy(&bits, &d, sizeof bits);
    int shift = 1075 - (int)(bits >> 52);
    unsigned __int128 whole = (bits & ((1ull << 52) - 1)) | 1ull << 52;
    whole *= tens[power / 2];
    whole *= tens[power - power / 2];
    unsigned __int128 half = (unsigned __int128)1 << (shift - 1), rest = whole & (2 * half - 1);
    uint64_t n = (uint64_t)(whole >> shift);
    return n + (rest > half || (rest == half && (n & 1)));
}

/* The bytes of printf's %.17g, without its half microsecond; what is rare goes there. */
char *put_f64(char *p, double d)
{
    if (!(d >= 1e-4 && d < 9007199254740992.0))
        return p + snprintf(p, PUT_F64_MAX, "%.17g", d);
    int point = 0; /* d is digits[0].digits[1..] * 10^point */
    for (double ten = 10; point < 15 && d >= ten; ten *= 10)
        point++;
    for (double one = 1; point > -4 && d < one; one /= 10)
        point--;
    uint64_t n = scale(d, 16 - point);
    if (n >= 100000000000000000)
        n = scale(d, 16 - ++point);
    else if (n < 10000000000000000)
        n = scale(d, 16 - --point);
    char digits[PUT_I64_MAX];
    int count = (int)(put_u64(digits, n) - digits);
    while (count > 1 && digits[count - 1] == '0')
        count--;
    if (point < 0) {
        memcpy(p, "0.000", 5);
        p += 1 - point;
    }
    int whole = point < 0 ? 0 : point + 1;
    for (int i = 0; i < whole; i++)
        *p++ = i < count ? digits[i] : '0';
    if (count > whole && whole)
        *p++ = '.';
    for (int i = whole; i < count; i++)
        *p++ = digits[i];
    return p;
}
