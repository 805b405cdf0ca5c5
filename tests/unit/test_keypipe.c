/* test_keypipe.c - five lines of keys through a pipe; and results and served blocks, the driver's other small stores. */
#include "common/keys/keypipe.h"
#include "driver/results.h"
#include "driver/served.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int pipe_with(const char *text, size_t n)
{
    int ends[2];
    cr_assert_eq(pipe(ends), 0);
    cr_assert_eq(write(ends[1], text, n), (ssize_t)n);
    close(ends[1]);
    return ends[0];
}

Test(keypipe, what_goes_in_comes_out)
{
    struct error e;
    struct app_keys in, out;
    keypair_make(&in.driver);
    keypair_make(&in.fetch);
    memset(in.manager, 7, sizeof in.manager);
    int fd = keypipe_new(&in, &e);
    cr_assert_geq(fd, 0);
    cr_assert(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    cr_assert_eq(keypipe_read(fd, &out, &e), 0, "%s", e.words);
    cr_assert_eq(memcmp(&in, &out, sizeof in), 0);
    cr_assert_eq(fcntl(fd, F_GETFD), -1, "closed");
}

Test(keypipe, all_else_is_refused)
{
    char text[256], zero[sizeof(struct app_keys)] = { 0 };
    struct error e;
    struct app_keys in = { 0 }, out;
    int fd = keypipe_new(&in, &e);
    ssize_t n = read(fd, text, sizeof text);
    close(fd);
    cr_assert_eq(n, 205);
    for (size_t cut = 0; cut < 205; cut += 41) {
        cr_assert_eq(keypipe_read(pipe_with(text, cut), &out, &e), -1, "%zu bytes", cut);
        cr_assert_eq(memcmp(&out, zero, sizeof out), 0, "nothing is left of it");
    }
    text[205] = '\n';
    cr_assert_eq(keypipe_read(pipe_with(text, 206), &out, &e), -1, "one too many");
    text[40] = ' ';
    cr_assert_eq(keypipe_read(pipe_with(text, 205), &out, &e), -1);
    text[40] = '\n';
    text[90] = '"';
    cr_assert_eq(keypipe_read(pipe_with(text, 205), &out, &e), -1);
    cr_assert(strstr(e.words, "line 3"), "%s", e.words);
}

/* ---- results -------------------------------------------------------------------- */

static void expect(struct results *r, const char *const *texts, uint64_t n)
{
    struct bytes *v;
    cr_assert_eq(results_take(r, &v), n);
    for (uint64_t i = 0; i < n; i++) {
        cr_assert(bytes_eq(v[i], bytes_of(texts[i])), "result %lu", (unsigned long)i);
        free((void *)v[i].p);
    }
    free(v);
}

Test(results, come_in_the_order_of_their_parts)
{
    struct results r;
    results_init(&r, 1000);
    results_accept(&r, 4, 2, 0, bytes_of("two"));
    results_write(&r, 4, 0, 1, 4, bytes_of("part 0"));
    results_write(&r, 4, 0, 1, 0, bytes_of("the "));
    results_write(&r, 4, 0, 0, 0, bytes_of("another attempt's"));
    results_accept(&r, 4, 0, 1, (struct bytes){ 0 });
    results_accept(&r, 4, 1, 0, (struct bytes){ 0 });
    results_accept(&r, 4, 2, 1, bytes_of("too late"));
    expect(&r, (const char *const[]){ "the part 0", "", "two" }, 3);
    expect(&r, NULL, 0);
    cr_assert_eq(r.bytes, 0);
    results_fini(&r);
}

Test(results, over_the_limit_nothing_is_kept)
{
    struct results r;
    results_init(&r, 8);
    results_accept(&r, 0, 0, 0, bytes_of("12345678"));
    cr_assert_not(r.full);
    results_write(&r, 0, 1, 0, 0, bytes_of("9"));
    cr_assert(r.full);
    cr_assert_eq(r.bytes, 8);
    results_reset(&r);
    cr_assert_not(r.full);
    results_write(&r, 0, 1, 0, UINT64_MAX - 20, bytes_of("far"));
    cr_assert(r.full);
    results_fini(&r);
}

Test(results, what_a_stage_gathered_for_nothing_is_forgotten)
{
    struct results r;
    results_init(&r, 8);
    results_write(&r, 3, 0, 0, 0, bytes_of("12345678"));
    results_forget(&r, 2);
    cr_assert_eq(r.bytes, 8);
    results_forget(&r, 3);
    cr_assert_eq(r.bytes, 0);
    results_accept(&r, 3, 0, 1, bytes_of("87654321"));
    cr_assert_not(r.full);
    expect(&r, (const char *const[]){ "87654321" }, 1);
    results_fini(&r);
}

/* ---- served blocks ---------------------------------------------------------------- */

Test(served, bytes_are_copied_and_cut_at_their_end)
{
    char bytes[8], source[] = "abcdef";
    struct served s = { 0 };
    struct served_block b = { .id = { { 1 } }, .bytes = { (uint8_t *)source, 6 } };
    cr_assert(served_add(&s, served_item_new(&b)));
    memset(source, 'x', 6);
    const struct served_item *item = served_find(&s, b.id);
    cr_assert_eq(served_read(item, 2, bytes, 8), 4);
    cr_assert_eq(memcmp(bytes, "cdef", 4), 0);
    cr_assert_eq(served_read(item, 6, bytes, 8), 0);
    cr_assert_eq(served_read(item, 7, bytes, 8), -EINVAL);
    cr_assert_null(served_find(&s, (struct block_id){ { 1, 0, 0, 0, 0, 0, 0, 0, 1 } }),
                   "the whole name counts");
    served_fini(&s);
}

Test(served, a_file_that_changed_is_not_served)
{
    char path[] = "/tmp/test-served-XXXXXX", bytes[8];
    struct served s = { 0 };
    int fd = mkstemp(path);
    cr_assert_eq(write(fd, "abcdef", 6), 6);
    struct names names = { 0 };
    struct error e;
    struct block_id id = { { 2 } };
    cr_assert_eq(names_add(&names, path, &e), 0, "%s", e.words);
    names_row(&names, 0)->block = id;
    served_add_files(&s, served_files_new(&names));
    cr_assert_eq(names.count, 0);
    const struct served_item *item = served_find(&s, id);
    cr_assert_not_null(item);
    cr_assert_eq(item, served_find(&s, id));
    cr_assert_null(served_find(&s, (struct block_id){ { 2, 0, 0, 0, 0, 0, 0, 0, 1 } }));
    cr_assert_eq(served_read(item, 1, bytes, 3), 3);
    cr_assert_eq(memcmp(bytes, "bcd", 3), 0);
    cr_assert_eq(write(fd, "g", 1), 1);
    cr_assert_eq(served_read(item, 1, bytes, 3), -ESTALE);
    unlink(path);
    cr_assert_eq(served_read(item, 1, bytes, 3), -ENOENT);
    close(fd);
    served_fini(&s);
}
