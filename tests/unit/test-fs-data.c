/* SPDX-License-Identifier: Apache-2.0 */
/* data.c: READ and WRITE move exactly what was asked, however the chain is cut, and whoever does
 * the work. */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/fs-client.h"

#define ROOT FUSE_ROOT_ID
#define BIG  (1u << 20)

static struct fs_fixture fixture;

static uint64_t create_file(const char *name, int flags)
{
    uint64_t nodeid, fh;

    g_assert_cmpint(fs_client_create(&fixture, ROOT, name, flags, &nodeid, &fh), ==, 0);
    return fh;
}

static void release(uint64_t fh)
{
    g_assert_cmpint(fs_client_release(&fixture, ROOT, fh), ==, 0);
}

static off_t host_size(const char *name)
{
    g_autofree char *path = fs_client_path(&fixture, name);
    struct stat st;

    g_assert_cmpint(stat(path, &st), ==, 0);
    return st.st_size;
}

static void test_end_of_file(void)
{
    static const uint32_t sizes[] = {0, 1, 511, 512, 4095, 4096, 4097, 8192, 20000};
    g_autofree char *data = g_malloc0(32768), *back = g_malloc(32768);

    fs_client_set_up(&fixture, FS_CACHE_AUTO, 2);
    for (size_t i = 0; i < G_N_ELEMENTS(sizes); i++) {
        uint32_t size = sizes[i];
        uint64_t fh = create_file("f", O_RDWR | O_TRUNC);

        memset(data, 'a' + (int)i, size);
        g_assert_cmpint(fs_client_write(&fixture, fh, 0, data, size, 0), ==, size);
        g_assert_cmpint(fs_client_read(&fixture, fh, 0, back, 32768), ==, size);
        g_assert_cmpint(memcmp(data, back, size), ==, 0);
        g_assert_cmpint(fs_client_read(&fixture, fh, size, back, 4096), ==, 0);
        g_assert_cmpint(fs_client_read(&fixture, fh, (uint64_t)size + 9999, back, 4096), ==, 0);
        if (size > 0) {
            g_assert_cmpint(fs_client_read(&fixture, fh, size - 1, back, 4096), ==, 1);
            g_assert_cmpint(fs_client_read(&fixture, fh, 0, back, size - 1), ==, size - 1);
        }
        g_assert_cmpint(fs_client_read(&fixture, fh, 1ull << 63, back, 1), ==, -EINVAL);
        g_assert_cmpint(fs_client_write(&fixture, fh, UINT64_MAX, back, 1, 0), ==, -EINVAL);
        release(fh);
    }
    g_assert_cmpint(fs_client_read(&fixture, 4711, 0, back, 1), ==, -EBADF);
    g_assert_cmpint(fs_client_write(&fixture, 4711, 0, back, 1, 0), ==, -EBADF);
    fs_client_tear_down(&fixture);
}

/* A chain of more ranges than one system call takes. */
static void test_many_ranges(void)
{
    g_autofree char *data = g_malloc(BIG), *back = g_malloc0(BIG);
    struct fuse_write_in write_in = {.size = BIG};
    struct fuse_read_in read_in = {.size = BIG};
    struct fuse_write_out out;
    struct fs_call write_call = {.opcode = FUSE_WRITE,
                                 .args = &write_in,
                                 .args_len = sizeof(write_in),
                                 .data = data,
                                 .data_len = BIG,
                                 .reply = &out,
                                 .room = sizeof(out),
                                 .piece = 700};
    struct fs_call read_call = {.opcode = FUSE_READ,
                                .args = &read_in,
                                .args_len = sizeof(read_in),
                                .reply = back,
                                .room = BIG,
                                .piece = 700};

    for (uint32_t i = 0; i < BIG; i++)
        data[i] = (char)g_test_rand_int();
    fs_client_set_up(&fixture, FS_CACHE_AUTO, 2);
    write_in.fh = read_in.fh = create_file("f", O_RDWR);
    g_assert_cmpint(fs_client_call(&fixture, &write_call), ==, sizeof(out));
    g_assert_cmpuint(out.size, ==, BIG);
    g_assert_cmpint(fs_client_call(&fixture, &read_call), ==, BIG);
    g_assert_cmpint(memcmp(data, back, BIG), ==, 0);
    /* More room than was asked for, and less. */
    read_in.size = 1000;
    memset(back, 0, BIG);
    g_assert_cmpint(fs_client_call(&fixture, &read_call), ==, 1000);
    g_assert_cmpint(back[1000], ==, 0);
    read_in.size = BIG;
    read_call.room = 5000;
    g_assert_cmpint(fs_client_call(&fixture, &read_call), ==, 5000);
    /* Less data than the request speaks of, and more. */
    write_call.data_len = BIG - 1;
    g_assert_cmpint(fs_client_call(&fixture, &write_call), ==, -EINVAL);
    write_in.offset = BIG;
    write_in.size = 4096;
    g_assert_cmpint(fs_client_call(&fixture, &write_call), ==, sizeof(out));
    g_assert_cmpint(host_size("f"), ==, BIG + 4096);
    release(write_in.fh);
    fs_client_tear_down(&fixture);
}

/* Ranges that all lie in the same place make room for more than the length of a reply can say. */
static void test_endless_room(void)
{
    enum { N_RANGES = 1024, RANGE_LEN = 4 << 20, ASKED = 0x80000010u };
    g_autofree struct iovec *iov = g_new(struct iovec, 2 + N_RANGES);
    g_autofree char *range = g_malloc(RANGE_LEN), *path = NULL;
    struct {
        struct fuse_in_header header;
        struct fuse_read_in read;
    } out = {.header = {.len = sizeof(out), .opcode = FUSE_READ, .nodeid = ROOT},
             .read = {.size = ASKED}};
    struct fuse_out_header in;
    struct vu_elem elem = {.vring = &fixture.vring,
                           .iov = iov,
                           .n_out = 1,
                           .out_len = sizeof(out),
                           .n_in = 1 + N_RANGES,
                           .in_len = sizeof(in) + N_RANGES * (uint64_t)RANGE_LEN};

    fs_client_set_up(&fixture, FS_CACHE_AUTO, 2);
    out.read.fh = create_file("f", O_RDWR);
    path = fs_client_path(&fixture, "f");
    g_assert_cmpint(truncate(path, 2 * (off_t)ASKED), ==, 0);
    iov[0] = (struct iovec){&out, sizeof(out)};
    iov[1] = (struct iovec){&in, sizeof(in)};
    for (unsigned i = 0; i < N_RANGES; i++)
        iov[2 + i] = (struct iovec){range, RANGE_LEN};
    fs_fixture_run(&fixture, &elem);
    g_assert_cmpint(in.error, ==, 0);
    g_assert_cmpuint(in.len, >, sizeof(in) + BIG);
    g_assert_cmpuint(in.len, ==, elem.written);
    release(out.read.fh);
    fs_client_tear_down(&fixture);
}

static void test_append(void)
{
    struct fuse_write_in in = {.size = 2, .write_flags = FUSE_WRITE_CACHE, .flags = O_APPEND};
    struct fuse_write_out out;
    struct fs_call call = {.opcode = FUSE_WRITE,
                           .args = &in,
                           .args_len = sizeof(in),
                           .data = "XY",
                           .data_len = 2,
                           .reply = &out,
                           .room = sizeof(out)};
    char back[16] = {0};
    uint64_t fh;

    fs_client_set_up(&fixture, FS_CACHE_AUTO, 2);
    fh = create_file("f", O_RDWR | O_APPEND);
    g_assert_cmpint(fs_client_write(&fixture, fh, 0, "abc", 3, O_APPEND), ==, 3);
    /* Another guest, or the host, may have written: the offset is the guest's guess. */
    g_assert_cmpint(fs_client_write(&fixture, fh, 0, "def", 3, O_APPEND), ==, 3);
    /* Write-back of a mapped page goes where it belongs. */
    in.fh = fh;
    in.offset = 1;
    g_assert_cmpint(fs_client_call(&fixture, &call), ==, sizeof(out));
    g_assert_cmpint(fs_client_read(&fixture, fh, 0, back, sizeof(back)), ==, 6);
    g_assert_cmpstr(back, ==, "aXYdef");
    /* fcntl(F_SETFL) in the guest. */
    g_assert_cmpint(fs_client_write(&fixture, fh, 0, "00", 2, 0), ==, 2);
    g_assert_cmpint(fs_client_read(&fixture, fh, 0, back, sizeof(back)), ==, 6);
    g_assert_cmpstr(back, ==, "00Ydef");
    release(fh);
    fs_client_tear_down(&fixture);
}

/* Set-user and set-group bits go where the guest's kernel says so, before the data changes. */
static void test_privileges(void)
{
    static const struct {
        uint32_t write_flags;
        mode_t before, after;
    } rows[] = {
        {0, 06777, 06777},
        {FUSE_WRITE_KILL_SUIDGID, 06777, 0777},
        {FUSE_WRITE_KILL_SUIDGID, 06666, 02666}, /* the mark of mandatory locking */
        {FUSE_WRITE_KILL_SUIDGID, 0644, 0644},
    };
    struct fuse_write_in in = {.size = 1};
    struct fuse_write_out out;
    struct fs_call call = {.opcode = FUSE_WRITE,
                           .args = &in,
                           .args_len = sizeof(in),
                           .data = "x",
                           .data_len = 1,
                           .reply = &out,
                           .room = sizeof(out)};
    struct stat st;

    if (geteuid() != 0) {
        g_test_skip("not root: the kernel clears them on any write of ours");
        return;
    }
    fs_client_set_up(&fixture, FS_CACHE_NEVER, 2);
    in.fh = create_file("f", O_RDWR);
    g_autofree char *path = fs_client_path(&fixture, "f");
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_assert_cmpint(chmod(path, rows[i].before), ==, 0);
        in.write_flags = rows[i].write_flags;
        g_assert_cmpint(fs_client_call(&fixture, &call), ==, sizeof(out));
        g_assert_cmpint(stat(path, &st), ==, 0);
        g_assert_cmphex(st.st_mode & 07777, ==, rows[i].after);
    }
    release(in.fh);
    fs_client_tear_down(&fixture);
}

/* What must wait for the disk is not done on the queue's thread. */
static void test_waiting(void)
{
    g_autofree char *data = g_malloc0(BIG), *back = g_malloc(BIG), *path = NULL;
    unsigned before = fs_fixture_n_handed_on();
    uint64_t fh;
    int fd;

    memset(data, 'd', BIG);
    fs_client_set_up(&fixture, FS_CACHE_AUTO, 2);
    fh = create_file("f", O_RDWR | O_DSYNC);
    g_assert_cmpint(fs_client_write(&fixture, fh, 0, data, 4096, 0), ==, 4096);
    g_assert_cmpuint(fs_fixture_n_handed_on() - before, ==, 1);
    g_assert_cmpint(fs_client_write(&fixture, fh, 4096, data, BIG, 0), ==, BIG);
    g_assert_cmpuint(fs_fixture_n_handed_on() - before, ==, 2);

    /* Out of the page cache, as far as the file system goes along: half of it. */
    path = fs_client_path(&fixture, "f");
    fd = open(path, O_RDONLY);
    g_assert_cmpint(fd, >=, 0);
    for (int round = 0; round < 8; round++) {
        posix_fadvise(fd, (off_t)(round % 4) * (BIG / 4), BIG / 3, POSIX_FADV_DONTNEED);
        memset(back, 0, BIG);
        g_assert_cmpint(fs_client_read(&fixture, fh, 0, back, BIG), ==, BIG);
        g_assert_cmpint(memcmp(data, back, BIG), ==, 0);
    }
    g_test_message("%u of 8 cold reads on a helper", fs_fixture_n_handed_on() - before - 2);
    close(fd);
    release(fh);
    fs_client_tear_down(&fixture);
}

struct data_thread {
    unsigned index;
    uint64_t fh; /* of a file that all share */
};

static void *data_thread_run(void *opaque)
{
    const struct data_thread *self = opaque;
    char shadow[40000] = {0}, back[sizeof(shadow)], name[32];
    uint64_t fh;

    snprintf(name, sizeof(name), "own-%u", self->index);
    fh = create_file(name, O_RDWR);
    for (unsigned i = 0; i < 300; i++) {
        uint32_t at = (i * 7919) % 30000, len = (i * 613) % 9000 + 1;
        uint64_t mine = (uint64_t)self->index * sizeof(shadow);

        memset(shadow + at, (int)i, len);
        g_assert_cmpint(fs_client_write(&fixture, fh, at, shadow + at, len, i % 16 ? 0 : O_DSYNC),
                        ==, len);
        g_assert_cmpint(fs_client_write(&fixture, self->fh, mine + at, shadow + at, len, 0), ==,
                        len);
        g_assert_cmpint(fs_client_read(&fixture, fh, at, back, len), ==, len);
        g_assert_cmpint(memcmp(back, shadow + at, len), ==, 0);
        g_assert_cmpint(fs_client_read(&fixture, self->fh, mine + at, back, len), ==, len);
        g_assert_cmpint(memcmp(back, shadow + at, len), ==, 0);
    }
    release(fh);
    return NULL;
}

static void test_threads(void)
{
    struct data_thread data[6];
    pthread_t threads[G_N_ELEMENTS(data)];
    uint64_t fh;

    fs_client_set_up(&fixture, FS_CACHE_AUTO, 3);
    fh = create_file("shared", O_RDWR);
    for (unsigned i = 0; i < G_N_ELEMENTS(data); i++) {
        data[i] = (struct data_thread){.index = i, .fh = fh};
        g_assert_cmpint(pthread_create(&threads[i], NULL, data_thread_run, &data[i]), ==, 0);
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(data); i++)
        pthread_join(threads[i], NULL);
    release(fh);
    fs_client_tear_down(&fixture);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/fs-data/end-of-file", test_end_of_file);
    g_test_add_func("/fs-data/many-ranges", test_many_ranges);
    g_test_add_func("/fs-data/endless-room", test_endless_room);
    g_test_add_func("/fs-data/append", test_append);
    g_test_add_func("/fs-data/privileges", test_privileges);
    g_test_add_func("/fs-data/waiting", test_waiting);
    g_test_add_func("/fs-data/threads", test_threads);
    return g_test_run();
}
