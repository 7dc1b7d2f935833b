/* SPDX-License-Identifier: Apache-2.0 */
/* The commands of vrngd on its control socket, beside those of every daemon. */
#include <string.h>

#include "contrib/vrngd/service.h"
#include "vhost-user/daemon/control-status.h"
#include "vhost-user/daemon/json-build.h"

#define CONTROL_MS_NS 1000000

static struct rng_service *control_service(const struct vu_control_call *call)
{
    return ((const struct rng_device *)call->opaque)->service;
}

/* --- query-status --- */

static void control_add_source(JsonBuilder *json, struct rng_service *service)
{
    struct rng_feeder_status status;

    rng_feeder_get_status(service->feeder, &status);
    vu_json_begin_object(json, "source");
    vu_json_add_text(json, "name", service->source->name);
    vu_json_add_text(json, "state", rng_feeder_state(&status));
    if (status.problem != 0)
        vu_json_add_text(json, "problem", status.problem_text);
    vu_json_add_bool(json, "instant", service->source->ops->is_instant);
    vu_json_add_bool(json, "raw", service->source->is_raw);
    vu_json_add_bool(json, "tested", status.is_tested);
    if (status.is_tested) {
        vu_json_add_number(json, "alarms", status.n_alarms);
        if (status.alarm != RNG_HEALTH_GOOD)
            vu_json_add_text(json, "alarm", rng_health_alarms[status.alarm]);
    }
    vu_json_add_number(json, "bytes", status.n_bytes);
    vu_json_add_number(json, "failures", status.n_failures);
    json_builder_end_object(json);
}

static void control_add_device(JsonBuilder *json, struct rng_device *device, unsigned number,
                               struct vu_backend *backend)
{
    json_builder_begin_object(json);
    vu_json_add_number(json, "device", number);
    vu_json_add_number(json, "waiting", rng_client_n_waiting(device->client));
    vu_control_add_front_end(json, backend, NULL, 0);
    json_builder_end_object(json);
}

static void control_add_egd(JsonBuilder *json, const struct egd_server *egd)
{
    struct egd_server_status status;

    if (!egd)
        return;
    egd_server_get_status(egd, &status);
    vu_json_begin_object(json, "egd");
    vu_json_add_number(json, "clients", status.n_clients);
    vu_json_add_number(json, "accepted", status.n_accepted);
    vu_json_add_number(json, "refused", status.n_refused);
    vu_json_add_number(json, "bytes", status.n_bytes);
    json_builder_end_object(json);
}

static JsonNode *control_query_status(struct vu_control_call *call, GError **error)
{
    struct rng_service *service = control_service(call);
    JsonBuilder *json = vu_json_begin();

    control_add_source(json, service);
    vu_json_begin_array(json, "devices");
    for (unsigned i = 0; i < service->n_devices; i++)
        control_add_device(json, &service->devices[i], i, call->backends[i]);
    json_builder_end_array(json);
    control_add_egd(json, service->egd);
    /* As other daemons have it, which have one. */
    vu_control_add_front_end(json, call->backend, NULL, 0);
    return vu_json_finish(json);
}

/* --- limits --- */

static JsonNode *control_query_throttle(struct vu_control_call *call, GError **error)
{
    struct rng_service *service = control_service(call);
    JsonBuilder *json = vu_json_begin();
    struct rng_limit limit;

    rng_pool_get_limit(service->pool, &limit);
    vu_json_add_number(json, "total-max-bytes", limit.max_bytes);
    vu_json_add_number(json, "total-period", limit.period_ns / CONTROL_MS_NS);
    vu_json_begin_array(json, "devices");
    for (unsigned i = 0; i < service->n_devices; i++) {
        rng_client_get_limit(service->devices[i].client, &limit);
        json_builder_begin_object(json);
        vu_json_add_number(json, "device", i);
        vu_json_add_number(json, "max-bytes", limit.max_bytes);
        vu_json_add_number(json, "period", limit.period_ns / CONTROL_MS_NS);
        json_builder_end_object(json);
    }
    json_builder_end_array(json);
    if (service->egd) {
        uint64_t max_bytes, period_ms;

        egd_server_get_limit(service->egd, &max_bytes, &period_ms);
        vu_json_begin_object(json, "egd-client");
        vu_json_add_number(json, "max-bytes", max_bytes);
        vu_json_add_number(json, "period", period_ms);
        json_builder_end_object(json);
    }
    return vu_json_finish(json);
}

static void control_set_device(const struct vu_control_call *call, struct rng_device *device)
{
    struct rng_limit limit;
    int64_t max_bytes, period_ms;

    rng_client_get_limit(device->client, &limit);
    max_bytes = vu_control_int(call, "max-bytes", (int64_t)limit.max_bytes);
    period_ms = vu_control_int(call, "period", (int64_t)(limit.period_ns / CONTROL_MS_NS));
    rng_client_set_limit(device->client, (uint64_t)max_bytes, (uint64_t)period_ms);
}

/* Of EGD clients: as of a device. */
static void control_set_egd(const struct vu_control_call *call, struct egd_server *egd)
{
    uint64_t max_bytes, period_ms;

    egd_server_get_limit(egd, &max_bytes, &period_ms);
    max_bytes = (uint64_t)vu_control_int(call, "max-bytes", (int64_t)max_bytes);
    period_ms = (uint64_t)vu_control_int(call, "period", (int64_t)period_ms);
    egd_server_set_limit(egd, max_bytes, period_ms);
}

static JsonNode *control_set_throttle(struct vu_control_call *call, GError **error)
{
    struct rng_service *service = control_service(call);
    int64_t only = vu_control_int(call, "device", -1), max_bytes, period_ms;
    struct rng_limit limit;

    if (only >= (int64_t)service->n_devices)
        return vu_control_fail(error, "device: there are %u", service->n_devices);
    for (unsigned i = 0; i < service->n_devices; i++)
        if (only < 0 || only == (int64_t)i)
            control_set_device(call, &service->devices[i]);
    if (only < 0 && service->egd)
        control_set_egd(call, service->egd);
    rng_pool_get_limit(service->pool, &limit);
    max_bytes = vu_control_int(call, "total-max-bytes", (int64_t)limit.max_bytes);
    period_ms = (int64_t)(limit.period_ns / CONTROL_MS_NS);
    if (only < 0)
        period_ms = vu_control_int(call, "period", period_ms);
    rng_pool_set_limit(service->pool, (uint64_t)max_bytes, (uint64_t)period_ms);
    return vu_control_nothing();
}

/* --- the source --- */

static JsonNode *control_restart_source(struct vu_control_call *call, GError **error)
{
    rng_feeder_restart(control_service(call)->feeder);
    return vu_control_nothing();
}

/* --- rows --- */

#define CONTROL_NUMBER(n, least, most, text)                                               \
    {                                                                                      \
        .name = (n), .type = VU_CONTROL_INT, .min = (least), .max = (most), .help = (text) \
    }

static const struct vu_control_argument control_throttle[] = {
    CONTROL_NUMBER("device", 0, VU_DAEMON_MAX_DEVICES - 1,
                   "The device whose limit it is; without it, all of them, and each EGD client."),
    CONTROL_NUMBER("max-bytes", 0, INT64_MAX,
                   "Most bytes for a device, or an EGD client, in a period; 0: no limit."),
    CONTROL_NUMBER("period", 1, 65536, "Milliseconds of a period."),
    CONTROL_NUMBER("total-max-bytes", 0, INT64_MAX,
                   "Most bytes for all devices in a period; 0: no limit."),
};

static const struct vu_control_command control_commands[] = {
    {.name = "query-status",
     .help = "The source, how it does, and the front-end of each device.",
     .run = control_query_status},
    {.name = "query-throttle",
     .help = "The limits of each device, of an EGD client, and of all together.",
     .run = control_query_throttle},
    {.name = "set-throttle",
     .help = "Other limits from now on; what is not given stays as it is.",
     .arguments = control_throttle,
     .n_arguments = G_N_ELEMENTS(control_throttle),
     .run = control_set_throttle},
    {.name = "restart-source",
     .help = "Begin anew with the source, and with its health tests: also where it was stopped.",
     .run = control_restart_source},
};

const struct vu_control_table rng_control_table = {control_commands,
                                                   G_N_ELEMENTS(control_commands)};
