/* compile.c - call the system's C or C++ compiler; keep what it made by content.
 *
 * The cache (XDG_CACHE_HOME/ferro or ~/.cache/ferro; ours alone, mode 0700) has for each hash of (path,
 * source, flags) the object and the list of files it was made of (-MD); it is
 * good while none of those is newer.  cache.h bounds it.
 */
#include "cli/compile.h"
#include "cli/cache.h"
#include "common/base/version.h"
#include "common/proto/proto.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define ARGS_MAX 64
#define SOURCE_BYTES_MAX (64 << 20)

#if defined(__x86_64__)
#define JOB_MARCH "-march=x86-64-v2"
#else
#define JOB_MARCH "-O2" /* the architecture's own baseline */
#endif

#define FLAGS "-O2", "-g", "-Wall", JOB_MARCH, "-fPIC", "-shared", "-fvisibility=hidden"
#define FLAGS_EDITION 3 /* of all of them: what other ones made isn't taken from the cache */

/* What crashes as sure as it compiles: a function of another type, one that isn't there. */
static const char *const flags_c[] = { "-std=gnu11", "-Werror=incompatible-pointer-types",
                                       "-Werror=implicit-function-declaration", "-Werror=int-conversion",
                                       NULL };
/* With its library in it: an executor need not have one. */
static const char *const flags_cxx[] = { "-std=gnu++17", "-static-libstdc++", "-static-libgcc", NULL };

extern char **environ;

int places_find(struct places *p, struct error *e)
{
    char exe[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
    if (n < 0)
        return error_sys(e, "/proc/self/exe");
    exe[n] = 0;
    snprintf(p->bin, sizeof p->bin, "%.4000s", dirname(exe));
    snprintf(p->lib, sizeof p->lib, "%.4000s/../lib", p->bin);
    static const char *const above[] = { "../include", "../../include", "../../../include" };
    for (size_t i = 0; i < 3; i++) {
        char header[PATH_MAX + 64];
        snprintf(p->include, sizeof p->include, "%.4000s/%s", p->bin, above[i]);
        snprintf(header, sizeof header, "%s/ferro.h", p->include);
        if (access(header, R_OK) == 0)
            return 0;
    }
    return error_set(e, ENOENT, "ferro.h is in none of %s/{../,../../}include", p->bin);
}

static const char *ending(const char *path)
{
    const char *dot = strrchr(path, '.');
    return dot && !strchr(dot, '/') ? dot : "";
}

static bool is_cxx(const char *path)
{
    const char *x = ending(path);
    return !strcmp(x, ".cc") || !strcmp(x, ".cpp") || !strcmp(x, ".cxx");
}

bool is_source(const char *path)
{
    return !strcmp(ending(path), ".c") || is_cxx(path);
}

static int run_compiler(const char *const *args, bool cxx, struct error *e)
{
    pid_t pid;
    int status, r = posix_spawnp(&pid, args[0], NULL, NULL, (char *const *)args, environ);
    if (r) {
        errno = r;
        return error_sys(e, "%s can't be started (a %s compiler is needed: apt-get install %s)", args[0],
                         cxx ? "C++" : "C", cxx ? "g++" : "gcc libc6-dev");
    }
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return error_sys(e, "%s", args[0]);
    if (!WIFEXITED(status) || WEXITSTATUS(status))
        return error_set(e, EINVAL, "%s failed", args[0]);
    return 0;
}

static const char *compiler(const char *source)
{
    const char *own = getenv(is_cxx(source) ? "CXX" : "CC");
    return own && *own ? own : is_cxx(source) ? "g++" : "gcc";
}

int compile_to(const char *source, const char *out, char *const *extra, struct error *e)
{
    struct places at;
    if (places_find(&at, e))
        return -1;
    const char *args[ARGS_MAX] = { compiler(source), FLAGS };
    int n = 1;
    while (args[n])
        n++;
    for (const char *const *f = is_cxx(source) ? flags_cxx : flags_c; *f; f++)
        args[n++] = *f;
    const char *files[] = { "-I", at.include, "-o", out, source };
    for (int i = 0; i < 5; i++)
        args[n++] = files[i];
    for (; extra && *extra; extra++) {
        if (n >= ARGS_MAX - 6)
            return error_set(e, E2BIG, "too many arguments for the compiler");
        args[n++] = *extra;
    }
    args[n++] = "-L";
    args[n++] = at.lib;
    args[n++] = "-lferro";
    args[n++] = "-Wl,-z,defs";
    return run_compiler(args, is_cxx(source), e);
}

/* ---- the cache ---------------------------------------------------------- */

static int read_whole(const char *path, struct buf *out, struct error *e)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return error_sys(e, "%s", path);
    ssize_t n;
    while ((n = read(fd, buf_grow(out, 65536), 65536)) > 0 && out->n < SOURCE_BYTES_MAX)
        out->n += (size_t)n;
    int r = n < 0   ? error_sys(e, "%s", path)
            : n > 0 ? error_set(e, EFBIG, "%s: too large for a source", path)
                    : 0;
    close(fd);
    return r;
}

static int make_folder(char *path)
{
    for (char *slash = path + 1; (slash = strchr(slash, '/')); *slash++ = '/') {
        *slash = 0;
        mkdir(path, 0700);
    }
    return mkdir(path, 0700) && errno != EEXIST ? -1 : 0;
}

/* What lies there is run as it is: nobody else may have put it there. */
static int check_folder(const char *path, int flags, struct error *e)
{
    static const char about[] = "compiled jobs are kept here; XDG_CACHE_HOME names another place";
    struct stat st;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | flags), r = 0;
    if (fd < 0 || fstat(fd, &st))
        r = error_sys(e, "%s: %s", path, about);
    else if (st.st_uid != geteuid())
        r = error_set(e, EACCES, "%s: belongs to uid %u, not to uid %u; %s", path, st.st_uid, geteuid(),
                      about);
    else if (st.st_mode & 077)
        r = error_set(e, EACCES, "%s: open to others (mode %04o); chmod 700 it; %s", path, st.st_mode & 07777,
                      about);
    else if (access(path, W_OK))
        r = error_sys(e, "%s: %s", path, about);
    if (fd >= 0)
        close(fd);
    return r;
}

/* The cache's folder, made when missing.  Without a home it lies in /tmp itself, where nobody can move it away. */
static int cache_folder(char *out, size_t size, struct error *e)
{
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    bool own = true;
    if (cache && cache[0] == '/')
        snprintf(out, size, "%s/ferro", cache);
    else if (home && home[0] == '/')
        snprintf(out, size, "%s/.cache/ferro", home);
    else {
        snprintf(out, size, "/tmp/ferro-cache-%u", geteuid());
        own = false;
    }
    if (make_folder(out))
        return error_sys(e, "%s: can't be made for compiled jobs; XDG_CACHE_HOME names another place", out);
    return check_folder(out, own ? 0 : O_NOFOLLOW, e);
}

/* Is the object at least as new as all that the dependency list names? */
static bool is_fresh(const char *object, const char *deps)
{
    struct stat so, st;
    struct buf list = { 0 };
    bool fresh = stat(object, &so) == 0 && read_whole(deps, &list, NULL) == 0 && list.n > 0;
    if (fresh) {
        buf_put(&list, "", 1);
        char *text = strchr((char *)list.p, ':'), *save;
        for (char *f = text ? strtok_r(text + 1, " \\\n", &save) : NULL; fresh && f;
             f = strtok_r(NULL, " \\\n", &save))
            fresh = stat(f, &st) == 0 &&
                    (st.st_mtim.tv_sec < so.st_mtim.tv_sec ||
                     (st.st_mtim.tv_sec == so.st_mtim.tv_sec && st.st_mtim.tv_nsec <= so.st_mtim.tv_nsec));
    }
    buf_fini(&list);
    return fresh;
}

/* `job` is the source as it was typed, `source` its real path.  __FILE__ is what was typed, so that what a job
 * says of a line can be read, and found from where one is. */
static int compile_into_cache(const char *job, const char *source, const char *object, const char *deps,
                              struct error *e)
{
    char made[PATH_MAX], listed[PATH_MAX], map[2 * PATH_MAX + 32];
    snprintf(made, sizeof made, "%.4000s.%d", object, (int)getpid());
    snprintf(listed, sizeof listed, "%.4000s.%d", deps, (int)getpid());
    snprintf(map, sizeof map, "-fmacro-prefix-map=%.4000s=%.4000s", source, job);
    char *extra[] = { "-MD", "-MF", listed, map, NULL };
    int r = compile_to(source, made, extra, e);
    if (r)
        error_prefix(e, "%s", job);
    else if (rename(listed, deps) || rename(made, object)) /* both whole, or not there */
        r = error_sys(e, "%s", object);
    if (r) {
        unlink(made);
        unlink(listed);
    }
    return r;
}

/* A job that is no source must be a shared object: said here, before anything was started for it. */
static int check_object(const char *job, const char *path, struct error *e)
{
    char magic[4] = "";
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return error_sys(e, "%s", job);
    ssize_t n = read(fd, magic, sizeof magic);
    int r =
        n < 0 ? error_sys(e, "%s", job)
        : n == 4 && !memcmp(magic, "\177ELF", 4)
            ? 0
            : error_set(e, ENOEXEC,
                        "%s: no job: neither a source (.c, .cc, .cpp, .cxx) nor a shared object (.so)", job);
    close(fd);
    return r;
}

const char *compile_cached(struct arena *a, const char *job, struct error *e)
{
    char folder[PATH_MAX], path[PATH_MAX], object[PATH_MAX + 64], deps[PATH_MAX + 64], hex[33];
    if (!realpath(job, path)) {
        error_sys(e, "%s", job);
        return NULL;
    }
    if (!is_source(job))
        return check_object(job, path, e) ? NULL : arena_strdup(a, path);
    struct buf text = { 0 };
    struct places at;
    if (places_find(&at, e))
        return NULL;
    /* which ferro.h, too: several trees of one user share the cache */
    buf_printf(&text, "%s %d %s %s %s %s %s\n", FERRO_VERSION, FLAGS_EDITION, JOB_MARCH, at.include, path,
               job, compiler(job));
    if (read_whole(path, &text, e) || cache_folder(folder, sizeof folder, e)) {
        buf_fini(&text);
        return NULL;
    }
    block_hex(block_of_content(text.p, text.n), hex);
    buf_fini(&text);
    snprintf(object, sizeof object, "%.4000s/%s.so", folder, hex);
    snprintf(deps, sizeof deps, "%.4000s/%s.d", folder, hex);
    if (is_fresh(object, deps))
        cache_used(object);
    else if (compile_into_cache(job, path, object, deps, e))
        return NULL;
    else
        cache_trim(folder);
    return arena_strdup(a, object);
}
