/* test_store.c - the manager's store: what was said is there after a restart, and what can't be trusted is refused. */
#include "common/base/tree.h"
#include "manager/store/store.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <poll.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static char dir[64], file[80];
static struct error e;

static void set_up(void)
{
    snprintf(dir, sizeof dir, "/tmp/ferro-store-XXXXXX");
    cr_assert(mkdtemp(dir));
    snprintf(file, sizeof file, "%s/manager.db", dir);
}

static void tear_down(void)
{
    tree_remove(dir);
}

TestSuite(store, .init = set_up, .fini = tear_down, .timeout = 60);

static struct store *opened(void)
{
    struct store *s = store_open(dir, true, &e);
    cr_assert_not_null(s, "%s", e.words);
    return s;
}

/* Put one application, and wait until it is stored. */
static void put(struct store *s, uint64_t app, const char *state, uint64_t ended_ms)
{
    struct store_record r = { .app = { .app = app, .started_ms = 5, .ended_ms = ended_ms, .exit_code = 3 } };
    uint64_t id = 0;
    snprintf(r.app.name, sizeof r.app.name, "job");
    snprintf(r.app.state, sizeof r.app.state, "%s", state);
    memset(r.app.fetch_secret, 7, KEY_BYTES);
    store_put(s, 1000 + app, &r);
    struct pollfd p = { .fd = store_fd(s), .events = POLLIN };
    int got = 0;
    while (got == 0 && poll(&p, 1, 10000) == 1)
        got = store_take(s, &id, &e);
    cr_assert_eq(got, 1, "%s", e.words);
    cr_assert_eq(id, 1000 + app);
}

static void sql(const char *text)
{
    sqlite3 *db;
    cr_assert_eq(sqlite3_open(file, &db), SQLITE_OK);
    cr_assert_eq(sqlite3_exec(db, text, NULL, NULL, NULL), SQLITE_OK, "%s", sqlite3_errmsg(db));
    cr_assert_eq(sqlite3_close(db), SQLITE_OK);
}

static void refused(int code, const char *words)
{
    cr_assert_null(store_open(dir, true, &e));
    cr_assert_eq(e.code, code, "%d: %s", e.code, e.words);
    cr_assert(strstr(e.words, words) && strstr(e.words, "manager.db"), "%s", e.words);
}

Test(store, a_new_one_is_empty_and_each_start_is_an_epoch)
{
    struct stat st;
    for (uint64_t epoch = 1; epoch <= 3; epoch++) {
        struct store *s = opened();
        cr_assert_eq(store_state(s)->epoch, epoch);
        cr_assert_eq(store_state(s)->napps, 0);
        cr_assert_eq(store_state(s)->next_app, 1);
        store_close(&s);
    }
    cr_assert_eq(stat(file, &st), 0);
    cr_assert_eq(st.st_mode & 077, 0);
}

Test(store, keeps_the_last_word_of_each_application)
{
    struct store *s = opened();
    put(s, 1, "running", 0);
    put(s, 7, "running", 0);
    put(s, 1, "ok", 9);
    store_close(&s);
    s = opened();
    const struct store_state *state = store_state(s);
    cr_assert_eq(state->napps, 2);
    cr_assert_eq(state->next_app, 8);
    cr_assert_eq(state->apps[0].app, 1);
    cr_assert_str_eq(state->apps[0].state, "ok");
    cr_assert_eq(state->apps[0].ended_ms, 9);
    cr_assert_eq(state->apps[0].exit_code, 3);
    cr_assert_str_eq(state->apps[1].name, "job");
    cr_assert_eq(state->apps[1].fetch_secret[KEY_BYTES - 1], 7);
    store_close(&s);
}

Test(store, writes_what_is_queued_before_it_closes)
{
    struct store *s = opened();
    struct store_record r = { .app = { .app = 4 } };
    store_put(s, 1, &r);
    store_close(&s);
    s = opened();
    cr_assert_eq(store_state(s)->napps, 1);
    store_close(&s);
}

Test(store, is_of_one_manager_at_a_time)
{
    struct store *s = opened();
    refused(EBUSY, "another manager");
    store_close(&s);
    s = opened();
    store_close(&s);
}

Test(store, refuses_a_damaged_file)
{
    struct store *s = opened();
    store_close(&s);
    FILE *f = fopen(file, "r+");
    cr_assert(f);
    for (int i = 0; i < 4096; i++)
        fputc(0xA5, f);
    fclose(f);
    refused(EILSEQ, "damaged");
}

Test(store, refuses_a_file_of_a_later_version)
{
    struct store *s = opened();
    store_close(&s);
    sql("PRAGMA user_version = 99");
    refused(EPROTO, "later version");
}

Test(store, a_folder_that_cannot_be_made_is_said)
{
    snprintf(dir, sizeof dir, "/proc/ferro");
    cr_assert_null(store_open(dir, true, &e));
    cr_assert(strstr(e.words, "/proc/ferro"), "%s", e.words);
}

Test(store, a_start_drops_what_ended_long_ago_and_loads_the_newest)
{
    char text[512];
    struct store *s = opened();
    put(s, 1, "running", 0);
    store_close(&s);
    snprintf(text, sizeof text,
             "WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < %d) INSERT INTO apps "
             "SELECT i, 'j', 'u', 'client', 'ok', '', x'', x'', x'', 1, 1, 0 FROM n",
             STORE_ENDED_KEPT + 100);
    sql(text);
    s = opened();
    const struct store_state *state = store_state(s);
    cr_assert_eq(state->napps, STORE_ENDED_LOADED + 1);
    cr_assert_eq(state->apps[0].app, 1); /* it runs: never dropped */
    cr_assert_eq(state->apps[1].app, STORE_ENDED_KEPT + 100 - STORE_ENDED_LOADED + 1);
    store_close(&s);
    sqlite3 *db;
    sqlite3_stmt *q;
    cr_assert_eq(sqlite3_open(file, &db), SQLITE_OK);
    cr_assert_eq(
        sqlite3_prepare_v2(db, "SELECT count(*), min(app) FROM apps WHERE ended_ms > 0", -1, &q, NULL),
        SQLITE_OK);
    cr_assert_eq(sqlite3_step(q), SQLITE_ROW);
    cr_assert_leq(sqlite3_column_int(q, 0), STORE_ENDED_KEPT + 1);
    cr_assert_geq(sqlite3_column_int(q, 1), 100);
    sqlite3_finalize(q);
    sqlite3_close(db);
}
