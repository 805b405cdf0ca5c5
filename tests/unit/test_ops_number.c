/* test_ops_number.c - numbers to text and back, and fields of a line. */
#include "common/core/step.h"
#include "engine/number.h"
#include "include/ferro.h"

#include <criterion/criterion.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

TestSuite(ops_number);

static double parse(const char *text)
{
    return fe_parse_f64(fe_str(text), -12345);
}

Test(ops_number, integers)
{
    static const char *const good[] = { "0", "-0", "+7", "007", "9223372036854775807", "-9223372036854775808",
                                        "-1" };
    static const char *const bad[] = { "",
                                       "-",
                                       "+",
                                       "9223372036854775808",
                                       "-9223372036854775809",
                                       "1 ",
                                       " 1",
                                       "1.0",
                                       "0x1",
                                       "99999999999999999999999",
                                       "1e3",
                                       "--1" };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        cr_expect_eq(fe_parse_i64(fe_str(good[i]), 42), strtoll(good[i], NULL, 10), "%s", good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        cr_expect_eq(fe_parse_i64(fe_str(bad[i]), 42), 42, "%s", bad[i]);
    char out[NUMBER_TEXT_MAX + 1];
    struct prng p;
    prng_seed(&p, 3);
    for (int i = 0; i < 100000; i++) {
        int64_t v = i == 0 ? INT64_MIN : i == 1 ? 0 : (int64_t)prng_next(&p) >> prng_next(&p) % 64;
        uint32_t n = number_put_i64(out, v);
        cr_assert_eq(fe_parse_i64((fe_slice){ out, n }, v + 1), v);
    }
}

Test(ops_number, reals_as_strtod_reads_them)
{
    static const char *const texts[] = {
        "0",
        "-0",
        "1",
        "1.",
        ".5",
        "-.5e1",
        "3.14159",
        "1e22",
        "1e23",
        "123456789012345678",
        "9007199254740993",
        "9007199254740992",
        "9007199254740993e0",
        "0.1",
        "0.30000000000000004",
        "1e-5",
        "1e308",
        "1.7976931348623157e308",
        "4.9e-324",
        "2.2250738585072014e-308",
        "1e-400",
        "123456789012345678901234567890",
        "0.000000000000000000000000001",
        "100000000000000000000000",
        "1E5",
        "1e+5",
        "00012.50",
        "8.5e-22",
        "1.00000000000000000000000000000000000000000001",
        "179769313486231570814527423731704356798070e267",
        "0e999999999999",
        "0.0e-5",
        "12345678901234567890e-19",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        double want = strtod(texts[i], NULL), got = parse(texts[i]);
        cr_expect(memcmp(&want, &got, 8) == 0, "%s: %.17g, not %.17g", texts[i], got, want);
    }
    static const char *const bad[] = { "",   ".",    "-",     "e5",     "1e",       "1e+", "1x",    " 1",
                                       "1 ", "0x10", "1e309", "-1e999", "infinity", "NAN", "1.2.3", "in" };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        cr_expect_eq(parse(bad[i]), -12345, "%s", bad[i]);
    cr_expect(isnan(parse("nan")));
    cr_expect_eq(parse("-inf"), -INFINITY);
}

/* What printf would take as few digits for as are needed, from 15 on. */
static void same_as_printf(double f)
{
    char out[NUMBER_TEXT_MAX + 1] = "", want[64];
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(want, sizeof want, "%.*g", digits, f);
        if (strtod(want, NULL) == f)
            break;
    }
    out[number_put_f64(out, f)] = 0;
    cr_assert_str_eq(out, want, "%.17g", f);
}

Test(ops_number, shortest_reals_are_those_of_printf)
{
    struct prng p;
    prng_seed(&p, 11);
    for (int i = 0; i < 200000; i++) {
        double base = (double)(int64_t)(prng_next(&p) % 100000000) / (i % 2 ? 1e2 : 1e7) - 5;
        same_as_printf(base);                                                                 /* few digits */
        same_as_printf(ldexp((double)(prng_next(&p) >> 11), (int)(prng_next(&p) % 76) - 70)); /* all */
    }
    for (double ten = 1e-6; ten < 1e17; ten *= 10)
        for (int i = -40; i <= 40; i++) {
            same_as_printf(ten * (1 + i * DBL_EPSILON / 2));
            same_as_printf(-ten * (1 - ldexp(1, -40 - i / 4)));
        }
    for (int e = -20; e < 60; e++) {
        same_as_printf(nextafter(ldexp(1, e), 0));
        same_as_printf(nextafter(ldexp(1, e), INFINITY));
        if (e < 0 || e > 50)
            same_as_printf(ldexp(1, e));
    }
}

static void round_trip(double f)
{
    char out[NUMBER_TEXT_MAX + 1];
    uint32_t n = number_put_f64(out, f);
    double back = fe_parse_f64((fe_slice){ out, n }, -12345);
    cr_assert(memcmp(&back, &f, 8) == 0, "%.17g became %.*s", f, (int)n, out);
}

Test(ops_number, reals_come_back)
{
    static const double some[] = { 0.0,      -0.0,    1,          -1,       0.1,      1e15,
                                   1e15 + 1, 9e15,    1e300,      DBL_MAX,  -DBL_MAX, DBL_MIN,
                                   5e-324,   1.0 / 3, 123456.789, INFINITY, -INFINITY };
    struct prng p;
    for (size_t i = 0; i < sizeof some / sizeof *some; i++)
        round_trip(some[i]);
    prng_seed(&p, 9);
    for (int i = 0; i < 100000; i++) {
        uint64_t bits = prng_next(&p);
        double f;
        memcpy(&f, &bits, 8);
        if (f == f)
            round_trip(f);
        round_trip((double)(int64_t)bits / 1000);
    }
    char out[NUMBER_TEXT_MAX + 1];
    cr_assert(number_put_f64(out, NAN) == 3 && !memcmp(out, "nan", 3));
    cr_assert(number_put_f64(out, 0.1) == 3 && !memcmp(out, "0.1", 3));
    cr_assert(number_put_f64(out, 1e6) == 7 && !memcmp(out, "1000000", 7));
}

Test(ops_number, fields)
{
    fe_slice f[3];
    cr_assert_eq(fe_fields(fe_str("a,bc,,d"), ',', f, 3), 4);
    cr_assert(f[0].n == 1 && f[1].n == 2 && f[2].n == 0 && f[1].p[0] == 'b');
    cr_assert_eq(fe_fields(fe_str(""), ',', f, 3), 1);
    cr_assert_eq(f[0].n, 0);
    cr_assert_eq(fe_fields(fe_str(","), ',', f, 3), 2);
    cr_assert_eq(f[1].n, 0);
    cr_assert_eq(fe_fields((fe_slice){ NULL, 0 }, ',', f, 3), 1);
}
