/* descriptor.c - see descriptor.h. */
#include "engine/descriptor.h"

#include <errno.h>

/* The highest x86-64 level of this processor; 0 elsewhere. */
static uint32_t cpu_level(void)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("x86-64-v4"))
        return 4;
    if (__builtin_cpu_supports("x86-64-v3"))
        return 3;
    return __builtin_cpu_supports("x86-64-v2") ? 2 : 1;
#else
    return 0;
#endif
}

int ferro_job_check(const struct ferro_job *job, const char *library, struct error *e)
{
    if (job->magic != FERRO_JOB_MAGIC)
        return error_set(e, EINVAL, "%s: its ferro_job was not made by FERRO_JOB (ferro.h)", library);
    if (job->abi_major != FERRO_ABI_MAJOR || job->abi_minor > FERRO_ABI_MINOR)
        return error_set(
            e, EINVAL,
            "%s: compiled with ferro.h %u.%u, this is Ferro %u.%u: compile it again, or upgrade Ferro here",
            library, job->abi_major, job->abi_minor, FERRO_ABI_MAJOR, FERRO_ABI_MINOR);
    if (job->cpu_level > cpu_level())
        return error_set(
            e, EINVAL,
            "%s: compiled for x86-64-v%u, this processor is x86-64-v%u; compile it for less (ferro cc)",
            library, job->cpu_level, cpu_level());
    if (!job->main || !job->name)
        return error_set(e, EINVAL, "%s: its FERRO_JOB has no %s", library,
                         job->main ? "name" : "main function");
    return 0;
}
