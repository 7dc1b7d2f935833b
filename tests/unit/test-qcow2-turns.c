/* SPDX-License-Identifier: Apache-2.0 */
/*
 * QEMU and we take turns at one image: each writes, zeroes, discards, compresses and takes
 * snapshots in what the other has left, and after each turn both find the same there.
 */
#include <inttypes.h>
#include <string.h>

#include "tests/unit/qcow2-fixture.h"
#include "vblkd/format/qcow2-compressed.h"
#include "vblkd/format/qcow2-snapshot.h"

/* No whole number of clusters of most sizes. */
#define TEST_SIZE         ((UINT64_C(3) << 20) + 3 * 512)
#define TEST_SECTOR       512
#define TEST_N_ROUNDS     4
#define TEST_N_OPS        16
#define TEST_N_COMPRESSED 2

struct test_row {
    const char *path, *args; /* of qemu-img create */
    bool has_backing, has_bitmap;
    bool no_snapshots, no_qemu_snapshots; /* it leaves a mess where it cannot make one */
    uint64_t compressed_len; /* a cluster, where some are written compressed; 0: none are */
};

/* Each value of an option with several of the others. */
static const struct test_row test_rows[] = {
    {"/qcow2/turns/512", "-o cluster_size=512", .has_bitmap = true, .compressed_len = 512},
    {"/qcow2/turns/refcount-1", "-o cluster_size=4k,refcount_bits=1", .no_snapshots = true,
     .compressed_len = 4096},
    {"/qcow2/turns/refcount-2", "-o cluster_size=1k,refcount_bits=2", .has_backing = true,
     .no_qemu_snapshots = true, .compressed_len = 1024},
    {"/qcow2/turns/refcount-64", "-o cluster_size=512,refcount_bits=64", .has_backing = true},
    {"/qcow2/turns/64k", "", .has_backing = true, .has_bitmap = true, .compressed_len = 65536},
    {"/qcow2/turns/2m", "-o cluster_size=2M", .has_backing = true, .compressed_len = 2u << 20},
    {"/qcow2/turns/v2", "-o compat=0.10,cluster_size=4k", .has_backing = true,
     .compressed_len = 4096},
    {"/qcow2/turns/extended", "-o cluster_size=16k,extended_l2=on", .has_backing = true,
     .compressed_len = 16384},
    {"/qcow2/turns/extended-zstd",
     "-o cluster_size=64k,extended_l2=on,compression_type=zstd,refcount_bits=8", .has_bitmap = true,
     .compressed_len = 65536},
    {"/qcow2/turns/data-file", "-o cluster_size=4k,data_file=data", .has_backing = true,
     .no_snapshots = true},
    {"/qcow2/turns/data-file-raw",
     "-o cluster_size=16k,extended_l2=on,data_file=data,data_file_raw=on", .no_snapshots = true},
    {"/qcow2/turns/lazy", "-o cluster_size=4k,lazy_refcounts=on", .has_backing = true,
     .has_bitmap = true, .compressed_len = 4096},
};

/* --- QEMU's turn --- */

static void test_pick(uint64_t *ret_offset, uint64_t *ret_len)
{
    uint64_t n = TEST_SIZE / TEST_SECTOR, first = (uint64_t)g_test_rand_int_range(0, (gint32)n);
    uint64_t len = (uint64_t)g_test_rand_int_range(1, g_test_rand_bit() ? 24 : 700);

    if (g_test_rand_bit())
        first &= ~UINT64_C(127);
    *ret_offset = first * TEST_SECTOR;
    *ret_len = MIN(len, n - first) * TEST_SECTOR;
}

static void test_pick_cluster(const struct test_row *row, uint64_t *ret_offset, uint64_t *ret_len)
{
    gint32 n = (gint32)((TEST_SIZE - 1) / row->compressed_len) + 1;

    *ret_offset = (uint64_t)g_test_rand_int_range(0, n) * row->compressed_len;
    *ret_len = MIN(row->compressed_len, TEST_SIZE - *ret_offset);
}

/* A command of qemu-io's, and what it does to the disk. */
static void test_add_command(struct qcow2_fixture *fixture, uint8_t *discarded, GString *commands)
{
    uint8_t pattern = (uint8_t)g_test_rand_int_range(1, 256);
    uint64_t offset, len;

    test_pick(&offset, &len);
    switch (g_test_rand_int_range(0, 8)) {
    case 0:
        g_string_append_printf(commands, " -c 'write -z %s%" PRIu64 " %" PRIu64 "'",
                               g_test_rand_bit() ? "-u " : "", offset, len);
        pattern = 0;
        break;
    case 1:
        g_string_append_printf(commands, " -c 'discard %" PRIu64 " %" PRIu64 "'", offset, len);
        memset(discarded + offset, 1, len);
        return;
    default:
        g_string_append_printf(commands, " -c 'write -P %u %" PRIu64 " %" PRIu64 "'", pattern,
                               offset, len);
        break;
    }
    memset(fixture->shadow + offset, pattern, len);
    memset(discarded + offset, 0, len);
}

/* QEMU does so only where nothing was. */
static void test_compress_by_qemu(struct qcow2_fixture *fixture, const struct test_row *row)
{
    uint8_t pattern = (uint8_t)g_test_rand_int_range(1, 256);
    uint64_t offset, len;

    test_pick_cluster(row, &offset, &len);
    if (qcow2_fixture_shell(
            fixture, "qemu-io -f qcow2 -c 'write -c -P %u %" PRIu64 " %" PRIu64 "' image >log 2>&1",
            pattern, offset, len) == 0)
        memset(fixture->shadow + offset, pattern, len);
}

static bool test_is_zero(const uint8_t *sector)
{
    return sector[0] == 0 && memcmp(sector, sector + 1, TEST_SECTOR - 1) == 0;
}

/* What is not known to be as it was is zeros, and stays so. */
static void test_learn(struct qcow2_fixture *fixture, const uint8_t *discarded)
{
    g_autofree uint8_t *found = g_malloc(TEST_SIZE);

    g_assert_cmpint(vblk_image_read(fixture->image, found, TEST_SIZE, 0), ==, 0);
    for (uint64_t at = 0; at < TEST_SIZE; at += TEST_SECTOR) {
        if (discarded[at] && test_is_zero(found + at))
            memset(fixture->shadow + at, 0, TEST_SECTOR);
        if (memcmp(found + at, fixture->shadow + at, TEST_SECTOR) != 0)
            g_error("sector %" PRIu64 " is not as QEMU has left it", at / TEST_SECTOR);
    }
}

static void test_qemu(struct qcow2_fixture *fixture, const struct test_row *row)
{
    g_autoptr(GString) commands = g_string_new(NULL);
    g_autofree uint8_t *discarded = g_malloc0(TEST_SIZE);

    for (unsigned i = 0; row->compressed_len > 0 && i < TEST_N_COMPRESSED; i++)
        test_compress_by_qemu(fixture, row);
    for (unsigned i = 0; i < TEST_N_OPS; i++)
        test_add_command(fixture, discarded, commands);
    g_assert_cmpint(
        qcow2_fixture_shell(fixture, "qemu-io -d unmap -f qcow2 %s image 2>&1", commands->str), ==,
        0);
    qcow2_fixture_open(fixture);
    test_learn(fixture, discarded);
}

/* --- our turn --- */

static void test_compress(struct qcow2_fixture *fixture, const struct test_row *row)
{
    g_autofree uint8_t *bytes = NULL;
    uint64_t offset, len;

    test_pick_cluster(row, &offset, &len);
    bytes = g_malloc(len);
    for (uint64_t i = 0; i < len; i++)
        bytes[i] = (uint8_t)(offset >> 12 | i >> 5);
    if (qcow2_write_compressed(fixture->image, offset, len, bytes) == 0)
        memcpy(fixture->shadow + offset, bytes, len);
}

static void test_ours(struct qcow2_fixture *fixture, const struct test_row *row)
{
    for (unsigned i = 0; i < TEST_N_OPS; i++) {
        if (row->compressed_len > 0 && i % 4 == 0)
            test_compress(fixture, row);
        qcow2_fixture_random(fixture, 1);
    }
    qcow2_fixture_verify(fixture, 0, TEST_SIZE);
}

/* --- snapshots, by one or the other --- */

struct test_snapshot {
    bool is_there;
    uint8_t *contents;
};

/* The image is closed. Some kinds of images can have none, of which QEMU leaks what it has tried.
 */
static void test_change_snapshot(struct qcow2_fixture *fixture, const struct test_row *row,
                                 struct test_snapshot *snapshot)
{
    bool by_qemu = g_test_rand_bit() && !row->no_qemu_snapshots,
         applies = g_test_rand_bit() && !row->has_bitmap, done;
    char what = !snapshot->is_there ? 'c' : applies ? 'a' : 'd';

    if (by_qemu) {
        done = qcow2_fixture_shell(fixture, "qemu-img snapshot -%c one image 2>&1", what) == 0;
    } else {
        qcow2_fixture_open(fixture);
        done = what == 'c'   ? qcow2_snapshot_create(fixture->image, "one", NULL)
               : what == 'a' ? qcow2_snapshot_apply(fixture->image, "one", NULL)
                             : qcow2_snapshot_delete(fixture->image, "one", NULL);
        qcow2_fixture_close(fixture);
    }
    if (!done)
        return;
    if (what == 'c')
        memcpy(snapshot->contents, fixture->shadow, TEST_SIZE);
    else if (what == 'a')
        memcpy(fixture->shadow, snapshot->contents, TEST_SIZE);
    snapshot->is_there = what != 'd';
}

/* --- one image --- */

static void test_create(struct qcow2_fixture *fixture, const struct test_row *row)
{
    qcow2_fixture_init(fixture, TEST_SIZE);
    if (row->has_backing)
        qcow2_fixture_fill(fixture, "base");
    g_assert_cmpint(qcow2_fixture_shell(fixture, "qemu-img create -q -f qcow2 %s %s image %" PRIu64,
                                        row->args, row->has_backing ? "-b base -F raw" : "",
                                        TEST_SIZE),
                    ==, 0);
    if (row->has_bitmap)
        g_assert_cmpint(qcow2_fixture_shell(fixture, "qemu-img bitmap --add -g 4096 image b"), ==,
                        0);
}

static void test_turns(gconstpointer data)
{
    const struct test_row *row = data;
    struct test_snapshot snapshot = {0};
    struct qcow2_fixture fixture;

    if (!qcow2_fixture_can_run())
        return;
    test_create(&fixture, row);
    snapshot.contents = g_malloc(TEST_SIZE);
    for (unsigned i = 0; i < TEST_N_ROUNDS; i++) {
        fixture.options.discard_in_format = g_test_rand_bit();
        test_qemu(&fixture, row);
        test_ours(&fixture, row);
        qcow2_fixture_close(&fixture);
        qcow2_fixture_check(&fixture, false);
        qcow2_fixture_compare(&fixture);
        if (!row->no_snapshots)
            test_change_snapshot(&fixture, row, &snapshot);
    }
    qcow2_fixture_check(&fixture, false);
    qcow2_fixture_compare(&fixture);
    g_free(snapshot.contents);
    qcow2_fixture_destroy(&fixture);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(test_rows); i++)
        g_test_add_data_func(test_rows[i].path, &test_rows[i], test_turns);
    return g_test_run();
}
