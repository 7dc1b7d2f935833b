/* SPDX-License-Identifier: Apache-2.0 */
/* open.c: only regular files are ever opened, with the flags that mean something to the host. */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "tests/unit/fs-client.h"

#define ROOT FUSE_ROOT_ID

static struct fs_fixture fixture;

static int host_flags(uint64_t fh)
{
    struct fs_handle *handle = fs_handle_get(fixture.share.handles, fh, FS_HANDLE_FILE);
    int flags;

    g_assert_nonnull(handle);
    flags = fcntl(handle->fd, F_GETFL);
    g_assert_cmpint(fcntl(handle->fd, F_GETFD), ==, FD_CLOEXEC);
    fs_handle_put(fixture.share.handles, handle);
    return flags;
}

static int open_name(const char *name, int flags, struct fuse_open_out *ret_open)
{
    struct fuse_entry_out entry;

    g_assert_cmpint(fs_client_lookup(&fixture, ROOT, name, &entry), ==, 0);
    return fs_client_open(&fixture, entry.nodeid, flags, ret_open);
}

static void release(uint64_t fh)
{
    g_assert_cmpint(fs_client_release(&fixture, ROOT, fh), ==, 0);
}

static void test_flags(void)
{
    static const int stripped = O_APPEND | O_DIRECT | O_SYNC | O_EXCL | O_NOFOLLOW | O_NONBLOCK |
                                O_NOCTTY | O_ASYNC | O_CREAT | O_PATH;
    struct fuse_open_out open;
    uint64_t nodeid, fh;

    fs_client_set_up(&fixture, FS_CACHE_AUTO, 2);
    g_assert_cmpint(fs_client_create(&fixture, ROOT, "f", O_RDWR | O_APPEND, &nodeid, &fh), ==, 0);
    g_assert_cmpint(host_flags(fh) & (O_ACCMODE | O_APPEND), ==, O_RDWR);
    g_assert_cmpint(fs_client_write(&fixture, fh, 0, "hello", 5, 0), ==, 5);
    release(fh);
    g_assert_cmpint(open_name("f", O_WRONLY | stripped, &open), ==, 0);
    g_assert_cmpint(host_flags(open.fh) & ~O_LARGEFILE & ~0100000, ==, O_WRONLY);
    g_assert_cmpuint(open.open_flags, ==, 0);
    release(open.fh);
    g_assert_cmpint(open_name("f", O_RDWR | O_TRUNC, &open), ==, 0);
    g_assert_cmpint(fs_client_read(&fixture, open.fh, 0, &nodeid, 1), ==, 0);
    release(open.fh);
    g_assert_cmpint(fs_client_release(&fixture, ROOT, open.fh), ==, -EBADF);
    g_assert_cmpint(fs_client_open(&fixture, ROOT, O_RDONLY, &open), ==, -EISDIR);
    g_assert_cmpint(fs_client_open(&fixture, 777, O_RDONLY, &open), ==, -ESTALE);
    fs_client_tear_down(&fixture);
}

static void test_cache_modes(void)
{
    static const struct {
        enum fs_cache cache;
        uint32_t file_flags, directory_flags;
    } rows[] = {
        {FS_CACHE_NEVER, FOPEN_DIRECT_IO | FOPEN_PARALLEL_DIRECT_WRITES, 0},
        {FS_CACHE_METADATA, FOPEN_DIRECT_IO | FOPEN_PARALLEL_DIRECT_WRITES, 0},
        {FS_CACHE_AUTO, 0, 0},
        {FS_CACHE_ALWAYS, FOPEN_KEEP_CACHE, FOPEN_KEEP_CACHE | FOPEN_CACHE_DIR},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        struct fuse_release_in in;
        struct fs_call releasedir = {
            .opcode = FUSE_RELEASEDIR, .nodeid = ROOT, .args = &in, .args_len = sizeof(in)};
        struct fuse_open_out open;
        uint64_t nodeid, fh;

        fs_client_set_up(&fixture, rows[i].cache, 2);
        g_assert_cmpint(fs_client_create(&fixture, ROOT, "f", O_RDWR, &nodeid, &fh), ==, 0);
        release(fh);
        g_assert_cmpint(fs_client_open(&fixture, nodeid, O_RDONLY, &open), ==, 0);
        g_assert_cmphex(open.open_flags, ==, rows[i].file_flags);
        release(open.fh);
        /* As for a guest that opens directories in any mode. */
        __atomic_fetch_and(&fixture.share.negotiated.flags, ~(uint64_t)FUSE_NO_OPENDIR_SUPPORT,
                           __ATOMIC_RELAXED);
        g_assert_cmpint(fs_client_open(&fixture, ROOT, O_DIRECTORY, &open), ==, 0);
        g_assert_cmphex(open.open_flags, ==, rows[i].directory_flags);
        /* A directory is no file. */
        g_assert_cmpint(fs_client_release(&fixture, ROOT, open.fh), ==, -EBADF);
        in = (struct fuse_release_in){.fh = open.fh};
        g_assert_cmpint(fs_client_call(&fixture, &releasedir), ==, 0);
        fs_client_tear_down(&fixture);
    }
}

/* A guest that keeps what it writes reads by what it opened for writing, and appends by itself. */
static void test_writeback(void)
{
    static const int writes = O_WRONLY | O_APPEND;
    struct fuse_init_out init;
    struct fuse_open_out open;
    uint64_t nodeid, fh;
    char buf[8];

    fs_client_set_up(&fixture, FS_CACHE_AUTO, 2);
    fixture.options.writeback = true;
    fs_fixture_send_init(&fixture, &init);
    g_assert_cmphex(init.flags & FUSE_WRITEBACK_CACHE, !=, 0);
    g_assert_cmpint(fs_client_create(&fixture, ROOT, "f", writes, &nodeid, &fh), ==, 0);
    g_assert_cmpint(host_flags(fh) & (O_ACCMODE | O_APPEND), ==, O_RDWR);
    g_assert_cmpint(fs_client_write(&fixture, fh, 0, "hello", 5, 0), ==, 5);
    g_assert_cmpint(fs_client_read(&fixture, fh, 0, buf, sizeof(buf)), ==, 5);
    release(fh);
    g_assert_cmpint(open_name("f", writes, &open), ==, 0);
    g_assert_cmpint(host_flags(open.fh) & (O_ACCMODE | O_APPEND), ==, O_RDWR);
    g_assert_cmphex(open.open_flags, ==, 0);
    release(open.fh);
    g_assert_cmpint(open_name("f", O_RDONLY, &open), ==, 0);
    g_assert_cmpint(host_flags(open.fh) & O_ACCMODE, ==, O_RDONLY);
    release(open.fh);
    fs_client_tear_down(&fixture);
}

/* O_DIRECT gets to the host where that is allowed, and what it does not take is moved without. */
static void test_direct(void)
{
    static char block[8192] __attribute__((aligned(4096)));
    struct fuse_open_out open;
    uint64_t nodeid, fh;
    unsigned n;

    fs_client_set_up(&fixture, FS_CACHE_AUTO, 2);
    fixture.options.allow_direct_io = true;
    memset(block, 'x', sizeof(block));
    g_assert_cmpint(fs_client_create(&fixture, ROOT, "f", O_RDWR | O_DIRECT, &nodeid, &fh), ==, 0);
    if (!(host_flags(fh) & O_DIRECT))
        g_test_message("this file system knows no O_DIRECT");
    n = fs_fixture_n_handed_on();
    g_assert_cmpint(fs_client_write(&fixture, fh, 0, block, 8192, 0), ==, 8192);
    if (host_flags(fh) & O_DIRECT)
        g_assert_cmpuint(fs_fixture_n_handed_on(), ==, n + 1);
    g_assert_cmpint(fs_client_write(&fixture, fh, 8192, "tail", 4, 0), ==, 4);
    g_assert_cmpint(fs_client_write(&fixture, fh, 3, "odd", 3, 0), ==, 3);
    release(fh);
    g_assert_cmpint(open_name("f", O_RDONLY | O_DIRECT, &open), ==, 0);
    g_assert_cmpint(fs_client_read(&fixture, open.fh, 0, block, 8192), ==, 8192);
    g_assert_cmpint(memcmp(block, "xxxoddxx", 8), ==, 0);
    g_assert_cmpint(fs_client_read(&fixture, open.fh, 8190, block, 100), ==, 6);
    g_assert_cmpint(memcmp(block, "xxtail", 6), ==, 0);
    release(open.fh);
    fs_client_tear_down(&fixture);
}

/* Things that would do something when opened. */
static void test_special(void)
{
    g_autofree char *fifo = NULL, *node = NULL, *link = NULL;
    struct fuse_open_out open;
    uint64_t nodeid, fh;

    fs_client_set_up(&fixture, FS_CACHE_AUTO, 2);
    fifo = fs_client_path(&fixture, "fifo");
    node = fs_client_path(&fixture, "node");
    link = fs_client_path(&fixture, "link");
    g_assert_cmpint(mkfifo(fifo, 0666), ==, 0);
    g_assert_cmpint(symlink("/etc/passwd", link), ==, 0);
    g_assert_cmpint(open_name("fifo", O_RDONLY, &open), ==, -EOPNOTSUPP);
    g_assert_cmpint(open_name("fifo", O_WRONLY, &open), ==, -EOPNOTSUPP);
    g_assert_cmpint(open_name("link", O_RDONLY, &open), ==, -ELOOP);
    if (mknod(node, S_IFCHR | 0666, makedev(1, 5)) == 0)
        g_assert_cmpint(open_name("node", O_RDONLY, &open), ==, -EOPNOTSUPP);
    /* Neither by way of CREATE, where the guest does not know that they exist. */
    g_assert_cmpint(fs_client_create(&fixture, ROOT, "fifo", O_WRONLY, &nodeid, &fh), ==, -ESTALE);
    g_assert_cmpint(fs_client_create(&fixture, ROOT, "link", O_WRONLY, &nodeid, &fh), ==, -ESTALE);
    g_assert_cmpint(fs_client_create(&fixture, ROOT, "link", O_EXCL, &nodeid, &fh), ==, -EEXIST);
    fs_client_tear_down(&fixture);
}

static void test_create(void)
{
    uint64_t nodeid, again, fh, fh2;
    char byte;

    fs_client_set_up(&fixture, FS_CACHE_AUTO, 2);
    g_assert_cmpint(fs_client_create(&fixture, ROOT, "f", O_RDWR, &nodeid, &fh), ==, 0);
    g_assert_cmpint(fs_client_write(&fixture, fh, 0, "x", 1, 0), ==, 1);
    g_assert_cmpint(fs_client_create(&fixture, ROOT, "f", O_RDWR | O_EXCL, &again, &fh2), ==,
                    -EEXIST);
    g_assert_cmpint(fs_client_create(&fixture, ROOT, "f", O_RDWR, &again, &fh2), ==, 0);
    g_assert_cmpuint(again, ==, nodeid);
    g_assert_cmpint(fs_client_read(&fixture, fh2, 0, &byte, 1), ==, 1);
    release(fh2);
    g_assert_cmpint(fs_client_create(&fixture, ROOT, "f", O_RDWR | O_TRUNC, &again, &fh2), ==, 0);
    g_assert_cmpint(fs_client_read(&fixture, fh2, 0, &byte, 1), ==, 0);
    release(fh2);
    release(fh);
    /* A file opened for writing only cannot be read, as on the host. */
    g_assert_cmpint(fs_client_create(&fixture, ROOT, "w", O_WRONLY, &nodeid, &fh), ==, 0);
    g_assert_cmpint(fs_client_read(&fixture, fh, 0, &byte, 1), ==, -EBADF);
    release(fh);
    g_assert_cmpint(fs_client_create(&fixture, nodeid, "f", O_WRONLY, &nodeid, &fh), ==, -ENOTDIR);
    fs_client_tear_down(&fixture);
}

static void test_flush_fsync(void)
{
    struct fuse_flush_in flush = {.fh = 0};
    struct fuse_fsync_in fsync = {.fh = 0};
    struct fs_call flush_call = {.opcode = FUSE_FLUSH, .args = &flush, .args_len = sizeof(flush)};
    struct fs_call fsync_call = {.opcode = FUSE_FSYNC, .args = &fsync, .args_len = sizeof(fsync)};
    uint64_t nodeid, fh;

    fs_client_set_up(&fixture, FS_CACHE_AUTO, 2);
    g_assert_cmpint(fs_client_call(&fixture, &flush_call), ==, -EBADF);
    g_assert_cmpint(fs_client_call(&fixture, &fsync_call), ==, -EBADF);
    g_assert_cmpint(fs_client_create(&fixture, ROOT, "f", O_RDWR, &nodeid, &fh), ==, 0);
    flush.fh = fsync.fh = fh;
    g_assert_cmpint(fs_client_call(&fixture, &flush_call), ==, -ENOSYS);
    g_assert_cmpint(fs_client_call(&fixture, &fsync_call), ==, 0);
    fsync.fsync_flags = FUSE_FSYNC_FDATASYNC;
    g_assert_cmpint(fs_client_call(&fixture, &fsync_call), ==, 0);
    release(fh);
    fs_client_tear_down(&fixture);
}

/* Out of handles, then out of inodes: what cannot be opened or told of is not made either. */
static void test_limits(void)
{
    uint64_t nodeid, fh[64];
    g_autofree char *last = NULL;
    unsigned n = 0, n_nodes = 0;
    int ret;

    fs_fixture_init(&fixture);
    fixture.options.rlimit_nofile = 200;
    fixture.options.inode_handles = FS_INODE_HANDLES_NEVER;
    fs_fixture_open(&fixture);
    fs_fixture_send_init(&fixture, &(struct fuse_init_out){.minor = 0});
    do {
        g_autofree char *name = g_strdup_printf("f%u", n);

        ret = fs_client_create(&fixture, ROOT, name, O_RDWR, &nodeid, &fh[n]);
    } while (ret == 0 && ++n < G_N_ELEMENTS(fh));
    g_assert_cmpint(ret, ==, -EMFILE);
    last = g_strdup_printf("%s/f%u", fixture.dir, n);
    g_assert_cmpint(access(last, F_OK), ==, -1);
    while (n > 0)
        release(fh[--n]);

    do {
        g_autofree char *name = g_strdup_printf("d%u", n_nodes);

        g_free(last);
        last = fs_client_path(&fixture, name);
        ret = fs_client_mkdir(&fixture, ROOT, name, &nodeid);
    } while (ret == 0 && ++n_nodes < 200);
    g_assert_cmpint(ret, ==, -ENFILE);
    g_assert_cmpint(access(last, F_OK), ==, -1);
    g_assert_cmpint(fs_client_create(&fixture, ROOT, "g", O_RDWR, &nodeid, fh), ==, -ENFILE);
    fs_client_forget(&fixture, nodeid, 1);
    g_assert_cmpint(fs_client_mkdir(&fixture, ROOT, "again", &nodeid), ==, 0);
    fs_client_tear_down(&fixture);
}

static int set_append_only(const char *path, bool append_only)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC), flags, ret;

    g_assert_cmpint(fd, >=, 0);
    ret = ioctl(fd, FS_IOC_GETFLAGS, &flags);
    if (ret == 0) {
        flags = append_only ? flags | FS_APPEND_FL : flags & ~FS_APPEND_FL;
        ret = ioctl(fd, FS_IOC_SETFLAGS, &flags);
    }
    close(fd);
    return ret;
}

/* A log of the host's, say, that an administrator protects. */
static void test_append_only(void)
{
    struct fuse_open_out open = {0};
    g_autofree char *path = NULL, *contents = NULL;
    uint64_t nodeid, fh;
    int refused, opened;

    fs_client_set_up(&fixture, FS_CACHE_AUTO, 2);
    g_assert_cmpint(fs_client_create(&fixture, ROOT, "log", O_RDWR, &nodeid, &fh), ==, 0);
    g_assert_cmpint(fs_client_write(&fixture, fh, 0, "one", 3, 0), ==, 3);
    release(fh);
    path = fs_client_path(&fixture, "log");
    if (set_append_only(path, true) < 0) {
        fs_client_tear_down(&fixture);
        g_test_skip("chattr +a does not work here");
        return;
    }
    refused = open_name("log", O_RDWR, &open);
    opened = open_name("log", O_WRONLY | O_APPEND, &open);
    if (opened == 0) {
        fs_client_write(&fixture, open.fh, 3, "two", 3, O_APPEND);
        release(open.fh);
    }
    g_assert_cmpint(set_append_only(path, false), ==, 0);
    g_assert_cmpint(refused, ==, -EPERM);
    g_assert_cmpint(opened, ==, 0);
    g_assert_cmpuint(open.open_flags, ==, FOPEN_DIRECT_IO);
    g_assert_true(g_file_get_contents(path, &contents, NULL, NULL));
    g_assert_cmpstr(contents, ==, "onetwo");
    fs_client_tear_down(&fixture);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/fs-open/flags", test_flags);
    g_test_add_func("/fs-open/cache-modes", test_cache_modes);
    g_test_add_func("/fs-open/writeback", test_writeback);
    g_test_add_func("/fs-open/direct", test_direct);
    g_test_add_func("/fs-open/special", test_special);
    g_test_add_func("/fs-open/create", test_create);
    g_test_add_func("/fs-open/flush-fsync", test_flush_fsync);
    g_test_add_func("/fs-open/limits", test_limits);
    g_test_add_func("/fs-open/append-only", test_append_only);
    return g_test_run();
}
