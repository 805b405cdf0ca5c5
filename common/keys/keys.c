/* keys.c - see keys.h. */
#include "common/keys/keys.h"

#include <czmq.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sodium.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define KEY_FILE_BYTES_MAX 4096

static const struct role_row {
    enum role role;
    const char *name;
} role_rows[] = {
    { ROLE_MANAGER, "manager" }, { ROLE_JOIN, "executor" }, { ROLE_SERVICE, "driver" },
    { ROLE_USER, "user" },       { ROLE_ADMIN, "admin" },
};
enum { ROLES = sizeof role_rows / sizeof *role_rows };

static const char *role_text(enum role role)
{
    for (int i = 0; i < ROLES; i++)
        if (role_rows[i].role == role)
            return role_rows[i].name;
    return "?";
}

static enum role role_parse(const char *text)
{
    for (int i = 0; i < ROLES; i++)
        if (!strcmp(role_rows[i].name, text))
            return role_rows[i].role;
    return 0;
}

/* ---- keys --------------------------------------------------------------- */

void keypair_make(struct keypair *out)
{
    if (sodium_init() < 0)
        abort(); /* no source of randomness: nothing can be secure */
    crypto_box_keypair(out->public_key, out->secret);
}

void key_wipe(void *p, size_t n)
{
    sodium_memzero(p, n);
}

char *key_text(const uint8_t key[KEY_BYTES], char out[KEY_TEXT_BYTES])
{
    return zmq_z85_encode(out, key, KEY_BYTES);
}

int key_parse(const char *text, uint8_t key[KEY_BYTES])
{
    return strlen(text) == KEY_TEXT_BYTES - 1 && zmq_z85_decode(key, text) ? 0 : -1;
}

void process_harden(void)
{
    struct rlimit none = { 0, 0 };
    prctl(PR_SET_DUMPABLE, 0);
    setrlimit(RLIMIT_CORE, &none);
}

/* ---- files -------------------------------------------------------------- */

static void put_key(zconfig_t *root, const char *path, const uint8_t key[KEY_BYTES])
{
    char text[KEY_TEXT_BYTES];
    zconfig_put(root, path, key_text(key, text));
    key_wipe(text, sizeof text);
}

/* Write a file whole or not at all; an existing one is left as it is. */
static int file_put(const char *path, zconfig_t *root, mode_t mode, struct error *e)
{
    char made[PATH_MAX];
    snprintf(made, sizeof made, "%s.%d", path, (int)getpid());
    char *text = zconfig_str_save(root);
    int fd = open(made, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text) || fsync(fd) || fchmod(fd, mode))
        error_sys(e, "%s", path);
    else if (link(made, path) && errno != EEXIST)
        error_sys(e, "%s", path);
    else
        e = NULL;
    if (fd >= 0) {
        close(fd);
        unlink(made);
    }
    key_wipe(text, strlen(text));
    freen(text);
    return e ? -1 : 0;
}

/* CZMQ frees what a tree holds as it is. */
static void tree_wipe(zconfig_t **root)
{
    char *secret = *root ? zconfig_get(*root, "key/secret", NULL) : NULL;
    if (secret)
        key_wipe(secret, strlen(secret));
    zconfig_destroy(root);
}

static int secret_put(const char *path, const struct key_file *k, struct error *e)
{
    zconfig_t *root = zconfig_new("root", NULL);
    zconfig_put(root, "key/name", k->name);
    zconfig_put(root, "key/role", role_text(k->role));
    put_key(root, "key/public", k->pair.public_key);
    put_key(root, "key/secret", k->pair.secret);
    put_key(root, "manager/public", k->manager);
    int r = file_put(path, root, 0600, e);
    tree_wipe(&root);
    return r;
}

static int public_put(const char *path, const struct key_file *k, struct error *e)
{
    zconfig_t *root = zconfig_new("root", NULL);
    zconfig_put(root, "key/name", k->name);
    zconfig_put(root, "key/role", role_text(k->role));
    put_key(root, "key/public", k->pair.public_key);
    int r = file_put(path, root, 0644, e);
    zconfig_destroy(&root);
    return r;
}

static int file_read(const char *path, char text[KEY_FILE_BYTES_MAX], struct stat *st, struct error *e)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return error_sys(e, "key %s", path);
    ssize_t n = fstat(fd, st) ? -1 : S_ISREG(st->st_mode) ? read(fd, text, KEY_FILE_BYTES_MAX - 1) : 0;
    close(fd);
    if (n < 0)
        return error_sys(e, "key %s", path);
    if (!S_ISREG(st->st_mode))
        return error_set(e, EINVAL, "key %s: not a file", path);
    text[n] = 0;
    return 0;
}

static int check_secret(const char *path, const struct stat *st, struct error *e)
{
    if (st->st_mode & 077)
        return error_set(e, EACCES, "key %s: others may read it (mode %04o); chmod 600 it", path,
                         st->st_mode & 07777);
    if (st->st_uid != geteuid() && st->st_uid != 0)
        return error_set(e, EACCES, "key %s: belongs to uid %u, not to uid %u", path, st->st_uid, geteuid());
    return 0;
}

static int key_of(const zconfig_t *root, const char *path, uint8_t key[KEY_BYTES])
{
    return key_parse(zconfig_get((zconfig_t *)root, path, ""), key);
}

static int key_read(const char *path, bool secret, struct key_file *out, struct error *e)
{
    char text[KEY_FILE_BYTES_MAX];
    struct stat st;
    *out = (struct key_file){ 0 };
    if (file_read(path, text, &st, e)) {
        key_wipe(text, sizeof text);
        return -1;
    }
    zconfig_t *root =
        strstr(text, "public = ") ? zconfig_str_load(text) : NULL; /* CZMQ complains of any other */
    bool has_public = root && key_of(root, "key/public", out->pair.public_key) == 0;
    bool whole = has_public && (!secret || (key_of(root, "key/secret", out->pair.secret) == 0 &&
                                            key_of(root, "manager/public", out->manager) == 0));
    if (whole) {
        snprintf(out->name, sizeof out->name, "%s", zconfig_get(root, "key/name", ""));
        out->role = role_parse(zconfig_get(root, "key/role", ""));
    }
    tree_wipe(&root);
    key_wipe(text, sizeof text);
    if (whole && out->role && (!secret || check_secret(path, &st, e) == 0))
        return 0;
    bool refused = whole && out->role;
    key_wipe(out, sizeof *out);
    if (refused)
        return -1;
    if (has_public && !whole)
        return error_set(e, EINVAL, "key %s: a public key, or half a file: it holds no secret", path);
    return error_set(e, EINVAL, "key %s: not a whole key file; make keys with `ferro keys init DIR`", path);
}

int key_load(const char *path, struct key_file *out, struct error *e)
{
    return key_read(path, true, out, e);
}

/* ---- the folder --------------------------------------------------------- */

static int folder_make(const char *dir, const char *name, mode_t mode, struct error *e)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    if (mkdir(path, mode) && errno != EEXIST)
        return error_sys(e, "%s", path);
    return 0;
}

/* One key of the folder: its secret file, and what the manager admits.  The
 * public file is remade from the secret one, so that an interrupted init heals. */
static int key_make(const char *dir, const char *file, const char *name, enum role role,
                    const uint8_t manager[KEY_BYTES], struct key_file *out, struct error *e)
{
    char path[PATH_MAX], admitted[PATH_MAX];
    struct key_file k = { .role = role };
    snprintf(path, sizeof path, "%s/%s", dir, file);
    snprintf(admitted, sizeof admitted, "%s/authorized/%s.pub", dir, name);
    snprintf(k.name, sizeof k.name, "%s", name);
    if (access(path, F_OK)) {
        keypair_make(&k.pair);
        memcpy(k.manager, manager ? manager : k.pair.public_key, KEY_BYTES);
        int r = secret_put(path, &k, e);
        key_wipe(&k, sizeof k);
        if (r)
            return -1;
    }
    if (key_load(path, out, e))
        return -1;
    return role == ROLE_MANAGER ? 0 : public_put(admitted, out, e);
}

int keys_init(const char *dir, struct error *e)
{
    static const struct {
        const char *file, *name;
        enum role role;
    } own[] = {
        { "join.key", "join", ROLE_JOIN },
        { "service.key", "service", ROLE_SERVICE },
        { "users/user.key", "user", ROLE_USER },
        { "users/admin.key", "admin", ROLE_ADMIN },
    };
    char path[PATH_MAX];
    struct key_file manager = { 0 }, k = { 0 };
    if (folder_make(dir, "", 0700, e) || folder_make(dir, "users", 0700, e) ||
        folder_make(dir, "authorized", 0755, e))
        return -1;
    snprintf(path, sizeof path, "%s/manager.pub", dir);
    int r = key_make(dir, "manager.key", "manager", ROLE_MANAGER, NULL, &manager, e);
    if (r == 0)
        r = public_put(path, &manager, e);
    for (size_t i = 0; r == 0 && i < sizeof own / sizeof *own; i++)
        r = key_make(dir, own[i].file, own[i].name, own[i].role, manager.pair.public_key, &k, e);
    key_wipe(&manager, sizeof manager);
    key_wipe(&k, sizeof k);
    return r;
}

int keys_add_user(const char *dir, const char *name, bool admin, struct error *e)
{
    char file[KEY_NAME_MAX + 16], path[PATH_MAX];
    struct key_file manager, k = { 0 };
    if (!*name || strlen(name) > KEY_NAME_MAX - 8 || name[0] == '.' || strpbrk(name, "/\"\n"))
        return error_set(e, EINVAL, "'%s' is no name for a user: 1 to %d characters, no '/', no leading '.'",
                         name, KEY_NAME_MAX - 8);
    snprintf(path, sizeof path, "%s/manager.key", dir);
    if (key_load(path, &manager, e))
        return -1;
    snprintf(file, sizeof file, "users/%s.key", name);
    snprintf(path, sizeof path, "%s/authorized/%s.pub", dir, name);
    int r = access(path, F_OK) == 0
                ? error_set(e, EEXIST, "%s: exists; remove it and %s first to make a new one", path, file)
                : key_make(dir, file, name, admin ? ROLE_ADMIN : ROLE_USER, manager.pair.public_key, &k, e);
    key_wipe(&manager, sizeof manager);
    key_wipe(&k, sizeof k);
    return r;
}

static int is_public(const struct dirent *d)
{
    const char *dot = strrchr(d->d_name, '.');
    return d->d_name[0] != '.' && dot && !strcmp(dot, ".pub");
}

int keys_authorized(const char *dir, void (*each)(void *user, const struct key_file *key), void *user,
                    struct error *e)
{
    char path[PATH_MAX];
    struct dirent **found;
    struct key_file k;
    snprintf(path, sizeof path, "%s/authorized", dir);
    int n = scandir(path, &found, is_public, alphasort), r = 0;
    if (n < 0)
        return error_sys(e, "keys %s", path);
    for (int i = 0; i < n; i++) {
        snprintf(path, sizeof path, "%s/authorized/%s", dir, found[i]->d_name);
        if (r == 0 && (r = key_read(path, false, &k, e)) == 0)
            each(user, &k);
        free(found[i]);
    }
    free(found);
    return r;
}
