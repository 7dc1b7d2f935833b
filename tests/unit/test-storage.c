/* SPDX-License-Identifier: Apache-2.0 */
/* Storage with each caching mode: bytes at any alignment, holes, locks, what is refused. */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "vblkd/format/image.h"
#include "vblkd/storage/storage.h"
#include "vhost-user/cleanup.h"

#define SIZE   (1u << 20)
#define ROUNDS 400

/* Stands in for the library's: fails once, as the kernel does. */
static int fdatasync_errno;

int fdatasync(int fd)
{
    if (fdatasync_errno == 0)
        return (int)syscall(SYS_fdatasync, fd);
    errno = fdatasync_errno;
    fdatasync_errno = 0;
    return -1;
}

static int pwritev2_errno;

ssize_t pwritev2(int fd, const struct iovec *iov, int n, off_t offset, int flags)
{
    if (pwritev2_errno == 0)
        return syscall(SYS_pwritev2, fd, iov, n, offset, 0L, flags);
    errno = pwritev2_errno;
    pwritev2_errno = 0;
    return -1;
}

static char *make_file(uint64_t size)
{
    char *path;
    vu_autofd int fd = g_file_open_tmp("outboard-storage-XXXXXX", &path, NULL);

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(ftruncate(fd, (off_t)size), ==, 0);
    return path;
}

static void remove_file(char *path)
{
    g_unlink(path);
    g_free(path);
}

static void test_moves(gconstpointer data)
{
    struct vblk_storage_options options = {.cache = (enum vblk_cache)GPOINTER_TO_UINT(data)};
    g_autoptr(GError) error = NULL;
    g_autofree char *shadow = g_malloc0(SIZE + 4096), *buf = g_malloc(SIZE);
    char *path = make_file(SIZE);
    struct vblk_storage *storage = vblk_storage_open(path, &options, &error);

    if (!storage && vblk_cache_is_direct(options.cache)) {
        g_test_skip(error->message);
        remove_file(path);
        return;
    }
    g_assert_no_error(error);
    g_assert_cmpuint(storage->size, ==, SIZE);
    for (int i = 0; i < ROUNDS; i++) {
        uint64_t offset = (uint64_t)g_test_rand_int_range(0, SIZE);
        uint64_t len = (uint64_t)g_test_rand_int_range(1, 40000);
        unsigned skew = (unsigned)g_test_rand_int_range(0, 2) * 13;

        len = MIN(len, SIZE - offset);
        if (i % 8 == 7) {
            g_assert_cmpint(vblk_storage_zero(storage, offset, len, i % 16 == 7), ==, 0);
            memset(shadow + offset, 0, len);
        } else if (i % 2) {
            memset(buf + skew, i & 255, len);
            g_assert_cmpint(vblk_storage_write(storage, buf + skew, len, offset), ==, 0);
            memset(shadow + offset, i & 255, len);
        } else {
            g_assert_cmpint(vblk_storage_read(storage, buf + skew, len, offset), ==, 0);
            g_assert_true(memcmp(buf + skew, shadow + offset, len) == 0);
        }
    }
    g_assert_cmpint(vblk_storage_flush(storage), ==, 0);
    g_assert_cmpint(vblk_storage_read(storage, buf, 4096, SIZE - 100), ==, 0);
    g_assert_true(memcmp(buf, shadow + SIZE - 100, 4096) == 0);
    vblk_storage_close(storage);
    remove_file(path);
}

/* --- neighbours --- */

#define EDGE_N_THREADS 4
#define EDGE_LEN       100 /* bytes of each thread, side by side */
#define EDGE_ROUNDS    500

struct edge {
    struct vblk_storage *storage;
    unsigned index;
    pthread_t thread;
};

static void *edge_run(void *opaque)
{
    struct edge *edge = opaque;
    uint64_t at = edge->index * EDGE_LEN;
    uint8_t buf[EDGE_LEN], found[EDGE_LEN];
    int ret;

    for (unsigned i = 0; i < EDGE_ROUNDS; i++) {
        memset(buf, i % 4 ? (int)(i + edge->index) : 0, sizeof(buf));
        ret = i % 4 ? vblk_storage_write(edge->storage, buf, sizeof(buf), at)
                    : vblk_storage_zero(edge->storage, at, sizeof(buf), i % 8 == 0);
        g_assert_cmpint(ret, ==, 0);
        g_assert_cmpint(vblk_storage_read(edge->storage, found, sizeof(found), at), ==, 0);
        g_assert_true(memcmp(buf, found, sizeof(buf)) == 0);
    }
    return NULL;
}

/* Parts of one block that O_DIRECT moves as a whole, written at a time. */
static void test_edges(void)
{
    struct vblk_storage_options options = {.cache = VBLK_CACHE_NONE};
    struct edge edges[EDGE_N_THREADS];
    char *path = make_file(SIZE);
    struct vblk_storage *storage = vblk_storage_open(path, &options, NULL);

    if (storage) {
        for (unsigned i = 0; i < EDGE_N_THREADS; i++) {
            edges[i] = (struct edge){storage, i, 0};
            pthread_create(&edges[i].thread, NULL, edge_run, &edges[i]);
        }
        for (unsigned i = 0; i < EDGE_N_THREADS; i++)
            pthread_join(edges[i].thread, NULL);
    } else {
        g_test_skip("no O_DIRECT here");
    }
    vblk_storage_close(storage);
    remove_file(path);
}

/* What a failed flush has lost is not there after one that works, so that does not succeed. */
static void test_failed_flush(void)
{
    struct vblk_storage_options options = {.cache = VBLK_CACHE_WRITEBACK};
    char *path = make_file(SIZE);
    struct vblk_storage *storage = vblk_storage_open(path, &options, NULL);

    g_assert_cmpint(vblk_storage_flush(storage), ==, 0);
    fdatasync_errno = EIO;
    g_assert_cmpint(vblk_storage_flush(storage), ==, -EIO);
    g_assert_cmpint(vblk_storage_flush(storage), ==, -EIO);
    g_assert_cmpint(vblk_storage_flush_result(storage, 0), ==, -EIO);
    vblk_storage_close(storage);

    storage = vblk_storage_open(path, &options, NULL);
    g_assert_cmpint(vblk_storage_flush_result(storage, -ENOSPC), ==, -ENOSPC);
    g_assert_cmpint(vblk_storage_flush(storage), ==, -ENOSPC);
    vblk_storage_close(storage);
    remove_file(path);
}

/* A write that is a flush at the same time may have been told of what others have lost; one that
 * finds no room has lost nothing but itself. */
static void test_failed_durable_write(void)
{
    struct vblk_storage_options options = {.cache = VBLK_CACHE_WRITETHROUGH};
    char *path = make_file(SIZE), buf[512] = {1};
    struct vblk_storage *storage = vblk_storage_open(path, &options, NULL);

    pwritev2_errno = ENOSPC;
    g_assert_cmpint(vblk_storage_write(storage, buf, sizeof(buf), 0), ==, -ENOSPC);
    g_assert_cmpint(vblk_storage_flush(storage), ==, 0);
    pwritev2_errno = EIO;
    g_assert_cmpint(vblk_storage_write(storage, buf, sizeof(buf), 0), ==, -EIO);
    g_assert_cmpint(vblk_storage_flush(storage), ==, -EIO);
    vblk_storage_close(storage);

    options.cache = VBLK_CACHE_WRITEBACK;
    storage = vblk_storage_open(path, &options, NULL);
    pwritev2_errno = EIO;
    g_assert_cmpint(vblk_storage_write(storage, buf, sizeof(buf), 0), ==, -EIO);
    g_assert_cmpint(vblk_storage_flush(storage), ==, 0);
    vblk_storage_close(storage);
    remove_file(path);
}

static void test_space(void)
{
    struct vblk_storage_options options = {.cache = VBLK_CACHE_WRITEBACK};
    char *path = make_file(SIZE), buf[4096];
    struct vblk_storage *storage = vblk_storage_open(path, &options, NULL);
    struct stat st;
    uint64_t len;
    bool is_data;

    g_assert_cmpint(vblk_storage_map(storage, 0, &is_data, &len), ==, 0);
    g_assert_false(is_data);
    g_assert_cmpuint(len, ==, SIZE);
    memset(buf, 1, sizeof(buf));
    g_assert_cmpint(vblk_storage_write(storage, buf, sizeof(buf), 65536), ==, 0);
    g_assert_cmpint(vblk_storage_map(storage, 0, &is_data, &len), ==, 0);
    g_assert_true(!is_data && len == 65536);
    g_assert_cmpint(vblk_storage_map(storage, 65536 + 512, &is_data, &len), ==, 0);
    g_assert_true(is_data && len == 4096 - 512);
    g_assert_cmpint(vblk_storage_discard(storage, 65536, 4096), ==, 0);
    g_assert_cmpint(fstat(storage->fd, &st), ==, 0);
    g_assert_cmpint(st.st_blocks, ==, 0);
    g_assert_cmpint(vblk_storage_truncate(storage, 2 * SIZE), ==, 0);
    g_assert_cmpuint(storage->size, ==, 2 * SIZE);
    vblk_storage_close(storage);
    remove_file(path);
}

static void check_refused(const char *path, const struct vblk_storage_options *options,
                          const char *words)
{
    g_autoptr(GError) error = NULL;

    g_assert_null(vblk_storage_open(path, options, &error));
    g_assert_nonnull(strstr(error->message, path));
    g_assert_nonnull(strstr(error->message, words));
}

static void test_refused(void)
{
    struct vblk_storage_options options = {.cache = VBLK_CACHE_WRITEBACK};
    g_autofree char *dir = g_dir_make_tmp("outboard-storage-XXXXXX", NULL);
    g_autofree char *fifo = g_build_filename(dir, "fifo", NULL);

    g_assert_cmpint(mkfifo(fifo, 0600), ==, 0);
    check_refused(fifo, &options, "neither");
    check_refused(dir, &options, "neither");
    check_refused("/dev/null", &options, "neither");
    g_unlink(fifo);
    check_refused(fifo, &options, "No such file");
    g_rmdir(dir);
}

static void test_locks(void)
{
    struct vblk_storage_options writer = {.take_locks = true};
    struct vblk_storage_options reader = {.take_locks = true, .read_only = true};
    struct vblk_storage_options onlooker = {
        .take_locks = true, .read_only = true, .share_all = true};
    char *path = make_file(SIZE);
    struct vblk_storage *first = vblk_storage_open(path, &writer, NULL), *second;

    g_assert_nonnull(first);
    g_assert_true(first->is_locked);
    check_refused(path, &writer, "-U");
    check_refused(path, &reader, "-U");
    second = vblk_storage_open(path, &onlooker, NULL);
    g_assert_nonnull(second);
    vblk_storage_close(second);
    vblk_storage_close(first);

    first = vblk_storage_open(path, &reader, NULL);
    second = vblk_storage_open(path, &reader, NULL);
    g_assert_true(first && second);
    check_refused(path, &writer, "does not share");
    vblk_storage_close(first);
    vblk_storage_close(second);
    first = vblk_storage_open(path, &writer, NULL);
    g_assert_nonnull(first);
    vblk_storage_close(first);
    remove_file(path);
}

/* A file that is in use is not emptied by somebody who is refused. */
static void test_create(void)
{
    struct vblk_storage_options writer = {.take_locks = true};
    struct vblk_storage_options create = {.take_locks = true, .create = true};
    char *path = make_file(SIZE);
    struct vblk_storage *storage = vblk_storage_open(path, &writer, NULL);
    struct stat st;

    check_refused(path, &create, "-U");
    g_assert_cmpint(stat(path, &st), ==, 0);
    g_assert_cmpint(st.st_size, ==, SIZE);
    vblk_storage_close(storage);
    storage = vblk_storage_open(path, &create, NULL);
    g_assert_cmpuint(storage->size, ==, 0);
    vblk_storage_close(storage);
    remove_file(path);
}

static void test_raw(void)
{
    struct vblk_image_options options = {.format = "raw"};
    struct vblk_image_options unsaid = {.format = NULL};
    g_autoptr(GError) error = NULL;
    char *path = make_file(SIZE), buf[1000];
    struct vblk_image *image = vblk_image_open(path, &options, NULL);
    struct vblk_extent extent;

    g_assert_cmpuint(image->size, ==, SIZE);
    g_assert_cmpint(vblk_image_write(image, "hello", 5, 70000), ==, 0);
    g_assert_cmpint(vblk_image_read(image, buf, sizeof(buf), 70000), ==, 0);
    g_assert_cmpstr(buf, ==, "hello");
    g_assert_cmpint(vblk_image_map(image, 0, SIZE, 0, &extent, NULL), ==, 0);
    g_assert_true(extent.kind == VBLK_EXTENT_DATA && extent.len == SIZE);
    g_assert_cmpint(vblk_image_map(image, 0, SIZE, VBLK_HOLES, &extent, NULL), ==, 0);
    g_assert_true(extent.kind == VBLK_EXTENT_ZERO && extent.len == 69632);
    g_assert_cmpint(vblk_image_zero(image, 70001, 2, true), ==, 0);
    g_assert_cmpint(vblk_image_read(image, buf, 5, 70000), ==, 0);
    g_assert_true(memcmp(buf, "h\0\0lo", 5) == 0);
    g_assert_cmpint(vblk_image_read(image, buf, 2, SIZE - 1), ==, -EINVAL);
    g_assert_cmpint(vblk_image_write(image, buf, 2, SIZE - 1), ==, -EINVAL);
    g_assert_true(image->format->resize(image, 2 * SIZE, NULL));
    g_assert_cmpint(vblk_image_write(image, buf, 2, SIZE - 1), ==, 0);
    g_assert_cmpint(vblk_image_flush(image), ==, 0);
    vblk_image_close(image);

    g_assert_null(vblk_image_open(path, &unsaid, &error));
    g_assert_nonnull(strstr(error->message, "format"));
    unsaid.storage.read_only = true;
    image = vblk_image_open(path, &unsaid, NULL);
    g_assert_cmpstr(image->format->name, ==, "raw");
    g_assert_cmpint(vblk_image_write(image, buf, 2, 0), ==, -EROFS);
    vblk_image_close(image);
    remove_file(path);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (unsigned i = 0; vblk_caches[i]; i++) {
        g_autofree char *path = g_strdup_printf("/storage/moves/%s", vblk_caches[i]);

        g_test_add_data_func(path, GUINT_TO_POINTER(i), test_moves);
    }
    g_test_add_func("/storage/edges", test_edges);
    g_test_add_func("/storage/failed-flush", test_failed_flush);
    g_test_add_func("/storage/failed-durable-write", test_failed_durable_write);
    g_test_add_func("/storage/space", test_space);
    g_test_add_func("/storage/refused", test_refused);
    g_test_add_func("/storage/locks", test_locks);
    g_test_add_func("/storage/create", test_create);
    g_test_add_func("/storage/raw", test_raw);
    return g_test_run();
}
