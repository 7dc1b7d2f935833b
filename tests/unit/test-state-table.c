/* SPDX-License-Identifier: Apache-2.0 */
/* state-table.h: ids that are stale or invented never reach a record; memory comes back. */
#include "virtiofsd/state-table.h"

#include <glib.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

struct test_record {
    struct fs_record record;
    uint64_t id; /* its own, to see that an id leads to the right one */
    uint64_t payload;
};

static unsigned n_released; /* atomic */

static void test_release(void *opaque, struct fs_record *record, uint32_t slot)
{
    __atomic_fetch_add(&n_released, 1, __ATOMIC_RELAXED);
}

static struct fs_state_table *test_table(uint32_t max)
{
    struct fs_state_table *table = NULL;

    n_released = 0;
    g_assert_cmpint(
        fs_state_table_create("test", sizeof(struct test_record), max, test_release, NULL, &table),
        ==, 0);
    return table;
}

/* A live record without the caller's pin; its id. */
static uint64_t test_add(struct fs_state_table *table)
{
    struct test_record *record = (struct test_record *)fs_state_table_alloc(table);
    uint64_t id;

    if (!record)
        return 0;
    g_assert_cmpuint(record->payload, ==, 0);
    record->payload = 42;
    record->id = id = fs_state_table_id(table, &record->record);
    fs_state_table_publish(&record->record);
    fs_state_table_put(table, &record->record);
    return id;
}

static bool test_remove(struct fs_state_table *table, uint64_t id)
{
    struct fs_record *record = fs_state_table_get(table, id);
    bool retired;

    if (!record)
        return false;
    retired = fs_state_table_retire(table, record);
    fs_state_table_put(table, record);
    return retired;
}

static void test_ids(void)
{
    struct fs_state_table *table = test_table(8);
    uint64_t first = test_add(table), second = test_add(table), again;
    struct fs_record *record;

    g_assert_cmpuint(first, ==, 1);
    g_assert_cmpuint(second, !=, first);
    g_assert_null(fs_state_table_get(table, 0));
    g_assert_null(fs_state_table_get(table, 9));
    g_assert_null(fs_state_table_get(table, UINT32_MAX));
    g_assert_null(fs_state_table_get(table, UINT64_MAX));
    g_assert_null(fs_state_table_get(table, second ^ 1ull << 32));

    g_assert_true(test_remove(table, second));
    g_assert_null(fs_state_table_get(table, second));
    again = test_add(table);
    g_assert_cmpuint((uint32_t)again, ==, (uint32_t)second);
    g_assert_cmpuint(again, !=, second);
    g_assert_null(fs_state_table_get(table, second));
    record = fs_state_table_get(table, again);
    g_assert_nonnull(record);
    g_assert_true(fs_state_table_at(table, fs_state_table_slot(table, record)) == record);
    fs_state_table_put(table, record);
    g_assert_cmpuint(fs_state_table_n_live(table), ==, 2);
    fs_state_table_destroy(table);
}

/* Not found before it is published, nor after it is retired; released with its last pin. */
static void test_life(void)
{
    struct fs_state_table *table = test_table(8);
    struct fs_record *record = fs_state_table_alloc(table);
    uint64_t id = fs_state_table_id(table, record);

    g_assert_null(fs_state_table_get(table, id));
    fs_state_table_publish(record);
    g_assert_true(fs_state_table_get(table, id) == record);
    g_assert_true(fs_state_table_retire(table, record));
    g_assert_false(fs_state_table_retire(table, record));
    g_assert_null(fs_state_table_get(table, id));
    fs_state_table_put(table, record);
    g_assert_cmpuint(n_released, ==, 0);
    fs_state_table_put(table, record);
    g_assert_cmpuint(n_released, ==, 1);

    record = fs_state_table_alloc(table); /* given up before it was published */
    g_assert_true(fs_state_table_retire(table, record));
    fs_state_table_put(table, record);
    g_assert_cmpuint(n_released, ==, 2);
    g_assert_cmpuint(fs_state_table_n_live(table), ==, 0);
    fs_state_table_destroy(table);
}

static void test_full(void)
{
    struct fs_state_table *table = test_table(2500);
    uint64_t last = 0;

    for (unsigned i = 0; i < 2500; i++)
        g_assert_cmpuint(last = test_add(table), !=, 0);
    g_assert_cmpuint(test_add(table), ==, 0);
    g_assert_true(test_remove(table, last));
    g_assert_cmpuint(test_add(table), !=, 0);
    g_assert_cmpuint(test_add(table), ==, 0);
    fs_state_table_destroy(table);
}

static void test_walk(void)
{
    struct fs_state_table *table = test_table(10000);
    struct fs_record *record;
    uint32_t slot = 0;
    unsigned n = 0;

    for (unsigned i = 1; i <= 5000; i++)
        g_assert_cmpuint(test_add(table), ==, (uint64_t)(i - 1) << 32 | i);
    for (unsigned i = 1; i <= 5000; i++)
        if (i % 1000 != 0)
            g_assert_true(test_remove(table, (uint64_t)(i - 1) << 32 | i));
    while ((record = fs_state_table_next(table, slot))) {
        slot = fs_state_table_slot(table, record);
        g_assert_cmpuint(slot, ==, ++n * 1000);
        fs_state_table_put(table, record);
    }
    g_assert_cmpuint(n, ==, 5);
    fs_state_table_destroy(table);
}

/* Whatever the order in which records go, their memory goes with them. */
static void test_memory(void)
{
    enum { N = 100000 };
    g_autofree uint64_t *ids = g_new(uint64_t, N);

    for (unsigned order = 0; order < 3; order++) {
        struct fs_state_table *table = test_table(N);
        size_t empty = fs_state_table_bytes(table), full;

        for (unsigned i = 0; i < N; i++)
            ids[i] = test_add(table);
        full = fs_state_table_bytes(table);
        g_assert_cmpuint(full, >=, N * sizeof(struct test_record));
        for (unsigned i = 0; i < N; i++) {
            unsigned at = order == 0 ? i : order == 1 ? N - 1 - i : (i * 7919u) % N;

            g_assert_true(test_remove(table, ids[at]));
        }
        g_assert_cmpuint(n_released, ==, N);
        g_assert_cmpuint(fs_state_table_bytes(table), <=, empty + 2 * 1024 * 40);
        for (unsigned i = 0; i < N; i++)
            g_assert_null(fs_state_table_get(table, ids[i]));
        fs_state_table_destroy(table);
    }
}

/* A guest that names what it was never told of takes no memory for it. */
static void test_guesses(void)
{
    enum { N = 100000 };
    struct fs_state_table *table = test_table(N);
    size_t before;

    before = fs_state_table_bytes(table);
    for (uint64_t id = 0; id <= N; id++)
        g_assert_null(fs_state_table_get(table, id));
    g_assert_cmpuint(fs_state_table_bytes(table), ==, before);
    fs_state_table_destroy(table);
}

struct test_race {
    struct fs_state_table *table;
    uint64_t last; /* atomic: some id of any thread, often stale */
};

static void *test_race_thread(void *opaque)
{
    struct test_race *race = opaque;

    for (unsigned i = 0; i < 50000; i++) {
        uint64_t id = test_add(race->table);
        uint64_t other = __atomic_exchange_n(&race->last, id, __ATOMIC_RELAXED);
        struct test_record *record = (struct test_record *)fs_state_table_get(race->table, other);

        if (record) {
            g_assert_cmpuint(record->id, ==, other);
            g_assert_cmpuint(record->payload, ==, 42);
            if (i % 3 == 0)
                fs_state_table_retire(race->table, &record->record);
            fs_state_table_put(race->table, &record->record);
        }
        if (id)
            test_remove(race->table, id);
        test_remove(race->table, other + (1ull << 32));
    }
    return NULL;
}

static void test_threads(void)
{
    struct test_race race = {.table = test_table(64)};
    pthread_t threads[4];

    for (unsigned i = 0; i < G_N_ELEMENTS(threads); i++)
        g_assert_cmpint(pthread_create(&threads[i], NULL, test_race_thread, &race), ==, 0);
    for (unsigned i = 0; i < G_N_ELEMENTS(threads); i++)
        pthread_join(threads[i], NULL);
    g_assert_cmpuint(fs_state_table_n_live(race.table), ==, 0);
    g_assert_null(fs_state_table_next(race.table, 0));
    fs_state_table_destroy(race.table);
}

/* --- a table in a file --- */

#define FILE_AT  65536
#define FILE_MAX 5000

static struct fs_state_table *test_table_at(int fd, bool is_adopted)
{
    const struct fs_state_place place = {fd, FILE_AT, is_adopted};
    struct fs_state_table *table = NULL;

    n_released = 0;
    g_assert_cmpint(fs_state_table_create_at(&place, sizeof(struct test_record), FILE_MAX,
                                             test_release, NULL, &table),
                    ==, 0);
    return table;
}

static int test_file(void)
{
    int fd = memfd_create("test", MFD_CLOEXEC);

    g_assert_cmpint(
        ftruncate(fd, FILE_AT + (off_t)fs_state_table_len(sizeof(struct test_record), FILE_MAX)),
        ==, 0);
    return fd;
}

/* Those with an odd slot. */
static bool test_keep(void *opaque, struct fs_record *record)
{
    return fs_state_table_slot(opaque, record) % 2 == 1;
}

static bool test_has(struct fs_state_table *table, uint64_t id)
{
    struct fs_record *record = fs_state_table_get(table, id);

    if (record)
        fs_state_table_put(table, record);
    return record != NULL;
}

/* The first table is left as it is in the middle of its work; as if by a kill. */
static void test_adopted(void)
{
    g_autofree uint64_t *ids = g_new0(uint64_t, FILE_MAX + 1);
    int fd = test_file();
    struct fs_state_table *killed = test_table_at(fd, false), *table;
    struct fs_record *made, *used;
    unsigned n_kept = 0, n_room = 0;
    uint64_t id;

    for (unsigned i = 1; i <= 4000; i++)
        ids[i] = test_add(killed);
    for (unsigned i = 1024; i < 3000; i++) /* whole chunks among them */
        g_assert_true(test_remove(killed, ids[i]));
    made = fs_state_table_alloc(killed);
    used = fs_state_table_get(killed, ids[3001]);
    g_assert_true(fs_state_table_retire(killed, used));

    table = test_table_at(fd, true);
    g_assert_cmpint(fs_state_table_adopt(table, test_keep, table), ==, 0);
    for (unsigned i = 1; i <= 4000; i++) {
        bool is_kept = i % 2 == 1 && (i < 1024 || i >= 3000) && i != 3001;

        g_assert_cmpint(test_has(table, ids[i]), ==, is_kept);
        n_kept += is_kept;
    }
    g_assert_null(fs_state_table_get(table, fs_state_table_id(killed, made)));
    g_assert_cmpuint(fs_state_table_n_live(table), ==, n_kept);
    while ((id = test_add(table)) != 0) {
        n_room++;
        g_assert_cmpuint(id >> 32, >, ids[4000] >> 32);
        g_assert_true(test_has(table, id));
    }
    g_assert_cmpuint(n_kept + n_room, ==, FILE_MAX);
    for (unsigned i = 1; i <= 4000; i++)
        if (test_has(table, ids[i]))
            g_assert_true(test_remove(table, ids[i]));
    g_assert_cmpuint(fs_state_table_n_live(table), ==, n_room);
    g_assert_cmpint(fs_state_table_leave(killed), ==, 0);
    fs_state_table_destroy(killed);
    fs_state_table_destroy(table);
    close(fd);
}

/* What happens behind a leave shows to nobody else. */
static void test_left(void)
{
    int fd = test_file();
    struct fs_state_table *table = test_table_at(fd, false);
    uint64_t ids[3];

    for (unsigned i = 0; i < G_N_ELEMENTS(ids); i++)
        ids[i] = test_add(table);
    g_assert_cmpint(fs_state_table_leave(table), ==, 0);
    for (unsigned i = 0; i < G_N_ELEMENTS(ids); i++)
        g_assert_true(test_remove(table, ids[i]));
    fs_state_table_destroy(table);
    table = test_table_at(fd, true);
    g_assert_cmpint(fs_state_table_adopt(table, test_keep, table), ==, 0);
    g_assert_true(test_has(table, ids[0]));
    g_assert_false(test_has(table, ids[1]));
    g_assert_true(test_has(table, ids[2]));
    fs_state_table_destroy(table);
    close(fd);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/state-table/ids", test_ids);
    g_test_add_func("/state-table/life", test_life);
    g_test_add_func("/state-table/full", test_full);
    g_test_add_func("/state-table/walk", test_walk);
    g_test_add_func("/state-table/memory", test_memory);
    g_test_add_func("/state-table/guesses", test_guesses);
    g_test_add_func("/state-table/threads", test_threads);
    g_test_add_func("/state-table/adopted", test_adopted);
    g_test_add_func("/state-table/left", test_left);
    return g_test_run();
}
