/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A limit of bytes: so many in each window of so many milliseconds, as QEMU's virtio-rng has it.
 * Windows follow each other without a gap from the first use on, so that who always wants more gets
 * exactly the limit, however late somebody looks. What a window did not use is lost.
 *
 * No thread of its own and no lock: the pool's.
 */
#pragma once

#include <stdint.h>

struct rng_limit {
    uint64_t max_bytes; /* in a window; 0: no limit */
    uint64_t period_ns;
    uint64_t begin_ns; /* of the window; 0: none has begun */
    uint64_t spent;    /* in it */
};

/* Other figures from now on; the present window, and what was spent in it, stays. period_ms > 0. */
void rng_limit_set(struct rng_limit *limit, uint64_t max_bytes, uint64_t period_ms);
/* Bytes that may be given out at now_ns; UINT64_MAX without a limit. A window that has begun stays,
 * where now_ns is before it: threads look at the clock before they have the lock. */
uint64_t rng_limit_left(struct rng_limit *limit, uint64_t now_ns);
/* No more than are left. */
void rng_limit_spend(struct rng_limit *limit, uint64_t size);
/* When the window ends. */
uint64_t rng_limit_end_ns(const struct rng_limit *limit);
