/* SPDX-License-Identifier: Apache-2.0 */
/* The source's state, what waits for it, and the EGD server, to Prometheus. */
#include "vhost-user/daemon/metrics.h"
#include "contrib/vrngd/service.h"

static void metrics_add_one(GString *text, const char *name, const char *type, const char *help,
                            uint64_t value)
{
    vu_metrics_begin(text, name, type, help);
    vu_metrics_add(text, name, NULL, value);
}

static void metrics_add_source(GString *text, struct rng_feeder *feeder)
{
    struct rng_feeder_status status;

    rng_feeder_get_status(feeder, &status);
    metrics_add_one(text, "outboard_rng_source_bytes_total", "counter",
                    "Bytes read from a source that is not instant.", status.n_bytes);
    metrics_add_one(text, "outboard_rng_source_failures_total", "counter",
                    "Times that the source failed, or was at its end.", status.n_failures);
    metrics_add_one(text, "outboard_rng_source_waiting", "gauge",
                    "Whether requests wait for a source that has failed.", status.problem != 0);
    metrics_add_one(text, "outboard_rng_health_alarms_total", "counter",
                    "Alarms of the health tests.", status.n_alarms);
    metrics_add_one(text, "outboard_rng_health_alarm", "gauge",
                    "Whether there was an alarm since the source has passed its tests.",
                    status.alarm != RNG_HEALTH_GOOD);
    metrics_add_one(text, "outboard_rng_source_stopped", "gauge",
                    "Whether the source was stopped by alarms.", status.is_stopped);
}

static void metrics_add_devices(GString *text, struct rng_service *service)
{
    static const char waiting[] = "outboard_rng_waiting_requests";
    static const char shortened[] = "outboard_rng_short_requests_total";
    char labels[VU_METRICS_DEVICE_LEN];

    vu_metrics_begin(text, waiting, "gauge", "Requests that wait for the source or for limits.");
    for (unsigned i = 0; i < service->n_devices; i++)
        vu_metrics_add(text, waiting, vu_metrics_device(labels, i, service->n_devices),
                       rng_client_n_waiting(service->devices[i].client));
    vu_metrics_begin(text, shortened, "counter", "Requests that got less than they had room for.");
    for (unsigned i = 0; i < service->n_devices; i++) {
        uint64_t n = 0;

        for (unsigned k = 0; k < RNG_MAX_QUEUES; k++)
            n += __atomic_load_n(&service->devices[i].queues[k].n_short, __ATOMIC_RELAXED);
        vu_metrics_add(text, shortened, vu_metrics_device(labels, i, service->n_devices), n);
    }
}

static void metrics_add_egd(GString *text, const struct egd_server *egd)
{
    struct egd_server_status status;

    if (!egd)
        return;
    egd_server_get_status(egd, &status);
    metrics_add_one(text, "outboard_egd_clients", "gauge", "EGD clients that are connected.",
                    status.n_clients);
    metrics_add_one(text, "outboard_egd_bytes_total", "counter", "Random bytes sent to them.",
                    status.n_bytes);
    metrics_add_one(text, "outboard_egd_accepted_total", "counter", "EGD clients so far.",
                    status.n_accepted);
    metrics_add_one(text, "outboard_egd_refused_total", "counter",
                    "EGD clients for which there was no place.", status.n_refused);
}

void rng_metrics_collect(void *device, struct vu_backend *backend, GString *text)
{
    struct rng_service *service = ((const struct rng_device *)device)->service;

    metrics_add_source(text, service->feeder);
    metrics_add_devices(text, service);
    metrics_add_egd(text, service->egd);
}
