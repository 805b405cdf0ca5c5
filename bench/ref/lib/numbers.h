/* numbers.h - files of numbers, and numbers as arguments and in output */
#ifndef FERRO_BENCH_REF_NUMBERS_H
#define FERRO_BENCH_REF_NUMBERS_H

#include <stddef.h>
#include <stdint.h>

#define PUT_I64_MAX 20 /* bytes that put_i64 and put_u64 write at most */
#define PUT_F64_MAX 25 /* and put_f64 */

/* Map a file of records of size bytes each; *n is how many.  A file that is cut ends the program. */
const void *map_records(const char *path, size_t size, size_t *n);

/* The decimal number that an argument is, from low to high; any other ends the program. */
int64_t number_argument(const char *text, int64_t low, int64_t high, const char *what);

/* Write a number at p and return the end; no '\0'. */
char *put_u64(char *p, uint64_t n);
char *put_i64(char *p, int64_t n);
/* The bytes of printf's %.17g. */
char *put_f64(char *p, double d);

#endif
