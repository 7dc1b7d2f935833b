/* SPDX-License-Identifier: Apache-2.0 */
/* The two buckets of a device: see throttle.h. */
#include "vblkd/throttle.h"

#include <glib.h>

#include "vhost-user/cleanup.h"

#define THROTTLE_SECOND_NS 1e9
#define THROTTLE_BURST     0.1 /* seconds of the rate, unless said */

/* What is in it stays, as far as it has room: a change is no pause. */
static void throttle_set_bucket(struct blk_bucket *bucket, uint64_t rate, uint64_t burst)
{
    bucket->rate = (double)rate;
    bucket->size = burst == 0 ? MAX(bucket->rate * THROTTLE_BURST, 1) : (double)burst;
    bucket->level = rate == 0 ? 0 : MIN(bucket->level, bucket->size);
}

void blk_throttle_init(struct blk_throttle *throttle, const struct blk_limits *limits)
{
    *throttle = (struct blk_throttle){0};
    pthread_mutex_init(&throttle->lock, NULL);
    blk_throttle_set(throttle, limits);
}

void blk_throttle_set(struct blk_throttle *throttle, const struct blk_limits *limits)
{
    VU_LOCK_SCOPE(&throttle->lock);
    throttle->limits = *limits;
    throttle_set_bucket(&throttle->requests, limits->iops, limits->iops_burst);
    throttle_set_bucket(&throttle->bytes, limits->bps, limits->bps_burst);
    __atomic_store_n(&throttle->is_on, limits->iops > 0 || limits->bps > 0, __ATOMIC_RELAXED);
    __atomic_add_fetch(&throttle->n_changes, 1, __ATOMIC_RELEASE);
}

void blk_throttle_get(struct blk_throttle *throttle, struct blk_limits *ret_limits)
{
    VU_LOCK_SCOPE(&throttle->lock);
    *ret_limits = throttle->limits;
}

void blk_throttle_finish(struct blk_throttle *throttle)
{
    pthread_mutex_destroy(&throttle->lock);
}

static void throttle_leak(struct blk_bucket *bucket, double seconds)
{
    bucket->level = MAX(bucket->level - bucket->rate * seconds, 0);
}

/* Nanoseconds until the bucket is not full. */
static double throttle_wait_ns(const struct blk_bucket *bucket)
{
    if (bucket->rate <= 0 || bucket->level < bucket->size)
        return 0;
    return (bucket->level - bucket->size) / bucket->rate * THROTTLE_SECOND_NS + 1;
}

uint64_t blk_throttle_ask(struct blk_throttle *throttle, uint64_t len, uint64_t now_ns)
{
    double seconds, wait_ns;

    pthread_mutex_lock(&throttle->lock);
    seconds =
        now_ns > throttle->last_ns ? (double)(now_ns - throttle->last_ns) / THROTTLE_SECOND_NS : 0;
    throttle->last_ns = MAX(throttle->last_ns, now_ns);
    throttle_leak(&throttle->requests, seconds);
    throttle_leak(&throttle->bytes, seconds);
    wait_ns = MAX(throttle_wait_ns(&throttle->requests), throttle_wait_ns(&throttle->bytes));
    if (wait_ns <= 0) {
        throttle->requests.level += 1;
        throttle->bytes.level += (double)len;
    }
    pthread_mutex_unlock(&throttle->lock);
    return wait_ns > 0 ? (uint64_t)wait_ns + 1 : 0;
}
