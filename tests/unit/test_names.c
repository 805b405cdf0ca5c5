/* test_names.c - names of blocks and causes, sizes in one byte. */
#include "common/proto/proto.h"

#include <criterion/criterion.h>

TestSuite(names);

Test(names, names_of_blocks)
{
    char a[33], b[33];
    cr_assert_str_eq(block_hex(block_output(2, 17, 1), a), block_hex(block_name(BLOCK_OUTPUT, 2, 17, 1), b));
    cr_assert_str_neq(a, block_hex(block_name(BLOCK_INPUT, 2, 17, 1), b));
    cr_assert_str_neq(a, block_hex(block_output(17, 2, 1), b));
    cr_assert_str_neq(a, block_hex(block_output(2, 17, 2), b));
    /* Fixed for ever: names are compared between machines and versions.  The second is BLAKE2b-128 of "". */
    cr_assert_str_eq(block_hex(block_output(0, 0, 0), a), "4a679b01e5e1d78209daa6f9bc42cae9");
    cr_assert_str_eq(block_hex(block_of_content("", 0), a), "cae66941d9efbd404e4d88758ea67670");
}

Test(names, sizes_in_one_byte)
{
    cr_assert_eq(size_code(0), 0);
    cr_assert_eq(size_decode(0), 0);
    cr_assert_eq(size_decode(size_code(1)), 1);
    cr_assert_eq(size_code(UINT64_MAX), 255);
    struct prng prng;
    prng_seed(&prng, 5);
    for (int i = 0; i < 100000; i++) {
        uint64_t v = (prng_next(&prng) >> prng_next(&prng) % 64) | 1;
        double ratio = (double)size_decode(size_code(v)) / (double)v;
        cr_assert(v < 64 ? ratio > 0.8 && ratio < 1.34 : ratio > 0.9 && ratio < 1.1, "%lu: %f", v, ratio);
    }
    for (int code = 1; code < 255; code++)
        cr_assert(size_decode((uint8_t)code) <= size_decode((uint8_t)(code + 1)));
}

Test(names, causes_have_names)
{
    cr_assert_str_eq(cause_name(CAUSE_CRASH), "crash");
    cr_assert_str_eq(cause_name(CAUSE_HOST), "host");
    cr_assert_str_eq(cause_name((enum cause)99), "?");
}
