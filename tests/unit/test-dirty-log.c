/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The dirty log: the right bits, nothing beyond its end, refused sizes, many threads, and a file
 * that its owner truncates.
 */
#include <errno.h>
#include <glib.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vhost-user/dirty-log.h"

#if defined(__has_feature) && !defined(__SANITIZE_THREAD__)
#if __has_feature(thread_sanitizer)
#define __SANITIZE_THREAD__ 1
#endif
#endif

static int make_file(uint64_t size)
{
    int fd = memfd_create("dirty-log", MFD_CLOEXEC);

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(ftruncate(fd, (off_t)size), ==, 0);
    return fd;
}

/* The log file's byte at `at`, and clears it. */
static uint8_t take_byte(int fd, off_t at)
{
    uint8_t byte = 0, zero = 0;

    g_assert_cmpint(pread(fd, &byte, 1, at), ==, 1);
    g_assert_cmpint(pwrite(fd, &zero, 1, at), ==, 1);
    return byte;
}

static void test_bits(void)
{
    int fd = make_file(8192);
    struct vu_dirty_log *log = NULL;

    g_assert_cmpint(vu_dirty_log_create(fd, 4, 100, &log), ==, 0); /* 32 pages */
    vu_dirty_log_mark(log, 0, 0);
    g_assert_cmphex(take_byte(fd, 100), ==, 0);
    vu_dirty_log_mark(log, 0, 1);
    g_assert_cmphex(take_byte(fd, 100), ==, 0x01);
    vu_dirty_log_mark(log, 4095, 2);
    g_assert_cmphex(take_byte(fd, 100), ==, 0x03);
    vu_dirty_log_mark(log, 7 * 4096 + 5, 4096);
    g_assert_cmphex(take_byte(fd, 100), ==, 0x80);
    g_assert_cmphex(take_byte(fd, 101), ==, 0x01);
    vu_dirty_log_mark(log, 6 * 4096, 14 * 4096);
    g_assert_cmphex(take_byte(fd, 100), ==, 0xc0);
    g_assert_cmphex(take_byte(fd, 101), ==, 0xff);
    g_assert_cmphex(take_byte(fd, 102), ==, 0x0f);
    g_assert_cmphex(take_byte(fd, 103), ==, 0);
    vu_dirty_log_unref(log);
    close(fd);
}

static void test_beyond(void)
{
    int fd = make_file(8192);
    struct vu_dirty_log *log = NULL;

    g_assert_cmpint(vu_dirty_log_create(fd, 4, 100, &log), ==, 0);
    vu_dirty_log_mark(log, 32 * 4096, 4096);
    vu_dirty_log_mark(log, UINT64_MAX, 1);
    vu_dirty_log_mark(log, UINT64_MAX - 5, UINT64_MAX);
    g_assert_cmphex(take_byte(fd, 103), ==, 0);
    vu_dirty_log_mark(log, 31 * 4096, UINT64_MAX); /* the sum wraps */
    g_assert_cmphex(take_byte(fd, 103), ==, 0x80);
    g_assert_cmphex(take_byte(fd, 104), ==, 0);
    g_assert_cmphex(take_byte(fd, 99), ==, 0);
    vu_dirty_log_unref(log);
    close(fd);
}

static void test_refused(void)
{
    int fd = make_file(8192), pipe_fds[2];
    struct vu_dirty_log *log = NULL;

    g_assert_cmpint(vu_dirty_log_create(fd, 0, 0, &log), ==, -EINVAL);
    g_assert_cmpint(vu_dirty_log_create(fd, 8193, 0, &log), ==, -EINVAL);
    g_assert_cmpint(vu_dirty_log_create(fd, 8192, 1, &log), ==, -EINVAL);
    g_assert_cmpint(vu_dirty_log_create(fd, UINT64_MAX, 2, &log), ==, -EINVAL);
    g_assert_cmpint(vu_dirty_log_create(fd, 2, UINT64_MAX, &log), ==, -EINVAL);
    g_assert_cmpint(vu_dirty_log_create(-1, 2, 0, &log), ==, -EBADF);
    g_assert_cmpint(pipe(pipe_fds), ==, 0);
    g_assert_cmpint(vu_dirty_log_create(pipe_fds[0], 2, 0, &log), ==, -EINVAL);
    g_assert_null(log);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
    close(fd);
}

static void test_truncated(void)
{
    int fd = make_file(8192);
    struct vu_dirty_log *log = NULL;

#ifdef __SANITIZE_THREAD__
    g_test_skip("ThreadSanitizer holds a lock while it does an atomic that faults");
    close(fd);
    return;
#endif
    g_assert_cmpint(vu_dirty_log_create(fd, 8192, 0, &log), ==, 0);
    g_assert_cmpint(ftruncate(fd, 0), ==, 0);
    vu_dirty_log_mark(log, 0, UINT64_MAX);
    vu_dirty_log_unref(log);
    close(fd);
}

static void *marker(void *opaque)
{
    for (uint64_t round = 0; round < 1000; round++)
        vu_dirty_log_mark(opaque, (round % 8) * 4096, 1);
    vu_dirty_log_unref(opaque);
    return NULL;
}

static void test_threads(void)
{
    int fd = make_file(4096);
    struct vu_dirty_log *log = NULL;
    pthread_t threads[4];

    g_assert_cmpint(vu_dirty_log_create(fd, 4096, 0, &log), ==, 0);
    for (size_t i = 0; i < G_N_ELEMENTS(threads); i++)
        g_assert_cmpint(pthread_create(&threads[i], NULL, marker, vu_dirty_log_ref(log)), ==, 0);
    vu_dirty_log_unref(log);
    for (size_t i = 0; i < G_N_ELEMENTS(threads); i++)
        pthread_join(threads[i], NULL);
    g_assert_cmphex(take_byte(fd, 0), ==, 0xff);
    close(fd);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/dirty-log/bits", test_bits);
    g_test_add_func("/dirty-log/beyond", test_beyond);
    g_test_add_func("/dirty-log/refused", test_refused);
    g_test_add_func("/dirty-log/truncated", test_truncated);
    g_test_add_func("/dirty-log/threads", test_threads);
    return g_test_run();
}
