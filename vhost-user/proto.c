/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The facts of every message by number, and the names of feature bits. Constant tables only.
 */
#include "vhost-user/proto.h"

#define FACTS(number, message, handler, min, max, fds_min, fds_max, reply_kind, feature) \
    [number] = {                                                                         \
        .name = #message,                                                                \
        .min_size = (min),                                                               \
        .max_size = (max),                                                               \
        .min_fds = (fds_min),                                                            \
        .max_fds = (fds_max),                                                            \
        .needs = VU_PF_##feature,                                                        \
        .reply = VU_REPLY_##reply_kind,                                                  \
    },

static const struct vu_request_info proto_requests[VU_REQUEST_MAX + 1] = {
    VU_FRONTEND_REQUESTS(FACTS)};

static const struct vu_request_info proto_backend_requests[VU_BACKEND_REQUEST_MAX + 1] = {
    VU_BACKEND_REQUESTS(FACTS)};

static const char *const proto_features[64] = {
    [VU_F_NOTIFY_ON_EMPTY] = "VIRTIO_F_NOTIFY_ON_EMPTY",
    [VU_F_LOG_ALL] = "VHOST_F_LOG_ALL",
    [VU_F_RING_INDIRECT_DESC] = "VIRTIO_F_INDIRECT_DESC",
    [VU_F_RING_EVENT_IDX] = "VIRTIO_F_EVENT_IDX",
    [VU_F_PROTOCOL_FEATURES] = "VHOST_USER_F_PROTOCOL_FEATURES",
    [VU_F_VERSION_1] = "VIRTIO_F_VERSION_1",
    [VU_F_ACCESS_PLATFORM] = "VIRTIO_F_ACCESS_PLATFORM",
    [VU_F_RING_PACKED] = "VIRTIO_F_RING_PACKED",
    [VU_F_IN_ORDER] = "VIRTIO_F_IN_ORDER",
    [VU_F_ORDER_PLATFORM] = "VIRTIO_F_ORDER_PLATFORM",
    [VU_F_NOTIFICATION_DATA] = "VIRTIO_F_NOTIFICATION_DATA",
    [VU_F_RING_RESET] = "VIRTIO_F_RING_RESET",
};

static const char *const proto_protocol_features[64] = {
    [VU_PF_MQ] = "MQ",
    [VU_PF_LOG_SHMFD] = "LOG_SHMFD",
    [VU_PF_RARP] = "RARP",
    [VU_PF_REPLY_ACK] = "REPLY_ACK",
    [VU_PF_MTU] = "MTU",
    [VU_PF_BACKEND_REQ] = "BACKEND_REQ",
    [VU_PF_CROSS_ENDIAN] = "CROSS_ENDIAN",
    [VU_PF_CRYPTO_SESSION] = "CRYPTO_SESSION",
    [VU_PF_PAGEFAULT] = "PAGEFAULT",
    [VU_PF_CONFIG] = "CONFIG",
    [VU_PF_BACKEND_SEND_FD] = "BACKEND_SEND_FD",
    [VU_PF_HOST_NOTIFIER] = "HOST_NOTIFIER",
    [VU_PF_INFLIGHT_SHMFD] = "INFLIGHT_SHMFD",
    [VU_PF_RESET_DEVICE] = "RESET_DEVICE",
    [VU_PF_INBAND_NOTIFICATIONS] = "INBAND_NOTIFICATIONS",
    [VU_PF_CONFIGURE_MEM_SLOTS] = "CONFIGURE_MEM_SLOTS",
    [VU_PF_STATUS] = "STATUS",
    [VU_PF_XEN_MMAP] = "XEN_MMAP",
    [VU_PF_SHARED_OBJECT] = "SHARED_OBJECT",
    [VU_PF_DEVICE_STATE] = "DEVICE_STATE",
};

const struct vu_request_info *vu_request_info(uint32_t request)
{
    if (request > VU_REQUEST_MAX || !proto_requests[request].name)
        return NULL;
    return &proto_requests[request];
}

const struct vu_request_info *vu_backend_request_info(uint32_t request)
{
    if (request > VU_BACKEND_REQUEST_MAX || !proto_backend_requests[request].name)
        return NULL;
    return &proto_backend_requests[request];
}

const char *vu_feature_name(unsigned bit)
{
    return bit < 64 ? proto_features[bit] : NULL;
}

const char *vu_protocol_feature_name(unsigned bit)
{
    return bit < 64 ? proto_protocol_features[bit] : NULL;
}
