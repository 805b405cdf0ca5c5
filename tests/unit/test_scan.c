/* test_scan.c - the check that foreign msgpack passes before anything is allocated. */
#include "common/proto/codec.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

TestSuite(scan);

static struct error error;

#define RAW(text) ((struct bytes){ (const uint8_t *)(text), sizeof(text) - 1 })

Test(scan, bounds_the_depth)
{
    uint8_t nested[PROTO_DEPTH_MAX + 2];
    memset(nested, 0x91, sizeof nested);
    nested[PROTO_DEPTH_MAX] = 0xc0;
    cr_assert_eq(proto_scan((struct bytes){ nested, PROTO_DEPTH_MAX + 1 }, &error), 0, "%s", error.words);
    nested[PROTO_DEPTH_MAX] = 0x91;
    nested[PROTO_DEPTH_MAX + 1] = 0xc0;
    cr_assert_eq(proto_scan((struct bytes){ nested, PROTO_DEPTH_MAX + 2 }, &error), -1);
    cr_assert_eq(error.code, EPROTO);
    size_t n = 1 << 20;
    uint8_t *deep = malloc(n);
    memset(deep, 0x91, n);
    cr_assert_eq(proto_scan((struct bytes){ deep, (uint32_t)n }, &error), -1);
    free(deep);
}

Test(scan, knows_every_type)
{
    const struct bytes whole[] = {
        RAW("\x7f"),
        RAW("\xe0"),
        RAW("\xc0"),
        RAW("\xc2"),
        RAW("\xc3"),
        RAW("\xc4\x02xy"),
        RAW("\xc5\x00\x01x"),
        RAW("\xc6\x00\x00\x00\x01x"),
        RAW("\xc7\x01\x05x"),
        RAW("\xc8\x00\x01\x05x"),
        RAW("\xc9\x00\x00\x00\x01\x05x"),
        RAW("\xca\x01\x02\x03\x04"),
        RAW("\xcb\x01\x02\x03\x04\x05\x06\x07\x08"),
        RAW("\xcc\x01"),
        RAW("\xcd\x01\x02"),
        RAW("\xce\x01\x02\x03\x04"),
        RAW("\xcf\x01\x02\x03\x04\x05\x06\x07\x08"),
        RAW("\xd0\x01"),
        RAW("\xd1\x01\x02"),
        RAW("\xd2\x01\x02\x03\x04"),
        RAW("\xd3\x01\x02\x03\x04\x05\x06\x07\x08"),
        RAW("\xd4\x01x"),
        RAW("\xd5\x01xx"),
        RAW("\xd6\x01xxxx"),
        RAW("\xd7\x01xxxxxxxx"),
        RAW("\xd8\x01xxxxxxxxxxxxxxxx"),
        RAW("\xd9\x01x"),
        RAW("\xda\x00\x01x"),
        RAW("\xdb\x00\x00\x00\x01x"),
        RAW("\xdc\x00\x01\x01"),
        RAW("\xdd\x00\x00\x00\x01\x01"),
        RAW("\xde\x00\x01\x01\x02"),
        RAW("\xdf\x00\x00\x00\x01\x01\x02"),
        RAW("\x81\x01\x02"),
        RAW("\x92\x91\x01\xa1x"),
    };
    for (size_t i = 0; i < sizeof whole / sizeof *whole; i++) {
        cr_assert_eq(proto_scan(whole[i], &error), 0, "case %zu: %s", i, error.words);
        for (uint32_t n = 0; n < whole[i].n; n++) {
            uint8_t *exact = malloc(n == 0 ? 1 : n);
            memcpy(exact, whole[i].p, n);
            cr_assert_eq(proto_scan((struct bytes){ exact, n }, &error), -1, "case %zu cut to %u", i, n);
            free(exact);
        }
    }
    cr_assert_eq(proto_scan(RAW("\xc1"), &error), -1);
    cr_assert_eq(proto_scan(RAW("\x01\x01"), &error), -1);
}
