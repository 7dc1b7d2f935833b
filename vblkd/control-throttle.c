/* SPDX-License-Identifier: Apache-2.0 */
/* The limits of the device: query-throttle, set-throttle. */
#include "vblkd/control.h"
#include "vblkd/device.h"
#include "vhost-user/daemon/json-build.h"

/* As in the rows of control-table.c: each rate, and then its burst. */
static const struct throttle_field {
    const char *name;
    size_t offset;
} throttle_fields[] = {
    {"iops", offsetof(struct blk_limits, iops)},
    {"iops_max", offsetof(struct blk_limits, iops_burst)},
    {"bps", offsetof(struct blk_limits, bps)},
    {"bps_max", offsetof(struct blk_limits, bps_burst)},
};

static uint64_t *throttle_field(struct blk_limits *limits, const struct throttle_field *field)
{
    return (uint64_t *)((char *)limits + field->offset);
}

JsonNode *blk_control_query_throttle(struct vu_control_call *call, GError **error)
{
    struct blk_device *device = call->opaque;
    JsonBuilder *json = vu_json_begin();
    struct blk_limits limits;

    blk_throttle_get(&device->throttle, &limits);
    for (size_t i = 0; i < G_N_ELEMENTS(throttle_fields); i++)
        vu_json_add_number(json, throttle_fields[i].name,
                           *throttle_field(&limits, &throttle_fields[i]));
    return vu_json_finish(json);
}

JsonNode *blk_control_set_throttle(struct vu_control_call *call, GError **error)
{
    struct blk_device *device = call->opaque;
    struct blk_limits limits;

    blk_throttle_get(&device->throttle, &limits);
    for (size_t i = 0; i < G_N_ELEMENTS(throttle_fields); i++) {
        uint64_t *field = throttle_field(&limits, &throttle_fields[i]);

        *field = (uint64_t)vu_control_int(call, throttle_fields[i].name, (int64_t)*field);
    }
    for (size_t i = 0; i < G_N_ELEMENTS(throttle_fields); i += 2) {
        uint64_t *burst = throttle_field(&limits, &throttle_fields[i + 1]);

        if (*throttle_field(&limits, &throttle_fields[i]) > 0 || *burst == 0)
            continue;
        if (vu_control_int(call, throttle_fields[i + 1].name, 0) > 0)
            return vu_control_fail(error, "%s: expected %s with it", throttle_fields[i + 1].name,
                                   throttle_fields[i].name);
        *burst = 0; /* of a limit that is taken away */
    }
    blk_throttle_set(&device->throttle, &limits);
    return vu_control_nothing();
}
