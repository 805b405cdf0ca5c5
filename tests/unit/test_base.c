/* test_base.c - errors, bytes, arenas, clocks, log lines and events. */
#include "common/base/arena.h"
#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/base/log.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

TestSuite(base);

/* ---- error ------------------------------------------------------------------- */

Test(base, errors)
{
    struct error e;
    cr_assert_eq(error_set(&e, EINVAL, "%s %d", "bad", 3), -1);
    cr_assert_eq(e.code, EINVAL);
    cr_assert_str_eq(e.words, "bad 3");
    cr_assert_eq(error_prefix(&e, "%s", "ctx"), -1);
    cr_assert_str_eq(e.words, "ctx: bad 3");
    errno = ENOENT;
    cr_assert_eq(error_sys(&e, "open %s", "/x"), -1);
    cr_assert_eq(e.code, ENOENT);
    cr_assert_str_eq(e.words, "open /x: No such file or directory");
    cr_assert_eq(error_set(NULL, 1, "x"), -1);
    cr_assert_eq(error_sys(NULL, "x"), -1);
    cr_assert_eq(error_prefix(NULL, "x"), -1);
}

Test(base, overlong_errors_are_cut)
{
    struct error e;
    char text[2 * ERROR_WORDS_MAX];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = 0;
    error_set(&e, 0, "%s", text);
    cr_assert_eq(strlen(e.words), ERROR_WORDS_MAX - 1);
    error_prefix(&e, "abc");
    cr_assert_eq(strlen(e.words), ERROR_WORDS_MAX - 1);
    cr_assert_eq(strncmp(e.words, "abc: xxx", 8), 0);
    error_prefix(&e, "%s", text);
    cr_assert_lt(strlen(e.words), ERROR_WORDS_MAX);
    errno = EIO;
    error_sys(&e, "%s", text);
    cr_assert_eq(strlen(e.words), ERROR_WORDS_MAX - 1);
}

/* ---- bytes ------------------------------------------------------------------- */

Test(base, bytes_compare)
{
    struct bytes a = bytes_of("ab"), b = bytes_of("abc"), c = bytes_of("b"), none = { 0 };
    cr_assert(bytes_eq(a, bytes_of("ab")) && !bytes_eq(a, b) && bytes_eq(none, bytes_of("")));
    cr_assert(bytes_cmp(a, b) < 0 && bytes_cmp(c, b) > 0 && bytes_cmp(a, a) == 0 && bytes_cmp(none, a) < 0);
    cr_assert(bytes_cmp(bytes_of("\xff"), bytes_of("a")) > 0);
}

Test(base, bytes_as_text)
{
    char out[8];
    cr_assert_str_eq(bytes_text((struct bytes){ (const uint8_t *)"a\n\0\x1b\x7f", 5 }, out, sizeof out),
                     "a????");
    cr_assert_str_eq(bytes_text(bytes_of("0123456789"), out, sizeof out), "0123456");
    cr_assert_str_eq(bytes_text(bytes_of("0123456789"), out, 1), "");
}

Test(base, utf8)
{
    static const char *const good[] = { "",
                                        "a",
                                        "\x7f",
                                        "\xc2\x80",
                                        "\xdf\xbf",
                                        "\xe0\xa0\x80",
                                        "\xed\x9f\xbf",
                                        "\xee\x80\x80",
                                        "\xf0\x90\x80\x80",
                                        "\xf4\x8f\xbf\xbf" };
    static const char *const bad[] = {
        "\x80",         "\xc0\x80",         "\xc1\xbf",         "\xc2",
        "\xc2\x41",     "\xe0\x9f\xbf",     "\xed\xa0\x80",     "\xe2\x82",
        "\xe2\x82\x41", "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80",
        "\xff",         "\xf0\x9f\x94"
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        cr_assert(bytes_utf8(bytes_of(good[i])), "%zu", i);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cr_assert_not(bytes_utf8(bytes_of(bad[i])), "%zu", i);
        char behind[16];
        snprintf(behind, sizeof behind, "ok%s", bad[i]);
        cr_assert_eq(bytes_utf8_run((const uint8_t *)behind, (uint32_t)strlen(behind)), 2);
    }
    cr_assert_not(bytes_utf8((struct bytes){ (const uint8_t *)"a\0b", 3 }));
}

Test(base, buffers_grow)
{
    struct buf b = { 0 };
    buf_put(&b, NULL, 0);
    for (int i = 0; i < 1000; i++)
        buf_printf(&b, "%d,", i);
    cr_assert_eq(b.n, 3890);
    cr_assert_eq(memcmp(b.p, "0,1,2,3,", 8), 0);
    cr_assert_eq(memcmp(b.p + b.n - 4, "999,", 4), 0);
    buf_reset(&b);
    memcpy(buf_grow(&b, 100000), "xyz", 3);
    cr_assert_eq(b.n, 0);
    b.n = 3;
    buf_put(&b, "w", 1);
    cr_assert_eq(memcmp(b.p, "xyzw", 4), 0);
    char big[5000];
    memset(big, 'y', sizeof big - 1);
    big[sizeof big - 1] = 0;
    buf_fini(&b);
    buf_printf(&b, "%s", big);
    cr_assert_eq(b.n, sizeof big - 1);
    buf_fini(&b);
    cr_assert(b.p == NULL && b.cap == 0);
}

/* ---- arena ------------------------------------------------------------------- */

Test(base, arena_memory_is_aligned_zeroed_and_apart)
{
    struct arena a = { 0 };
    for (int round = 0; round < 3; round++) {
        uint8_t *last = NULL;
        for (size_t n = 0; n < 3000; n += 7) {
            uint8_t *p = arena_alloc(&a, n);
            cr_assert_eq((uintptr_t)p % 16, 0);
            for (size_t i = 0; i < n; i++)
                cr_assert_eq(p[i], 0);
            memset(p, 0xAA, n);
            cr_assert(p != last);
            last = n > 0 ? p : last;
        }
        cr_assert_geq(a.total, 600000);
        arena_reset(&a);
        cr_assert_eq(a.total, 0);
    }
    cr_assert_str_eq(arena_strdup(&a, "text"), "text");
    cr_assert(bytes_eq(arena_bytes(&a, bytes_of("abc")), bytes_of("abc")));
    cr_assert_eq(arena_bytes(&a, (struct bytes){ 0 }).n, 0);
    arena_fini(&a);
}

Test(base, an_idle_arena_is_small)
{
    struct arena a = { 0 };
    memset(arena_alloc(&a, 16 << 20), 1, 16 << 20);
    arena_reset(&a);
    cr_assert_leq(a.cap, ARENA_KEEP_MAX);
    void *first = arena_alloc(&a, 100);
    arena_reset(&a);
    cr_assert_eq(arena_alloc(&a, 100), first, "a reset arena uses its block again");
    arena_fini(&a);
    arena_reset(&a);
}

/* ---- clock ------------------------------------------------------------------- */

Test(base, clocks_run_forwards)
{
    uint64_t before = clock_now_ns();
    for (int i = 0; i < 1000; i++) {
        uint64_t now = clock_now_ns();
        cr_assert_geq(now, before);
        before = now;
    }
    cr_assert_gt(clock_unix_ms(), 1700000000000u);
}

/* ---- log --------------------------------------------------------------------- */

/* What log_line() wrote to stderr while `say` ran. */
static char *logged(void (*say)(void))
{
    static char text[16384];
    int fds[2], kept = dup(STDERR_FILENO);
    cr_assert_eq(pipe(fds), 0);
    dup2(fds[1], STDERR_FILENO);
    close(fds[1]);
    say();
    dup2(kept, STDERR_FILENO);
    close(kept);
    ssize_t n, sum = 0;
    while ((n = read(fds[0], text + sum, sizeof text - 1 - (size_t)sum)) > 0)
        sum += n;
    close(fds[0]);
    text[sum] = 0;
    return text;
}

static void say_plainly(void)
{
    log_init("manager", LOG_INFO, -1);
    log_line(LOG_INFO, "words app=%d", 7);
    log_line(LOG_DEBUG, "not at this level");
}

Test(base, a_log_line)
{
    const char *line = logged(say_plainly);
    cr_assert_eq(strlen(line), strlen("2026-11-23T20:19:25.123Z info manager words app=7\n"), "%s", line);
    cr_assert(line[4] == '-' && line[10] == 'T' && line[19] == '.' && line[23] == 'Z');
    cr_assert_str_eq(line + 24, " info manager words app=7\n");
}

static void say_badly(void)
{
    log_init("manager", LOG_DEBUG, -1);
    log_line(LOG_WARN, "a\nb\x1b[31m\r\x7f\xff\xc2\x9b caf\xc3\xa9 \xe2\x82");
}

Test(base, peers_words_forge_nothing)
{
    cr_assert_str_eq(logged(say_badly) + 24,
                     " warn manager a\\nb\\x1b[31m\\x0d\\x7f\\xff\\xc2\\x9b caf\xc3\xa9 \\xe2\\x82\n");
}

static void say_much(void)
{
    char text[9000];
    memset(text, '\n', sizeof text - 1);
    text[sizeof text - 1] = 0;
    log_init("manager", LOG_DEBUG, -1);
    log_line(LOG_ERROR, "%s", text);
}

Test(base, long_lines_are_cut)
{
    const char *line = logged(say_much);
    cr_assert_leq(strlen(line), 4096);
    cr_assert_gt(strlen(line), 4000);
    cr_assert_eq(strchr(line, '\n'), line + strlen(line) - 1);
}

Test(base, log_levels)
{
    enum log_level level;
    cr_assert(log_level_parse("warn", &level) == 0 && level == LOG_WARN);
    cr_assert(log_level_parse("debug", &level) == 0 && level == LOG_DEBUG);
    cr_assert_eq(log_level_parse("loud", &level), -1);
}

/* ---- events ------------------------------------------------------------------ */

static int event_pipe(int fds[2])
{
    cr_assert_eq(pipe(fds), 0);
    log_init("manager", LOG_INFO, fds[1]);
    return fds[0];
}

static json_t *read_event(FILE *in)
{
    char line[8192];
    cr_assert_not_null(fgets(line, sizeof line, in));
    json_error_t why;
    json_t *o = json_loads(line, JSON_REJECT_DUPLICATES, &why);
    cr_assert_not_null(o, "%s in %s", why.text, line);
    return o;
}

Test(base, an_event_is_a_line_of_json)
{
    int fds[2];
    FILE *in = fdopen(event_pipe(fds), "r");
    event_emit("task.failed", "app", 'u', UINT64_C(1) << 53, "delta", 'i', INT64_C(-5), "words", 's',
               "a \"q\" \\ \n\t\x01 caf\xc3\xa9 \xff \xe2\x82", "none", 's', (const char *)NULL, NULL);
    json_t *o = read_event(in);
    cr_assert_str_eq(json_string_value(json_object_get(o, "event")), "task.failed");
    cr_assert_str_eq(json_string_value(json_object_get(o, "service")), "manager");
    cr_assert(json_is_integer(json_object_get(o, "ms")));
    cr_assert_eq(json_integer_value(json_object_get(o, "app")), 1ll << 53);
    cr_assert_eq(json_integer_value(json_object_get(o, "delta")), -5);
    cr_assert_str_eq(json_string_value(json_object_get(o, "words")),
                     "a \"q\" \\ \n\t\x01 caf\xc3\xa9 \xef\xbf\xbd \xef\xbf\xbd\xef\xbf\xbd");
    cr_assert_str_eq(json_string_value(json_object_get(o, "none")), "");
    json_decref(o);
    fclose(in);
}

Test(base, long_events_stay_whole)
{
    int fds[2];
    FILE *in = fdopen(event_pipe(fds), "r");
    for (size_t n = 3900; n < 4200; n++) {
        char text[5000];
        memset(text, n % 2 ? 'x' : '"', n);
        text[n] = 0;
        event_emit("long", "text", 's', text, "after", 'u', UINT64_MAX / 2, NULL);
        json_decref(read_event(in));
    }
    fclose(in);
}

static void *emit_many(void *arg)
{
    for (uint64_t i = 0; i < 500; i++)
        event_emit("many", "thread", 'u', (uint64_t)(uintptr_t)arg, "i", 'u', i, NULL);
    return NULL;
}

Test(base, events_of_several_threads_do_not_mix)
{
    int fds[2];
    FILE *in = fdopen(event_pipe(fds), "r");
    pthread_t threads[4];
    uint64_t next[4] = { 0 };
    for (uintptr_t t = 0; t < 4; t++)
        pthread_create(&threads[t], NULL, emit_many, (void *)t);
    for (int i = 0; i < 2000; i++) {
        json_t *o = read_event(in);
        json_int_t t = json_integer_value(json_object_get(o, "thread"));
        cr_assert(t >= 0 && t < 4);
        cr_assert_eq(json_integer_value(json_object_get(o, "i")), (json_int_t)next[t]++);
        json_decref(o);
    }
    for (int t = 0; t < 4; t++)
        pthread_join(threads[t], NULL);
    fclose(in);
}

Test(base, a_closed_stream_kills_nobody)
{
    int fds[2];
    close(event_pipe(fds));
    event_emit("into.nothing", NULL);
    event_emit("into.nothing", "n", 'u', UINT64_C(1), NULL);
    sigset_t pending;
    sigpending(&pending);
    cr_assert_not(sigismember(&pending, SIGPIPE));
}

Test(base, a_reader_that_hangs_stops_nobody)
{
    int fds[2];
    event_pipe(fds);
    fcntl(fds[1], F_SETPIPE_SZ, 8192);
    uint64_t before = clock_now_ns();
    for (uint64_t i = 0; i < 1000; i++)
        event_emit("full", "i", 'u', i, NULL);
    cr_assert_lt(clock_now_ns() - before, 5000000000u);
    FILE *in = fdopen(fds[0], "r");
    uint64_t got = 0;
    json_t *o;
    for (;; json_decref(o), got++) { /* drain, until one tells how many were left out */
        if (got > 0 && got % 10 == 0)
            event_emit("again", NULL);
        o = read_event(in);
        json_t *dropped = json_object_get(o, "dropped");
        if (dropped != NULL) {
            cr_assert_gt(json_integer_value(dropped), 500);
            break;
        }
    }
    json_decref(o);
    fclose(in);
}

Test(base, no_stream_no_events)
{
    log_init("manager", LOG_INFO, -1);
    event_emit("nothing", "a", 'u', UINT64_C(1), NULL);
}
