/* sealed.c - see sealed.h. */
#include "executor/blocks/sealed.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

static int write_all(int fd, const uint8_t *p, size_t n)
{
    for (ssize_t r; n; p += r, n -= (size_t)r)
        if ((r = write(fd, p, n)) <= 0)
            return -1;
    return 0;
}

int sealed_memfd(const char *name, const void *p, size_t n)
{
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return -1;
    if (write_all(fd, p, n) == 0 &&
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) == 0)
        return fd;
    int why = errno;
    close(fd);
    errno = why;
    return -1;
}
