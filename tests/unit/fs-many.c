/* SPDX-License-Identifier: Apache-2.0 */
/* See fs-many.h. */
#include "tests/unit/fs-many.h"

#include <fcntl.h>
#include <glib.h>

#include "tests/unit/open-fds.h"

struct fs_fixture fs_many_fixture;
uint64_t fs_many_nodeids[FS_MANY_N_FILES], fs_many_inos[FS_MANY_N_FILES];

static char *many_file_path(unsigned i)
{
    g_autofree char *name = g_strdup_printf("f%u", i);

    return fs_client_path(&fs_many_fixture, name);
}

static bool many_set_up(enum fs_inode_handles mode, bool nfs_export)
{
    struct fuse_init_out out;

    fs_fixture_init(&fs_many_fixture);
    fs_many_fixture.options.rlimit_nofile = FS_MANY_N_FDS;
    fs_many_fixture.options.inode_handles = (int)mode;
    fs_many_fixture.options.nfs_export = nfs_export;
    for (unsigned i = 0; i < FS_MANY_N_FILES; i++) {
        g_autofree char *path = many_file_path(i), *text = g_strdup_printf("%u", i);

        g_assert_true(
            g_file_set_contents_full(path, text, -1, G_FILE_SET_CONTENTS_NONE, 0644, NULL));
    }
    fs_fixture_open(&fs_many_fixture);
    fs_fixture_send_init(&fs_many_fixture, &out);
    if (fs_inodes_are_by_handle(fs_many_fixture.share.inodes))
        return true;
    g_test_skip("no file handles here");
    fs_client_tear_down(&fs_many_fixture);
    return false;
}

bool fs_many_set_up(enum fs_inode_handles mode)
{
    return many_set_up(mode, false);
}

bool fs_many_set_up_export(enum fs_inode_handles mode)
{
    return many_set_up(mode, true);
}

uint64_t fs_many_lookup(const char *name)
{
    struct fuse_entry_out entry;

    g_assert_cmpint(fs_client_lookup(&fs_many_fixture, FUSE_ROOT_ID, name, &entry), ==, 0);
    return entry.nodeid;
}

int fs_many_getattr(uint64_t nodeid, struct fuse_attr *ret_attr)
{
    struct fuse_getattr_in in = {0};
    struct fuse_attr_out out;
    struct fs_call call = {.opcode = FUSE_GETATTR,
                           .nodeid = nodeid,
                           .args = &in,
                           .args_len = sizeof(in),
                           .reply = &out,
                           .room = sizeof(out)};
    int ret = fs_client_call(&fs_many_fixture, &call);

    if (ret >= 0)
        *ret_attr = out.attr;
    return ret < 0 ? ret : 0;
}

void fs_many_look_up(void)
{
    for (unsigned i = 0; i < FS_MANY_N_FILES; i++) {
        g_autofree char *name = g_strdup_printf("f%u", i);
        struct fuse_entry_out entry;

        g_assert_cmpint(fs_client_lookup(&fs_many_fixture, FUSE_ROOT_ID, name, &entry), ==, 0);
        fs_many_nodeids[i] = entry.nodeid;
        fs_many_inos[i] = entry.attr.ino;
    }
    for (unsigned i = 0; i < FS_MANY_N_FILES; i++) {
        struct fuse_attr attr = {0};

        g_assert_cmpint(fs_many_getattr(fs_many_nodeids[i], &attr), ==, 0);
        g_assert_cmpuint(attr.ino, ==, fs_many_inos[i]);
    }
    g_assert_cmpuint(count_open_fds(), <, FS_MANY_N_FDS);
}

void fs_many_assert_has_fd(uint64_t nodeid, bool has)
{
    struct fs_inode *inode = fs_inode_get(fs_many_fixture.share.inodes, nodeid);

    g_assert_nonnull(inode);
    g_assert_cmpint(fs_fd_cache_has(&inode->fd), ==, has);
    fs_inode_put(fs_many_fixture.share.inodes, inode);
}
