/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The device behind the rings: configuration space, status, reset, and its state for a migration.
 * Runs on the calling thread, under the session's lock. vhost-user: "Virtio device config space",
 * "Migrating backend state".
 */
#include <errno.h>
#include <string.h>

#include "vhost-user/cleanup.h"
#include "vhost-user/frontend-session.h"

static struct vu_message frontend_config_message(uint32_t request, uint32_t offset,
                                                 const void *data, uint32_t len)
{
    struct vu_message msg =
        frontend_message(request, (uint32_t)sizeof(struct vu_config_header) + len);

    msg.payload.config.header = (struct vu_config_header){.offset = offset, .size = len};
    if (data)
        memcpy(msg.payload.config.data, data, len);
    else
        memset(msg.payload.config.data, 0, len);
    return msg;
}

int vu_frontend_get_config(struct vu_frontend *frontend, uint32_t offset, void *ret_data,
                           uint32_t len)
{
    struct vu_message msg;
    int rc;

    if (len == 0 || len > VU_CONFIG_MAX)
        return -EINVAL;
    VU_LOCK_SCOPE(&frontend->lock);

    msg = frontend_config_message(VU_GET_CONFIG, offset, NULL, len);
    rc = frontend_call_locked(frontend, &msg);
    if (rc < 0)
        return rc;
    /* How a back-end says no: an empty payload, or a size of nothing. */
    if (msg.header.size < sizeof(struct vu_config_header) || msg.payload.config.header.size == 0)
        return -EREMOTEIO;
    if (msg.header.size != sizeof(struct vu_config_header) + len ||
        msg.payload.config.header.size != len)
        return frontend_fail_locked(frontend, -EPROTO, "GET_CONFIG");
    memcpy(ret_data, msg.payload.config.data, len);
    return 0;
}

int vu_frontend_set_config(struct vu_frontend *frontend, uint32_t offset, const void *data,
                           uint32_t len)
{
    struct vu_message msg;

    if (len == 0 || len > VU_CONFIG_MAX)
        return -EINVAL;
    VU_LOCK_SCOPE(&frontend->lock);

    msg = frontend_config_message(VU_SET_CONFIG, offset, data, len);
    return frontend_call_locked(frontend, &msg);
}

int vu_frontend_set_status(struct vu_frontend *frontend, uint8_t status)
{
    VU_LOCK_SCOPE(&frontend->lock);

    return frontend_set_u64_locked(frontend, VU_SET_STATUS, status);
}

int vu_frontend_get_status(struct vu_frontend *frontend, uint8_t *ret_status)
{
    uint64_t status;
    int rc;

    VU_LOCK_SCOPE(&frontend->lock);

    rc = frontend_get_u64_locked(frontend, VU_GET_STATUS, &status);
    if (rc < 0)
        return rc;
    if (status > UINT8_MAX)
        return frontend_fail_locked(frontend, -EPROTO, "GET_STATUS");
    *ret_status = (uint8_t)status;
    return 0;
}

int vu_frontend_reset_device(struct vu_frontend *frontend)
{
    struct vu_message msg = frontend_message(VU_RESET_DEVICE, 0);
    int rc;

    VU_LOCK_SCOPE(&frontend->lock);

    rc = frontend_call_locked(frontend, &msg);
    if (rc == 0)
        rc = frontend_sync_locked(frontend);
    for (unsigned i = 0; rc == 0 && i < VU_FRONTEND_MAX_QUEUES; i++)
        frontend->rings[i].started = false;
    return rc;
}

int vu_frontend_set_device_state_fd(struct vu_frontend *frontend, uint32_t direction, int fd,
                                    int *ret_fd)
{
    struct vu_message msg = frontend_message(VU_SET_DEVICE_STATE_FD, sizeof(msg.payload.transfer));
    vu_autofd int own_fd = -1;
    int rc;

    VU_LOCK_SCOPE(&frontend->lock);

    msg.payload.transfer =
        (struct vu_transfer_state){.direction = direction, .phase = VU_TRANSFER_PHASE_STOPPED};
    msg.fds[msg.n_fds++] = fd;
    rc = frontend_call_locked(frontend, &msg);
    if (rc < 0)
        return rc;
    own_fd = vu_message_take_fd(&msg, 0);
    if ((msg.payload.u64 & 0xff) != 0)
        return -EREMOTEIO;
    if (((msg.payload.u64 & VU_VRING_NO_FD) != 0) != (own_fd < 0))
        return frontend_fail_locked(frontend, -EPROTO, "SET_DEVICE_STATE_FD");
    *ret_fd = vu_steal_fd(&own_fd);
    return 0;
}

int vu_frontend_check_device_state(struct vu_frontend *frontend)
{
    uint64_t result;
    int rc;

    VU_LOCK_SCOPE(&frontend->lock);

    rc = frontend_get_u64_locked(frontend, VU_CHECK_DEVICE_STATE, &result);
    return rc < 0 ? rc : (result == 0 ? 0 : -EREMOTEIO);
}
