/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Limits of requests and bytes a second, over all queues of a device: buckets that leak. A request
 * passes while its bucket is not full, and then fills it by what it costs, so that after a pause a
 * burst passes at once.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct blk_limits {
    uint64_t iops, bps;             /* a second; 0: no limit */
    uint64_t iops_burst, bps_burst; /* that pass at once after a pause; 0: of a tenth of a second */
};

struct blk_bucket {
    double rate, size, level;
};

struct blk_throttle {
    pthread_mutex_t lock; /* guards the rest */
    struct blk_bucket requests, bytes;
    uint64_t last_ns;
};

static inline bool blk_limits_any(const struct blk_limits *limits)
{
    return limits->iops > 0 || limits->bps > 0;
}

void blk_throttle_init(struct blk_throttle *throttle, const struct blk_limits *limits);
void blk_throttle_finish(struct blk_throttle *throttle);
/* 0: a request of len bytes passes now, and is counted. Else the nanoseconds after which it is
 * worth asking again. now_ns is a clock that does not go back. Any thread. */
uint64_t blk_throttle_ask(struct blk_throttle *throttle, uint64_t len, uint64_t now_ns);
