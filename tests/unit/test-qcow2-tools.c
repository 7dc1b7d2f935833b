/* SPDX-License-Identifier: Apache-2.0 */
/* Creating, resizing, snapshots, checking and repairing; qemu-img judges all of it. */
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/qcow2-fixture.h"
#include "vblkd/format/qcow2-check.h"
#include "vblkd/format/qcow2-compressed.h"
#include "vblkd/format/qcow2-create.h"
#include "vblkd/format/qcow2-snapshot.h"

#define TEST_SIZE (UINT64_C(4) << 20)

static void test_open_created(struct qcow2_fixture *fixture,
                              const struct qcow2_create_options *options)
{
    g_autoptr(GError) error = NULL;

    qcow2_fixture_init(fixture, options->size);
    g_assert_true(qcow2_create(fixture->path, options, &error));
    g_assert_no_error(error);
    qcow2_fixture_check(fixture, false);
    qcow2_fixture_compare(fixture);
    qcow2_fixture_open(fixture);
}

/* Every cluster size with every width of refcounts, and what else goes with it. */
static void test_create(void)
{
    struct qcow2_fixture fixture;

    if (!qcow2_fixture_can_run())
        return;
    for (unsigned bits = 9; bits <= 21; bits += 3) {
        for (unsigned order = 0; order <= 6; order += 2) {
            struct qcow2_create_options options = QCOW2_CREATE_DEFAULTS;

            options.size = TEST_SIZE;
            options.cluster_size = 1u << bits;
            options.refcount_bits = 1u << order;
            options.version = order == 4 ? 2 : 3;
            options.lazy_refcounts = order == 2;
            options.extended_l2 = bits >= 14 && order == 6;
            options.preallocation = order == 0 ? QCOW2_PREALLOC_METADATA : QCOW2_PREALLOC_OFF;
            test_open_created(&fixture, &options);
            qcow2_fixture_random(&fixture, 20);
            qcow2_fixture_close(&fixture);
            qcow2_fixture_check(&fixture, false);
            qcow2_fixture_compare(&fixture);
            qcow2_fixture_destroy(&fixture);
        }
    }
}

static void test_preallocation(void)
{
    struct qcow2_fixture fixture;

    if (!qcow2_fixture_can_run())
        return;
    for (unsigned how = QCOW2_PREALLOC_OFF; how <= QCOW2_PREALLOC_FULL; how++) {
        struct qcow2_create_options options = QCOW2_CREATE_DEFAULTS;
        uint64_t required, all;

        options.size = TEST_SIZE;
        options.preallocation = how;
        test_open_created(&fixture, &options);
        qcow2_measure(&options, 0, &required, &all);
        g_assert_cmpuint(required, ==, 327680 + 0);
        g_assert_cmpuint(all, ==, 327680 + TEST_SIZE);
        if (how != QCOW2_PREALLOC_OFF)
            g_assert_cmpuint(fixture.image->storage->size, ==, all);
        qcow2_fixture_destroy(&fixture);
    }
}

static void test_create_refused(void)
{
    struct qcow2_create_options options = QCOW2_CREATE_DEFAULTS;
    g_autoptr(GError) error = NULL;

    options.size = TEST_SIZE;
    g_assert_true(qcow2_create_check(&options, NULL));
    options.cluster_size = 1000;
    g_assert_false(qcow2_create_check(&options, &error));
    g_assert_nonnull(error);
    options.cluster_size = 8192;
    options.extended_l2 = true;
    g_assert_false(qcow2_create_check(&options, NULL));
    options.extended_l2 = false;
    options.refcount_bits = 3;
    g_assert_false(qcow2_create_check(&options, NULL));
    options.refcount_bits = 64;
    options.version = 2;
    g_assert_false(qcow2_create_check(&options, NULL));
    options = (struct qcow2_create_options)QCOW2_CREATE_DEFAULTS;
    options.size = UINT64_C(1) << 62;
    g_assert_false(qcow2_create_check(&options, NULL));
}

/* --- compression --- */

/* Every cluster compressed, or as it is where that does not help; some written over afterwards. */
static void test_compress(gconstpointer args)
{
    struct qcow2_fixture fixture;
    uint64_t cluster, n_packed = 0;

    if (!qcow2_fixture_can_run())
        return;
    qcow2_fixture_create(&fixture, TEST_SIZE, args);
    qcow2_fixture_fill(&fixture, "source");
    qcow2_fixture_open(&fixture);
    cluster = strstr(args, "4k") ? 4096 : 65536;
    for (uint64_t at = 0; at < TEST_SIZE; at += cluster) {
        int ret;

        if (at / cluster % 5 == 0) {
            for (uint64_t i = 0; i < cluster; i += 4) {
                guint32 word = (guint32)g_test_rand_int();

                memcpy(fixture.shadow + at + i, &word, sizeof(word));
            }
        }
        ret = qcow2_write_compressed(fixture.image, at, cluster, fixture.shadow + at);
        n_packed += ret == 0;
        if (ret == -ENOTSUP)
            ret = vblk_image_write(fixture.image, fixture.shadow + at, cluster, at);
        g_assert_cmpint(ret, ==, 0);
    }
    g_assert_cmpuint(n_packed, ==, TEST_SIZE / cluster * 4 / 5);
    qcow2_fixture_verify(&fixture, 0, TEST_SIZE);
    qcow2_fixture_close(&fixture);
    qcow2_fixture_check(&fixture, false);
    qcow2_fixture_compare(&fixture);
    qcow2_fixture_open(&fixture);
    qcow2_fixture_random(&fixture, 50);
    qcow2_fixture_close(&fixture);
    qcow2_fixture_check(&fixture, false);
    qcow2_fixture_compare(&fixture);
    qcow2_fixture_destroy(&fixture);
}

/* --- resizing --- */

static void test_resize_to(struct qcow2_fixture *fixture, uint64_t size)
{
    g_autoptr(GError) error = NULL;

    g_assert_true(fixture->image->format->resize(fixture->image, size, &error));
    g_assert_no_error(error);
    fixture->shadow = g_realloc(fixture->shadow, size);
    if (size > fixture->size)
        memset(fixture->shadow + fixture->size, 0, size - fixture->size);
    fixture->size = size;
    qcow2_fixture_verify(fixture, 0, size);
}

static void test_resize(void)
{
    static const uint64_t sizes[] = {TEST_SIZE + 512, TEST_SIZE * 3, TEST_SIZE / 2 + 1024,
                                     TEST_SIZE * 5,   TEST_SIZE,     TEST_SIZE};
    struct qcow2_fixture fixture;

    if (!qcow2_fixture_can_run())
        return;
    for (unsigned kind = 0; kind < 2; kind++) {
        qcow2_fixture_create(&fixture, TEST_SIZE, kind ? "" : "-o cluster_size=512");
        for (unsigned i = 0; i < G_N_ELEMENTS(sizes); i++) {
            qcow2_fixture_open(&fixture);
            qcow2_fixture_random(&fixture, 30);
            test_resize_to(&fixture, sizes[i]);
            qcow2_fixture_random(&fixture, 30);
            qcow2_fixture_close(&fixture);
            qcow2_fixture_check(&fixture, false);
            qcow2_fixture_compare(&fixture);
        }
        qcow2_fixture_destroy(&fixture);
    }
}

/* What is new is zeros, though the backing image has more, and even where that is not open. */
static void test_resize_backed(gconstpointer args)
{
    struct qcow2_fixture fixture;
    bool is_old = strstr(args, "0.10") != NULL, is_grown;

    if (!qcow2_fixture_can_run())
        return;
    for (unsigned blind = 0; blind < 2; blind++) {
        qcow2_fixture_init(&fixture, TEST_SIZE);
        g_assert_cmpint(
            qcow2_fixture_shell(&fixture,
                                "qemu-img create -q -f raw back 8M && qemu-io -f raw -c "
                                "'write -q -P 7 0 8M' back && qemu-img create -q -f qcow2 %s "
                                "-b back -F raw image %" G_GUINT64_FORMAT,
                                (const char *)args, TEST_SIZE),
            ==, 0);
        fixture.options.no_backing = blind;
        qcow2_fixture_open(&fixture);
        /* Version 2 cannot say that what is not known reads as zeros. */
        is_grown = fixture.image->format->resize(fixture.image, TEST_SIZE + (1 << 20), NULL);
        g_assert_cmpint(is_grown, ==, !(blind && is_old));
        qcow2_fixture_close(&fixture);
        qcow2_fixture_check(&fixture, false);
        if (is_grown)
            g_assert_cmpint(qcow2_fixture_shell(&fixture, "qemu-io -r -c 'read -P 0 4M 1M' image"),
                            ==, 0);
        qcow2_fixture_destroy(&fixture);
    }
}

/* --- snapshots --- */

static void test_snapshot_op(struct qcow2_fixture *fixture,
                             bool (*op)(struct vblk_image *, const char *, GError **),
                             const char *name)
{
    g_autoptr(GError) error = NULL;

    g_assert_true(op(fixture->image, name, &error));
    g_assert_no_error(error);
    qcow2_fixture_verify(fixture, 0, fixture->size);
    qcow2_fixture_check(fixture, false);
}

/* However often it fails, nothing is lost by it. */
static void test_snapshot_overflow(void)
{
    struct qcow2_fixture fixture;
    GStatBuf before, after;

    if (!qcow2_fixture_can_run())
        return;
    qcow2_fixture_create(&fixture, TEST_SIZE, "-o refcount_bits=2");
    qcow2_fixture_open(&fixture);
    qcow2_fixture_write(&fixture, 0, TEST_SIZE / 2, 1);
    for (unsigned i = 0; i < 2; i++)
        g_assert_true(qcow2_snapshot_create(fixture.image, "fits", NULL));
    /* The first cluster can be shared once more, those behind it cannot. */
    qcow2_fixture_write(&fixture, 0, 65536, 3);
    g_assert_cmpint(vblk_image_flush(fixture.image), ==, 0);
    g_assert_cmpint(g_stat(fixture.path, &before), ==, 0);
    for (unsigned i = 0; i < 5; i++) {
        g_assert_false(qcow2_snapshot_create(fixture.image, "too-many", NULL));
        qcow2_fixture_check(&fixture, false);
    }
    g_assert_cmpint(g_stat(fixture.path, &after), ==, 0);
    g_assert_cmpint(after.st_size, ==, before.st_size);
    qcow2_fixture_write(&fixture, TEST_SIZE / 2, TEST_SIZE / 4, 2);
    qcow2_fixture_close(&fixture);
    qcow2_fixture_check(&fixture, false);
    qcow2_fixture_compare(&fixture);
    qcow2_fixture_destroy(&fixture);
}

static void test_snapshots(gconstpointer args)
{
    g_autofree uint8_t *first = g_malloc(TEST_SIZE), *second = g_malloc(TEST_SIZE);
    struct qcow2_fixture fixture;
    GPtrArray *list;

    if (!qcow2_fixture_can_run())
        return;
    qcow2_fixture_create(&fixture, TEST_SIZE, args);
    qcow2_fixture_open(&fixture);
    qcow2_fixture_random(&fixture, 40);
    test_snapshot_op(&fixture, qcow2_snapshot_create, "first");
    memcpy(first, fixture.shadow, TEST_SIZE);
    qcow2_fixture_random(&fixture, 40);
    test_snapshot_op(&fixture, qcow2_snapshot_create, "second");
    memcpy(second, fixture.shadow, TEST_SIZE);
    qcow2_fixture_random(&fixture, 40);
    list = qcow2_snapshot_list(fixture.image, NULL);
    g_assert_cmpuint(list->len, ==, 2);
    g_assert_cmpint(qcow2_snapshot_find(list, "second"), ==, 1);
    g_assert_cmpint(qcow2_snapshot_find(list, "1"), ==, 0);
    g_ptr_array_unref(list);
    memcpy(fixture.shadow, first, TEST_SIZE);
    test_snapshot_op(&fixture, qcow2_snapshot_apply, "first");
    qcow2_fixture_random(&fixture, 40);
    test_snapshot_op(&fixture, qcow2_snapshot_delete, "first");
    qcow2_fixture_random(&fixture, 40);
    memcpy(fixture.shadow, second, TEST_SIZE);
    test_snapshot_op(&fixture, qcow2_snapshot_apply, "2");
    qcow2_fixture_close(&fixture);
    qcow2_fixture_check(&fixture, false);
    qcow2_fixture_compare(&fixture);
    g_assert_cmpint(qcow2_fixture_shell(&fixture, "qemu-img snapshot -d second image"), ==, 0);
    qcow2_fixture_check(&fixture, false);
    qcow2_fixture_destroy(&fixture);
}

/* --- checking --- */

static void test_report(void *opaque, const char *line)
{
    g_test_message("%s", line);
}

static void test_poke(const struct qcow2_fixture *fixture, uint64_t offset, uint8_t value)
{
    int fd = open(fixture->path, O_WRONLY);

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(pwrite(fd, &value, 1, (off_t)offset), ==, 1);
    close(fd);
}

/* Refcounts of clusters 6 (in use) and 40 (not) are wrong; both ways are seen, and repaired. */
static void test_repair(void)
{
    struct qcow2_check_result result;
    struct qcow2_fixture fixture;

    if (!qcow2_fixture_can_run())
        return;
    qcow2_fixture_create(&fixture, TEST_SIZE, "");
    qcow2_fixture_open(&fixture);
    qcow2_fixture_write(&fixture, 0, 256 * 1024, 1);
    g_assert_cmpint(qcow2_check(fixture.image, 0, test_report, NULL, &result), ==, 0);
    g_assert_cmpuint(result.n_corruptions + result.n_leaks, ==, 0);
    g_assert_cmpuint(result.n_allocated, ==, 4);
    qcow2_fixture_close(&fixture);
    g_assert_cmpint(qcow2_fixture_shell(&fixture, "truncate -s 3M image"), ==, 0);
    test_poke(&fixture, 2 * 65536 + 6 * 2 + 1, 0);
    test_poke(&fixture, 2 * 65536 + 40 * 2 + 1, 1);
    g_assert_cmpint(qcow2_fixture_shell(&fixture, "qemu-img check image"), ==, 2);
    fixture.options.repair = true;
    qcow2_fixture_open(&fixture);
    g_assert_cmpint(qcow2_check(fixture.image, 0, test_report, NULL, &result), ==, 0);
    g_assert_cmpuint(result.n_corruptions, >=, 1);
    g_assert_cmpuint(result.n_leaks, ==, 1);
    g_assert_cmpint(
        qcow2_check(fixture.image, QCOW2_FIX_LEAKS | QCOW2_FIX_ERRORS, test_report, NULL, &result),
        ==, 0);
    g_assert_cmpuint(result.n_leaks_fixed, ==, 1);
    qcow2_fixture_verify(&fixture, 0, TEST_SIZE);
    qcow2_fixture_close(&fixture);
    qcow2_fixture_check(&fixture, false);
    qcow2_fixture_compare(&fixture);
    qcow2_fixture_destroy(&fixture);
}

/* What a process with lazy refcounts leaves when it is killed is repaired by opening it. */
static void test_dirty(void)
{
    struct qcow2_fixture fixture;

    if (!qcow2_fixture_can_run())
        return;
    qcow2_fixture_create(&fixture, TEST_SIZE, "-o lazy_refcounts=on");
    qcow2_fixture_open(&fixture);
    qcow2_fixture_random(&fixture, 100);
    g_assert_cmpint(vblk_image_flush(fixture.image), ==, 0);
    g_assert_cmpint(qcow2_fixture_shell(&fixture, "cp image killed"), ==, 0);
    qcow2_fixture_close(&fixture);
    g_assert_cmpint(qcow2_fixture_shell(&fixture, "mv killed image; qemu-img check -q image"), !=,
                    0);
    qcow2_fixture_open(&fixture);
    qcow2_fixture_verify(&fixture, 0, TEST_SIZE);
    qcow2_fixture_close(&fixture);
    qcow2_fixture_check(&fixture, false);
    qcow2_fixture_compare(&fixture);
    qcow2_fixture_destroy(&fixture);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/qcow2/tools/create", test_create);
    g_test_add_func("/qcow2/tools/create-refused", test_create_refused);
    g_test_add_func("/qcow2/tools/preallocation", test_preallocation);
    g_test_add_data_func("/qcow2/tools/compress", "", test_compress);
    g_test_add_data_func("/qcow2/tools/compress-4k", "-o cluster_size=4k,refcount_bits=2",
                         test_compress);
    g_test_add_data_func("/qcow2/tools/compress-zstd", "-o compression_type=zstd", test_compress);
    g_test_add_data_func("/qcow2/tools/compress-extended", "-o extended_l2=on", test_compress);
    g_test_add_func("/qcow2/tools/resize", test_resize);
    g_test_add_data_func("/qcow2/tools/resize-backed", "", test_resize_backed);
    g_test_add_data_func("/qcow2/tools/resize-backed-v2", "-o compat=0.10", test_resize_backed);
    g_test_add_func("/qcow2/tools/snapshot-overflow", test_snapshot_overflow);
    g_test_add_data_func("/qcow2/tools/snapshots", "", test_snapshots);
    g_test_add_data_func("/qcow2/tools/snapshots-512", "-o cluster_size=512", test_snapshots);
    g_test_add_data_func("/qcow2/tools/snapshots-extended", "-o extended_l2=on", test_snapshots);
    g_test_add_data_func("/qcow2/tools/snapshots-v2", "-o compat=0.10", test_snapshots);
    g_test_add_func("/qcow2/tools/repair", test_repair);
    g_test_add_func("/qcow2/tools/dirty", test_dirty);
    return g_test_run();
}
