/* SPDX-License-Identifier: Apache-2.0 */
/* handle.h: handles are found by kind and generation, closed by the last user, and capped. */
#include "virtiofsd/handle.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <unistd.h>

static uint64_t test_add(struct fs_handles *handles, enum fs_handle_kind kind, int *ret_fd)
{
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    uint64_t fh = 0;

    *ret_fd = fd;
    g_assert_cmpint(fs_handle_add(handles, kind, 7, O_RDWR, &fd, &fh), ==, 0);
    g_assert_cmpint(fd, ==, -1);
    return fh;
}

static void test_life(void)
{
    struct fs_handles *handles = NULL;
    struct fs_handle *handle;
    uint64_t fh;
    int fd;

    g_assert_cmpint(fs_handles_create(100, NULL, &handles), ==, 0);
    fh = test_add(handles, FS_HANDLE_FILE, &fd);
    g_assert_null(fs_handle_get(handles, fh, FS_HANDLE_DIRECTORY));
    g_assert_cmpint(fs_handle_release(handles, fh, FS_HANDLE_DIRECTORY), ==, -EBADF);
    g_assert_null(fs_handle_get(handles, fh + (1ull << 32), FS_HANDLE_FILE));
    g_assert_null(fs_handle_get(handles, UINT64_MAX, FS_HANDLE_FILE));
    g_assert_null(fs_handle_get(handles, 0, FS_HANDLE_FILE));

    handle = fs_handle_get(handles, fh, FS_HANDLE_FILE);
    g_assert_nonnull(handle);
    g_assert_cmpint(handle->fd, ==, fd);
    g_assert_cmpuint(handle->nodeid, ==, 7);
    g_assert_cmpint(fs_handle_release(handles, fh, FS_HANDLE_FILE), ==, 0);
    g_assert_cmpint(fs_handle_release(handles, fh, FS_HANDLE_FILE), ==, -EBADF);
    g_assert_null(fs_handle_get(handles, fh, FS_HANDLE_FILE));
    g_assert_cmpint(fcntl(fd, F_GETFD), >=, 0); /* still ours */
    fs_handle_put(handles, handle);
    g_assert_cmpint(fcntl(fd, F_GETFD), ==, -1);
    fs_handles_destroy(handles);
}

static void test_cap(void)
{
    struct fs_handles *handles = NULL;
    int fds[10], extra = open("/dev/null", O_RDWR | O_CLOEXEC), kept = extra;
    uint64_t fh;

    g_assert_cmpint(fs_handles_create(10, NULL, &handles), ==, 0);
    for (unsigned i = 0; i < 10; i++)
        test_add(handles, i % 2 ? FS_HANDLE_FILE : FS_HANDLE_DIRECTORY, &fds[i]);
    g_assert_cmpint(fs_handle_add(handles, FS_HANDLE_FILE, 7, 0, &extra, &fh), ==, -EMFILE);
    g_assert_cmpint(extra, ==, kept); /* the caller's, as before */
    close(extra);
    g_assert_cmpuint(fs_handles_count(handles), ==, 10);
    fs_handles_release_all(handles);
    g_assert_cmpuint(fs_handles_count(handles), ==, 0);
    for (unsigned i = 0; i < 10; i++)
        g_assert_cmpint(fcntl(fds[i], F_GETFD), ==, -1);
    fs_handles_destroy(handles);
}

static void *test_race_thread(void *opaque)
{
    struct fs_handles *handles = opaque;

    for (unsigned i = 0; i < 5000; i++) {
        int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
        struct fs_handle *handle;
        uint64_t fh;

        g_assert_cmpint(fs_handle_add(handles, FS_HANDLE_FILE, 7, 0, &fd, &fh), ==, 0);
        handle = fs_handle_get(handles, fh, FS_HANDLE_FILE);
        if (!handle)
            continue; /* another thread's guess was right */
        pthread_mutex_lock(fs_handle_lock(handles, handle));
        handle->dir_offset++;
        pthread_mutex_unlock(fs_handle_lock(handles, handle));
        /* Ids of other threads' handles, most of them stale. */
        fs_handle_release(handles, fh - (1ull << 32) + 1, FS_HANDLE_FILE);
        g_assert_cmpint(fcntl(handle->fd, F_GETFD), >=, 0);
        fs_handle_put(handles, handle);
        fs_handle_release(handles, fh, FS_HANDLE_FILE);
    }
    return NULL;
}

static void test_threads(void)
{
    struct fs_handles *handles = NULL;
    pthread_t threads[4];

    g_assert_cmpint(fs_handles_create(100, NULL, &handles), ==, 0);
    for (unsigned i = 0; i < G_N_ELEMENTS(threads); i++)
        g_assert_cmpint(pthread_create(&threads[i], NULL, test_race_thread, handles), ==, 0);
    for (unsigned i = 0; i < G_N_ELEMENTS(threads); i++)
        pthread_join(threads[i], NULL);
    g_assert_cmpuint(fs_handles_count(handles), ==, 0);
    fs_handles_destroy(handles);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/handle/life", test_life);
    g_test_add_func("/handle/cap", test_cap);
    g_test_add_func("/handle/threads", test_threads);
    return g_test_run();
}
