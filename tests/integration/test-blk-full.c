/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file system that an image lies on is full: writes that need space fail, one by one, and
 * nothing else does; when there is room again they succeed, and the image is whole. What an orderly
 * end cannot write waits in the journal for another start.
 */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <unistd.h>

#include "blk-guest.h"
#include "vblkd/virtio-blk.h"

#define IMAGE_LEN (16u << 20)
#define BLOCK     (64u << 10)
#define N_BLOCKS  (IMAGE_LEN / BLOCK)
#define LOG_MAX   65536
#define LITTLE    "size=6M"
#define PLENTY    "size=64M"

static char *full_dir; /* a tmpfs is mounted there, in a mount namespace of ours */

static const struct kind {
    const char *name, *options, *qcow2;
} kinds[] = {
    {"raw", NULL, NULL},
    {"raw-threads", "--aio=threads", NULL},
    {"qcow2", "--format=qcow2", "cluster_size=64k"},
    {"qcow2-small", "--format=qcow2", "cluster_size=512"},
    {"qcow2-large", "--format=qcow2", "cluster_size=512k"},
    {"qcow2-v2", "--format=qcow2", "compat=0.10"},
    {"qcow2-durable", "--format=qcow2 --cache=writethrough", "cluster_size=4k"},
};

/* The kernel may still be giving back what a daemon had that has ended (io_uring does so later). */
static void set_room(const char *size)
{
    gint64 end = g_get_monotonic_time() + 30 * G_USEC_PER_SEC;
    int rc;

    while ((rc = mount("tmpfs", full_dir, "tmpfs", MS_REMOUNT, size)) < 0 && errno == EINVAL &&
           g_get_monotonic_time() < end)
        g_usleep(10000);
    g_assert_cmpint(rc, ==, 0);
}

static uint8_t write_block(struct blk_guest *guest, unsigned block, unsigned value)
{
    g_autofree uint8_t *data = g_malloc(BLOCK);

    memset(data, (int)value, BLOCK);
    return blk_guest_call(guest, BLK_T_OUT, (uint64_t)block * BLOCK / BLK_SECTOR, data, BLOCK, 0);
}

static void expect_block(const uint8_t *data, unsigned value)
{
    for (unsigned i = 0; i < BLOCK; i++)
        g_assert_cmpuint(data[i], ==, value);
}

static void expect_blocks(struct blk_guest *guest, unsigned n, const uint8_t *values)
{
    for (unsigned i = 0; i < n; i++) {
        g_assert_cmpuint(
            blk_guest_call(guest, BLK_T_IN, (uint64_t)i * BLOCK / BLK_SECTOR, NULL, 0, BLOCK), ==,
            BLK_S_OK);
        expect_block(guest->call.in, values[i]);
    }
}

/* Writes until there is no room: how many blocks were written. */
static unsigned fill(struct blk_guest *guest, uint8_t *values)
{
    unsigned n;

    for (n = 0; n < N_BLOCKS && write_block(guest, n, n + 1) == BLK_S_OK; n++)
        values[n] = (uint8_t)(n + 1);
    g_assert_cmpuint(n, >, 8);
    g_assert_cmpuint(n, <, N_BLOCKS);
    for (unsigned i = n; i < n + 8; i++)
        g_assert_cmpuint(write_block(guest, i, 0xee), ==, BLK_S_IOERR);
    return n;
}

static void test_full(gconstpointer data)
{
    const struct kind *kind = data;
    const struct blk_guest_setup setup = {.options = kind->options,
                                          .n_queues = 1,
                                          .features = VU_BIT(BLK_F_FLUSH) | VU_BIT(BLK_F_DISCARD),
                                          .image_len = IMAGE_LEN,
                                          .qcow2 = kind->qcow2};
    g_autofree uint8_t *values = g_malloc0(N_BLOCKS), *image = NULL;
    struct blk_guest guest;
    unsigned n;

    set_room(LITTLE);
    if (!blk_guest_start(&guest, &setup))
        return;
    n = fill(&guest, values);
    g_test_message("room for %u blocks", n);
    expect_blocks(&guest, n, values);
    /* It may take space, or not. */
    (void)blk_guest_call(&guest, BLK_T_FLUSH, 0, NULL, 0, 0);
    for (unsigned i = 0; i < n; i++) {
        values[i] = (uint8_t)(0x80 | i);
        g_assert_cmpuint(write_block(&guest, i, values[i]), ==, BLK_S_OK);
    }
    expect_blocks(&guest, n, values);
    set_room(PLENTY);
    for (unsigned i = 0; i < N_BLOCKS; i++) {
        values[i] = (uint8_t)(3 * i + 1);
        g_assert_cmpuint(write_block(&guest, i, values[i]), ==, BLK_S_OK);
    }
    g_assert_cmpuint(blk_guest_call(&guest, BLK_T_FLUSH, 0, NULL, 0, 0), ==, BLK_S_OK);
    expect_blocks(&guest, N_BLOCKS, values);
    blk_guest_stop(&guest);
    image = blk_guest_read_image(&guest, true);
    for (unsigned i = 0; i < N_BLOCKS; i++)
        expect_block(image + (size_t)i * BLOCK, values[i]);
    blk_guest_clear(&guest);
}

/* Daemons that are started write what they log there, until *ret_saved is put back. A memfd, for
 * which there is room. */
static int divert_log(int *ret_saved)
{
    int fd = memfd_create("log", MFD_CLOEXEC);

    *ret_saved = dup(STDERR_FILENO);
    g_assert_cmpint(fcntl(fd, F_SETFL, O_APPEND), ==, 0);
    g_assert_cmpint(dup2(fd, STDERR_FILENO), ==, STDERR_FILENO);
    return fd;
}

static unsigned count_lines(const char *text, const char *with)
{
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    unsigned n = 0;

    for (unsigned i = 0; lines[i]; i++)
        n += strstr(lines[i], with) != NULL;
    return n;
}

/* The log says what fails, and why, and not a line for each. */
static void test_told(void)
{
    const struct blk_guest_setup setup = {
        .options = "--log-level=warn", .n_queues = 1, .image_len = IMAGE_LEN};
    g_autofree char *log = g_malloc0(LOG_MAX);
    struct blk_guest guest;
    gint64 begin_us;
    unsigned n_lines;
    bool has_begun;
    int saved, fd;

    set_room(LITTLE);
    fd = divert_log(&saved);
    has_begun = blk_guest_start(&guest, &setup);
    g_assert_cmpint(dup2(saved, STDERR_FILENO), ==, STDERR_FILENO);
    g_assert_cmpint(close(saved), ==, 0);
    if (!has_begun)
        return;
    begin_us = g_get_monotonic_time();
    set_room("size=1M");
    for (unsigned i = 0; i < 100; i++)
        (void)write_block(&guest, i, 1);
    g_assert_cmpint(pread(fd, log, LOG_MAX - 1, 0), >=, 0);
    n_lines = count_lines(log, "write of 65536 bytes at ");
    g_assert_cmpuint(n_lines, >, 0);
    g_assert_cmpint(n_lines, <=, 1 + (g_get_monotonic_time() - begin_us) / G_USEC_PER_SEC);
    g_assert_cmpuint(count_lines(log, g_strerror(ENOSPC)), ==, n_lines);
    g_assert_cmpuint(count_lines(log, guest.image), >=, n_lines);
    blk_guest_stop(&guest);
    blk_guest_clear(&guest);
    g_assert_cmpint(close(fd), ==, 0);
}

/* Files of the daemon take no more than this. */
static void limit_files(const struct blk_guest *guest, rlim_t len)
{
    const struct rlimit limit = {.rlim_cur = len, .rlim_max = RLIM_INFINITY};

    g_assert_cmpint(prlimit(guest->pid, RLIMIT_FSIZE, &limit, NULL), ==, 0);
}

static void test_end(void)
{
    const struct blk_guest_setup setup = {.options = "--format=qcow2 --sandbox=none",
                                          .n_queues = 1,
                                          .features = VU_BIT(BLK_F_FLUSH),
                                          .image_len = IMAGE_LEN,
                                          .qcow2 = "cluster_size=64k"};
    g_autofree uint8_t *values = g_malloc0(N_BLOCKS), *image = NULL;
    g_autofree char *journal = NULL;
    struct blk_guest guest;
    unsigned n;

    set_room(PLENTY);
    if (!blk_guest_start(&guest, &setup))
        return;
    journal = g_strconcat(guest.socket, ".journal", NULL);
    for (n = 0; n < 16; n++) {
        values[n] = (uint8_t)(n + 1);
        g_assert_cmpuint(write_block(&guest, n, values[n]), ==, BLK_S_OK);
    }
    limit_files(&guest, 1);
    blk_guest_stop(&guest);
    g_assert_true(g_file_test(journal, G_FILE_TEST_EXISTS));
    blk_guest_start_again(&guest);
    expect_blocks(&guest, n, values);
    blk_guest_stop(&guest);
    g_assert_false(g_file_test(journal, G_FILE_TEST_EXISTS));
    image = blk_guest_read_image(&guest, true);
    for (unsigned i = 0; i < n; i++)
        expect_block(image + (size_t)i * BLOCK, values[i]);
    blk_guest_clear(&guest);
}

/* 0, or -1 where this process may not mount. */
static int mount_little(void)
{
    const char *tmp = g_getenv("TMPDIR");

    /* GLib asks for TMPDIR once: not yet. */
    full_dir = g_mkdtemp(g_build_filename(tmp ? tmp : "/tmp", "blk-full-XXXXXX", NULL));
    if (unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
        mount("tmpfs", full_dir, "tmpfs", 0, LITTLE) == 0 && g_setenv("TMPDIR", full_dir, TRUE))
        return 0;
    g_rmdir(full_dir);
    return -1;
}

int main(int argc, char **argv)
{
    int status;

    if (mount_little() < 0) {
        puts("1..0 # SKIP only root may mount a small file system");
        return 0;
    }
    g_test_init(&argc, &argv, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(kinds); i++) {
        g_autofree char *path = g_strdup_printf("/blk-full/%s", kinds[i].name);

        g_test_add_data_func(path, &kinds[i], test_full);
    }
    g_test_add_func("/blk-full/told", test_told);
    g_test_add_func("/blk-full/end", test_end);
    status = g_test_run();
    umount2(full_dir, MNT_DETACH);
    g_rmdir(full_dir);
    return status;
}
