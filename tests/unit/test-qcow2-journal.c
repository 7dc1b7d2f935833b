/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Processes that are killed: what a child had been told is written is there when its successor
 * opens the image with the same journal, flushed or not; and the journal no longer counts once
 * somebody else has written.
 */
#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/qcow2-fixture.h"
#include "tests/unit/storage-recorder.h"
#include "vblkd/format/qcow2-journal.h"

#define TEST_SIZE    (UINT64_C(2) << 20)
#define TEST_LARGE   (UINT64_C(8) << 20)

#define TEST_SKIPPED 77 /* a child's exit status */

static void test_init_sized(struct qcow2_fixture *fixture, uint64_t size, const char *args)
{
    qcow2_fixture_create(fixture, size, args);
    g_free(fixture->shadow);
    /* Both processes see it. */
    fixture->shadow = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    g_assert_true(fixture->shadow != MAP_FAILED);
    fixture->options.has_journal = true;
    fixture->options.journal_fd = memfd_create("journal", MFD_CLOEXEC);
}

static void test_init(struct qcow2_fixture *fixture, const char *args)
{
    test_init_sized(fixture, TEST_SIZE, args);
}

static void test_clear(struct qcow2_fixture *fixture)
{
    close(fixture->options.journal_fd);
    munmap(g_steal_pointer(&fixture->shadow), fixture->size);
    qcow2_fixture_destroy(fixture);
}

/* Random operations in a process that ends in the middle of things, with nothing closed. */
static void test_run_and_kill(struct qcow2_fixture *fixture, bool flushes)
{
    unsigned n = (unsigned)g_test_rand_int_range(1, 80);
    pid_t pid = fork();
    int status;

    if (pid == 0) {
        qcow2_fixture_open(fixture);
        for (unsigned i = 0; i < n; i++) {
            uint64_t offset = (uint64_t)g_test_rand_int_range(0, TEST_SIZE / 512) * 512;
            uint64_t wanted = (uint64_t)g_test_rand_int_range(1, 200) * 512;
            uint64_t len = MIN(wanted, TEST_SIZE - offset);

            if (i % 10 == 3)
                qcow2_fixture_zero(fixture, offset, len, true);
            else if (flushes && i % 10 == 7)
                g_assert_cmpint(vblk_image_flush(fixture->image), ==, 0);
            else
                qcow2_fixture_write(fixture, offset, len, (uint8_t)i);
        }
        if (flushes) { /* the last one is cut short */
            storage_fail_errno = EIO;
            storage_fail_at = (unsigned)g_test_rand_int_range(1, 12);
            (void)vblk_image_flush(fixture->image);
        }
        raise(SIGKILL);
    }
    g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
    g_assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void test_killed(gconstpointer args)
{
    struct qcow2_fixture fixture;

    if (!qcow2_fixture_can_run())
        return;
    test_init(&fixture, args);
    /* With clusters that a snapshot shares. */
    g_assert_cmpint(qcow2_fixture_shell(&fixture, "qemu-io -f qcow2 -c 'write -P 5 0 1M' image && "
                                                  "qemu-img snapshot -c one image"),
                    ==, 0);
    memset(fixture.shadow, 5, TEST_SIZE / 2);
    for (unsigned round = 0; round < 8; round++) {
        /* As small as can be, or as large as is good. */
        fixture.options.l2_cache_size = (uint64_t)g_test_rand_bit();
        fixture.options.refcount_cache_size = (uint64_t)g_test_rand_bit();
        test_run_and_kill(&fixture, round % 2 != 0);
        if (round % 3 != 0)
            continue; /* the next one is the successor */
        qcow2_fixture_open(&fixture);
        qcow2_fixture_verify(&fixture, 0, TEST_SIZE);
        qcow2_fixture_close(&fixture);
        qcow2_fixture_check(&fixture, true);
        qcow2_fixture_compare(&fixture);
    }
    test_clear(&fixture);
}

/* Killed at the n-th step of a flush: some of what the journal has is on the disk, and not the
 * oldest. */
static void test_killed_in_flush(gconstpointer args)
{
    struct qcow2_fixture fixture;
    int status;

    if (!qcow2_fixture_can_run())
        return;
    for (unsigned n = 1; n <= 10; n++) {
        pid_t pid;

        test_init(&fixture, args);
        pid = fork();
        if (pid == 0) {
            qcow2_fixture_open(&fixture);
            for (unsigned i = 0; i < 3; i++) {
                qcow2_fixture_write(&fixture, 0, TEST_SIZE / 2, (uint8_t)(i + 1));
                if (i < 2)
                    qcow2_fixture_zero(&fixture, 0, TEST_SIZE / 4, true);
            }
            storage_fail_at = n;
            storage_fail_errno = EIO;
            (void)vblk_image_flush(fixture.image);
            raise(SIGKILL);
        }
        g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
        g_assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        qcow2_fixture_open(&fixture);
        qcow2_fixture_verify(&fixture, 0, TEST_SIZE);
        qcow2_fixture_close(&fixture);
        qcow2_fixture_check(&fixture, true);
        qcow2_fixture_compare(&fixture);
        test_clear(&fixture);
    }
}

/* Runs in a process that is killed at its end. */
static void test_do_and_kill(struct qcow2_fixture *fixture, void (*run)(struct qcow2_fixture *))
{
    pid_t pid = fork();
    int status;

    if (pid == 0) {
        qcow2_fixture_open(fixture);
        run(fixture);
        raise(SIGKILL);
    }
    g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
    g_assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void test_verify(struct qcow2_fixture *fixture)
{
    qcow2_fixture_verify(fixture, 0, fixture->size);
    qcow2_fixture_close(fixture);
    qcow2_fixture_check(fixture, true);
    qcow2_fixture_compare(fixture);
}

/* More than a refcount block counts, which the disk does not have, and then some unflushed. */
static void run_lazily(struct qcow2_fixture *fixture)
{
    qcow2_fixture_write(fixture, 0, TEST_SIZE / 2, 1);
    g_assert_cmpint(vblk_image_flush(fixture->image), ==, 0);
    qcow2_fixture_write(fixture, TEST_SIZE / 2, TEST_SIZE / 4, 2);
    qcow2_fixture_zero(fixture, TEST_SIZE / 8, TEST_SIZE / 8, true);
    qcow2_fixture_write(fixture, TEST_SIZE / 8, TEST_SIZE / 16, 3);
}

/* The successor counts everything anew, and puts refcounts somewhere: not where data is that only
 * the journal knows of. */
static void test_killed_rebuilds(void)
{
    struct qcow2_fixture fixture;

    if (!qcow2_fixture_can_run())
        return;
    test_init(&fixture, "-o lazy_refcounts=on,cluster_size=512");
    test_do_and_kill(&fixture, run_lazily);
    qcow2_fixture_open(&fixture);
    test_verify(&fixture);
    test_clear(&fixture);
}

/* Some of each slice of the L2 tables, of which there are more than the smallest cache holds. */
static void run_everywhere(struct qcow2_fixture *fixture)
{
    for (uint64_t at = 0; at < fixture->size; at += 32 << 10)
        qcow2_fixture_write(fixture, at, 1024, (uint8_t)(at >> 15));
}

/* The successor has less memory, so that it flushes while it makes changes again, and then fails at
 * the n-th thing that it does: the next one has all of them still. */
static void test_failed_replay(void)
{
    struct qcow2_fixture fixture;
    unsigned n_failed = 0;

    if (!qcow2_fixture_can_run())
        return;
    test_init_sized(&fixture, TEST_LARGE, "-o cluster_size=512");
    test_do_and_kill(&fixture, run_everywhere);
    fixture.options.l2_cache_size = 1;
    storage_fail_errno = EIO;
    for (unsigned n = 1; !fixture.image; n += 23) {
        storage_fail_at = n;
        fixture.image = vblk_image_open(fixture.path, &fixture.options, NULL);
        n_failed += fixture.image == NULL;
    }
    storage_fail_at = 0;
    g_assert_cmpuint(n_failed, >, 4);
    test_verify(&fixture);
    test_clear(&fixture);
}

/* A journal with changes of one image is not for another, as long as the first one waits for it. */
static void test_other_image(void)
{
    g_autofree char *path = NULL;
    struct qcow2_fixture fixture;
    int journal;

    if (!qcow2_fixture_can_run())
        return;
    test_init(&fixture, "");
    journal = fixture.options.journal_fd;
    path = qcow2_fixture_path(&fixture, "other");
    g_assert_cmpint(qcow2_fixture_shell(&fixture, "qemu-img create -q -f qcow2 other 1M"), ==, 0);
    g_assert_true(qcow2_journal_check(journal, path, NULL));
    for (unsigned i = 0; i < 2; i++) {
        g_autoptr(GError) error = NULL;

        test_do_and_kill(&fixture, run_lazily);
        g_assert_true(qcow2_journal_check(journal, fixture.path, NULL));
        g_assert_false(qcow2_journal_check(journal, path, &error));
        g_assert_nonnull(strstr(error->message, fixture.path));
        if (i == 0) { /* it is served, to its end */
            qcow2_fixture_open(&fixture);
            test_verify(&fixture);
        } else { /* somebody else has written to it */
            g_assert_cmpint(
                qcow2_fixture_shell(&fixture, "qemu-io -f qcow2 -c 'write 0 512' image"), ==, 0);
        }
        g_assert_true(qcow2_journal_check(journal, path, NULL));
    }
    test_clear(&fixture);
}

/* Settling fails at any one thing that it does, and the disk goes on: the journal still counts. */
static void test_failed_settle(void)
{
    struct qcow2_fixture fixture;
    bool is_over = false;
    int status;

    if (!qcow2_fixture_can_run())
        return;
    for (unsigned n = 1; !is_over; n++) {
        pid_t pid;

        test_init(&fixture, "");
        pid = fork();
        if (pid == 0) {
            qcow2_fixture_open(&fixture);
            qcow2_fixture_write(&fixture, 0, TEST_SIZE / 4, 1);
            storage_fail_at = n;
            storage_fail_errno = EIO;
            (void)fixture.image->format->settle(fixture.image);
            *fixture.shadow = storage_fail_at > 0;
            storage_fail_at = 0;
            qcow2_fixture_write(&fixture, TEST_SIZE / 2, TEST_SIZE / 4, 2);
            raise(SIGKILL);
        }
        g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
        g_assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        is_over = *fixture.shadow;
        qcow2_fixture_open(&fixture);
        qcow2_fixture_write(&fixture, 0, 512, 3);
        qcow2_fixture_verify(&fixture, 0, TEST_SIZE);
        qcow2_fixture_close(&fixture);
        qcow2_fixture_check(&fixture, true);
        qcow2_fixture_compare(&fixture);
        test_clear(&fixture);
    }
}

/* --- a file system that cannot set space aside --- */

static bool test_has_fallocate = true;

/* In front of the system's. */
int fallocate(int fd, int mode, off_t offset, off_t len)
{
    if (test_has_fallocate)
        return (int)syscall(SYS_fallocate, fd, mode, offset, len);
    errno = EOPNOTSUPP;
    return -1;
}

/* What is in the journal stays there. */
static void test_without_fallocate(void)
{
    struct qcow2_fixture fixture;

    if (!qcow2_fixture_can_run())
        return;
    test_init(&fixture, "");
    test_has_fallocate = false;
    test_do_and_kill(&fixture, run_lazily);
    qcow2_fixture_open(&fixture);
    test_has_fallocate = true;
    test_verify(&fixture);
    test_clear(&fixture);
}

/* In a child: a small file system is all there is for the journal. */
static void run_full(const struct qcow2_fixture *fixture, const char *place)
{
    g_autofree char *journal = g_build_filename(place, "journal", NULL);
    struct vblk_image_options options = fixture->options;
    g_autoptr(GError) error = NULL;

    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("tmpfs", place, "tmpfs", 0, "size=1M") < 0)
        _exit(TEST_SKIPPED);
    options.journal_fd = open(journal, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    g_assert_cmpint(options.journal_fd, >=, 0);
    test_has_fallocate = false;
    g_assert_null(vblk_image_open(fixture->path, &options, &error));
    g_assert_error(error, G_IO_ERROR, G_IO_ERROR_NO_SPACE);
    _exit(0);
}

/* It is full: the image does not open, rather than that a write ends the process. */
static void test_full(void)
{
    g_autofree char *place = NULL;
    struct qcow2_fixture fixture;
    int status;
    pid_t pid;

    if (!qcow2_fixture_can_run())
        return;
    test_init(&fixture, "");
    place = qcow2_fixture_path(&fixture, "full");
    g_assert_cmpint(mkdir(place, 0700), ==, 0);
    pid = fork();
    if (pid == 0)
        run_full(&fixture, place);
    g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
    g_assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == TEST_SKIPPED)
        g_test_skip("no file system can be mounted here");
    else
        g_assert_cmpint(WEXITSTATUS(status), ==, 0);
    g_assert_cmpint(rmdir(place), ==, 0);
    test_clear(&fixture);
}

/* Another program has written to the image since: its changes stand, ours are gone. */
static void test_stale(void)
{
    struct qcow2_fixture fixture;
    uint8_t buf[512];

    if (!qcow2_fixture_can_run())
        return;
    test_init(&fixture, "");
    test_run_and_kill(&fixture, false);
    g_assert_cmpint(qcow2_fixture_shell(&fixture, "qemu-io -f qcow2 -c 'write -P 9 0 2M' image"),
                    ==, 0);
    memset(fixture.shadow, 9, TEST_SIZE);
    qcow2_fixture_open(&fixture);
    qcow2_fixture_verify(&fixture, 0, TEST_SIZE);
    g_assert_cmpint(vblk_image_read(fixture.image, buf, sizeof(buf), 0), ==, 0);
    g_assert_cmpint(buf[0], ==, 9);
    qcow2_fixture_close(&fixture);
    qcow2_fixture_check(&fixture, true);
    test_clear(&fixture);
}

/* A successor with a journal of its own has written, or a tool: the first one's changes are gone.
 */
static void test_other_journal(gconstpointer other_has_journal)
{
    struct qcow2_fixture fixture;
    int first, second = memfd_create("second", MFD_CLOEXEC);

    if (!qcow2_fixture_can_run())
        return;
    test_init(&fixture, "");
    first = fixture.options.journal_fd;
    test_run_and_kill(&fixture, false);
    fixture.options.has_journal = other_has_journal != NULL;
    fixture.options.journal_fd = second;
    qcow2_fixture_open(&fixture);
    qcow2_fixture_write(&fixture, 0, TEST_SIZE, 9);
    qcow2_fixture_close(&fixture);
    if (other_has_journal)
        test_run_and_kill(&fixture, false);
    fixture.options.has_journal = true;
    fixture.options.journal_fd = first;
    qcow2_fixture_open(&fixture);
    if (!other_has_journal)
        qcow2_fixture_verify(&fixture, 0, TEST_SIZE);
    qcow2_fixture_close(&fixture);
    qcow2_fixture_check(&fixture, true);
    if (!other_has_journal)
        qcow2_fixture_compare(&fixture);
    close(second);
    test_clear(&fixture);
}

/* What is in a journal of another boot may be anything. */
static void test_other_boot(void)
{
    struct qcow2_fixture fixture;
    g_autofree char *boot_id = NULL, *journal = g_malloc(4096);
    char *found;
    uint8_t buf[512], zeros[512] = {0};

    if (!qcow2_fixture_can_run() ||
        !g_file_get_contents("/proc/sys/kernel/random/boot_id", &boot_id, NULL, NULL))
        return;
    test_init(&fixture, "");
    qcow2_fixture_open(&fixture);
    qcow2_fixture_close(&fixture);
    if (fork() == 0) {
        qcow2_fixture_open(&fixture);
        qcow2_fixture_write(&fixture, 0, TEST_SIZE, 1);
        raise(SIGKILL);
    }
    g_assert_cmpint(wait(NULL), >, 0);
    g_assert_cmpint(pread(fixture.options.journal_fd, journal, 4096, 0), ==, 4096);
    found = memmem(journal, 4096, boot_id, 36);
    g_assert_nonnull(found);
    *found = *found == '0' ? '1' : '0';
    g_assert_cmpint(pwrite(fixture.options.journal_fd, journal, 4096, 0), ==, 4096);
    qcow2_fixture_open(&fixture);
    g_assert_cmpint(vblk_image_read(fixture.image, buf, sizeof(buf), 0), ==, 0);
    g_assert_true(memcmp(buf, zeros, sizeof(buf)) == 0);
    qcow2_fixture_close(&fixture);
    qcow2_fixture_check(&fixture, true);
    test_clear(&fixture);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_data_func("/qcow2/journal/killed", "", test_killed);
    g_test_add_data_func("/qcow2/journal/killed-512", "-o cluster_size=512", test_killed);
    g_test_add_data_func("/qcow2/journal/killed-extended", "-o cluster_size=16k,extended_l2=on",
                         test_killed);
    g_test_add_data_func("/qcow2/journal/killed-lazy", "-o lazy_refcounts=on,cluster_size=4k",
                         test_killed);
    g_test_add_data_func("/qcow2/journal/killed-lazy-512", "-o lazy_refcounts=on,cluster_size=512",
                         test_killed);
    g_test_add_data_func("/qcow2/journal/killed-in-flush", "-o cluster_size=4k",
                         test_killed_in_flush);
    g_test_add_func("/qcow2/journal/killed-rebuilds", test_killed_rebuilds);
    g_test_add_func("/qcow2/journal/failed-replay", test_failed_replay);
    g_test_add_func("/qcow2/journal/failed-settle", test_failed_settle);
    g_test_add_func("/qcow2/journal/without-fallocate", test_without_fallocate);
    g_test_add_func("/qcow2/journal/full", test_full);
    g_test_add_func("/qcow2/journal/other-image", test_other_image);
    g_test_add_func("/qcow2/journal/stale", test_stale);
    g_test_add_data_func("/qcow2/journal/other-journal", "yes", test_other_journal);
    g_test_add_data_func("/qcow2/journal/other-without", NULL, test_other_journal);
    g_test_add_func("/qcow2/journal/other-boot", test_other_boot);
    return g_test_run();
}
