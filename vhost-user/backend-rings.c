/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The queues of a session: configured, started with their workers, moved to other memory, suspended
 * and stopped, by the messages about them. See struct backend_queue for the states. Session thread.
 * vhost-user: "Ring states".
 */
#include <errno.h>
#include <glib.h>

#include "vhost-user/backend-session.h"
#include "vhost-user/cleanup.h"
#include "vhost-user/log.h"

bool backend_any_started(const struct vu_backend *backend)
{
    for (unsigned i = 0; i < backend->device.n_queues; i++) {
        if (backend->queues[i].worker)
            return true;
    }
    return false;
}

static void ring_configure(struct vu_backend *backend, struct backend_queue *queue)
{
    bool inband = vu_has(backend->protocol_features, VU_PF_INBAND_NOTIFICATIONS);
    struct vu_vring *vring = &queue->vring;

    VU_LOCK_SCOPE(&vring->lock);
    vring->features = backend->features;
    vring->inflight = backend->inflight;
    vring->inband_call = inband ? backend_inband_call : NULL;
    vring->inband_err = inband ? backend_inband_err : NULL;
    vring->inband_opaque = backend;
}

/* Starts the ring if everything it needs is there. 0 also where something is missing. */
static int ring_start(struct vu_backend *backend, struct backend_queue *queue)
{
    struct vu_vring *vring = &queue->vring;
    unsigned n_resumes = backend_n_resumes(backend);
    struct vu_worker *worker;
    int r;

    if (queue->worker || !queue->kicked || !queue->has_addr || vring->num == 0 || !backend->memory)
        return 0;
    ring_configure(backend, queue);
    vu_vring_set_enabled(vring,
                         queue->enable || !vu_has(backend->features, VU_F_PROTOCOL_FEATURES));
    r = vu_vring_start(vring, backend->memory, backend->log);
    if (r == 0) {
        r = vu_worker_create(vring, &backend->device.worker, backend->opaque,
                             backend->options.poll_us, &worker);
        if (r < 0)
            vu_vring_stop(vring, NULL, NULL);
    }
    if (r < 0) {
        queue->kicked = false;
        return r;
    }
    backend_publish_worker(backend, queue, worker, n_resumes);
    vu_debug("%s: started", vring->log_tag);
    return 0;
}

/* Ends the worker and waits for the requests in flight; `kicked` stays. */
static void ring_halt(struct vu_backend *backend, struct backend_queue *queue, uint32_t *ret_base)
{
    if (queue->worker) {
        vu_worker_destroy(backend_publish_worker(backend, queue, NULL, 0));
        if (backend->device.quiesce)
            backend->device.quiesce(backend->opaque, queue->vring.index);
        vu_debug("%s: stopped", queue->vring.log_tag);
    }
    vu_vring_stop(&queue->vring, NULL, ret_base);
}

void backend_ring_stop(struct vu_backend *backend, struct backend_queue *queue, uint32_t *ret_base)
{
    queue->kicked = false;
    ring_halt(backend, queue, ret_base);
    vu_vring_set_kick(&queue->vring, -1);
}

void backend_ring_reset(struct backend_queue *queue)
{
    struct vu_vring *vring = &queue->vring;

    queue->has_addr = queue->kicked = queue->enable = false;
    vu_vring_set_enabled(vring, false);
    vu_vring_set_kick(vring, -1);
    vu_vring_set_call(vring, -1);
    vu_vring_set_err(vring, -1);
    VU_LOCK_SCOPE(&vring->lock);
    vring->num = 0;
    vring->desc_uva = vring->avail_uva = vring->used_uva = 0;
    vring->log_gpa = 0;
    vring->log_used = false;
    vring->base = 0;
    vring->features = 0;
    vring->inflight = NULL;
    vring->inband_call = NULL;
    vring->inband_err = NULL;
}

/* Whether the whole ring lies in memory. */
static bool ring_lies_in(const struct vu_backend *backend, const struct vu_vring *vring,
                         const struct vu_memory *memory)
{
    bool packed = vu_has(backend->features, VU_F_RING_PACKED);
    uint64_t avail_len = packed ? sizeof(struct vu_packed_event) : vu_split_avail_len(vring->num);
    uint64_t used_len = packed ? sizeof(struct vu_packed_event) : vu_split_used_len(vring->num);
    uint64_t desc_len = sizeof(struct vu_split_desc) * (uint64_t)vring->num;

    return vu_memory_translate_user(memory, vring->desc_uva, desc_len, NULL) &&
           vu_memory_translate_user(memory, vring->avail_uva, avail_len, NULL) &&
           vu_memory_translate_user(memory, vring->used_uva, used_len, NULL);
}

/* Front-ends take a region away and give it back with other bounds, while rings in it run: such a
 * ring waits in between. */
static void ring_follow_memory(struct vu_backend *backend, struct backend_queue *queue)
{
    bool lies_in = ring_lies_in(backend, &queue->vring, backend->memory);

    if (queue->worker && lies_in) {
        vu_vring_set_memory(&queue->vring, backend->memory);
        vu_worker_wake(queue->worker); /* its device may hold what was taken away */
    } else if (queue->worker) {
        ring_halt(backend, queue, NULL);
        vu_debug("%s: suspended, its memory was taken away", queue->vring.log_tag);
    } else if (lies_in) {
        ring_start(backend, queue); /* what fails is logged there */
    }
}

void backend_rings_follow_memory(struct vu_backend *backend)
{
    for (unsigned i = 0; i < backend->device.n_queues; i++)
        ring_follow_memory(backend, &backend->queues[i]);
}

void backend_rings_follow_log(struct vu_backend *backend)
{
    for (unsigned i = 0; i < backend->device.n_queues; i++)
        vu_vring_set_log(&backend->queues[i].vring, backend->log, backend->features);
}

static int ring_try_start(struct vu_backend *backend, struct backend_call *call)
{
    int r = ring_start(backend, call->queue);

    if (r < 0)
        return backend_refuse(call, r, "queue %u cannot start: %s", call->queue->vring.index,
                              g_strerror(-r));
    return 0;
}

int backend_set_vring_num(struct vu_backend *backend, struct backend_call *call)
{
    struct backend_queue *queue = call->queue;
    uint32_t num = call->msg.payload.state.num;

    if (num == 0 || num > VU_RING_MAX_SIZE)
        return backend_refuse(call, -EINVAL, "size %u of queue %u", num, queue->vring.index);
    if (queue->worker) /* a driver that comes back without having stopped it (User Mode Linux) */
        backend_ring_stop(backend, queue, NULL);
    {
        VU_LOCK_SCOPE(&queue->vring.lock);
        queue->vring.num = num;
    }
    return ring_try_start(backend, call);
}

int backend_set_vring_base(struct vu_backend *backend, struct backend_call *call)
{
    struct backend_queue *queue = call->queue;

    if (queue->worker)
        backend_ring_stop(backend, queue, NULL);
    VU_LOCK_SCOPE(&queue->vring.lock);
    queue->vring.base = call->msg.payload.state.num; /* checked when the ring starts */
    return 0;
}

static void ring_set_addr(struct vu_vring *vring, const struct vu_vring_addr *addr)
{
    vu_vring_lock_session(vring);
    vring->desc_uva = addr->desc_uva;
    vring->avail_uva = addr->avail_uva;
    vring->used_uva = addr->used_uva;
    vring->log_used = (addr->flags & VU_VRING_ADDR_LOG) != 0;
    vring->log_gpa = addr->log_gpa;
    pthread_mutex_unlock(&vring->lock);
}

/* Comes for running rings too: a migration that begins or ends changes the flag. */
int backend_set_vring_addr(struct vu_backend *backend, struct backend_call *call)
{
    const struct vu_vring_addr *addr = &call->msg.payload.addr;
    struct backend_queue *queue = call->queue;
    const struct vu_vring new = {.num = queue->vring.num,
                                 .desc_uva = addr->desc_uva,
                                 .avail_uva = addr->avail_uva,
                                 .used_uva = addr->used_uva};

    if (queue->worker && !ring_lies_in(backend, &new, backend->memory))
        return backend_refuse(call, -EINVAL, "queue %u would lie outside guest memory",
                              queue->vring.index);
    ring_set_addr(&queue->vring, addr);
    queue->has_addr = true;
    if (queue->worker)
        vu_vring_set_memory(&queue->vring, backend->memory); /* maps the new addresses */
    return ring_try_start(backend, call);
}

int backend_get_vring_base(struct vu_backend *backend, struct backend_call *call)
{
    struct backend_queue *queue = call->queue;
    uint32_t base;

    backend_ring_stop(backend, queue, &base);
    call->reply.header.size = sizeof(struct vu_vring_state);
    call->reply.payload.state = (struct vu_vring_state){.index = queue->vring.index, .num = base};
    return 0;
}

int backend_set_vring_kick(struct vu_backend *backend, struct backend_call *call)
{
    struct backend_queue *queue = call->queue;

    vu_vring_set_kick(&queue->vring, vu_message_take_fd(&call->msg, 0));
    queue->kicked = true;
    if (queue->worker)
        vu_worker_wake(queue->worker);
    return ring_try_start(backend, call);
}

int backend_vring_kick(struct vu_backend *backend, struct backend_call *call)
{
    struct backend_queue *queue = call->queue;

    queue->kicked = true;
    if (queue->worker)
        vu_worker_wake(queue->worker);
    return ring_try_start(backend, call);
}

int backend_set_vring_call(struct vu_backend *backend, struct backend_call *call)
{
    vu_vring_set_call(&call->queue->vring, vu_message_take_fd(&call->msg, 0));
    return 0;
}

int backend_set_vring_err(struct vu_backend *backend, struct backend_call *call)
{
    vu_vring_set_err(&call->queue->vring, vu_message_take_fd(&call->msg, 0));
    return 0;
}

int backend_set_vring_enable(struct vu_backend *backend, struct backend_call *call)
{
    struct backend_queue *queue = call->queue;
    uint32_t enable = call->msg.payload.state.num;

    if (enable > 1)
        return backend_refuse(call, -EINVAL, "%u is neither 0 nor 1", enable);
    queue->enable = enable != 0;
    vu_vring_set_enabled(&queue->vring, queue->enable);
    if (queue->worker)
        vu_worker_wake(queue->worker); /* what waits in the ring was kicked for long ago */
    return 0;
}
