/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Metadata that makes no sense: what is found in use is marked at once, and nothing is written any
 * more; what is destroyed is repaired, and reads as before wherever it could be read before.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/qcow2-fixture.h"
#include "vblkd/format/big-endian.h"
#include "vblkd/format/qcow2-layout.h"

#define TEST_SIZE    (UINT64_C(4) << 20)
#define TEST_CLUSTER 4096u
#define TEST_ARGS    "-o cluster_size=4k"

/* --- the file, by hand --- */

static uint64_t test_get(const struct qcow2_fixture *fixture, uint64_t offset)
{
    int fd = open(fixture->path, O_RDONLY);
    be64_t word;

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(pread(fd, &word, sizeof(word), (off_t)offset), ==, sizeof(word));
    close(fd);
    return be64_value(word);
}

static void test_put(const struct qcow2_fixture *fixture, uint64_t offset, uint64_t value)
{
    int fd = open(fixture->path, O_WRONLY);
    be64_t word = be64_from(value);

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(pwrite(fd, &word, sizeof(word), (off_t)offset), ==, sizeof(word));
    close(fd);
}

/* Where the L2 entry of a cluster of the disk lies. */
static uint64_t test_l2_place(const struct qcow2_fixture *fixture, uint64_t guest_cluster)
{
    uint64_t l1 = test_get(fixture, offsetof(struct qcow2_disk_header, l1_table_offset));
    uint64_t per_table = TEST_CLUSTER / 8;
    uint64_t entry = test_get(fixture, l1 + guest_cluster / per_table * 8);

    return (entry & QCOW2_OFFSET_MASK) + guest_cluster % per_table * 8;
}

static bool test_is_marked(const struct qcow2_fixture *fixture)
{
    return (test_get(fixture, offsetof(struct qcow2_disk_header, incompatible_features)) &
            QCOW2_INCOMPAT_CORRUPT) != 0;
}

/* An image with something in all of its tables. */
static void test_create(struct qcow2_fixture *fixture, const char *args)
{
    qcow2_fixture_create(fixture, TEST_SIZE, args);
    qcow2_fixture_open(fixture);
    for (uint64_t at = 0; at < TEST_SIZE; at += 256 << 10)
        qcow2_fixture_write(fixture, at, 64 << 10, (uint8_t)(at >> 18));
    qcow2_fixture_close(fixture);
}

/* --- found in use --- */

/* A bad entry beside one that is read: found by reading or by writing, with other writes going on.
 */
static void test_at_once(gconstpointer data)
{
    bool by_write = GPOINTER_TO_INT(data) != 0;
    struct qcow2_fixture fixture;
    uint8_t sector[512] = {1};
    int ret;

    if (!qcow2_fixture_can_run())
        return;
    test_create(&fixture, TEST_ARGS);
    test_put(&fixture, test_l2_place(&fixture, 512 + 3), UINT64_C(0x3f00000000000002));
    qcow2_fixture_open(&fixture);
    /* Another table: fine, and dirty. */
    qcow2_fixture_write(&fixture, 128 << 10, 4096, 7);
    g_assert_false(test_is_marked(&fixture));
    if (by_write)
        ret = vblk_image_write(fixture.image, sector, 512, 512 * TEST_CLUSTER);
    else
        ret = vblk_image_read(fixture.image, sector, 512, 515 * TEST_CLUSTER);
    g_assert_cmpint(ret, ==, -EIO);
    g_assert_true(test_is_marked(&fixture));
    /* What is there is read; nothing is written. */
    qcow2_fixture_verify(&fixture, 0, TEST_SIZE / 2);
    g_assert_cmpint(vblk_image_write(fixture.image, sector, 512, 0), ==, -EIO);
    g_assert_cmpint(vblk_image_zero(fixture.image, 0, 4096, true), ==, -EIO);
    g_assert_cmpint(vblk_image_discard(fixture.image, 0, 4096), ==, -EIO);
    qcow2_fixture_close(&fixture);
    g_assert_true(test_is_marked(&fixture));
    qcow2_fixture_destroy(&fixture);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_data_func("/qcow2/corrupt/at-once-by-read", GINT_TO_POINTER(0), test_at_once);
    g_test_add_data_func("/qcow2/corrupt/at-once-by-write", GINT_TO_POINTER(1), test_at_once);
    return g_test_run();
}
