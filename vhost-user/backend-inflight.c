/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inflight log changes hands: made here for a new front-end, given back by one that outlived
 * our predecessor. Session thread. vhost-user: "Inflight I/O tracking".
 */
#include <errno.h>
#include <glib.h>
#include <inttypes.h>

#include "vhost-user/backend-session.h"

/* Rings borrow the log while they run. */
static int inflight_replace(struct vu_backend *backend, struct vu_inflight *inflight)
{
    if (backend->inflight)
        vu_inflight_destroy(backend->inflight);
    backend->inflight = inflight;
    return 0;
}

static int inflight_check(const struct vu_backend *backend, struct backend_call *call)
{
    const struct vu_inflight_desc *desc = &call->msg.payload.inflight;

    if (backend_any_started(backend))
        return backend_refuse(call, -EBUSY, "rings are running");
    if (desc->n_queues > backend->device.n_queues)
        return backend_refuse(call, -EINVAL, "%u queues, but there are %u", desc->n_queues,
                              backend->device.n_queues);
    return 0;
}

int backend_get_inflight_fd(struct vu_backend *backend, struct backend_call *call)
{
    const struct vu_inflight_desc *desc = &call->msg.payload.inflight;
    struct vu_inflight *inflight;
    int r, fd;

    r = inflight_check(backend, call);
    if (r < 0)
        return r;
    r = vu_inflight_create(desc->n_queues, desc->queue_size,
                           vu_has(backend->features, VU_F_RING_PACKED), &inflight,
                           &call->reply.payload.inflight, &fd);
    if (r < 0)
        return backend_refuse(call, r, "%u queues of %u: %s", desc->n_queues, desc->queue_size,
                              g_strerror(-r));
    call->reply.header.size = call->msg.header.size; /* with its tail padding or without */
    call->reply.fds[0] = fd;
    call->reply.n_fds = 1;
    if (backend->device.meet_driver)
        backend->device.meet_driver(backend->opaque, false);
    return inflight_replace(backend, inflight);
}

int backend_set_inflight_fd(struct vu_backend *backend, struct backend_call *call)
{
    const struct vu_inflight_desc *desc = &call->msg.payload.inflight;
    struct vu_inflight *inflight;
    int r;

    r = inflight_check(backend, call);
    if (r < 0)
        return r;
    r = vu_inflight_map(desc, call->msg.fds[0], vu_has(backend->features, VU_F_RING_PACKED),
                        &inflight);
    if (r < 0)
        return backend_refuse(call, r, "%" PRIu64 " bytes for %u queues of %u: %s", desc->mmap_size,
                              desc->n_queues, desc->queue_size, g_strerror(-r));
    /* A log that was made in this session comes back whenever rings start. */
    if (!backend->inflight && backend->device.meet_driver)
        backend->device.meet_driver(backend->opaque, true);
    return inflight_replace(backend, inflight);
}
