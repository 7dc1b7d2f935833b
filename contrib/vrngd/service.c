/* SPDX-License-Identifier: Apache-2.0 */
/* See service.h. */
#include "contrib/vrngd/service.h"

#include <stdlib.h>

#include "vhost-user/log.h"

static bool service_is_tested(const struct rng_options *options, const struct rng_source *source)
{
    if (options->health == RNG_HEALTH_AUTO)
        return source->is_raw;
    return options->health == RNG_HEALTH_ON;
}

void rng_service_init(struct rng_service *service, const struct rng_options *options,
                      unsigned n_devices, struct rng_source *source,
                      struct egd_sockets *egd_sockets)
{
    struct egd_server_options egd_options = {
        .instant = source->ops->is_instant ? source : NULL,
    };
    const uint64_t period_ms = (uint64_t)options->period_ms;

    *service = (struct rng_service){
        .source = source,
        .pool = rng_pool_create(),
        .devices = g_new0(struct rng_device, n_devices),
        .n_devices = n_devices,
    };
    service->feeder = rng_feeder_create(service->pool, source);
    if (service_is_tested(options, source))
        rng_feeder_test_health(service->feeder, options->min_entropy);
    egd_options.pool = service->pool;
    egd_options.max_bytes = options->max_bytes;
    egd_options.period_ms = period_ms;
    service->egd = egd_server_create(&egd_options, egd_sockets);
    rng_pool_set_limit(service->pool, options->total_max_bytes, period_ms);
    for (unsigned i = 0; i < n_devices; i++) {
        rng_device_init(&service->devices[i], service, i, n_devices, (unsigned)options->num_queues);
        rng_client_set_limit(service->devices[i].client, options->max_bytes, period_ms);
    }
}

void rng_service_finish(struct rng_service *service)
{
    egd_server_destroy(service->egd);
    for (unsigned i = 0; i < service->n_devices; i++)
        rng_device_finish(&service->devices[i]);
    g_free(service->devices);
    rng_feeder_destroy(service->feeder);
    rng_pool_destroy(service->pool);
}

/* 0 or -errno. */
static int service_serve(struct rng_service *service, const struct vu_daemon_options *daemon,
                         struct vu_daemon_sockets *sockets, int *ret_status)
{
    g_autofree struct vu_device *described = g_new(struct vu_device, service->n_devices);
    g_autofree struct vu_daemon_device *devices =
        g_new(struct vu_daemon_device, service->n_devices);
    int err = rng_feeder_start(service->feeder);

    if (err == 0)
        err = egd_server_start(service->egd);
    for (unsigned i = 0; i < service->n_devices; i++) {
        rng_device_describe(&service->devices[i], &described[i]);
        devices[i] = (struct vu_daemon_device){&described[i], &service->devices[i]};
    }
    if (err == 0)
        *ret_status = vu_daemon_run_devices(daemon, "vrngd", devices, sockets);
    egd_server_stop(service->egd);
    if (!rng_feeder_stop(service->feeder)) {
        /* Its locks and memory cannot be taken down. */
        vu_error("vrngd: %s: hangs, leaving it behind", service->source->name);
        vu_daemon_abandon();
    }
    return err;
}

int rng_service_run(struct rng_service *service, const struct vu_daemon_options *daemon,
                    struct vu_daemon_sockets *sockets)
{
    int status = EXIT_FAILURE, err = service_serve(service, daemon, sockets, &status);

    if (err != 0)
        vu_error("vrngd: cannot start: %s", g_strerror(-err));
    vu_daemon_close_sockets(sockets);
    return status;
}
