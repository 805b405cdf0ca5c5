/* switches.c - do the switches in the cores and the table of planted bugs agree? */
#include "tests/plant/plant.h"

#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define SWITCHES_MAX 256
#define NAME_MAX_BYTES 64

static const char *const folders[] = { "manager/core", "driver/sched", "executor/core", "common/core" };
static const char mark[] = "FERRO_PLANT(";

struct found {
    char names[SWITCHES_MAX][NAME_MAX_BYTES];
    uint32_t n, wrong;
};

static bool in_table(const char *name)
{
    for (uint32_t i = 0; i < plants_n; i++)
        if (!strcmp(plants[i]->name, name))
            return true;
    return false;
}

static bool in_cores(const struct found *f, const char *name)
{
    for (uint32_t i = 0; i < f->n; i++)
        if (!strcmp(f->names[i], name))
            return true;
    return false;
}

static void learn(struct found *f, const char *name, const char *path)
{
    if (in_cores(f, name) || f->n == SWITCHES_MAX)
        return;
    snprintf(f->names[f->n++], NAME_MAX_BYTES, "%s", name);
    if (in_table(name))
        return;
    printf("failed: plant %s has a switch in %s and no row in tests/plant/table.c\n", name, path);
    f->wrong++;
}

static void read_file(struct found *f, const char *path)
{
    char line[512], name[NAME_MAX_BYTES];
    FILE *file = fopen(path, "r");
    if (!file) {
        printf("failed: %s: %s\n", path, strerror(errno));
        f->wrong++;
        return;
    }
    while (fgets(line, sizeof line, file))
        for (const char *at = strstr(line, mark); at; at = strstr(at + 1, mark))
            if (sscanf(at + sizeof mark - 1, "%63[a-z0-9_]", name) == 1)
                learn(f, name, path);
    fclose(file);
}

static void read_folder(struct found *f, const char *folder)
{
    char path[512];
    struct dirent *e;
    DIR *d = opendir(folder);
    if (!d) {
        printf("failed: %s: %s; planted bugs are looked for where the sources are\n", folder,
               strerror(errno));
        f->wrong++;
        return;
    }
    while ((e = readdir(d))) {
        size_t n = strlen(e->d_name);
        if (n < 3 || strcmp(e->d_name + n - 2, ".c"))
            continue;
        snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
        read_file(f, path);
    }
    closedir(d);
}

bool plant_switches_agree(void)
{
    static struct found f;
    f = (struct found){ 0 };
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++)
        read_folder(&f, folders[i]);
    for (uint32_t i = 0; i < plants_n; i++)
        if (!in_cores(&f, plants[i]->name)) {
            printf("failed: plant %s is in the table and has no switch in a core\n", plants[i]->name);
            f.wrong++;
        }
    return f.wrong == 0;
}
