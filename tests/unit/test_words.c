/* test_words.c - words of a line, and short copies, against the plain way. */
#include "include/ferro.h"

#include <criterion/criterion.h>
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
    for (size_t n = 0; n < 40; n++)
        for (size_t room = n; room < n + 20; room++) {
            uint8_t *to = (uint8_t *)to_end - room;
            for (size_t i = 0; i < n; i++)
                from_end[-(ssize_t)n + (ssize_t)i] = (char)(n + i);
            fe_copy(to, room, from_end - n, n);
            cr_assert(n == 0 || !memcmp(to, from_end - n, n));
        }
}
