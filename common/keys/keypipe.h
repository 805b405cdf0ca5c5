/* keypipe.h - an application's keys, handed to its driver by a pipe: five lines of Z85.
 *
 * The manager's public key; the driver's public key and secret; the fetch key's public key and secret.
 */
#ifndef FERRO_KEYS_KEYPIPE_H
#define FERRO_KEYS_KEYPIPE_H

#include "common/keys/keys.h"

struct app_keys {
    uint8_t manager[KEY_BYTES];
    struct keypair driver, fetch;
};

/* Read all of `fd` and close it.  Nothing of the text is left in memory.  -1 and `e`. */
int keypipe_read(int fd, struct app_keys *out, struct error *e);

/* A pipe that holds the keys: its read end, close-on-exec; -1 and `e`. */
int keypipe_new(const struct app_keys *keys, struct error *e);

#endif
