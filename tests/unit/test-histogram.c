/* SPDX-License-Identifier: Apache-2.0 */
/* histogram.h: each duration lies in the bucket whose bounds say so, and percentiles are near. */
#include "vhost-user/histogram.h"

#include <glib.h>

static void check_bucket(uint64_t ns)
{
    unsigned bucket = vu_histogram_bucket(ns);

    g_assert_cmpuint(bucket, <, VU_HISTOGRAM_BUCKETS);
    g_assert_cmpuint(ns, <=, vu_histogram_end(bucket) - 1);
    if (bucket > 0)
        g_assert_cmpuint(ns, >=, vu_histogram_end(bucket - 1));
}

static void test_buckets(void)
{
    for (unsigned shift = 0; shift < 64; shift++)
        for (unsigned part = 0; part < 8; part++) {
            uint64_t ns = (UINT64_C(1) << shift) + ((UINT64_C(1) << shift) >> 3) * part;

            check_bucket(ns - 1);
            check_bucket(ns);
            check_bucket(ns + 1);
        }
    check_bucket(0);
    g_assert_cmpuint(vu_histogram_end(0), ==, 1024);
    g_assert_cmpuint(vu_histogram_bucket(UINT64_MAX - 1), ==, VU_HISTOGRAM_BUCKETS - 1);
    for (unsigned i = 1; i < VU_HISTOGRAM_BUCKETS; i++)
        g_assert_cmpuint(vu_histogram_end(i), >, vu_histogram_end(i - 1));
}

static void test_percentiles(void)
{
    uint64_t counts[VU_HISTOGRAM_BUCKETS] = {0};
    uint64_t p50, p99;

    g_assert_cmpuint(vu_histogram_percentile(counts, 50, 0), ==, 0);
    for (uint64_t us = 1; us <= 1000; us++)
        counts[vu_histogram_bucket(us * 1000)]++;
    p50 = vu_histogram_percentile(counts, 50, 1000000);
    p99 = vu_histogram_percentile(counts, 99, 1000000);
    g_assert_cmpuint(p50, >=, 500000);
    g_assert_cmpuint(p50, <=, 500000 + 500000 / 4);
    g_assert_cmpuint(p99, >=, 990000);
    /* None took longer than the longest. */
    g_assert_cmpuint(p99, <=, 1000000);
    g_assert_cmpuint(vu_histogram_percentile(counts, 100, 1000000), ==, 1000000);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/histogram/buckets", test_buckets);
    g_test_add_func("/histogram/percentiles", test_percentiles);
    return g_test_run();
}
