/* SPDX-License-Identifier: Apache-2.0 */
/* See histogram.h. */
#include "vhost-user/histogram.h"

uint64_t vu_histogram_end(unsigned bucket)
{
    if (bucket >= VU_HISTOGRAM_BUCKETS - 1)
        return UINT64_MAX;
    return (UINT64_C(4) + bucket % 4) << (VU_HISTOGRAM_SHIFT - 2 + bucket / 4);
}

uint64_t vu_histogram_percentile(const uint64_t *counts, double percent, uint64_t max_ns)
{
    uint64_t total = 0, seen = 0;

    for (unsigned i = 0; i < VU_HISTOGRAM_BUCKETS; i++)
        total += counts[i];
    if (total == 0)
        return 0;
    for (unsigned i = 0; i < VU_HISTOGRAM_BUCKETS; i++) {
        uint64_t end = vu_histogram_end(i);

        seen += counts[i];
        if ((double)seen >= (double)total * percent / 100)
            return end < max_ns ? end : max_ns;
    }
    return max_ns;
}
