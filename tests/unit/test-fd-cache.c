/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fd-cache.h: the bound holds, what is pinned or in use stays open, what cannot be opened again is
 * kept, and no thread is ever given the descriptor of another record.
 */
#include "virtiofsd/fd-cache.h"

#include <errno.h>
#include <glib.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/open-fds.h"

enum { N_RECORDS = 100, N_FDS = 10 };

/* Its descriptor is of a file as long as its number. */
struct test_record {
    struct fs_fd_record fd;
    uint32_t number;
    uint32_t is_unforgettable; /* remember fails */
    uint32_t n_opened;         /* atomic: by reopen */
    uint32_t padding;
};

static struct fs_state_table *table;
static struct fs_fd_cache *cache;
static struct test_record *records[N_RECORDS];

static int test_open(uint32_t number)
{
    int fd = memfd_create("test-fd-cache", MFD_CLOEXEC);

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(ftruncate(fd, number), ==, 0);
    return fd;
}

static void test_check(const struct test_record *record, int fd)
{
    struct stat st;

    g_assert_cmpint(fstat(fd, &st), ==, 0);
    g_assert_cmpint(st.st_size, ==, record->number);
}

static int test_use(struct test_record *record);

/* Where set: who comes to use the record that is just being remembered, while the hand goes on. */
static struct test_record *caught;
static int caught_fd;

static void test_catch(void)
{
    struct test_record *record = caught;

    caught = NULL;
    fs_state_table_pin(&record->fd.record);
    caught_fd = fs_fd_cache_get(cache, &record->fd);
    for (unsigned i = 0; i < N_RECORDS; i++)
        test_use(records[i]);
}

static int test_remember(void *opaque, struct fs_fd_record *record, int fd)
{
    if (record == (struct fs_fd_record *)caught)
        test_catch();
    test_check((struct test_record *)record, fd);
    return ((struct test_record *)record)->is_unforgettable ? -EOPNOTSUPP : 0;
}

static int test_reopen(void *opaque, struct fs_fd_record *record)
{
    struct test_record *own = (struct test_record *)record;

    __atomic_fetch_add(&own->n_opened, 1, __ATOMIC_RELAXED);
    return own->number == 0 ? -ESTALE : test_open(own->number);
}

static void test_release(void *opaque, struct fs_record *record, uint32_t slot)
{
    fs_fd_cache_drop(cache, (struct fs_fd_record *)record);
}

static struct test_record *test_add(uint32_t number)
{
    struct test_record *record = (struct test_record *)fs_state_table_alloc(table);
    int fd = test_open(number);

    g_assert_nonnull(record);
    record->number = number;
    fs_fd_cache_add(cache, &record->fd, &fd);
    g_assert_cmpint(fd, ==, -1);
    fs_state_table_publish(&record->fd.record);
    fs_state_table_put(table, &record->fd.record);
    return record;
}

static void test_retire(struct test_record *record)
{
    fs_state_table_pin(&record->fd.record);
    fs_state_table_retire(table, &record->fd.record);
    fs_state_table_put(table, &record->fd.record);
}

/* As a request does: pinned while it is used. */
static int test_use(struct test_record *record)
{
    int fd;

    fs_state_table_pin(&record->fd.record);
    fd = fs_fd_cache_get(cache, &record->fd);
    if (fd >= 0)
        test_check(record, fd);
    fs_state_table_put(table, &record->fd.record);
    return fd;
}

static void set_up(uint32_t n_fds_aim)
{
    static const struct fs_fd_cache_ops ops = {test_remember, test_reopen};
    const struct fs_fd_cache_limits limits = {N_FDS, n_fds_aim};

    g_assert_cmpint(fs_state_table_create("test", sizeof(struct test_record), 2 * N_RECORDS,
                                          test_release, NULL, &table),
                    ==, 0);
    cache = fs_fd_cache_create(table, &limits, &ops, NULL);
    for (uint32_t i = 0; i < N_RECORDS; i++) {
        g_assert_cmpint(fs_fd_cache_make_room(cache), ==, 0);
        records[i] = test_add(i + 1);
    }
}

static void tear_down(void)
{
    for (unsigned i = 0; i < N_RECORDS; i++)
        test_retire(records[i]);
    g_assert_cmpuint(fs_fd_cache_count(cache), ==, 0);
    fs_fd_cache_destroy(cache);
    fs_state_table_destroy(table);
}

static void test_bound(void)
{
    unsigned before = count_open_fds();

    for (uint32_t aim = 5; aim <= N_FDS; aim += 5) {
        set_up(aim);
        for (unsigned i = 0; i < 10 * N_RECORDS; i++) {
            g_assert_cmpint(test_use(records[i * 7 % N_RECORDS]), >=, 0);
            g_assert_cmpuint(fs_fd_cache_count(cache), <=, aim);
            g_assert_cmpuint(count_open_fds(), <=, before + aim + 1); /* the table's */
        }
        tear_down();
        g_assert_cmpuint(count_open_fds(), ==, before);
    }
}

static void test_gone(void)
{
    set_up(N_FDS);
    records[0]->number = 0;
    g_assert_cmpint(test_use(records[0]), ==, -ESTALE);
    g_assert_false(fs_fd_cache_has(&records[0]->fd));
    records[0]->number = 1;
    g_assert_cmpint(test_use(records[0]), >=, 0);
    tear_down();
}

/* What is pinned, and what is used all the time. */
static void test_kept(void)
{
    struct test_record *pinned, *hot;
    int fd;

    set_up(N_FDS);
    pinned = records[3];
    hot = records[4];
    fs_state_table_pin(&pinned->fd.record);
    fd = fs_fd_cache_get(cache, &pinned->fd);
    test_use(hot);
    hot->n_opened = 0;
    for (unsigned i = 5; i < N_RECORDS; i++) {
        test_use(records[i]);
        test_use(hot);
        g_assert_cmpint(fs_fd_cache_get(cache, &pinned->fd), ==, fd);
        test_check(pinned, fd);
    }
    g_assert_cmpuint(hot->n_opened, ==, 0);
    fs_state_table_put(table, &pinned->fd.record);
    tear_down();
}

static void test_caught(void)
{
    struct test_record *record;

    set_up(N_FDS);
    record = records[0];
    test_use(record);
    for (unsigned i = 1; i < N_RECORDS; i++) {
        caught = record;
        test_use(records[i]);
        if (!caught)
            break;
    }
    g_assert_null(caught);
    test_check(record, caught_fd);
    g_assert_cmpint(fs_fd_cache_get(cache, &record->fd), ==, caught_fd);
    fs_state_table_put(table, &record->fd.record);
    tear_down();
}

static void test_unforgettable(void)
{
    int extra;

    set_up(N_FDS);
    for (unsigned i = 0; i < N_RECORDS; i++)
        records[i]->is_unforgettable = true;
    for (unsigned i = 0; i < N_FDS; i++)
        test_use(records[i]);
    g_assert_cmpint(fs_fd_cache_make_room(cache), ==, -ENFILE);
    /* Those that are known are opened all the same; only new ones are refused. */
    g_assert_cmpint(test_use(records[50]), >=, 0);
    /* Offered what it has already. */
    extra = test_open(51);
    fs_fd_cache_offer(cache, &records[50]->fd, &extra);
    g_assert_cmpint(extra, >=, 0);
    close(extra);
    for (unsigned i = 0; i < N_RECORDS; i++)
        if (fs_fd_cache_has(&records[i]->fd)) {
            test_retire(records[i]);
            records[i] = test_add(i + 1);
        }
    g_assert_cmpint(fs_fd_cache_make_room(cache), ==, 0);
    tear_down();
}

static void *race_thread(void *opaque)
{
    unsigned seed = GPOINTER_TO_UINT(opaque);

    for (unsigned i = 0; i < 20000; i++) {
        seed = seed * 1103515245u + 12345u;
        g_assert_cmpint(test_use(records[(seed >> 16) % 30]), >=, 0);
    }
    return NULL;
}

/* Three threads use thirty records with ten descriptors, another one adds and retires. */
static void test_threads(void)
{
    unsigned before = count_open_fds();
    pthread_t threads[3];

    set_up(N_FDS);
    for (unsigned i = 0; i < G_N_ELEMENTS(threads); i++)
        g_assert_cmpint(pthread_create(&threads[i], NULL, race_thread, GUINT_TO_POINTER(i + 1)), ==,
                        0);
    for (unsigned i = 0; i < 10000; i++) {
        unsigned at = 30 + i % (N_RECORDS - 30);

        test_use(records[at]);
        test_retire(records[at]);
        g_assert_cmpint(fs_fd_cache_make_room(cache), ==, 0);
        records[at] = test_add(at + 1);
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(threads); i++)
        pthread_join(threads[i], NULL);
    g_assert_cmpuint(fs_fd_cache_count(cache), <=, N_FDS + G_N_ELEMENTS(threads) + 1);
    tear_down();
    g_assert_cmpuint(count_open_fds(), ==, before);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/fd-cache/bound", test_bound);
    g_test_add_func("/fd-cache/gone", test_gone);
    g_test_add_func("/fd-cache/kept", test_kept);
    g_test_add_func("/fd-cache/caught", test_caught);
    g_test_add_func("/fd-cache/unforgettable", test_unforgettable);
    g_test_add_func("/fd-cache/threads", test_threads);
    return g_test_run();
}
