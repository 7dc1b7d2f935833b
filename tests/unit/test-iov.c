/* SPDX-License-Identifier: Apache-2.0 */
/* iov.h: a cursor over scattered ranges must do what a flat buffer does, however it is cut. */
#include "vhost-user/iov.h"

#include <glib.h>
#include <limits.h>
#include <string.h>

static void test_empty(void)
{
    struct iovec hollow[3] = {{.iov_base = NULL}, {.iov_base = NULL}, {.iov_base = NULL}}, out[1];
    struct vu_iov_cursor cursor;
    uint64_t len;
    char byte = 0;

    vu_iov_cursor_init(&cursor, NULL, 0, 7);
    g_assert_cmpuint(cursor.left, ==, 0);
    g_assert_cmpuint(vu_iov_read(&cursor, &byte, 1), ==, 0);
    vu_iov_cursor_init(&cursor, hollow, 3, 0);
    g_assert_cmpuint(vu_iov_write(&cursor, &byte, 1), ==, 0);
    g_assert_cmpuint(vu_iov_skip(&cursor, 1), ==, 0);
    g_assert_cmpuint(vu_iov_peek(&cursor, UINT64_MAX, out, 1, &len), ==, 0);
    g_assert_cmpuint(len, ==, 0);
}

static void test_pieces(void)
{
    char a[] = "abc", b[] = "defgh";
    struct iovec iov[] = {{a, 3}, {NULL, 0}, {b, 5}};
    struct vu_iov_cursor cursor;
    char buf[16] = {0};

    vu_iov_cursor_init(&cursor, iov, 3, 2);
    g_assert_cmpuint(cursor.left, ==, 6);
    g_assert_cmpuint(vu_iov_read(&cursor, buf, 2), ==, 2);
    g_assert_cmpstr(buf, ==, "cd");
    g_assert_cmpuint(vu_iov_skip(&cursor, 1), ==, 1);
    g_assert_cmpuint(vu_iov_write(&cursor, "XYZ", 3), ==, 3);
    g_assert_cmpuint(cursor.left, ==, 0);
    g_assert_cmpuint(vu_iov_write(&cursor, "!", 1), ==, 0);
    g_assert_cmpstr(a, ==, "abc");
    g_assert_cmpstr(b, ==, "deXYZ");
    vu_iov_cursor_init(&cursor, iov, 3, 100);
    g_assert_cmpuint(cursor.left, ==, 0);
    g_assert_cmpuint(vu_iov_read(&cursor, buf, 1), ==, 0);
}

static void test_peek(void)
{
    char data[] = "0123456789";
    struct iovec iov[] = {{data, 4}, {data + 4, 0}, {data + 4, 6}}, out[3];
    struct vu_iov_cursor cursor;
    uint64_t len;

    vu_iov_cursor_init(&cursor, iov, 3, 1);
    g_assert_cmpuint(vu_iov_peek(&cursor, 5, out, 3, &len), ==, 2);
    g_assert_cmpuint(len, ==, 5);
    g_assert_true(out[0].iov_base == data + 1 && out[0].iov_len == 3);
    g_assert_true(out[1].iov_base == data + 4 && out[1].iov_len == 2);
    g_assert_cmpuint(vu_iov_peek(&cursor, 5, out, 1, &len), ==, 1);
    g_assert_cmpuint(len, ==, 3);
    g_assert_cmpuint(vu_iov_peek(&cursor, 0, out, 3, &len), ==, 0);
    g_assert_cmpuint(cursor.left, ==, 9);
    cursor.left = 2; /* the caller's way to cut a cursor short */
    g_assert_cmpuint(vu_iov_peek(&cursor, 5, out, 3, &len), ==, 1);
    g_assert_cmpuint(len, ==, 2);
}

static void test_peek_iov_max(void)
{
    static struct iovec iov[IOV_MAX + 10], out[IOV_MAX + 10];
    static char data[IOV_MAX + 10];
    struct vu_iov_cursor cursor;
    uint64_t len;

    for (unsigned i = 0; i < G_N_ELEMENTS(iov); i++)
        iov[i] = (struct iovec){data + i, 1};
    vu_iov_cursor_init(&cursor, iov, G_N_ELEMENTS(iov), 0);
    g_assert_cmpuint(vu_iov_peek(&cursor, UINT64_MAX, out, G_N_ELEMENTS(out), &len), ==, IOV_MAX);
    g_assert_cmpuint(len, ==, IOV_MAX);
}

/* Cuts a buffer at random and compares with the flat one. */
static void test_random(void)
{
    char flat[512], scattered[512], buf[512];
    struct iovec iov[40];

    for (int round = 0; round < 2000; round++) {
        size_t cut = 0, at = (size_t)g_test_rand_int_range(0, 512);
        struct vu_iov_cursor cursor;
        unsigned n = 0;

        while (n < G_N_ELEMENTS(iov) && cut < sizeof(flat)) {
            size_t len = (size_t)g_test_rand_int_range(0, 40);

            len = MIN(len, sizeof(flat) - cut);
            iov[n++] = (struct iovec){scattered + cut, len};
            cut += len;
        }
        for (size_t i = 0; i < sizeof(flat); i++)
            flat[i] = scattered[i] = (char)g_test_rand_int();
        at = MIN(at, cut);
        vu_iov_cursor_init(&cursor, iov, n, at);
        while (cursor.left > 0) {
            size_t len = (size_t)g_test_rand_int_range(1, 100), done = MIN(len, cut - at);

            if (g_test_rand_bit()) {
                g_assert_cmpuint(vu_iov_read(&cursor, buf, len), ==, done);
                g_assert_true(memcmp(buf, flat + at, done) == 0);
            } else {
                memset(buf, round, len);
                memset(flat + at, round, done);
                g_assert_cmpuint(vu_iov_write(&cursor, buf, len), ==, done);
            }
            at += done;
        }
        g_assert_cmpuint(at, ==, cut);
        g_assert_true(memcmp(flat, scattered, sizeof(flat)) == 0);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/iov/empty", test_empty);
    g_test_add_func("/iov/pieces", test_pieces);
    g_test_add_func("/iov/peek", test_peek);
    g_test_add_func("/iov/peek-iov-max", test_peek_iov_max);
    g_test_add_func("/iov/random", test_random);
    return g_test_run();
}
