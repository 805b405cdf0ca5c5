/* keys.h - key files: who may connect, and as what.
 *
 * A folder of keys, made by keys_init() (`ferro keys init DIR`):
 *
 *     manager.key  manager.pub          the manager's pair; its public half, which everyone needs
 *     join.key                          shared by executors
 *     service.key                       ferro-driver serve
 *     users/user.key  users/admin.key   people; more with keys_add_user()
 *     authorized/NAME.pub               what the manager admits: public key, role, name
 *
 * Files are ZPL (zconfig).  A secret file holds the manager's public key too, so
 * that one file is all that a client needs beside the address.  Secret files are
 * 0600 and belong to whoever reads them (or to root); all else is refused.
 */
#ifndef FERRO_KEYS_KEYS_H
#define FERRO_KEYS_KEYS_H

#include "common/base/error.h"
#include "common/core/step.h"

#define KEY_TEXT_BYTES 41 /* z85, with the final NUL */
#define KEY_NAME_MAX 64

struct keypair {
    uint8_t public_key[KEY_BYTES], secret[KEY_BYTES];
};

/* A key file as it was read. */
struct key_file {
    struct keypair pair; /* of a .pub file only the public half */
    uint8_t manager[KEY_BYTES];
    enum role role;
    char name[KEY_NAME_MAX + 1];
};

/* Make what is missing of a folder of keys; what is there stays.  Idempotent. */
int keys_init(const char *dir, struct error *e);
/* Make users/NAME.key and let the manager admit it (it rereads on SIGHUP).  An existing name is an error. */
int keys_add_user(const char *dir, const char *name, bool admin, struct error *e);

/* Read a secret file; refuses one that others may read, or that belongs to somebody else.  The caller wipes it. */
int key_load(const char *path, struct key_file *out, struct error *e);
/* Read each of DIR/authorized/, in byte order of names.  -1 and `e` when one is unreadable or nonsense. */
int keys_authorized(const char *dir, void (*each)(void *user, const struct key_file *key), void *user,
                    struct error *e);

void keypair_make(struct keypair *out);
void key_wipe(void *p, size_t n);
char *key_text(const uint8_t key[KEY_BYTES], char out[KEY_TEXT_BYTES]); /* z85 */
int key_parse(const char *text, uint8_t key[KEY_BYTES]);                /* -1: not 40 z85 characters */

/* For daemons that hold keys: no core dumps, and no reading of our memory by others of the same uid. */
void process_harden(void);

#endif
