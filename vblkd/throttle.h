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
    struct blk_limits limits; /* as they were set */
    unsigned n_changes;       /* atomic: grows with every change of the limits */
    bool is_on;               /* atomic: there are limits */
};

void blk_throttle_init(struct blk_throttle *throttle, const struct blk_limits *limits);
void blk_throttle_finish(struct blk_throttle *throttle);
/* Other limits from now on; what was told to wait asks again when it sees n_changes. Any thread. */
void blk_throttle_set(struct blk_throttle *throttle, const struct blk_limits *limits);
void blk_throttle_get(struct blk_throttle *throttle, struct blk_limits *ret_limits);
static inline bool blk_throttle_is_on(const struct blk_throttle *throttle)
{
    return __atomic_load_n(&throttle->is_on, __ATOMIC_RELAXED);
}
/* 0: a request of len bytes passes now, and is counted. Else the nanoseconds after which it is
 * worth asking again. now_ns is a clock that does not go back. Any thread. */
uint64_t blk_throttle_ask(struct blk_throttle *throttle, uint64_t len, uint64_t now_ns);
