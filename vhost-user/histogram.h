/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Histograms of durations: from a microsecond to a minute, four buckets to each doubling, so that a
 * percentile is off by an eighth at most.
 *
 *   bucket 0           below 1024 ns
 *   bucket 1 + 4k + q  from 2^(10+k) * (1 + q/4) ns on
 *   the last           all that is longer, too
 */
#pragma once

#include <stdint.h>

#define VU_HISTOGRAM_SHIFT   10 /* log2 of where bucket 1 begins */
#define VU_HISTOGRAM_OCTAVES 26
#define VU_HISTOGRAM_BUCKETS (1 + 4 * VU_HISTOGRAM_OCTAVES)

static inline unsigned vu_histogram_bucket(uint64_t ns)
{
    unsigned log2, bucket;

    if (ns >> VU_HISTOGRAM_SHIFT == 0)
        return 0;
    log2 = 63 - (unsigned)__builtin_clzll(ns);
    bucket = 1 + 4 * (log2 - VU_HISTOGRAM_SHIFT) + (unsigned)((ns >> (log2 - 2)) & 3);
    return bucket < VU_HISTOGRAM_BUCKETS ? bucket : VU_HISTOGRAM_BUCKETS - 1;
}

/* The first duration beyond a bucket; UINT64_MAX of the last. */
uint64_t vu_histogram_end(unsigned bucket);
/* What `percent` of all durations are not longer than, as far as can be told; 0 where there are
 * none. counts: VU_HISTOGRAM_BUCKETS of them. max_ns: the longest there was. */
uint64_t vu_histogram_percentile(const uint64_t *counts, double percent, uint64_t max_ns);
