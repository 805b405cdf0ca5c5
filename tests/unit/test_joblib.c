/* test_joblib.c - which libraries are jobs that this Ferro can run, and what it says of the others. */
#include "driver/joblib.h"
#include "engine/descriptor.h"

#include <criterion/criterion.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static int job_main(fe_app *app, int argc, char **argv)
{
    (void)app, (void)argc, (void)argv;
    return 0;
}

static struct ferro_job good(void)
{
    return (struct ferro_job){ FERRO_JOB_MAGIC, FERRO_ABI_MAJOR, FERRO_ABI_MINOR, FERRO_CPU_LEVEL, 0,
                               "job",           job_main };
}

static void expect_refused(struct ferro_job job, const char *words)
{
    struct error e;
    cr_assert_eq(ferro_job_check(&job, "x.so", &e), -1);
    cr_assert(strstr(e.words, "x.so") && strstr(e.words, words), "%s", e.words);
}

Test(joblib, the_descriptor_is_checked_field_by_field)
{
    struct error e;
    struct ferro_job job = good();
    cr_assert_eq(ferro_job_check(&job, "x.so", &e), 0, "%s", e.words);
    job = good();
    job.magic++;
    expect_refused(job, "FERRO_JOB");
    job = good();
    job.abi_major++;
    expect_refused(job, "compile it again");
    job = good();
    job.abi_minor++;
    expect_refused(job, "compile it again");
    job = good();
    job.cpu_level = 5;
    expect_refused(job, "processor");
    job = good();
    job.main = NULL;
    expect_refused(job, "main");
    job = good();
    job.name = NULL;
    expect_refused(job, "name");
}

Test(joblib, what_is_no_job_is_said_so)
{
    struct error e;
    struct joblib l;
    Dl_info libc;
    char path[] = "/tmp/test-joblib-XXXXXX";
    cr_assert_eq(joblib_open(&l, "/nowhere/job.so", &e), -1);
    cr_assert(strstr(e.words, "/nowhere/job.so: No such file"), "%s", e.words);
    int fd = mkstemp(path);
    cr_assert_eq(joblib_open(&l, path, &e), -1, "empty");
    cr_assert_eq(write(fd, "#include", 8), 8);
    cr_assert_eq(joblib_open(&l, path, &e), -1);
    cr_assert(strstr(e.words, "can't be loaded"), "%s", e.words);
    close(fd);
    unlink(path);
    cr_assert(dladdr((void *)(uintptr_t)&strlen, &libc) && libc.dli_fname);
    cr_assert_eq(joblib_open(&l, libc.dli_fname, &e), -1);
    cr_assert(strstr(e.words, "is not a job"), "%s", e.words);
}
