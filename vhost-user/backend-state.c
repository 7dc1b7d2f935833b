/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The device as a whole: virtio status and reset. Session thread.
 *
 * Status 0 stops the rings and keeps the device's own state: QEMU sends it whenever it stops the
 * virtual machine, for a pause as well, and the driver goes on afterwards. RESET_DEVICE is what
 * follows the driver's own reset.
 */
#include <errno.h>
#include <inttypes.h>

#include "vhost-user/backend-session.h"

int backend_set_status(struct vu_backend *backend, struct backend_call *call)
{
    uint64_t status = call->msg.payload.u64;

    if (status > UINT8_MAX)
        return backend_refuse(call, -EINVAL, "status %#" PRIx64, status);
    if (status == 0) {
        for (unsigned i = 0; i < backend->device.n_queues; i++)
            backend_ring_stop(backend, &backend->queues[i], NULL);
    }
    backend->status = (uint8_t)status;
    return 0;
}

int backend_get_status(struct vu_backend *backend, struct backend_call *call)
{
    call->reply.header.size = sizeof(uint64_t);
    call->reply.payload.u64 = backend->status;
    return 0;
}

int backend_reset_device(struct vu_backend *backend, struct backend_call *call)
{
    for (unsigned i = 0; i < backend->device.n_queues; i++) {
        struct backend_queue *queue = &backend->queues[i];

        backend_ring_stop(backend, queue, NULL);
        queue->enable = false;
        vu_vring_set_enabled(&queue->vring, false);
    }
    backend->status = 0;
    if (backend->device.reset)
        backend->device.reset(backend->opaque);
    if (backend->device.meet_driver)
        backend->device.meet_driver(backend->opaque, false);
    return 0;
}
