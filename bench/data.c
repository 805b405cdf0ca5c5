/* data.c - test text from a seed: data text-zipf|text-distinct BYTES SEED > FILE
 *
 * Words are drawn by Zipf's law, the r-th most frequent with probability
 * log(1 + 1/r) / log(N + 1), which is close to 1/r scaled:
 *
 *   text-zipf      N = 200,000: in 1 GiB, 178 million words, all 200,000 occur
 *   text-distinct  N = 16,000,000: in 1 GiB, 148 million words, 11.4 million occur
 *
 * As in a language, frequent words are short: the rank in bijective base 100 is
 * one to four syllables of two letters, and up to three consonants drawn by rank
 * and seed follow (they keep two words apart, since every syllable ends in a
 * vowel).  Words are parted by one space, in whose place a newline stands after the
 * word that takes a line over 60 to 91 bytes.  The last word may be cut; the last byte is
 * a newline.
 *
 * All arithmetic on the way to a byte is on integers, so that the same seed makes
 * the same file everywhere.
 */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STEPS 4096       /* of the table of powers, per octave */
#define BUFFER (1 << 20) /* bytes a write */
#define WORD_MAX 16      /* room that one word may touch; it has 11 bytes at most, and a space */
#define LINE_MIN 60
#define CACHED 262144 /* words made once and kept; rarer ones are made each time */

struct word {
    char bytes[WORD_MAX - 1];
    uint8_t n;
};

struct text {
    uint64_t random, seed;
    uint64_t octaves;          /* log2(N + 1), 16 bits behind the point */
    uint64_t power[STEPS + 1]; /* 2^(i / STEPS), 32 bits behind the point */
    uint32_t column, line_end; /* bytes in this line so far; where a newline is due */
    struct word words[CACHED];
};

static uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static uint64_t next_random(struct text *t) /* splitmix64 */
{
    return mix(t->random += 0x9e3779b97f4a7c15u);
}

/* 1..N: 2 to the power of a uniform draw from [0, log2(N + 1)), rounded down. */
static uint64_t draw_rank(struct text *t)
{
    uint64_t x = (next_random(t) >> 32) * t->octaves; /* 48 bits behind the point */
    uint64_t octave = x >> 48, step = (x >> 36) & (STEPS - 1), rest = (x >> 4) & 0xffffffff;
    uint64_t low = t->power[step], high = t->power[step + 1];
    return ((low + (((high - low) * rest) >> 32)) << octave) >> 32;
}

static struct word make_word(const struct text *t, uint64_t rank)
{
    static const char consonants[] = "bcdfghjklmnprstvwxyz", vowels[] = "aeiou";
    static const char *const endings[] = { "", "", "n", "s", "t", "r", "nd", "ng", "rs", "nds" };
    struct word w = { .n = 0 };
    for (uint64_t left = rank; left > 0; left = (left - 1) / 100) {
        uint64_t digit = (left - 1) % 100;
        w.bytes[w.n++] = consonants[digit / 5];
        w.bytes[w.n++] = vowels[digit % 5];
    }
    for (const char *e = endings[mix(t->seed ^ rank) % 10]; *e; e++)
        w.bytes[w.n++] = *e;
    w.bytes[w.n++] = ' ';
    return w;
}

static void text_init(struct text *t, uint64_t vocabulary, uint64_t seed)
{
    t->seed = mix(seed);
    t->random = mix(seed + 1);
    t->octaves = (uint64_t)llround(log2((double)vocabulary + 1) * 65536);
    for (uint64_t i = 0; i <= STEPS; i++)
        t->power[i] = (uint64_t)llround(exp2((double)i / STEPS) * 4294967296.0);
    for (uint64_t rank = 1; rank < CACHED; rank++)
        t->words[rank] = make_word(t, rank);
    t->column = 0;
    t->line_end = LINE_MIN;
}

/* Write one word and what parts it from the next; returns how many bytes. */
static size_t put_word(struct text *t, char *out)
{
    uint64_t rank = draw_rank(t);
    struct word w = rank < CACHED ? t->words[rank] : make_word(t, rank);
    memcpy(out, w.bytes, sizeof w.bytes);
    t->column += w.n;
    if (t->column >= t->line_end) {
        out[w.n - 1] = '\n';
        t->line_end = LINE_MIN + (uint32_t)(t->random >> 32) % 32;
        t->column = 0;
    }
    return w.n;
}

static int write_text(struct text *t, uint64_t bytes)
{
    static char buffer[BUFFER + WORD_MAX];
    while (bytes > 0) {
        size_t wanted = bytes < BUFFER ? (size_t)bytes : BUFFER, n = 0;
        while (n < wanted)
            n += put_word(t, buffer + n);
        if (n > bytes)
            n = (size_t)bytes;
        bytes -= n;
        if (bytes == 0)
            buffer[n - 1] = '\n';
        if (fwrite(buffer, 1, n, stdout) != n)
            return -1;
    }
    return fflush(stdout);
}

static int usage(void)
{
    fprintf(stderr, "usage: data text-zipf|text-distinct BYTES SEED > FILE\n");
    return 2;
}

static int number(const char *text, uint64_t *out)
{
    char *end;
    errno = 0;
    *out = strtoull(text, &end, 10);
    return errno || end == text || *end || *text == '-' ? -1 : 0;
}

int main(int argc, char **argv)
{
    static struct text text;
    uint64_t bytes, seed;
    if (argc != 4 || number(argv[2], &bytes) || number(argv[3], &seed))
        return usage();
    if (!strcmp(argv[1], "text-zipf"))
        text_init(&text, 200000, seed);
    else if (!strcmp(argv[1], "text-distinct"))
        text_init(&text, 16000000, seed);
    else
        return usage();
    if (write_text(&text, bytes)) {
        fprintf(stderr, "data: stdout: %s\n", strerror(errno));
        return 1;
    }
    return 0;
}
