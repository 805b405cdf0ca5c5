/* test_compile.c - the cache of compiled jobs, with a compiler that only counts. */
#include "cli/cache.h"
#include "cli/compile.h"
#include "common/base/tree.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static char dir[64], source[96], header[96], calls[96];
static struct arena arena;
static struct error e;

static void write_text(const char *path, const char *text, mode_t mode)
{
    FILE *f = fopen(path, "w");
    cr_assert(f, "%s", path);
    fputs(text, f);
    fclose(f);
    cr_assert_eq(chmod(path, mode), 0);
}

/* A second ago or to come: what is older is told by time alone. */
static void age(const char *path, long seconds)
{
    struct timespec now, to[2];
    clock_gettime(CLOCK_REALTIME, &now);
    now.tv_sec += seconds;
    to[0] = to[1] = now;
    cr_assert_eq(utimensat(AT_FDCWD, path, to, 0), 0);
}

static void set_up(void)
{
    char script[1024], path[96];
    snprintf(dir, sizeof dir, "/tmp/ferro-compile-XXXXXX");
    cr_assert(mkdtemp(dir));
    snprintf(source, sizeof source, "%s/job.c", dir);
    snprintf(header, sizeof header, "%s/job.h", dir);
    snprintf(calls, sizeof calls, "%s/calls", dir);
    snprintf(path, sizeof path, "%s/cc", dir);
    snprintf(script, sizeof script,
             "#!/bin/sh\necho >> %s\n[ -e %s/broken ] && exit 1\nwhile [ $# -gt 0 ]; do case $1 in\n"
             "-o) echo object > $2; out=$2;;\n-MF) echo \"$out: %s %s\" > $2;;\nesac; shift; done\n",
             calls, dir, source, header);
    write_text(path, script, 0700);
    write_text(source, "int x;\n", 0600);
    write_text(header, "\n", 0600);
    age(source, -10);
    age(header, -10);
    setenv("CC", path, 1);
    setenv("HOME", dir, 1);
    unsetenv("XDG_CACHE_HOME");
}

static void tear_down(void)
{
    arena_fini(&arena);
    tree_remove(dir);
}

TestSuite(compile, .init = set_up, .fini = tear_down, .timeout = 60);

static long compiled(void)
{
    struct stat st;
    return stat(calls, &st) ? 0 : (long)st.st_size; /* a line of one byte a call */
}

static const char *cached(void)
{
    const char *path = compile_cached(&arena, source, &e);
    cr_assert_not_null(path, "%s", e.words);
    cr_assert_eq(access(path, R_OK), 0);
    return path;
}

Test(compile, once_until_something_it_was_made_of_changes)
{
    const char *first = cached();
    cr_assert_str_eq(cached(), first);
    cr_assert_eq(compiled(), 1);
    age(header, 10);
    cr_assert_str_eq(cached(), first);
    cr_assert_eq(compiled(), 2);
    write_text(source, "int y;\n", 0600);
    cr_assert_str_neq(cached(), first);
    cr_assert_eq(compiled(), 3);
}

Test(compile, leaves_nothing_of_what_failed)
{
    char path[96], command[160];
    snprintf(path, sizeof path, "%s/broken", dir);
    write_text(path, "", 0600);
    cr_assert_null(compile_cached(&arena, source, &e));
    cr_assert(strstr(e.words, "job.c"), "%s", e.words);
    snprintf(command, sizeof command, "[ -z \"$(ls -A %s/.cache/ferro)\" ]", dir);
    cr_assert_eq(system(command), 0);
}

Test(compile, a_half_written_list_of_files_is_not_looked_at)
{
    char *list = arena_strdup(&arena, cached());
    strcpy(strrchr(list, '.'), ".d");
    write_text(list, "", 0600);
    cached();
    cr_assert_eq(compiled(), 2);
}

Test(compile, keeps_jobs_only_where_nobody_else_may_write)
{
    char cache[96];
    cached();
    snprintf(cache, sizeof cache, "%s/.cache/ferro", dir);
    cr_assert_eq(chmod(cache, 0777), 0);
    cr_assert_null(compile_cached(&arena, source, &e));
    cr_assert(strstr(e.words, "chmod 700"), "%s", e.words);
    if (geteuid() == 0) { /* only root can give it to another */
        cr_assert_eq(chmod(cache, 0700), 0);
        cr_assert_eq(chown(cache, 12345, 12345), 0);
        cr_assert_null(compile_cached(&arena, source, &e));
        cr_assert(strstr(e.words, "belongs to uid 12345"), "%s", e.words);
    }
}

Test(compile, keeps_so_many_jobs_those_used_last)
{
    char path[128], cache[80];
    snprintf(cache, sizeof cache, "%s/.cache/ferro", dir);
    const char *first = cached();
    age(first, -3600);
    for (int i = 0; i < CACHE_JOBS_MAX; i++) {
        snprintf(path, sizeof path, "%s/%032x.so", cache, i);
        write_text(path, "object", 0600);
        age(path, -7200 + i);
        snprintf(path, sizeof path, "%s/%032x.d", cache, i);
        write_text(path, "x: y", 0600);
    }
    snprintf(path, sizeof path, "%s/%032x.so.123", cache, 7);
    write_text(path, "half an object", 0600);
    age(path, -7200);
    cache_trim(cache);
    cr_assert(access(path, F_OK), "a killed compiler's file is left");
    cr_assert_eq(access(first, F_OK), 0, "it was used last");
    snprintf(path, sizeof path, "%s/%032x.d", cache, 0);
    cr_assert(access(path, F_OK), "the one used least stays");
    snprintf(path, sizeof path, "%s/%032x.so", cache, 1);
    cr_assert_eq(access(path, F_OK), 0, "one was too many");
    cr_assert_eq(truncate(path, CACHE_BYTES_MAX), 0);
    cache_used(path); /* what was used before it doesn't fit any more */
    cache_trim(cache);
    cr_assert_eq(access(path, F_OK), 0);
    cr_assert(access(first, F_OK), "over all bytes");
}

Test(compile, without_a_home_its_folder_is_named_by_its_owner)
{
    char own[64];
    unsetenv("HOME");
    snprintf(own, sizeof own, "/tmp/ferro-cache-%u/", geteuid());
    const char *path = cached();
    cr_assert_eq(strncmp(path, own, strlen(own)), 0, "%s", path);
    unlink(path);
    strcpy(strrchr((char *)path, '.'), ".d");
    unlink(path);
}

Test(compile, tells_which_compiler_is_missing)
{
    setenv("CC", "/nowhere/cc", 1);
    setenv("CXX", "/nowhere/c++", 1);
    cr_assert_eq(compile_to("job.c", "/dev/null", NULL, &e), -1);
    cr_expect(strstr(e.words,
                     "/nowhere/cc can't be started (a C compiler is needed: apt-get install gcc libc6-dev)"),
              "%s", e.words);
    cr_assert_eq(compile_to("job.cc", "/dev/null", NULL, &e), -1);
    cr_expect(
        strstr(e.words, "/nowhere/c++ can't be started (a C++ compiler is needed: apt-get install g++)"),
        "%s", e.words);
}

Test(compile, tells_what_is_no_job)
{
    cr_assert_null(compile_cached(&arena, header, &e));
    cr_assert_eq(e.code, ENOEXEC);
    cr_assert(is_source("a.cc") && is_source("b/a.cpp") && !is_source("a.c/b") && !is_source("a.so"));
}
