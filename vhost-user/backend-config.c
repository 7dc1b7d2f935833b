/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration space over the socket. Session thread. vhost-user: "Virtio device config
 * space".
 */
#include <errno.h>
#include <string.h>

#include "vhost-user/backend-session.h"

/* Answers exactly as many bytes as were asked for; those behind the device's are zeros, for drivers
 * read whole structures. */
int backend_get_config(struct vu_backend *backend, struct backend_call *call)
{
    const struct vu_config_header asked = call->msg.payload.config.header;
    struct vu_config *answer = &call->reply.payload.config;
    uint8_t space[VU_CONFIG_MAX] = {0};

    if (asked.size == 0 || asked.size > VU_CONFIG_MAX || asked.offset > VU_CONFIG_MAX - asked.size)
        return backend_refuse(call, -EINVAL, "%u bytes at %u, beyond %u", asked.size, asked.offset,
                              VU_CONFIG_MAX);
    if (backend->device.get_config)
        backend->device.get_config(backend->opaque, space);
    answer->header = asked;
    memcpy(answer->data, space + asked.offset, asked.size);
    call->reply.header.size = (uint32_t)(sizeof(answer->header) + asked.size);
    return 0;
}

int backend_set_config(struct vu_backend *backend, struct backend_call *call)
{
    const struct vu_config *config = &call->msg.payload.config;
    uint32_t offset = config->header.offset, size = config->header.size;
    uint32_t config_len = backend->device.config_len;
    int r;

    if (size > config_len || offset > config_len - size)
        return backend_refuse(call, -EINVAL, "%u bytes at %u, beyond %u", size, offset, config_len);
    if (call->msg.header.size < sizeof(config->header) + size)
        return backend_refuse(call, -EINVAL, "%u bytes announced, fewer sent", size);
    if (!backend->device.set_config)
        return backend_refuse(call, -EINVAL, "nothing there may be written");
    r = backend->device.set_config(backend->opaque, offset, config->data, size);
    if (r < 0)
        return backend_refuse(call, r, "%u bytes at %u may not be written", size, offset);
    return 0;
}
