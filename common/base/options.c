/* options.c - see options.h: the parser.  Values are in option_values.c, help in option_help.c. */
#include "common/base/options.h"
#include "common/base/option_values.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define OPTIONS_MAX 128 /* rows in one table */

struct parser {
    const struct options_program *program;
    void *into;
    struct arena *arena;
    struct error *e;
    bool given[OPTIONS_MAX]; /* on the command line: stronger than the environment */
};

static const struct option_row *find_long(const struct options_program *p, const char *name, size_t n)
{
    for (const struct option_row *r = p->rows; r->name != NULL; r++)
        if (strlen(r->name) == n && memcmp(r->name, name, n) == 0)
            return r;
    return NULL;
}

static const struct option_row *find_short(const struct options_program *p, char letter)
{
    for (const struct option_row *r = p->rows; r->name != NULL; r++)
        if (r->letter == letter)
            return r;
    return NULL;
}

/* Append to a list, in the arena: lists are short. */
static void append(struct arena *a, struct option_list *list, const char *text)
{
    const char **v = arena_alloc(a, (list->n + 2) * sizeof *v);
    if (list->n > 0)
        memcpy(v, list->v, list->n * sizeof *v);
    v[list->n++] = text;
    list->v = v;
}

static void append_parts(struct arena *a, struct option_list *list, const char *text)
{
    while (*text != 0) {
        size_t n = strcspn(text, ":");
        char *part = arena_alloc(a, n + 1);
        memcpy(part, text, n);
        if (n > 0)
            append(a, list, part);
        text += n + (text[n] == ':');
    }
}

/* Parse text by the row's type into its field.  `from` names the source in an error. */
static int store(struct parser *p, const struct option_row *row, const char *from, const char *text)
{
    void *field = (char *)p->into + row->offset;
    char allowed[160];
    if (row->type == OPT_LIST)
        append(p->arena, field, text);
    else if (option_value_read(row, text, field) < 0)
        return error_set(p->e, EINVAL, "%s: %s: '%s' is not %s; see --help", p->program->name, from, text,
                         option_value_allowed(row, allowed, sizeof allowed));
    return 0;
}

static int unknown(struct parser *p, const char *word, size_t n)
{
    const char *names[OPTIONS_MAX + 3];
    size_t count = 0;
    for (const struct option_row *r = p->program->rows; r->name != NULL; r++)
        names[count++] = r->name;
    names[count++] = "help";
    names[count++] = "version";
    names[count] = NULL;
    char name[64];
    bytes_text((struct bytes){ (const uint8_t *)word, (uint32_t)n }, name, sizeof name);
    const char *near = options_near(name, names);
    return error_set(p->e, EINVAL, "%s: there is no option --%s; %s%s%s", p->program->name, name,
                     near == NULL ? "see --help" : "did you mean --", near == NULL ? "" : near,
                     near == NULL ? "" : "?");
}

/* An option that has its row.  `text` is the value given with it, or NULL; then it is
 * the next argument.  Returns how many further arguments were used, or -1. */
static int take(struct parser *p, const struct option_row *row, const char *text, const char *next)
{
    char name[80];
    snprintf(name, sizeof name, "--%s", row->name);
    if (row->type == OPT_FLAG && text != NULL)
        return error_set(p->e, EINVAL, "%s: %s takes no value; see --help", p->program->name, name);
    int used = row->type != OPT_FLAG && text == NULL;
    if (used && next == NULL)
        return error_set(p->e, EINVAL, "%s: %s needs a value: %s; see --help", p->program->name, name,
                         row->value);
    ptrdiff_t i = row - p->program->rows;
    if (row->type == OPT_LIST && !p->given[i]) /* replaces the fallback */
        *(struct option_list *)(void *)((char *)p->into + row->offset) = (struct option_list){ 0 };
    p->given[i] = true;
    if (row->type == OPT_FLAG)
        *(bool *)((char *)p->into + row->offset) = true;
    else if (store(p, row, name, used ? next : text) < 0)
        return -1;
    return used;
}

static int take_long(struct parser *p, const char *word, const char *next)
{
    size_t n = strcspn(word, "=");
    const struct option_row *row = find_long(p->program, word, n);
    return row == NULL ? unknown(p, word, n) : take(p, row, word[n] == '=' ? word + n + 1 : NULL, next);
}

/* "-n 5", "-n5", "-vq": letters may be joined; the first that takes a value takes the rest. */
static int take_short(struct parser *p, const char *letters, const char *next)
{
    for (const char *l = letters; *l != 0; l++) {
        const struct option_row *row = find_short(p->program, *l);
        if (row == NULL)
            return error_set(p->e, EINVAL, "%s: there is no option -%c; see --help", p->program->name,
                             *l < 0x20 || *l > 0x7e ? '?' : *l);
        if (row->type != OPT_FLAG)
            return take(p, row, l[1] != 0 ? l + 1 : NULL, next);
        if (take(p, row, NULL, NULL) < 0)
            return -1;
    }
    return 0;
}

static int built_in(const char *arg)
{
    if (strcmp(arg, "--help") == 0 || strcmp(arg, "-h") == 0)
        return OPTIONS_HELP;
    return strcmp(arg, "--version") == 0 || strcmp(arg, "-V") == 0 ? OPTIONS_VERSION : 0;
}

static int take_arguments(struct parser *p, int argc, char **argv, struct option_list *rest)
{
    bool options = true;
    for (int i = 1; i < argc; i++) {
        const char *arg = argv[i], *next = i + 1 < argc ? argv[i + 1] : NULL;
        if (options && strcmp(arg, "--") == 0) {
            options = false;
        } else if (options && built_in(arg) != 0) {
            return built_in(arg);
        } else if (options && arg[0] == '-' && arg[1] != 0) {
            int used = arg[1] == '-' ? take_long(p, arg + 2, next) : take_short(p, arg + 1, next);
            if (used < 0)
                return -1;
            i += used;
        } else if (rest == NULL) {
            return error_set(p->e, EINVAL, "%s: '%s': takes no arguments; see --help", p->program->name, arg);
        } else {
            append(p->arena, rest, arg);
            options = options && !p->program->job_args;
        }
    }
    return 0;
}

static int take_fallbacks(struct parser *p)
{
    for (const struct option_row *row = p->program->rows; row->name != NULL; row++) {
        assert(row - p->program->rows < OPTIONS_MAX);
        struct option_list *list = (void *)((char *)p->into + row->offset);
        if (row->fallback == NULL)
            continue;
        if (row->type == OPT_LIST)
            *list = (struct option_list){ 0 }, append_parts(p->arena, list, row->fallback);
        else if (store(p, row, row->name, row->fallback) < 0)
            return -1;
    }
    return 0;
}

/* An empty variable counts as unset. */
static int take_environment(struct parser *p)
{
    for (const struct option_row *row = p->program->rows; row->name != NULL; row++) {
        const char *text = row->env == NULL ? NULL : getenv(row->env);
        if (text == NULL || *text == 0 || p->given[row - p->program->rows])
            continue;
        struct option_list *list = (void *)((char *)p->into + row->offset);
        if (row->type == OPT_LIST)
            *list = (struct option_list){ 0 }, append_parts(p->arena, list, text);
        else if (store(p, row, row->env, text) < 0)
            return -1;
    }
    return 0;
}

int options_parse(const struct options_program *program, int argc, char **argv, void *into,
                  struct option_list *rest, struct arena *a, struct error *e)
{
    struct parser p = { .program = program, .into = into, .arena = a, .e = e };
    if (rest != NULL)
        *rest = (struct option_list){ .v = arena_alloc(a, sizeof(char *)) };
    if (take_fallbacks(&p) < 0)
        return -1;
    int rc = take_arguments(&p, argc, argv, rest);
    return rc != 0 ? rc : take_environment(&p);
}
