/* service.c - see service.h. */
#include "common/base/service.h"
#include "common/base/log.h"
#include "common/base/version.h"

#include <fcntl.h>

#define EXIT_USAGE 2

int options_take(const struct options_program *p, const char *what, int argc, char **argv, void *into,
                 struct option_list *rest, struct arena *a)
{
    struct error e;
    switch (options_parse(p, argc, argv, into, rest, a, &e)) {
    case 0: return -1;
    case OPTIONS_HELP: options_help(p, stdout); return 0;
    case OPTIONS_VERSION: printf("%s %s\n", what, FERRO_VERSION); return 0;
    }
    fprintf(stderr, "%s\n", e.words);
    return EXIT_USAGE;
}

int service_events_fd(const struct service *s)
{
    return s->events == UINT64_MAX ? -1 : (int)s->events;
}

int service_events_take(int fd, const char *program)
{
    int flags = fcntl(fd, F_GETFL);
    if (flags >= 0 && (flags & O_ACCMODE) != O_RDONLY)
        return fcntl(fd, F_SETFD, FD_CLOEXEC);
    fprintf(stderr, "%s: --events: descriptor %d is not open for writing\n", program, fd);
    return -1;
}

int service_begin(const struct service *s, const struct options_program *p, const char *name)
{
    enum log_level level;
    int fd = service_events_fd(s);
    if (log_level_parse(s->level, &level)) {
        fprintf(stderr, "%s: --log-level: '%s' is not error, warn, info or debug\n", p->name, s->level);
        return EXIT_USAGE;
    }
    if (fd >= 0 && service_events_take(fd, p->name))
        return EXIT_USAGE;
    log_init(name, level, fd);
    return -1;
}
