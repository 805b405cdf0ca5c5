/* keypipe.c - see keypipe.h. */
#include "common/keys/keypipe.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define LINES 5
#define TEXT_BYTES (LINES * KEY_TEXT_BYTES) /* 40 characters and a newline each */

static ssize_t read_all(int fd, char *text, size_t size)
{
    size_t n = 0;
    while (n < size) {
        ssize_t got = read(fd, text + n, size - n);
        if (got == 0)
            break;
        if (got < 0 && errno != EINTR)
            return -1;
        n += got < 0 ? 0 : (size_t)got;
    }
    return (ssize_t)n;
}

static int parse(char *text, ssize_t n, struct app_keys *out, struct error *e)
{
    uint8_t *into[LINES] = { out->manager, out->driver.public_key, out->driver.secret, out->fetch.public_key,
                             out->fetch.secret };
    if (n != TEXT_BYTES)
        return error_set(
            e, EPROTO, "--keys-fd: %zd bytes; five lines of 40 characters are expected, as ferro writes them",
            n);
    for (int i = 0; i < LINES; i++) {
        char *line = text + i * KEY_TEXT_BYTES;
        if (line[KEY_TEXT_BYTES - 1] != '\n')
            return error_set(e, EPROTO, "--keys-fd: line %d is not 40 characters long", i + 1);
        line[KEY_TEXT_BYTES - 1] = 0;
        if (key_parse(line, into[i]))
            return error_set(e, EPROTO, "--keys-fd: line %d is no key in Z85", i + 1);
    }
    return 0;
}

int keypipe_read(int fd, struct app_keys *out, struct error *e)
{
    char text[TEXT_BYTES + 1];
    ssize_t n = read_all(fd, text, sizeof text);
    int r = n < 0 ? error_sys(e, "--keys-fd %d: can't be read", fd) : parse(text, n, out, e);
    key_wipe(text, sizeof text);
    if (r)
        key_wipe(out, sizeof *out);
    close(fd);
    return r;
}

int keypipe_new(const struct app_keys *keys, struct error *e)
{
    int ends[2];
    char text[TEXT_BYTES];
    const uint8_t *from[LINES] = { keys->manager, keys->driver.public_key, keys->driver.secret,
                                   keys->fetch.public_key, keys->fetch.secret };
    if (pipe2(ends, O_CLOEXEC))
        return error_sys(e, "pipe");
    for (int i = 0; i < LINES; i++) {
        key_text(from[i], text + i * KEY_TEXT_BYTES);
        text[i * KEY_TEXT_BYTES + KEY_TEXT_BYTES - 1] = '\n';
    }
    ssize_t n = write(ends[1], text, sizeof text); /* fits the pipe's buffer */
    key_wipe(text, sizeof text);
    close(ends[1]);
    if (n == sizeof text)
        return ends[0];
    close(ends[0]);
    return error_sys(e, "pipe");
}
