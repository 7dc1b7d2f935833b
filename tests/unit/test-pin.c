/* SPDX-License-Identifier: Apache-2.0 */
/* How much guest memory queues may have pinned, each for itself and all together. */
#include "vblkd/pin.h"

#include <glib.h>

static void test_take(void)
{
    struct blk_pin pin = {.limit = 100};
    struct blk_pinned a = {0}, b = {0};

    g_assert_true(blk_pin_take(&pin, &a, 60));
    g_assert_false(blk_pin_take(&pin, &b, 60));
    g_assert_cmpuint(b.len, ==, 0);
    g_assert_true(blk_pin_take(&pin, &b, 40));
    /* Another size of memory: what was held counts no longer. */
    g_assert_true(blk_pin_take(&pin, &a, 50));
    g_assert_true(blk_pin_take(&pin, &a, 60));
    g_assert_false(blk_pin_take(&pin, &a, 61));
    g_assert_cmpuint(a.len, ==, 0);
    g_assert_true(blk_pin_take(&pin, &b, 100));
    g_assert_true(blk_pin_take(&pin, &a, 0));
    g_assert_true(blk_pin_take(&pin, &b, 0));
    g_assert_cmpuint(pin.used, ==, 0);
}

static void test_no_limit(void)
{
    struct blk_pin pin = {.limit = UINT64_MAX};
    struct blk_pinned pinned[4] = {0};

    for (unsigned i = 0; i < G_N_ELEMENTS(pinned); i++)
        g_assert_true(blk_pin_take(&pin, &pinned[i], UINT64_C(1) << 40));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/pin/take", test_take);
    g_test_add_func("/pin/no-limit", test_no_limit);
    return g_test_run();
}
