/* test_options.c - the parser of options, and the help made from the same table. */
#include "common/base/options.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

TestSuite(options);

struct config {
    bool quiet, force;
    uint64_t slots, memory, beat_ms;
    const char *name, *manager, *keys;
    struct option_list reads;
};

static const struct option_row rows[] = {
    { .name = "quiet",
      .letter = 'q',
      .type = OPT_FLAG,
      .offset = offsetof(struct config, quiet),
      .env = "T_QUIET",
      .help = "print less" },
    { .name = "force",
      .letter = 'f',
      .type = OPT_FLAG,
      .offset = offsetof(struct config, force),
      .help = "do it" },
    { .name = "slots",
      .letter = 's',
      .value = "N",
      .type = OPT_U64,
      .min = 1,
      .max = 4096,
      .offset = offsetof(struct config, slots),
      .env = "T_SLOTS",
      .help = "tasks at once" },
    { .name = "memory",
      .value = "SIZE",
      .type = OPT_BYTES,
      .min = 1 << 20,
      .fallback = "512M",
      .offset = offsetof(struct config, memory),
      .help = "memory for all slots" },
    { .name = "beat",
      .value = "TIME",
      .type = OPT_DURATION,
      .min = 10,
      .max = 60000,
      .fallback = "1s",
      .offset = offsetof(struct config, beat_ms),
      .help = "time between two beats" },
    { .name = "name",
      .letter = 'n',
      .value = "TEXT",
      .type = OPT_STRING,
      .offset = offsetof(struct config, name),
      .help = "a name that is so long in its explanation that it has to be wrapped onto a second line of the "
              "help text" },
    { .name = "manager",
      .value = "HOST:PORT",
      .type = OPT_HOSTPORT,
      .fallback = "127.0.0.1:7400",
      .offset = offsetof(struct config, manager),
      .env = "T_MANAGER",
      .help = "the manager's address" },
    { .name = "keys",
      .value = "DIR",
      .type = OPT_PATH,
      .offset = offsetof(struct config, keys),
      .help = "where keys are" },
    { .name = "read",
      .value = "DIR",
      .type = OPT_LIST,
      .offset = offsetof(struct config, reads),
      .fallback = "/usr:/etc",
      .env = "T_READ",
      .help = "what jobs may read" },
    { .name = NULL },
};
static const struct options_program program = { .name = "ferro-test",
                                                .usage = "[OPTION]... FILE...",
                                                .about = "Tests options.",
                                                .rows = rows,
                                                .after = "See also: nothing." };

static struct config config;
static struct option_list rest;
static struct arena arena;
static struct error error;

#define PARSE(p, ...) parse_argv((p), (char *[]){ (char *)"argv0", __VA_ARGS__ __VA_OPT__(, ) NULL })

static int parse_argv(const struct options_program *p, char **argv)
{
    int argc = 0;
    while (argv[argc] != NULL)
        argc++;
    config = (struct config){ 0 };
    return options_parse(p, argc, argv, &config, &rest, &arena, &error);
}

Test(options, every_form)
{
    cr_assert_eq(PARSE(&program, "--slots", "4", "--memory=4G", "-q", "-nbob", "a", "--beat", "500ms", "b"),
                 0, "%s", error.words);
    cr_assert_eq(config.slots, 4);
    cr_assert_eq(config.memory, 4ull << 30);
    cr_assert_eq(config.beat_ms, 500);
    cr_assert(config.quiet && !config.force);
    cr_assert_str_eq(config.name, "bob");
    cr_assert_eq(rest.n, 2);
    cr_assert_str_eq(rest.v[0], "a");
    cr_assert_str_eq(rest.v[1], "b");
    cr_assert_null(rest.v[2]);

    cr_assert_eq(PARSE(&program, "-qfs", "7", "-n", "x y", "--", "--slots", "-q"), 0);
    cr_assert(config.quiet && config.force && config.slots == 7);
    cr_assert_str_eq(config.name, "x y");
    cr_assert_eq(rest.n, 2);
    cr_assert_str_eq(rest.v[0], "--slots");

    cr_assert_eq(PARSE(&program, "-", "--slots=1", "--slots=2"), 0);
    cr_assert_eq(config.slots, 2);
    cr_assert_str_eq(rest.v[0], "-");
}

Test(options, flags_over_environment_over_fallback)
{
    cr_assert_eq(PARSE(&program), 0);
    cr_assert_str_eq(config.manager, "127.0.0.1:7400");
    cr_assert_eq(config.slots, 0, "a row without a fallback leaves its field alone");
    cr_assert_eq(config.memory, 512u << 20);
    cr_assert_eq(config.reads.n, 2);
    cr_assert_eq(rest.n, 0);

    setenv("T_MANAGER", "m:1", 1);
    setenv("T_READ", "/a:/b::/c", 1);
    setenv("T_QUIET", "yes", 1);
    setenv("T_SLOTS", "", 1);
    cr_assert_eq(PARSE(&program, "--slots", "3"), 0, "%s", error.words);
    cr_assert_str_eq(config.manager, "m:1");
    cr_assert_eq(config.reads.n, 3);
    cr_assert_str_eq(config.reads.v[2], "/c");
    cr_assert_null(config.reads.v[3]);
    cr_assert(config.quiet);
    cr_assert_eq(config.slots, 3);

    cr_assert_eq(PARSE(&program, "--manager", "n:2", "--read", "/x:y", "--read=/z"), 0);
    cr_assert_str_eq(config.manager, "n:2");
    cr_assert_eq(config.reads.n, 2);
    cr_assert_str_eq(config.reads.v[0], "/x:y");

    setenv("T_SLOTS", "0", 1);
    cr_assert_eq(PARSE(&program), -1);
    cr_assert_str_eq(error.words,
                     "ferro-test: T_SLOTS: '0' is not a whole number from 1 to 4096; see --help");
    setenv("T_QUIET", "perhaps", 1);
    cr_assert_eq(PARSE(&program, "-s1"), -1);
    cr_assert_str_eq(error.words, "ferro-test: T_QUIET: 'perhaps' is not yes or no; see --help");
}

static void refuses(char **argv, const char *words)
{
    cr_assert_eq(parse_argv(&program, argv), -1, "%s", words);
    cr_assert_str_eq(error.words, words);
}
#define REFUSES(words, ...) refuses((char *[]){ (char *)"argv0", __VA_ARGS__, NULL }, words)

Test(options, errors_name_program_option_value_and_what_is_allowed)
{
    REFUSES("ferro-test: --slots: 'x' is not a whole number from 1 to 4096; see --help", "--slots", "x");
    REFUSES("ferro-test: --slots: '4097' is not a whole number from 1 to 4096; see --help", "-s4097");
    REFUSES("ferro-test: --slots: '' is not a whole number from 1 to 4096; see --help", "--slots=");
    REFUSES("ferro-test: --slots: '-1' is not a whole number from 1 to 4096; see --help", "--slots", "-1");
    REFUSES("ferro-test: --memory: '1K' is not a size such as 512M or 4G from 1M up; see --help", "--memory",
            "1K");
    REFUSES("ferro-test: --beat: '2m' is not a time such as 500ms or 20s from 10ms to 1m; see --help",
            "--beat=2m");
    REFUSES("ferro-test: --keys: '' is not a path; see --help", "--keys", "");
    REFUSES(
        "ferro-test: --manager: 'host' is not an address such as 127.0.0.1:7400 or [::1]:7400; see --help",
        "--manager", "host");
    REFUSES("ferro-test: --slots needs a value: N; see --help", "--slots");
    REFUSES("ferro-test: --quiet takes no value; see --help", "--quiet=1");
    REFUSES("ferro-test: there is no option -x; see --help", "-qx");
    REFUSES("ferro-test: there is no option --slot; did you mean --slots?", "--slot=3");
    REFUSES("ferro-test: there is no option --memroy; did you mean --memory?", "--memroy");
    REFUSES("ferro-test: there is no option --hlep; did you mean --help?", "--hlep");
    REFUSES("ferro-test: there is no option --colour; see --help", "--colour");
}

Test(options, a_job_keeps_its_own_arguments)
{
    struct options_program submit = program;
    submit.job_args = true;
    cr_assert_eq(PARSE(&submit, "-q", "job.c", "--slots", "x", "--help"), 0, "%s", error.words);
    cr_assert(config.quiet);
    cr_assert_eq(rest.n, 4);
    cr_assert_str_eq(rest.v[3], "--help");
}

Test(options, no_arguments_where_none_are_taken)
{
    char *argv[] = { (char *)"x", (char *)"y", NULL };
    cr_assert_eq(options_parse(&program, 2, argv, &config, NULL, &arena, &error), -1);
    cr_assert_str_eq(error.words, "ferro-test: 'y': takes no arguments; see --help");
}

Test(options, help_and_version_win)
{
    cr_assert_eq(PARSE(&program, "--help", "--nonsense"), OPTIONS_HELP);
    cr_assert_eq(PARSE(&program, "-h"), OPTIONS_HELP);
    cr_assert_eq(PARSE(&program, "-q", "--version"), OPTIONS_VERSION);
    cr_assert_eq(PARSE(&program, "-V"), OPTIONS_VERSION);
    cr_assert_eq(PARSE(&program, "--", "--help"), 0);
}

Test(options, values)
{
    static const struct {
        const char *text;
        int (*parse)(const char *, uint64_t *);
        uint64_t value;
    } good[] = {
        { "0", options_u64, 0 },
        { "18446744073709551615", options_u64, UINT64_MAX },
        { "7", options_bytes, 7 },
        { "7B", options_bytes, 7 },
        { "64k", options_bytes, 65536 },
        { "512M", options_bytes, 512u << 20 },
        { "4GiB", options_bytes, 4ull << 30 },
        { "1T", options_bytes, 1ull << 40 },
        { "0", options_duration, 0 },
        { "500ms", options_duration, 500 },
        { "20s", options_duration, 20000 },
        { "5m", options_duration, 300000 },
        { "2h", options_duration, 7200000 },
    };
    static const struct {
        const char *text;
        int (*parse)(const char *, uint64_t *);
    } bad[] = {
        { "", options_u64 },
        { "-1", options_u64 },
        { "1x", options_u64 },
        { " 1", options_u64 },
        { "0x10", options_u64 },
        { "18446744073709551616", options_u64 },
        { "", options_bytes },
        { "G", options_bytes },
        { "1.5G", options_bytes },
        { "4GG", options_bytes },
        { "18446744073709551615K", options_bytes },
        { "20", options_duration },
        { "s", options_duration },
        { "5 s", options_duration },
        { "5S", options_duration },
        { "9999999999999999999h", options_duration },
    };
    uint64_t v;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        v = 1234567;
        cr_assert_eq(good[i].parse(good[i].text, &v), 0, "%s", good[i].text);
        cr_assert_eq(v, good[i].value, "%s", good[i].text);
    }
    v = 99;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        cr_assert_eq(bad[i].parse(bad[i].text, &v), -1, "'%s'", bad[i].text);
    cr_assert_eq(v, 99);
}

Test(options, addresses)
{
    static const char *const good[] = { "a:1", "10.0.0.1:7400",     "[::1]:7400",
                                        "*:0", "h-1.example:65535", "[fe80::1%2]:1" };
    static const char *const bad[] = { "",      "a",      ":1",    "a:",    "a:65536", "a:x",  "::1",
                                       "[::1]", "[::1:7", "a b:1", "a/b:1", "[]:1",    "[x]:1" };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        cr_assert_eq(options_hostport(good[i]), 0, "%s", good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        cr_assert_eq(options_hostport(bad[i]), -1, "'%s'", bad[i]);
}

Test(options, near_words)
{
    static const char *const verbs[] = { "run", "submit", "status", "executors", "apps", NULL };
    cr_assert_str_eq(options_near("sumbit", verbs), "submit");
    cr_assert_str_eq(options_near("executor", verbs), "executors");
    cr_assert_str_eq(options_near("rum", verbs), "run");
    cr_assert_null(options_near("frobnicate", verbs));
    cr_assert_null(options_near("x", verbs));
    cr_assert_null(options_near("a-word-that-is-much-longer-than-any-option-could-be", verbs));
}

Test(options, help_shows_every_row)
{
    char *text = NULL;
    size_t n = 0;
    FILE *out = open_memstream(&text, &n);
    options_help(&program, out);
    fclose(out);
    cr_assert(strncmp(text, "Usage: ferro-test [OPTION]... FILE...\n\nTests options.\n\nOptions:\n", 63) ==
              0);
    for (const struct option_row *row = rows; row->name != NULL; row++)
        cr_assert(strstr(text, row->name) != NULL);
    cr_assert(strstr(text, "  -s, --slots N           tasks at once [T_SLOTS]\n") != NULL, "%s", text);
    cr_assert(strstr(text, "      --memory SIZE       memory for all slots (default: 512M)\n") != NULL);
    cr_assert(strstr(text, "      --manager HOST:PORT\n                          the manager's address") !=
              NULL);
    cr_assert(strstr(text, "See also: nothing.\n") != NULL);
    for (const char *line = text; *line != 0; line += strcspn(line, "\n") + 1)
        cr_assert(strcspn(line, "\n") <= 80 &&
                      (strcspn(line, "\n") == 0 || line[strcspn(line, "\n") - 1] != ' '),
                  "%s", line);
    free(text);
}
