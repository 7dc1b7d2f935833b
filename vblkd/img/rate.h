/* SPDX-License-Identifier: Apache-2.0 */
/* No more than so many bytes a second, by several threads together. */
#pragma once

#include <glib.h>
#include <pthread.h>
#include <stdint.h>

struct img_rate {
    uint64_t bytes; /* a second; 0: any */
    pthread_mutex_t lock;
    gint64 next; /* under `lock`: from when on more is allowed, us */
};

static inline void img_rate_init(struct img_rate *rate, uint64_t bytes)
{
    *rate = (struct img_rate){.bytes = bytes};
    pthread_mutex_init(&rate->lock, NULL);
}

static inline void img_rate_finish(struct img_rate *rate)
{
    pthread_mutex_destroy(&rate->lock);
}

/* Before `len` bytes are moved: waits until that is allowed. Any thread. */
static inline void img_rate_wait(struct img_rate *rate, uint64_t len)
{
    gint64 now = g_get_monotonic_time(), start;

    if (rate->bytes == 0)
        return;
    pthread_mutex_lock(&rate->lock);
    start = MAX(now, rate->next);
    rate->next = start + (gint64)((double)len * G_USEC_PER_SEC / (double)rate->bytes);
    pthread_mutex_unlock(&rate->lock);
    if (start > now)
        g_usleep((gulong)(start - now));
}
