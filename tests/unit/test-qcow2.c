/* SPDX-License-Identifier: Apache-2.0 */
/* qcow2 images of every kind: random operations beside a copy in memory, judged by qemu-img. */
#include <errno.h>
#include <string.h>

#include "tests/unit/qcow2-fixture.h"
#include "vblkd/format/qcow2-image.h"

#define TEST_SIZE (UINT64_C(16) << 20)

/* A disk nobody has written reads as zeros; what is written is there after closing. */
static void test_simple(void)
{
    struct qcow2_fixture fixture;

    if (!qcow2_fixture_can_run())
        return;
    qcow2_fixture_create(&fixture, TEST_SIZE, "");
    qcow2_fixture_open(&fixture);
    qcow2_fixture_verify(&fixture, 0, TEST_SIZE);
    qcow2_fixture_write(&fixture, 65536 - 512, 4096, 1);
    qcow2_fixture_verify(&fixture, 0, TEST_SIZE);
    qcow2_fixture_close(&fixture);
    qcow2_fixture_check(&fixture, false);
    qcow2_fixture_compare(&fixture);
    qcow2_fixture_open(&fixture);
    qcow2_fixture_verify(&fixture, 0, TEST_SIZE);
    qcow2_fixture_destroy(&fixture);
}

/* Opening and reading changes not one byte of the file. */
static void test_untouched(void)
{
    struct qcow2_fixture fixture;

    if (!qcow2_fixture_can_run())
        return;
    qcow2_fixture_create(&fixture, TEST_SIZE, "");
    g_assert_cmpint(qcow2_fixture_shell(&fixture, "cp image before"), ==, 0);
    qcow2_fixture_open(&fixture);
    qcow2_fixture_verify(&fixture, 0, TEST_SIZE);
    g_assert_cmpint(vblk_image_flush(fixture.image), ==, 0);
    qcow2_fixture_close(&fixture);
    g_assert_cmpint(qcow2_fixture_shell(&fixture, "cmp image before"), ==, 0);
    qcow2_fixture_destroy(&fixture);
}

/* Options, and what comes before the first operation of ours. */
static const struct {
    const char *name, *args;
    const char *prepare; /* a command in the folder */
} test_kinds[] = {
    {"default", ""},
    {"clusters-512", "-o cluster_size=512"},
    {"clusters-4k", "-o cluster_size=4096"},
    {"clusters-2m", "-o cluster_size=2M"},
    {"compat-0.10", "-o compat=0.10"},
    {"refcount-1", "-o refcount_bits=1"},
    {"refcount-2", "-o refcount_bits=2,cluster_size=512"},
    {"refcount-4", "-o refcount_bits=4"},
    {"refcount-8", "-o refcount_bits=8,cluster_size=1024"},
    {"refcount-32", "-o refcount_bits=32"},
    {"refcount-64", "-o refcount_bits=64,cluster_size=512"},
    {"lazy-refcounts", "-o lazy_refcounts=on"},
    {"extended-l2", "-o extended_l2=on"},
    {"extended-l2-16k", "-o extended_l2=on,cluster_size=16k"},
    {"preallocated", "-o preallocation=metadata"},
    {"preallocated-extended", "-o preallocation=metadata,extended_l2=on"},
    {"preallocated-full", "-o preallocation=falloc"},
};

static void test_random(gconstpointer opaque)
{
    unsigned kind = GPOINTER_TO_UINT(opaque);
    struct qcow2_fixture fixture;

    if (!qcow2_fixture_can_run())
        return;
    qcow2_fixture_create(&fixture, TEST_SIZE, test_kinds[kind].args);
    for (unsigned round = 0; round < 3; round++) {
        qcow2_fixture_open(&fixture);
        qcow2_fixture_random(&fixture, 150);
        qcow2_fixture_verify(&fixture, 0, TEST_SIZE);
        qcow2_fixture_close(&fixture);
        qcow2_fixture_check(&fixture, false);
        qcow2_fixture_compare(&fixture);
    }
    qcow2_fixture_destroy(&fixture);
}

/* What the options say that metadata takes at most: its two parts. */
static void test_cache_sizes(void)
{
    static const struct {
        uint64_t all, l2, refcount, ret_l2, ret_refcount; /* MiB */
    } rows[] = {
        {0, 0, 0, 32, 8},   {16, 0, 0, 12, 4}, {16, 14, 0, 14, 2},
        {16, 0, 10, 6, 10}, {0, 9, 0, 9, 8},   {0, 0, 3, 32, 3},
    };
    struct qcow2_fixture fixture;

    if (!qcow2_fixture_can_run())
        return;
    qcow2_fixture_create(&fixture, UINT64_C(1) << 20, "");
    g_assert_cmpint(
        qcow2_fixture_shell(&fixture, "qemu-img create -q -f qcow2 %s 1T", fixture.path), ==, 0);
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        struct vblk_image *image;

        fixture.options.cache_size = rows[i].all << 20;
        fixture.options.l2_cache_size = rows[i].l2 << 20;
        fixture.options.refcount_cache_size = rows[i].refcount << 20;
        image = vblk_image_open(fixture.path, &fixture.options, NULL);
        g_assert_nonnull(image);
        g_assert_cmpuint(qcow2_of(image)->l2.words_len, ==, rows[i].ret_l2 << 20);
        g_assert_cmpuint((uint64_t)qcow2_of(image)->refcounts.max_blocks << 16, ==,
                         rows[i].ret_refcount << 20);
        vblk_image_close(image);
    }
    qcow2_fixture_destroy(&fixture);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/qcow2/simple", test_simple);
    g_test_add_func("/qcow2/untouched", test_untouched);
    g_test_add_func("/qcow2/cache-sizes", test_cache_sizes);
    for (unsigned i = 0; i < G_N_ELEMENTS(test_kinds); i++) {
        g_autofree char *path = g_strdup_printf("/qcow2/random/%s", test_kinds[i].name);

        g_test_add_data_func(path, GUINT_TO_POINTER(i), test_random);
    }
    return g_test_run();
}
