/* test_types.c - hash, order, normal form and kernels of every type. */
#include "engine/types.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

static fe_slice of(const void *p, size_t n)
{
    return (fe_slice){ p, n };
}

static int sign(int x)
{
    return (x > 0) - (x < 0);
}

/* Normal form and prefix must never contradict the order, in either direction. */
static void check_pair(fe_type t, fe_slice a, fe_slice b)
{
    for (int down = 0; down < 2; down++) {
        uint8_t x[NORMAL_BYTES_MAX], y[NORMAL_BYTES_MAX];
        struct bytes m = { x, type_normal(t, a, down, x) }, n = { y, type_normal(t, b, down, y) };
        int order = type_order(t, a, b, down), normal = sign(bytes_cmp(m, n));
        uint64_t p = type_prefix(t, a, down), q = type_prefix(t, b, down);
        cr_assert_eq(sign(order), -sign(type_order(t, b, a, down)));
        if (order == 0)
            cr_assert(normal == 0 && p == q);
        else
            cr_assert((normal == 0 || normal == sign(order)) && (p == q || (p < q) == (order < 0)));
        if (t == FERRO_I64 || t == FERRO_F64)
            cr_assert_eq(normal, sign(order));
    }
    if (type_equal(t, a, b))
        cr_assert_eq(type_hash(t, a), type_hash(t, b));
    cr_assert_eq(type_equal(t, a, b), type_compare(t, a, b) == 0);
}

Test(types, text_order)
{
    const fe_slice v[] = {
        fe_str(""),
        of("\0", 1),
        of("\0\0", 2),
        fe_str("a"),
        fe_str("ab"),
        of("ab\0", 3),
        fe_str("abc"),
        fe_str("abcdefgh"),
        of("abcdefgh\0", 9),
        fe_str("abcdefghi"),
        fe_str("\xff"),
        fe_str("\xff\xff"),
        fe_str("0123456789012345678901234567890123456789012345678901234567890123456789"),
        fe_str("0123456789012345678901234567890123456789012345678901234567890123456788"),
        fe_str("0123456789012345678901234567890123456789012345678901234567890123"),
    };
    for (size_t i = 0; i < sizeof v / sizeof *v; i++)
        for (size_t k = 0; k < sizeof v / sizeof *v; k++)
            check_pair(FERRO_TEXT, v[i], v[k]);
    cr_assert_lt(type_compare(FERRO_TEXT, v[4], v[6]), 0);
    cr_assert_gt(type_order(FERRO_TEXT, v[4], v[6], true), 0);
}

Test(types, number_order)
{
    const int64_t i[] = { INT64_MIN, -2, -1, 0, 1, 2, INT64_MAX };
    for (size_t a = 0; a < 7; a++)
        for (size_t b = 0; b < 7; b++) {
            check_pair(FERRO_I64, of(&i[a], 8), of(&i[b], 8));
            cr_assert_eq(sign(type_compare(FERRO_I64, of(&i[a], 8), of(&i[b], 8))), (a > b) - (a < b));
        }
    const double f[] = { -INFINITY, -1.5, -0.0, 0.0, 1e-300, 3, INFINITY, NAN, -NAN };
    for (size_t a = 0; a < 9; a++)
        for (size_t b = 0; b < 9; b++)
            check_pair(FERRO_F64, of(&f[a], 8), of(&f[b], 8));
    cr_assert(type_equal(FERRO_F64, of(&f[2], 8), of(&f[3], 8)));
    cr_assert(type_equal(FERRO_F64, of(&f[7], 8), of(&f[8], 8)));
    cr_assert_lt(type_order(FERRO_F64, of(&f[6], 8), of(&f[7], 8), false), 0);
    cr_assert_lt(type_order(FERRO_F64, of(&f[0], 8), of(&f[7], 8), true), 0,
                 "NaN is last when descending too");
}

Test(types, struct_order)
{
    struct {
        uint8_t b[12];
    } v[3] = { { "abcdefghijk" }, { "abcdefghijz" }, { { 0 } } };
    fe_type t = FERRO_STRUCT(v[0]);
    for (int a = 0; a < 3; a++)
        for (int b = 0; b < 3; b++)
            check_pair(t, of(&v[a], 12), of(&v[b], 12));
}

Test(types, vec_hash_agrees_with_type_hash)
{
    const uint32_t ends[] = { 3, 3, 9 };
    struct vec text = { FERRO_TEXT, 1, 0, (const uint8_t *)"xabcdefgh", ends };
    struct vec lines = { FERRO_TEXT, 0, 1, (const uint8_t *)"ab\n\ncdefg", (const uint32_t[]){ 2, 3, 9 } };
    const double d[] = { 0.0, -0.0, NAN };
    struct vec f64 = { FERRO_F64, 0, 0, (const uint8_t *)d, NULL };
    const struct vec *v[] = { &text, &lines, &f64 };
    const uint16_t sel[] = { 2, 0 };
    for (int k = 0; k < 3; k++) {
        uint64_t h[3], s[2];
        vec_hash(v[k], NULL, 3, h);
        vec_hash(v[k], sel, 2, s);
        for (uint32_t i = 0; i < 3; i++)
            cr_assert_eq(h[i], type_hash(v[k]->type, vec_at(v[k], i)));
        cr_assert(s[0] == h[2] && s[1] == h[0]);
    }
}

/* The hash is a part of the shuffle's format: it must not change. */
Test(types, hash_is_the_format)
{
    int64_t one = 1;
    cr_assert_eq(type_hash(FERRO_TEXT, fe_str("")), 0x1593b0b830123f4cu);
    cr_assert_eq(type_hash(FERRO_TEXT, fe_str("word")), 0x497d0a355742babau);
    cr_assert_eq(type_hash(FERRO_TEXT, fe_str("seventeen letters")), 0x72e3af6d23b594f0u);
    cr_assert_eq(type_hash(FERRO_TEXT, fe_str("thirty-two letters and spaces it")), 0x5adec514f3b9166eu);
    cr_assert_eq(type_hash(FERRO_TEXT, fe_str("more than thirty-two letters, by XXH")), 0x17251c2d620616ddu);
    cr_assert_eq(type_hash(FERRO_TEXT, of(&one, 8)), type_hash(FERRO_I64, of(&one, 8)));
}

Test(types, kernels)
{
    int64_t a = INT64_MAX, b = 1;
    kernel_merge(FERRO_SUM, FERRO_I64)(&a, &b);
    cr_assert_eq(a, INT64_MIN);
    kernel_merge(FERRO_MAX, FERRO_I64)(&a, &b);
    cr_assert_eq(a, 1);
    b = -5;
    kernel_merge(FERRO_MIN, FERRO_I64)(&a, &b);
    cr_assert_eq(a, -5);
    kernel_merge(FERRO_COUNT, FERRO_TEXT)(&a, &b);
    cr_assert_eq(a, -10);
    double x = NAN, y = -2;
    kernel_merge(FERRO_MIN, FERRO_F64)(&x, &y);
    cr_assert_eq(x, -2);
    y = NAN;
    kernel_merge(FERRO_MAX, FERRO_F64)(&x, &y);
    cr_assert(isnan(x));
    cr_assert_null(kernel_merge(FERRO_SUM, FERRO_TEXT));
    cr_assert_null(kernel_merge(FERRO_MIN, FERRO_STRUCT(struct vec)));
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Structured keys, such as digits at two places, must not meet. */
Test(types, hashes_of_short_keys_see_each_byte_and_the_length)
{
    static uint64_t h[36 * (36 * 9 * 9 + 1)];
    char key[36] = { 0 };
    size_t n = 0;
    for (size_t length = 0; length < sizeof key; length++) {
        h[n++] = type_hash(FERRO_TEXT, of(key, length));
        for (size_t at = 0; at < length; at++)
            for (int pair = 0; pair < 81; pair++) {
                size_t other = (at + 16) % length;
                key[at] = (char)('1' + pair / 9);
                key[other] = (char)('1' + pair % 9);
                if (other > at)
                    h[n++] = type_hash(FERRO_TEXT, of(key, length));
                key[at] = key[other] = 0;
            }
    }
    qsort(h, n, sizeof *h, by_value);
    for (size_t i = 1; i < n; i++)
        cr_assert(h[i] != h[i - 1]);
}

Test(types, the_hash_of_two_words_is_that_of_four)
{
    for (size_t n = 0; n <= SHORT_KEY_BYTES; n++) {
        uint64_t two[2], four[4];
        key_words("sixteen and more bytes are readable", n, two, sizeof two);
        key_words("sixteen and more bytes are readable", n, four, sizeof four);
        cr_assert_eq(words_hash(two, n), words_hash4(four, n));
    }
}
