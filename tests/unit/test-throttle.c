/* SPDX-License-Identifier: Apache-2.0 */
/* throttle.c on a clock of its own: the rate is held, bursts pass, waits are as long as needed. */
#include "vblkd/throttle.h"

#include <glib.h>

#define SECOND_NS UINT64_C(1000000000)

/* Requests of len bytes that pass within the time, each asked for as soon as it may. */
static unsigned count(const struct blk_limits *limits, uint64_t len, uint64_t begin_ns,
                      uint64_t for_ns)
{
    struct blk_throttle throttle;
    uint64_t now_ns = begin_ns, wait_ns;
    unsigned n = 0;

    blk_throttle_init(&throttle, limits);
    while (now_ns < begin_ns + for_ns) {
        wait_ns = blk_throttle_ask(&throttle, len, now_ns);
        n += wait_ns == 0;
        now_ns += wait_ns;
    }
    blk_throttle_finish(&throttle);
    return n;
}

static void assert_about(unsigned n, unsigned expected)
{
    g_assert_cmpuint(n, >=, expected - expected / 50 - 2);
    g_assert_cmpuint(n, <=, expected + expected / 50 + 2);
}

static void test_rates(void)
{
    const struct blk_limits iops = {.iops = 1000}, bps = {.bps = 4096 * 500};
    const struct blk_limits both = {.iops = 1000, .bps = 4096 * 500};

    assert_about(count(&iops, 4096, 5 * SECOND_NS, 10 * SECOND_NS), 10000 + 100);
    assert_about(count(&bps, 4096, 5 * SECOND_NS, 10 * SECOND_NS), 5000 + 50);
    assert_about(count(&both, 4096, 5 * SECOND_NS, 10 * SECOND_NS), 5000 + 50);
    assert_about(count(&both, 512, 5 * SECOND_NS, 10 * SECOND_NS), 10000 + 100);
}

static void test_bursts(void)
{
    const struct blk_limits burst = {.iops = 10, .iops_burst = 300};
    const struct blk_limits large = {.bps = 1000};

    assert_about(count(&burst, 0, SECOND_NS, 10 * SECOND_NS), 300 + 100);
    /* One larger than the bucket passes too, and the next waits for it. */
    g_assert_cmpuint(count(&large, 10000, SECOND_NS, SECOND_NS * 95 / 10), ==, 1);
    g_assert_cmpuint(count(&large, 10000, SECOND_NS, SECOND_NS * 105 / 10), ==, 2);
}

static void test_pause(void)
{
    const struct blk_limits limits = {.iops = 100, .iops_burst = 10};
    struct blk_throttle throttle;
    unsigned n = 0;

    blk_throttle_init(&throttle, &limits);
    while (blk_throttle_ask(&throttle, 0, SECOND_NS) == 0)
        n++;
    g_assert_cmpuint(n, ==, 10);
    for (n = 0; blk_throttle_ask(&throttle, 0, 60 * SECOND_NS) == 0;)
        n++;
    g_assert_cmpuint(n, ==, 10);
    /* A clock that seems to go back, as one thread sees the other's, is no time. */
    g_assert_cmpuint(blk_throttle_ask(&throttle, 0, SECOND_NS), >, 0);
    blk_throttle_finish(&throttle);
}

/* Who waits learns that the limits are others, and then passes by those. */
static void test_change(void)
{
    const struct blk_limits slow = {.iops = 1, .iops_burst = 1}, none = {0};
    const struct blk_limits fast = {.iops = 1000, .iops_burst = 5};
    struct blk_throttle throttle;
    struct blk_limits limits;
    unsigned n_changes;

    blk_throttle_init(&throttle, &none);
    g_assert_false(blk_throttle_is_on(&throttle));
    blk_throttle_set(&throttle, &slow);
    g_assert_true(blk_throttle_is_on(&throttle));
    n_changes = throttle.n_changes;
    g_assert_cmpuint(blk_throttle_ask(&throttle, 0, SECOND_NS), ==, 0);
    g_assert_cmpuint(blk_throttle_ask(&throttle, 0, SECOND_NS), >, 0);

    blk_throttle_set(&throttle, &fast);
    g_assert_cmpuint(throttle.n_changes, !=, n_changes);
    blk_throttle_get(&throttle, &limits);
    g_assert_cmpuint(limits.iops, ==, 1000);
    g_assert_cmpuint(limits.iops_burst, ==, 5);
    /* What was used up before counts: there is no new burst for each change. */
    for (unsigned i = 0; i < 4; i++)
        g_assert_cmpuint(blk_throttle_ask(&throttle, 0, SECOND_NS), ==, 0);
    g_assert_cmpuint(blk_throttle_ask(&throttle, 0, SECOND_NS), >, 0);

    blk_throttle_set(&throttle, &none);
    g_assert_false(blk_throttle_is_on(&throttle));
    g_assert_cmpuint(blk_throttle_ask(&throttle, 0, SECOND_NS), ==, 0);
    blk_throttle_finish(&throttle);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/throttle/rates", test_rates);
    g_test_add_func("/throttle/bursts", test_bursts);
    g_test_add_func("/throttle/pause", test_pause);
    g_test_add_func("/throttle/change", test_change);
    return g_test_run();
}
