/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests that a predecessor may have done before it was killed: what harms when it is done twice
 * is not, and what has gone already is no error.
 */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/fs-client.h"

#define ROOT FUSE_ROOT_ID

static struct fs_fixture fixture;

static uint64_t create(const char *name, uint64_t *ret_fh)
{
    uint64_t nodeid;

    g_assert_cmpint(fs_client_create(&fixture, ROOT, name, O_RDWR | O_APPEND, &nodeid, ret_fh), ==,
                    0);
    return nodeid;
}

static void write_on_host(const char *name, const char *text)
{
    g_autofree char *path = fs_client_path(&fixture, name);

    g_assert_true(g_file_set_contents(path, text, -1, NULL));
}

static void assert_on_host(const char *name, const char *text)
{
    g_autofree char *path = fs_client_path(&fixture, name), *found = NULL;

    g_file_get_contents(path, &found, NULL, NULL);
    g_assert_cmpstr(found, ==, text);
}

static void test_forget(void)
{
    struct fuse_entry_out entry;
    uint64_t nodeid;

    fs_client_set_up(&fixture, FS_CACHE_AUTO, 2);
    g_assert_cmpint(fs_client_mkdir(&fixture, ROOT, "d", &nodeid), ==, 0);
    fixture.is_again = true;
    fs_client_forget(&fixture, nodeid, 1);
    g_assert_cmpint(fs_client_lookup(&fixture, nodeid, "none", &entry), ==, -ENOENT);
    fixture.is_again = false;
    fs_client_forget(&fixture, nodeid, 1);
    g_assert_cmpint(fs_client_lookup(&fixture, nodeid, "none", &entry), ==, -ESTALE);
    fs_client_tear_down(&fixture);
}

static int append(uint64_t fh, uint64_t offset, const char *text, bool is_again)
{
    int ret;

    fixture.is_again = is_again;
    ret = fs_client_write(&fixture, fh, offset, text, (uint32_t)strlen(text), O_APPEND);
    fixture.is_again = false;
    return ret;
}

static void test_append(void)
{
    uint64_t nodeid, fh;

    fs_client_set_up(&fixture, FS_CACHE_AUTO, 2);
    nodeid = create("f", &fh);
    g_assert_cmpint(append(fh, 0, "abc", false), ==, 3);
    g_assert_cmpint(append(fh, 3, "def", false), ==, 3);
    /* It was done, in part, or not at all. */
    g_assert_cmpint(append(fh, 3, "def", true), ==, 3);
    assert_on_host("f", "abcdef");
    g_assert_cmpint(append(fh, 4, "efgh", true), ==, 4);
    assert_on_host("f", "abcdefgh");
    g_assert_cmpint(append(fh, 8, "ij", true), ==, 2);
    assert_on_host("f", "abcdefghij");
    /* Others have made the file longer, or shorter: nothing of it is written over. */
    g_assert_cmpint(append(fh, 2, "kl", true), ==, 2);
    assert_on_host("f", "abcdefghijkl");
    g_assert_cmpint(append(fh, 100, "mn", true), ==, 2);
    assert_on_host("f", "abcdefghijklmn");
    g_assert_cmpint(fs_client_release(&fixture, nodeid, fh), ==, 0);
    fs_client_tear_down(&fixture);
}

static int take_away(uint32_t opcode, const char *name)
{
    struct fs_call call = {.opcode = opcode, .nodeid = ROOT, .name = name};

    return fs_client_call(&fixture, &call);
}

static void test_remove(void)
{
    fs_client_set_up(&fixture, FS_CACHE_AUTO, 2);
    g_assert_cmpint(take_away(FUSE_UNLINK, "f"), ==, -ENOENT);
    g_assert_cmpint(take_away(FUSE_RMDIR, "f"), ==, -ENOENT);
    write_on_host("f", "");
    fixture.is_again = true;
    g_assert_cmpint(take_away(FUSE_UNLINK, "f"), ==, 0);
    g_assert_cmpint(take_away(FUSE_UNLINK, "f"), ==, 0);
    g_assert_cmpint(take_away(FUSE_RMDIR, "f"), ==, 0);
    write_on_host("f", "");
    g_assert_cmpint(take_away(FUSE_RMDIR, "f"), ==, -ENOTDIR);
    fixture.is_again = false;
    fs_client_tear_down(&fixture);
}

static void test_rename(void)
{
    fs_client_set_up(&fixture, FS_CACHE_AUTO, 2);
    write_on_host("a", "A");
    g_assert_cmpint(fs_client_rename(&fixture, "a", "b", 0), ==, 0);
    g_assert_cmpint(fs_client_rename(&fixture, "a", "b", 0), ==, -ENOENT);
    fixture.is_again = true;
    g_assert_cmpint(fs_client_rename(&fixture, "a", "b", 0), ==, 0);
    g_assert_cmpint(fs_client_rename(&fixture, "a", "b", RENAME_NOREPLACE), ==, 0);
    g_assert_cmpint(fs_client_rename(&fixture, "a", "b", RENAME_EXCHANGE), ==, -ENOENT);
    g_assert_cmpint(fs_client_rename(&fixture, "a", "c", 0), ==, -ENOENT);
    assert_on_host("b", "A");
    /* It was not done. */
    g_assert_cmpint(fs_client_rename(&fixture, "b", "a", 0), ==, 0);
    assert_on_host("a", "A");
    write_on_host("b", "B");
    g_assert_cmpint(fs_client_rename(&fixture, "a", "b", RENAME_NOREPLACE), ==, -EEXIST);
    if (geteuid() == 0) {
        g_assert_cmpint(fs_client_rename(&fixture, "a", "b", RENAME_WHITEOUT), ==, 0);
        assert_on_host("b", "A");
        g_assert_cmpint(fs_client_rename(&fixture, "a", "b", RENAME_WHITEOUT), ==, 0);
        assert_on_host("b", "A");
    }
    fixture.is_again = false;
    fs_client_tear_down(&fixture);
}

static int make_link(uint64_t nodeid, const char *name)
{
    struct fuse_link_in in = {.oldnodeid = nodeid};
    struct fuse_entry_out entry;
    struct fs_call call = {.opcode = FUSE_LINK,
                           .nodeid = ROOT,
                           .args = &in,
                           .args_len = sizeof(in),
                           .name = name,
                           .reply = &entry,
                           .room = sizeof(entry)};
    int ret = fs_client_call(&fixture, &call);

    if (ret < 0)
        return ret;
    g_assert_cmpuint(entry.nodeid, ==, nodeid);
    return 0;
}

static void test_link(void)
{
    uint64_t nodeid, fh;

    fs_client_set_up(&fixture, FS_CACHE_AUTO, 2);
    nodeid = create("a", &fh);
    g_assert_cmpint(fs_client_release(&fixture, nodeid, fh), ==, 0);
    write_on_host("other", "");
    g_assert_cmpint(make_link(nodeid, "b"), ==, 0);
    g_assert_cmpint(make_link(nodeid, "b"), ==, -EEXIST);
    fixture.is_again = true;
    g_assert_cmpint(make_link(nodeid, "b"), ==, 0);
    g_assert_cmpint(make_link(nodeid, "c"), ==, 0);
    g_assert_cmpint(make_link(nodeid, "other"), ==, -EEXIST);
    fixture.is_again = false;
    /* The lookup of what it was not is none. */
    g_assert_cmpuint(fs_inodes_count(fixture.share.inodes), ==, 2);
    fs_client_tear_down(&fixture);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/fs-again/forget", test_forget);
    g_test_add_func("/fs-again/append", test_append);
    g_test_add_func("/fs-again/remove", test_remove);
    g_test_add_func("/fs-again/rename", test_rename);
    g_test_add_func("/fs-again/link", test_link);
    return g_test_run();
}
