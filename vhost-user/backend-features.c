/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Negotiation: virtio features, protocol features, number of queues, owner. Session thread.
 */
#include <errno.h>
#include <inttypes.h>

#include "vhost-user/backend-session.h"

static void features_reply_u64(struct backend_call *call, uint64_t value)
{
    call->reply.header.size = sizeof(value);
    call->reply.payload.u64 = value;
}

int backend_get_features(struct vu_backend *backend, struct backend_call *call)
{
    features_reply_u64(call, backend->offered);
    return 0;
}

/* A ring reads its features when it starts; only logging may change under it. */
static void features_stop_rings(struct vu_backend *backend)
{
    for (unsigned i = 0; i < backend->device.n_queues; i++)
        backend_ring_stop(backend, &backend->queues[i], NULL);
}

int backend_set_features(struct vu_backend *backend, struct backend_call *call)
{
    uint64_t features = call->msg.payload.u64;
    uint64_t changed = features ^ backend->features;

    if ((features & ~backend->offered) != 0)
        return backend_refuse(call, -EINVAL, "features that were not offered: %#" PRIx64,
                              features & ~backend->offered);
    /* A driver that comes back without having stopped its rings (User Mode Linux). */
    if ((changed & ~VU_BIT(VU_F_LOG_ALL)) != 0)
        features_stop_rings(backend);
    backend->features = features;
    backend_publish(backend);
    backend_rings_follow_log(backend);
    if (backend->device.set_features)
        backend->device.set_features(backend->opaque, features);
    return 0;
}

int backend_get_protocol_features(struct vu_backend *backend, struct backend_call *call)
{
    features_reply_u64(call, backend->offered_protocol);
    return 0;
}

int backend_set_protocol_features(struct vu_backend *backend, struct backend_call *call)
{
    uint64_t features = call->msg.payload.u64;

    if ((features & ~backend->offered_protocol) != 0)
        return backend_refuse(call, -EINVAL, "features that were not offered: %#" PRIx64,
                              features & ~backend->offered_protocol);
    if (vu_has(features, VU_PF_INBAND_NOTIFICATIONS) &&
        (!vu_has(features, VU_PF_BACKEND_REQ) || !vu_has(features, VU_PF_REPLY_ACK)))
        return backend_refuse(call, -EINVAL,
                              "INBAND_NOTIFICATIONS without BACKEND_REQ and REPLY_ACK");
    if (backend_any_started(backend))
        return backend_refuse(call, -EBUSY, "rings are running");
    backend->protocol_features = features;
    backend_publish(backend);
    return 0;
}

int backend_get_queue_num(struct vu_backend *backend, struct backend_call *call)
{
    features_reply_u64(call, backend->device.n_queues);
    return 0;
}

int backend_set_owner(struct vu_backend *backend, struct backend_call *call)
{
    return 0; /* a connection has one front-end, and that owns it */
}

int backend_reset_owner(struct vu_backend *backend, struct backend_call *call)
{
    return 0; /* deprecated; to be ignored */
}
