/* test_keys.c - key files: made once, read back, refused when others could read them. */
#include "common/keys/keys.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[64];

static void setup(void)
{
    struct error e;
    snprintf(dir, sizeof dir, "/tmp/ferro-keys-XXXXXX");
    cr_assert(mkdtemp(dir));
    cr_assert_eq(keys_init(dir, &e), 0, "%s", e.words);
}

static void teardown(void)
{
    char command[96];
    snprintf(command, sizeof command, "rm -rf %s", dir);
    cr_assert_eq(system(command), 0);
}

TestSuite(keys, .init = setup, .fini = teardown);

static const char *in_dir(const char *name)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}

static void count(void *user, const struct key_file *key)
{
    int *roles = user;
    roles[key->role == ROLE_JOIN ? 0 : key->role == ROLE_SERVICE ? 1 : key->role == ROLE_USER ? 2 : 3]++;
}

Test(keys, are_made_once)
{
    struct error e;
    struct key_file a, b;
    cr_assert_eq(key_load(in_dir("users/user.key"), &a, &e), 0, "%s", e.words);
    cr_assert_eq(keys_init(dir, &e), 0, "%s", e.words);
    cr_assert_eq(key_load(in_dir("users/user.key"), &b, &e), 0);
    cr_assert_arr_eq(&a, &b, sizeof a);
    cr_assert_eq(a.role, ROLE_USER);
    cr_assert_str_eq(a.name, "user");
}

Test(keys, carry_the_managers_public_key)
{
    struct error e;
    struct key_file manager, join;
    cr_assert_eq(key_load(in_dir("manager.key"), &manager, &e), 0);
    cr_assert_eq(key_load(in_dir("join.key"), &join, &e), 0);
    cr_assert_arr_eq(join.manager, manager.pair.public_key, KEY_BYTES);
}

Test(keys, authorized_lists_each_role)
{
    struct error e;
    int roles[4] = { 0 };
    cr_assert_eq(keys_add_user(dir, "alice", false, &e), 0, "%s", e.words);
    cr_assert_eq(keys_authorized(dir, count, roles, &e), 0, "%s", e.words);
    cr_assert_eq(roles[0], 1);
    cr_assert_eq(roles[1], 1);
    cr_assert_eq(roles[2], 2);
    cr_assert_eq(roles[3], 1);
    cr_assert_eq(keys_add_user(dir, "alice", false, &e), -1);
    cr_assert_eq(keys_add_user(dir, "../alice", false, &e), -1);
}

Test(keys, refuses_what_others_may_read)
{
    struct error e;
    struct key_file k;
    cr_assert_eq(chmod(in_dir("join.key"), 0640), 0);
    cr_assert_eq(key_load(in_dir("join.key"), &k, &e), -1);
    cr_assert(strstr(e.words, "chmod 600"), "%s", e.words);
}

Test(keys, refuses_nonsense)
{
    struct error e;
    struct key_file k;
    int fd = open(in_dir("bad.key"), O_WRONLY | O_CREAT, 0600);
    cr_assert(write(fd, "key\n    public = \"short\"\n", 25) == 25);
    close(fd);
    cr_assert_eq(key_load(in_dir("bad.key"), &k, &e), -1);
    cr_assert_eq(key_load(in_dir("none.key"), &k, &e), -1);
    cr_assert_eq(key_load(in_dir("manager.pub"), &k, &e), -1);
    cr_assert(strstr(e.words, "holds no secret"), "%s", e.words);
    cr_assert_eq(key_load("LICENSE", &k, &e), -1);
    cr_assert(strstr(e.words, "not a whole key file"), "%s", e.words);
    cr_assert_eq(key_load(dir, &k, &e), -1);
}

Test(keys, text_goes_round)
{
    struct keypair pair;
    uint8_t back[KEY_BYTES];
    char text[KEY_TEXT_BYTES];
    keypair_make(&pair);
    cr_assert_eq(key_parse(key_text(pair.public_key, text), back), 0);
    cr_assert_arr_eq(back, pair.public_key, KEY_BYTES);
    cr_assert_eq(key_parse("short", back), -1);
}
