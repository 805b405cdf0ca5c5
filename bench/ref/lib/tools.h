/* tools.h - what the references share: arguments, input, memory, threads, output.
 *
 * A reference has no callers to tell of an error: each function here says what
 * failed on stderr and ends the process.
 */
#ifndef FERRO_BENCH_REF_TOOLS_H
#define FERRO_BENCH_REF_TOOLS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define THREADS_MAX 2
#define INPUT_SLACK 64 /* bytes after an input that may be read, all zero */

/* "PROGRAM: what: " with errno's words; ends with 1. */
_Noreturn void die(const char *what);
/* The same with words of its own. */
_Noreturn void die_of(const char *what, const char *why);

/* The last argument of argc, 1..THREADS_MAX, and THREADS_MAX when argc is one less.
 * With any other count, or number, prints the usage and ends with 2. */
unsigned thread_count(int argc, char **argv, int argc_full, const char *usage);

struct input {
    const char *bytes; /* mapped for the life of the process */
    size_t n;
};
struct input map_input(const char *path);

/* Zeroed memory in pages of 2 MiB where the kernel has them; n > 0. */
void *huge_new(size_t n);
void huge_free(void *, size_t n);

/* Run work(context, 0..threads-1) at once and wait for all. */
void in_threads(unsigned threads, void (*work)(void *context, unsigned thread), void *context);
/* 0, 1, 2, ...: pieces of work that the threads of one in_threads() take in turns. */
size_t take_next(void);

/* An empty file to write at offsets. */
int create_output(const char *path);
void write_at(int fd, const void *bytes, size_t n, off_t at);

#endif
