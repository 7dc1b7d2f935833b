/* SPDX-License-Identifier: Apache-2.0 */
/* The two buckets of a device: see throttle.h. */
#include "vblkd/throttle.h"

#include <glib.h>

#define THROTTLE_SECOND_NS 1e9
#define THROTTLE_BURST     0.1 /* seconds of the rate, unless said */

static struct blk_bucket throttle_bucket(uint64_t rate, uint64_t burst)
{
    struct blk_bucket bucket = {.rate = (double)rate, .size = (double)burst};

    if (burst == 0)
        bucket.size = MAX(bucket.rate * THROTTLE_BURST, 1);
    return bucket;
}

void blk_throttle_init(struct blk_throttle *throttle, const struct blk_limits *limits)
{
    *throttle = (struct blk_throttle){
        .requests = throttle_bucket(limits->iops, limits->iops_burst),
        .bytes = throttle_bucket(limits->bps, limits->bps_burst),
    };
    pthread_mutex_init(&throttle->lock, NULL);
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
