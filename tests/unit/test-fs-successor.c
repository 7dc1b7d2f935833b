/* SPDX-License-Identifier: Apache-2.0 */
/*
 * state-file.c, inode-adopt.c: a guest goes on with another process's share, which has what it knew
 * and had open from the file of --state; and what cannot be had is refused.
 */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/fs-succession.h"

#define ROOT FUSE_ROOT_ID

static void (*const successions[])(void) = {fs_succession_kill, fs_succession_end};

static int open_directory(uint64_t nodeid, uint64_t *ret_fh)
{
    struct fuse_open_in in = {.flags = O_RDONLY | O_DIRECTORY};
    struct fuse_open_out out;
    int ret = fs_fixture_call(&fs_succession, FUSE_OPENDIR, nodeid, &in, sizeof(in), NULL, 0, &out,
                              sizeof(out));

    *ret_fh = out.fh;
    return ret < 0 ? ret : 0;
}

static int read_directory(uint64_t nodeid, uint64_t fh, uint64_t offset, char *buf, uint32_t size)
{
    struct fuse_read_in in = {.fh = fh, .offset = offset, .size = size};

    return fs_fixture_call(&fs_succession, FUSE_READDIR, nodeid, &in, sizeof(in), NULL, 0, buf,
                           size);
}

static void test_goes_on(gconstpointer data)
{
    uint64_t dir, file, fh, dir_fh, size = 0, again, again_fh;
    struct fuse_entry_out entry;
    char buf[4096];

    if (!fs_succession_set_up())
        return;
    g_assert_cmpint(fs_client_mkdir(&fs_succession, ROOT, "d", &dir), ==, 0);
    g_assert_cmpint(fs_client_create(&fs_succession, dir, "f", O_RDWR | O_TRUNC, &file, &fh), ==,
                    0);
    g_assert_cmpint(fs_client_write(&fs_succession, fh, 0, "before", 6, O_RDWR), ==, 6);
    g_assert_cmpint(open_directory(dir, &dir_fh), ==, 0);
    g_assert_cmpint(fs_client_lookup(&fs_succession, dir, "f", &entry), ==, 0);

    for (int i = 0; i < 2; i++) {
        successions[GPOINTER_TO_UINT(data)]();
        /* Without INIT. */
        g_assert_true(fs_share_is_initialised(&fs_succession.share));
        g_assert_cmpint(fs_succession_get_size(file, &size), ==, 0);
        g_assert_cmpuint(size, >=, 6);
        g_assert_cmpint(fs_client_read(&fs_succession, fh, 0, buf, 6), ==, 6);
        g_assert_cmpint(memcmp(buf, "before", 6), ==, 0);
        g_assert_cmpint(fs_client_write(&fs_succession, fh, 6, "behind", 6, O_RDWR), ==, 6);
        g_assert_cmpint(read_directory(dir, dir_fh, 0, buf, sizeof(buf)), >, 0);
        g_assert_cmpint(fs_client_lookup(&fs_succession, dir, "f", &entry), ==, 0);
        g_assert_cmpuint(entry.nodeid, ==, file);
    }
    /* Lookups are counted on, from the four there were. */
    fs_client_forget(&fs_succession, file, 3);
    g_assert_cmpint(fs_succession_get_size(file, &size), ==, 0);
    g_assert_cmpint(fs_client_release(&fs_succession, file, fh), ==, 0);
    fs_client_forget(&fs_succession, file, 1);
    g_assert_cmpint(fs_succession_get_size(file, &size), ==, -ESTALE);
    g_assert_cmpint(fs_client_read(&fs_succession, fh, 0, buf, 6), ==, -EBADF);
    /* New ones are not confused with those that are gone. */
    g_assert_cmpint(fs_client_create(&fs_succession, dir, "g", O_RDWR, &again, &again_fh), ==, 0);
    g_assert_cmpuint(again, !=, file);
    g_assert_cmpuint(again_fh, !=, fh);
    fs_succession_tear_down();
}

/* What has no name is gone, and so is what was replaced meanwhile. */
static void test_gone(void)
{
    uint64_t unlinked, unlinked_fh, replaced, replaced_fh, size = 0;
    g_autofree char *path = NULL;
    char buf[8];

    if (!fs_succession_set_up())
        return;
    g_assert_cmpint(fs_client_create(&fs_succession, ROOT, "u", O_RDWR, &unlinked, &unlinked_fh),
                    ==, 0);
    g_assert_cmpint(fs_fixture_call(&fs_succession, FUSE_UNLINK, ROOT, NULL, 0, "u", 2, NULL, 0),
                    ==, 0);
    g_assert_cmpint(fs_client_create(&fs_succession, ROOT, "r", O_RDWR, &replaced, &replaced_fh),
                    ==, 0);
    g_assert_cmpint(fs_client_release(&fs_succession, replaced, replaced_fh), ==, 0);
    path = fs_client_path(&fs_succession, "r");
    fs_share_leave(&fs_succession.share);
    fs_succession_close();
    g_assert_cmpint(g_unlink(path), ==, 0);
    g_assert_true(g_file_set_contents(path, "another", -1, NULL));
    fs_succession_open();

    g_assert_cmpint(fs_client_read(&fs_succession, unlinked_fh, 0, buf, 1), ==, -EBADF);
    g_assert_cmpint(fs_succession_get_size(unlinked, &size), ==, -ESTALE);
    g_assert_cmpint(fs_succession_get_size(replaced, &size), ==, -ESTALE);
    fs_succession_tear_down();
}

/* A guest that begins has nothing of the one before; nor has one that comes when that was gone. */
static void test_begins(void)
{
    struct fuse_init_out out;
    uint64_t file, fh, size;

    if (!fs_succession_set_up())
        return;
    g_assert_cmpint(fs_client_create(&fs_succession, ROOT, "f", O_RDWR, &file, &fh), ==, 0);
    fs_succession_kill();
    fs_fixture_send_init(&fs_succession, &out);
    g_assert_cmpint(fs_succession_get_size(file, &size), ==, -ESTALE);
    g_assert_cmpint(fs_client_create(&fs_succession, ROOT, "f", O_RDWR, &file, &fh), ==, 0);
    fs_share_reset(&fs_succession.share);
    fs_succession_kill();
    g_assert_false(fs_share_is_initialised(&fs_succession.share));
    g_assert_cmpint(fs_succession_get_size(file, &size), ==, -EIO);
    fs_fixture_send_init(&fs_succession, &out);
    g_assert_cmpint(fs_succession_get_size(file, &size), ==, -ESTALE);
    fs_succession_tear_down();
}

/* A table without a root. */
static void test_broken(void)
{
    struct fs_state_place place;
    struct fs_record root = {0};
    uint64_t file, fh, size;

    if (!fs_succession_set_up())
        return;
    g_assert_cmpint(fs_client_create(&fs_succession, ROOT, "f", O_RDWR, &file, &fh), ==, 0);
    fs_share_leave(&fs_succession.share);
    place = fs_state_file_inodes(fs_succession.state);
    g_assert_cmpint(
        pwrite(place.fd, &root, sizeof(root), place.offset + (off_t)sizeof(struct fs_inode)), ==,
        sizeof(root));
    fs_succession_close();
    fs_succession_open();
    g_assert_false(fs_share_is_initialised(&fs_succession.share));
    g_assert_cmpint(fs_succession_get_size(file, &size), ==, -EIO);
    fs_succession_tear_down();
}

/* Not by options under which the guest would not have been promised the same. */
static void test_not_ours(void)
{
    uint64_t file, fh;

    if (!fs_succession_set_up())
        return;
    g_assert_cmpint(fs_client_create(&fs_succession, ROOT, "f", O_RDWR, &file, &fh), ==, 0);
    fs_succession.options.killpriv_v2 = 0;
    fs_succession_end();
    g_assert_false(fs_share_is_initialised(&fs_succession.share));
    fs_succession_tear_down();
}

/* One that waits for its guest in vain leaves all as it was. */
static void test_waits(void)
{
    uint64_t file, fh, size;

    if (!fs_succession_set_up())
        return;
    g_assert_cmpint(fs_client_create(&fs_succession, ROOT, "f", O_RDWR, &file, &fh), ==, 0);
    for (int i = 0; i < 3; i++) {
        fs_succession_kill();
        g_assert_true(fs_succession.share.awaits_guest);
        fs_succession_close();
        fs_succession_open();
    }
    g_assert_cmpint(fs_succession_get_size(file, &size), ==, 0);
    g_assert_cmpint(fs_client_release(&fs_succession, file, fh), ==, 0);
    fs_succession_tear_down();
}

static void assert_refused(void)
{
    GError *error = NULL;

    g_assert_null(fs_state_file_open(fs_succession_path, &error));
    g_assert_nonnull(strstr(error->message, "--state"));
    g_clear_error(&error);
}

/* A file that others can write is none; and one of anything else stays what it is. */
static void test_others_file(void)
{
    g_autofree char *text = NULL;

    if (!fs_succession_set_up())
        return;
    fs_succession_close();
    g_assert_cmpint(g_chmod(fs_succession_path, 0622), ==, 0);
    assert_refused();
    g_assert_true(g_file_set_contents(fs_succession_path, "precious", -1, NULL));
    g_assert_cmpint(g_chmod(fs_succession_path, 0600), ==, 0);
    assert_refused();
    g_assert_true(g_file_get_contents(fs_succession_path, &text, NULL, NULL));
    g_assert_cmpstr(text, ==, "precious");
    g_assert_cmpint(g_unlink(fs_succession_path), ==, 0);
    fs_succession_open();
    fs_succession_tear_down();
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_data_func("/fs-successor/goes-on/killed", GUINT_TO_POINTER(0), test_goes_on);
    g_test_add_data_func("/fs-successor/goes-on/ended", GUINT_TO_POINTER(1), test_goes_on);
    g_test_add_func("/fs-successor/gone", test_gone);
    g_test_add_func("/fs-successor/begins", test_begins);
    g_test_add_func("/fs-successor/broken", test_broken);
    g_test_add_func("/fs-successor/not-ours", test_not_ours);
    g_test_add_func("/fs-successor/waits", test_waits);
    g_test_add_func("/fs-successor/others-file", test_others_file);
    return g_test_run();
}
