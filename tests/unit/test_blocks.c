/* test_blocks.c - an executor's files: trees, locks, adoption, and the threads that do the work. */
#include "common/proto/proto.h"
#include "executor/blocks/io.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

static const uint8_t one[ID_BYTES] = "incarnation one.", two[ID_BYTES] = "incarnation two.";
static char dir[64], out[96];
static const char *writes[2];
static struct files files;
static struct io *io;

static void begin(void)
{
    struct error e;
    snprintf(dir, sizeof dir, "/tmp/ferro-test-blocks-XXXXXX");
    cr_assert(mkdtemp(dir));
    snprintf(out, sizeof out, "%s/out", dir);
    mkdir(out, 0700);
    writes[0] = out;
    cr_assert_eq(files_open(&files, dir, dir, one, &e), 0, "%s", e.words);
    io = io_new(&files, writes, &e);
    cr_assert(io, "%s", e.words);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st;
    (void)type;
    (void)at;
    return remove(path);
}

static void end(void)
{
    io_free(&io);
    files_close(&files);
    nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

TestSuite(blocks, .init = begin, .fini = end, .timeout = 30);

static void put(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    cr_assert(f, "%s", path);
    fputs(text, f);
    fclose(f);
}

static struct io_done perform(struct action *a)
{
    struct io_done d;
    struct pollfd p = { .fd = io_fd(io), .events = POLLIN };
    a->kind = ACT_IO;
    a->id = 77;
    io_put(io, a);
    while (!io_take(io, &d))
        cr_assert_gt(poll(&p, 1, 10000), 0, "no answer");
    cr_assert_eq(d.id, 77);
    return d;
}

static struct io_done simple(enum io_op op, uint32_t stage, struct block_id id)
{
    struct action a = { .app = 7, .stage = stage };
    a.io.op = op;
    a.io.block = id;
    return perform(&a);
}

static int64_t write_block(uint32_t stage, struct block_id id, const char *text)
{
    struct action a = { .app = 7, .stage = stage };
    a.io.op = IO_WRITE;
    a.io.block = id;
    a.io.bytes = bytes_of(text);
    return perform(&a).result;
}

static char *scratch_file(uint64_t host, const char *name, char path[256])
{
    char folder[128];
    files_host_open(&files, host);
    snprintf(path, 256, "%s/%s", files_host_path(&files, false, host, folder, sizeof folder), name);
    return path;
}

static int64_t adopt(uint64_t host)
{
    struct action a = { .app = 7, .stage = 1, .part = 2, .attempt = 3 };
    a.io.op = IO_ADOPT;
    a.io.host = host;
    a.io.block = block_output(1, 2, 3);
    return perform(&a).result;
}

Test(blocks, a_hosts_file_becomes_a_block_and_is_served)
{
    char path[256];
    put(scratch_file(5, "1.2.3", path), "0123456789");
    cr_assert_eq(adopt(5), 10);
    cr_assert_neq(access(path, F_OK), 0, "it is the host's no more");
    struct action a = { .app = 7, .conn = 9 };
    struct head head;
    struct arena arena = { 0 };
    a.io.op = IO_SERVE;
    a.io.block = block_output(1, 2, 3);
    a.io.offset = 4;
    a.io.length = 3;
    a.io.tag = 12;
    io_stamp(io, 3, 4);
    struct io_done d = perform(&a);
    cr_assert(d.result == 3 && d.conn == 9);
    const struct msg_block_data *m =
        proto_decode(&arena, (struct bytes){ d.frame.p, (uint32_t)d.frame.n }, &head, NULL);
    cr_assert(m && head.epoch == 3 && head.generation == 4);
    cr_assert(m->tag == 12 && m->offset == 4 && m->total == 10 && bytes_eq(m->bytes, bytes_of("456")));
    buf_fini(&d.frame);
    arena_fini(&arena);
    a.io.length = 30;
    cr_assert_lt(perform(&a).result, 0, "past its end");
}

Test(blocks, what_is_no_plain_file_of_its_own_is_not_adopted)
{
    char path[256], other[256];
    scratch_file(5, "1.2.3", path);
    cr_assert_eq(symlink("/etc/passwd", path), 0);
    cr_assert_lt(adopt(5), 0, "a link");
    unlink(path);
    put(scratch_file(5, "other", other), "x");
    cr_assert_eq(link(other, path), 0);
    cr_assert_lt(adopt(5), 0, "a file with two names could still be written");
    unlink(path);
    mkdir(path, 0700);
    cr_assert_lt(adopt(5), 0, "a folder");
}

Test(blocks, freeing_a_stage_leaves_the_others)
{
    struct block_id a = block_output(1, 0, 1), b = block_output(2, 0, 1);
    cr_assert_eq(write_block(1, a, "one"), 3);
    cr_assert_eq(write_block(2, b, "two"), 3);
    cr_assert_eq(simple(IO_FREE, 1, a).result, 0);
    cr_assert_lt(files_open_block(&files, 7, a), 0);
    int fd = files_open_block(&files, 7, b);
    cr_assert_geq(fd, 0);
    close(fd);
    cr_assert_eq(simple(IO_FREE, UINT32_MAX, a).result, 0);
    cr_assert_lt(files_open_block(&files, 7, b), 0);
}

Test(blocks, a_library_must_be_what_it_is_called)
{
    struct block_id right = block_of_content("code", 4), wrong = block_of_content("other", 5);
    write_block(UINT32_MAX, right, "code");
    write_block(UINT32_MAX, wrong, "code");
    cr_assert_lt(simple(IO_LIBRARY, 0, wrong).result, 0);
    cr_assert_eq(io_library_fd(io, 7, wrong), -1);
    cr_assert_eq(simple(IO_LIBRARY, 0, right).result, 0);
    int fd = io_library_fd(io, 7, right);
    cr_assert_geq(fd, 0);
    cr_assert_lt(pwrite(fd, "x", 1, 0), 0, "and can't be changed any more");
    simple(IO_FREE, UINT32_MAX, right);
    cr_assert_eq(io_library_fd(io, 7, right), -1);
    cr_assert_geq(fcntl(fd, F_GETFD), 0, "a copy is the caller's own");
    close(fd);
}

static int64_t token(const char *path, const char *says)
{
    struct action a = { .app = 7, .stage = 4 };
    a.io.op = IO_TOKEN;
    a.io.path = path;
    a.io.bytes = (struct bytes){ (const uint8_t *)says, ID_BYTES };
    return perform(&a).result;
}

static int save_open(uint32_t stage, uint32_t attempt)
{
    struct io_done d;
    struct pollfd p = { .fd = io_fd(io), .events = POLLIN };
    io_save_open(io, 5, 7, stage, 0, attempt);
    while (!io_take(io, &d))
        cr_assert_gt(poll(&p, 1, 10000), 0, "no answer");
    cr_assert(d.saved && d.id == 5);
    return (int)d.result;
}

Test(blocks, output_goes_only_where_the_token_is_and_the_operator_allows)
{
    char inside[160], outside[160], part[160];
    snprintf(inside, sizeof inside, "%s/token", out);
    snprintf(outside, sizeof outside, "%s/token", dir);
    put(inside, "sixteen bytes it");
    put(outside, "sixteen bytes it");
    cr_assert_eq(token(outside, "sixteen bytes it"), -ENOENT);
    cr_assert_eq(token(inside, "something else.."), -ESTALE);
    cr_assert_lt(save_open(4, 1), 0, "no folder was proven yet");
    cr_assert_eq(token(inside, "sixteen bytes it"), 0);
    int fd = save_open(4, 1);
    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, "old", 3), 3);
    close(fd);
    fd = save_open(4, 1);
    cr_assert_geq(fd, 0, "the same attempt again, by another host");
    struct stat st;
    cr_assert(fstat(fd, &st) == 0 && st.st_size == 0);
    close(fd);
    cr_assert_lt(save_open(5, 1), 0, "another stage's is not this one's");
    snprintf(part, sizeof part, "%s/0.1", out);
    cr_assert_eq(access(part, F_OK), 0);
    simple(IO_FREE, 4, block_output(4, 0, 1));
    cr_assert_lt(save_open(4, 2), 0);
}

Test(blocks, a_neighbour_is_read_when_it_is_what_its_owner_says)
{
    struct block_id id = block_output(1, 0, 1);
    write_block(1, id, "12345");
    int fd = files_open_neighbour(dir, one, 7, id, 5);
    cr_assert_geq(fd, 0);
    close(fd);
    cr_assert_lt(files_open_neighbour(dir, one, 7, id, 6), 0);
    cr_assert_lt(files_open_neighbour(dir, two, 7, id, 5), 0);
}

Test(blocks, a_starting_executor_removes_only_what_the_dead_left)
{
    struct error e;
    struct files other, third;
    char dead[160], path[256];
    snprintf(dead, sizeof dead, "%s/0123456789abcdef0123456789abcdef", dir);
    mkdir(dead, 0700);
    snprintf(path, sizeof path, "%s/lock", dead);
    put(path, "");
    cr_assert_eq(files_open(&other, dir, dir, two, &e), 0, "%s", e.words);
    cr_assert_neq(access(dead, F_OK), 0);
    cr_assert_eq(access(files.fast.path, F_OK), 0);
    static const uint8_t three[ID_BYTES] = "incarnation 3...";
    cr_assert_eq(files_open(&third, dir, dir, three, &e), 0, "%s", e.words);
    cr_assert_eq(access(other.fast.path, F_OK), 0, "its owner lives");
    files_close(&third);
    files_close(&other);
}

/* Removing all of an application takes a while: one of the same number that comes next must not lose what it writes. */
Test(blocks, what_comes_after_a_removal_waits_for_it)
{
    enum { MANY = 3000 };
    struct pollfd p = { .fd = io_fd(io), .events = POLLIN };
    struct io_done d;
    struct block_id last = block_output(9, 0, 1);
    for (uint32_t i = 0; i < MANY; i++) {
        struct action a = { .kind = ACT_IO, .id = 1, .app = 7, .stage = 1 };
        a.io.op = IO_WRITE;
        a.io.block = block_output(1, i, 1);
        a.io.bytes = bytes_of("x");
        io_put(io, &a);
    }
    struct action gone = { .kind = ACT_IO, .id = 2, .app = 7, .stage = UINT32_MAX };
    gone.io.op = IO_FREE;
    io_put(io, &gone);
    struct action again = { .kind = ACT_IO, .id = 3, .app = 7, .stage = 9 };
    again.io.op = IO_WRITE;
    again.io.block = last;
    again.io.bytes = bytes_of("kept");
    io_put(io, &again);
    for (uint32_t n = 0; n < MANY + 2;) {
        if (!io_take(io, &d)) {
            cr_assert_gt(poll(&p, 1, 10000), 0, "no answer");
            continue;
        }
        n++;
        cr_assert_geq(d.result, 0);
        if (d.id == 3)
            cr_assert_eq(n, MANY + 2, "before the removal has ended");
    }
    int fd = files_open_block(&files, 7, last);
    cr_assert_geq(fd, 0, "what came later is there");
    close(fd);
}

/* Threads that write one new copy at the same time write one file. */
Test(blocks, a_copy_written_by_many_is_one_file)
{
    enum { CHUNKS = 64, BYTES = 1024 };
    static uint8_t chunk[BYTES];
    struct pollfd p = { .fd = io_fd(io), .events = POLLIN };
    struct io_done d;
    struct stat st;
    struct block_id id = block_name(BLOCK_COPY, 1, 2, 3);
    for (uint64_t i = 0; i < CHUNKS; i++) {
        struct action a = { .kind = ACT_IO, .id = 1, .app = 7, .stage = 1 };
        a.io.op = IO_WRITE;
        a.io.block = id;
        a.io.offset = i * BYTES;
        a.io.bytes = (struct bytes){ chunk, BYTES };
        io_put(io, &a);
    }
    for (uint32_t n = 0; n < CHUNKS;)
        if (io_take(io, &d)) {
            cr_assert_eq(d.result, BYTES);
            n++;
        } else
            cr_assert_gt(poll(&p, 1, 10000), 0, "no answer");
    int fd = files_open_block(&files, 7, id);
    cr_assert(fd >= 0 && fstat(fd, &st) == 0);
    cr_assert_eq(st.st_size, CHUNKS * BYTES);
    close(fd);
}

Test(blocks, a_hosts_scratch_goes_in_the_background)
{
    char path[256];
    put(scratch_file(3, "left", path), "x");
    io_host_close(io, 3);
    io_free(&io); /* waits for all that was asked for */
    cr_assert_lt(access(path, F_OK), 0);
}

Test(blocks, a_folder_that_cannot_be_made_is_named_by_its_option)
{
    struct files none = { 0 };
    struct error e;
    cr_assert_eq(files_open(&none, "/proc/none", dir, two, &e), -1);
    cr_expect(strstr(e.words, "--dir: /proc/none"), "%s", e.words);
    cr_assert_eq(files_open(&none, dir, "/proc/none", one, &e), -1);
    cr_expect(strstr(e.words, "--disk: /proc/none"), "%s", e.words);
    files_close(&none);
}

static bool lies_in(const struct tree *t, struct block_id id)
{
    char path[4200], hex[33];
    snprintf(path, sizeof path, "%s/7/%s", t->path, block_hex(id, hex));
    return access(path, F_OK) == 0;
}

static void copy(struct files *f, uint32_t part, uint64_t bytes, bool on_disk, const struct tree *where)
{
    struct block_id id = block_output(9, part, 1);
    int fd = files_open_copy(f, 7, id, bytes, on_disk);
    cr_assert_geq(fd, 0, "copy %u: %s", part, strerror(-fd));
    cr_expect(lies_in(where, id), "copy %u", part);
    close(fd);
}

Test(blocks, a_copy_lies_where_all_of_it_has_room)
{
    struct error e;
    struct files f;
    char fast[96], slow[96];
    snprintf(fast, sizeof fast, "%s/fast", dir);
    snprintf(slow, sizeof slow, "%s/slow", dir);
    cr_assert_eq(files_open(&f, fast, slow, two, &e), 0, "%s", e.words);
    copy(&f, 0, 1ull << 60, false, &f.disk);
    copy(&f, 1, 4096, true, &f.disk);
    files_close(&f);
}

/* No copy finds out halfway: the first takes its room, the second has none, and at last there are no inodes. */
Test(blocks, a_copy_goes_to_the_disk_when_the_fast_tree_is_full)
{
    struct error e;
    struct files f;
    char fast[96], slow[96];
    snprintf(fast, sizeof fast, "%s/fast", dir);
    snprintf(slow, sizeof slow, "%s/slow", dir);
    mkdir(fast, 0700);
    if (mount("none", fast, "tmpfs", 0, "size=80m,nr_inodes=8"))
        cr_skip_test("no tmpfs can be mounted here");
    cr_assert_eq(files_open(&f, fast, slow, two, &e), 0, "%s", e.words);
    copy(&f, 0, 9 << 20, false, &f.fast);
    copy(&f, 1, 9 << 20, false, &f.disk);
    uint32_t part = 2;
    for (; part < 20; part++) {
        int fd = files_open_copy(&f, 7, block_output(9, part, 1), 1, false);
        cr_assert_geq(fd, 0, "copy %u: %s", part, strerror(-fd));
        close(fd);
    }
    cr_expect(lies_in(&f.disk, block_output(9, 19, 1)));
    files_close(&f);
    umount(fast);
}

Test(blocks, a_list_of_stages_is_freed_at_once)
{
    uint32_t more[2] = { 4, 6 };
    for (uint32_t s = 3; s < 7; s++)
        write_block(s, block_output(s, 0, 1), "x");
    struct action a = { .app = 7, .stage = 3 };
    a.io.op = IO_FREE;
    a.io.bytes = (struct bytes){ (const uint8_t *)more, sizeof more };
    cr_assert_eq(perform(&a).result, 0);
    for (uint32_t s = 3; s < 7; s++)
        cr_expect_eq(lies_in(&files.fast, block_output(s, 0, 1)), s == 5, "stage %u", s);
}
