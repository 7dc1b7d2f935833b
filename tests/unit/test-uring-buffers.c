/* SPDX-License-Identifier: Apache-2.0 */
/* Registered buffers: which memory is pinned, as /proc tells, and which operations find theirs. */
#include "vblkd/aio/uring-buffers.h"

#include <glib.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define PAGE   4096u
#define LEN    (64 * PAGE)
#define WAIT_N 60000 /* milliseconds: older kernels let go a little later */

static long pinned_kib(void)
{
    g_autofree char *text = NULL;
    const char *at;

    g_assert_true(g_file_get_contents("/proc/self/status", &text, NULL, NULL));
    at = strstr(text, "\nVmPin:");
    return at ? strtol(at + strlen("\nVmPin:"), NULL, 10) : -1;
}

static void await_pinned(long kib)
{
    for (unsigned i = 0; i < WAIT_N && pinned_kib() != kib; i++)
        g_usleep(1000);
    g_assert_cmpint(pinned_kib(), ==, kib);
}

static int find(struct uring_buffers *buffers, char *at, size_t len)
{
    return uring_buffers_find(buffers, &(struct iovec){at, len});
}

static void test_follow(void)
{
    char *memory = mmap(NULL, LEN * 3, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct iovec ranges[] = {{memory, LEN}, {memory + 2 * (size_t)LEN, LEN}};
    struct uring_buffers buffers = {0};
    struct io_uring ring;
    long before = pinned_kib();
    int first, second;

    g_assert_true(memory != MAP_FAILED);
    if (before < 0 || io_uring_queue_init(4, &ring, 0) < 0) {
        g_test_skip("no io_uring");
        return;
    }
    g_assert_cmpint(find(&buffers, memory, PAGE), ==, -1);
    uring_buffers_follow(&buffers, &ring, ranges, 2);
    if (buffers.n_slots == 0) {
        g_test_skip("the kernel pins nothing for us");
    } else {
        await_pinned(before + 2 * LEN / 1024);
        first = find(&buffers, memory, LEN);
        second = find(&buffers, memory + 2 * (size_t)LEN + 1, LEN - 1);
        g_assert_cmpint(first, >=, 0);
        g_assert_cmpint(second, >=, 0);
        g_assert_cmpint(first, !=, second);
        g_assert_cmpint(find(&buffers, memory + LEN - 1, 1), ==, first);
        g_assert_cmpint(find(&buffers, memory + 1, LEN), ==, -1);
        g_assert_cmpint(find(&buffers, memory + LEN, PAGE), ==, -1);
        g_assert_cmpint(find(&buffers, memory + 2 * (size_t)LEN - 1, 2), ==, -1);

        /* What stays keeps its place; what goes is let go of. */
        uring_buffers_follow(&buffers, &ring, &ranges[1], 1);
        await_pinned(before + LEN / 1024);
        g_assert_cmpint(find(&buffers, memory, PAGE), ==, -1);
        g_assert_cmpint(find(&buffers, memory + 2 * (size_t)LEN, PAGE), ==, second);
        uring_buffers_follow(&buffers, &ring, ranges, 2);
        g_assert_cmpint(find(&buffers, memory, PAGE), ==, first);
        uring_buffers_follow(&buffers, &ring, NULL, 0);
        await_pinned(before);
    }
    uring_buffers_clear(&buffers);
    io_uring_queue_exit(&ring);
    munmap(memory, 3 * (size_t)LEN);
}

/* Memory that is not there cannot be pinned, and then nothing is. */
static void test_refused(void)
{
    char *memory = mmap(NULL, LEN * 2, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct iovec ranges[] = {{memory, LEN}, {memory + LEN, LEN}};
    long before = pinned_kib();
    struct uring_buffers buffers = {0};
    struct io_uring ring;

    if (io_uring_queue_init(4, &ring, 0) < 0) {
        g_test_skip("no io_uring");
        return;
    }
    g_assert_cmpint(mprotect(memory + LEN, LEN, PROT_NONE), ==, 0);
    uring_buffers_follow(&buffers, &ring, ranges, 2);
    g_assert_cmpint(find(&buffers, memory, PAGE), ==, -1);
    g_assert_cmpint(find(&buffers, memory + LEN, PAGE), ==, -1);
    await_pinned(before);
    uring_buffers_clear(&buffers);
    io_uring_queue_exit(&ring);
    munmap(memory, LEN * 2);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/uring-buffers/follow", test_follow);
    g_test_add_func("/uring-buffers/refused", test_refused);
    return g_test_run();
}
