/* test_staging.c - saved output on a real folder: what may be replaced, who may commit, what stays after a failure. */
#include "driver/staging.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char root[64], out[96];

static void set_up(void)
{
    snprintf(root, sizeof root, "/tmp/test-staging-XXXXXX");
    cr_assert(mkdtemp(root));
    snprintf(out, sizeof out, "%s/out", root);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st, (void)type, (void)at;
    return remove(path);
}

static void tear_down(void)
{
    nftw(root, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

TestSuite(staging, .init = set_up, .fini = tear_down);

static struct staging *opened(uint64_t app, bool overwrite)
{
    struct error e;
    struct staging *s = staging_new(out, app, overwrite, &e);
    cr_assert(s, "%s", e.words);
    return s;
}

static void put(struct staging *s, uint32_t part, uint32_t attempt, const char *text)
{
    cr_assert_eq(staging_write(s, part, attempt, 0, bytes_of(text)), (int64_t)strlen(text));
    cr_assert_eq(staging_sync(s, part, attempt), 0);
}

static char *text_of(const char *name)
{
    static char text[256];
    char path[160];
    snprintf(path, sizeof path, "%s/%s", out, name);
    int fd = open(path, O_RDONLY);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (fd >= 0)
        close(fd);
    text[n < 0 ? 0 : n] = 0;
    return n < 0 ? NULL : text;
}

static void write_file(const char *name, const char *text)
{
    char path[160];
    mkdir(out, 0755);
    snprintf(path, sizeof path, "%s/%s", out, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    cr_assert(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
}

static int count(void)
{
    int n = 0;
    DIR *d = opendir(out);
    while (d && readdir(d))
        n++;
    if (d)
        closedir(d);
    return d ? n - 2 : -1;
}

static void commit_one(uint64_t app, bool overwrite, const char *text)
{
    struct staging *s = opened(app, overwrite);
    put(s, 0, 0, text);
    cr_assert_eq(staging_commit(s, &(struct sched_winner){ 0, 0 }, 1), 0);
    staging_free(&s);
}

Test(staging, commits_exactly_the_winners)
{
    struct staging *s = opened(1, false);
    put(s, 0, 0, "loser");
    put(s, 0, 1, "zero");
    put(s, 1, 0, "one");
    cr_assert_null(text_of("part-00000"), "nothing before the commit");
    const struct sched_winner w[] = { { 0, 1 }, { 1, 0 } };
    cr_assert_eq(staging_commit(s, w, 2), 0);
    cr_assert_eq(staging_commit(s, w, 2), 0, "again: nothing changes");
    staging_free(&s);
    cr_assert_str_eq(text_of("part-00000"), "zero");
    cr_assert_str_eq(text_of("part-00001"), "one");
    cr_assert_str_eq(text_of("_SUCCESS"), "");
    cr_assert_eq(count(), 3, "the staging folder is gone");
}

Test(staging, a_commit_that_failed_half_way_is_repeated)
{
    struct staging *s = opened(1, false);
    put(s, 0, 0, "zero");
    const struct sched_winner w[] = { { 0, 0 }, { 1, 0 } };
    cr_assert_eq(staging_commit(s, w, 2), -ENOENT);
    cr_assert_null(text_of("_SUCCESS"));
    put(s, 1, 0, "one");
    cr_assert_eq(staging_commit(s, w, 2), 0);
    staging_free(&s);
    cr_assert_str_eq(text_of("part-00000"), "zero");
    cr_assert_str_eq(text_of("part-00001"), "one");
}

Test(staging, what_exists_is_an_error)
{
    struct error e;
    commit_one(1, false, "old");
    cr_assert_null(staging_new(out, 2, false, &e));
    cr_assert_eq(e.code, EEXIST);
    cr_assert(strstr(e.words, "--overwrite"), "%s", e.words);
    cr_assert_str_eq(text_of("part-00000"), "old");
    cr_assert_eq(count(), 2);
}

Test(staging, a_stranger_is_never_overwritten)
{
    struct error e;
    write_file("notes.txt", "mine");
    cr_assert_null(staging_new(out, 1, true, &e));
    cr_assert(strstr(e.words, "notes.txt"), "%s", e.words);
    cr_assert_str_eq(text_of("notes.txt"), "mine");
    cr_assert_eq(count(), 1);
}

Test(staging, a_file_is_no_folder)
{
    struct error e;
    int fd = open(out, O_WRONLY | O_CREAT, 0644);
    close(fd);
    cr_assert_null(staging_new(out, 1, true, &e));
    cr_assert_eq(access(out, F_OK), 0);
}

Test(staging, overwriting_happens_at_the_commit)
{
    write_file("part-00000", "old");
    write_file("part-00001", "old too");
    write_file("_SUCCESS", "");
    struct staging *s = opened(1, true);
    put(s, 0, 0, "new");
    cr_assert_str_eq(text_of("part-00000"), "old");
    cr_assert_not_null(text_of("_SUCCESS"));
    cr_assert_eq(staging_commit(s, &(struct sched_winner){ 0, 0 }, 1), 0);
    staging_free(&s);
    cr_assert_str_eq(text_of("part-00000"), "new");
    cr_assert_null(text_of("part-00001"), "the old output has more parts: they go");
    cr_assert_eq(count(), 2);
}

Test(staging, a_failed_job_leaves_what_was_there)
{
    write_file("part-00000", "old");
    write_file("_SUCCESS", "");
    struct staging *s = opened(1, true);
    put(s, 0, 0, "new");
    staging_free(&s);
    cr_assert_str_eq(text_of("part-00000"), "old");
    cr_assert_eq(count(), 2);
}

Test(staging, a_failed_commit_puts_back_what_was_there)
{
    write_file("part-00000", "old");
    write_file("_SUCCESS", "");
    struct staging *s = opened(1, true);
    put(s, 0, 0, "new");
    const struct sched_winner w[] = { { 0, 0 }, { 1, 0 } };
    cr_assert_eq(staging_commit(s, w, 2), -ENOENT);
    cr_assert_str_eq(text_of("part-00000"), "new");
    cr_assert_null(text_of("_SUCCESS"), "no reader takes it for whole");
    staging_free(&s);
    cr_assert_str_eq(text_of("part-00000"), "old");
    cr_assert_not_null(text_of("_SUCCESS"));
    cr_assert_eq(count(), 2);
}

Test(staging, a_folder_made_for_nothing_goes)
{
    struct staging *s = opened(1, false);
    put(s, 0, 0, "x");
    staging_free(&s);
    cr_assert_eq(count(), -1);
}

Test(staging, an_empty_folder_stays)
{
    cr_assert_eq(mkdir(out, 0755), 0);
    struct staging *s = opened(1, false);
    staging_free(&s);
    cr_assert_eq(count(), 0);
}

Test(staging, two_at_once_are_one_too_many)
{
    struct error e;
    struct staging *first = opened(1, false);
    cr_assert_null(staging_new(out, 2, false, &e));
    cr_assert_eq(e.code, EBUSY);
    put(first, 0, 0, "x");
    cr_assert_eq(staging_commit(first, &(struct sched_winner){ 0, 0 }, 1), 0);
    staging_free(&first);
}

Test(staging, nobody_overwrites_what_a_living_driver_writes)
{
    struct error e;
    struct staging *first = opened(1, true);
    cr_assert_null(staging_new(out, 2, true, &e));
    cr_assert_eq(e.code, EBUSY);
    cr_assert(strstr(e.words, "another job is writing there: app 1"), "%s", e.words);
    put(first, 0, 0, "x");
    cr_assert_eq(staging_commit(first, &(struct sched_winner){ 0, 0 }, 1), 0);
    staging_free(&first);
}

/* As where the file system has no locks: the token has the same bytes, and nobody's lock. */
static void unlock(const char *folder)
{
    char path[200], bytes[ID_BYTES];
    snprintf(path, sizeof path, "%s/_ferro/%s/token", out, folder);
    int fd = open(path, O_RDONLY);
    cr_assert_eq(read(fd, bytes, sizeof bytes), ID_BYTES);
    close(fd);
    unlink(path);
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0644);
    cr_assert_eq(write(fd, bytes, sizeof bytes), ID_BYTES);
    close(fd);
}

static struct staging *unlocked(uint64_t app)
{
    char folder[24];
    struct staging *s = opened(app, false);
    snprintf(folder, sizeof folder, "%d", (int)app);
    unlock(folder);
    return s;
}

Test(staging, a_zombie_that_was_fenced_commits_nothing)
{
    struct staging *zombie = unlocked(1), *heir = opened(2, true);
    cr_assert_lt(staging_write(zombie, 0, 0, 0, bytes_of("zombie")), 0);
    cr_assert_eq(staging_commit(zombie, &(struct sched_winner){ 0, 0 }, 1), -ENOENT);
    put(heir, 0, 0, "heir");
    staging_free(&zombie);
    cr_assert_eq(staging_commit(heir, &(struct sched_winner){ 0, 0 }, 1), 0);
    staging_free(&heir);
    cr_assert_str_eq(text_of("part-00000"), "heir");
    cr_assert_eq(count(), 2);
}

Test(staging, a_zombie_of_the_same_number_is_told_by_its_token)
{
    struct staging *zombie = unlocked(1), *heir = opened(1, true);
    put(heir, 0, 0, "heir");
    cr_assert_eq(staging_commit(zombie, &(struct sched_winner){ 0, 0 }, 1), -ESTALE);
    staging_free(&zombie);
    cr_assert_eq(staging_commit(heir, &(struct sched_winner){ 0, 0 }, 1), 0);
    staging_free(&heir);
    cr_assert_str_eq(text_of("part-00000"), "heir");
}

Test(staging, a_zombie_fenced_in_mid_commit_spoils_nothing)
{
    struct staging *zombie = unlocked(1);
    put(zombie, 0, 0, "zombie");
    const struct sched_winner w[] = { { 0, 0 }, { 1, 0 } };
    cr_assert_eq(staging_commit(zombie, w, 2), -ENOENT, "begun, and stopped half way");
    struct staging *heir = opened(1, true);
    put(heir, 0, 0, "heir");
    put(heir, 1, 0, "heir too");
    cr_assert_eq(staging_commit(heir, w, 2), 0);
    staging_free(&heir);
    cr_assert_lt(staging_commit(zombie, w, 2), 0);
    staging_free(&zombie);
    cr_assert_str_eq(text_of("part-00000"), "heir");
    cr_assert_str_eq(text_of("part-00001"), "heir too");
    cr_assert_eq(count(), 3);
}

Test(staging, what_a_dead_driver_left_is_removed)
{
    char path[160];
    write_file("x", "");
    snprintf(path, sizeof path, "%s/x", out);
    unlink(path);
    snprintf(path, sizeof path, "%s/_ferro", out);
    mkdir(path, 0755);
    snprintf(path, sizeof path, "%s/_ferro/1", out);
    mkdir(path, 0755);
    write_file("_ferro/1/token", "0123456789abcdef");
    write_file("_ferro/1/0.0", "left");
    struct staging *s = opened(1, false);
    cr_assert_null(text_of("_ferro/1/0.0"));
    cr_assert_eq(memcmp(text_of("_ferro/1/token"), staging_token(s), ID_BYTES), 0);
    staging_free(&s);
    cr_assert_eq(count(), 0);
}
