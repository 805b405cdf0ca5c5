/* draw.c - tables behind the laws that data.h draws by, and the buffer before stdout */
#include "data.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BUFFER (1 << 20) /* bytes a write */

static char buffer[BUFFER];
static size_t filled;

void zipf_init(struct zipf *z, uint64_t n)
{
    z->n = n;
    z->octaves = (uint64_t)llround(log2((double)n + 1) * 65536);
    for (uint64_t i = 0; i <= ZIPF_STEPS; i++)
        z->power[i] = (uint64_t)llround(exp2((double)i / ZIPF_STEPS) * 4294967296.0);
}

static uint64_t common_divisor(uint64_t a, uint64_t b)
{
    while (b) {
        uint64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

void shuffle_init(struct shuffle *s, uint64_t n, uint64_t seed)
{
    uint64_t stream = mix(seed);
    s->n = n;
    s->a = draw_below(&stream, n) + 1;
    while (common_divisor(s->a, n) != 1) /* ends at a multiple of n plus 1 at the latest */
        s->a++;
    s->b = draw_below(&stream, n);
}

void out_flush(void)
{
    for (size_t done = 0; done < filled;) {
        ssize_t n = write(STDOUT_FILENO, buffer + done, filled - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            fprintf(stderr, "data: stdout: %s\n", strerror(errno));
            exit(1);
        }
        done += (size_t)n;
    }
    filled = 0;
}

char *out_room(size_t n)
{
    if (n > BUFFER - filled)
        out_flush();
    return buffer + filled;
}

void out_take(size_t n)
{
    filled += n;
}
