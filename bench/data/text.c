/* text.c - lines of words drawn by Zipf's law
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
 */
#include "data.h"

#include <string.h>

#define WORD_MAX 16 /* room that one word may touch; it has 11 bytes at most, and a space */
#define LINE_MIN 60
#define CACHED 262144 /* words made once and kept; rarer ones are made each time */

struct word {
    char bytes[WORD_MAX - 1];
    uint8_t n;
};

struct text {
    uint64_t random, seed;
    uint32_t column, line_end; /* bytes in this line so far; where a newline is due */
    struct zipf ranks;
    struct word words[CACHED];
};

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
    zipf_init(&t->ranks, vocabulary);
    for (uint64_t rank = 1; rank < CACHED; rank++)
        t->words[rank] = make_word(t, rank);
    t->column = 0;
    t->line_end = LINE_MIN;
}

/* Write one word and what parts it from the next; returns how many bytes. */
static size_t put_word(struct text *t, char *out)
{
    uint64_t rank = zipf_draw(&t->ranks, &t->random);
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

static void write_text(uint64_t vocabulary, const struct wanted *w)
{
    static struct text text;
    text_init(&text, vocabulary, w->seed);
    for (uint64_t left = w->size; left > 0;) {
        char *room = out_room(WORD_MAX);
        size_t n = put_word(&text, room);
        if (n >= left) {
            n = (size_t)left;
            room[n - 1] = '\n';
        }
        out_take(n);
        left -= n;
    }
}

void write_text_zipf(const struct wanted *w)
{
    write_text(200000, w);
}

void write_text_distinct(const struct wanted *w)
{
    write_text(16000000, w);
}
