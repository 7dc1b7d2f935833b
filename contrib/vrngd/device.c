/* SPDX-License-Identifier: Apache-2.0 */
/* The device as the vhost-user back-end sees it. It has no configuration space and no features of
 * its own; queue.c has what workers do. */
#include "contrib/vrngd/device.h"

#include <inttypes.h>

#include "vhost-user/log.h"

void rng_device_init(struct rng_device *device, const char *name, struct rng_pool *pool,
                     struct rng_source *source, unsigned n_queues)
{
    *device = (struct rng_device){
        .name = name,
        .pool = pool,
        .client = rng_client_create(pool),
        .instant = source->ops->is_instant ? source : NULL,
        .n_queues = n_queues,
    };
}

void rng_device_finish(struct rng_device *device)
{
    rng_client_destroy(device->client);
}

static void device_quiesce(void *opaque, unsigned queue)
{
    rng_queue_quiesce(opaque, queue);
}

static void device_log_summary(void *opaque)
{
    const struct rng_device *device = opaque;
    const struct rng_counters *counters = &device->counters;

    vu_info("%s: %" PRIu64 " requests, %" PRIu64 " bytes; %" PRIu64 " got less than they had room "
            "for, %" PRIu64 " had to wait",
            device->name, __atomic_load_n(&counters->n_requests, __ATOMIC_RELAXED),
            __atomic_load_n(&counters->n_bytes, __ATOMIC_RELAXED),
            __atomic_load_n(&counters->n_short, __ATOMIC_RELAXED),
            __atomic_load_n(&counters->n_waited, __ATOMIC_RELAXED));
}

void rng_device_describe(const struct rng_device *device, struct vu_device *ret_device)
{
    *ret_device = (struct vu_device){
        .name = device->name,
        .n_queues = device->n_queues,
        .worker = rng_queue_worker_ops,
        .quiesce = device_quiesce,
        .log_summary = device_log_summary,
    };
}
