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
#include "vblkd/format/qcow2-check.h"
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

/* --- repairing --- */

/* What one kind of damage does; clusters of the disk that it takes are noted in `lost`. */
typedef void (*test_damage)(struct qcow2_fixture *fixture, bool *lost);

static uint64_t test_random_word(void)
{
    uint64_t word = (uint64_t)g_test_rand_int() << 32 | (uint32_t)g_test_rand_int();

    /* Also such that look like something. */
    switch (g_test_rand_int_range(0, 4)) {
    case 0:
        return word & QCOW2_OFFSET_MASK & ~(uint64_t)(TEST_CLUSTER - 1);
    case 1:
        return QCOW2_COPIED | (word & 0x7fffff);
    case 2:
        return QCOW2_COMPRESSED | (word >> 2);
    default:
        return word;
    }
}

#define TEST_FIELD(fixture, field) test_get(fixture, offsetof(struct qcow2_disk_header, field))

static void damage_table_gone(struct qcow2_fixture *fixture, bool *lost)
{
    uint64_t table = TEST_FIELD(fixture, refcount_table_offset);

    for (uint64_t i = 0; i < TEST_CLUSTER / 8; i++)
        test_put(fixture, table + i * 8, 0);
}

static void damage_table_garbage(struct qcow2_fixture *fixture, bool *lost)
{
    uint64_t table = TEST_FIELD(fixture, refcount_table_offset);

    for (uint64_t i = 0; i < TEST_CLUSTER / 8; i++)
        test_put(fixture, table + i * 8, test_random_word());
}

/* Its blocks are other things in use. */
static void damage_table_elsewhere(struct qcow2_fixture *fixture, bool *lost)
{
    uint64_t table = TEST_FIELD(fixture, refcount_table_offset);

    test_put(fixture, table, TEST_FIELD(fixture, l1_table_offset));
    test_put(fixture, table + 8, test_l2_place(fixture, 0) & ~(uint64_t)(TEST_CLUSTER - 1));
}

static void damage_block(struct qcow2_fixture *fixture, bool *lost)
{
    uint64_t block = test_get(fixture, TEST_FIELD(fixture, refcount_table_offset));

    for (uint64_t i = 0; i < TEST_CLUSTER / 8; i++)
        test_put(fixture, block + i * 8, test_random_word());
}

/* Entries that map something, and such that do not; one in each table. */
static void damage_l2(struct qcow2_fixture *fixture, bool *lost)
{
    for (uint64_t c = 0; c < TEST_SIZE / TEST_CLUSTER; c += 67) {
        test_put(fixture, test_l2_place(fixture, c), test_random_word());
        lost[c] = true;
    }
}

/* One of the two entries in use, and the table is longer than the disk needs. */
static void damage_l1(struct qcow2_fixture *fixture, bool *lost)
{
    uint64_t l1 = TEST_FIELD(fixture, l1_table_offset), per_table = TEST_CLUSTER / 8;

    test_put(fixture, l1 + 8, test_random_word() | QCOW2_L1_RESERVED | 0x200);
    for (uint64_t c = per_table; c < TEST_SIZE / TEST_CLUSTER; c++)
        lost[c] = true;
}

/* An L1 entry names a cluster of the guest's data. */
static void damage_l1_to_data(struct qcow2_fixture *fixture, bool *lost)
{
    uint64_t l1 = TEST_FIELD(fixture, l1_table_offset), per_table = TEST_CLUSTER / 8;

    test_put(fixture, l1 + 8, test_get(fixture, test_l2_place(fixture, 64)));
    for (uint64_t c = per_table; c < TEST_SIZE / TEST_CLUSTER; c++)
        lost[c] = true;
}

static void test_check(struct qcow2_fixture *fixture, bool finds_some)
{
    struct qcow2_check_result result;

    fixture->options.repair = true;
    qcow2_fixture_open(fixture);
    g_assert_cmpint(
        qcow2_check(fixture->image, QCOW2_FIX_LEAKS | QCOW2_FIX_ERRORS, NULL, NULL, &result), ==,
        0);
    g_assert_true(!finds_some || result.n_corruptions + result.n_leaks > 0);
    g_assert_cmpuint(result.n_leaks_fixed, ==, result.n_leaks);
    g_assert_cmpuint(result.n_corruptions_fixed, ==, result.n_corruptions);
    qcow2_fixture_close(fixture);
    fixture->options.repair = false;
}

/* What was lost is zeros, or still there; the rest is as it was. */
static void test_compare(struct qcow2_fixture *fixture, const bool *lost)
{
    uint8_t cluster[TEST_CLUSTER];

    for (uint64_t c = 0; c < TEST_SIZE / TEST_CLUSTER; c++) {
        uint8_t *shadow = fixture->shadow + c * TEST_CLUSTER;

        if (!lost[c]) {
            qcow2_fixture_verify(fixture, c * TEST_CLUSTER, TEST_CLUSTER);
            continue;
        }
        /* Garbage may look like any other place of the file. */
        if (vblk_image_read(fixture->image, cluster, TEST_CLUSTER, c * TEST_CLUSTER) < 0) {
            memset(cluster, 0, TEST_CLUSTER);
            g_assert_cmpint(
                vblk_image_write(fixture->image, cluster, TEST_CLUSTER, c * TEST_CLUSTER), ==, 0);
        }
        memcpy(shadow, cluster, TEST_CLUSTER);
    }
}

static void test_repair(gconstpointer data)
{
    static const char *const args[] = {TEST_ARGS, TEST_ARGS ",compat=0.10",
                                       TEST_ARGS ",refcount_bits=64"};
    test_damage damage = *(const test_damage *)data;

    if (!qcow2_fixture_can_run())
        return;
    for (unsigned i = 0; i < 3 * G_N_ELEMENTS(args); i++) {
        g_autofree bool *lost = g_new0(bool, TEST_SIZE / TEST_CLUSTER);
        struct qcow2_fixture fixture;

        test_create(&fixture, args[i % G_N_ELEMENTS(args)]);
        damage(&fixture, lost);
        test_check(&fixture, true);
        qcow2_fixture_check(&fixture, false);
        qcow2_fixture_open(&fixture);
        test_compare(&fixture, lost);
        qcow2_fixture_random(&fixture, 60);
        qcow2_fixture_verify(&fixture, 0, TEST_SIZE);
        qcow2_fixture_close(&fixture);
        /* Of two entries that named one cluster, the one that is left has it for itself now. */
        test_check(&fixture, false);
        qcow2_fixture_check(&fixture, false);
        qcow2_fixture_compare(&fixture);
        qcow2_fixture_destroy(&fixture);
    }
}

static const struct {
    const char *path;
    test_damage damage;
} test_damages[] = {
    {"/qcow2/repair/refcount-table-gone", damage_table_gone},
    {"/qcow2/repair/refcount-table-garbage", damage_table_garbage},
    {"/qcow2/repair/refcount-table-elsewhere", damage_table_elsewhere},
    {"/qcow2/repair/refcount-block", damage_block},
    {"/qcow2/repair/l2", damage_l2},
    {"/qcow2/repair/l1", damage_l1},
    {"/qcow2/repair/l1-to-data", damage_l1_to_data},
};

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_data_func("/qcow2/corrupt/at-once-by-read", GINT_TO_POINTER(0), test_at_once);
    g_test_add_data_func("/qcow2/corrupt/at-once-by-write", GINT_TO_POINTER(1), test_at_once);
    for (size_t i = 0; i < G_N_ELEMENTS(test_damages); i++)
        g_test_add_data_func(test_damages[i].path, &test_damages[i].damage, test_repair);
    return g_test_run();
}
