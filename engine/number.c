/* number.c - numbers to text and back. */
#include "engine/number.h"
#include "engine/shortest.h"
#include "include/ferro.h"

#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define EXACT_MANTISSA (1ull << 53) /* integers up to it are doubles */
#define DIGITS_MAX 19               /* that always fit a uint64_t */

/* ---- out ----------------------------------------------------------------------- */

uint32_t number_put_i64(char out[NUMBER_TEXT_MAX], int64_t i)
{
    char digits[20];
    uint64_t u = i < 0 ? 0 - (uint64_t)i : (uint64_t)i;
    uint32_t n = 0, at = 0;
    do
        digits[n++] = (char)('0' + u % 10);
    while (u /= 10);
    if (i < 0)
        out[at++] = '-';
    while (n)
        out[at++] = digits[--n];
    return at;
}

uint32_t number_put_f64(char out[NUMBER_TEXT_MAX], double f)
{
    if (f != f)
        return (uint32_t)snprintf(out, NUMBER_TEXT_MAX, "nan");
    if (f > -1e15 && f < 1e15 && f == (double)(int64_t)f && !(f == 0 && signbit(f)))
        return number_put_i64(out, (int64_t)f);
    int n = (int)shortest_put(out, f);
    if (n)
        return (uint32_t)n;
    for (int digits = 15; digits <= 17; digits++) {
        n = snprintf(out, NUMBER_TEXT_MAX, "%.*g", digits, f);
        if (fe_parse_f64_any((fe_slice){ out, (size_t)n }, NAN) == f)
            break;
    }
    return (uint32_t)n;
}

/* ---- in ------------------------------------------------------------------------ */

/* An integer under way: u, which is not to exceed max. */
struct whole {
    uint64_t u, max;
};

static inline bool whole_digit(struct whole *w, char c)
{
    uint8_t digit = (uint8_t)(c - '0');
    if (digit > 9 || w->u > (w->max - digit) / 10)
        return false;
    w->u = w->u * 10 + digit;
    return true;
}

static inline bool has_sign(fe_slice s)
{
    return s.n && (*s.p == '-' || *s.p == '+');
}

int64_t fe_parse_i64(fe_slice s, int64_t otherwise)
{
    bool minus = s.n && *s.p == '-';
    struct whole w = { 0, (uint64_t)INT64_MAX + minus };
    size_t at = has_sign(s);
    if (at == s.n)
        return otherwise;
    for (; at < s.n; at++)
        if (!whole_digit(&w, s.p[at]))
            return otherwise;
    return minus ? (int64_t)(0 - w.u) : (int64_t)w.u;
}

int64_t fe_parse_decimal_any(fe_slice s, unsigned places, int64_t otherwise)
{
    bool minus = s.n && *s.p == '-', point = false, any = false;
    struct whole w = { 0, (uint64_t)INT64_MAX + minus };
    if (places > DIGITS_MAX - 1)
        return otherwise;
    for (size_t at = has_sign(s); at < s.n; at++) {
        if (s.p[at] == '.' && !point) {
            point = true;
            continue;
        }
        if ((point && places == 0) || !whole_digit(&w, s.p[at]))
            return otherwise;
        places -= point;
        any = true;
    }
    for (; places > 0; places--)
        if (!whole_digit(&w, '0'))
            return otherwise;
    return !any ? otherwise : minus ? (int64_t)(0 - w.u) : (int64_t)w.u;
}

/* A decimal number taken apart: value = (-1)^minus * mantissa * 10^exponent. */
struct decimal {
    uint64_t mantissa;
    int64_t exponent;
    bool minus, exact; /* exact: no digit was left out of the mantissa */
};

static const char *digits_in(const char *p, const char *end, struct decimal *d, int *count, bool fraction)
{
    for (; p < end && (uint8_t)(*p - '0') <= 9; p++) {
        uint8_t digit = (uint8_t)(*p - '0');
        if (*count < DIGITS_MAX) {
            d->mantissa = d->mantissa * 10 + digit;
            *count += d->mantissa != 0;
            d->exponent -= fraction;
        } else {
            d->exact &= digit == 0;
            d->exponent += !fraction;
        }
    }
    return p;
}

static const char *exponent_in(const char *p, const char *end, struct decimal *d)
{
    bool minus = p < end && *p == '-';
    if (p < end && (*p == '-' || *p == '+'))
        p++;
    if (p == end)
        return NULL;
    int64_t e = 0;
    for (; p < end && (uint8_t)(*p - '0') <= 9; p++)
        if (e < 1000000)
            e = e * 10 + (*p - '0');
    d->exponent += minus ? -e : e;
    return p;
}

/* Is the whole slice a decimal number? */
static bool decimal_in(fe_slice s, struct decimal *d)
{
    const char *p = s.p, *end = s.p + s.n, *start;
    int count = 0;
    *d = (struct decimal){ .exact = true, .minus = p < end && *p == '-' };
    if (p < end && (*p == '-' || *p == '+'))
        p++;
    start = p;
    p = digits_in(p, end, d, &count, false);
    bool some = p > start;
    if (p < end && *p == '.') {
        start = ++p;
        p = digits_in(p, end, d, &count, true);
        some |= p > start;
    }
    if (some && p < end && (*p == 'e' || *p == 'E'))
        p = exponent_in(p + 1, end, d);
    return some && p == end;
}

static bool special_in(fe_slice s, double *f)
{
    bool sign = s.n && (*s.p == '-' || *s.p == '+');
    const char *p = s.p + sign;
    if (s.n - sign != 3 || (memcmp(p, "nan", 3) && memcmp(p, "inf", 3)))
        return false;
    *f = *p == 'n' ? NAN : *s.p == '-' ? -INFINITY : INFINITY;
    return true;
}

/* strtod in the C locale, whatever the job has set; `s` is known to be a decimal number. */
static double parse_slowly(fe_slice s, double otherwise)
{
    static locale_t c_locale;
    char kept[128], *text;
    if (!c_locale && !(c_locale = newlocale(LC_ALL_MASK, "C", NULL)))
        return otherwise;
    text = s.n < sizeof kept ? kept : malloc(s.n + 1);
    if (!text)
        return otherwise;
    memcpy(text, s.p, s.n);
    text[s.n] = 0;
    double f = strtod_l(text, NULL, c_locale);
    if (text != kept)
        free(text);
    return isinf(f) ? otherwise : f;
}

double fe_parse_f64_any(fe_slice s, double otherwise)
{
    static const double powers[] = { 1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                     1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22 };
    struct decimal d;
    double f;
    if (!decimal_in(s, &d))
        return special_in(s, &f) ? f : otherwise;
    f = (double)d.mantissa;
    /* Both factors are exact doubles, so that the one rounding is right (Clinger 1990). */
    if (!d.exact || d.mantissa > EXACT_MANTISSA || d.exponent < -22 || d.exponent > 22)
        return d.mantissa ? parse_slowly(s, otherwise) : d.minus ? -0.0 : 0.0;
    f = d.exponent < 0 ? f / powers[-d.exponent] : f * powers[d.exponent];
    return d.minus ? -f : f;
}
