/* lines.c - lines to sort, and lines to group
 *
 *   records  SIZE lines of exactly 100 bytes: a key of 10 printable bytes (each of the
 *            95 alike, space to tilde), a space, the row's number in 20 digits, a
 *            space, 67 bytes of filler and a newline.  Keys of 10 M rows are distinct
 *            but for chance (about 1 in 10^6 for any pair at all).
 *   csv      SIZE lines `name;value`.  413 names of 3 to 25 bytes, of one or two words,
 *            some with letters of two bytes in UTF-8.  The i-th comes with probability
 *            sqrt((i + 1) / 413) - sqrt(i / 413): the first takes 4.9 %, the last 0.12 %.
 *            Values have one decimal: each name's own mean, from -48.9 to 48.9, and the sum of
 *            four uniform draws around it, so that they lie from -99.9 to 99.9.
 */
#include "data.h"

#include <stdio.h>
#include <string.h>

#define KEY_BYTES 10
#define RECORD_BYTES 100
#define DIGITS 20

#define NAMES 413
#define NAME_MIN 3
#define NAME_MAX 25
#define SPREAD 510 /* tenths that a value may be off its name's mean */
#define VALUE_MAX 999
#define VALUE_BYTES 8 /* room that one value touches: sign, two digits, point, digit, newline */

/* ---- records ------------------------------------------------------------- */
static void put_key(char *out, uint64_t *stream)
{
    for (int half = 0; half < 2; half++) {
        uint64_t x = next_random(stream);
        for (int i = 0; i < KEY_BYTES / 2; i++) {
            unsigned __int128 wide = (unsigned __int128)x * 95;
            *out++ = (char)(' ' + (int)(wide >> 64));
            x = (uint64_t)wide;
        }
    }
}

void write_records(const struct wanted *w)
{
    static const char filler[] =
        "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz"
        "abcdefghijklmnopqrstuvwxyz";
    uint64_t stream = mix(w->seed);
    for (uint64_t row = 0; row < w->size; row++) {
        char *line = out_room(RECORD_BYTES), *digits = line + KEY_BYTES + 1;
        put_key(line, &stream);
        digits[-1] = ' ';
        uint64_t left = row;
        for (int i = DIGITS - 1; i >= 0; i--, left /= 10)
            digits[i] = (char)('0' + left % 10);
        digits[DIGITS] = ' ';
        char *rest = digits + DIGITS + 1;
        memcpy(rest, filler + row % 26, (size_t)(line + RECORD_BYTES - 1 - rest));
        line[RECORD_BYTES - 1] = '\n';
        out_take(RECORD_BYTES);
    }
}

/* ---- csv ----------------------------------------------------------------- */
struct name {
    char bytes[NAME_MAX + 1]; /* with its semicolon */
    uint32_t n;
    int32_t mean; /* tenths */
};

/* Letters until it is long enough.  The number of the name, in two letters at its front, keeps names apart. */
static struct name make_name(unsigned number, uint64_t *stream)
{
    static const char *const vowels[] = { "a", "e", "i", "o",        "u",        "a",
                                          "e", "i", "o", "\xc3\xa9", "\xc3\xbc", "\xc3\xb8" };
    struct name name = { .mean = (int32_t)draw_below(stream, 2 * (VALUE_MAX - SPREAD) + 1) -
                                 (VALUE_MAX - SPREAD) };
    uint32_t n = 0, length = NAME_MIN + (uint32_t)draw_below(stream, NAME_MAX - NAME_MIN + 1);
    name.bytes[n++] = (char)('A' + number % 26);
    name.bytes[n++] = (char)('a' + number / 26);
    while (n < length) {
        const char *vowel = vowels[draw_below(stream, length - n < 2 ? 5 : sizeof vowels / sizeof *vowels)];
        uint64_t kind = draw_below(stream, 32);
        if (kind == 0 && n > 3 && n + 2 < length && name.bytes[n - 1] != ' ')
            name.bytes[n++] = ' ';
        else if (kind % 2)
            name.bytes[n++] = (char)('a' + draw_below(stream, 26));
        else
            for (; *vowel; vowel++)
                name.bytes[n++] = *vowel;
    }
    name.bytes[n++] = ';';
    name.n = n;
    return name;
}

/* All values there are, each with its newline, and in the last byte how long it is. */
static void make_values(char values[][VALUE_BYTES])
{
    for (int v = -VALUE_MAX; v <= VALUE_MAX; v++) {
        char *out = values[v + VALUE_MAX];
        unsigned tenths = (unsigned)(v < 0 ? -v : v);
        int n = snprintf(out, VALUE_BYTES, "%s%u.%u\n", v < 0 ? "-" : "", tenths / 10 % 100, tenths % 10);
        out[VALUE_BYTES - 1] = (char)n;
    }
}

static int draw_value(const struct name *name, uint64_t random)
{
    int sum = (int)((random & 255) + (random >> 8 & 255) + (random >> 16 & 255) + (random >> 24 & 255));
    return name->mean + sum - SPREAD;
}

void write_csv(const struct wanted *w)
{
    static struct name names[NAMES];
    static char values[2 * VALUE_MAX + 1][VALUE_BYTES];
    uint64_t stream = mix(w->seed);
    for (unsigned i = 0; i < NAMES; i++)
        names[i] = make_name(i, &stream);
    make_values(values);
    for (uint64_t row = 0; row < w->size; row++) {
        char *line = out_room(sizeof names[0].bytes + VALUE_BYTES);
        uint64_t random = next_random(&stream), x = random >> 32;
        const struct name *name = &names[(x * x >> 32) * NAMES >> 32];
        const char *value = values[draw_value(name, random) + VALUE_MAX];
        memcpy(line, name->bytes, sizeof name->bytes);
        memcpy(line + name->n, value, VALUE_BYTES);
        out_take(name->n + (size_t)value[VALUE_BYTES - 1]);
    }
}
