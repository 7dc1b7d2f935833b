/* SPDX-License-Identifier: Apache-2.0 */
/* limit.h, by a clock of the test's own. */
#include <glib.h>

#include "contrib/vrngd/limit.h"

#define MS UINT64_C(1000000)

static void test_none(void)
{
    struct rng_limit limit = {0};

    rng_limit_set(&limit, 0, 1000);
    g_assert_cmpuint(rng_limit_left(&limit, 5), ==, UINT64_MAX);
    rng_limit_spend(&limit, 1 << 20);
    g_assert_cmpuint(rng_limit_left(&limit, 6), ==, UINT64_MAX);
}

static void test_window(void)
{
    struct rng_limit limit = {0};

    rng_limit_set(&limit, 1000, 10);
    g_assert_cmpuint(rng_limit_left(&limit, 7 * MS), ==, 1000);
    rng_limit_spend(&limit, 400);
    g_assert_cmpuint(rng_limit_left(&limit, 7 * MS), ==, 600);
    rng_limit_spend(&limit, 600);
    g_assert_cmpuint(rng_limit_left(&limit, 17 * MS - 1), ==, 0);
    g_assert_cmpuint(rng_limit_end_ns(&limit), ==, 17 * MS);
    /* It begins at the first use, and what it did not use is lost. */
    g_assert_cmpuint(rng_limit_left(&limit, 17 * MS), ==, 1000);
    rng_limit_spend(&limit, 1);
    g_assert_cmpuint(rng_limit_left(&limit, 27 * MS), ==, 1000);
}

/* Who looks late gets no less over time: windows are where they were. */
static void test_late(void)
{
    struct rng_limit limit = {0};
    uint64_t now_ns = MS, given = 0;

    rng_limit_set(&limit, 100, 10);
    for (unsigned i = 0; i < 1000; i++) {
        uint64_t left = rng_limit_left(&limit, now_ns);

        g_assert_cmpuint(left, ==, 100);
        rng_limit_spend(&limit, left);
        given += left;
        g_assert_cmpuint(rng_limit_left(&limit, now_ns), ==, 0);
        now_ns = rng_limit_end_ns(&limit) + i % 9 * MS;
    }
    g_assert_cmpuint(now_ns / MS, <=, 1 + 10 * 1000 + 9);
    g_assert_cmpuint(given, ==, 100 * 1000);
    /* After a pause of many windows there is one, and its end is where theirs were. */
    now_ns = 100000 * MS + 3;
    g_assert_cmpuint(rng_limit_left(&limit, now_ns), ==, 100);
    g_assert_cmpuint(rng_limit_end_ns(&limit) % (10 * MS), ==, MS);
    g_assert_cmpuint(rng_limit_end_ns(&limit), >, now_ns);
    g_assert_cmpuint(rng_limit_end_ns(&limit), <=, now_ns + 10 * MS);
}

/* Who has looked at the clock before the window began does not begin another one. */
static void test_past(void)
{
    struct rng_limit limit = {0};

    rng_limit_set(&limit, 100, 10);
    g_assert_cmpuint(rng_limit_left(&limit, 5 * MS), ==, 100);
    g_assert_cmpuint(rng_limit_left(&limit, 15 * MS), ==, 100);
    rng_limit_spend(&limit, 100);
    g_assert_cmpuint(rng_limit_left(&limit, 15 * MS - 1), ==, 0);
    g_assert_cmpuint(rng_limit_left(&limit, 5 * MS - 1), ==, 0);
    g_assert_cmpuint(rng_limit_end_ns(&limit), ==, 25 * MS);
    g_assert_cmpuint(rng_limit_left(&limit, 25 * MS), ==, 100);
}

static void test_change(void)
{
    struct rng_limit limit = {0};

    rng_limit_set(&limit, 100, 10);
    g_assert_cmpuint(rng_limit_left(&limit, MS), ==, 100);
    rng_limit_spend(&limit, 80);
    rng_limit_set(&limit, 50, 10);
    g_assert_cmpuint(rng_limit_left(&limit, MS), ==, 0);
    rng_limit_set(&limit, 200, 20);
    g_assert_cmpuint(rng_limit_left(&limit, 15 * MS), ==, 120);
    g_assert_cmpuint(rng_limit_left(&limit, 21 * MS), ==, 200);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/rng-limit/none", test_none);
    g_test_add_func("/rng-limit/window", test_window);
    g_test_add_func("/rng-limit/late", test_late);
    g_test_add_func("/rng-limit/past", test_past);
    g_test_add_func("/rng-limit/change", test_change);
    return g_test_run();
}
