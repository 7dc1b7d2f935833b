/* SPDX-License-Identifier: Apache-2.0 */
/*
 * qcow2 images on block devices (loop devices, where these can be had), whose end says nothing of
 * what is used of them: tables find room below it, also those of a daemon that was killed.
 */
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/qcow2-fixture.h"
#include "vblkd/format/qcow2-snapshot.h"

#define TEST_SIZE   (UINT64_C(2) << 20)
#define TEST_DEVICE "8M"
#define TEST_ARGS   "-o cluster_size=1k" /* whose refcount blocks count half a megabyte each */

static bool test_init(struct qcow2_fixture *fixture)
{
    if (!qcow2_fixture_can_run())
        return false;
    qcow2_fixture_init(fixture, TEST_SIZE);
    if (qcow2_fixture_shell(fixture, "truncate -s " TEST_DEVICE " lies-on && "
                                     "losetup -f --show lies-on >name 2>/dev/null && "
                                     "ln -s \"$(cat name)\" image") != 0) {
        qcow2_fixture_destroy(fixture);
        g_test_skip("no loop device");
        return false;
    }
    g_assert_cmpint(qcow2_fixture_shell(fixture,
                                        "qemu-img create -q -f qcow2 " TEST_ARGS
                                        " image %" G_GUINT64_FORMAT,
                                        TEST_SIZE),
                    ==, 0);
    g_free(fixture->shadow);
    /* Both processes see it. */
    fixture->shadow =
        mmap(NULL, TEST_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    g_assert_true(fixture->shadow != MAP_FAILED);
    return true;
}

static void test_clear(struct qcow2_fixture *fixture)
{
    munmap(g_steal_pointer(&fixture->shadow), TEST_SIZE);
    qcow2_fixture_close(fixture);
    g_assert_cmpint(qcow2_fixture_shell(fixture, "losetup -d \"$(cat name)\""), ==, 0);
    qcow2_fixture_destroy(fixture);
}

/* Tables of snapshots lie in a row. */
static void test_rows(void)
{
    struct qcow2_fixture fixture;
    g_autoptr(GError) error = NULL;

    if (!test_init(&fixture))
        return;
    qcow2_fixture_open(&fixture);
    for (unsigned i = 0; i < 12; i++) {
        uint64_t offset = (uint64_t)g_test_rand_int_range(0, TEST_SIZE / 2 / 512) * 512;
        g_autofree char *name = g_strdup_printf("snapshot%u", i);

        qcow2_fixture_write(&fixture, offset, TEST_SIZE / 8, (uint8_t)(i + 1));
        qcow2_snapshot_create(fixture.image, name, &error);
        g_assert_no_error(error);
    }
    qcow2_fixture_verify(&fixture, 0, TEST_SIZE);
    qcow2_fixture_close(&fixture);
    qcow2_fixture_check(&fixture, false);
    qcow2_fixture_compare(&fixture);
    test_clear(&fixture);
}

/* More than the device has room for, but not all at once: what is given back is found again. */
static void test_around(void)
{
    struct qcow2_fixture fixture;
    g_autoptr(GError) error = NULL;

    if (!test_init(&fixture))
        return;
    qcow2_fixture_open(&fixture);
    for (unsigned i = 0; i < 40; i++) {
        qcow2_snapshot_create(fixture.image, "one", &error);
        g_assert_no_error(error);
        qcow2_fixture_write(&fixture, 0, TEST_SIZE / 4 * 3, (uint8_t)(i + 1));
        qcow2_snapshot_delete(fixture.image, "one", &error);
        g_assert_no_error(error);
        g_assert_cmpint(vblk_image_flush(fixture.image), ==, 0);
    }
    qcow2_fixture_verify(&fixture, 0, TEST_SIZE);
    qcow2_fixture_close(&fixture);
    qcow2_fixture_check(&fixture, false);
    qcow2_fixture_compare(&fixture);
    test_clear(&fixture);
}

/* What a killed process had written is counted anew, in blocks that find a place. */
static void test_killed(void)
{
    struct qcow2_fixture fixture;
    int status;
    pid_t pid;

    if (!test_init(&fixture))
        return;
    fixture.options.has_journal = true;
    fixture.options.journal_fd = memfd_create("journal", MFD_CLOEXEC);
    for (unsigned round = 0; round < 2; round++) {
        pid = fork();
        if (pid == 0) {
            qcow2_fixture_open(&fixture);
            for (uint64_t at = 0; at < TEST_SIZE; at += TEST_SIZE / 64)
                qcow2_fixture_write(&fixture, at, TEST_SIZE / 64,
                                    (uint8_t)(at / (TEST_SIZE / 64) + round + 1));
            raise(SIGKILL);
        }
        g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
        g_assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        qcow2_fixture_open(&fixture);
        qcow2_fixture_verify(&fixture, 0, TEST_SIZE);
        g_assert_true(qcow2_snapshot_create(fixture.image, "later", NULL));
        g_assert_true(qcow2_snapshot_delete(fixture.image, "later", NULL));
        qcow2_fixture_close(&fixture);
        qcow2_fixture_check(&fixture, true);
        qcow2_fixture_compare(&fixture);
    }
    close(fixture.options.journal_fd);
    test_clear(&fixture);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/qcow2/device/rows", test_rows);
    g_test_add_func("/qcow2/device/around", test_around);
    g_test_add_func("/qcow2/device/killed", test_killed);
    return g_test_run();
}
