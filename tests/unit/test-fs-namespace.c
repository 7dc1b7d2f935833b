/* SPDX-License-Identifier: Apache-2.0 */
/* namespace-create.c, namespace-remove.c, creds.c: names come and go as the host's own calls would
 * do it, and belong to who made them. */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "tests/unit/fs-client.h"

#define ROOT   FUSE_ROOT_ID
#define USER   1000
#define GROUP  1001
#define OTHERS 1002

static struct fs_fixture fixture;

/* A request that makes a name; `entry` is optional. */
static int make(uint32_t opcode, uint32_t user, uint32_t group, uint64_t parent, const void *args,
                size_t args_len, const char *name, const char *target,
                struct fuse_entry_out *ret_entry)
{
    struct fuse_entry_out entry;
    struct fs_call call = {.opcode = opcode,
                           .nodeid = parent,
                           .uid = user,
                           .gid = group,
                           .args = args,
                           .args_len = args_len,
                           .name = name,
                           .name2 = target,
                           .reply = ret_entry ? ret_entry : &entry,
                           .room = sizeof(entry)};
    int ret = fs_client_call(&fixture, &call);

    return ret < 0 ? ret : 0;
}

static int make_node(uint32_t user, uint32_t group, uint64_t parent, const char *name, mode_t mode,
                     mode_t mask, struct fuse_entry_out *ret_entry)
{
    struct fuse_mknod_in in = {.mode = mode, .umask = mask, .rdev = (uint32_t)makedev(1, 3)};

    return make(FUSE_MKNOD, user, group, parent, &in, sizeof(in), name, NULL, ret_entry);
}

static int make_directory(uint32_t user, uint32_t group, uint64_t parent, const char *name,
                          mode_t mode, struct fuse_entry_out *ret_entry)
{
    struct fuse_mkdir_in in = {.mode = mode, .umask = 022};

    return make(FUSE_MKDIR, user, group, parent, &in, sizeof(in), name, NULL, ret_entry);
}

static int make_file(const char *name)
{
    return make_node(0, 0, ROOT, name, S_IFREG | 0644, 0, NULL);
}

static int make_link(uint64_t old, uint64_t parent, const char *name,
                     struct fuse_entry_out *ret_entry)
{
    struct fuse_link_in in = {.oldnodeid = old};

    return make(FUSE_LINK, 0, 0, parent, &in, sizeof(in), name, NULL, ret_entry);
}

static int take_away(uint32_t opcode, uint64_t parent, const char *name)
{
    struct fs_call call = {.opcode = opcode, .nodeid = parent, .name = name};

    return fs_client_call(&fixture, &call);
}

static void test_make(void)
{
    struct fuse_entry_out directory, file, again;
    char target[PATH_MAX];
    struct fs_call readlink_call = {
        .opcode = FUSE_READLINK, .reply = target, .room = sizeof(target)};

    fs_client_set_up(&fixture, FS_CACHE_AUTO, 2);
    g_assert_cmpint(make_directory(0, 0, ROOT, "d", 0777, &directory), ==, 0);
    g_assert_cmpuint(directory.attr.mode, ==, S_IFDIR | 0755);
    g_assert_cmpint(make_directory(0, 0, ROOT, "d", 0777, NULL), ==, -EEXIST);
    g_assert_cmpint(make_node(0, 0, directory.nodeid, "f", S_IFREG | 0666, 027, &file), ==, 0);
    g_assert_cmpuint(file.attr.mode, ==, S_IFREG | 0640);
    g_assert_cmpuint(file.attr.ino, ==, fs_client_host_stat(&fixture, "d/f").st_ino);
    g_assert_cmpint(make_link(file.nodeid, ROOT, "g", &again), ==, 0);
    g_assert_cmpuint(again.nodeid, ==, file.nodeid);
    g_assert_cmpuint(again.attr.nlink, ==, 2);

    g_assert_cmpint(make(FUSE_SYMLINK, 0, 0, ROOT, NULL, 0, "s", "../any/where", &again), ==, 0);
    g_assert_cmpuint(again.attr.mode & S_IFMT, ==, S_IFLNK);
    readlink_call.nodeid = again.nodeid;
    g_assert_cmpint(fs_client_call(&fixture, &readlink_call), ==, 12);
    g_assert_cmpint(memcmp(target, "../any/where", 12), ==, 0);
    readlink_call.room = 11;
    g_assert_cmpint(fs_client_call(&fixture, &readlink_call), ==, -EINVAL);
    readlink_call.nodeid = file.nodeid;
    g_assert_cmpint(fs_client_call(&fixture, &readlink_call), ==, -EINVAL);
    /* A link to the symbolic link itself, never to what it names. */
    g_assert_cmpint(make_link(again.nodeid, ROOT, "s2", &again), ==, 0);
    g_assert_cmpuint(again.attr.mode & S_IFMT, ==, S_IFLNK);

    g_assert_cmpint(make_node(0, 0, ROOT, "p", S_IFIFO | 0600, 0, &again), ==, 0);
    g_assert_true(S_ISFIFO(fs_client_host_stat(&fixture, "p").st_mode));
    g_assert_cmpint(make_node(0, 0, ROOT, "x", S_IFDIR | 0600, 0, NULL), ==, -EINVAL);
    g_assert_cmpint(make_node(0, 0, file.nodeid, "x", S_IFREG | 0600, 0, NULL), ==, -ENOTDIR);
    g_assert_cmpint(make_node(0, 0, 0xdeadbeef00000007, "x", S_IFREG, 0, NULL), ==, -ESTALE);
    g_assert_cmpint(make_link(file.nodeid, 12345, "x", NULL), ==, -ESTALE);
    g_assert_cmpint(make_link(12345, ROOT, "x", NULL), ==, -ESTALE);
    fs_client_tear_down(&fixture);
}

static void test_device(void)
{
    struct fuse_entry_out entry;
    int ret;

    fs_client_set_up(&fixture, FS_CACHE_AUTO, 2);
    ret = make_node(0, 0, ROOT, "null", S_IFCHR | 0600, 0, &entry);
    if (ret == -EPERM) {
        g_test_skip("may not make device nodes");
    } else {
        g_assert_cmpint(ret, ==, 0);
        g_assert_cmpuint(fs_client_host_stat(&fixture, "null").st_rdev, ==, makedev(1, 3));
        g_assert_cmpuint(entry.attr.rdev, ==, makedev(1, 3));
    }
    fs_client_tear_down(&fixture);
}

static void test_ownership(void)
{
    struct fuse_entry_out entry, directory;
    g_autofree char *setgid = NULL;

    if (geteuid() != 0) {
        g_test_skip("not root");
        return;
    }
    fs_client_set_up(&fixture, FS_CACHE_AUTO, 2);
    /* The share is root's: the guest has decided that USER may write here. */
    g_assert_cmpint(make_node(USER, GROUP, ROOT, "f", S_IFREG | 0644, 0, &entry), ==, 0);
    g_assert_cmpuint(entry.attr.uid, ==, USER);
    g_assert_cmpuint(entry.attr.gid, ==, GROUP);
    g_assert_cmpint(make(FUSE_SYMLINK, USER, GROUP, ROOT, NULL, 0, "s", "t", &entry), ==, 0);
    g_assert_cmpuint(entry.attr.uid, ==, USER);
    g_assert_cmpint(make_directory(USER, GROUP, ROOT, "d", 0755, &directory), ==, 0);
    g_assert_cmpuint(directory.attr.gid, ==, GROUP);
    g_assert_cmpint(make_node(0, 0, directory.nodeid, "root", S_IFREG | 0644, 0, &entry), ==, 0);
    g_assert_cmpuint(entry.attr.uid, ==, 0);
    g_assert_cmpuint(entry.attr.gid, ==, 0);

    setgid = fs_client_path(&fixture, "d");
    g_assert_cmpint(chown(setgid, USER, OTHERS), ==, 0);
    g_assert_cmpint(chmod(setgid, 02777), ==, 0);
    g_assert_cmpint(make_node(USER, GROUP, directory.nodeid, "a", S_IFREG | 0644, 0, &entry), ==,
                    0);
    g_assert_cmpuint(entry.attr.gid, ==, OTHERS);
    g_assert_cmpint(make_directory(USER, GROUP, directory.nodeid, "b", 0755, &entry), ==, 0);
    g_assert_cmpuint(entry.attr.gid, ==, OTHERS);
    g_assert_true(entry.attr.mode & S_ISGID);
    /* Setgid to a group that is not the user's: cleared, unless root asks. */
    g_assert_cmpint(make_node(USER, GROUP, directory.nodeid, "c", S_IFREG | 02755, 0, &entry), ==,
                    0);
    g_assert_false(entry.attr.mode & S_ISGID);
    g_assert_cmpint(make_node(USER, OTHERS, directory.nodeid, "e", S_IFREG | 02755, 0, &entry), ==,
                    0);
    g_assert_true(entry.attr.mode & S_ISGID);
    g_assert_cmpint(make_node(0, 0, directory.nodeid, "g", S_IFREG | 02755, 0, &entry), ==, 0);
    g_assert_true(entry.attr.mode & S_ISGID);
    g_assert_cmpint(make_node(UINT32_MAX, 0, ROOT, "i", S_IFREG, 0, NULL), ==, -EINVAL);
    g_assert_cmpint(make_node(0, UINT32_MAX, ROOT, "i", S_IFREG, 0, NULL), ==, -EINVAL);
    g_assert_false(fs_client_host_has(&fixture, "i"));
    fs_client_tear_down(&fixture);
}

/* Credentials belong to a thread: helpers and workers must not inherit each other's. */
static void *ownership_thread(void *opaque)
{
    uint32_t user = GPOINTER_TO_UINT(opaque);

    for (unsigned i = 0; i < 200; i++) {
        uint32_t who = i % 3 == 2 ? 0 : user;
        struct fuse_entry_out entry;
        char name[32];

        snprintf(name, sizeof(name), "%u-%u", user, i);
        g_assert_cmpint(make_node(who, who, ROOT, name, S_IFREG | 0644, 0, &entry), ==, 0);
        g_assert_cmpuint(entry.attr.uid, ==, who);
        g_assert_cmpuint(entry.attr.gid, ==, who);
        g_assert_cmpint(take_away(FUSE_UNLINK, ROOT, name), ==, 0);
    }
    return NULL;
}

static void test_ownership_threads(void)
{
    pthread_t threads[6];

    if (geteuid() != 0) {
        g_test_skip("not root");
        return;
    }
    fs_client_set_up(&fixture, FS_CACHE_AUTO, 2);
    for (unsigned i = 0; i < G_N_ELEMENTS(threads); i++)
        g_assert_cmpint(
            pthread_create(&threads[i], NULL, ownership_thread, GUINT_TO_POINTER(USER + i)), ==, 0);
    for (unsigned i = 0; i < G_N_ELEMENTS(threads); i++)
        pthread_join(threads[i], NULL);
    fs_client_tear_down(&fixture);
}

static void test_remove(void)
{
    struct fuse_entry_out directory;

    fs_client_set_up(&fixture, FS_CACHE_AUTO, 2);
    g_assert_cmpint(make_directory(0, 0, ROOT, "d", 0755, &directory), ==, 0);
    g_assert_cmpint(make_node(0, 0, directory.nodeid, "f", S_IFREG | 0644, 0, NULL), ==, 0);
    g_assert_cmpint(take_away(FUSE_RMDIR, ROOT, "d"), ==, -ENOTEMPTY);
    g_assert_cmpint(take_away(FUSE_UNLINK, ROOT, "d"), ==, -EISDIR);
    g_assert_cmpint(take_away(FUSE_RMDIR, directory.nodeid, "f"), ==, -ENOTDIR);
    g_assert_cmpint(take_away(FUSE_UNLINK, directory.nodeid, "f"), ==, 0);
    g_assert_cmpint(take_away(FUSE_UNLINK, directory.nodeid, "f"), ==, -ENOENT);
    g_assert_cmpint(take_away(FUSE_RMDIR, ROOT, "d"), ==, 0);
    g_assert_false(fs_client_host_has(&fixture, "d"));
    /* Known, but gone. */
    g_assert_cmpint(make_node(0, 0, directory.nodeid, "f", S_IFREG | 0644, 0, NULL), ==, -ENOENT);
    g_assert_cmpint(take_away(FUSE_UNLINK, 99999, "f"), ==, -ESTALE);
    fs_client_tear_down(&fixture);
}

static void test_rename(void)
{
    ino_t a, b;

    fs_client_set_up(&fixture, FS_CACHE_AUTO, 2);
    g_assert_cmpint(make_file("a"), ==, 0);
    g_assert_cmpint(make_file("b"), ==, 0);
    a = fs_client_host_stat(&fixture, "a").st_ino;
    b = fs_client_host_stat(&fixture, "b").st_ino;
    g_assert_cmpint(fs_client_rename(&fixture, "a", "b", RENAME_NOREPLACE), ==, -EEXIST);
    g_assert_cmpint(fs_client_rename(&fixture, "a", "b", RENAME_EXCHANGE), ==, 0);
    g_assert_cmpuint(fs_client_host_stat(&fixture, "a").st_ino, ==, b);
    g_assert_cmpuint(fs_client_host_stat(&fixture, "b").st_ino, ==, a);
    g_assert_cmpint(fs_client_rename(&fixture, "a", "b", 8), ==, -EINVAL);
    g_assert_cmpint(fs_client_rename(&fixture, "a", "b", 1u << 31), ==, -EINVAL);
    g_assert_cmpint(fs_client_rename(&fixture, "a", "c", RENAME_NOREPLACE), ==, 0);
    g_assert_cmpint(fs_client_rename(&fixture, "a", "b", RENAME_EXCHANGE), ==, -ENOENT);
    g_assert_cmpint(fs_client_rename(&fixture, "c", "b", 0), ==, 0);
    g_assert_cmpuint(fs_client_host_stat(&fixture, "b").st_ino, ==, b);
    g_assert_false(fs_client_host_has(&fixture, "c"));
    if (geteuid() == 0) {
        struct stat st;

        g_assert_cmpint(fs_client_rename(&fixture, "b", "d", RENAME_WHITEOUT), ==, 0);
        st = fs_client_host_stat(&fixture, "b");
        g_assert_true(S_ISCHR(st.st_mode) && st.st_rdev == 0);
    }
    fs_client_tear_down(&fixture);
}

static void test_rename_directories(void)
{
    struct fuse_rename_in in;
    struct fs_call call = {.opcode = FUSE_RENAME,
                           .nodeid = ROOT,
                           .args = &in,
                           .args_len = sizeof(in),
                           .name = "f",
                           .name2 = "g"};
    uint64_t directory;

    fs_client_set_up(&fixture, FS_CACHE_AUTO, 2);
    g_assert_cmpint(make_file("f"), ==, 0);
    g_assert_cmpint(fs_client_mkdir(&fixture, ROOT, "d", &directory), ==, 0);
    in.newdir = 4711;
    g_assert_cmpint(fs_client_call(&fixture, &call), ==, -ESTALE);
    in.newdir = directory;
    g_assert_cmpint(fs_client_call(&fixture, &call), ==, 0);
    g_assert_true(fs_client_host_has(&fixture, "d/g"));
    /* Into itself. */
    call.name = "d";
    g_assert_cmpint(fs_client_call(&fixture, &call), ==, -EINVAL);
    fs_client_tear_down(&fixture);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/fs-namespace/make", test_make);
    g_test_add_func("/fs-namespace/device", test_device);
    g_test_add_func("/fs-namespace/ownership", test_ownership);
    g_test_add_func("/fs-namespace/ownership-threads", test_ownership_threads);
    g_test_add_func("/fs-namespace/remove", test_remove);
    g_test_add_func("/fs-namespace/rename", test_rename);
    g_test_add_func("/fs-namespace/rename-directories", test_rename_directories);
    return g_test_run();
}
