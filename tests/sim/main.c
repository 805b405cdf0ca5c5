/* main.c - run seeds, or look for planted bugs; count, and say how to replay. */
#include "tests/plant/plant.h"
#include "tests/sim/sim.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define WORKERS_MAX 8
#define SEED_SECONDS_MAX 60 /* of one run: then it hangs */
#define FAILURES_TOLD_MAX 20
#define PLANT_SEEDS_MAX 2000
#define TWICE_EVERY 16       /* each so many seeds run twice: their hashes must match */
#define TABLE_SEEDS_MIN 1000 /* fewer may miss a kind of fault */

struct options {
    uint64_t first, count, one;
    bool has_one, trace, plants;
    const char *seeds_file, *plant;
    int workers;
};

/* Shared by the workers. */
struct tally {
    uint64_t passed, failed, told;
    uint64_t struck[FAULT_COUNT], in_flight[FAULT_COUNT], steps;
    uint64_t at[WORKERS_MAX]; /* 1 + index of the seed that a worker is at */
};

/* ---- one seed ----------------------------------------------------------------------- */

static bool run_seed(uint64_t seed, bool trace, struct tally *t, char check[32], char words[1024])
{
    static struct sim s;
    sim_run(&s, seed, trace);
    bool failed = s.failed;
    uint64_t hash = s.hash;
    snprintf(check, 32, "%s", s.check);
    snprintf(words, 1024, "%s", s.words);
    for (int f = 0; f < FAULT_COUNT && t; f++) {
        __atomic_fetch_add(&t->struck[f], s.struck[f], __ATOMIC_RELAXED);
        __atomic_fetch_add(&t->in_flight[f], s.struck_in_flight[f], __ATOMIC_RELAXED);
    }
    if (t)
        __atomic_fetch_add(&t->steps, s.steps, __ATOMIC_RELAXED);
    sim_fini(&s);
    if (!failed && t && seed % TWICE_EVERY == 0) {
        sim_run(&s, seed, false);
        if (s.hash != hash) {
            failed = true;
            snprintf(check, 32, "deterministic");
            snprintf(words, 1024, "two runs did different things: hash %llx and %llx",
                     (unsigned long long)hash, (unsigned long long)s.hash);
        }
        sim_fini(&s);
    }
    return !failed;
}

static void tell(struct tally *t, uint64_t seed, const char *check, const char *words)
{
    __atomic_fetch_add(&t->failed, 1, __ATOMIC_RELAXED);
    if (__atomic_fetch_add(&t->told, 1, __ATOMIC_RELAXED) >= FAILURES_TOLD_MAX)
        return;
    const char *b = getenv("B");
    printf("failed: seed %llu: %s: %s\n  replay: %s/tests/sim --seed %llu --trace\n",
           (unsigned long long)seed, check, words, b ? b : "build", (unsigned long long)seed);
    fflush(stdout);
}

/* ---- many seeds: a process each share, so that a crash is one seed's failure ------------ */

static void work(const uint64_t *seeds, uint64_t n, struct tally *t, int worker, int workers)
{
    char check[32], words[1024];
    for (uint64_t i = t->at[worker] ? t->at[worker] + (uint64_t)workers - 1 : (uint64_t)worker; i < n;
         i += (uint64_t)workers) {
        t->at[worker] = i + 1;
        alarm(SEED_SECONDS_MAX);
        if (run_seed(seeds[i], false, t, check, words))
            __atomic_fetch_add(&t->passed, 1, __ATOMIC_RELAXED);
        else
            tell(t, seeds[i], check, words);
    }
    fflush(stdout);
    exit(0);
}

static pid_t start_worker(const uint64_t *seeds, uint64_t n, struct tally *t, int worker, int workers)
{
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0)
        work(seeds, n, t, worker, workers);
    return pid;
}

static void run_all(const uint64_t *seeds, uint64_t n, struct tally *t, int workers)
{
    pid_t pids[WORKERS_MAX];
    int alive = workers, status;
    for (int w = 0; w < workers; w++)
        pids[w] = start_worker(seeds, n, t, w, workers);
    while (alive > 0) {
        pid_t pid = wait(&status);
        int w = 0;
        while (w < workers && pids[w] != pid)
            w++;
        if (pid < 0 || w == workers)
            break;
        if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
            alive--;
            continue;
        }
        char words[64];
        snprintf(words, sizeof words, WIFSIGNALED(status) ? "signal %d" : "exit code %d",
                 WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
        tell(t, seeds[t->at[w] - 1], WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM ? "hangs" : "crash",
             words);
        pids[w] = start_worker(seeds, n, t, w, workers);
    }
}

static struct tally *tally_new(void)
{
    struct tally *t = mmap(NULL, sizeof *t, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (t == MAP_FAILED) {
        perror("mmap");
        exit(1);
    }
    return t;
}

/* ---- what struck -------------------------------------------------------------------------- */

static int table(const struct tally *t, uint64_t n)
{
    int missed = 0;
    printf("%-48s %10s %16s\n", "fault", "struck", "tasks in flight");
    for (int f = 0; f < FAULT_COUNT; f++) {
        printf("%-48s %10llu %16llu\n", fault_words[f], (unsigned long long)t->struck[f],
               (unsigned long long)t->in_flight[f]);
        if (t->in_flight[f] == 0 && n >= TABLE_SEEDS_MIN) {
            printf("failed: no seed had this fault while tasks were in flight: %s\n", fault_words[f]);
            missed++;
        }
    }
    return missed;
}

static void add_file(const char *path, uint64_t **seeds, uint64_t *n)
{
    char line[256];
    FILE *f = fopen(path, "r");
    if (!f) {
        perror(path);
        exit(1);
    }
    while (fgets(line, sizeof line, f)) {
        char *end;
        uint64_t seed = strtoull(line, &end, 10);
        if (end == line)
            continue; /* a comment */
        *seeds = realloc(*seeds, (*n + 1) * sizeof **seeds);
        if (!*seeds)
            abort();
        (*seeds)[(*n)++] = seed;
    }
    fclose(f);
}

static int seeds_main(const struct options *o)
{
    uint64_t n = 0, *seeds = malloc((o->count + 1) * sizeof *seeds);
    struct tally *t = tally_new();
    if (!seeds)
        abort();
    while (n < o->count) {
        seeds[n] = o->first + n;
        n++;
    }
    if (o->seeds_file)
        add_file(o->seeds_file, &seeds, &n);
    run_all(seeds, n, t, o->workers);
    uint64_t failed = t->failed + (uint64_t)table(t, n);
    printf("%llu turns of cores\n", (unsigned long long)t->steps);
    printf("%llu passed, %llu failed, 0 skipped\n", (unsigned long long)t->passed,
           (unsigned long long)failed);
    free(seeds);
    return failed != 0;
}

static int one_main(const struct options *o)
{
    char check[32], words[1024];
    bool passed = run_seed(o->one, o->trace, NULL, check, words);
    if (!passed)
        printf("failed: seed %llu: %s: %s\n", (unsigned long long)o->one, check, words);
    printf("%d passed, %d failed, 0 skipped\n", passed, !passed);
    return !passed;
}

/* ---- planted bugs ----------------------------------------------------------------------------- */

/* Does this seed fail by one of the plant's checks, and not without it? */
static bool catches(const struct plant *p, uint64_t seed, char check[32], char words[1024])
{
    char other[32], other_words[1024];
    alarm(SEED_SECONDS_MAX);
    plant_choose(p->name);
    if (run_seed(seed, false, NULL, check, words) || !strstr(p->checks, check))
        return false;
    plant_choose(NULL);
    return run_seed(seed, false, NULL, other, other_words);
}

/* In a process of its own: 0 when the check that should catch it did, within PLANT_SEEDS_MAX. */
static void plant_work(const struct plant *p, uint64_t first)
{
    char check[32], words[1024];
    for (uint64_t seed = first; seed < first + PLANT_SEEDS_MAX; seed++) {
        if (!catches(p, seed, check, words))
            continue;
        words[strcspn(words, "\n")] = 0;
        printf("caught: %s, by '%s' in seed %llu: %s\n", p->name, check, (unsigned long long)seed, words);
        exit(0);
    }
    printf("failed: plant %s (%s) was not caught by '%s' in %d seeds\n", p->name, p->breaks, p->checks,
           PLANT_SEEDS_MAX);
    exit(1);
}

static int plants_main(const struct options *o)
{
    int passed = 0, failed = 0, running = 0, status;
    for (uint32_t i = 0; i <= plants_n; i++) {
        while (running > 0 && (running >= o->workers || i == plants_n)) {
            wait(&status);
            running--;
            bool ok = WIFEXITED(status) && WEXITSTATUS(status) == 0;
            passed += ok;
            failed += !ok;
            if (WIFSIGNALED(status))
                printf("failed: a plant's run ended by signal %d\n", WTERMSIG(status));
        }
        if (i == plants_n || (o->plant && strcmp(o->plant, plants[i]->name)))
            continue;
        fflush(stdout);
        if (fork() == 0)
            plant_work(plants[i], o->first);
        running++;
    }
    if (!o->plant) {
        bool agree = plant_switches_agree();
        passed += agree;
        failed += !agree;
    }
    printf("%d passed, %d failed, 0 skipped\n", passed, failed);
    return failed != 0 || passed == 0;
}

/* ---- the command line ---------------------------------------------------------------------------- */

static const char usage[] = "usage: sim [--seeds N] [--first S] [--seeds-file FILE] [--workers N]\n"
                            "       sim --seed S [--trace] [--plant NAME]\n"
                            "       sim --plants | --plant NAME [--first S]\n";

static void parse(int argc, char **argv, struct options *o)
{
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (!strcmp(argv[i], "--trace"))
            o->trace = true;
        else if (!strcmp(argv[i], "--plants"))
            o->plants = true;
        else if (!strcmp(argv[i], "--plant"))
            o->plant = value, i++;
        else if (!strcmp(argv[i], "--seeds-file"))
            o->seeds_file = value, i++;
        else if (!strcmp(argv[i], "--seeds"))
            o->count = strtoull(value, NULL, 10), i++;
        else if (!strcmp(argv[i], "--first"))
            o->first = strtoull(value, NULL, 10), i++;
        else if (!strcmp(argv[i], "--workers"))
            o->workers = atoi(value), i++;
        else if (!strcmp(argv[i], "--seed"))
            o->one = strtoull(value, NULL, 10), o->has_one = true, i++;
        else {
            fputs(usage, !strcmp(argv[i], "--help") ? stdout : stderr);
            exit(!strcmp(argv[i], "--help") ? 0 : 2);
        }
    }
    if (o->workers < 1 || o->workers > WORKERS_MAX)
        o->workers = o->workers < 1 ? 1 : WORKERS_MAX;
}

int main(int argc, char **argv)
{
    struct options o = { .first = 1, .count = 2000, .workers = (int)sysconf(_SC_NPROCESSORS_ONLN) };
    parse(argc, argv, &o);
    if (o.has_one) {
        plant_choose(o.plant);
        return one_main(&o);
    }
    return o.plants || o.plant ? plants_main(&o) : seeds_main(&o);
}
