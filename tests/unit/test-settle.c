/* SPDX-License-Identifier: Apache-2.0 */
/* vblkd/settle.h: tried where many requests are left and take long, and kept up where it pays. */
#include "vblkd/settle.h"

#include <glib.h>

static void settle_init(struct blk_settle *settle, uint64_t usual_ns)
{
    *settle = (struct blk_settle){0};
    for (unsigned i = 0; i < 100; i++)
        blk_settle_learn(settle, usual_ns);
}

/* One that found n_more each time: how many of n passes were tries. */
static unsigned settle_play(struct blk_settle *settle, unsigned n, unsigned n_more, unsigned n_left)
{
    unsigned n_tries = 0;

    for (unsigned i = 0; i < n; i++) {
        if (!blk_settle_is_due(settle, 1, n_left))
            continue;
        n_tries++;
        blk_settle_end(settle, n_more, n_left);
    }
    return n_tries;
}

static void test_never(void)
{
    struct blk_settle settle;

    settle_init(&settle, 100000);
    g_assert_false(blk_settle_is_due(&settle, 1, 31)); /* a quick disk */
    settle_init(&settle, 1000000);
    g_assert_false(blk_settle_is_due(&settle, 0, 31)); /* nothing to be pushed yet */
    g_assert_false(blk_settle_is_due(&settle, 1, 3));
    g_assert_false(blk_settle_is_due(&settle, 16, 16));
    g_assert_true(blk_settle_is_due(&settle, 1, 31));
}

static void test_pays(void)
{
    struct blk_settle settle;

    settle_init(&settle, 400000);
    g_assert_cmpuint(settle_play(&settle, 1000, 31, 31), ==, 1000);
    g_assert_cmpuint(settle_play(&settle, 1000, 3, 7), ==, 1000);
}

/* A disk that ends them one by one itself is hardly ever kept waiting; a change is noticed. */
static void test_in_vain(void)
{
    struct blk_settle settle;
    unsigned n = 0;

    settle_init(&settle, 400000);
    g_assert_cmpuint(settle_play(&settle, 100000, 3, 31), <, 120);
    while (settle_play(&settle, 1, 31, 31) == 0)
        g_assert_cmpuint(n++, <, 1025);
    g_assert_cmpuint(settle_play(&settle, 100, 31, 31), ==, 100);
    /* Nor among reads. */
    for (unsigned i = 0; i < 100; i++)
        blk_settle_learn(&settle, 0);
    g_assert_cmpuint(settle_play(&settle, 100, 31, 31), ==, 0);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/settle/never", test_never);
    g_test_add_func("/settle/pays", test_pays);
    g_test_add_func("/settle/in-vain", test_in_vain);
    return g_test_run();
}
