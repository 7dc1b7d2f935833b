/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An overlay that comes in front of an image in use: which ones are taken, what both images hold
 * afterwards, and that whatever moment the process is killed at, the journal is applied to the one
 * that it is about.
 */
#include "vblkd/format/qcow2-overlay.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/qcow2-fixture.h"
#include "vblkd/format/qcow2-journal.h"

#define TEST_SIZE (UINT64_C(2) << 20)

static void test_init(struct qcow2_fixture *fixture, const char *args)
{
    qcow2_fixture_create(fixture, TEST_SIZE, args);
    g_free(fixture->shadow);
    /* Both processes see it, and what it was when the overlay came. */
    fixture->shadow =
        mmap(NULL, 2 * TEST_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    g_assert_true(fixture->shadow != MAP_FAILED);
    fixture->options.storage.take_locks = true;
    fixture->options.has_journal = true;
    fixture->options.journal_fd = memfd_create("journal", MFD_CLOEXEC);
}

static void test_clear(struct qcow2_fixture *fixture)
{
    close(fixture->options.journal_fd);
    qcow2_fixture_close(fixture);
    munmap(g_steal_pointer(&fixture->shadow), 2 * TEST_SIZE);
    qcow2_fixture_destroy(fixture);
}

/* Opens a file of the folder as an overlay comes. NULL with *error. */
static struct vblk_image *test_open_overlay(const struct qcow2_fixture *fixture, const char *name,
                                            GError **error)
{
    g_autofree char *path = qcow2_fixture_path(fixture, name);
    struct vblk_image_options options = fixture->options;
    int fd = open(path, O_RDWR | O_CLOEXEC);

    g_assert_cmpint(fd, >=, 0);
    options.format = "qcow2";
    options.no_backing = true;
    options.has_journal = false;
    return vblk_image_open_fd(fd, name, &options, error);
}

/* From here on the fixture's image is the overlay of that name. */
static void test_insert(struct qcow2_fixture *fixture, const char *name)
{
    g_autoptr(GError) error = NULL;
    struct vblk_image *overlay = test_open_overlay(fixture, name, &error);

    g_assert_no_error(error);
    g_assert_true(qcow2_overlay_check(overlay, fixture->image, &error));
    g_assert_no_error(error);
    g_assert_cmpint(qcow2_overlay_insert(overlay, fixture->image, fixture->options.journal_fd), ==,
                    0);
    fixture->image = overlay;
}

/* The fixture's image is closed; from here on it is this one. */
static void test_use(struct qcow2_fixture *fixture, const char *name)
{
    g_free(fixture->path);
    fixture->path = qcow2_fixture_path(fixture, name);
}

static void test_make(const struct qcow2_fixture *fixture, const char *name, const char *behind)
{
    const char *format = strcmp(behind, "image") == 0 ? fixture->options.format : "qcow2";

    g_assert_cmpint(qcow2_fixture_shell(fixture, "qemu-img create -q -f qcow2 -b %s -F %s %s",
                                        behind, format, name),
                    ==, 0);
}

/* --- contents --- */

static void test_contents(gconstpointer args)
{
    struct qcow2_fixture fixture;

    if (!qcow2_fixture_can_run())
        return;
    test_init(&fixture, args);
    test_make(&fixture, "one", "image");
    test_make(&fixture, "two", "one");
    qcow2_fixture_open(&fixture);
    qcow2_fixture_random(&fixture, 40);
    test_insert(&fixture, "one");
    memcpy(fixture.shadow + TEST_SIZE, fixture.shadow, TEST_SIZE);
    qcow2_fixture_verify(&fixture, 0, TEST_SIZE);
    qcow2_fixture_random(&fixture, 40);
    test_insert(&fixture, "two");
    qcow2_fixture_random(&fixture, 40);
    qcow2_fixture_verify(&fixture, 0, TEST_SIZE);
    /* Both that lie behind may be read by others, and are as if closed. */
    g_assert_cmpint(qcow2_fixture_shell(&fixture, "qemu-img check -q image"), ==, 0);
    g_assert_cmpint(qcow2_fixture_shell(&fixture, "qemu-img check -q one"), ==, 0);
    g_assert_cmpint(qcow2_fixture_shell(&fixture, "qemu-io -f qcow2 -c 'write 0 512' image"), !=,
                    0);
    g_assert_cmpint(vblk_image_flush(fixture.image), ==, 0);
    qcow2_fixture_close(&fixture);
    test_use(&fixture, "two");
    qcow2_fixture_check(&fixture, false);
    qcow2_fixture_compare(&fixture);
    memcpy(fixture.shadow, fixture.shadow + TEST_SIZE, TEST_SIZE);
    test_use(&fixture, "image");
    qcow2_fixture_check(&fixture, false);
    qcow2_fixture_compare(&fixture);
    test_clear(&fixture);
}

static void test_raw(void)
{
    struct qcow2_fixture fixture;
    g_autofree uint8_t *before = g_malloc(TEST_SIZE);
    g_autofree char *contents = NULL;
    gsize len;

    if (!qcow2_fixture_can_run())
        return;
    qcow2_fixture_init(&fixture, TEST_SIZE);
    qcow2_fixture_fill(&fixture, "image");
    fixture.options.format = "raw";
    fixture.options.journal_fd = memfd_create("journal", MFD_CLOEXEC);
    test_make(&fixture, "one", "image");
    qcow2_fixture_open(&fixture);
    qcow2_fixture_write(&fixture, 5000, 9000, 3);
    memcpy(before, fixture.shadow, TEST_SIZE);
    test_insert(&fixture, "one");
    qcow2_fixture_random(&fixture, 40);
    qcow2_fixture_close(&fixture);
    g_assert_true(g_file_get_contents(fixture.path, &contents, &len, NULL));
    g_assert_true(len == TEST_SIZE && memcmp(contents, before, TEST_SIZE) == 0);
    test_use(&fixture, "one");
    qcow2_fixture_check(&fixture, false);
    qcow2_fixture_compare(&fixture);
    close(fixture.options.journal_fd);
    qcow2_fixture_destroy(&fixture);
}

/* --- processes that are killed --- */

static void test_run_and_kill(struct qcow2_fixture *fixture, unsigned n_after)
{
    pid_t pid = fork();
    int status;

    if (pid == 0) {
        qcow2_fixture_open(fixture);
        for (unsigned i = 0; i < 30; i++)
            qcow2_fixture_write(fixture, i * 61 % 480 * 4096, 9000, (uint8_t)i);
        test_insert(fixture, "one");
        memcpy(fixture->shadow + TEST_SIZE, fixture->shadow, TEST_SIZE);
        for (unsigned i = 0; i < n_after; i++)
            qcow2_fixture_write(fixture, i * 71 % 480 * 4096, 9000, (uint8_t)(i + 100));
        raise(SIGKILL);
    }
    g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
    g_assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

/* The successor is given the overlay; or by mistake what lies behind, and is told so. */
static void test_killed(gconstpointer args)
{
    struct qcow2_fixture fixture;

    if (!qcow2_fixture_can_run())
        return;
    for (unsigned round = 0; round < 2; round++) {
        g_autoptr(GError) error = NULL;

        test_init(&fixture, args);
        test_make(&fixture, "one", "image");
        test_run_and_kill(&fixture, round == 0 ? 30 : 0);
        g_assert_false(qcow2_journal_check(fixture.options.journal_fd, fixture.path, &error));
        g_assert_nonnull(strstr(error->message, "overlay"));
        test_use(&fixture, "one");
        g_assert_true(qcow2_journal_check(fixture.options.journal_fd, fixture.path, NULL));
        qcow2_fixture_open(&fixture);
        qcow2_fixture_verify(&fixture, 0, TEST_SIZE);
        qcow2_fixture_random(&fixture, 10);
        qcow2_fixture_close(&fixture);
        qcow2_fixture_check(&fixture, true);
        qcow2_fixture_compare(&fixture);
        memcpy(fixture.shadow, fixture.shadow + TEST_SIZE, TEST_SIZE);
        test_use(&fixture, "image");
        qcow2_fixture_check(&fixture, true);
        qcow2_fixture_compare(&fixture);
        test_clear(&fixture);
    }
}

/* Killed before the overlay came, and the successor is given that: it would lack the journal. */
static void test_killed_before(void)
{
    g_autoptr(GError) error = NULL;
    struct qcow2_fixture fixture;
    pid_t pid;

    if (!qcow2_fixture_can_run())
        return;
    test_init(&fixture, "");
    test_make(&fixture, "one", "image");
    pid = fork();
    if (pid == 0) {
        qcow2_fixture_open(&fixture);
        for (unsigned i = 0; i < 30; i++)
            qcow2_fixture_write(&fixture, i * 61 % 480 * 4096, 9000, (uint8_t)i);
        raise(SIGKILL);
    }
    g_assert_cmpint(waitpid(pid, NULL, 0), ==, pid);
    test_use(&fixture, "one");
    g_assert_null(vblk_image_open(fixture.path, &fixture.options, &error));
    g_assert_nonnull(strstr(error->message, "lies behind"));
    test_use(&fixture, "image");
    qcow2_fixture_open(&fixture);
    qcow2_fixture_verify(&fixture, 0, TEST_SIZE);
    qcow2_fixture_close(&fixture);
    test_use(&fixture, "one");
    qcow2_fixture_open(&fixture);
    qcow2_fixture_verify(&fixture, 0, TEST_SIZE);
    test_clear(&fixture);
}

/* --- what is refused --- */

static void test_refused(void)
{
    static const struct {
        const char *make, *why;
    } tests[] = {
        {"qemu-img create -q -f qcow2 one 2M", "has no backing file"},
        {"qemu-img create -q -f qcow2 -b image -F qcow2 one 3M", "not as large"},
        {"qemu-img create -q -f qcow2 one 2M && qemu-io -f qcow2 -c 'write 0 64k' one && "
         "qemu-img rebase -u -b image -F qcow2 one",
         "not empty"},
        {"qemu-img create -q -f qcow2 one 2M && qemu-img snapshot -c s one && "
         "qemu-img rebase -u -b image -F qcow2 one",
         "has snapshots"},
        {"qemu-img create -q -f qcow2 one 2M && qemu-img bitmap --add one b && "
         "qemu-img rebase -u -b image -F qcow2 one",
         "has bitmaps"},
        {"qemu-img create -q -f qcow2 -b image -F raw one", "another format"},
        {"qemu-img create -q -f qcow2 -u -o data_file=d -b image -F qcow2 one 2M", "external data"},
        {"qemu-img create -q -f raw one 2M", "not a qcow2 image"},
        {"ln image one", "locked against writing"},
        {"rm -f one; truncate -s 2M one", "not a qcow2 image"},
    };
    struct qcow2_fixture fixture;

    if (!qcow2_fixture_can_run())
        return;
    test_init(&fixture, "");
    qcow2_fixture_open(&fixture);
    for (size_t i = 0; i < G_N_ELEMENTS(tests); i++) {
        g_autoptr(GError) error = NULL;
        struct vblk_image *overlay;

        g_test_message("%s", tests[i].make);
        g_assert_cmpint(qcow2_fixture_shell(&fixture, "rm -f one d; %s", tests[i].make), ==, 0);
        overlay = test_open_overlay(&fixture, "one", &error);
        if (overlay)
            g_assert_false(qcow2_overlay_check(overlay, fixture.image, &error));
        g_assert_nonnull(error);
        g_test_message("%s", error->message);
        g_assert_nonnull(strstr(error->message, tests[i].why));
        vblk_image_close(overlay);
        qcow2_fixture_random(&fixture, 5);
    }
    qcow2_fixture_close(&fixture);
    qcow2_fixture_check(&fixture, false);
    qcow2_fixture_compare(&fixture);
    test_clear(&fixture);
}

/* Descriptors that are none of a file opened for writing. */
static void test_descriptors(void)
{
    const struct vblk_storage_options options = {.cache = VBLK_CACHE_WRITEBACK};
    int fds[2];

    g_assert_cmpint(pipe2(fds, O_CLOEXEC), ==, 0);
    g_assert_null(vblk_storage_adopt(fds[0], "pipe", &options, NULL));
    g_assert_null(vblk_storage_adopt(fds[1], "pipe", &options, NULL));
    g_assert_null(
        vblk_storage_adopt(open("/proc/self/exe", O_RDONLY | O_CLOEXEC), "ro", &options, NULL));
    g_assert_null(vblk_storage_adopt(open("/tmp", O_PATH | O_CLOEXEC), "path", &options, NULL));
    g_assert_cmpint(fcntl(fds[0], F_GETFD), <, 0);
}

/* Where the old image cannot be left behind, it goes on. */
static void test_failed(void)
{
    struct qcow2_fixture fixture;
    struct vblk_image *overlay;

    if (!qcow2_fixture_can_run())
        return;
    test_init(&fixture, "");
    test_make(&fixture, "one", "image");
    qcow2_fixture_open(&fixture);
    qcow2_fixture_random(&fixture, 20);
    overlay = test_open_overlay(&fixture, "one", NULL);
    /* No journal can be made of a folder. */
    {
        int fd = open("/tmp", O_RDONLY | O_CLOEXEC);

        g_assert_cmpint(qcow2_overlay_insert(overlay, fixture.image, fd), <, 0);
        close(fd);
    }
    vblk_image_close(overlay);
    qcow2_fixture_random(&fixture, 20);
    test_insert(&fixture, "one");
    qcow2_fixture_random(&fixture, 20);
    qcow2_fixture_close(&fixture);
    test_use(&fixture, "one");
    qcow2_fixture_check(&fixture, false);
    qcow2_fixture_compare(&fixture);
    test_clear(&fixture);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_data_func("/qcow2/overlay/contents", "", test_contents);
    g_test_add_data_func("/qcow2/overlay/contents-extended", "-o extended_l2=on", test_contents);
    g_test_add_data_func("/qcow2/overlay/contents-lazy", "-o lazy_refcounts=on", test_contents);
    g_test_add_data_func("/qcow2/overlay/contents-v2", "-o compat=0.10", test_contents);
    g_test_add_func("/qcow2/overlay/raw", test_raw);
    g_test_add_data_func("/qcow2/overlay/killed", "", test_killed);
    g_test_add_data_func("/qcow2/overlay/killed-lazy", "-o lazy_refcounts=on,cluster_size=4k",
                         test_killed);
    g_test_add_func("/qcow2/overlay/killed-before", test_killed_before);
    g_test_add_func("/qcow2/overlay/refused", test_refused);
    g_test_add_func("/qcow2/overlay/descriptors", test_descriptors);
    g_test_add_func("/qcow2/overlay/failed", test_failed);
    return g_test_run();
}
