/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pauses: rings give their workers nothing, whoever starts and stops them meanwhile. What costs
 * something is done here; a request finds no more on its way than the one flag that tells whether
 * its ring runs.
 */
#include <glib.h>

#include "vhost-user/backend-session.h"
#include "vhost-user/cleanup.h"

void vu_backend_pause(struct vu_backend *backend)
{
    for (unsigned i = 0; i < backend->device.n_queues; i++)
        vu_vring_set_paused(&backend->queues[i].vring, true);
}

void vu_backend_resume(struct vu_backend *backend)
{
    for (unsigned i = 0; i < backend->device.n_queues; i++)
        vu_vring_set_paused(&backend->queues[i].vring, false);
    VU_LOCK_SCOPE(&backend->worker_lock);
    backend->n_resumes++;
    /* What waits in the rings was kicked for long ago. */
    for (unsigned i = 0; i < backend->device.n_queues; i++) {
        if (backend->queues[i].worker)
            vu_worker_wake(backend->queues[i].worker);
    }
}

unsigned vu_backend_n_working(struct vu_backend *backend, unsigned queue)
{
    return vu_vring_n_working(&backend->queues[queue].vring);
}

bool vu_backend_is_running(struct vu_backend *backend)
{
    VU_LOCK_SCOPE(&backend->worker_lock);
    for (unsigned i = 0; i < backend->device.n_queues; i++) {
        if (backend->queues[i].worker)
            return true;
    }
    return false;
}

unsigned backend_n_resumes(struct vu_backend *backend)
{
    VU_LOCK_SCOPE(&backend->worker_lock);
    return backend->n_resumes;
}

struct vu_worker *backend_publish_worker(struct vu_backend *backend, struct backend_queue *queue,
                                         struct vu_worker *worker, unsigned n_resumes)
{
    struct vu_worker *old = queue->worker;

    VU_LOCK_SCOPE(&backend->worker_lock);
    queue->worker = worker;
    /* It may have gone to sleep in a pause that ended before we could be asked to wake it. */
    if (worker && backend->n_resumes != n_resumes)
        vu_worker_wake(worker);
    return old;
}
