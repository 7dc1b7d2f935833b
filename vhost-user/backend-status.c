/* SPDX-License-Identifier: Apache-2.0 */
/* What other threads may know of the session: a copy under a lock, made whenever that changes. */
#include <sys/socket.h>

#include "vhost-user/backend-session.h"
#include "vhost-user/cleanup.h"

void backend_publish(struct vu_backend *backend)
{
    struct vu_backend_status status = {
        .is_connected = backend->channel.fd >= 0,
        .features = backend->features,
        .protocol_features = backend->protocol_features,
    };
    struct ucred peer = {0};
    socklen_t len = sizeof(peer);

    if (status.is_connected &&
        getsockopt(backend->channel.fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0) {
        status.peer_pid = peer.pid;
        status.peer_uid = peer.uid;
    }
    VU_LOCK_SCOPE(&backend->status_lock);
    status.n_sessions =
        backend->published.n_sessions + (status.is_connected && !backend->published.is_connected);
    backend->published = status;
}

void vu_backend_get_status(struct vu_backend *backend, struct vu_backend_status *ret_status)
{
    VU_LOCK_SCOPE(&backend->status_lock);
    *ret_status = backend->published;
}

bool vu_backend_get_queue(struct vu_backend *backend, unsigned queue,
                          struct vu_queue_status *ret_status)
{
    struct vu_vring *vring = vu_backend_vring(backend, queue);

    if (!vring)
        return false;
    VU_LOCK_SCOPE(&vring->lock);
    *ret_status = (struct vu_queue_status){
        .is_started = vring->started,
        .is_enabled = vring->enabled,
        .is_broken = vring->broken,
        .size = vring->num,
        .n_working = vring->n_in_flight - vring->n_kept,
        .stats = vring->stats,
    };
    return true;
}
