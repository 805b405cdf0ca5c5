/* keys.c - ferro keys: init a folder of keys, add a user. */
#include "common/keys/keys.h"
#include "cli/verb.h"

#include <stdlib.h>
#include <string.h>

struct keys {
    const char *dir;
    bool admin;
};

static const struct option_row rows[] = {
    { .name = "dir",
      .letter = 'd',
      .value = "DIR",
      .type = OPT_PATH,
      .offset = offsetof(struct keys, dir),
      .fallback = "keys",
      .help = "the folder of keys, for add" },
    { .name = "admin",
      .type = OPT_FLAG,
      .offset = offsetof(struct keys, admin),
      .help = "add: one who sees and ends everybody's applications, and drains executors" },
    { .name = NULL },
};
static const struct options_program program = {
    .name = "ferro keys",
    .usage = "init DIR | add user NAME [--dir DIR] [--admin]",
    .about = "Makes a cluster's keys: for the manager, executors (one join key for all), the driver service, "
             "a user and an "
             "admin. What is there already stays. The manager admits a new user after SIGHUP.",
    .rows = rows,
};

static int init(const char *dir)
{
    struct error e;
    if (keys_init(dir, &e))
        return verb_error(EXIT_WRONG, "keys: %s", e.words);
    printf("keys are in %s: manager.key, join.key (executors), service.key (ferro-driver serve), "
           "users/user.key, users/admin.key\n",
           dir);
    return EXIT_GOOD;
}

static int add(const struct keys *o, const char *name)
{
    struct error e;
    if (keys_add_user(o->dir, name, o->admin, &e))
        return verb_error(EXIT_WRONG, "keys: %s", e.words);
    printf("%s/users/%s.key; the manager admits it after SIGHUP\n", o->dir, name);
    return EXIT_GOOD;
}

int verb_keys(int argc, char **argv)
{
    struct arena a = { 0 };
    struct keys o = { 0 };
    struct option_list rest;
    int code = verb_options(&program, argc, argv, &o, &rest, &a);
    if (code >= 0)
        ;
    else if (rest.n == 2 && !strcmp(rest.v[0], "init"))
        code = init(rest.v[1]);
    else if (rest.n == 3 && !strcmp(rest.v[0], "add") && !strcmp(rest.v[1], "user"))
        code = add(&o, rest.v[2]);
    else
        code = verb_error(EXIT_USAGE, "keys: what is to be done? Usage: ferro keys %s", program.usage);
    arena_fini(&a);
    return code;
}
