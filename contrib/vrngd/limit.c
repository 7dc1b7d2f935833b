/* SPDX-License-Identifier: Apache-2.0 */
/* Windows of bytes: see limit.h. */
#include "contrib/vrngd/limit.h"

#include <glib.h>

#define LIMIT_MS_NS UINT64_C(1000000)

void rng_limit_set(struct rng_limit *limit, uint64_t max_bytes, uint64_t period_ms)
{
    limit->max_bytes = max_bytes;
    limit->period_ns = period_ms * LIMIT_MS_NS;
}

uint64_t rng_limit_left(struct rng_limit *limit, uint64_t now_ns)
{
    /* A thread may have looked at the clock before the one that began the window. */
    uint64_t passed = now_ns > limit->begin_ns ? now_ns - limit->begin_ns : 0;

    if (limit->max_bytes == 0)
        return UINT64_MAX;
    if (limit->begin_ns == 0) {
        limit->begin_ns = now_ns;
        limit->spent = 0;
    } else if (passed >= limit->period_ns) {
        limit->begin_ns += passed - passed % limit->period_ns;
        limit->spent = 0;
    }
    return limit->max_bytes - MIN(limit->spent, limit->max_bytes);
}

void rng_limit_spend(struct rng_limit *limit, uint64_t size)
{
    if (limit->max_bytes > 0)
        limit->spent += size;
}

uint64_t rng_limit_end_ns(const struct rng_limit *limit)
{
    return limit->begin_ns + limit->period_ns;
}
