/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Several threads on one image: each has sectors of its own, interleaved with the others' so that
 * they meet in every cluster, and writes, reads, zeroes and discards there, by the calls that wait
 * and, as a queue would, by those that do not. One more flushes all the time.
 */
#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "tests/unit/qcow2-fixture.h"

#define TEST_SIZE      (UINT64_C(4) << 20)
#define TEST_N_THREADS 4
#define TEST_SECTOR    512
#define TEST_N_OPS     1500

struct test_thread {
    struct qcow2_fixture *fixture;
    unsigned index;
    pthread_t thread;
    guint32 seed;
};

static bool test_stop; /* atomic */

/* A sector as a queue writes it: without waiting where that is possible. -EAGAIN: it is not. */
static int test_write_nowait(struct vblk_image *image, const void *buf, uint64_t offset)
{
    struct vblk_extent extent;
    struct vblk_write write;
    int ret = image->format->map_write(image, offset, TEST_SECTOR, VBLK_NOWAIT, &extent);

    if (ret == 0)
        return vblk_storage_write(extent.storage, buf, TEST_SECTOR, extent.offset);
    if (ret == -EAGAIN)
        ret = image->format->write_begin(image, offset, TEST_SECTOR, VBLK_NOWAIT, &write);
    if (ret < 0)
        return ret;
    ret = vblk_storage_write(write.storage, buf, TEST_SECTOR, write.offset);
    return image->format->write_end(image, &write, ret);
}

static void test_write(struct test_thread *me, uint64_t offset, uint8_t pattern)
{
    struct vblk_image *image = me->fixture->image;
    unsigned ticket = vblk_image_enter(image, me->index);
    uint8_t buf[TEST_SECTOR];
    int ret;

    memset(buf, pattern, sizeof(buf));
    ret = test_write_nowait(image, buf, offset);
    vblk_image_leave(image, me->index, ticket);
    if (ret == -EAGAIN)
        ret = vblk_image_write(image, buf, sizeof(buf), offset);
    g_assert_cmpint(ret, ==, 0);
    memcpy(me->fixture->shadow + offset, buf, sizeof(buf));
}

static void test_read(struct test_thread *me, uint64_t offset)
{
    uint8_t buf[TEST_SECTOR];

    g_assert_cmpint(vblk_image_read(me->fixture->image, buf, sizeof(buf), offset), ==, 0);
    g_assert_true(memcmp(buf, me->fixture->shadow + offset, sizeof(buf)) == 0);
}

static void *test_run(void *opaque)
{
    struct test_thread *me = opaque;
    struct vblk_image *image = me->fixture->image;
    g_autoptr(GRand) rand = g_rand_new_with_seed(me->seed);

    for (unsigned i = 0; i < TEST_N_OPS; i++) {
        uint64_t n = TEST_SIZE / TEST_SECTOR / TEST_N_THREADS;
        uint64_t sector = (uint64_t)g_rand_int_range(rand, 0, (gint32)n) * TEST_N_THREADS;
        uint64_t offset = (sector + me->index) * TEST_SECTOR;

        switch (g_rand_int_range(rand, 0, 8)) {
        case 0:
            g_assert_cmpint(vblk_image_zero(image, offset, TEST_SECTOR, true), ==, 0);
            memset(me->fixture->shadow + offset, 0, TEST_SECTOR);
            break;
        case 1:
        case 2:
            test_read(me, offset);
            break;
        default:
            test_write(me, offset, (uint8_t)g_rand_int(rand));
            break;
        }
    }
    return NULL;
}

static void *test_flush(void *opaque)
{
    struct qcow2_fixture *fixture = opaque;

    while (!__atomic_load_n(&test_stop, __ATOMIC_RELAXED)) {
        g_assert_cmpint(vblk_image_flush(fixture->image), ==, 0);
        fixture->image->format->has_dirty_metadata(fixture->image);
    }
    return NULL;
}

/* What the threads begin with. */
struct test_start {
    const char *args;    /* of qemu-img create */
    const char *command; /* makes an image full of 5; NULL: it is empty */
};

static void test_shared(gconstpointer data)
{
    const struct test_start *start = data;
    struct test_thread threads[TEST_N_THREADS];
    struct qcow2_fixture fixture;
    pthread_t flusher;

    if (!qcow2_fixture_can_run())
        return;
    qcow2_fixture_create(&fixture, TEST_SIZE, start->args);
    if (start->command) {
        g_assert_cmpint(qcow2_fixture_shell(&fixture, "%s", start->command), ==, 0);
        memset(fixture.shadow, 5, TEST_SIZE);
    }
    qcow2_fixture_open(&fixture);
    test_stop = false;
    pthread_create(&flusher, NULL, test_flush, &fixture);
    for (unsigned i = 0; i < TEST_N_THREADS; i++) {
        threads[i] = (struct test_thread){&fixture, i, 0, (guint32)g_test_rand_int()};
        pthread_create(&threads[i].thread, NULL, test_run, &threads[i]);
    }
    for (unsigned i = 0; i < TEST_N_THREADS; i++)
        pthread_join(threads[i].thread, NULL);
    __atomic_store_n(&test_stop, true, __ATOMIC_RELAXED);
    pthread_join(flusher, NULL);
    qcow2_fixture_verify(&fixture, 0, TEST_SIZE);
    qcow2_fixture_close(&fixture);
    qcow2_fixture_check(&fixture, false);
    qcow2_fixture_compare(&fixture);
    qcow2_fixture_destroy(&fixture);
}

/* Each thread fills and discards clusters of its own, so that clusters change hands all the time.
 */
static void *test_churn_run(void *opaque)
{
    struct test_thread *me = opaque;
    struct vblk_image *image = me->fixture->image;
    g_autoptr(GRand) rand = g_rand_new_with_seed(me->seed);
    uint64_t part = TEST_SIZE / TEST_N_THREADS, cluster = 4096;
    uint8_t buf[16384];

    for (unsigned i = 0; i < TEST_N_OPS / 2; i++) {
        uint64_t len = cluster * (uint64_t)g_rand_int_range(rand, 1, 5);
        uint64_t at = cluster * (uint64_t)g_rand_int_range(rand, 0, (gint32)(part / cluster) - 4);
        uint64_t offset = me->index * part + at;

        if (g_rand_boolean(rand)) {
            memset(buf, (int)i, len);
            g_assert_cmpint(vblk_image_write(image, buf, len, offset), ==, 0);
            memcpy(me->fixture->shadow + offset, buf, len);
        } else if (g_rand_boolean(rand)) {
            g_assert_cmpint(vblk_image_discard(image, offset, len), ==, 0);
            memset(me->fixture->shadow + offset, 0, len);
        } else {
            g_assert_cmpint(vblk_image_read(image, buf, len, offset), ==, 0);
            g_assert_true(memcmp(buf, me->fixture->shadow + offset, len) == 0);
        }
    }
    return NULL;
}

static void test_churn(void)
{
    struct test_thread threads[TEST_N_THREADS];
    struct qcow2_fixture fixture;
    pthread_t flusher;

    if (!qcow2_fixture_can_run())
        return;
    qcow2_fixture_create(&fixture, TEST_SIZE, "-o cluster_size=4k");
    qcow2_fixture_open(&fixture);
    test_stop = false;
    pthread_create(&flusher, NULL, test_flush, &fixture);
    for (unsigned i = 0; i < TEST_N_THREADS; i++) {
        threads[i] = (struct test_thread){&fixture, i, 0, (guint32)g_test_rand_int()};
        pthread_create(&threads[i].thread, NULL, test_churn_run, &threads[i]);
    }
    for (unsigned i = 0; i < TEST_N_THREADS; i++)
        pthread_join(threads[i].thread, NULL);
    __atomic_store_n(&test_stop, true, __ATOMIC_RELAXED);
    pthread_join(flusher, NULL);
    qcow2_fixture_close(&fixture);
    qcow2_fixture_check(&fixture, false);
    qcow2_fixture_compare(&fixture);
    qcow2_fixture_destroy(&fixture);
}

#define FILL "qemu-io -f qcow2 -c 'write -P 5 0 4M' image && "

static const struct {
    const char *name;
    struct test_start start;
} test_starts[] = {
    {"default", {"", NULL}},
    {"small", {"-o cluster_size=512", NULL}},
    {"extended", {"-o extended_l2=on,cluster_size=16k", NULL}},
    {"lazy", {"-o lazy_refcounts=on", NULL}},
    {"snapshot", {"-o cluster_size=4k", FILL "qemu-img snapshot -c one image"}},
    {"snapshot-extended",
     {"-o extended_l2=on,cluster_size=16k", FILL "qemu-img snapshot -c one image"}},
    {"compressed",
     {"", FILL "qemu-img convert -c -f qcow2 -O qcow2 -o cluster_size=4k image new && "
               "mv new image && qemu-img snapshot -c one image"}},
    {"overlay", {"", FILL "mv image base && qemu-img create -q -f qcow2 -F qcow2 -b base image"}},
};

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(test_starts); i++) {
        g_autofree char *path = g_strdup_printf("/qcow2/threads/%s", test_starts[i].name);

        g_test_add_data_func(path, &test_starts[i].start, test_shared);
    }
    g_test_add_func("/qcow2/threads/churn", test_churn);
    return g_test_run();
}
