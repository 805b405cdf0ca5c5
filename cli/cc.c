/* cc.c - ferro cc: compile a job. */
#include "cli/compile.h"
#include "cli/object.h"
#include "cli/verb.h"

#include <string.h>

struct cc {
    const char *out;
};

static const struct option_row rows[] = {
    { .name = "output",
      .letter = 'o',
      .value = "FILE",
      .type = OPT_PATH,
      .offset = offsetof(struct cc, out),
      .help = "the shared object to make (default: the source's name with .so, in the current folder)" },
    { .name = NULL },
};
static const struct options_program program = {
    .name = "ferro cc",
    .usage = "[OPTION]... JOB.c|JOB.cc [-- COMPILER-OPTION...]",
    .about = "Compiles a job's source (C, or C++ by its ending) to a shared object that `ferro run` and "
             "`ferro submit` take.  CC and CXX name another compiler.",
    .rows = rows,
    .after = "example: ferro cc examples/wordcount.c -o wordcount.so -- -O3 -lm",
};

int verb_cc(int argc, char **argv)
{
    struct arena a = { 0 };
    struct cc o = { 0 };
    struct option_list rest;
    struct error e;
    int code = verb_options(&program, argc, argv, &o, &rest, &a);
    if (code >= 0)
        goto done;
    code = EXIT_GOOD;
    if (rest.n < 1 || !is_source(rest.v[0])) {
        code = verb_error(EXIT_USAGE, "cc: %s; see ferro cc --help",
                          rest.n < 1 ? "which source" : "the source must end in .c, .cc, .cpp or .cxx");
        goto done;
    }
    if (!o.out) {
        const char *slash = strrchr(rest.v[0], '/'), *name = slash ? slash + 1 : rest.v[0];
        size_t stem = (size_t)(strrchr(name, '.') - name);
        char *out = arena_alloc(&a, stem + 4);
        memcpy(out, name, stem);
        memcpy(out + stem, ".so", 4);
        o.out = out;
    }
    if (compile_to(rest.v[0], o.out, (char *const *)(rest.v + 1), &e))
        code = verb_error(EXIT_WRONG, "%s: %s", rest.v[0], e.words);
    else if (object_check(rest.v[0], o.out, &e))
        code = verb_error(EXIT_WRONG, "%s", e.words);
done:
    arena_fini(&a);
    return code;
}
