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

#include "tests/unit/fs-client.h"
#include "vhost-user/cleanup.h"

#define ROOT FUSE_ROOT_ID

static struct fs_fixture fixture;
static char *state_path;

static void state_open(void)
{
    GError *error = NULL;

    fixture.state = fs_state_file_open(state_path, &error);
    g_assert_no_error(error);
}

/* False where there are no file handles here. */
static bool set_up(void)
{
    vu_autofd int dir_fd = -1;
    struct fuse_init_out out;

    fs_fixture_init(&fixture);
    dir_fd = open(fixture.dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fs_file_handle_probe(dir_fd) < 0) {
        g_test_skip("file handles cannot be opened here");
        fs_fixture_open(&fixture);
        fs_fixture_finish(&fixture);
        return false;
    }
    state_path = g_strconcat(fixture.dir, ".state", NULL);
    state_open();
    fs_fixture_open(&fixture);
    fs_fixture_send_init(&fixture, &out);
    return true;
}

static void tear_down_share(void)
{
    fs_share_close(&fixture.share);
    fs_state_file_close(fixture.state);
}

static void tear_down(void)
{
    fs_fixture_finish(&fixture);
    fs_state_file_close(fixture.state);
    g_unlink(state_path);
    g_clear_pointer(&state_path, g_free);
}

/* A new share, with what the file has at this moment, as after a kill. */
static void kill_and_succeed(void)
{
    g_autofree char *copy = g_strconcat(state_path, "-copy", NULL);
    const char *const argv[] = {"cp", "--sparse=always", state_path, copy, NULL};
    GError *error = NULL;
    int status;

    g_spawn_sync(NULL, (char **)(uintptr_t)argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL, NULL,
                 &status, &error);
    g_assert_no_error(error);
    g_assert_cmpint(status, ==, 0);
    tear_down_share();
    g_assert_cmpint(g_rename(copy, state_path), ==, 0);
    state_open();
    fs_fixture_open(&fixture);
}

/* The same after SIGTERM. */
static void end_and_succeed(void)
{
    fs_share_leave(&fixture.share);
    tear_down_share();
    state_open();
    fs_fixture_open(&fixture);
}

static void (*const successions[])(void) = {kill_and_succeed, end_and_succeed};

static int get_size(uint64_t nodeid, uint64_t *ret_size)
{
    struct fuse_getattr_in in = {.getattr_flags = 0};
    struct fuse_attr_out out;
    int ret = fs_fixture_call(&fixture, FUSE_GETATTR, nodeid, &in, sizeof(in), NULL, 0, &out,
                              sizeof(out));

    if (ret > 0)
        *ret_size = out.attr.size;
    return ret < 0 ? ret : 0;
}

static int open_directory(uint64_t nodeid, uint64_t *ret_fh)
{
    struct fuse_open_in in = {.flags = O_RDONLY | O_DIRECTORY};
    struct fuse_open_out out;
    int ret = fs_fixture_call(&fixture, FUSE_OPENDIR, nodeid, &in, sizeof(in), NULL, 0, &out,
                              sizeof(out));

    *ret_fh = out.fh;
    return ret < 0 ? ret : 0;
}

static int read_directory(uint64_t nodeid, uint64_t fh, uint64_t offset, char *buf, uint32_t size)
{
    struct fuse_read_in in = {.fh = fh, .offset = offset, .size = size};

    return fs_fixture_call(&fixture, FUSE_READDIR, nodeid, &in, sizeof(in), NULL, 0, buf, size);
}

static void test_goes_on(gconstpointer data)
{
    uint64_t dir, file, fh, dir_fh, size = 0, again, again_fh;
    struct fuse_entry_out entry;
    char buf[4096];

    if (!set_up())
        return;
    g_assert_cmpint(fs_client_mkdir(&fixture, ROOT, "d", &dir), ==, 0);
    g_assert_cmpint(fs_client_create(&fixture, dir, "f", O_RDWR | O_TRUNC, &file, &fh), ==, 0);
    g_assert_cmpint(fs_client_write(&fixture, fh, 0, "before", 6, O_RDWR), ==, 6);
    g_assert_cmpint(open_directory(dir, &dir_fh), ==, 0);
    g_assert_cmpint(fs_client_lookup(&fixture, dir, "f", &entry), ==, 0);

    for (int i = 0; i < 2; i++) {
        successions[GPOINTER_TO_UINT(data)]();
        /* Without INIT. */
        g_assert_true(fs_share_is_initialised(&fixture.share));
        g_assert_cmpint(get_size(file, &size), ==, 0);
        g_assert_cmpuint(size, >=, 6);
        g_assert_cmpint(fs_client_read(&fixture, fh, 0, buf, 6), ==, 6);
        g_assert_cmpint(memcmp(buf, "before", 6), ==, 0);
        g_assert_cmpint(fs_client_write(&fixture, fh, 6, "behind", 6, O_RDWR), ==, 6);
        g_assert_cmpint(read_directory(dir, dir_fh, 0, buf, sizeof(buf)), >, 0);
        g_assert_cmpint(fs_client_lookup(&fixture, dir, "f", &entry), ==, 0);
        g_assert_cmpuint(entry.nodeid, ==, file);
    }
    /* Lookups are counted on, from the four there were. */
    fs_client_forget(&fixture, file, 3);
    g_assert_cmpint(get_size(file, &size), ==, 0);
    g_assert_cmpint(fs_client_release(&fixture, file, fh), ==, 0);
    fs_client_forget(&fixture, file, 1);
    g_assert_cmpint(get_size(file, &size), ==, -ESTALE);
    g_assert_cmpint(fs_client_read(&fixture, fh, 0, buf, 6), ==, -EBADF);
    /* New ones are not confused with those that are gone. */
    g_assert_cmpint(fs_client_create(&fixture, dir, "g", O_RDWR, &again, &again_fh), ==, 0);
    g_assert_cmpuint(again, !=, file);
    g_assert_cmpuint(again_fh, !=, fh);
    tear_down();
}

/* What has no name is gone, and so is what was replaced meanwhile. */
static void test_gone(void)
{
    uint64_t unlinked, unlinked_fh, replaced, replaced_fh, size = 0;
    g_autofree char *path = NULL;
    char buf[8];

    if (!set_up())
        return;
    g_assert_cmpint(fs_client_create(&fixture, ROOT, "u", O_RDWR, &unlinked, &unlinked_fh), ==, 0);
    g_assert_cmpint(fs_fixture_call(&fixture, FUSE_UNLINK, ROOT, NULL, 0, "u", 2, NULL, 0), ==, 0);
    g_assert_cmpint(fs_client_create(&fixture, ROOT, "r", O_RDWR, &replaced, &replaced_fh), ==, 0);
    g_assert_cmpint(fs_client_release(&fixture, replaced, replaced_fh), ==, 0);
    path = fs_client_path(&fixture, "r");
    fs_share_leave(&fixture.share);
    tear_down_share();
    g_assert_cmpint(g_unlink(path), ==, 0);
    g_assert_true(g_file_set_contents(path, "another", -1, NULL));
    state_open();
    fs_fixture_open(&fixture);

    g_assert_cmpint(fs_client_read(&fixture, unlinked_fh, 0, buf, 1), ==, -EBADF);
    g_assert_cmpint(get_size(unlinked, &size), ==, -ESTALE);
    g_assert_cmpint(get_size(replaced, &size), ==, -ESTALE);
    tear_down();
}

/* A guest that begins has nothing of the one before; nor has one that comes when that was gone. */
static void test_begins(void)
{
    struct fuse_init_out out;
    uint64_t file, fh, size;

    if (!set_up())
        return;
    g_assert_cmpint(fs_client_create(&fixture, ROOT, "f", O_RDWR, &file, &fh), ==, 0);
    kill_and_succeed();
    fs_fixture_send_init(&fixture, &out);
    g_assert_cmpint(get_size(file, &size), ==, -ESTALE);
    g_assert_cmpint(fs_client_create(&fixture, ROOT, "f", O_RDWR, &file, &fh), ==, 0);
    fs_share_reset(&fixture.share);
    kill_and_succeed();
    g_assert_false(fs_share_is_initialised(&fixture.share));
    g_assert_cmpint(get_size(file, &size), ==, -EIO);
    fs_fixture_send_init(&fixture, &out);
    g_assert_cmpint(get_size(file, &size), ==, -ESTALE);
    tear_down();
}

/* A table without a root. */
static void test_broken(void)
{
    struct fs_state_place place;
    struct fs_record root = {0};
    uint64_t file, fh, size;

    if (!set_up())
        return;
    g_assert_cmpint(fs_client_create(&fixture, ROOT, "f", O_RDWR, &file, &fh), ==, 0);
    fs_share_leave(&fixture.share);
    place = fs_state_file_inodes(fixture.state);
    g_assert_cmpint(
        pwrite(place.fd, &root, sizeof(root), place.offset + (off_t)sizeof(struct fs_inode)), ==,
        sizeof(root));
    tear_down_share();
    state_open();
    fs_fixture_open(&fixture);
    g_assert_false(fs_share_is_initialised(&fixture.share));
    g_assert_cmpint(get_size(file, &size), ==, -EIO);
    tear_down();
}

/* Not by options under which the guest would not have been promised the same; not out of nonsense.
 */
static void test_not_ours(void)
{
    uint64_t file, fh;

    if (!set_up())
        return;
    g_assert_cmpint(fs_client_create(&fixture, ROOT, "f", O_RDWR, &file, &fh), ==, 0);
    fixture.options.killpriv_v2 = 0;
    end_and_succeed();
    g_assert_false(fs_share_is_initialised(&fixture.share));
    tear_down_share();
    g_assert_true(g_file_set_contents(state_path, "nonsense", -1, NULL));
    g_assert_cmpint(g_chmod(state_path, 0600), ==, 0);
    state_open();
    fs_fixture_open(&fixture);
    g_assert_false(fs_share_is_initialised(&fixture.share));
    tear_down();
}

/* One that waits for its guest in vain leaves all as it was. */
static void test_waits(void)
{
    uint64_t file, fh, size;

    if (!set_up())
        return;
    g_assert_cmpint(fs_client_create(&fixture, ROOT, "f", O_RDWR, &file, &fh), ==, 0);
    for (int i = 0; i < 3; i++) {
        kill_and_succeed();
        g_assert_true(fixture.share.awaits_guest);
        tear_down_share();
        state_open();
        fs_fixture_open(&fixture);
    }
    g_assert_cmpint(get_size(file, &size), ==, 0);
    g_assert_cmpint(fs_client_release(&fixture, file, fh), ==, 0);
    tear_down();
}

/* A file that others can write is none. */
static void test_others_file(void)
{
    GError *error = NULL;

    if (!set_up())
        return;
    tear_down_share();
    g_assert_cmpint(g_chmod(state_path, 0622), ==, 0);
    g_assert_null(fs_state_file_open(state_path, &error));
    g_assert_nonnull(strstr(error->message, "--state"));
    g_clear_error(&error);
    g_assert_cmpint(g_chmod(state_path, 0600), ==, 0);
    state_open();
    fs_fixture_open(&fixture);
    tear_down();
}

/* A predecessor may have taken it back already. */
static void test_forget_again(void)
{
    struct fuse_entry_out entry;
    struct {
        struct fuse_in_header header;
        struct fuse_forget_in forget;
    } out = {.header = {.len = sizeof(out), .opcode = FUSE_FORGET}, .forget = {.nlookup = 1}};
    struct iovec iov = {&out, sizeof(out)};
    struct vu_elem elem = {
        .vring = &fixture.vring, .iov = &iov, .n_out = 1, .out_len = sizeof(out), .is_again = true};
    uint64_t size;

    if (!set_up())
        return;
    g_assert_cmpint(fs_client_mkdir(&fixture, ROOT, "d", &out.header.nodeid), ==, 0);
    g_assert_cmpint(fs_client_lookup(&fixture, ROOT, "d", &entry), ==, 0);
    fs_client_forget(&fixture, entry.nodeid, 1);
    fs_fixture_run(&fixture, &elem);
    g_assert_cmpint(get_size(entry.nodeid, &size), ==, 0);
    tear_down();
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
    g_test_add_func("/fs-successor/forget-again", test_forget_again);
    return g_test_run();
}
