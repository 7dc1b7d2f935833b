/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One request at a time: send, wait, check the reply; and the requests that come the other way,
 * which are served while we wait, so that the two sides never wait for each other. Runs on the
 * calling thread, under the session's lock. vhost-user: "Communication".
 */
#include <errno.h>
#include <glib.h>
#include <poll.h>

#include "vhost-user/cleanup.h"
#include "vhost-user/cpu.h"
#include "vhost-user/frontend-session.h"
#include "vhost-user/log.h"

/* Replies that are not exactly one u64 (or something as long) without a descriptor. */
struct frontend_reply {
    uint16_t min_size, max_size;
    uint8_t max_fds;
};

static const struct frontend_reply frontend_replies[VU_REQUEST_MAX + 1] = {
    [VU_GET_CONFIG] = {0, sizeof(struct vu_config), 0},
    [VU_GET_INFLIGHT_FD] = {20, sizeof(struct vu_inflight_desc), 1},
    [VU_SET_DEVICE_STATE_FD] = {8, 8, 1},
    [VU_SET_LOG_BASE] = {0, 16, 0},
};

void frontend_hang_up_locked(struct vu_frontend *frontend)
{
    VU_LOCK_SCOPE(&frontend->socket_lock);

    if (frontend->connected)
        vu_channel_close(&frontend->channel);
    if (frontend->has_backend)
        vu_channel_close(&frontend->backend);
    frontend->connected = frontend->has_backend = false;
    frontend->n_shared = 0;
}

bool frontend_is_interrupted(struct vu_frontend *frontend)
{
    VU_LOCK_SCOPE(&frontend->socket_lock);

    return frontend->is_interrupted;
}

int frontend_fail_locked(struct vu_frontend *frontend, int rc, const char *doing)
{
    if (frontend->connected && !frontend_is_interrupted(frontend))
        vu_warning("%s: lost the back-end (%s): %s", frontend->config.name, doing, g_strerror(-rc));
    frontend_hang_up_locked(frontend);
    return rc;
}

/* --- the back-end's requests --- */

static void frontend_on_config_change(struct vu_frontend *frontend, const struct vu_message *msg)
{
    if (frontend->config.ops.config_changed)
        frontend->config.ops.config_changed(frontend->config.opaque);
}

static void frontend_on_vring_call(struct vu_frontend *frontend, const struct vu_message *msg)
{
    if (frontend->config.ops.vring_call && msg->payload.state.index < VU_FRONTEND_MAX_QUEUES)
        frontend->config.ops.vring_call(frontend->config.opaque, msg->payload.state.index);
}

static void frontend_on_vring_err(struct vu_frontend *frontend, const struct vu_message *msg)
{
    if (frontend->config.ops.vring_err && msg->payload.state.index < VU_FRONTEND_MAX_QUEUES)
        frontend->config.ops.vring_err(frontend->config.opaque, msg->payload.state.index);
}

typedef void (*frontend_handler)(struct vu_frontend *frontend, const struct vu_message *msg);

#define HANDLER(number, name, handler, ...) [number] = frontend_on_##handler,
static const frontend_handler frontend_handlers[VU_BACKEND_REQUEST_MAX + 1] = {
    VU_BACKEND_REQUESTS(HANDLER)};

static int frontend_handle_backend(struct vu_frontend *frontend, struct vu_message *msg)
{
    const struct vu_request_info *info = vu_backend_request_info(msg->header.request);

    if ((msg->header.flags & VU_VERSION_MASK) != VU_VERSION ||
        (msg->header.flags & VU_FLAG_REPLY) != 0)
        return -EPROTO;
    if (!info || msg->n_fds > info->max_fds ||
        (info->needs != VU_PF_NONE && !frontend_has_locked(frontend, info->needs)))
        return -ENOTSUP;
    if (msg->header.size < info->min_size || msg->header.size > info->max_size)
        return -EPROTO;
    frontend_handlers[msg->header.request](frontend, msg);
    return 0;
}

int frontend_serve_backend_locked(struct vu_frontend *frontend)
{
    struct vu_message msg, answer;
    int rc;

    if (!frontend->has_backend)
        return -EAGAIN;
    rc = vu_channel_recv(&frontend->backend, &msg, 0);
    if (rc == -EAGAIN)
        return rc;
    if (rc == -ECONNRESET) { /* it may do without */
        vu_channel_close(&frontend->backend);
        frontend->has_backend = false;
        return 0;
    }
    if (rc < 0)
        return frontend_fail_locked(frontend, rc, "its request channel");
    rc = frontend_handle_backend(frontend, &msg);
    vu_message_close_fds(&msg);
    if (rc == -EPROTO)
        return frontend_fail_locked(frontend, rc, "its request");
    if ((msg.header.flags & VU_FLAG_NEED_REPLY) == 0)
        return 0;
    answer = frontend_message(msg.header.request, sizeof(answer.payload.u64));
    answer.header.flags |= VU_FLAG_REPLY;
    answer.payload.u64 = rc < 0;
    rc = vu_channel_send(&frontend->backend, &answer, (int)frontend->config.reply_timeout_ms);
    return rc < 0 ? frontend_fail_locked(frontend, rc, "answering it") : 0;
}

/* --- our requests --- */

/* Waits for one whole message, serving the back-end's requests meanwhile. */
static int frontend_recv(struct vu_frontend *frontend, struct vu_message *ret_msg,
                         unsigned timeout_ms)
{
    int64_t deadline = vu_now_ms() + timeout_ms;

    for (;;) {
        struct pollfd pfds[2] = {{.fd = frontend->channel.fd, .events = POLLIN},
                                 {.fd = -1, .events = POLLIN}};
        int64_t left = deadline - vu_now_ms();
        int rc = vu_channel_recv(&frontend->channel, ret_msg, 0);

        if (rc != -EAGAIN)
            return rc;
        if (left <= 0)
            return -ETIMEDOUT;
        if (frontend->has_backend)
            pfds[1].fd = frontend->backend.fd;
        if (poll(pfds, 2, (int)left) < 0 && errno != EINTR)
            return -errno;
        if (pfds[1].revents != 0) {
            rc = frontend_serve_backend_locked(frontend);
            if (rc < 0 && rc != -EAGAIN)
                return rc;
        }
    }
}

/* Whether *reply is one that `request` can have. */
static bool frontend_check_reply(uint32_t request, bool is_ack, const struct vu_message *reply)
{
    struct frontend_reply expected = frontend_replies[request];
    uint32_t flags = reply->header.flags & ~VU_FLAG_NEED_REPLY;

    if (is_ack || expected.max_size == 0)
        expected = (struct frontend_reply){8, 8, 0};
    return reply->header.request == request && flags == (VU_VERSION | VU_FLAG_REPLY) &&
           reply->header.size >= expected.min_size && reply->header.size <= expected.max_size &&
           reply->n_fds <= expected.max_fds;
}

static int frontend_get_reply(struct vu_frontend *frontend, const struct vu_request_info *info,
                              uint32_t request, bool is_ack, struct vu_message *ret_msg,
                              unsigned timeout_ms)
{
    int rc = frontend_recv(frontend, ret_msg, timeout_ms);

    if (rc < 0)
        return frontend->connected ? frontend_fail_locked(frontend, rc, info->name) : rc;
    if (!frontend_check_reply(request, is_ack, ret_msg)) {
        vu_message_close_fds(ret_msg);
        return frontend_fail_locked(frontend, -EPROTO, info->name);
    }
    return is_ack && ret_msg->payload.u64 != 0 ? -EREMOTEIO : 0;
}

int frontend_call_for_locked(struct vu_frontend *frontend, struct vu_message *msg,
                             unsigned timeout_ms)
{
    uint32_t request = msg->header.request;
    const struct vu_request_info *info = vu_request_info(request);
    bool has_reply, is_ack;
    int rc;

    if (!frontend->connected)
        return -ENOTCONN;
    if (info->needs != VU_PF_NONE && !frontend_has_locked(frontend, info->needs))
        return -ENOTSUP;
    has_reply = info->reply != VU_REPLY_NONE;
    is_ack = !has_reply && frontend_has_locked(frontend, VU_PF_REPLY_ACK);
    if (is_ack)
        msg->header.flags |= VU_FLAG_NEED_REPLY;
    rc = vu_channel_send(&frontend->channel, msg, (int)frontend->config.reply_timeout_ms);
    if (rc < 0)
        return frontend_fail_locked(frontend, rc, info->name);
    if (!has_reply && !is_ack)
        return 0;
    return frontend_get_reply(frontend, info, request, is_ack, msg, timeout_ms);
}

int frontend_call_locked(struct vu_frontend *frontend, struct vu_message *msg)
{
    return frontend_call_for_locked(frontend, msg, frontend->config.reply_timeout_ms);
}

int frontend_set_u64_locked(struct vu_frontend *frontend, uint32_t request, uint64_t value)
{
    struct vu_message msg = frontend_message(request, sizeof(msg.payload.u64));

    msg.payload.u64 = value;
    return frontend_call_locked(frontend, &msg);
}

int frontend_get_u64_locked(struct vu_frontend *frontend, uint32_t request, uint64_t *ret_value)
{
    struct vu_message msg = frontend_message(request, 0);
    int rc = frontend_call_locked(frontend, &msg);

    if (rc == 0)
        *ret_value = msg.payload.u64;
    return rc;
}

int frontend_sync_locked(struct vu_frontend *frontend)
{
    uint64_t features;

    if (frontend_has_locked(frontend, VU_PF_REPLY_ACK))
        return frontend->connected ? 0 : -ENOTCONN;
    return frontend_get_u64_locked(frontend, VU_GET_FEATURES, &features);
}
