/* test_mains.c - the programs themselves: what they are wrongly told is one line, and exit 2. */
#include "common/base/bytes.h"
#include "common/base/version.h"

#include <criterion/criterion.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

TestSuite(mains, .timeout = 60);

#define EXECUTOR "ferro-executor --manager 127.0.0.1:1 --key /nonexistent "

/* B/tests/unit is us: the programs are in B/bin. */
static void command_of(struct buf *out, const char *line)
{
    char path[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
    cr_assert_gt(n, 0);
    path[n] = 0;
    for (int i = 0; i < 2; i++)
        *strrchr(path, '/') = 0;
    buf_printf(out, "exec timeout 20 '%s/bin/'%s 2>&1 >/dev/null", path, line);
}

/* Its exit code; what it says on stderr to `said`. */
static int leaves(const char *line, char *said, size_t size)
{
    struct buf command = { 0 };
    command_of(&command, line);
    FILE *f = popen((char *)command.p, "r");
    cr_assert(f);
    said[fread(said, 1, size - 1, f)] = 0;
    int status = pclose(f);
    buf_fini(&command);
    cr_assert(WIFEXITED(status), "%s: %s", line, said);
    return WEXITSTATUS(status);
}

static void refuses(const char *line, const char *words)
{
    char said[4096];
    int code = leaves(line, said, sizeof said);
    char *end = strchr(said, '\n');
    cr_expect_eq(code, 2, "%.200s: exit %d, %s", line, code, said);
    cr_expect(strstr(said, words), "%.200s: '%s' where '%s' was to be", line, said, words);
    cr_expect(end && end[1] == 0, "%.200s: more than a line: %s", line, said);
}

static void executor_refuses(const char *option, size_t length, const char *words)
{
    char line[4096];
    int n = snprintf(line, sizeof line, EXECUTOR "%s", option);
    cr_assert_lt(n + length, sizeof line);
    memset(line + n, 'x', length);
    line[n + (int)length] = 0;
    refuses(line, words);
}

/* What fits gets as far as the key, which is none. */
static void executor_takes(const char *option, size_t length)
{
    char line[4096], said[4096];
    int n = snprintf(line, sizeof line, EXECUTOR "%s", option);
    memset(line + n, 'x', length);
    line[n + (int)length] = 0;
    cr_expect_eq(leaves(line, said, sizeof said), 1);
    cr_expect(strstr(said, "/nonexistent"), "%s: %s", option, said);
}

Test(mains, an_executor_takes_only_texts_that_the_protocol_has_room_for)
{
    executor_refuses("--host ", 257, "--host: 257 bytes");
    executor_refuses("--host-id ", 65, "--host-id: 65 bytes");
    executor_refuses("--labels ", 513, "--labels: 513 bytes");
    executor_refuses("--dir /none/", 800, "--dir: 806 bytes");
    executor_refuses("--disk /none/", 443, "--disk: 449 bytes");
    executor_takes("--host ", 256);
    executor_takes("--host-id ", 64);
    executor_takes("--labels ", 512);
    executor_takes("--dir /none/", 442);
}

Test(mains, an_executor_gives_no_slot_less_than_it_needs)
{
    executor_refuses("--mem 16M --slots 4096", 0, "--mem: 16 MiB for 4096 slots");
    executor_refuses("--mem 31M --slots 2", 0, "--mem: 31 MiB for 2 slots");
    executor_takes("--mem 32M --slots 2", 0);
    executor_takes("--mem 16M", 0); /* as many slots as fit */
}

Test(mains, events_go_to_a_descriptor_that_is_open_for_writing)
{
    refuses(EXECUTOR "--events 99", "--events: descriptor 99");
    refuses(EXECUTOR "--events 0 </dev/null", "--events: descriptor 0");
    refuses("ferro-manager --keys /nonexistent --events 99", "--events: descriptor 99");
    refuses("ferro-driver serve --key /nonexistent --events 99", "--events: descriptor 99");
    refuses("ferro-driver run --manager 127.0.0.1:1 --app 1 --keys-fd 98 --events 99 x.so",
            "--events: descriptor 99");
    executor_takes("--events 1", 0);
}

static void says(const char *line, const char *words)
{
    struct buf command = { 0 };
    char said[4096];
    command_of(&command, line);
    command.n -= strlen(" 2>&1 >/dev/null");
    command.p[command.n] = 0;
    FILE *f = popen((char *)command.p, "r");
    cr_assert(f);
    said[fread(said, 1, sizeof said - 1, f)] = 0;
    cr_expect_eq(pclose(f), 0, "%s: %s", line, said);
    cr_expect_eq(strncmp(said, words, strlen(words)), 0, "%s: '%s' where '%s' was to be", line, said, words);
    buf_fini(&command);
}

Test(mains, all_say_what_they_are)
{
    static const char *const programs[] = { "ferro-manager", "ferro-executor", "ferro-host", "ferro-driver" };
    for (size_t i = 0; i < sizeof programs / sizeof *programs; i++) {
        char line[64], version[64];
        snprintf(line, sizeof line, "%s --version", programs[i]);
        snprintf(version, sizeof version, "%s %s\n", programs[i], FERRO_VERSION);
        says(line, version);
    }
    says("ferro-host --help", "ferro-host: the process that runs an application's tasks");
    refuses("ferro-host nonsense", "ferro-executor starts it");
}

Test(mains, an_executors_default_folders_are_its_users_own)
{
    char dir[64];
    snprintf(dir, sizeof dir, "/var/tmp/ferro-%u", (unsigned)geteuid());
    executor_takes("", 0);
    cr_expect_eq(access(dir, F_OK), 0, "%s", dir);
}
