/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bits alone, and bitmaps that qemu-img makes and reads: what we wrote to is in them afterwards,
 * and nothing else; what was in use stays so; they grow and shrink with the disk.
 */
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/qcow2-fixture.h"
#include "vblkd/format/qcow2-bits.h"

#define TEST_SIZE (UINT64_C(4) << 20)

/* --- bits --- */

static void test_bits_model(void)
{
    for (unsigned round = 0; round < 200; round++) {
        uint64_t n = (uint64_t)g_test_rand_int_range(1, 700);
        struct qcow2_bits *bits = qcow2_bits_create(n), *back = qcow2_bits_create(n);
        g_autofree bool *model = g_new0(bool, n);
        uint8_t bytes[704 / 8];
        uint64_t count = 0;

        for (unsigned i = 0; i < 6; i++) {
            uint64_t first = (uint64_t)g_test_rand_int_range(0, 700);
            uint64_t len = (uint64_t)g_test_rand_int_range(0, 200);

            qcow2_bits_set(bits, first, len);
            for (uint64_t b = first; b < MIN(n, first + len); b++)
                model[b] = true;
        }
        for (uint64_t b = 0; b < n; b++) {
            g_assert_true(qcow2_bits_test(bits, b) == model[b]);
            count += model[b];
        }
        g_assert_cmpuint(qcow2_bits_count(bits), ==, count);
        g_assert_true(qcow2_bits_encode(bits, 0, sizeof(bytes), bytes) == (count > 0));
        for (uint64_t b = 0; b < sizeof(bytes) * 8; b++)
            g_assert_true((bytes[b / 8] >> b % 8 & 1) == (b < n && model[b]));
        memset(bytes + n / 8 + 1, 0xff, sizeof(bytes) - n / 8 - 1);
        qcow2_bits_decode(back, 0, sizeof(bytes), bytes);
        for (uint64_t b = 0; b < n; b++)
            g_assert_true(qcow2_bits_test(back, b) == model[b]);
        qcow2_bits_clear_from(back, n / 3);
        for (uint64_t b = 0; b < n; b++)
            g_assert_true(qcow2_bits_test(back, b) == (b < n / 3 && model[b]));
        qcow2_bits_destroy(bits);
        qcow2_bits_destroy(back);
    }
}

/* Who still has the small ones sets bits there, and they count. */
static void test_bits_grown(void)
{
    struct qcow2_bits *small = qcow2_bits_create(100), *large = qcow2_bits_create(300);
    uint8_t bytes[40];

    qcow2_bits_set(small, 3, 1);
    large->smaller = small;
    qcow2_bits_set(small, 99, 50);
    qcow2_bits_set(large, 299, 1);
    g_assert_cmpuint(qcow2_bits_count(large), ==, 3);
    g_assert_true(qcow2_bits_test(large, 99));
    g_assert_true(qcow2_bits_encode(large, 0, sizeof(bytes), bytes));
    g_assert_cmphex(bytes[0], ==, 8);
    g_assert_cmphex(bytes[12], ==, 8);
    g_assert_cmphex(bytes[37], ==, 8);
    g_assert_null(large->smaller);
    qcow2_bits_destroy(large);
}

/* --- images --- */

/* What qemu-nbd says of a bitmap of the closed image: the dirty granules. */
static bool *test_read_bitmap(const struct qcow2_fixture *fixture, const char *name,
                              uint64_t granularity)
{
    g_autofree char *path = qcow2_fixture_path(fixture, "map"), *text = NULL;
    uint64_t n = (fixture->size + granularity - 1) / granularity;
    bool *dirty = g_new0(bool, n);
    g_auto(GStrv) lines = NULL;
    static unsigned n_sockets; /* who served the last one may still be about */

    n_sockets++;
    g_assert_cmpint(
        qcow2_fixture_shell(fixture,
                            "qemu-nbd --fork -r -f qcow2 -B %s -k $PWD/sock%u image 2>&1 && "
                            "qemu-img map --output=json --image-opts driver=nbd,server.type=unix,"
                            "server.path=$PWD/sock%u,x-dirty-bitmap=qemu:dirty-bitmap:%s >map",
                            name, n_sockets, n_sockets, name),
        ==, 0);
    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    lines = g_strsplit(text, "\n", -1);
    for (char **line = lines; *line; line++) {
        const char *start = strstr(*line, "\"start\": "), *len = strstr(*line, "\"length\": ");
        uint64_t from, to;

        /* What is dirty is told as a hole. */
        if (!start || !len || !strstr(*line, "\"data\": false"))
            continue;
        from = g_ascii_strtoull(start + strlen("\"start\": "), NULL, 10);
        to = from + g_ascii_strtoull(len + strlen("\"length\": "), NULL, 10);
        for (uint64_t at = from; at < to; at += granularity)
            dirty[at / granularity] = true;
    }
    return dirty;
}

static void test_assert_bitmap(const struct qcow2_fixture *fixture, const char *name,
                               uint64_t granularity, const bool *expected)
{
    uint64_t n = (fixture->size + granularity - 1) / granularity;
    g_autofree bool *dirty = test_read_bitmap(fixture, name, granularity);

    for (uint64_t i = 0; i < n; i++) {
        if (dirty[i] != expected[i])
            g_error("%s: granule %" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT " is %d", name, i, n,
                    dirty[i]);
    }
}

static void test_mark(bool *model, uint64_t granularity, uint64_t offset, uint64_t len)
{
    for (uint64_t g = offset / granularity; g <= (offset + len - 1) / granularity; g++)
        model[g] = true;
}

/* A random change, and what it makes dirty. */
static void test_change(struct qcow2_fixture *fixture, bool *small, bool *large)
{
    uint64_t offset = (uint64_t)g_test_rand_int_range(0, (gint32)(fixture->size / 512)) * 512;
    uint64_t wanted = (uint64_t)g_test_rand_int_range(1, 60) * 512;
    uint64_t len = MIN(wanted, fixture->size - offset);

    switch (g_test_rand_int_range(0, 5)) {
    case 0:
        qcow2_fixture_zero(fixture, offset, len, g_test_rand_bit());
        break;
    case 1:
        qcow2_fixture_discard(fixture, offset, len);
        break;
    default:
        qcow2_fixture_write(fixture, offset, len, (uint8_t)g_test_rand_int());
        break;
    }
    test_mark(small, 512, offset, len);
    test_mark(large, 65536, offset, len);
}

static bool test_create(struct qcow2_fixture *fixture, const char *args)
{
    g_autofree char *nbd = g_find_program_in_path("qemu-nbd");

    if (!qcow2_fixture_can_run())
        return false;
    if (!nbd) {
        g_test_skip("no qemu-nbd here");
        return false;
    }
    qcow2_fixture_create(fixture, TEST_SIZE, args);
    g_assert_cmpint(qcow2_fixture_shell(fixture, "qemu-img bitmap --add -g 512 image small && "
                                                 "qemu-img bitmap --add -g 65536 image large && "
                                                 "qemu-img bitmap --add --disable image off"),
                    ==, 0);
    return true;
}

static void test_tracked(gconstpointer args)
{
    g_autofree bool *small = g_new0(bool, TEST_SIZE / 512);
    g_autofree bool *large = g_new0(bool, TEST_SIZE / 65536);
    g_autofree bool *none = g_new0(bool, TEST_SIZE / 65536);
    struct qcow2_fixture fixture;

    if (!test_create(&fixture, args))
        return;
    for (unsigned round = 0; round < 3; round++) {
        qcow2_fixture_open(&fixture);
        for (unsigned i = 0; i < 12; i++) {
            test_change(&fixture, small, large);
            if (i == 0)
                g_assert_cmpint(
                    qcow2_fixture_shell(&fixture, "qemu-img info -U image | grep -q in-use"), ==,
                    0);
        }
        qcow2_fixture_close(&fixture);
        qcow2_fixture_check(&fixture, false);
        qcow2_fixture_compare(&fixture);
        g_assert_cmpint(qcow2_fixture_shell(&fixture, "qemu-img info image | grep -q in-use"), !=,
                        0);
        test_assert_bitmap(&fixture, "small", 512, small);
        test_assert_bitmap(&fixture, "large", 65536, large);
        test_assert_bitmap(&fixture, "off", 65536, none);
    }
    /* Opened and not written: nothing changes. Written all over: all ones. */
    qcow2_fixture_open(&fixture);
    qcow2_fixture_verify(&fixture, 0, TEST_SIZE);
    qcow2_fixture_close(&fixture);
    test_assert_bitmap(&fixture, "small", 512, small);
    qcow2_fixture_open(&fixture);
    qcow2_fixture_write(&fixture, 0, TEST_SIZE, 5);
    qcow2_fixture_close(&fixture);
    memset(small, true, TEST_SIZE / 512);
    test_assert_bitmap(&fixture, "small", 512, small);
    qcow2_fixture_check(&fixture, false);
    qcow2_fixture_destroy(&fixture);
}

/* A process that does not come back leaves them in use, and then they are nobody's. */
static void test_in_use(void)
{
    struct qcow2_fixture fixture;

    if (!test_create(&fixture, ""))
        return;
    qcow2_fixture_open(&fixture);
    qcow2_fixture_write(&fixture, 0, 512, 1);
    g_assert_cmpint(vblk_image_flush(fixture.image), ==, 0);
    g_assert_cmpint(qcow2_fixture_shell(&fixture, "cp image killed"), ==, 0);
    qcow2_fixture_close(&fixture);
    g_assert_cmpint(qcow2_fixture_shell(&fixture, "mv killed image"), ==, 0);
    qcow2_fixture_open(&fixture);
    qcow2_fixture_write(&fixture, 4096, 512, 1);
    qcow2_fixture_close(&fixture);
    qcow2_fixture_check(&fixture, true);
    g_assert_cmpint(
        qcow2_fixture_shell(&fixture, "test $(qemu-img info image | grep -c in-use) = 2"), ==, 0);
    g_assert_cmpint(qcow2_fixture_shell(&fixture, "qemu-img bitmap --remove image small && "
                                                  "qemu-img bitmap --remove image large && "
                                                  "qemu-img bitmap --enable image off"),
                    ==, 0);
    qcow2_fixture_destroy(&fixture);
}

/* More bits than memory is allowed for: refused for writing, not for reading. */
static void test_too_many(void)
{
    struct qcow2_fixture fixture;
    g_autoptr(GError) error = NULL;

    if (!qcow2_fixture_can_run())
        return;
    /* The granularity in the directory becomes 512. */
    qcow2_fixture_create(&fixture, 512, "");
    g_assert_cmpint(qcow2_fixture_shell(
                        &fixture, "qemu-img resize -q image 8T && qemu-img bitmap --add image a && "
                                  "LC_ALL=C sed -i "
                                  "'s/\\x01\\x10\\x00\\x01\\x00\\x00\\x00\\x00a/"
                                  "\\x01\\x09\\x00\\x01\\x00\\x00\\x00\\x00a/' image"),
                    ==, 0);
    fixture.image = vblk_image_open(fixture.path, &fixture.options, &error);
    g_assert_null(fixture.image);
    g_assert_nonnull(strstr(error->message, "memory"));
    fixture.options.storage.read_only = true;
    fixture.size = UINT64_C(8) << 40;
    qcow2_fixture_open(&fixture);
    qcow2_fixture_destroy(&fixture);
}

/* --- a successor --- */

static void *test_shared_memory(size_t len)
{
    void *map = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    g_assert_true(map != MAP_FAILED);
    return map;
}

/* Changes, and the disk grows in between, in a process that ends with nothing closed. */
static void test_change_and_kill(struct qcow2_fixture *fixture, bool *small, bool *large)
{
    pid_t pid = fork();
    int status;

    if (pid == 0) {
        qcow2_fixture_open(fixture);
        for (unsigned i = 0; i < 10; i++)
            test_change(fixture, small, large);
        g_assert_true(fixture->image->format->resize(fixture->image, 2 * TEST_SIZE, NULL));
        for (unsigned i = 0; i < 5; i++)
            test_change(fixture, small, large);
        raise(SIGKILL);
    }
    g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
    g_assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    fixture->size = 2 * TEST_SIZE;
}

/* What a killed process had set is in the bitmaps when its successor with the same journal opens
 * the image; without the journal they are inconsistent. */
static void test_killed(gconstpointer data)
{
    bool has_journal = GPOINTER_TO_INT(data) != 0;
    bool *small = test_shared_memory(2 * TEST_SIZE / 512);
    bool *large = test_shared_memory(2 * TEST_SIZE / 65536);
    struct qcow2_fixture fixture;

    if (!test_create(&fixture, ""))
        return;
    g_free(fixture.shadow);
    fixture.shadow = test_shared_memory(2 * TEST_SIZE);
    fixture.options.has_journal = true;
    fixture.options.journal_fd = memfd_create("journal", MFD_CLOEXEC);
    for (unsigned round = 0; round < (has_journal ? 3 : 1); round++) {
        test_change_and_kill(&fixture, small, large);
        fixture.options.has_journal = has_journal;
        qcow2_fixture_open(&fixture);
        g_assert_true((qcow2_fixture_shell(&fixture, "qemu-img info -U image | grep -q in-use") ==
                       0) != has_journal);
        if (has_journal && round != 1)
            test_change(&fixture, small, large);
        qcow2_fixture_close(&fixture);
        qcow2_fixture_check(&fixture, !has_journal);
        if (has_journal) {
            test_assert_bitmap(&fixture, "small", 512, small);
            test_assert_bitmap(&fixture, "large", 65536, large);
        }
    }
    close(fixture.options.journal_fd);
    munmap(g_steal_pointer(&fixture.shadow), 2 * TEST_SIZE);
    munmap(small, 2 * TEST_SIZE / 512);
    munmap(large, 2 * TEST_SIZE / 65536);
    qcow2_fixture_destroy(&fixture);
}

/* --- resizing --- */

static void test_resize_to(struct qcow2_fixture *fixture, uint64_t size)
{
    g_autoptr(GError) error = NULL;

    fixture->image->format->resize(fixture->image, size, &error);
    g_assert_no_error(error);
    fixture->shadow = g_realloc(fixture->shadow, size);
    if (size > fixture->size)
        memset(fixture->shadow + fixture->size, 0, size - fixture->size);
    fixture->size = size;
}

static void test_resize(gconstpointer args)
{
    g_autofree bool *small = g_new0(bool, 4 * TEST_SIZE / 512);
    g_autofree bool *large = g_new0(bool, 4 * TEST_SIZE / 65536);
    g_autofree bool *none = g_new0(bool, 4 * TEST_SIZE / 65536);
    struct qcow2_fixture fixture;

    if (!test_create(&fixture, args))
        return;
    qcow2_fixture_open(&fixture);
    test_change(&fixture, small, large);
    test_resize_to(&fixture, 4 * TEST_SIZE);
    for (unsigned i = 0; i < 10; i++)
        test_change(&fixture, small, large);
    qcow2_fixture_close(&fixture);
    qcow2_fixture_check(&fixture, false);
    test_assert_bitmap(&fixture, "small", 512, small);
    test_assert_bitmap(&fixture, "off", 65536, none);
    qcow2_fixture_open(&fixture);
    test_change(&fixture, small, large);
    test_resize_to(&fixture, TEST_SIZE);
    test_resize_to(&fixture, 2 * TEST_SIZE);
    memset(small + TEST_SIZE / 512, false, 3 * TEST_SIZE / 512);
    memset(large + TEST_SIZE / 65536, false, 3 * TEST_SIZE / 65536);
    for (unsigned i = 0; i < 10; i++)
        test_change(&fixture, small, large);
    qcow2_fixture_close(&fixture);
    qcow2_fixture_check(&fixture, false);
    qcow2_fixture_compare(&fixture);
    test_assert_bitmap(&fixture, "small", 512, small);
    test_assert_bitmap(&fixture, "large", 65536, large);
    test_assert_bitmap(&fixture, "off", 65536, none);
    qcow2_fixture_destroy(&fixture);
}

/* --- several threads --- */

#define TEST_THREADS 3

struct test_thread {
    struct qcow2_fixture *fixture;
    pthread_t thread;
    unsigned number;
    bool *small; /* what it wrote to */
};

/* Each in its own sectors, below the size that the disk has at first. */
/* Sizes change while nobody writes, as a daemon's queues are paused for it. */
static pthread_rwlock_t test_pause = PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP;

static void *test_write_some(void *opaque)
{
    struct test_thread *thread = opaque;
    uint8_t sector[512] = {1};
    uint32_t random = thread->number + 1;

    for (unsigned i = 0; i < 300; i++) {
        uint64_t at = (random = random * 1664525 + 1013904223) % (TEST_SIZE / 512 / TEST_THREADS) *
                          TEST_THREADS +
                      thread->number;

        pthread_rwlock_rdlock(&test_pause);
        g_assert_cmpint(vblk_image_write(thread->fixture->image, sector, 512, at * 512), ==, 0);
        pthread_rwlock_unlock(&test_pause);
        thread->small[at] = true;
    }
    return NULL;
}

/* Between their writes, which pause for it, the disk grows again and again: no bit is lost. */
static void test_threads(void)
{
    g_autofree bool *small = g_new0(bool, 2 * TEST_SIZE / 512);
    struct test_thread threads[TEST_THREADS];
    struct qcow2_fixture fixture;

    if (!test_create(&fixture, "-o cluster_size=4k"))
        return;
    qcow2_fixture_open(&fixture);
    for (unsigned i = 0; i < TEST_THREADS; i++) {
        threads[i] = (struct test_thread){&fixture, 0, i, small};
        g_assert_cmpint(pthread_create(&threads[i].thread, NULL, test_write_some, &threads[i]), ==,
                        0);
    }
    for (uint64_t size = TEST_SIZE + 65536; size <= 2 * TEST_SIZE; size += 262144) {
        pthread_rwlock_wrlock(&test_pause);
        g_assert_true(fixture.image->format->resize(fixture.image, size, NULL));
        pthread_rwlock_unlock(&test_pause);
        fixture.size = size;
    }
    for (unsigned i = 0; i < TEST_THREADS; i++)
        pthread_join(threads[i].thread, NULL);
    qcow2_fixture_close(&fixture);
    qcow2_fixture_check(&fixture, false);
    test_assert_bitmap(&fixture, "small", 512, small);
    qcow2_fixture_destroy(&fixture);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/qcow2/bits/model", test_bits_model);
    g_test_add_func("/qcow2/bits/grown", test_bits_grown);
    g_test_add_data_func("/qcow2/bitmap/tracked", "", test_tracked);
    g_test_add_data_func("/qcow2/bitmap/tracked-512", "-o cluster_size=512", test_tracked);
    g_test_add_data_func("/qcow2/bitmap/tracked-lazy", "-o lazy_refcounts=on,cluster_size=4k",
                         test_tracked);
    g_test_add_func("/qcow2/bitmap/in-use", test_in_use);
    g_test_add_func("/qcow2/bitmap/too-many", test_too_many);
    g_test_add_data_func("/qcow2/bitmap/killed", GINT_TO_POINTER(1), test_killed);
    g_test_add_data_func("/qcow2/bitmap/killed-alone", GINT_TO_POINTER(0), test_killed);
    g_test_add_func("/qcow2/bitmap/threads", test_threads);
    g_test_add_data_func("/qcow2/bitmap/resize", "", test_resize);
    g_test_add_data_func("/qcow2/bitmap/resize-512", "-o cluster_size=512", test_resize);
    return g_test_run();
}
