/* tools.c - arguments, input, memory, threads, output of the references
 *
 * 1 GiB in the page cache, read once by one thread (seconds): mapped and populated
 * 0.03 to 0.05, mapped and faulted in 0.12, pread into 64 KiB 0.13, into 1 MiB 0.15.
 */
#include "tools.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define HUGE_PAGE ((size_t)2 << 20)

static atomic_size_t next_piece;

struct worker {
    pthread_t id;
    void (*work)(void *context, unsigned thread);
    void *context;
    unsigned thread;
};

void die_of(const char *what, const char *why)
{
    fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what, why);
    exit(1);
}

void die(const char *what)
{
    die_of(what, strerror(errno));
}

unsigned thread_count(int argc, char **argv, int argc_full, const char *usage)
{
    if (argc == argc_full - 1)
        return THREADS_MAX;
    if (argc == argc_full) {
        const char *last = argv[argc_full - 1];
        if (last[0] >= '1' && last[0] <= '0' + THREADS_MAX && !last[1])
            return (unsigned)(last[0] - '0');
    }
    fprintf(stderr, "usage: %s %s [THREADS=1..%d]\n", program_invocation_short_name, usage, THREADS_MAX);
    exit(2);
}

/* The file lies over the front of an anonymous mapping, whose rest is the slack. */
struct input map_input(const char *path)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st))
        die(path);
    size_t n = (size_t)st.st_size;
    char *room = mmap(NULL, n + INPUT_SLACK, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (room == MAP_FAILED ||
        (n && mmap(room, n, PROT_READ, MAP_PRIVATE | MAP_FIXED | MAP_POPULATE, fd, 0) == MAP_FAILED))
        die(path);
    close(fd);
    return (struct input){ room, n };
}

/* A mapping may begin anywhere, so it is made larger and its ends are cut off. */
void *huge_new(size_t n)
{
    size_t rounded = (n + HUGE_PAGE - 1) & ~(HUGE_PAGE - 1);
    char *room = mmap(NULL, rounded + HUGE_PAGE, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (room == MAP_FAILED)
        die("memory");
    size_t before = -(uintptr_t)room & (HUGE_PAGE - 1);
    char *at = room + before;
    if (before)
        munmap(room, before);
    if (before < HUGE_PAGE)
        munmap(at + rounded, HUGE_PAGE - before);
    madvise(at, rounded, MADV_HUGEPAGE);
    return at;
}

void huge_free(void *at, size_t n)
{
    munmap(at, (n + HUGE_PAGE - 1) & ~(HUGE_PAGE - 1));
}

static void *run_worker(void *arg)
{
    struct worker *w = arg;
    w->work(w->context, w->thread);
    return NULL;
}

void in_threads(unsigned threads, void (*work)(void *context, unsigned thread), void *context)
{
    struct worker workers[THREADS_MAX];
    atomic_store(&next_piece, 0);
    for (unsigned i = 1; i < threads; i++) {
        workers[i] = (struct worker){ .work = work, .context = context, .thread = i };
        if ((errno = pthread_create(&workers[i].id, NULL, run_worker, &workers[i])))
            die("thread");
    }
    work(context, 0);
    for (unsigned i = 1; i < threads; i++)
        pthread_join(workers[i].id, NULL);
}

size_t take_next(void)
{
    return atomic_fetch_add(&next_piece, 1);
}

int create_output(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0)
        die(path);
    return fd;
}

void write_at(int fd, const void *bytes, size_t n, off_t at)
{
    for (size_t done = 0; done < n;) {
        ssize_t put = pwrite(fd, (const char *)bytes + done, n - done, at + (off_t)done);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            die("output");
        done += (size_t)put;
    }
}
