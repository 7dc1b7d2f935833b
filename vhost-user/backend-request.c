/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The back-end's own requests, on the socket that SET_BACKEND_REQ_FD brings: the configuration
 * changed; in-band notifications of rings. Any thread sends, one at a time. A front-end that does
 * not read, or does not answer in time, loses this channel and nothing else. vhost-user: "Back-end
 * communication", "In-band notifications".
 */
#include <errno.h>
#include <glib.h>

#include "vhost-user/backend-session.h"
#include "vhost-user/cleanup.h"
#include "vhost-user/log.h"

#define REQUEST_TIMEOUT_MS 1000 /* a worker may be waiting */

void backend_requests_init(struct backend_requests *requests)
{
    pthread_mutex_init(&requests->lock, NULL);
    requests->connected = false;
}

void backend_requests_destroy(struct backend_requests *requests)
{
    pthread_mutex_destroy(&requests->lock);
}

static void request_disconnect_locked(struct backend_requests *requests)
{
    if (requests->connected)
        vu_channel_close(&requests->channel);
    requests->connected = false;
}

void backend_requests_disconnect(struct backend_requests *requests)
{
    VU_LOCK_SCOPE(&requests->lock);
    request_disconnect_locked(requests);
}

/* Takes over fd. */
static void request_connect(struct backend_requests *requests, int fd, uint64_t protocol_features)
{
    VU_LOCK_SCOPE(&requests->lock);
    request_disconnect_locked(requests);
    vu_channel_init(&requests->channel, fd);
    requests->connected = true;
    requests->config = vu_has(protocol_features, VU_PF_CONFIG);
}

int backend_set_backend_req_fd(struct vu_backend *backend, struct backend_call *call)
{
    request_connect(&backend->requests, vu_message_take_fd(&call->msg, 0),
                    backend->protocol_features);
    return 0;
}

static int request_wait_ack_locked(struct backend_requests *requests, uint32_t request)
{
    struct vu_message ack;
    int r = vu_channel_recv(&requests->channel, &ack, REQUEST_TIMEOUT_MS);

    if (r < 0)
        return r;
    vu_message_close_fds(&ack);
    if (ack.header.request != request || (ack.header.flags & VU_FLAG_REPLY) == 0 ||
        ack.header.size != sizeof(uint64_t))
        return -EPROTO;
    return 0; /* whether it could do anything with it is its own business */
}

/* Sends a request; the channel is given up on failure, for half a message may have gone out. */
static int request_send_locked(struct vu_backend *backend, const struct vu_message *msg)
{
    struct backend_requests *requests = &backend->requests;
    int r = vu_channel_send(&requests->channel, msg, REQUEST_TIMEOUT_MS);

    if (r == 0 && (msg->header.flags & VU_FLAG_NEED_REPLY) != 0)
        r = request_wait_ack_locked(requests, msg->header.request);
    if (r < 0) {
        vu_warning("%s: %s to the front-end failed, no more will be sent: %s", backend->device.name,
                   vu_backend_request_info(msg->header.request)->name, g_strerror(-r));
        request_disconnect_locked(requests);
    }
    return r;
}

int vu_backend_config_changed(struct vu_backend *backend)
{
    struct vu_message msg = {
        .header = {.request = VU_BACKEND_CONFIG_CHANGE, .flags = VU_VERSION},
    };

    VU_LOCK_SCOPE(&backend->requests.lock);
    if (!backend->requests.connected || !backend->requests.config)
        return -ENOTCONN;
    return request_send_locked(backend, &msg) < 0 ? -ENOTCONN : 0;
}

/* INBAND_NOTIFICATIONS comes with REPLY_ACK only, and asks for it to be used. */
static void request_notify(struct vu_backend *backend, uint32_t request, unsigned index)
{
    struct vu_message msg = {
        .header = {.request = request,
                   .flags = VU_VERSION | VU_FLAG_NEED_REPLY,
                   .size = sizeof(struct vu_vring_state)},
        .payload.state = {.index = index},
    };

    VU_LOCK_SCOPE(&backend->requests.lock);
    if (backend->requests.connected)
        request_send_locked(backend, &msg);
}

void backend_inband_call(void *opaque, unsigned index)
{
    request_notify(opaque, VU_BACKEND_VRING_CALL, index);
}

void backend_inband_err(void *opaque, unsigned index)
{
    request_notify(opaque, VU_BACKEND_VRING_ERR, index);
}
