/* lengths.cc - how long words are: SEPARATORS FILES...
 *
 * In C++.  A word is a maximal run of bytes of a line that are none of the separators' (and no spaces).  Prints how many
 * words there are of each length, and how long they are in the mean.
 */
#include <ferro.h>

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <string_view>

namespace
{

constexpr size_t longest = 40; /* longer ones are counted with these */

/* What every task is told: bytes without pointers. */
struct separators {
    char bytes[64];
};

struct lengths {
    int64_t words[longest + 1], letters;
};

void add(fe_task *task, void *acc, fe_slice, fe_slice value)
{
    auto &found = *static_cast<lengths *>(acc);
    const std::string_view line(value.p, value.n), between(FERRO_ARGS(separators, task)->bytes);
    for (size_t at = 0; (at = line.find_first_not_of(between, at)) != line.npos;) {
        const size_t end = std::min(line.find_first_of(between, at), line.size());
        found.words[std::min(end - at, longest)]++;
        found.letters += static_cast<int64_t>(end - at);
        at = end;
    }
}

void merge(fe_task *, void *acc, const void *other)
{
    auto &all = *static_cast<lengths *>(acc);
    const auto &found = *static_cast<const lengths *>(other);
    for (size_t i = 0; i <= longest; i++)
        all.words[i] += found.words[i];
    all.letters += found.letters;
}

int run(fe_app *app, int argc, char **argv)
{
    separators between = {};
    if (argc < 3 ||
        snprintf(between.bytes, sizeof between.bytes, " \t\r%s", argv[1]) >= int(sizeof between.bytes)) {
        fprintf(stderr, "usage: lengths SEPARATORS FILES...\n");
        return -1;
    }
    lengths all;
    fe_set *lines = fe_with(fe_text(app, argc - 2, argv + 2), &between, sizeof between);
    if (fe_aggregate(lines, &all, sizeof all, add, merge))
        return -1;
    int64_t words = 0;
    for (size_t i = 1; i <= longest; i++) {
        words += all.words[i];
        if (all.words[i])
            printf("%2zu%s %" PRId64 "\n", i, i == longest ? "+" : " ", all.words[i]);
    }
    printf("mean %.2f\n", words ? double(all.letters) / double(words) : 0.0);
    return 0;
}

} /* namespace */

FERRO_JOB("lengths", run)
