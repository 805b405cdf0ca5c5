/* spawn.c - the limit of a start: limit-spawn N...
 *
 * For each N prints how many milliseconds N posix_spawns of /bin/true take until
 * the last has ended, all under way at once: the median of ROUNDS.
 */
#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#define ROUNDS 51
#define SPAWNS_MAX 64

extern char **environ;

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static int by_size(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static double spawn_all(int n)
{
    char *argv[] = { "true", NULL };
    pid_t pid[SPAWNS_MAX];
    double start = now_ms();
    for (int i = 0; i < n; i++) {
        int code = posix_spawn(&pid[i], "/bin/true", NULL, NULL, argv, environ);
        if (code) {
            fprintf(stderr, "limit-spawn: /bin/true: %s\n", strerror(code));
            exit(1);
        }
    }
    for (int i = 0; i < n; i++)
        while (waitpid(pid[i], NULL, 0) < 0 && errno == EINTR)
            ;
    return now_ms() - start;
}

int main(int argc, char **argv)
{
    double rounds[ROUNDS];
    for (int a = 1; a < argc; a++) {
        int n = atoi(argv[a]);
        if (n < 1 || n > SPAWNS_MAX) {
            fprintf(stderr, "usage: limit-spawn N...   (1 to %d)\n", SPAWNS_MAX);
            return 2;
        }
        for (int r = 0; r < ROUNDS; r++)
            rounds[r] = spawn_all(n);
        qsort(rounds, ROUNDS, sizeof *rounds, by_size);
        printf("spawn_%d_ms %.2f\n", n, rounds[ROUNDS / 2]);
    }
    return 0;
}
