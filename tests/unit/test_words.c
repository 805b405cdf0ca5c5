/* test_words.c - the inline functions of ferro.h over text, against the plain way. */
#include "include/ferro.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#define PAGE 4096u

/* Texts end where the next page can't be read. */
static char *page_end(void)
{
    char *p = mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    cr_assert(p != MAP_FAILED && !mprotect(p + 2 * PAGE, PAGE, PROT_NONE));
    return p + 2 * PAGE;
}

static bool plain_next(const char **p, const char *end, fe_slice *word)
{
    while (*p < end && fe_is_space(**p))
        ++*p;
    word->p = *p;
    while (*p < end && !fe_is_space(**p))
        ++*p;
    word->n = (size_t)(*p - word->p);
    return word->n > 0;
}

static void check_text(const char *text, size_t n)
{
    const char *at = text;
    fe_slice expected, word;
    fe_words w = fe_words_in((fe_slice){ text, n });
    while (plain_next(&at, text + n, &expected)) {
        cr_assert(fe_next_word(&w, &word));
        cr_assert(word.p == expected.p && word.n == expected.n, "at %zu of %zu", (size_t)(word.p - text), n);
    }
    cr_assert(!fe_next_word(&w, &word) && !fe_next_word(&w, &word));
}

Test(words, are_the_runs_between_spaces)
{
    char *end = page_end();
    for (unsigned spread = 1; spread < 200; spread = spread * 2 + 1)
        for (size_t n = 0; n < 330; n++) {
            char *text = end - n;
            for (size_t i = 0; i < n; i++)
                text[i] =
                    (unsigned)rand() % (spread + 1) ? (char)('!' + rand() % 220) : " \t\n\v\f\r"[rand() % 6];
            check_text(text, n);
        }
    check_text(NULL, 0);
}

Test(words, short_copies_stay_within_their_room)
{
    char *from_end = page_end(), *to_end = page_end();
    for (size_t n = 0; n < 50; n++)
        for (size_t room = n; room < n + 40; room++) {
            uint8_t *to = (uint8_t *)to_end - room;
            for (size_t i = 0; i < n; i++)
                from_end[-(ssize_t)n + (ssize_t)i] = (char)(n + i);
            fe_copy(to, room, from_end - n, n);
            cr_assert(n == 0 || !memcmp(to, from_end - n, n));
        }
}

Test(words, fields_are_what_lies_between_separators)
{
    char *end = page_end();
    fe_slice f[200];
    for (size_t n = 0; n < 150; n++)
        for (int shape = 1; shape < 20; shape += 3) {
            char *line = end - n, *start = line;
            for (size_t i = 0; i < n; i++)
                line[i] = rand() % shape ? (char)('0' + rand() % 10) : ';';
            size_t count = fe_fields((fe_slice){ line, n }, ';', f, 200);
            cr_assert_eq(fe_fields((fe_slice){ line, n }, ';', f, 1), count);
            for (size_t i = 0; i < count; i++) {
                char *stop = start < end ? memchr(start, ';', (size_t)(end - start)) : NULL;
                fe_fields((fe_slice){ line, n }, ';', f, 200);
                cr_assert(f[i].p == start && f[i].n == (size_t)((stop ? stop : end) - start));
                start = stop ? stop + 1 : NULL;
            }
            cr_assert_null(start);
        }
    cr_assert_eq(fe_fields((fe_slice){ NULL, 0 }, ';', f, 200), 1);
}

static double parsed(const char *text)
{
    fe_slice s = fe_str(text);
    double f = 0, any = fe_parse_f64_any(s, 12345);
    if (fe_parse_short(s, &f))
        cr_assert(!memcmp(&f, &any, sizeof f), "%s", text);
    return fe_parse_f64(s, 12345);
}

Test(words, short_numbers_are_as_long_ones)
{
    static const char parts[] = "0123456789.-+e x";
    char text[16];
    for (int i = -999; i <= 999; i++) {
        snprintf(text, sizeof text, "%s%d.%d", i < 0 ? "-" : "", abs(i) / 10, abs(i) % 10);
        cr_assert_eq(parsed(text), i / 10.0, "%s", text);
    }
    cr_assert(parsed("99999999") == 99999999 && parsed("-.5") == -0.5 && parsed("7.") == 7);
    cr_assert(parsed("") == 12345 && parsed("-") == 12345 && parsed(".") == 12345 && parsed("-.") == 12345);
    cr_assert(parsed("1..2") == 12345 && parsed("1-2") == 12345 && parsed("0x1") == 12345 &&
              parsed("1e2") == 100);
    cr_assert(signbit(parsed("-0")) && parsed("0.000001") == 0.000001);
    for (int i = 0; i < 300000; i++) {
        int n = rand() % 9;
        for (int k = 0; k < n; k++)
            text[k] = parts[rand() % (i % 2 ? 12 : 16)];
        text[n] = 0;
        double any = fe_parse_f64_any(fe_str(text), 12345), f = parsed(text);
        cr_assert(!memcmp(&f, &any, sizeof f), "%s", text);
    }
}

Test(words, the_last_separator_splits)
{
    char *end = page_end();
    for (size_t n = 0; n < 40; n++)
        for (int i = 0; i < 200; i++) {
            char *line = end - n;
            for (size_t k = 0; k < n; k++)
                line[k] = rand() % (1 + i % 20) ? (char)(';' ^ 1 << rand() % 8) : ';';
            const char *found = n ? memrchr(line, ';', n) : NULL;
            fe_slice before = { "b", 1 }, after = { "a", 1 };
            cr_assert_eq(fe_split_last((fe_slice){ line, n }, ';', &before, &after), found != NULL);
            if (!found)
                cr_assert(*before.p == 'b' && *after.p == 'a');
            else
                cr_assert(before.p == line && before.p + before.n == found && after.p == found + 1 &&
                          after.p + after.n == end);
        }
}

static int64_t decimal(const char *text, unsigned places)
{
    fe_slice s = fe_str(text);
    int64_t i = 0, any = fe_parse_decimal_any(s, places, 12345);
    if (fe_decimal_short(s, places, &i))
        cr_assert_eq(i, any, "%s with %u", text, places);
    return fe_parse_decimal(s, places, 12345);
}

Test(words, decimals_are_integers_of_their_last_place)
{
    static const char parts[] = "0123456789.-+e ";
    char text[32];
    for (int i = -99999; i <= 99999; i++) {
        snprintf(text, sizeof text, "%s%d.%d", i < 0 ? "-" : "", abs(i) / 10, abs(i) % 10);
        cr_assert_eq(decimal(text, 1), i, "%s", text);
        cr_assert_eq(decimal(text, 3), i * 100, "%s", text);
        cr_assert_eq(decimal(text, 0), 12345, "%s", text);
    }
    cr_assert(decimal("7", 2) == 700 && decimal("7.", 2) == 700 && decimal(".5", 2) == 50 &&
              decimal("-.05", 2) == -5 && decimal("+1.25", 2) == 125 && decimal("-0.0", 1) == 0);
    cr_assert(decimal("", 1) == 12345 && decimal("-", 1) == 12345 && decimal(".", 1) == 12345 &&
              decimal("-.", 1) == 12345 && decimal("1.25", 1) == 12345 && decimal("1.2.3", 4) == 12345 &&
              decimal("--1.0", 1) == 12345 && decimal("1.0 ", 1) == 12345 && decimal("0x1.0", 1) == 12345);
    cr_assert(decimal("-9.223372036854775808", 18) == INT64_MIN &&
              decimal("9.223372036854775807", 18) == INT64_MAX);
    cr_assert(decimal("0", 19) == 12345 && decimal("9.223372036854775808", 18) == 12345 &&
              decimal("922337203685477581", 1) == 12345);
    for (int i = 0; i < 300000; i++) {
        int n = rand() % 10;
        for (int k = 0; k < n; k++)
            text[k] = parts[rand() % (i % 2 ? 11 : 15)];
        text[n] = 0;
        int64_t any = fe_parse_decimal_any(fe_str(text), i % 8, 12345);
        cr_assert_eq(decimal(text, i % 8), any, "%s", text);
    }
}
