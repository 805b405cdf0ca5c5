/* loaded.c - see loaded.h. */
#include "executor/host/loaded.h"

#include "engine/descriptor.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>

static void *load(int fd, int flags)
{
    char path[32];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return dlopen(path, RTLD_NOW | flags);
}

/* Which needs which isn't known: rounds, until one gets nothing further. */
static int load_others(const int *fds, int n, struct error *e)
{
    bool here[64] = { false };
    for (int left = n, before = n + 1; left && left < before;) {
        before = left;
        for (int i = 0; i < n; i++)
            if (!here[i] && load(fds[i], RTLD_GLOBAL)) {
                here[i] = true;
                left--;
            }
        if (left == before)
            return error_set(e, ENOEXEC, "a library that the job brings can't be loaded: %s", dlerror());
    }
    return 0;
}

int loaded_open(const int *fds, int n, const void **base, struct error *e)
{
    Dl_info info;
    if (n < 1 || n > 64)
        return error_set(e, EINVAL, "the job came without its library");
    if (load_others(fds + 1, n - 1, e))
        return -1;
    void *lib = load(fds[0], RTLD_LOCAL);
    if (!lib)
        return error_set(e, ENOEXEC, "the job's library can't be loaded: %s", dlerror());
    const struct ferro_job *job = dlsym(lib, "ferro_job");
    if (!job)
        return error_set(e, ENOEXEC, "the library is not a Ferro job: it has no FERRO_JOB(...)");
    if (ferro_job_check(job, "the job's library", e))
        return -1;
    if (!dladdr(job, &info))
        return error_set(e, ENOEXEC, "the job's library can't be found where it was loaded");
    *base = info.dli_fbase;
    return 0;
}
