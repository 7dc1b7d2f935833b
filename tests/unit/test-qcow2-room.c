/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file that is made longer ahead of what is written past the page cache: it is ahead, it is given
 * back at the end, what a killed process leaves of it is no harm, and where it cannot be had
 * nothing fails.
 */
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/qcow2-fixture.h"
#include "vblkd/format/qcow2-create.h"
#include "vblkd/format/qcow2-image.h"

#define TEST_SIZE  (UINT64_C(64) << 20)
#define TEST_PIECE UINT64_C(4096)
#define TEST_STEP  (UINT64_C(64) << 10)

/* Any file system will do: it is not the storage that is past the page cache, but what it says. */
static void test_open(struct qcow2_fixture *fixture)
{
    qcow2_fixture_open(fixture);
    fixture->image->storage->cache = VBLK_CACHE_NONE;
    fixture->image->storage->is_in_memory = false;
}

static uint64_t test_file_size(const struct qcow2_fixture *fixture)
{
    struct stat st;

    g_assert_cmpint(stat(fixture->path, &st), ==, 0);
    return (uint64_t)st.st_size;
}

static void test_write(struct qcow2_fixture *fixture, uint64_t from, uint64_t to, uint8_t pattern)
{
    for (uint64_t at = from; at < to; at += TEST_STEP)
        qcow2_fixture_write(fixture, at, TEST_PIECE, pattern);
}

static void test_verify(struct qcow2_fixture *fixture)
{
    qcow2_fixture_verify(fixture, 0, fixture->size);
    qcow2_fixture_close(fixture);
    qcow2_fixture_check(fixture, false);
    qcow2_fixture_compare(fixture);
}

static void test_given_back(void)
{
    struct qcow2_fixture fixture;
    uint64_t n_ahead = 0, n = 0, size;

    if (!qcow2_fixture_can_run())
        return;
    qcow2_fixture_create(&fixture, TEST_SIZE, "");
    test_open(&fixture);
    for (uint64_t at = 0; at < TEST_SIZE / 2; at += TEST_STEP, n++) {
        uint64_t before = test_file_size(&fixture);

        qcow2_fixture_write(&fixture, at, TEST_PIECE, 1);
        n_ahead += test_file_size(&fixture) == before;
    }
    g_assert_cmpuint(n_ahead, >, n - n / 8);
    size = test_file_size(&fixture);
    test_verify(&fixture);
    g_assert_cmpuint(test_file_size(&fixture), <, size);
    size = test_file_size(&fixture);
    /* The second time, with some of it given up meanwhile; as if nothing had ever been ahead. */
    test_open(&fixture);
    qcow2_fixture_discard(&fixture, 0, TEST_SIZE / 8);
    g_assert_cmpint(vblk_image_flush(fixture.image), ==, 0);
    test_write(&fixture, TEST_SIZE / 2, TEST_SIZE / 2 + TEST_SIZE / 8, 2);
    test_verify(&fixture);
    g_assert_cmpuint(test_file_size(&fixture), <=, size + TEST_STEP);
    qcow2_fixture_destroy(&fixture);
}

/* Who comes after a killed process writes into what that had made ready. */
static void test_killed(void)
{
    struct qcow2_fixture fixture;
    uint64_t size;
    int status;
    pid_t pid;

    if (!qcow2_fixture_can_run())
        return;
    qcow2_fixture_create(&fixture, TEST_SIZE, "");
    g_free(fixture.shadow);
    /* Both processes see it. */
    fixture.shadow =
        mmap(NULL, TEST_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    g_assert_true(fixture.shadow != MAP_FAILED);
    pid = fork();
    if (pid == 0) {
        test_open(&fixture);
        test_write(&fixture, 0, TEST_SIZE / 4, 3);
        g_assert_cmpint(vblk_image_flush(fixture.image), ==, 0);
        raise(SIGKILL);
    }
    g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
    g_assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    qcow2_fixture_check(&fixture, true);
    size = test_file_size(&fixture);
    test_open(&fixture);
    qcow2_fixture_verify(&fixture, 0, fixture.size);
    test_write(&fixture, TEST_SIZE / 4, TEST_SIZE / 4 + 4 * TEST_STEP, 4);
    g_assert_cmpint(vblk_image_flush(fixture.image), ==, 0);
    qcow2_fixture_verify(&fixture, 0, fixture.size);
    test_verify(&fixture);
    g_assert_cmpuint(test_file_size(&fixture), <=, size);
    munmap(g_steal_pointer(&fixture.shadow), TEST_SIZE);
    qcow2_fixture_destroy(&fixture);
}

/* Each that is killed leaves some, and the next one takes that first. */
static void test_killed_often(void)
{
    struct qcow2_fixture fixture;
    uint64_t size = 0;

    if (!qcow2_fixture_can_run())
        return;
    qcow2_fixture_create(&fixture, TEST_SIZE, "");
    for (unsigned i = 0; i < 12; i++) {
        pid_t pid = fork();

        if (pid == 0) {
            test_open(&fixture);
            qcow2_fixture_write(&fixture, i * TEST_STEP, TEST_PIECE, 1);
            g_assert_cmpint(vblk_image_flush(fixture.image), ==, 0);
            qcow2_fixture_write(&fixture, (i + 100) * TEST_STEP, TEST_PIECE, 1);
            g_assert_cmpint(vblk_image_flush(fixture.image), ==, 0);
            raise(SIGKILL);
        }
        g_assert_cmpint(waitpid(pid, NULL, 0), ==, pid);
        if (i == 0)
            size = test_file_size(&fixture);
    }
    qcow2_fixture_check(&fixture, true);
    g_assert_cmpuint(test_file_size(&fixture), <=, size + 24 * TEST_STEP + size / 2);
    qcow2_fixture_destroy(&fixture);
}

/* Where an image says that its free clusters are far behind the end of its file, what lies between
 * takes no space. */
static void test_far(void)
{
    struct qcow2_fixture fixture;
    struct stat st;

    if (!qcow2_fixture_can_run())
        return;
    qcow2_fixture_create(&fixture, TEST_SIZE, "");
    test_open(&fixture);
    /* The table is there, and nothing has made the file longer when it is time for room. */
    qcow2_fixture_write(&fixture, 8 * TEST_STEP, TEST_PIECE, 1);
    qcow2_of(fixture.image)->refcounts.hint = 4096;
    test_write(&fixture, 0, 8 * TEST_STEP, 1);
    g_assert_cmpint(vblk_image_flush(fixture.image), ==, 0);
    g_assert_cmpint(stat(fixture.path, &st), ==, 0);
    g_assert_cmpuint((uint64_t)st.st_size, >, 4096 * TEST_STEP);
    g_assert_cmpuint((uint64_t)st.st_blocks * 512, <, 64 << 20);
    test_verify(&fixture);
    qcow2_fixture_destroy(&fixture);
}

/* The last cluster ends within a block of the file. */
static void test_small_clusters(void)
{
    struct qcow2_fixture fixture;

    if (!qcow2_fixture_can_run())
        return;
    for (unsigned n = 1; n < 12; n++) {
        qcow2_fixture_create(&fixture, TEST_SIZE, "-o cluster_size=512");
        test_open(&fixture);
        qcow2_fixture_write(&fixture, 0, n * UINT64_C(512), 1);
        g_assert_cmpuint(test_file_size(&fixture), >, 1 << 20);
        test_verify(&fixture);
        g_assert_cmpuint(test_file_size(&fixture), <, 1 << 19);
        qcow2_fixture_destroy(&fixture);
    }
}

/* Space is set aside in front of what is in use: the file does not end there, and what was there
 * before does not show. */
static void test_set_aside(gconstpointer how)
{
    struct qcow2_fixture fixture;

    if (!qcow2_fixture_can_run())
        return;
    qcow2_fixture_create(&fixture, TEST_SIZE, "");
    fixture.options.discard_in_format = false;
    qcow2_fixture_open(&fixture);
    test_write(&fixture, 0, 64 * TEST_STEP, 1);
    qcow2_fixture_discard(&fixture, 0, 32 * TEST_STEP);
    for (unsigned i = 0; i < 3; i++)
        g_assert_cmpint(vblk_image_flush(fixture.image), ==, 0);
    g_assert_cmpint(qcow2_preallocate(fixture.image, 0, 4 * TEST_STEP,
                                      (enum qcow2_preallocation)GPOINTER_TO_UINT(how)),
                    ==, 0);
    test_verify(&fixture);
    qcow2_fixture_destroy(&fixture);
}

/* Clusters that lay behind the end of a file that was too short, and are written in place. */
static void test_short_file(void)
{
    struct qcow2_fixture fixture;

    if (!qcow2_fixture_can_run())
        return;
    qcow2_fixture_create(&fixture, TEST_SIZE, "");
    qcow2_fixture_open(&fixture);
    qcow2_fixture_write(&fixture, 0, 10 * TEST_STEP, 7);
    qcow2_fixture_close(&fixture);
    /* The last eight have gone. */
    g_assert_cmpint(qcow2_fixture_shell(&fixture, "truncate -s -512K image"), ==, 0);
    test_open(&fixture);
    qcow2_fixture_write(&fixture, 0, 10 * TEST_STEP, 8);
    /* One that is allocated, and makes room ahead. */
    qcow2_fixture_discard(&fixture, 0, TEST_STEP);
    g_assert_cmpint(vblk_image_flush(fixture.image), ==, 0);
    qcow2_fixture_write(&fixture, TEST_SIZE / 2, TEST_PIECE, 9);
    g_assert_cmpuint(fixture.image->size, ==, TEST_SIZE);
    test_verify(&fixture);
    qcow2_fixture_destroy(&fixture);
}

/* Files may not be as long as that: writes go on for as long as they can be. */
static void test_refused(void)
{
    struct rlimit all, few = {.rlim_cur = UINT64_C(3) << 20, .rlim_max = RLIM_INFINITY};
    struct qcow2_fixture fixture;

    if (!qcow2_fixture_can_run())
        return;
    qcow2_fixture_create(&fixture, TEST_SIZE, "");
    signal(SIGXFSZ, SIG_IGN);
    g_assert_cmpint(getrlimit(RLIMIT_FSIZE, &all), ==, 0);
    few.rlim_max = all.rlim_max;
    test_open(&fixture);
    g_assert_cmpint(setrlimit(RLIMIT_FSIZE, &few), ==, 0);
    test_write(&fixture, 0, UINT64_C(2) << 20, 5);
    g_assert_cmpint(vblk_image_flush(fixture.image), ==, 0);
    g_assert_cmpint(setrlimit(RLIMIT_FSIZE, &all), ==, 0);
    test_write(&fixture, UINT64_C(2) << 20, UINT64_C(4) << 20, 6);
    test_verify(&fixture);
    qcow2_fixture_destroy(&fixture);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/qcow2/room/given-back", test_given_back);
    g_test_add_func("/qcow2/room/killed", test_killed);
    g_test_add_func("/qcow2/room/killed-often", test_killed_often);
    g_test_add_func("/qcow2/room/far", test_far);
    g_test_add_func("/qcow2/room/small-clusters", test_small_clusters);
    g_test_add_data_func("/qcow2/room/set-aside", GUINT_TO_POINTER(QCOW2_PREALLOC_METADATA),
                         test_set_aside);
    g_test_add_data_func("/qcow2/room/set-aside-falloc", GUINT_TO_POINTER(QCOW2_PREALLOC_FALLOC),
                         test_set_aside);
    g_test_add_func("/qcow2/room/short-file", test_short_file);
    g_test_add_func("/qcow2/room/refused", test_refused);
    return g_test_run();
}
