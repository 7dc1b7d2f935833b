/* SPDX-License-Identifier: Apache-2.0 */
/* Refcounts of every width: each is what was put there, and its neighbours stay as they were. */
#include <string.h>

#include "vblkd/format/qcow2-refcount.h"

#define TEST_LEN 512u

static void test_model(gconstpointer data)
{
    unsigned order = GPOINTER_TO_UINT(data);
    uint64_t n = TEST_LEN * 8 >> order, max = qcow2_refcount_max(order);
    g_autofree uint64_t *model = g_new0(uint64_t, n);
    uint8_t block[TEST_LEN] = {0};

    for (unsigned i = 0; i < 4000; i++) {
        uint64_t index = (uint64_t)g_test_rand_int_range(0, (gint32)n);
        uint64_t count = (uint64_t)(uint32_t)g_test_rand_int() << 32 | (uint32_t)g_test_rand_int();

        count = g_test_rand_int_range(0, 4) == 0 ? max : count & max;
        qcow2_refcount_encode(block, order, index, count);
        model[index] = count;
        if (i % 50 == 0)
            for (uint64_t at = 0; at < n; at++)
                g_assert_cmpuint(qcow2_refcount_decode(block, order, at), ==, model[at]);
    }
}

/* As the specification draws them: below a byte from its lowest bits on, else big-endian. */
static void test_layout(void)
{
    uint8_t block[16] = {0};

    qcow2_refcount_encode(block, 0, 9, 1);
    g_assert_cmphex(block[1], ==, 0x02);
    qcow2_refcount_encode(block, 1, 6, 3);
    g_assert_cmphex(block[1], ==, 0x32);
    qcow2_refcount_encode(block, 2, 3, 0xa);
    g_assert_cmphex(block[1], ==, 0xa2);
    qcow2_refcount_encode(block, 4, 1, 0x1234);
    g_assert_cmphex(block[2], ==, 0x12);
    g_assert_cmphex(block[3], ==, 0x34);
    qcow2_refcount_encode(block, 6, 1, UINT64_C(0x0102030405060708));
    g_assert_cmphex(block[8], ==, 1);
    g_assert_cmphex(block[15], ==, 8);
}

static void test_max(void)
{
    static const uint64_t maxima[] = {1, 3, 15, 255, 65535, UINT32_MAX, UINT64_MAX};

    for (unsigned order = 0; order < G_N_ELEMENTS(maxima); order++)
        g_assert_cmpuint(qcow2_refcount_max(order), ==, maxima[order]);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (unsigned order = 0; order <= QCOW2_MAX_REFCOUNT_ORDER; order++) {
        g_autofree char *path = g_strdup_printf("/qcow2/refcount/%u-bits", 1u << order);

        g_test_add_data_func(path, GUINT_TO_POINTER(order), test_model);
    }
    g_test_add_func("/qcow2/refcount/layout", test_layout);
    g_test_add_func("/qcow2/refcount/max", test_max);
    return g_test_run();
}
