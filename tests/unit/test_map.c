/* test_map.c - the cores' hash map: contents, order, deletion. */
#include "common/base/map.h"
#include "common/core/step.h"

#include <criterion/criterion.h>
#include <stdlib.h>

TestSuite(map);

Test(map, an_empty_map_has_nothing)
{
    struct map m = { 0 };
    uint64_t v = 5;
    cr_assert_null(map_get(&m, 0));
    cr_assert_not(map_get_u64(&m, 0, &v));
    cr_assert_eq(v, 5);
    cr_assert_not(map_del(&m, 0));
    cr_assert_eq(map_next(&m, 0), UINT32_MAX);
    map_clear(&m);
    map_fini(&m);
}

Test(map, holds_pointers_and_numbers)
{
    struct map m = { 0 };
    int x, y;
    uint64_t v;
    map_put(&m, 0, &x);
    map_put(&m, UINT64_MAX, &y);
    map_put_u64(&m, 7, 0);
    cr_assert_eq(map_get(&m, 0), &x);
    cr_assert_eq(map_get(&m, UINT64_MAX), &y);
    cr_assert(map_has(&m, 7) && map_get_u64(&m, 7, &v) && v == 0);
    map_put(&m, 0, &y);
    cr_assert_eq(map_get(&m, 0), &y);
    cr_assert_eq(m.n, 3);
    map_fini(&m);
}

Test(map, iterates_in_order_of_insertion)
{
    struct map m = { 0 };
    for (uint64_t i = 0; i < 1000; i++)
        map_put_u64(&m, i * 0x9e3779b97f4a7c15u, i);
    map_put_u64(&m, 0, 77); /* there already: keeps its place */
    uint64_t want = 0;
    MAP_EACH(&m, i) {
        cr_assert_eq(map_key(&m, i), want * 0x9e3779b97f4a7c15u);
        cr_assert_eq(map_at_u64(&m, i), want == 0 ? 77 : want);
        want++;
    }
    cr_assert_eq(want, 1000);
    map_fini(&m);
}

Test(map, a_key_put_again_comes_last)
{
    struct map m = { 0 };
    for (uint64_t k = 1; k <= 3; k++)
        map_put_u64(&m, k, k);
    cr_assert(map_del(&m, 1));
    map_put_u64(&m, 1, 1);
    uint64_t order[3], n = 0;
    MAP_EACH(&m, i)
        order[n++] = map_key(&m, i);
    cr_assert(n == 3 && order[0] == 2 && order[1] == 3 && order[2] == 1);
    map_fini(&m);
}

Test(map, entries_may_go_during_an_iteration)
{
    struct map m = { 0 };
    for (uint64_t k = 0; k < 100; k++)
        map_put_u64(&m, k, k);
    uint64_t seen = 0;
    MAP_EACH(&m, i) {
        uint64_t k = map_key(&m, i);
        cr_assert_eq(k % 2, 0);
        cr_assert(map_del(&m, k));
        cr_assert(map_del(&m, k + 1));
        seen++;
    }
    cr_assert_eq(seen, 50);
    cr_assert_eq(m.n, 0);
    map_fini(&m);
}

/* The model: an array of keys in order of insertion. */
struct model {
    uint64_t key[600], value[600];
    uint32_t n;
};

static uint32_t model_find(const struct model *o, uint64_t key)
{
    uint32_t i = 0;
    while (i < o->n && o->key[i] != key)
        i++;
    return i;
}

static void compare(const struct map *m, const struct model *o)
{
    uint32_t n = 0;
    cr_assert_eq(m->n, o->n);
    MAP_EACH(m, i) {
        cr_assert(n < o->n && map_key(m, i) == o->key[n] && map_at_u64(m, i) == o->value[n]);
        n++;
    }
    cr_assert_eq(n, o->n);
    for (uint64_t k = 0; k < 600; k++)
        cr_assert_eq(map_has(m, k), model_find(o, k) < o->n);
}

Test(map, agrees_with_a_simple_model)
{
    struct prng p;
    prng_seed(&p, 11);
    struct map m = { 0 };
    struct model o = { 0 };
    for (int step = 0; step < 40000; step++) {
        uint64_t r = prng_next(&p), key = r % 600;
        uint32_t at = model_find(&o, key);
        bool grow = step / 4000 % 2 == 0; /* mostly put, then mostly delete */
        if ((r >> 32) % 10 < (grow ? 7 : 3)) {
            map_put_u64(&m, key, r);
            o.key[at] = key;
            o.value[at] = r;
            o.n += at == o.n;
        } else {
            cr_assert_eq(map_del(&m, key), at < o.n);
            for (uint32_t i = at; at < o.n && i + 1 < o.n; i++)
                o.key[i] = o.key[i + 1], o.value[i] = o.value[i + 1];
            o.n -= at < o.n;
        }
        if (step % 500 == 0)
            compare(&m, &o);
    }
    compare(&m, &o);
    map_clear(&m);
    compare(&m, &(struct model){ 0 });
    map_fini(&m);
}

Test(map, a_queues_memory_stays_bounded)
{
    struct map m = { 0 };
    for (uint64_t k = 0; k < 100000; k++) {
        map_put_u64(&m, k, k);
        if (k >= 50)
            cr_assert(map_del(&m, map_key(&m, map_next(&m, 0))));
    }
    cr_assert_eq(m.n, 50);
    cr_assert(m.cap <= 256, "%u entries for 50", m.cap);
    map_fini(&m);
}
