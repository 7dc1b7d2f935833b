/* SPDX-License-Identifier: Apache-2.0 */
/*
 * handle-store.h, with handles of every length that a file system may give: what was kept is found
 * again, and a mount is open as long as an inode of it is kept. The kernel's part is played here
 * (the two functions of file-handle.h below), so that it takes no rights.
 */
#include "virtiofsd/handle-store.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vhost-user/cleanup.h"

static struct {
    unsigned len;                /* of the next handle; 0: there is none */
    uint8_t seed;                /* what it is filled with */
    union fs_file_handle opened; /* the last one */
    int mount_fd;
} kernel;

int fs_file_handle_get(int fd, const char *name, union fs_file_handle *ret_handle)
{
    g_assert_cmpstr(name, ==, "");
    if (kernel.len == 0)
        return -EOPNOTSUPP;
    ret_handle->head.handle_bytes = kernel.len;
    ret_handle->head.handle_type = 0x81;
    memset(ret_handle->room + sizeof(struct file_handle), kernel.seed, kernel.len);
    return 0;
}

int fs_file_handle_open(int mount_fd, union fs_file_handle *handle)
{
    kernel.opened = *handle;
    kernel.mount_fd = mount_fd;
    return fcntl(mount_fd, F_DUPFD_CLOEXEC, 0);
}

static uint8_t *test_bytes(union fs_file_handle *handle)
{
    return handle->room + sizeof(struct file_handle);
}

static struct fs_handle_store *test_store(void)
{
    struct fs_handle_store *store = NULL;

    g_assert_cmpint(fs_handle_store_create(100, 2, &store), ==, 0);
    return store;
}

static int test_keep(struct fs_handle_store *store, const char *path, uint32_t mount_id,
                     struct fs_stored_handle *stored)
{
    vu_autofd int fd = open(path, O_PATH | O_CLOEXEC);

    g_assert_cmpint(fd, >=, 0);
    return fs_handle_store_keep(store, fd, mount_id, stored);
}

static void test_lengths(void)
{
    struct fs_handle_store *store = test_store();
    struct fs_stored_handle stored[MAX_HANDLE_SZ + 1] = {{0}};

    for (unsigned len = 1; len <= MAX_HANDLE_SZ; len += len < 40 ? 1 : 11) {
        kernel.len = len;
        kernel.seed = (uint8_t)len;
        g_assert_cmpint(test_keep(store, "/", 7, &stored[len]), ==, 0);
    }
    for (unsigned len = 1; len <= MAX_HANDLE_SZ; len += len < 40 ? 1 : 11) {
        union fs_file_handle handle;
        int fd = fs_handle_store_open(store, 7, &stored[len]);

        g_assert_cmpint(fd, >=, 0);
        close(fd);
        g_assert_cmpint(kernel.opened.head.handle_type, ==, 0x81);
        g_assert_cmpuint(kernel.opened.head.handle_bytes, ==, len);
        for (unsigned i = 0; i < len; i++)
            g_assert_cmpuint(test_bytes(&kernel.opened)[i], ==, len);
        /* Equal to itself, and to nothing else. */
        handle = kernel.opened;
        g_assert_true(fs_handle_store_equal(store, &stored[len], &handle));
        test_bytes(&handle)[len - 1] ^= 1;
        g_assert_false(fs_handle_store_equal(store, &stored[len], &handle));
        handle = kernel.opened;
        handle.head.handle_bytes--;
        g_assert_false(fs_handle_store_equal(store, &stored[len], &handle));
        handle = kernel.opened;
        handle.head.handle_type++;
        g_assert_false(fs_handle_store_equal(store, &stored[len], &handle));
        fs_handle_store_drop(store, 7, &stored[len]);
        g_assert_cmpint(fs_handle_store_open(store, 7, &stored[len]), ==, -ESTALE);
        fs_handle_store_drop(store, 7, &stored[len]);
    }
    g_assert_cmpuint(fs_handle_store_n_mounts(store), ==, 0);
    fs_handle_store_destroy(store);
}

static void test_mounts(void)
{
    struct fs_handle_store *store = test_store();
    struct fs_stored_handle a = {0}, b = {0}, c = {0}, d = {0};
    int fd;

    kernel.len = 12;
    /* Something that cannot be opened is no way to a mount. */
    g_assert_cmpint(test_keep(store, "/dev/null", 1, &a), ==, -EOPNOTSUPP);
    g_assert_cmpuint(a.len, ==, 0);
    g_assert_cmpint(test_keep(store, "/", 1, &a), ==, 0);
    g_assert_cmpint(test_keep(store, "/dev/null", 1, &b), ==, 0);
    g_assert_cmpint(test_keep(store, "/tmp", 2, &c), ==, 0);
    g_assert_cmpuint(fs_handle_store_n_mounts(store), ==, 2);
    g_assert_cmpint(test_keep(store, "/", 3, &d), ==, -ENFILE);
    fd = fs_handle_store_open(store, 1, &b);
    close(fd);
    g_assert_cmpint(fcntl(kernel.mount_fd, F_GETFL) & O_PATH, ==, 0);
    fs_handle_store_drop(store, 1, &a);
    g_assert_cmpuint(fs_handle_store_n_mounts(store), ==, 2);
    fs_handle_store_drop(store, 1, &b);
    g_assert_cmpuint(fs_handle_store_n_mounts(store), ==, 1);
    g_assert_cmpint(fcntl(kernel.mount_fd, F_GETFL), <, 0); /* closed, and so not busy any more */
    g_assert_cmpint(test_keep(store, "/", 3, &d), ==, 0);
    fs_handle_store_drop(store, 2, &c);
    fs_handle_store_drop(store, 3, &d);
    fs_handle_store_destroy(store);
}

static void test_none(void)
{
    struct fs_handle_store *store = test_store();
    struct fs_stored_handle stored[101] = {{0}}, other = {0};

    kernel.len = 0;
    g_assert_cmpint(test_keep(store, "/", 1, &other), ==, -EOPNOTSUPP);
    kernel.len = MAX_HANDLE_SZ;
    for (unsigned i = 0; i < 100; i++)
        g_assert_cmpint(test_keep(store, "/", 1, &stored[i]), ==, 0);
    g_assert_cmpint(test_keep(store, "/", 2, &other), ==, -ENFILE);
    g_assert_cmpuint(fs_handle_store_n_mounts(store), ==, 1);
    /* Kept already. */
    g_assert_cmpint(test_keep(store, "/", 1, &stored[0]), ==, 0);
    for (unsigned i = 0; i < 100; i++)
        fs_handle_store_drop(store, 1, &stored[i]);
    g_assert_cmpuint(fs_handle_store_n_mounts(store), ==, 0);
    fs_handle_store_destroy(store);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/handle-store/lengths", test_lengths);
    g_test_add_func("/handle-store/mounts", test_mounts);
    g_test_add_func("/handle-store/none", test_none);
    return g_test_run();
}
