/* SPDX-License-Identifier: Apache-2.0 */
/* The device as the vhost-user back-end sees it. It has no configuration space and no features of
 * its own; queue.c has what workers do. */
#include "contrib/vrngd/device.h"

#include <inttypes.h>

#include "contrib/vrngd/service.h"
#include "vhost-user/log.h"

void rng_device_init(struct rng_device *device, struct rng_service *service, unsigned number,
                     unsigned n_devices, unsigned n_queues)
{
    struct rng_source *source = service->source;

    *device = (struct rng_device){
        .name = n_devices > 1 ? g_strdup_printf("vrngd: device %u", number) : g_strdup("vrngd"),
        .service = service,
        .client = rng_client_create(service->pool),
        .instant = source->ops->is_instant ? source : NULL,
        .n_queues = n_queues,
    };
    for (unsigned i = 0; i < RNG_MAX_QUEUES; i++)
        device->queues[i].device = device;
}

void rng_device_finish(struct rng_device *device)
{
    rng_client_destroy(device->client);
    for (unsigned i = 0; i < RNG_MAX_QUEUES; i++)
        vu_counters_destroy(device->queues[i].counters);
    g_free(device->name);
}

static void device_quiesce(void *opaque, unsigned queue)
{
    rng_queue_quiesce(opaque, queue);
}

/* Of what all devices have in common, once. */
static void device_log_summary(void *opaque)
{
    const struct rng_device *device = opaque;
    const struct rng_service *service = device->service;
    struct rng_feeder_status status;

    if (device != &service->devices[0] || device->instant)
        return;
    rng_feeder_get_status(service->feeder, &status);
    vu_info("vrngd: %s: %s; %" PRIu64 " bytes read, %" PRIu64 " failures, %" PRIu64 " alarms",
            service->source->name, rng_feeder_state(&status), status.n_bytes, status.n_failures,
            status.n_alarms);
}

void rng_device_describe(const struct rng_device *device, struct vu_device *ret_device)
{
    *ret_device = (struct vu_device){
        .name = device->name,
        .n_queues = device->n_queues,
        .serves_resumed = true,
        .worker = rng_queue_worker_ops,
        .quiesce = device_quiesce,
        .commands = &rng_control_table,
        .stats = &rng_stats,
        .log_summary = device_log_summary,
        .collect_metrics = rng_metrics_collect,
    };
}
