/* waits.c - what can be used, and words for what can't: whoever waits is told for what. */
#include "manager/core/core.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ---- what can be used ---------------------------------------------------------- */

bool waits_usable(const struct executor *x)
{
    return x->state == MEMBER_READY && x->conn;
}

static bool has_label(const char *has, const char *want, size_t n)
{
    for (const char *at = has; *at; at += *at == ',') {
        size_t len = strcspn(at, ",");
        if (len == n && !memcmp(at, want, n))
            return true;
        at += len;
    }
    return false;
}

bool waits_labels(const char *has, const char *wants)
{
    for (const char *at = wants; *at; at += *at == ',') {
        size_t len = strcspn(at, ",");
        if (len && !has_label(has, at, len))
            return false;
        at += len;
    }
    return true;
}

static bool is_barred(const struct manager *m, const struct executor *x, const struct app *a)
{
    uint64_t until;
    return map_get_u64(&a->barred, x->generation, &until) && m->now < until;
}

uint32_t waits_free(const struct executor *x)
{
    return FERRO_PLANT(leased_twice) ? x->slots : x->slots - x->slots_used;
}

static uint64_t free_memory(const struct executor *x)
{
    return x->memory > x->memory_used ? x->memory - x->memory_used : 0;
}

uint32_t waits_room(const struct manager *m, const struct executor *x, const struct app *a)
{
    uint32_t slots = waits_free(x);
    if (!slots || !waits_usable(x) || !waits_labels(x->labels, a->want_labels) || is_barred(m, x, a))
        return 0;
    uint64_t fit = a->want_memory ? free_memory(x) / a->want_memory : slots;
    return fit < slots ? (uint32_t)fit : slots;
}

/* ---- words ------------------------------------------------------------------------ */

struct said {
    char *words;
    size_t size, n;
};

static void say(struct said *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void say(struct said *s, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(s->words + s->n, s->size - s->n, fmt, args);
    va_end(args);
    s->n = s->n + (size_t)n < s->size ? s->n + (size_t)n : s->size - 1;
}

static const char *size_text(uint64_t bytes, char out[24])
{
    static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB" };
    double v = (double)bytes;
    int u = 0;
    for (; v >= 1024 && u < 4; u++)
        v /= 1024;
    snprintf(out, 24, v == (double)(uint64_t)v ? "%.0f %s" : "%.1f %s", v, units[u]);
    return out;
}

static const char *s_of(uint64_t n)
{
    return n == 1 ? "" : "s";
}

static const char *was_of(uint64_t n)
{
    return n == 1 ? "is" : "are";
}

/* How far each executor gets on the way to a slot for `a`. */
struct census {
    uint32_t all, usable, labelled, reachable, large, with_slot;
    uint32_t slots;              /* of those that would do */
    uint64_t memory, memory_now; /* the largest; the most that is free where a slot is */
};

static void census_add(struct census *c, const struct manager *m, const struct executor *x,
                       const struct app *a)
{
    c->all++;
    c->memory = x->memory > c->memory ? x->memory : c->memory;
    if (!waits_usable(x))
        return;
    c->usable++;
    if (!waits_labels(x->labels, a->want_labels))
        return;
    c->labelled++;
    if (is_barred(m, x, a))
        return;
    c->reachable++;
    if (x->memory < a->want_memory)
        return;
    c->large++;
    c->slots += x->slots;
    if (!waits_free(x))
        return;
    c->with_slot++;
    c->memory_now = free_memory(x) > c->memory_now ? free_memory(x) : c->memory_now;
}

static void say_why(struct said *s, const struct census *c, const struct app *a)
{
    char need[24], most[24];
    size_text(a->want_memory, need);
    if (!c->all)
        say(s, "no executor is here; start one: ferro-executor");
    else if (!c->usable)
        say(s, "%u executor%s, all silent or leaving", c->all, s_of(c->all));
    else if (!c->labelled)
        say(s, "%u executor%s, none labelled %s", c->usable, s_of(c->usable), a->want_labels);
    else if (!c->reachable)
        say(s, "%u executor%s, none that its driver can reach", c->labelled, s_of(c->labelled));
    else if (!c->large)
        say(s, "%u executor%s, largest %s", c->all, s_of(c->all), size_text(c->memory, most));
    else if (!c->with_slot)
        say(s, "all %u of %u executor%s %s in use", c->slots, c->large, s_of(c->large), was_of(c->slots));
    else
        say(s, "%u executor%s %s a slot free, with %s at most", c->with_slot, s_of(c->with_slot),
            c->with_slot == 1 ? "has" : "have", size_text(c->memory_now, most));
}

/* "3 more slots with 2 GiB each; 2 executors, largest 1 GiB" */
static void say_wait(const struct manager *m, const struct app *a, char *words, size_t size)
{
    struct said s = { words, size, 0 };
    struct census c = { 0 };
    char need[24];
    uint32_t missing = a->want > a->slots ? a->want - a->slots : 0;
    *words = 0;
    if (!missing)
        return;
    MAP_EACH(&m->joined, i)
        census_add(&c, m, map_at(&m->joined, i), a);
    say(&s, "%u %sslot%s with %s%s; ", missing, a->slots ? "more " : "", s_of(missing),
        size_text(a->want_memory, need), missing == 1 ? "" : " each");
    if (m->now < m->paused_ns)
        say(&s, "most executors fell silent at once: nothing is granted for %llu s",
            (unsigned long long)((m->paused_ns - m->now) / (1000 * MS) + 1));
    else
        say_why(&s, &c, a);
}

void waits_answer(struct manager *m, struct app *a)
{
    char words[sizeof a->said];
    say_wait(m, a, words, sizeof words);
    bool changed = a->say || a->granted != a->said_granted || strcmp(words, a->said);
    a->look = false;
    memcpy(a->said, words, sizeof words);
    if (!changed || !a->driver)
        return;
    struct msg_ask_state s = { .revision = a->revision, .granted = a->granted, .words = bytes_of(a->said) };
    a->say = false;
    a->said_granted = a->granted;
    manager_send(m, a->driver, MSG_ASK_STATE, &s);
}

void waits_submitted(const struct manager *m, const struct app *a, char *words, size_t size)
{
    uint32_t services = 0, places = 0;
    MAP_EACH(&m->peers, i) {
        const struct peer *p = map_at(&m->peers, i);
        services += p->serving;
        places += p->serving ? p->capacity : 0;
    }
    if (!a->library_bytes || a->library.n < a->library_bytes)
        snprintf(words, size, "its library: %zu of %llu bytes are here", a->library.n,
                 (unsigned long long)a->library_bytes);
    else if (!services)
        snprintf(words, size, "no driver service is here; start one: ferro-driver serve");
    else
        snprintf(words, size, "all %u place%s of %u driver service%s %s taken", places, s_of(places),
                 services, s_of(services), was_of(places));
}
