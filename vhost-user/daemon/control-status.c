/* SPDX-License-Identifier: Apache-2.0 */
/* See control-status.h. */
#include "vhost-user/daemon/control-status.h"

#include <inttypes.h>

#include "vhost-user/daemon/json-build.h"
#include "vhost-user/proto.h"

static const struct vu_feature_name status_ring_features[] = {
    {VU_F_LOG_ALL, "LOG_ALL"},
    {VU_F_RING_INDIRECT_DESC, "RING_INDIRECT_DESC"},
    {VU_F_RING_EVENT_IDX, "RING_EVENT_IDX"},
    {VU_F_PROTOCOL_FEATURES, "PROTOCOL_FEATURES"},
    {VU_F_VERSION_1, "VERSION_1"},
    {VU_F_RING_PACKED, "RING_PACKED"},
    {VU_F_IN_ORDER, "IN_ORDER"},
};

static const struct vu_feature_name status_protocol_features[] = {
    {VU_PF_MQ, "MQ"},
    {VU_PF_LOG_SHMFD, "LOG_SHMFD"},
    {VU_PF_REPLY_ACK, "REPLY_ACK"},
    {VU_PF_BACKEND_REQ, "BACKEND_REQ"},
    {VU_PF_CONFIG, "CONFIG"},
    {VU_PF_BACKEND_SEND_FD, "BACKEND_SEND_FD"},
    {VU_PF_INFLIGHT_SHMFD, "INFLIGHT_SHMFD"},
    {VU_PF_RESET_DEVICE, "RESET_DEVICE"},
    {VU_PF_INBAND_NOTIFICATIONS, "INBAND_NOTIFICATIONS"},
    {VU_PF_CONFIGURE_MEM_SLOTS, "CONFIGURE_MEM_SLOTS"},
    {VU_PF_STATUS, "STATUS"},
    {VU_PF_DEVICE_STATE, "DEVICE_STATE"},
};

static void status_add_names(JsonBuilder *json, uint64_t features,
                             const struct vu_feature_name *names, size_t n_names)
{
    for (size_t i = 0; i < n_names; i++)
        if (vu_has(features, names[i].bit))
            json_builder_add_string_value(json, names[i].name);
}

/* Adds the rings that run; their number is told by the array's length. */
static void status_add_queues(JsonBuilder *json, struct vu_backend *backend)
{
    struct vu_queue_status queue;

    vu_json_begin_array(json, "queues");
    for (unsigned i = 0; vu_backend_get_queue(backend, i, &queue); i++) {
        if (!queue.is_started)
            continue;
        json_builder_begin_object(json);
        vu_json_add_number(json, "queue", i);
        vu_json_add_number(json, "size", queue.size);
        vu_json_add_bool(json, "enabled", queue.is_enabled);
        vu_json_add_bool(json, "broken", queue.is_broken);
        json_builder_end_object(json);
    }
    json_builder_end_array(json);
}

void vu_control_add_front_end(JsonBuilder *json, struct vu_backend *backend,
                              const struct vu_feature_name *names, size_t n_names)
{
    struct vu_backend_status status;
    char features[32];

    vu_backend_get_status(backend, &status);
    vu_json_begin_object(json, "front-end");
    vu_json_add_bool(json, "connected", status.is_connected);
    vu_json_add_number(json, "sessions", status.n_sessions);
    if (status.is_connected) {
        /* From within a pid namespace those outside have no number. */
        if (status.peer_pid > 0) {
            vu_json_add_number(json, "pid", (uint64_t)status.peer_pid);
            vu_json_add_number(json, "uid", status.peer_uid);
        }
        g_snprintf(features, sizeof(features), "0x%" PRIx64, status.features);
        vu_json_add_text(json, "features", features);
        vu_json_begin_array(json, "feature-names");
        status_add_names(json, status.features, names, n_names);
        status_add_names(json, status.features, status_ring_features,
                         G_N_ELEMENTS(status_ring_features));
        json_builder_end_array(json);
        vu_json_begin_array(json, "protocol-features");
        status_add_names(json, status.protocol_features, status_protocol_features,
                         G_N_ELEMENTS(status_protocol_features));
        json_builder_end_array(json);
        status_add_queues(json, backend);
    }
    json_builder_end_object(json);
}

void vu_control_add_ring(JsonBuilder *json, const struct vu_queue_status *queue)
{
    vu_json_add_number(json, "kicks", queue->stats.n_kicks);
    vu_json_add_number(json, "notifications", queue->stats.n_notifies);
    vu_json_add_number(json, "polls_won", queue->stats.n_polls_won);
}
