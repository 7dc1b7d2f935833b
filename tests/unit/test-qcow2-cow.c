/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Copy-on-write: random operations on disks whose contents come from backing images, compressed
 * clusters, clusters shared with snapshots, or lie in an external data file.
 */
#include <errno.h>
#include <string.h>

#include "tests/unit/qcow2-fixture.h"

#define TEST_SIZE (UINT64_C(8) << 20)

/* Commands that make "image" of "source", a raw file with the shadow's contents. */
static const struct {
    const char *name, *prepare;
} test_kinds[] = {
    {"backing-raw", "qemu-img create -q -f qcow2 -F raw -b source image"},
    {"backing-raw-512", "qemu-img create -q -f qcow2 -o cluster_size=512 -F raw -b source image"},
    {"backing-2m", "qemu-img create -q -f qcow2 -o cluster_size=2M -F raw -b source image"},
    {"backing-v2", "qemu-img create -q -f qcow2 -o compat=0.10 -F raw -b source image"},
    {"backing-extended", "qemu-img create -q -f qcow2 -o extended_l2=on -F raw -b source image"},
    {"backing-lazy", "qemu-img create -q -f qcow2 -o lazy_refcounts=on -F raw -b source image"},
    {"backing-qcow2", "qemu-img convert -f raw -O qcow2 source base && "
                      "qemu-img create -q -f qcow2 -F qcow2 -b base image"},
    {"backing-chain", "qemu-img convert -f raw -O qcow2 -c source base && "
                      "qemu-img create -q -f qcow2 -F qcow2 -b base middle && "
                      "qemu-io -f qcow2 -c 'write -z 0 0' middle && "
                      "qemu-img create -q -f qcow2 -F qcow2 -b middle image"},
    {"backing-compressed", "qemu-img convert -f raw -O qcow2 -c source base && "
                           "qemu-img create -q -f qcow2 -F qcow2 -b base image"},
    {"compressed", "qemu-img convert -f raw -O qcow2 -c source image"},
    {"compressed-4k", "qemu-img convert -f raw -O qcow2 -c -o cluster_size=4k source image"},
    {"compressed-2m", "qemu-img convert -f raw -O qcow2 -c -o cluster_size=2M source image"},
    {"compressed-zstd",
     "qemu-img convert -f raw -O qcow2 -c -o compression_type=zstd source image"},
    {"compressed-extended", "qemu-img convert -f raw -O qcow2 -c -o extended_l2=on source image"},
    {"snapshot", "qemu-img convert -f raw -O qcow2 source image && "
                 "qemu-img snapshot -c first image"},
    {"snapshot-v2", "qemu-img convert -f raw -O qcow2 -o compat=0.10 source image && "
                    "qemu-img snapshot -c first image"},
    {"snapshot-512", "qemu-img convert -f raw -O qcow2 -o cluster_size=512 source image && "
                     "qemu-img snapshot -c first image"},
    {"snapshot-extended", "qemu-img convert -f raw -O qcow2 -o extended_l2=on source image && "
                          "qemu-img snapshot -c first image"},
    {"snapshot-compressed", "qemu-img convert -f raw -O qcow2 -c source image && "
                            "qemu-img snapshot -c first image"},
    {"data-file", "qemu-img create -q -f qcow2 -o data_file=data image 8M && "
                  "qemu-img convert -n -f raw -O qcow2 source image"},
    {"data-file-extended",
     "qemu-img create -q -f qcow2 -o data_file=data,extended_l2=on image 8M && "
     "qemu-img convert -n -f raw -O qcow2 source image"},
    {"data-file-raw", "qemu-img create -q -f qcow2 -o data_file=data,data_file_raw=on image 8M && "
                      "qemu-img convert -n -f raw -O qcow2 source image"},
};

static void test_random(gconstpointer opaque)
{
    unsigned kind = GPOINTER_TO_UINT(opaque);
    struct qcow2_fixture fixture;

    if (!qcow2_fixture_can_run())
        return;
    qcow2_fixture_init(&fixture, TEST_SIZE);
    qcow2_fixture_fill(&fixture, "source");
    g_assert_cmpint(qcow2_fixture_shell(&fixture, "%s", test_kinds[kind].prepare), ==, 0);
    for (unsigned round = 0; round < 3; round++) {
        qcow2_fixture_open(&fixture);
        qcow2_fixture_verify(&fixture, 0, TEST_SIZE);
        qcow2_fixture_random(&fixture, 100);
        qcow2_fixture_verify(&fixture, 0, TEST_SIZE);
        qcow2_fixture_close(&fixture);
        qcow2_fixture_check(&fixture, false);
        qcow2_fixture_compare(&fixture);
    }
    if (g_str_has_prefix(test_kinds[kind].name, "snapshot"))
        g_assert_cmpint(qcow2_fixture_shell(&fixture,
                                            "qemu-img convert -f qcow2 -O raw -l first image "
                                            "old && cmp old source"),
                        ==, 0);
    if (strcmp(test_kinds[kind].name, "data-file-raw") == 0)
        g_assert_cmpint(
            qcow2_fixture_shell(&fixture, "qemu-img compare -f qcow2 -F raw image data"), ==, 0);
    qcow2_fixture_destroy(&fixture);
}

/* A backing image that is shorter than the disk, and one that is larger. */
static void test_backing_size(void)
{
    struct qcow2_fixture fixture;

    if (!qcow2_fixture_can_run())
        return;
    for (unsigned larger = 0; larger < 2; larger++) {
        uint64_t size = larger ? TEST_SIZE - 66048 : TEST_SIZE + 66048;

        qcow2_fixture_init(&fixture, TEST_SIZE + 66048);
        fixture.size = TEST_SIZE;
        qcow2_fixture_fill(&fixture, "source");
        fixture.size = size;
        g_assert_cmpint(qcow2_fixture_shell(&fixture,
                                            "qemu-img create -q -f qcow2 -F raw -b source image "
                                            "%" G_GUINT64_FORMAT,
                                            size),
                        ==, 0);
        qcow2_fixture_open(&fixture);
        qcow2_fixture_verify(&fixture, 0, size);
        qcow2_fixture_random(&fixture, 100);
        qcow2_fixture_verify(&fixture, 0, size);
        qcow2_fixture_close(&fixture);
        qcow2_fixture_check(&fixture, false);
        qcow2_fixture_compare(&fixture);
        qcow2_fixture_destroy(&fixture);
    }
}

static void test_refused(struct qcow2_fixture *fixture, const char *prepare, const char *why)
{
    g_autoptr(GError) error = NULL;

    g_assert_cmpint(qcow2_fixture_shell(fixture, "rm -f image; %s", prepare), ==, 0);
    g_assert_null(vblk_image_open(fixture->path, &fixture->options, &error));
    g_assert_nonnull(error);
    g_test_message("%s", error->message);
    g_assert_nonnull(strstr(error->message, why));
    g_assert_nonnull(strstr(error->message, fixture->path));
}

/* What an image names is opened only where that was allowed, and where it is a file. */
static void test_names(void)
{
    struct qcow2_fixture fixture;

    if (!qcow2_fixture_can_run())
        return;
    qcow2_fixture_init(&fixture, TEST_SIZE);
    qcow2_fixture_fill(&fixture, "source");
    test_refused(&fixture, "qemu-img create -q -u -f qcow2 -F raw -b nbd:unix:/tmp/x image 8M",
                 "names no file");
    test_refused(
        &fixture,
        "qemu-img create -q -u -f qcow2 -F raw -b 'json:{\"driver\":\"null-co\"}' image 8M",
        "names no file");
    test_refused(&fixture, "qemu-img create -q -u -f qcow2 -F vmdk -b source image 8M",
                 "not supported");
    test_refused(&fixture, "qemu-img create -q -u -f qcow2 -F raw -b nothing image 8M", "nothing");
    test_refused(&fixture, "qemu-img create -q -u -f qcow2 -F qcow2 -b ./image image 8M",
                 "behind itself");
    test_refused(&fixture,
                 "qemu-img create -q -u -f qcow2 -F qcow2 -b image other 8M; "
                 "qemu-img create -q -u -f qcow2 -F qcow2 -b other image 8M",
                 "behind itself");
    fixture.options.allow_backing = false;
    test_refused(&fixture, "qemu-img create -q -f qcow2 -F raw -b source image", "not allowed");
    test_refused(&fixture, "qemu-img create -q -f qcow2 -o data_file=data image 8M", "not allowed");
    qcow2_fixture_destroy(&fixture);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (unsigned i = 0; i < G_N_ELEMENTS(test_kinds); i++) {
        g_autofree char *path = g_strdup_printf("/qcow2/cow/%s", test_kinds[i].name);

        g_test_add_data_func(path, GUINT_TO_POINTER(i), test_random);
    }
    g_test_add_func("/qcow2/cow/backing-size", test_backing_size);
    g_test_add_func("/qcow2/cow/names", test_names);
    return g_test_run();
}
