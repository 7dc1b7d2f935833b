/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that a front-end shares: placing regions, taking memory, translating both ways.
 */
#include <errno.h>
#include <glib.h>

#include "vhost-user/shared-memory.h"

static void test_shmem(void)
{
    struct vu_shmem shmem;
    uint64_t gpa;
    uint8_t *hva;

    vu_shmem_init(&shmem);
    g_assert_cmpint(vu_shmem_add(&shmem, 0x1000, 0x3000), ==, 0);
    g_assert_cmpint(vu_shmem_add(&shmem, 0x4000, 0x1000), ==, 0); /* its neighbour */
    g_assert_cmpint(vu_shmem_add(&shmem, 0x3000, 0x1000), ==, -EINVAL);
    g_assert_cmpint(vu_shmem_add(&shmem, 0x10, 0x1000), ==, -EINVAL);
    g_assert_cmpint(vu_shmem_add(&shmem, UINT64_MAX - 0xfff, 0x2000), ==, -EINVAL);
    g_assert_cmpint(vu_shmem_add(&shmem, 0x8000, 0), ==, -EINVAL);

    hva = vu_shmem_alloc(&shmem, 0x2800, 64, &gpa);
    g_assert_cmpuint(gpa, ==, 0x1000);
    g_assert_true(vu_shmem_at(&shmem, 0x1000, 0x3000) == hva);
    g_assert_null(vu_shmem_at(&shmem, 0x3fff, 2)); /* straddles */
    g_assert_null(vu_shmem_at(&shmem, 0x5000, 1));
    g_assert_null(vu_shmem_at(&shmem, 0, 1));
    g_assert_cmpuint(vu_shmem_gpa(&shmem, hva + 0x2fff), ==, 0x3fff);
    g_assert_cmpuint(vu_shmem_gpa(&shmem, &shmem), ==, UINT64_MAX);
    g_assert_nonnull(vu_shmem_alloc(&shmem, 0x1000, 4096, &gpa)); /* the second region */
    g_assert_cmpuint(gpa, ==, 0x4000);
    g_assert_nonnull(vu_shmem_alloc(&shmem, 0x7ff, 1, &gpa));
    g_assert_cmpuint(gpa, ==, 0x3800);
    g_assert_null(vu_shmem_alloc(&shmem, 2, 1, &gpa));
    g_assert_cmpint(vu_shmem_remove(&shmem, 0x2000), ==, -ENOENT);
    g_assert_cmpint(vu_shmem_remove(&shmem, 0x1000), ==, 0);
    g_assert_null(vu_shmem_at(&shmem, 0x1000, 1));
    vu_shmem_clear(&shmem);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/shared-memory/regions", test_shmem);
    return g_test_run();
}
