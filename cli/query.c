/* query.c - ferro status, executors, apps: tables for people, --json for programs. */
#include "cli/query.h"
#include "cli/session.h"

#include <inttypes.h>
#include <jansson.h>
#include <string.h>
#include <time.h>

struct query {
    struct where where;
    bool json;
};

static const struct option_row rows[] = {
    WHERE_ROWS(query, where),
    { .name = "json", .type = OPT_FLAG, .offset = offsetof(struct query, json), .help = "print JSON" },
    { .name = NULL },
};

char *human_bytes(uint64_t n, char out[16])
{
    static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB" };
    double v = (double)n;
    int u = 0;
    for (; v >= 1024 && u < 4; u++)
        v /= 1024;
    snprintf(out, 16, v >= 100 || u == 0 ? "%.0f %s" : "%.1f %s", v, units[u]);
    return out;
}

static char *human_ms(uint64_t ms, char out[16])
{
    if (ms < 10000)
        snprintf(out, 16, "%.1fs", (double)ms / 1e3);
    else if (ms < 600000)
        snprintf(out, 16, "%" PRIu64 "s", ms / 1000);
    else if (ms < 36000000)
        snprintf(out, 16, "%" PRIu64 "m", ms / 60000);
    else
        snprintf(out, 16, "%" PRIu64 "h", ms / 3600000);
    return out;
}

static json_t *text(struct bytes b)
{
    return json_stringn((const char *)b.p, b.n);
}

void json_out(json_t *j)
{
    json_dumpf(j, stdout, JSON_INDENT(2));
    fputc('\n', stdout);
    json_decref(j);
}

/* ---- executors ---------------------------------------------------------- */

static json_t *executor_json(const struct rec_executor_row *r)
{
    return json_pack("{so so so sI sI sI sI sI so}", "id", text(r->id), "host", text(r->host), "control",
                     text(r->control), "slots", (json_int_t)r->slots, "slots_used", (json_int_t)r->slots_used,
                     "memory", (json_int_t)r->memory, "memory_used", (json_int_t)r->memory_used,
                     "beat_age_ms", (json_int_t)r->beat_age_ms, "state", text(r->state));
}

static json_t *executors_json(const struct msg_executors *m)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < m->rows.n; i++)
        json_array_append_new(list, executor_json(&m->rows.v[i]));
    return list;
}

static void executors_table(const struct msg_executors *m)
{
    printf("%-9s %-20s %-8s %-20s %-6s %s\n", "ID", "HOST", "SLOTS", "MEMORY", "BEAT", "STATE");
    for (uint32_t i = 0; i < m->rows.n; i++) {
        const struct rec_executor_row *r = &m->rows.v[i];
        char id[17], host[64], state[17], slots[32], used[16], all[16], memory[40], beat[16];
        snprintf(slots, sizeof slots, "%u/%u", r->slots_used, r->slots);
        snprintf(memory, sizeof memory, "%s/%s", human_bytes(r->memory_used, used),
                 human_bytes(r->memory, all));
        printf("%-9s %-20s %-8s %-20s %-6s %s\n", bytes_text(r->id, id, sizeof id),
               bytes_text(r->host, host, sizeof host), slots, memory, human_ms(r->beat_age_ms, beat),
               bytes_text(r->state, state, sizeof state));
    }
}

/* ---- applications ------------------------------------------------------- */

json_t *app_json(const struct rec_app_row *r)
{
    return json_pack("{sI so so so so sI sI sI sI so}", "app", (json_int_t)r->app, "name", text(r->name),
                     "user", text(r->user), "mode", text(r->mode), "state", text(r->state), "slots",
                     (json_int_t)r->slots, "started_ms", (json_int_t)r->started_ms, "ended_ms",
                     (json_int_t)r->ended_ms, "exit_code", (json_int_t)r->exit_code, "words", text(r->words));
}

void app_line(const struct rec_app_row *r)
{
    char name[65], user[65], mode[9], state[17], words[513], took[16] = "";
    struct bytes first = r->words; /* of several lines: the rest is in --json, and in ferro logs */
    const uint8_t *newline = first.n ? memchr(first.p, '\n', first.n) : NULL;
    if (newline)
        first.n = (uint32_t)(newline - first.p);
    uint64_t end = r->ended_ms ? r->ended_ms : (uint64_t)time(NULL) * 1000;
    if (r->started_ms && end >= r->started_ms)
        human_ms(end - r->started_ms, took);
    printf("%-5" PRIu64 " %-20s %-12s %-8s %-8s %-6u %-6s%s%s\n", r->app,
           bytes_text(r->name, name, sizeof name), bytes_text(r->user, user, sizeof user),
           bytes_text(r->mode, mode, sizeof mode), bytes_text(r->state, state, sizeof state), r->slots, took,
           r->words.n ? " " : "", bytes_text(first, words, sizeof words));
}

void app_heading(void)
{
    printf("%-5s %-20s %-12s %-8s %-8s %-6s %-6s %s\n", "ID", "NAME", "USER", "MODE", "STATE", "SLOTS",
           "TIME", "WORDS");
}

/* ---- the verbs ---------------------------------------------------------- */

static int show_executors(struct session *s, bool json)
{
    int code;
    const struct msg_executors *m = session_call(s, MSG_LIST_EXECUTORS, NULL, MSG_EXECUTORS, &code);
    if (!m)
        return code;
    if (json)
        json_out(executors_json(m));
    else if (m->rows.n)
        executors_table(m);
    else
        puts("no executors; start one: ferro-executor --manager HOST:PORT --key join.key");
    return EXIT_GOOD;
}

static int show_apps(struct session *s, bool json)
{
    int code;
    const struct msg_apps *m = session_call(s, MSG_LIST_APPS, &(struct msg_list_apps){ 0 }, MSG_APPS, &code);
    if (!m)
        return code;
    if (json) {
        json_t *list = json_array();
        for (uint32_t i = 0; i < m->rows.n; i++)
            json_array_append_new(list, app_json(&m->rows.v[i]));
        json_out(list);
        return EXIT_GOOD;
    }
    app_heading();
    for (uint32_t i = 0; i < m->rows.n; i++)
        app_line(&m->rows.v[i]);
    return EXIT_GOOD;
}

static json_t *status_json(const struct msg_status_is *m, uint64_t epoch)
{
    return json_pack("{so sI sI sI sI sI sI sI sI sI sI sI}", "version", text(m->version), "epoch",
                     (json_int_t)epoch, "up_ms", (json_int_t)m->up_ms, "drivers", (json_int_t)m->drivers,
                     "serve_used", (json_int_t)m->serve_used, "serve_capacity", (json_int_t)m->serve_capacity,
                     "executors", (json_int_t)m->executors, "slots", (json_int_t)m->slots, "slots_used",
                     (json_int_t)m->slots_used, "apps_running", (json_int_t)m->apps_running, "apps_waiting",
                     (json_int_t)m->apps_waiting, "refused", (json_int_t)m->refused);
}

static int show_status(struct session *s, bool json)
{
    int code;
    const struct msg_status_is *m = session_call(s, MSG_STATUS, NULL, MSG_STATUS_IS, &code);
    if (!m)
        return code;
    uint64_t epoch = client_epoch(s->client);
    if (json) {
        json_out(status_json(m, epoch));
        return EXIT_GOOD;
    }
    char version[33], up[16];
    printf("manager %s up %s epoch %" PRIu64
           " · drivers %u, %u/%u apps · executors %u · slots %u/%u · apps %u running, %u waiting\n",
           bytes_text(m->version, version, sizeof version), human_ms(m->up_ms, up), epoch, m->drivers,
           m->serve_used, m->serve_capacity, m->executors, m->slots_used, m->slots, m->apps_running,
           m->apps_waiting);
    return m->executors ? show_executors(s, false) : EXIT_GOOD;
}

static int query(const char *name, const char *about, int (*show)(struct session *, bool), int argc,
                 char **argv)
{
    struct options_program program = { .name = name, .usage = "[OPTION]...", .about = about, .rows = rows };
    struct arena a = { 0 };
    struct query q = { 0 };
    struct session s;
    int code = verb_options(&program, argc, argv, &q, NULL, &a);
    if (code < 0 && (code = session_open(&s, &q.where)) == 0) {
        code = show(&s, q.json);
        session_close(&s);
    }
    arena_fini(&a);
    return code;
}

int verb_status(int argc, char **argv)
{
    return query("ferro status", "The cluster in a few numbers, and its executors.", show_status, argc, argv);
}

int verb_executors(int argc, char **argv)
{
    return query("ferro executors",
                 "Lists the executors: slots and memory in use, age of the last beat, state.", show_executors,
                 argc, argv);
}

int verb_apps(int argc, char **argv)
{
    return query("ferro apps", "Lists your applications, newest first; an admin's key lists everybody's.",
                 show_apps, argc, argv);
}
