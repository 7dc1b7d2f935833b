/* SPDX-License-Identifier: Apache-2.0 */
/* space.c: holes, preallocation and copies inside the share. */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <linux/falloc.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/fs-client.h"

#define ROOT FUSE_ROOT_ID
#define MIB  (1u << 20)

static struct fs_fixture fixture;

static uint64_t create_file(const char *name)
{
    uint64_t nodeid, fh;

    g_assert_cmpint(fs_client_create(&fixture, ROOT, name, O_RDWR, &nodeid, &fh), ==, 0);
    return fh;
}

static void release(uint64_t fh)
{
    g_assert_cmpint(fs_client_release(&fixture, ROOT, fh), ==, 0);
}

/* The offset found, or -errno. */
static int64_t seek(uint64_t fh, uint64_t offset, uint32_t whence)
{
    struct fuse_lseek_in in = {.fh = fh, .offset = offset, .whence = whence};
    struct fuse_lseek_out out;
    struct fs_call call = {.opcode = FUSE_LSEEK,
                           .args = &in,
                           .args_len = sizeof(in),
                           .reply = &out,
                           .room = sizeof(out)};
    int ret = fs_client_call(&fixture, &call);

    return ret < 0 ? ret : (int64_t)out.offset;
}

static int allocate(uint64_t fh, uint32_t mode, uint64_t offset, uint64_t len)
{
    struct fuse_fallocate_in in = {.fh = fh, .offset = offset, .length = len, .mode = mode};
    struct fs_call call = {.opcode = FUSE_FALLOCATE, .args = &in, .args_len = sizeof(in)};

    return fs_client_call(&fixture, &call);
}

static void test_seek(void)
{
    uint64_t fh;

    fs_client_set_up(&fixture, FS_CACHE_AUTO, 2);
    fh = create_file("f");
    g_assert_cmpint(seek(fh, 0, SEEK_DATA), ==, -ENXIO);
    g_assert_cmpint(fs_client_write(&fixture, fh, 4 * MIB, "x", 1, 0), ==, 1);
    g_assert_cmpint(seek(fh, 0, SEEK_HOLE), ==, 0);
    /* A file system without holes says that all is data. */
    if (seek(fh, 0, SEEK_DATA) > 0)
        g_assert_cmpint(seek(fh, 0, SEEK_DATA), ==, 4 * MIB);
    g_assert_cmpint(seek(fh, 4 * MIB, SEEK_HOLE), ==, 4 * MIB + 1);
    g_assert_cmpint(seek(fh, 4 * MIB + 1, SEEK_DATA), ==, -ENXIO);
    g_assert_cmpint(seek(fh, 0, SEEK_END), ==, 4 * MIB + 1);
    g_assert_cmpint(seek(fh, 0, SEEK_CUR), ==, -EINVAL);
    g_assert_cmpint(seek(fh, 0, 99), ==, -EINVAL);
    g_assert_cmpint(seek(fh, 1ull << 63, SEEK_SET), ==, -EINVAL);
    g_assert_cmpint(seek(4711, 0, SEEK_DATA), ==, -EBADF);
    /* Positions are nobody's: reads and writes are where they say. */
    g_assert_cmpint(fs_client_write(&fixture, fh, 0, "y", 1, 0), ==, 1);
    g_assert_cmpint(fs_client_host_stat(&fixture, "f").st_size, ==, 4 * MIB + 1);
    release(fh);
    fs_client_tear_down(&fixture);
}

static void test_allocate(void)
{
    g_autofree char *data = g_malloc(2 * MIB), *zeros = g_malloc0(2 * MIB);
    uint64_t fh;
    int ret;

    memset(data, 'z', 2 * MIB);
    fs_client_set_up(&fixture, FS_CACHE_AUTO, 2);
    fh = create_file("f");
    ret = allocate(fh, 0, 0, MIB);
    if (ret == -EOPNOTSUPP) {
        g_test_skip("the file system cannot preallocate");
        release(fh);
        fs_client_tear_down(&fixture);
        return;
    }
    g_assert_cmpint(ret, ==, 0);
    g_assert_cmpint(fs_client_host_stat(&fixture, "f").st_size, ==, MIB);
    g_assert_cmpint(allocate(fh, FALLOC_FL_KEEP_SIZE, MIB, MIB), ==, 0);
    g_assert_cmpint(fs_client_host_stat(&fixture, "f").st_size, ==, MIB);
    g_assert_cmpint(fs_client_host_stat(&fixture, "f").st_blocks, >=, 4096);
    g_assert_cmpint(fs_client_write(&fixture, fh, 0, data, 2 * MIB, 0), ==, 2 * MIB);
    g_assert_cmpint(allocate(fh, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, MIB / 2, MIB), ==, 0);
    g_assert_cmpint(fs_client_read(&fixture, fh, 0, data, 2 * MIB), ==, 2 * MIB);
    g_assert_cmpint(memcmp(data + MIB / 2, zeros, MIB), ==, 0);
    g_assert_cmpint(data[MIB / 2 - 1], ==, 'z');
    g_assert_cmpint(data[MIB / 2 + MIB], ==, 'z');
    /* Modes that contradict each other are the host's to refuse, like unknown ones. */
    g_assert_cmpint(allocate(fh, FALLOC_FL_PUNCH_HOLE, 0, MIB), ==, -EOPNOTSUPP);
    g_assert_cmpint(allocate(fh, 1u << 30, 0, MIB), ==, -EOPNOTSUPP);
    g_assert_cmpint(allocate(fh, 0, 0, 0), ==, -EINVAL);
    g_assert_cmpint(allocate(fh, 0, UINT64_MAX, 1), ==, -EINVAL);
    g_assert_cmpint(allocate(4711, 0, 0, 1), ==, -EBADF);
    release(fh);
    fs_client_tear_down(&fixture);
}

/* A user that changes a setuid file, by another way than WRITE. */
static void test_privileges(void)
{
    g_autofree char *path = NULL;
    struct fuse_fallocate_in in = {.length = 4096};
    struct fs_call call = {
        .opcode = FUSE_FALLOCATE, .args = &in, .args_len = sizeof(in), .uid = 1000, .gid = 1000};
    int ret;

    fs_client_set_up(&fixture, FS_CACHE_NEVER, 2);
    in.fh = create_file("f");
    path = fs_client_path(&fixture, "f");
    g_assert_cmpint(chmod(path, 06755), ==, 0);
    ret = fs_client_call(&fixture, &call);
    if (ret == 0)
        g_assert_cmphex(fs_client_host_stat(&fixture, "f").st_mode & 07777, ==, 0755);
    else
        g_test_skip("the file system cannot preallocate");
    release(in.fh);
    fs_client_tear_down(&fixture);
}

static int copy(uint64_t from, uint64_t at, uint64_t to, uint64_t to_at, uint64_t len,
                uint64_t flags)
{
    struct fuse_copy_file_range_in in = {
        .fh_in = from, .off_in = at, .fh_out = to, .off_out = to_at, .len = len, .flags = flags};
    struct fuse_write_out out;
    struct fs_call call = {.opcode = FUSE_COPY_FILE_RANGE,
                           .args = &in,
                           .args_len = sizeof(in),
                           .reply = &out,
                           .room = sizeof(out)};
    int ret = fs_client_call(&fixture, &call);

    return ret < 0 ? ret : (int)out.size;
}

static void test_copy(void)
{
    g_autofree char *data = g_malloc(MIB), *back = g_malloc(MIB);
    uint64_t from, to;

    for (unsigned i = 0; i < MIB; i++)
        data[i] = (char)g_test_rand_int();
    fs_client_set_up(&fixture, FS_CACHE_AUTO, 2);
    from = create_file("from");
    to = create_file("to");
    g_assert_cmpint(fs_client_write(&fixture, from, 0, data, MIB, 0), ==, MIB);
    g_assert_cmpint(copy(from, 0, to, 100, MIB, 0), ==, MIB);
    g_assert_cmpint(fs_client_read(&fixture, to, 100, back, MIB), ==, MIB);
    g_assert_cmpint(memcmp(data, back, MIB), ==, 0);
    /* To the end of the source, however much was asked. */
    g_assert_cmpint(copy(from, MIB - 10, to, 0, UINT64_MAX >> 1, 0), ==, 10);
    g_assert_cmpint(copy(from, MIB, to, 0, 10, 0), ==, 0);
    g_assert_cmpint(copy(from, 0, from, 10, 1000, 0), ==, -EINVAL);
    g_assert_cmpint(copy(from, 0, to, 0, 1, 1), ==, -EINVAL);
    g_assert_cmpint(copy(from, 1ull << 63, to, 0, 1, 0), <, 0);
    g_assert_cmpint(copy(4711, 0, to, 0, 1, 0), ==, -EBADF);
    g_assert_cmpint(copy(from, 0, 4711, 0, 1, 0), ==, -EBADF);
    release(to);
    release(from);
    fs_client_tear_down(&fixture);
}

/* More than one chunk, of a hole: what comes back short is asked for again. */
static void test_copy_large(void)
{
    g_autofree char *path = NULL;
    const uint64_t size = 200ull * MIB;
    uint64_t from, to, done = 0;

    fs_client_set_up(&fixture, FS_CACHE_AUTO, 2);
    from = create_file("from");
    to = create_file("to");
    path = fs_client_path(&fixture, "from");
    g_assert_cmpint(truncate(path, (off_t)size), ==, 0);
    while (done < size) {
        int ret = copy(from, done, to, done, size - done, 0);

        g_assert_cmpint(ret, >, 0);
        done += (uint64_t)ret;
    }
    g_assert_cmpint(fs_client_host_stat(&fixture, "to").st_size, ==, (off_t)size);
    release(to);
    release(from);
    fs_client_tear_down(&fixture);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/fs-space/seek", test_seek);
    g_test_add_func("/fs-space/allocate", test_allocate);
    g_test_add_func("/fs-space/privileges", test_privileges);
    g_test_add_func("/fs-space/copy", test_copy);
    g_test_add_func("/fs-space/copy-large", test_copy_large);
    return g_test_run();
}
