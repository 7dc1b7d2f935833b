/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inodes by file handles on file systems that are mounted below the share, some without handles.
 */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/fs-many.h"

/* A mount on a new folder of the share, in this process's own world. False where we may not. */
static bool mount_below(const char *name, const char *type)
{
    g_autofree char *path = fs_client_path(&fs_many_fixture, name);

    g_assert_cmpint(mkdir(path, 0755), ==, 0);
    return mount("test", path, type, 0, NULL) == 0;
}

/* Twenty files of a folder, looked up. */
static void look_up_below(const char *folder, uint64_t *ret_nodeids)
{
    uint64_t parent = fs_many_lookup(folder);

    for (unsigned i = 0; i < 20; i++) {
        g_autofree char *name = g_strdup_printf("%s/%u", folder, i),
                        *path = fs_client_path(&fs_many_fixture, name);
        struct fuse_entry_out entry;

        g_assert_true(g_file_set_contents_full(path, "", 0, G_FILE_SET_CONTENTS_NONE, 0644, NULL));
        g_assert_cmpint(fs_client_lookup(&fs_many_fixture, parent, strchr(name, '/') + 1, &entry),
                        ==, 0);
        ret_nodeids[i] = entry.nodeid;
    }
    ret_nodeids[20] = parent;
}

static void forget_below(const char *folder, const uint64_t *known)
{
    g_autofree char *path = fs_client_path(&fs_many_fixture, folder);

    for (unsigned i = 0; i <= 20; i++)
        fs_client_forget(&fs_many_fixture, known[i], 1);
    g_assert_cmpint(umount(path), ==, 0); /* busy while anything of it is held */
    g_assert_cmpint(rmdir(path), ==, 0);
}

/* Handles belong to mounts, which come and go; there are some without. */
static void test_submounts(void)
{
    uint64_t with[21], without[21];
    struct fs_inodes_usage usage;
    struct fuse_attr attr;

    if (!fs_many_set_up(FS_INODE_HANDLES_PREFER))
        return;
    if (!mount_below("with", "tmpfs") || !mount_below("without", "ramfs")) {
        g_test_skip("no mounts here");
        fs_client_tear_down(&fs_many_fixture);
        return;
    }
    look_up_below("with", with);
    look_up_below("without", without);
    fs_many_look_up();
    fs_inodes_get_usage(fs_many_fixture.share.inodes, &usage);
    g_assert_cmpuint(usage.n_mounts, ==, 2);
    for (unsigned i = 0; i <= 20; i++) {
        fs_many_assert_has_fd(with[i], false);
        fs_many_assert_has_fd(without[i], true);
        g_assert_cmpint(fs_many_getattr(with[i], &attr), ==, 0);
        g_assert_cmpint(fs_many_getattr(without[i], &attr), ==, 0);
    }
    forget_below("with", with);
    forget_below("without", without);
    fs_inodes_get_usage(fs_many_fixture.share.inodes, &usage);
    g_assert_cmpuint(usage.n_mounts, ==, 1);
    g_assert_cmpint(fs_many_getattr(with[0], &attr), ==, -ESTALE);
    fs_client_tear_down(&fs_many_fixture);
}

static void test_mandatory_submount(void)
{
    g_autofree char *path = NULL;
    struct fuse_entry_out entry;
    uint64_t known[21];

    if (!fs_many_set_up(FS_INODE_HANDLES_MANDATORY))
        return;
    if (mount_below("with", "tmpfs") && mount_below("without", "ramfs")) {
        path = fs_client_path(&fs_many_fixture, "without");
        g_assert_cmpint(fs_client_lookup(&fs_many_fixture, FUSE_ROOT_ID, "without", &entry), ==,
                        -EOPNOTSUPP);
        g_assert_cmpuint(fs_inodes_count(fs_many_fixture.share.inodes), ==, 1);
        look_up_below("with", known);
        forget_below("with", known);
        g_assert_cmpint(umount(path), ==, 0);
    } else {
        g_test_skip("no mounts here");
    }
    fs_client_tear_down(&fs_many_fixture);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    /* A world of its own; where that is not to be had, there are no mounts either. */
    if (unshare(CLONE_NEWNS) == 0)
        mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
    g_test_add_func("/fs-submounts/mixed", test_submounts);
    g_test_add_func("/fs-submounts/mandatory", test_mandatory_submount);
    return g_test_run();
}
