/* test_pull.c - fetching blocks: windows, turns, and peers that send what nobody asked for. */
#include "common/core/pull.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#define CONN (CONN_DIALLED + 1)
#define MIB (1ull << 20)

static struct pulls *pulls;
static struct actions out;
static struct arena arena;
static struct pull_result result;
static uint8_t bytes[MIB];

static void begin(void)
{
    pulls = pulls_new();
}

static void end(void)
{
    pulls_free(&pulls);
    actions_fini(&out);
    arena_fini(&arena);
}

TestSuite(pull, .init = begin, .fini = end);

static void start(uint64_t user, uint64_t offset, uint64_t length, uint64_t bytes_max)
{
    struct pull_want w = {
        .user = user, .app = 7, .conn = CONN, .offset = offset, .length = length, .bytes_max = bytes_max
    };
    actions_reset(&out);
    pulls_start(pulls, &w, &(struct head){ .epoch = 1 }, &out);
}

/* The nth action of the last call, which must be a BLOCK_GET.  NULL: there are fewer. */
static const struct msg_block_get *asked(uint32_t nth)
{
    struct head head;
    struct error e;
    for (uint32_t i = 0; i < out.n; i++)
        if (out.v[i].kind == ACT_SEND && nth-- == 0)
            return proto_decode(&arena, out.v[i].frame, &head, &e);
    return NULL;
}

static uint32_t nasked(void)
{
    uint32_t n = 0;
    while (asked(n))
        n++;
    return n;
}

static bool data(uint64_t tag, uint64_t offset, uint64_t n, uint64_t total)
{
    struct msg_block_data m = {
        .tag = tag, .offset = offset, .total = total, .bytes = { bytes, (uint32_t)n }
    };
    actions_reset(&out);
    return pulls_on_data(pulls, CONN, &m, &out, &result);
}

static uint64_t write_of(void)
{
    for (uint32_t i = 0; i < out.n; i++)
        if (out.v[i].kind == ACT_IO)
            return out.v[i].id;
    cr_assert(false, "nothing is written");
    return 0;
}

static bool written(uint64_t id, int64_t r)
{
    struct event ev = { .kind = EV_IO_DONE, .id = id, .io = { r } };
    actions_reset(&out);
    return pulls_on_io(pulls, &ev, &out, &result);
}

Test(pull, a_block_comes_whole)
{
    start(5, 0, 0, 0);
    uint64_t tag = asked(0)->tag, io[2];
    cr_assert_null(asked(1), "one chunk, until its size is known");
    cr_assert_not(data(tag, 0, MIB, MIB + 10));
    io[0] = write_of();
    const struct msg_block_get *rest = asked(0);
    cr_assert(rest && rest->offset == MIB && rest->length == 10);
    cr_assert_not(written(io[0], MIB));
    cr_assert_not(data(rest->tag, MIB, 10, MIB + 10));
    io[1] = write_of();
    cr_assert(written(io[1], 10));
    cr_assert(result.user == 5 && result.code == 0 && result.length == MIB + 10 && result.total == MIB + 10);
}

Test(pull, nothing_longer_than_was_said)
{
    start(1, 0, 0, 3);
    cr_assert(data(asked(0)->tag, 0, MIB, 1ull << 50));
    cr_assert_eq(result.code, BLOCK_CORRUPT);
    start(2, 0, 0, 3);
    cr_assert_not(data(asked(0)->tag, 0, 3, 3));
    cr_assert(written(write_of(), 3) && result.code == 0);
}

/* Each answer is held against its own request. */
Test(pull, another_piece_than_was_asked_for)
{
    start(1, 100, 50, 0);
    cr_assert(data(asked(0)->tag, UINT64_MAX - 20, 50, 1000), "an offset that wraps");
    start(1, 100, 50, 0);
    cr_assert(data(asked(0)->tag, 90, 50, 1000), "it begins elsewhere");
    start(1, 100, 50, 0);
    cr_assert(data(asked(0)->tag, 100, 51, 1000), "longer");
    start(1, 100, 50, 0);
    cr_assert(data(asked(0)->tag, 100, 49, 1000), "shorter");
    start(1, 100, 50, 0);
    cr_assert(data(asked(0)->tag, 100, 0, 90), "the block ends before");
    start(1, 0, 0, 0);
    cr_assert_not(data(asked(0)->tag, 0, MIB, 3 * MIB));
    cr_assert_eq(nasked(), 2);
    cr_assert(data(asked(0)->tag, 2 * MIB, MIB, 3 * MIB), "the other's piece");
    cr_assert_eq(result.code, BLOCK_CORRUPT);
}

Test(pull, its_window_waits_for_what_is_written)
{
    start(1, 0, 0, 0);
    cr_assert_not(data(asked(0)->tag, 0, MIB, 100 * MIB));
    uint64_t io = write_of();
    cr_assert_eq(nasked(), PULL_WINDOW - 1, "the first is being written yet");
    cr_assert_not(written(io, MIB));
    cr_assert_eq(nasked(), 1);
}

Test(pull, a_full_disk_here_is_told_from_what_a_peer_says)
{
    start(1, 0, 8, 0);
    cr_assert_not(data(asked(0)->tag, 0, 8, 8));
    cr_assert(written(write_of(), -ENOSPC));
    cr_assert_eq(result.code, BLOCK_FULL);
    start(2, 0, 8, 0);
    cr_assert_not(data(asked(0)->tag, 0, 8, 8));
    cr_assert(written(write_of(), -EIO));
    cr_assert_eq(result.code, BLOCK_IO);
    start(3, 0, 8, 0);
    const struct msg_block_err lie = { .tag = asked(0)->tag, .code = BLOCK_FULL };
    actions_reset(&out);
    cr_assert(pulls_on_err(pulls, CONN, &lie, &out, &result));
    cr_assert_eq(result.code, BLOCK_IO);
}

/* However many there are, a connection's window holds; and all get their turn. */
Test(pull, many_share_a_connection)
{
    enum { MANY = 100 };
    static uint64_t tags[MANY];
    uint32_t n = 0, ended = 0;
    for (uint64_t i = 0; i < MANY; i++) {
        start(i, 0, 8, 0);
        for (const struct msg_block_get *g; (g = asked(0)) != NULL; actions_reset(&out))
            tags[n++] = g->tag;
    }
    cr_assert_eq(n, PULL_TOTAL_WINDOW);
    for (uint32_t i = 0; i < n; i++) {
        if (i % 2) { /* an error makes room too */
            actions_reset(&out);
            ended += pulls_on_err(pulls, CONN, &(struct msg_block_err){ .tag = tags[i], .code = BLOCK_GONE },
                                  &out, &result);
        } else {
            cr_assert_not(data(tags[i], 0, 8, 8));
            ended += written(write_of(), 8);
        }
        cr_assert_leq(nasked(), 1);
        if (asked(0))
            tags[n++] = asked(0)->tag;
    }
    cr_assert(n == MANY && ended == MANY);
}

Test(pull, a_lost_connection_ends_all_of_its)
{
    for (uint64_t i = 0; i < 50; i++)
        start(i, 0, 8, 0);
    uint32_t n = 0;
    for (; pulls_on_down(pulls, CONN, &result); n++)
        cr_assert_eq(result.code, BLOCK_UNREACHABLE);
    cr_assert_eq(n, 50);
    start(1, 0, 8, 0);
    cr_assert_eq(nasked(), 1, "the window is free again");
    pulls_drop_app(pulls, 7);
    cr_assert_not(pulls_on_down(pulls, CONN, &result));
}
