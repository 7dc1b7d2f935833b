/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where several rare things meet: a refcount table that has to grow and finds no room, an external
 * data file that is shorter than the disk, a file that is shorter than its clusters, a header that
 * cannot be written, or promises too much, a dirty bit that comes alone.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/qcow2-fixture.h"
#include "tests/unit/storage-recorder.h"
#include "vblkd/format/qcow2-flush.h"

#define TEST_CLUSTER   UINT64_C(512)
#define TEST_TABLE_END (UINT64_C(8) << 20) /* what a refcount table of one such cluster counts */

/* The file ends where the refcount table would have to grow: what lies behind that one stays. */
static void test_full_table(void)
{
    struct qcow2_fixture fixture;
    uint8_t buf[4096];
    uint64_t at = 0;
    int ret = 0;

    if (!qcow2_fixture_can_run())
        return;
    qcow2_fixture_create(&fixture, 2 * TEST_TABLE_END, "-o cluster_size=512");
    qcow2_fixture_open(&fixture);
    fixture.image->storage->is_block_device = true;
    __atomic_store_n(&fixture.image->storage->size, TEST_TABLE_END + 2 * TEST_CLUSTER,
                     __ATOMIC_RELAXED);
    memset(buf, 1, sizeof(buf));
    for (; ret == 0 && at < fixture.size; at += sizeof(buf)) {
        ret = vblk_image_write(fixture.image, buf, sizeof(buf), at);
        if (ret == 0)
            memcpy(fixture.shadow + at, buf, sizeof(buf));
    }
    g_assert_cmpint(ret, ==, -ENOSPC);
    g_assert_cmpint(vblk_image_write(fixture.image, buf, sizeof(buf), at), ==, -ENOSPC);
    g_assert_cmpint(vblk_image_flush(fixture.image), ==, 0);
    qcow2_fixture_verify(&fixture, 0, at - 2 * sizeof(buf));
    fixture.image->storage->is_block_device = false;
    qcow2_fixture_close(&fixture);
    qcow2_fixture_check(&fixture, true);
    qcow2_fixture_destroy(&fixture);
}

/* What was in a part of the data file that did not exist at opening does not come back. */
static void test_short_data_file(void)
{
    struct qcow2_fixture fixture;

    if (!qcow2_fixture_can_run())
        return;
    qcow2_fixture_create(&fixture, UINT64_C(1) << 20, "-o data_file=data");
    g_assert_cmpint(qcow2_fixture_shell(&fixture, "truncate -s 0 data"), ==, 0);
    fixture.options.discard_in_format = false;
    qcow2_fixture_open(&fixture);
    qcow2_fixture_write(&fixture, 0, 256 << 10, 1);
    qcow2_fixture_zero(&fixture, 0, 256 << 10, true);
    qcow2_fixture_write(&fixture, 64 << 10, 512, 2);
    qcow2_fixture_write(&fixture, (128 << 10) + 1024, 512, 3);
    qcow2_fixture_verify(&fixture, 0, fixture.size);
    qcow2_fixture_close(&fixture);
    qcow2_fixture_check(&fixture, false);
    qcow2_fixture_destroy(&fixture);
}

/* A cluster that lay behind the end of the file at opening, and is given up after something was
 * written to it, is no hole. */
static void test_short_file(void)
{
    struct qcow2_fixture fixture;

    if (!qcow2_fixture_can_run())
        return;
    qcow2_fixture_create(&fixture, UINT64_C(1) << 20, "");
    g_assert_cmpint(qcow2_fixture_shell(&fixture, "qemu-io -f qcow2 -c 'write -P 1 0 64k' image && "
                                                  "truncate -s -64k image"),
                    ==, 0);
    fixture.options.discard_in_format = false;
    qcow2_fixture_open(&fixture);
    qcow2_fixture_verify(&fixture, 0, fixture.size);
    qcow2_fixture_write(&fixture, 0, 64 << 10, 2);
    qcow2_fixture_zero(&fixture, 0, 64 << 10, true);
    for (unsigned i = 0; i < 3; i++)
        g_assert_cmpint(vblk_image_flush(fixture.image), ==, 0);
    for (uint64_t at = 128 << 10; at < fixture.size; at += 64 << 10)
        qcow2_fixture_write(&fixture, at + 1024, 512, 3);
    qcow2_fixture_verify(&fixture, 0, fixture.size);
    qcow2_fixture_close(&fixture);
    qcow2_fixture_check(&fixture, false);
    qcow2_fixture_compare(&fixture);
    qcow2_fixture_destroy(&fixture);
}

static bool test_is_dirty(const struct qcow2_fixture *fixture)
{
    g_autofree char *head = NULL;

    g_assert_true(g_file_get_contents(fixture->path, &head, NULL, NULL));
    return (head[79] & 1) != 0;
}

/* The n-th change of the file fails in a flush that leaves refcounts for later: the header that is
 * written next says that it is dirty, if what is not counted may be on the disk. */
static void test_failed_lazily(void)
{
    struct qcow2_fixture fixture;
    bool ok = false;

    if (!qcow2_fixture_can_run())
        return;
    for (unsigned n = 1; !ok; n++) {
        struct qcow2 *q;

        qcow2_fixture_create(&fixture, UINT64_C(1) << 20, "-o lazy_refcounts=on");
        qcow2_fixture_open(&fixture);
        qcow2_fixture_write(&fixture, 0, 64 << 10, 1);
        storage_fail_errno = EIO;
        storage_fail_at = n;
        ok = vblk_image_flush(fixture.image) == 0;
        storage_fail_at = 0;
        q = qcow2_of(fixture.image);
        pthread_mutex_lock(&q->flush_lock);
        g_assert_cmpint(qcow2_write_header_held(q), ==, 0);
        pthread_mutex_unlock(&q->flush_lock);
        if (!test_is_dirty(&fixture))
            qcow2_fixture_check(&fixture, true);
        g_assert_cmpint(vblk_image_flush(fixture.image), ==, 0);
        g_assert_true(test_is_dirty(&fixture));
        qcow2_fixture_close(&fixture);
        g_assert_false(test_is_dirty(&fixture));
        qcow2_fixture_check(&fixture, false);
        qcow2_fixture_compare(&fixture);
        qcow2_fixture_destroy(&fixture);
    }
}

/* The n-th change of the file fails while the L1 table is replaced: whichever header the disk has,
 * the image is sound, and as much is on the disk as was flushed. */
static void test_failed_resize(void)
{
    struct qcow2_fixture fixture;

    if (!qcow2_fixture_can_run())
        return;
    for (unsigned n = 1; n < 20; n++) {
        g_autofree uint8_t *buf = g_malloc(TEST_TABLE_END);
        g_autoptr(GError) error = NULL;
        uint8_t *shadow;
        bool resized;

        qcow2_fixture_create(&fixture, UINT64_C(512) << 10, "-o cluster_size=512");
        qcow2_fixture_open(&fixture);
        qcow2_fixture_write(&fixture, 0, 64 << 10, 1);
        g_assert_cmpint(vblk_image_flush(fixture.image), ==, 0);
        storage_fail_errno = EIO;
        storage_fail_at = n;
        resized = fixture.image->format->resize(fixture.image, TEST_TABLE_END, &error);
        storage_fail_at = 0;
        memset(buf, 2, 128 << 10);
        if (vblk_image_write(fixture.image, buf, 128 << 10, 128 << 10) == 0 &&
            vblk_image_flush(fixture.image) == 0)
            memcpy(fixture.shadow + (128 << 10), buf, 128 << 10);
        qcow2_fixture_close(&fixture);
        qcow2_fixture_check(&fixture, true);
        shadow = fixture.shadow;
        if (resized) {
            fixture.size = TEST_TABLE_END;
            fixture.shadow = g_malloc0(fixture.size);
            memcpy(fixture.shadow, shadow, 512 << 10);
            g_free(shadow);
        }
        fixture.options.storage.read_only = true;
        fixture.image = vblk_image_open(fixture.path, &fixture.options, &error);
        g_assert_nonnull(fixture.image);
        qcow2_fixture_verify(&fixture, 0, 512 << 10);
        qcow2_fixture_destroy(&fixture);
    }
}

/* A header promises as many snapshots as there can be, in a table behind the end of the file. */
static void test_promised_snapshots(void)
{
    static const uint8_t fields[] = {0, 0, 0xff, 0xff, 0, 0, 0, 0, 0x40, 0, 0, 0};
    struct qcow2_fixture fixture;
    int fd;

    if (!qcow2_fixture_can_run())
        return;
    qcow2_fixture_create(&fixture, UINT64_C(1) << 20, "");
    fd = open(fixture.path, O_WRONLY | O_CLOEXEC);
    g_assert_cmpint(pwrite(fd, fields, sizeof(fields), 60), ==, sizeof(fields));
    g_assert_cmpint(close(fd), ==, 0);
    fixture.options.storage.read_only = true;
    g_assert_null(vblk_image_open(fixture.path, &fixture.options, NULL));
    qcow2_fixture_destroy(&fixture);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/qcow2/corners/full-table", test_full_table);
    g_test_add_func("/qcow2/corners/short-data-file", test_short_data_file);
    g_test_add_func("/qcow2/corners/short-file", test_short_file);
    g_test_add_func("/qcow2/corners/failed-lazily", test_failed_lazily);
    g_test_add_func("/qcow2/corners/failed-resize", test_failed_resize);
    g_test_add_func("/qcow2/corners/promised-snapshots", test_promised_snapshots);
    return g_test_run();
}
