/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a message to its handler and back to its reply. Every check that more than one message needs
 * is here, once: number, flags, size, descriptors, protocol feature, queue index. Session thread.
 * vhost-user: "Front-end message types", "REPLY_ACK".
 */
#include <errno.h>
#include <glib.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "vhost-user/backend-session.h"
#include "vhost-user/log.h"

/* Refused messages that a session survives (those that are answered): it fills the log otherwise.
 */
#define DISPATCH_MAX_WRONG 32

typedef int (*dispatch_handler)(struct vu_backend *backend, struct backend_call *call);

#define DISPATCH_HANDLER(number, name, handler, ...) [number] = backend_##handler,

static const dispatch_handler dispatch_handlers[VU_REQUEST_MAX + 1] = {
    VU_FRONTEND_REQUESTS(DISPATCH_HANDLER)};

/* Where a message names its queue. The first field is the index in both structures. */
enum dispatch_index { DISPATCH_NO_QUEUE, DISPATCH_U32_INDEX, DISPATCH_U64_INDEX };

static const enum dispatch_index dispatch_indices[VU_REQUEST_MAX + 1] = {
    [VU_SET_VRING_NUM] = DISPATCH_U32_INDEX,    [VU_SET_VRING_ADDR] = DISPATCH_U32_INDEX,
    [VU_SET_VRING_BASE] = DISPATCH_U32_INDEX,   [VU_GET_VRING_BASE] = DISPATCH_U32_INDEX,
    [VU_SET_VRING_ENABLE] = DISPATCH_U32_INDEX, [VU_VRING_KICK] = DISPATCH_U32_INDEX,
    [VU_SET_VRING_KICK] = DISPATCH_U64_INDEX,   [VU_SET_VRING_CALL] = DISPATCH_U64_INDEX,
    [VU_SET_VRING_ERR] = DISPATCH_U64_INDEX,
};

int backend_refuse(struct backend_call *call, int err, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(call->reason, sizeof(call->reason), format, args);
    va_end(args);
    return err;
}

/* A message that comes with a descriptor or says that it does not. */
static int dispatch_check_fd_flag(struct backend_call *call)
{
    uint64_t value = call->msg.payload.u64;
    unsigned expected = (value & VU_VRING_NO_FD) != 0 ? 0 : 1;

    if ((value & ~(uint64_t)(VU_VRING_INDEX_MASK | VU_VRING_NO_FD)) != 0)
        return backend_refuse(call, -EINVAL, "unknown flags %#" PRIx64, value);
    if (call->msg.n_fds != expected)
        return backend_refuse(call, -EINVAL, "%u descriptors instead of %u", call->msg.n_fds,
                              expected);
    return 0;
}

static int dispatch_find_queue(struct vu_backend *backend, struct backend_call *call)
{
    uint64_t index = 0;
    int r = 0;

    call->queue = NULL;
    switch (dispatch_indices[call->msg.header.request]) {
    case DISPATCH_NO_QUEUE:
        return 0;
    case DISPATCH_U32_INDEX:
        index = call->msg.payload.state.index;
        break;
    case DISPATCH_U64_INDEX:
        index = call->msg.payload.u64 & VU_VRING_INDEX_MASK;
        r = dispatch_check_fd_flag(call);
        break;
    }
    if (r < 0)
        return r;
    if (index >= backend->device.n_queues)
        return backend_refuse(call, -EINVAL, "queue %" PRIu64 ", but there are %u", index,
                              backend->device.n_queues);
    call->queue = &backend->queues[index];
    return 0;
}

static int dispatch_check(struct vu_backend *backend, struct backend_call *call,
                          const struct vu_request_info *info)
{
    const struct vu_message *msg = &call->msg;

    if ((msg->header.flags & VU_FLAG_REPLY) != 0)
        return backend_refuse(call, -EINVAL, "a reply, where a request was expected");
    if (!info)
        return backend_refuse(call, -EOPNOTSUPP, "unknown");
    if (info->needs != VU_PF_NONE && !vu_has(backend->protocol_features, info->needs))
        return backend_refuse(call, -EOPNOTSUPP, "needs %s, which was not negotiated",
                              vu_protocol_feature_name(info->needs));
    if (msg->header.size < info->min_size || msg->header.size > info->max_size)
        return backend_refuse(call, -EINVAL, "%u bytes instead of %u to %u", msg->header.size,
                              info->min_size, info->max_size);
    if (msg->n_fds < info->min_fds || msg->n_fds > info->max_fds)
        return backend_refuse(call, -EINVAL, "%u descriptors instead of %u to %u", msg->n_fds,
                              info->min_fds, info->max_fds);
    return dispatch_find_queue(backend, call);
}

static int dispatch_send(struct vu_backend *backend, struct backend_call *call)
{
    int r;

    call->reply.header.request = call->msg.header.request;
    call->reply.header.flags = VU_VERSION | VU_FLAG_REPLY; /* peers test for equality */
    r = vu_channel_send(&backend->channel, &call->reply, BACKEND_SEND_TIMEOUT_MS);
    if (r == -EPIPE || r == -ECONNRESET)
        vu_debug("%s: the front-end left without the reply to message %u", backend->device.name,
                 call->msg.header.request);
    else if (r < 0)
        vu_error("%s: cannot send a reply: %s", backend->device.name, g_strerror(-r));
    return r;
}

static int dispatch_send_u64(struct vu_backend *backend, struct backend_call *call, uint64_t value)
{
    call->reply.header.size = sizeof(value);
    call->reply.payload.u64 = value;
    return dispatch_send(backend, call);
}

static bool dispatch_wants_ack(const struct vu_backend *backend, const struct backend_call *call)
{
    return vu_has(backend->protocol_features, VU_PF_REPLY_ACK) &&
           (call->msg.header.flags & VU_FLAG_NEED_REPLY) != 0;
}

static int dispatch_answer(struct vu_backend *backend, struct backend_call *call,
                           const struct vu_request_info *info)
{
    switch (info->reply) {
    case VU_REPLY_PAYLOAD:
        return dispatch_send(backend, call);
    case VU_REPLY_LOG:
        return dispatch_send_u64(backend, call, 0);
    case VU_REPLY_NONE:
        break;
    }
    return dispatch_wants_ack(backend, call) ? dispatch_send_u64(backend, call, 0) : 0;
}

/* Answers a refused message where there is a way to, else ends the session. info may be NULL;
 * well_formed: its handler has refused it. */
static int dispatch_answer_refused(struct vu_backend *backend, struct backend_call *call,
                                   const struct vu_request_info *info, int err, bool well_formed)
{
    uint32_t request = call->msg.header.request;
    bool answerable = dispatch_wants_ack(backend, call) &&
                      (call->msg.header.flags & VU_FLAG_REPLY) == 0 &&
                      (!info || info->reply != VU_REPLY_PAYLOAD);
    char number[24];

    snprintf(number, sizeof(number), "message %u", request);
    if (call->reason[0] == '\0')
        backend_refuse(call, err, "%s", g_strerror(-err));
    if (request == VU_GET_CONFIG && well_formed) {
        answerable = true;
        call->reply.header.size = 0; /* which says that there is none */
    } else {
        call->reply.header.size = sizeof(uint64_t);
        call->reply.payload.u64 = (uint64_t)-err;
    }
    if (++backend->n_wrong > DISPATCH_MAX_WRONG)
        answerable = false;
    vu_error("%s: %s refused%s: %s", backend->device.name, info ? info->name : number,
             answerable ? "" : ", the front-end is disconnected", call->reason);
    return answerable ? dispatch_send(backend, call) : -EPROTO;
}

/* Who negotiates asks for features first; see vu_device.serves_resumed. */
static void dispatch_resume(struct vu_backend *backend, const struct backend_call *call)
{
    uint32_t request = call->msg.header.request;

    if (request == VU_GET_FEATURES || request == VU_GET_PROTOCOL_FEATURES)
        backend->was_asked = true;
    if (backend->was_asked || !backend->device.serves_resumed || request != VU_SET_FEATURES)
        return;
    vu_info("%s: the front-end goes on with what it negotiated before", backend->device.name);
    backend->protocol_features = backend->offered_protocol;
}

int backend_dispatch(struct vu_backend *backend, struct backend_call *call)
{
    const struct vu_request_info *info = vu_request_info(call->msg.header.request);
    bool well_formed;
    int r;

    call->queue = NULL;
    call->reason[0] = '\0';
    call->reply.header.size = 0;
    call->reply.n_fds = 0;
    if (info)
        vu_debug("%s: %s, %u bytes, %u descriptors", backend->device.name, info->name,
                 call->msg.header.size, call->msg.n_fds);
    dispatch_resume(backend, call);
    r = dispatch_check(backend, call, info);
    well_formed = r == 0;
    if (r == 0)
        r = dispatch_handlers[call->msg.header.request](backend, call);
    if (r == 0)
        r = dispatch_answer(backend, call, info);
    else
        r = dispatch_answer_refused(backend, call, info, r, well_formed);
    vu_message_close_fds(&call->msg);
    vu_message_close_fds(&call->reply);
    return r;
}
