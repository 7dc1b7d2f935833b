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

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/throttle/rates", test_rates);
    g_test_add_func("/throttle/bursts", test_bursts);
    g_test_add_func("/throttle/pause", test_pause);
    return g_test_run();
}
