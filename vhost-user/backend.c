/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of a back-end: created with its device, then one session after another, each left with
 * nothing of the front-end's held. The session thread runs vu_backend_serve.
 */
#include "vhost-user/backend.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>

#include "vhost-user/backend-session.h"
#include "vhost-user/cleanup.h"
#include "vhost-user/log.h"

/* Messages handled before the other descriptors are looked at again. */
#define BACKEND_BATCH 16

static uint64_t backend_offered(const struct vu_device *device)
{
    uint64_t features = device->features | VU_BIT(VU_F_VERSION_1) | VU_BIT(VU_F_LOG_ALL) |
                        VU_BIT(VU_F_RING_INDIRECT_DESC) | VU_BIT(VU_F_RING_EVENT_IDX) |
                        VU_BIT(VU_F_RING_PACKED) | VU_BIT(VU_F_PROTOCOL_FEATURES);

    if (device->in_order)
        features |= VU_BIT(VU_F_IN_ORDER);
    return features;
}

static uint64_t backend_offered_protocol(const struct vu_device *device,
                                         const struct vu_backend_options *options)
{
    uint64_t features = device->protocol_features | VU_BIT(VU_PF_MQ) | VU_BIT(VU_PF_LOG_SHMFD) |
                        VU_BIT(VU_PF_REPLY_ACK) | VU_BIT(VU_PF_BACKEND_REQ) |
                        VU_BIT(VU_PF_BACKEND_SEND_FD) | VU_BIT(VU_PF_INFLIGHT_SHMFD) |
                        VU_BIT(VU_PF_RESET_DEVICE) | VU_BIT(VU_PF_CONFIGURE_MEM_SLOTS) |
                        VU_BIT(VU_PF_STATUS);

    if (device->config_len > 0)
        features |= VU_BIT(VU_PF_CONFIG);
    if (device->save_state && device->load_state)
        features |= VU_BIT(VU_PF_DEVICE_STATE);
    if (options->inband_notifications)
        features |= VU_BIT(VU_PF_INBAND_NOTIFICATIONS);
    if (device->serves_resumed)
        features &= ~VU_BIT(VU_PF_CONFIGURE_MEM_SLOTS);
    return features;
}

struct vu_backend *vu_backend_create(const struct vu_device *device, void *opaque,
                                     const struct vu_backend_options *options)
{
    struct vu_backend *backend = g_new0(struct vu_backend, 1);

    assert(device->n_queues > 0 && device->n_queues <= VU_BACKEND_MAX_QUEUES);
    assert(device->config_len <= VU_CONFIG_MAX);
    backend->device = *device;
    backend->opaque = opaque;
    backend->options = *options;
    backend->offered = backend_offered(device);
    backend->offered_protocol = backend_offered_protocol(device, options);
    backend->queues = g_new0(struct backend_queue, device->n_queues);
    for (unsigned i = 0; i < device->n_queues; i++)
        vu_vring_init(&backend->queues[i].vring, i, device->name);
    pthread_mutex_init(&backend->worker_lock, NULL);
    pthread_mutex_init(&backend->status_lock, NULL);
    backend_requests_init(&backend->requests);
    backend_transfer_init(&backend->transfer);
    backend->channel.fd = -1;
    if (device->attach)
        device->attach(opaque, backend);
    return backend;
}

void vu_backend_destroy(struct vu_backend *backend)
{
    if (!backend)
        return;
    if (backend->device.attach)
        backend->device.attach(backend->opaque, NULL);
    for (unsigned i = 0; i < backend->device.n_queues; i++)
        vu_vring_destroy(&backend->queues[i].vring);
    backend_requests_destroy(&backend->requests);
    pthread_mutex_destroy(&backend->worker_lock);
    pthread_mutex_destroy(&backend->status_lock);
    g_free(backend->queues);
    g_free(backend);
}

struct vu_vring *vu_backend_vring(struct vu_backend *backend, unsigned queue)
{
    return queue < backend->device.n_queues ? &backend->queues[queue].vring : NULL;
}

const struct vu_device *vu_backend_device(const struct vu_backend *backend, void **ret_opaque)
{
    if (ret_opaque)
        *ret_opaque = backend->opaque;
    return &backend->device;
}

/* Leaves the back-end as it was before the first message. Rings first: what they run on goes after
 * them. is_left: by us, and not by the front-end. */
static void backend_tear_down(struct vu_backend *backend, bool is_left)
{
    for (unsigned i = 0; i < backend->device.n_queues; i++) {
        backend_ring_stop(backend, &backend->queues[i], NULL);
        backend_ring_reset(&backend->queues[i]);
    }
    backend_requests_disconnect(&backend->requests);
    backend_transfer_cancel(&backend->transfer);
    backend_transfer_init(&backend->transfer);
    vu_memory_unref(backend->memory);
    vu_dirty_log_unref(backend->log);
    if (backend->inflight)
        vu_inflight_destroy(backend->inflight);
    backend->memory = NULL;
    backend->log = NULL;
    backend->inflight = NULL;
    backend->features = 0;
    backend->protocol_features = 0;
    backend->status = 0;
    backend->was_asked = false;
    backend->n_wrong = 0;
    vu_channel_close(&backend->channel);
    backend_publish(backend);
    if (is_left && backend->device.leave)
        backend->device.leave(backend->opaque);
    else if (backend->device.reset)
        backend->device.reset(backend->opaque);
}

/* Handles what has arrived, a batch at most. 0, or what ends the session. */
static int backend_handle_messages(struct vu_backend *backend, struct backend_call *call)
{
    for (unsigned i = 0; i < BACKEND_BATCH; i++) {
        int r = vu_channel_recv(&backend->channel, &call->msg, 0);

        if (r == -EAGAIN)
            return 0;
        if (r == -EPROTO)
            vu_error("%s: not a vhost-user message, or too many descriptors with it; the front-end "
                     "is disconnected",
                     backend->device.name);
        if (r == 0)
            r = backend_dispatch(backend, call);
        if (r < 0)
            return r;
    }
    return 0;
}

/* Waits for one of the session's descriptors. -ECANCELED: stop_fd is readable. */
static int backend_wait(struct vu_backend *backend, int stop_fd, bool *ret_has_message)
{
    enum { CONNECTION, STOP, TRANSFER, N_FDS };
    struct pollfd fds[N_FDS] = {
        [CONNECTION] = {.fd = backend->channel.fd, .events = POLLIN},
        [STOP] = {.fd = stop_fd, .events = POLLIN},
    };

    fds[TRANSFER].fd = backend_transfer_pollfd(&backend->transfer, &fds[TRANSFER].events);
    *ret_has_message = false;
    if (poll(fds, N_FDS, -1) < 0)
        return errno == EINTR ? 0 : -errno;
    if (fds[STOP].revents != 0)
        return -ECANCELED;
    if (fds[TRANSFER].revents != 0)
        backend_transfer_pump(backend);
    *ret_has_message = fds[CONNECTION].revents != 0;
    return 0;
}

int vu_backend_serve(struct vu_backend *backend, int conn_fd, int stop_fd)
{
    g_autofree struct backend_call *call = g_new0(struct backend_call, 1);
    bool has_message;
    int r;

    vu_channel_init(&backend->channel, conn_fd);
    backend_publish(backend);
    do {
        r = backend_wait(backend, stop_fd, &has_message);
        if (r == 0 && has_message)
            r = backend_handle_messages(backend, call);
    } while (r == 0);
    backend_tear_down(backend, r == -ECANCELED);
    return r == -ECONNRESET || r == -EPIPE ? 0 : r;
}
