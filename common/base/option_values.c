/* option_values.c - numbers, sizes, times, addresses from text.  See option_values.h. */
#include "common/base/option_values.h"

#include <string.h>
#include <strings.h>

struct unit {
    const char *name;
    uint64_t times;
};

static const struct unit sizes[] = {
    { "B", 1 }, { "K", 1024 }, { "M", 1ull << 20 }, { "G", 1ull << 30 }, { "T", 1ull << 40 }, { NULL, 0 },
};
static const struct unit times[] = {
    { "ms", 1 }, { "s", 1000 }, { "m", 60000 }, { "h", 3600000 }, { "d", 86400000 }, { NULL, 0 },
};

/* Decimal digits; *end is what follows them.  -1: none, or too large. */
static int read_digits(const char *text, uint64_t *out, const char **end)
{
    uint64_t v = 0;
    const char *p = text;
    for (; *p >= '0' && *p <= '9'; p++)
        if (__builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, (uint64_t)(*p - '0'), &v))
            return -1;
    *out = v;
    *end = p;
    return p == text ? -1 : 0;
}

int options_u64(const char *text, uint64_t *out)
{
    uint64_t v;
    const char *end;
    if (read_digits(text, &v, &end) < 0 || *end != 0)
        return -1;
    *out = v;
    return 0;
}

static int scale(uint64_t v, uint64_t by, uint64_t *out)
{
    uint64_t product;
    if (__builtin_mul_overflow(v, by, &product))
        return -1;
    *out = product;
    return 0;
}

int options_bytes(const char *text, uint64_t *out)
{
    uint64_t v;
    const char *end;
    if (read_digits(text, &v, &end) < 0)
        return -1;
    if (*end == 0)
        return scale(v, 1, out);
    for (const struct unit *u = sizes; u->name != NULL; u++) {
        if (strncasecmp(end, u->name, 1) != 0)
            continue;
        bool whole = end[1] == 0 ||
                     (u->times > 1 && (strcasecmp(end + 1, "iB") == 0 || strcasecmp(end + 1, "B") == 0));
        return whole ? scale(v, u->times, out) : -1;
    }
    return -1;
}

int options_duration(const char *text, uint64_t *ms)
{
    uint64_t v;
    const char *end;
    if (read_digits(text, &v, &end) < 0)
        return -1;
    if (*end == 0 && v == 0)
        return scale(0, 0, ms);
    for (const struct unit *u = times; u->name != NULL; u++)
        if (strcmp(end, u->name) == 0)
            return scale(v, u->times, ms);
    return -1;
}

int options_hostport(const char *text)
{
    const char *colon = strrchr(text, ':');
    if (colon == NULL || colon == text)
        return -1;
    size_t host = (size_t)(colon - text);
    uint64_t port;
    if (options_u64(colon + 1, &port) < 0 || port > 65535)
        return -1;
    if (text[0] == '[') {
        bool closed = host > 2 && text[host - 1] == ']';
        return closed && strspn(text + 1, "0123456789abcdefABCDEF:.%") >= host - 2 ? 0 : -1;
    }
    for (size_t i = 0; i < host; i++)
        if (text[i] <= ' ' || strchr(":/[]\x7f", text[i]) != NULL)
            return -1;
    return 0;
}

static int read_flag(const char *text, bool *out)
{
    static const char *const words[] = { "0", "1", "no", "yes", "false", "true", "off", "on" };
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcasecmp(text, words[i]) == 0) {
            *out = i & 1;
            return 0;
        }
    return -1;
}

static int read_number(const struct option_row *row, const char *text, uint64_t *out)
{
    uint64_t v;
    int rc = row->type == OPT_U64     ? options_u64(text, &v)
             : row->type == OPT_BYTES ? options_bytes(text, &v)
                                      : options_duration(text, &v);
    if (rc < 0 || v < row->min || (row->max != 0 && v > row->max))
        return -1;
    *out = v;
    return 0;
}

int option_value_read(const struct option_row *row, const char *text, void *field)
{
    bool ok = true;
    switch (row->type) {
    case OPT_FLAG: return read_flag(text, field);
    case OPT_U64:
    case OPT_BYTES:
    case OPT_DURATION: return read_number(row, text, field);
    case OPT_HOSTPORT: ok = options_hostport(text) == 0; break;
    case OPT_PATH: ok = *text != 0; break;
    case OPT_STRING:
    case OPT_LIST: break;
    }
    if (ok)
        *(const char **)field = text;
    return ok ? 0 : -1;
}

/* As one would type it: the largest unit that divides it. */
static void print_number(const struct option_row *row, uint64_t v, char *out, size_t size)
{
    const struct unit *best = NULL;
    for (const struct unit *u = row->type == OPT_BYTES ? sizes : times; u->name != NULL; u++)
        if (v != 0 && v % u->times == 0)
            best = u;
    bool bare = row->type == OPT_U64 || best == NULL || (row->type == OPT_BYTES && best->times == 1);
    snprintf(out, size, "%llu%s", (unsigned long long)(bare ? v : v / best->times), bare ? "" : best->name);
}

const char *option_value_allowed(const struct option_row *row, char *out, size_t size)
{
    static const char *const kinds[] = {
        [OPT_FLAG] = "yes or no",
        [OPT_STRING] = "text",
        [OPT_U64] = "a whole number",
        [OPT_BYTES] = "a size such as 512M or 4G",
        [OPT_DURATION] = "a time such as 500ms or 20s",
        [OPT_HOSTPORT] = "an address such as 127.0.0.1:7400 or [::1]:7400",
        [OPT_PATH] = "a path",
        [OPT_LIST] = "text",
    };
    bool number = row->type == OPT_U64 || row->type == OPT_BYTES || row->type == OPT_DURATION;
    char min[32], max[32];
    print_number(row, row->min, min, sizeof min);
    print_number(row, row->max, max, sizeof max);
    if (number && row->max != 0)
        snprintf(out, size, "%s from %s to %s", kinds[row->type], min, max);
    else if (number && row->min != 0)
        snprintf(out, size, "%s from %s up", kinds[row->type], min);
    else
        snprintf(out, size, "%s", kinds[row->type]);
    return out;
}
