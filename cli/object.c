/* object.c - see object.h: the dynamic symbols of an ELF file. */
#include "cli/object.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct image {
    const uint8_t *p;
    uint64_t n;
};

/* n bytes of the file at `at`, aligned for what lies there; NULL when they aren't there. */
static const void *part(const struct image *i, uint64_t at, uint64_t n)
{
    return at <= i->n && n <= i->n - at && at % 8 == 0 ? i->p + at : NULL;
}

static bool is_named(const struct image *i, const Elf64_Shdr *names, uint64_t at, const char *name)
{
    size_t n = strlen(name) + 1;
    return at <= names->sh_size && n <= names->sh_size - at && names->sh_offset <= i->n &&
           names->sh_size <= i->n - names->sh_offset && !memcmp(i->p + names->sh_offset + at, name, n);
}

static bool defines(const struct image *i, const Elf64_Shdr *table, const Elf64_Shdr *names, const char *name)
{
    const Elf64_Sym *symbols = part(i, table->sh_offset, table->sh_size);
    for (uint64_t k = 0; symbols && k < table->sh_size / sizeof *symbols; k++)
        if (symbols[k].st_shndx != SHN_UNDEF && is_named(i, names, symbols[k].st_name, name))
            return true;
    return false;
}

static bool image_defines(const struct image *i, const char *name)
{
    const Elf64_Ehdr *h = part(i, 0, sizeof *h);
    if (!h || memcmp(h->e_ident, ELFMAG, SELFMAG) || h->e_ident[EI_CLASS] != ELFCLASS64)
        return false;
    const Elf64_Shdr *s = part(i, h->e_shoff, (uint64_t)h->e_shnum * sizeof *s);
    for (int k = 0; s && k < h->e_shnum; k++)
        if (s[k].sh_type == SHT_DYNSYM && s[k].sh_link < h->e_shnum &&
            defines(i, &s[k], &s[s[k].sh_link], name))
            return true;
    return false;
}

int object_check(const char *job, const char *object, struct error *e)
{
    struct stat st;
    struct image i = { 0 };
    bool found = false;
    int fd = open(object, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st)) {
        error_sys(e, "%s", job);
        if (fd >= 0)
            close(fd);
        return -1;
    }
    void *map = st.st_size ? mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0) : MAP_FAILED;
    close(fd);
    if (map != MAP_FAILED) {
        i = (struct image){ map, (uint64_t)st.st_size };
        found = image_defines(&i, "ferro_job");
        munmap(map, (size_t)st.st_size);
    }
    return found ? 0
                 : error_set(e, EINVAL, "%s: no job: it has no FERRO_JOB(\"name\", main) (see ferro.h)", job);
}
