/* loaded.c - see loaded.h. */
#include "executor/host/loaded.h"

#include "include/ferro.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>

uint32_t loaded_cpu_level(void)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("sse4.2") || !__builtin_cpu_supports("popcnt") ||
        !__builtin_cpu_supports("ssse3"))
        return 1;
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") || !__builtin_cpu_supports("bmi2"))
        return 2;
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                   __builtin_cpu_supports("avx512vl")
               ? 4
               : 3;
#else
    return 0;
#endif
}

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

static int check(const struct ferro_job *job, struct error *e)
{
    if (job->magic != FERRO_JOB_MAGIC)
        return error_set(e, ENOEXEC, "the library is not a Ferro job: its descriptor's magic is wrong");
    int newer = (int)job->abi_major - FERRO_ABI_MAJOR;
    if (newer || job->abi_minor > FERRO_ABI_MINOR)
        return error_set(e, ENOEXEC, "the job was built for Ferro's ABI %u.%u, this executor has %u.%u: %s",
                         job->abi_major, job->abi_minor, FERRO_ABI_MAJOR, FERRO_ABI_MINOR,
                         newer < 0 ? "build the job again" : "upgrade the executor");
    if (job->cpu_level > loaded_cpu_level())
        return error_set(e, ENOEXEC,
                         "the job was built for x86-64-v%u, this machine has x86-64-v%u: build it for less",
                         job->cpu_level, loaded_cpu_level());
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
    if (check(job, e))
        return -1;
    if (!dladdr(job, &info))
        return error_set(e, ENOEXEC, "the job's library can't be found where it was loaded");
    *base = info.dli_fbase;
    return 0;
}
