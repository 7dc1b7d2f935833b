/* SPDX-License-Identifier: Apache-2.0 */
/* permit.h, through requests: a share that is read-only; ids that stand for others; O_NOATIME. */
#include "virtiofsd/permit.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/fs-client.h"

static void test_open(struct fs_fixture *fixture)
{
    struct fuse_init_out out;

    fs_fixture_open(fixture);
    fs_fixture_send_init(fixture, &out);
}

/* A fixture with a rule for users and one for groups; NULL: none. */
static void test_open_translated(struct fs_fixture *fixture, const char *uids, const char *gids)
{
    fs_fixture_init(fixture);
    g_assert_cmpint(chmod(fixture->dir, 0777), ==, 0);
    g_assert_true(!uids || fs_idmap_add(&fixture->options.translate_uid, uids, NULL));
    g_assert_true(!gids || fs_idmap_add(&fixture->options.translate_gid, gids, NULL));
    test_open(fixture);
}

static void test_write_host(const struct fs_fixture *fixture, const char *name, const char *text)
{
    g_autofree char *path = fs_client_path(fixture, name);

    g_assert_true(g_file_set_contents(path, text, -1, NULL));
}

static struct stat test_stat_host(const struct fs_fixture *fixture, const char *name)
{
    g_autofree char *path = fs_client_path(fixture, name);
    struct stat st;

    g_assert_cmpint(stat(path, &st), ==, 0);
    return st;
}

static uint64_t test_lookup(struct fs_fixture *fixture, const char *name)
{
    struct fuse_entry_out entry;

    g_assert_cmpint(fs_client_lookup(fixture, FUSE_ROOT_ID, name, &entry), ==, 0);
    return entry.nodeid;
}

/* MKDIR as somebody. */
static int test_mkdir_as(struct fs_fixture *fixture, uint32_t uid, uint32_t gid, const char *name,
                         struct fuse_entry_out *ret_entry)
{
    struct fuse_mkdir_in in = {.mode = 0755};
    struct fs_call call = {.opcode = FUSE_MKDIR,
                           .nodeid = FUSE_ROOT_ID,
                           .uid = uid,
                           .gid = gid,
                           .args = &in,
                           .args_len = sizeof(in),
                           .name = name,
                           .reply = ret_entry,
                           .room = sizeof(*ret_entry)};

    return fs_client_call(fixture, &call);
}

static int test_setattr(struct fs_fixture *fixture, uint64_t nodeid,
                        const struct fuse_setattr_in *in, struct fuse_attr_out *ret_attr)
{
    struct fs_call call = {.opcode = FUSE_SETATTR,
                           .nodeid = nodeid,
                           .args = in,
                           .args_len = sizeof(*in),
                           .reply = ret_attr,
                           .room = sizeof(*ret_attr)};

    return fs_client_call(fixture, &call);
}

/* A request without arguments worth naming: its errno. */
static int test_request(struct fs_fixture *fixture, uint32_t opcode, uint64_t nodeid,
                        const void *args, size_t args_len, const char *name, const char *name2)
{
    char reply[512];
    struct fs_call call = {.opcode = opcode,
                           .nodeid = nodeid,
                           .args = args,
                           .args_len = args_len,
                           .name = name,
                           .name2 = name2,
                           .reply = reply,
                           .room = sizeof(reply)};

    return fs_client_call(fixture, &call);
}

static void test_readonly_names(void)
{
    struct fs_fixture fixture;
    struct fuse_rename_in rename = {.newdir = FUSE_ROOT_ID};
    struct fuse_mknod_in mknod = {.mode = S_IFREG | 0644};
    struct fuse_link_in link;
    struct fuse_attr_out attr;
    uint64_t nodeid, fh;

    fs_fixture_init(&fixture);
    fixture.options.readonly = true;
    test_write_host(&fixture, "file", "hello");
    test_open(&fixture);
    nodeid = link.oldnodeid = test_lookup(&fixture, "file");
    g_assert_cmpint(fs_client_create(&fixture, FUSE_ROOT_ID, "new", O_RDWR, &nodeid, &fh), ==,
                    -EROFS);
    g_assert_cmpint(fs_client_mkdir(&fixture, FUSE_ROOT_ID, "new", &nodeid), ==, -EROFS);
    g_assert_cmpint(
        test_request(&fixture, FUSE_MKNOD, FUSE_ROOT_ID, &mknod, sizeof(mknod), "new", NULL), ==,
        -EROFS);
    g_assert_cmpint(test_request(&fixture, FUSE_SYMLINK, FUSE_ROOT_ID, NULL, 0, "new", "to"), ==,
                    -EROFS);
    g_assert_cmpint(
        test_request(&fixture, FUSE_LINK, FUSE_ROOT_ID, &link, sizeof(link), "new", NULL), ==,
        -EROFS);
    g_assert_cmpint(
        test_request(&fixture, FUSE_RENAME, FUSE_ROOT_ID, &rename, sizeof(rename), "file", "new"),
        ==, -EROFS);
    g_assert_cmpint(test_request(&fixture, FUSE_UNLINK, FUSE_ROOT_ID, NULL, 0, "file", NULL), ==,
                    -EROFS);
    g_assert_cmpint(test_request(&fixture, FUSE_RMDIR, FUSE_ROOT_ID, NULL, 0, "file", NULL), ==,
                    -EROFS);
    g_assert_cmpint(test_setattr(&fixture, nodeid,
                                 &(struct fuse_setattr_in){.valid = FATTR_MODE, .mode = 0777},
                                 &attr),
                    ==, -EROFS);
    g_assert_cmpint(test_stat_host(&fixture, "file").st_size, ==, 5);
    fs_client_tear_down(&fixture);
}

static void test_readonly_data(void)
{
    static const int refused[] = {O_WRONLY, O_RDWR, O_RDONLY | O_TRUNC};
    struct fs_fixture fixture;
    struct fuse_open_out open;
    struct fuse_access_in access = {.mask = W_OK};
    struct fuse_ioctl_in ioctl = {.cmd = FS_IOC_SETFLAGS, .in_size = sizeof(int)};
    char buf[16];
    uint64_t nodeid;

    fs_fixture_init(&fixture);
    fixture.options.readonly = true;
    test_write_host(&fixture, "file", "hello");
    test_open(&fixture);
    nodeid = test_lookup(&fixture, "file");
    for (size_t i = 0; i < G_N_ELEMENTS(refused); i++)
        g_assert_cmpint(fs_client_open(&fixture, nodeid, refused[i], &open), ==, -EROFS);
    g_assert_cmpint(
        test_request(&fixture, FUSE_ACCESS, nodeid, &access, sizeof(access), NULL, NULL), ==,
        -EROFS);
    g_assert_cmpint(fs_client_open(&fixture, nodeid, O_RDONLY, &open), ==, 0);
    g_assert_cmpint(fs_client_read(&fixture, open.fh, 0, buf, sizeof(buf)), ==, 5);
    ioctl.fh = open.fh;
    g_assert_cmpint(test_request(&fixture, FUSE_IOCTL, nodeid, &ioctl, sizeof(ioctl), NULL, NULL),
                    ==, -EROFS);
    g_assert_cmpint(fs_client_write(&fixture, open.fh, 0, "x", 1, O_RDWR), ==, -EROFS);
    g_assert_cmpint(fs_client_release(&fixture, nodeid, open.fh), ==, 0);
    g_assert_cmpint(test_stat_host(&fixture, "file").st_size, ==, 5);
    fs_client_tear_down(&fixture);
}

static void test_creates_as_another(void)
{
    struct fs_fixture fixture;
    struct fuse_entry_out entry;
    struct stat st;

    if (geteuid() != 0) {
        g_test_skip("needs root, for files of several owners");
        return;
    }
    test_open_translated(&fixture, "map:1000:70000:10", "squash-guest:0:80000:100");
    g_assert_cmpint(test_mkdir_as(&fixture, 1003, 5, "d", &entry), >, 0);
    st = test_stat_host(&fixture, "d");
    g_assert_cmpuint(st.st_uid, ==, 70003);
    g_assert_cmpuint(st.st_gid, ==, 80000);
    g_assert_cmpuint(entry.attr.uid, ==, 1003);
    g_assert_cmpuint(entry.attr.gid, ==, 80000);
    g_assert_cmpint(test_mkdir_as(&fixture, 7, 500, "other", &entry), >, 0);
    st = test_stat_host(&fixture, "other");
    g_assert_cmpuint(st.st_uid, ==, 7);
    g_assert_cmpuint(st.st_gid, ==, 500);
    fs_client_tear_down(&fixture);
}

static void test_changes_owner(void)
{
    struct fuse_setattr_in in = {.valid = FATTR_UID | FATTR_GID, .uid = 1001, .gid = 1002};
    struct fs_fixture fixture;
    struct fuse_attr_out attr;
    struct stat st;

    if (geteuid() != 0) {
        g_test_skip("needs root, for files of several owners");
        return;
    }
    test_open_translated(&fixture, "map:1000:70000:10", "map:1000:80000:10");
    test_write_host(&fixture, "file", "");
    g_assert_cmpint(test_setattr(&fixture, test_lookup(&fixture, "file"), &in, &attr), >, 0);
    st = test_stat_host(&fixture, "file");
    g_assert_cmpuint(st.st_uid, ==, 70001);
    g_assert_cmpuint(st.st_gid, ==, 80002);
    g_assert_cmpuint(attr.attr.uid, ==, 1001);
    g_assert_cmpuint(attr.attr.gid, ==, 1002);
    fs_client_tear_down(&fixture);
}

/* Neither as the caller nor as an owner to be; but whoever may be seen may be read. */
static void test_forbidden(void)
{
    struct fuse_setattr_in in = {.valid = FATTR_UID, .uid = 1001};
    struct fs_fixture fixture;
    struct fuse_entry_out entry;
    struct fuse_attr_out attr;
    uint64_t nodeid;
    uid_t owner;

    test_open_translated(&fixture, "forbid-guest:1000:10", "forbid-guest:2000:1");
    test_write_host(&fixture, "file", "");
    owner = test_stat_host(&fixture, "file").st_uid;
    nodeid = test_lookup(&fixture, "file");
    g_assert_cmpint(test_mkdir_as(&fixture, 1003, 0, "d", &entry), ==, -EPERM);
    g_assert_cmpint(test_mkdir_as(&fixture, 0, 2000, "d", &entry), ==, -EPERM);
    g_assert_cmpint(test_setattr(&fixture, nodeid, &in, &attr), ==, -EPERM);
    in = (struct fuse_setattr_in){.valid = FATTR_GID, .gid = 2000};
    g_assert_cmpint(test_setattr(&fixture, nodeid, &in, &attr), ==, -EPERM);
    /* Ids that are not to be set do not count. */
    in = (struct fuse_setattr_in){.valid = FATTR_MODE, .mode = 0600, .uid = 1001, .gid = 2000};
    g_assert_cmpint(test_setattr(&fixture, nodeid, &in, &attr), >, 0);
    g_assert_cmpuint(test_stat_host(&fixture, "file").st_uid, ==, owner);
    fs_client_tear_down(&fixture);
}

/* The flags of the descriptor behind an open. */
static int test_host_flags(struct fs_fixture *fixture, uint64_t nodeid, int flags)
{
    bool directory = flags & O_DIRECTORY;
    struct fuse_open_out open;
    struct fs_handle *handle;
    int host;

    g_assert_cmpint(fs_client_open(fixture, nodeid, flags, &open), ==, 0);
    handle = fs_handle_get(fixture->share.handles, open.fh,
                           directory ? FS_HANDLE_DIRECTORY : FS_HANDLE_FILE);
    host = fcntl(handle->fd, F_GETFL);
    fs_handle_put(fixture->share.handles, handle);
    if (directory)
        fs_handle_release(fixture->share.handles, open.fh, FS_HANDLE_DIRECTORY);
    else
        fs_client_release(fixture, nodeid, open.fh);
    return host;
}

static void test_noatime(void)
{
    static const struct {
        bool preserve, readonly;
        int asked, expected;
    } rows[] = {
        {false, false, O_NOATIME, 0},
        {true, false, O_NOATIME, O_NOATIME},
        {true, false, 0, 0},
        {false, true, 0, O_NOATIME},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        struct fs_fixture fixture;
        uint64_t nodeid;

        fs_fixture_init(&fixture);
        fixture.options.preserve_noatime = rows[i].preserve;
        fixture.options.readonly = rows[i].readonly;
        test_write_host(&fixture, "file", "");
        test_open(&fixture);
        nodeid = test_lookup(&fixture, "file");
        g_assert_cmpint(test_host_flags(&fixture, nodeid, rows[i].asked) & O_NOATIME, ==,
                        rows[i].expected);
        g_assert_cmpint(test_host_flags(&fixture, FUSE_ROOT_ID, rows[i].asked | O_DIRECTORY) &
                            O_NOATIME,
                        ==, rows[i].expected);
        fs_client_tear_down(&fixture);
    }
}

/* A directory on which something is mounted is told of, or not. */
static void test_submounts(void)
{
    struct fs_fixture fixture;
    g_autofree char *path = NULL;

    for (int announce = 0; announce < 2; announce++) {
        struct fuse_entry_out entry;

        fs_fixture_init(&fixture);
        fixture.options.announce_submounts = announce;
        path = fs_client_path(&fixture, "below");
        g_assert_cmpint(g_mkdir(path, 0755), ==, 0);
        if (mount("none", path, "tmpfs", 0, NULL) < 0) {
            g_test_skip("mounts nothing here");
            announce = 2;
        }
        test_open(&fixture);
        g_assert_cmpint(fs_client_lookup(&fixture, FUSE_ROOT_ID, "below", &entry), ==, 0);
        if (announce < 2)
            g_assert_cmphex(entry.attr.flags, ==, announce ? FUSE_ATTR_SUBMOUNT : 0);
        umount2(path, MNT_DETACH);
        fs_client_tear_down(&fixture);
        g_clear_pointer(&path, g_free);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/permit/readonly-names", test_readonly_names);
    g_test_add_func("/permit/readonly-data", test_readonly_data);
    g_test_add_func("/permit/creates-as-another", test_creates_as_another);
    g_test_add_func("/permit/changes-owner", test_changes_owner);
    g_test_add_func("/permit/forbidden", test_forbidden);
    g_test_add_func("/permit/noatime", test_noatime);
    g_test_add_func("/permit/submounts", test_submounts);
    return g_test_run();
}
