/* SPDX-License-Identifier: Apache-2.0 */
/* attr.c, lookup.c: what the guest is told of a file, and every bit of SETATTR. */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "tests/unit/fs-fixture.h"

static struct fs_fixture fixture;

static char *test_path(const char *name)
{
    return g_build_filename(fixture.dir, name, NULL);
}

static uint64_t test_lookup(const char *name)
{
    struct fuse_entry_out entry;

    g_assert_cmpint(fs_fixture_lookup(&fixture, FUSE_ROOT_ID, name, &entry), ==, 0);
    g_assert_cmpuint(entry.nodeid, !=, 0);
    return entry.nodeid;
}

/* A fresh regular file of 1,000 bytes, mode 0644; its nodeid. */
static uint64_t test_make(const char *name)
{
    g_autofree char *path = test_path(name);
    g_autofree char *content = g_strnfill(1000, 'x');

    unlink(path);
    g_assert_true(g_file_set_contents(path, content, 1000, NULL));
    g_assert_cmpint(chmod(path, 0644), ==, 0);
    return test_lookup(name);
}

static int test_setattr(uint64_t nodeid, const struct fuse_setattr_in *in, struct fuse_attr *ret)
{
    struct fuse_attr_out out;
    int len = fs_fixture_call(&fixture, FUSE_SETATTR, nodeid, in, sizeof(*in), NULL, 0, &out,
                              sizeof(out));

    if (len < 0)
        return len;
    g_assert_cmpint(len, ==, sizeof(out));
    *ret = out.attr;
    return 0;
}

static int test_getattr(uint64_t nodeid, uint32_t flags, uint64_t fh, struct fuse_attr *ret)
{
    struct fuse_getattr_in in = {.getattr_flags = flags, .fh = fh};
    struct fuse_attr_out out;
    int len = fs_fixture_call(&fixture, FUSE_GETATTR, nodeid, &in, sizeof(in), NULL, 0, &out,
                              sizeof(out));

    if (len < 0)
        return len;
    /* The guest does not know when a write takes these bits away. */
    g_assert_cmpuint(out.attr_valid, ==, out.attr.mode & (S_ISUID | S_ISGID) ? 0 : 1);
    *ret = out.attr;
    return 0;
}

static uint64_t test_open(uint64_t nodeid, uint32_t flags)
{
    struct fuse_open_in in = {.flags = flags};
    struct fuse_open_out out;

    g_assert_cmpint(
        fs_fixture_call(&fixture, FUSE_OPEN, nodeid, &in, sizeof(in), NULL, 0, &out, sizeof(out)),
        ==, sizeof(out));
    return out.fh;
}

static void test_get(void)
{
    uint64_t nodeid = test_make("get"), fh = test_open(nodeid, O_RDONLY);
    g_autofree char *path = test_path("get");
    struct fuse_attr attr, by_fh;
    struct stat st;

    g_assert_cmpint(stat(path, &st), ==, 0);
    g_assert_cmpint(test_getattr(nodeid, 0, 0, &attr), ==, 0);
    g_assert_cmpuint(attr.ino, ==, st.st_ino);
    g_assert_cmpuint(attr.size, ==, 1000);
    g_assert_cmpuint(attr.mode, ==, S_IFREG | 0644);
    g_assert_cmpuint(attr.nlink, ==, 1);
    g_assert_cmpuint(attr.mtime, ==, (uint64_t)st.st_mtim.tv_sec);
    g_assert_cmpuint(attr.mtimensec, ==, (uint32_t)st.st_mtim.tv_nsec);
    g_assert_cmpuint(attr.blocks, ==, (uint64_t)st.st_blocks);

    /* An unlinked file still has attributes, by nodeid and by handle. */
    g_assert_cmpint(unlink(path), ==, 0);
    g_assert_cmpint(test_getattr(nodeid, 0, 0, &attr), ==, 0);
    g_assert_cmpuint(attr.nlink, ==, 0);
    g_assert_cmpint(test_getattr(nodeid, FUSE_GETATTR_FH, fh, &by_fh), ==, 0);
    g_assert_true(memcmp(&attr, &by_fh, sizeof(attr)) == 0);
    g_assert_cmpint(test_getattr(nodeid, FUSE_GETATTR_FH, fh + 1, &by_fh), ==, -EBADF);
}

static void test_mode(void)
{
    struct fuse_setattr_in in = {.valid = FATTR_MODE, .mode = S_IFREG | 0751};
    g_autofree char *link = test_path("mode-link");
    struct fuse_attr attr = {0};
    uint64_t nodeid = test_make("mode");

    g_assert_cmpint(test_setattr(nodeid, &in, &attr), ==, 0);
    g_assert_cmpuint(attr.mode, ==, S_IFREG | 0751);
    in.valid |= FATTR_FH;
    in.fh = test_open(nodeid, O_RDONLY);
    in.mode = 04600;
    g_assert_cmpint(test_setattr(nodeid, &in, &attr), ==, 0);
    g_assert_cmpuint(attr.mode, ==, S_IFREG | 04600);

    g_assert_cmpint(symlink("mode", link), ==, 0);
    in.valid = FATTR_MODE;
    in.mode = 0777;
    g_assert_cmpint(test_setattr(test_lookup("mode-link"), &in, &attr), ==, -EOPNOTSUPP);
    g_assert_cmpint(test_getattr(nodeid, 0, 0, &attr), ==, 0);
    g_assert_cmpuint(attr.mode, ==, S_IFREG | 04600);
}

static void test_owner(void)
{
    struct fuse_setattr_in in = {.valid = FATTR_UID | FATTR_MODE, .uid = 1234, .mode = 04755};
    g_autofree char *link = test_path("owner-link");
    struct fuse_attr attr = {0};
    uint64_t nodeid = test_make("owner");

    if (geteuid() != 0) {
        g_test_skip("needs root");
        return;
    }
    g_assert_cmpint(test_setattr(nodeid, &in, &attr), ==, 0);
    g_assert_cmpuint(attr.uid, ==, 1234);
    g_assert_cmpuint(attr.gid, ==, 0);
    g_assert_cmpuint(attr.mode, ==, S_IFREG | 04755); /* as asked, although chown clears it */
    in = (struct fuse_setattr_in){.valid = FATTR_GID, .uid = 1, .gid = 5678};
    g_assert_cmpint(test_setattr(nodeid, &in, &attr), ==, 0);
    g_assert_cmpuint(attr.uid, ==, 1234);
    g_assert_cmpuint(attr.gid, ==, 5678);
    /* Of a symbolic link it is the link's own. */
    g_assert_cmpint(symlink("owner", link), ==, 0);
    in.gid = 99;
    g_assert_cmpint(test_setattr(test_lookup("owner-link"), &in, &attr), ==, 0);
    g_assert_cmpuint(attr.gid, ==, 99);
    g_assert_cmpuint(attr.mode & S_IFMT, ==, S_IFLNK);
    g_assert_cmpint(test_getattr(nodeid, 0, 0, &attr), ==, 0);
    g_assert_cmpuint(attr.gid, ==, 5678);
}

static void test_size(void)
{
    struct fuse_setattr_in in = {.valid = FATTR_SIZE, .size = 123};
    g_autofree char *dir = test_path("size-dir"), *fifo = test_path("size-fifo");
    struct fuse_attr attr = {0};
    uint64_t nodeid = test_make("size");

    g_assert_cmpint(test_setattr(nodeid, &in, &attr), ==, 0);
    g_assert_cmpuint(attr.size, ==, 123);
    in.size = UINT64_MAX;
    g_assert_cmpint(test_setattr(nodeid, &in, &attr), ==, -EFBIG);
    in.valid |= FATTR_FH;
    in.size = 1 << 20;
    in.fh = test_open(nodeid, O_RDWR);
    g_assert_cmpint(test_setattr(nodeid, &in, &attr), ==, 0);
    g_assert_cmpuint(attr.size, ==, 1 << 20);
    in.fh = test_open(nodeid, O_RDONLY);
    g_assert_cmpint(test_setattr(nodeid, &in, &attr), ==, -EINVAL);

    in.valid = FATTR_SIZE;
    g_assert_cmpint(mkdir(dir, 0755), ==, 0);
    g_assert_cmpint(test_setattr(test_lookup("size-dir"), &in, &attr), ==, -EISDIR);
    /* Must not be opened: that would wait for a reader, or wake a device. */
    g_assert_cmpint(mkfifo(fifo, 0644), ==, 0);
    g_assert_cmpint(test_setattr(test_lookup("size-fifo"), &in, &attr), <, 0);
}

static void test_times(void)
{
    struct fuse_setattr_in in = {.valid = FATTR_ATIME | FATTR_MTIME,
                                 .atime = 1000000000,
                                 .atimensec = 999999999,
                                 .mtime = (uint64_t)-5};
    g_autofree char *link = test_path("times-link");
    struct fuse_attr attr = {0};
    uint64_t nodeid = test_make("times");

    g_assert_cmpint(test_setattr(nodeid, &in, &attr), ==, 0);
    g_assert_cmpuint(attr.atime, ==, 1000000000);
    g_assert_cmpuint(attr.atimensec, ==, 999999999);
    g_assert_cmpint((int64_t)attr.mtime, ==, -5);
    in = (struct fuse_setattr_in){.valid = FATTR_MTIME | FATTR_MTIME_NOW};
    g_assert_cmpint(test_setattr(nodeid, &in, &attr), ==, 0);
    g_assert_cmpuint(attr.atime, ==, 1000000000);
    g_assert_cmpuint(attr.mtime, >, 1000000000);
    in = (struct fuse_setattr_in){.valid = FATTR_ATIME, .atimensec = UTIME_NOW};
    g_assert_cmpint(test_setattr(nodeid, &in, &attr), ==, -EINVAL);
    in = (struct fuse_setattr_in){.valid = FATTR_MTIME, .mtimensec = 1000000000};
    g_assert_cmpint(test_setattr(nodeid, &in, &attr), ==, -EINVAL);

    g_assert_cmpint(symlink("nowhere", link), ==, 0);
    in = (struct fuse_setattr_in){.valid = FATTR_MTIME, .mtime = 7};
    g_assert_cmpint(test_setattr(test_lookup("times-link"), &in, &attr), ==, 0);
    g_assert_cmpuint(attr.mtime, ==, 7);
    in.valid = FATTR_MTIME | FATTR_FH;
    in.fh = test_open(nodeid, O_RDONLY);
    g_assert_cmpint(test_setattr(nodeid, &in, &attr), ==, 0);
    g_assert_cmpuint(attr.mtime, ==, 7);
}

static void test_lookups(void)
{
    g_autofree char *path = test_path("missing");
    struct fuse_entry_out entry, again;
    uint64_t nodeid = test_make("known");

    /* One inode, however it is found. */
    g_assert_cmpint(fs_fixture_lookup(&fixture, FUSE_ROOT_ID, "known", &entry), ==, 0);
    g_assert_cmpuint(entry.nodeid, ==, nodeid);
    g_assert_cmpuint(entry.entry_valid, ==, 1);
    g_assert_cmpuint(entry.attr.size, ==, 1000);
    /* A file has no names below it. */
    g_assert_cmpint(fs_fixture_lookup(&fixture, nodeid, "x", &again), ==, -ENOTDIR);
    /* A name that is missing is an answer; what appears is found. */
    g_assert_cmpint(fs_fixture_lookup(&fixture, FUSE_ROOT_ID, "missing", &entry), ==, 0);
    g_assert_cmpuint(entry.nodeid, ==, 0);
    g_assert_cmpuint(entry.entry_valid, ==, 1);
    g_assert_cmpint(mknod(path, S_IFIFO | 0600, 0), ==, 0);
    g_assert_cmpuint(test_lookup("missing"), !=, 0);
    g_assert_cmpint(unlink(path), ==, 0);
    /* The share's negative answers need a cache that keeps names. */
    fixture.share.negative_timeout = (struct timespec){0};
    g_assert_cmpint(fs_fixture_lookup(&fixture, FUSE_ROOT_ID, "missing", &entry), ==, -ENOENT);
    fixture.share.negative_timeout = (struct timespec){.tv_sec = 1};
}

static void test_rdev(void)
{
    g_autofree char *path = test_path("device");
    struct fuse_attr attr = {0};

    if (mknod(path, S_IFCHR | 0600, makedev(0x123, 0xabcde)) < 0) {
        g_test_skip("may not make device nodes");
        return;
    }
    g_assert_cmpint(test_getattr(test_lookup("device"), 0, 0, &attr), ==, 0);
    g_assert_cmphex(attr.rdev, ==, (0xabcde & 0xff) | 0x123 << 8 | (0xabcdeu & ~0xffu) << 12);
}

static int test_access(uint64_t nodeid, uint32_t mask)
{
    struct fuse_access_in in = {.mask = mask};

    return fs_fixture_call(&fixture, FUSE_ACCESS, nodeid, &in, sizeof(in), NULL, 0, NULL, 0);
}

static void test_of_file_system(void)
{
    struct fuse_syncfs_in syncfs_in = {0};
    struct fuse_statfs_out out;
    uint64_t nodeid = test_make("statfs");

    g_assert_cmpint(
        fs_fixture_call(&fixture, FUSE_STATFS, FUSE_ROOT_ID, NULL, 0, NULL, 0, &out, sizeof(out)),
        ==, sizeof(out));
    g_assert_cmpuint(out.st.bsize, >, 0);
    g_assert_cmpuint(out.st.namelen, ==, NAME_MAX);
    g_assert_cmpuint(out.st.bfree, <=, out.st.blocks);
    g_assert_cmpint(fs_fixture_call(&fixture, FUSE_SYNCFS, FUSE_ROOT_ID, &syncfs_in,
                                    sizeof(syncfs_in), NULL, 0, NULL, 0),
                    ==, 0);
    g_assert_cmpint(fs_fixture_call(&fixture, FUSE_SYNCFS, nodeid, &syncfs_in, sizeof(syncfs_in),
                                    NULL, 0, NULL, 0),
                    ==, -EINVAL);
    g_assert_cmpint(test_access(nodeid, R_OK | W_OK), ==, 0);
    g_assert_cmpint(test_access(nodeid, X_OK), ==, -EACCES);
    g_assert_cmpint(test_access(FUSE_ROOT_ID, X_OK), ==, 0);
    g_assert_cmpint(test_access(nodeid + 1, F_OK), ==, -ESTALE);
}

int main(int argc, char **argv)
{
    struct fuse_init_out out;
    int status;

    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/attr/get", test_get);
    g_test_add_func("/attr/mode", test_mode);
    g_test_add_func("/attr/owner", test_owner);
    g_test_add_func("/attr/size", test_size);
    g_test_add_func("/attr/times", test_times);
    g_test_add_func("/attr/lookups", test_lookups);
    g_test_add_func("/attr/rdev", test_rdev);
    g_test_add_func("/attr/file-system", test_of_file_system);
    fs_fixture_init(&fixture);
    fs_fixture_open(&fixture);
    fs_fixture_send_init(&fixture, &out);
    status = g_test_run();
    fs_fixture_finish(&fixture);
    return status;
}
