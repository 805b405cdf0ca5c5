/* error.h - what went wrong, told once, for a human.
 *
 * A function that can fail for reasons outside the program returns -1 (or NULL)
 * and fills the caller's struct error with the whole story: what was attempted,
 * on what, why it failed and, where there is one, what to do.  A programmer's
 * mistake is an assert, never an error.
 */
#ifndef FERRO_BASE_ERROR_H
#define FERRO_BASE_ERROR_H

#define ERROR_WORDS_MAX 1024

struct error {
    int code; /* an errno value, or 0 when none fits */
    char words[ERROR_WORDS_MAX];
};

/* Fill `e` (may be NULL: then nothing is kept) and return -1, so that a caller
 * can write `return error_set(e, EINVAL, "...", ...)`.  Overlong text is cut. */
int error_set(struct error *e, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* The same, with ": strerror(errno)" appended and code = errno. */
int error_sys(struct error *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Put "prefix: " before what `e` says already.  Returns -1. */
int error_prefix(struct error *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
