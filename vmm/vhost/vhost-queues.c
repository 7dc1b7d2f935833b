/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From what the driver wants to what the back-end has: the queues that it starts and takes back,
 * and what it writes to the configuration space. vCPUs only leave word (vhost-device.c); all of
 * this is the device's thread's, which may wait for the back-end as long as that takes.
 */
#include <string.h>
#include <sys/eventfd.h>

#include "vhost-user/cleanup.h"
#include "vhost-user/log.h"
#include "vmm/vhost/vhost-link.h"

/* --- the queues --- */

static int queues_start_one(struct vhost_device *vhost, unsigned index)
{
    const struct virtio_queue *queue = &vhost->queues[index];
    const struct vu_frontend_ring ring = {
        .num = queue->size,
        .desc_gpa = queue->desc,
        .avail_gpa = queue->driver,
        .used_gpa = queue->device,
        /* A packed ring begins with both wrap counters set. */
        .base = vhost->driver_features >> VU_F_RING_PACKED & 1 ? 0x80008000u : 0,
        .kick_fd = queue->kick_fd,
        .call_fd = queue->call_fd,
        .err_fd = -1,
    };

    return vu_frontend_start_ring(vhost->frontend, index, &ring);
}

static int queues_start_all(struct vhost_device *vhost)
{
    unsigned largest = 0;
    int rc = vu_frontend_set_features(vhost->frontend, vhost->driver_features);

    if (rc == 0)
        rc = vu_frontend_set_memory(vhost->frontend, &vhost->ram->shmem);
    for (unsigned i = 0; i < vhost->device.n_queues; i++)
        if (vhost->queues[i].enabled)
            largest = MAX(largest, vhost->queues[i].size);
    if (rc == 0 && largest > 0 &&
        vu_frontend_protocol_features(vhost->frontend) >> VU_PF_INFLIGHT_SHMFD & 1)
        rc = vu_frontend_setup_inflight(vhost->frontend, vhost->device.n_queues, largest);
    for (unsigned i = 0; rc == 0 && i < vhost->device.n_queues; i++)
        if (vhost->queues[i].enabled)
            rc = queues_start_one(vhost, i);
    return rc == 0 ? vu_frontend_sync(vhost->frontend) : rc;
}

/* The back-end, or what comes after it, leaves the queues alone. */
static void queues_halt(struct vhost_device *vhost)
{
    if (!vhost->is_running)
        return;
    for (unsigned i = 0; i < vhost->device.n_queues; i++)
        if (vhost->queues[i].enabled)
            vu_frontend_stop_ring(vhost->frontend, i, NULL);
    vu_frontend_forget(vhost->frontend);
    vhost->is_running = false;
}

/* The driver does not wait until its queues are enabled: some back-ends throw away kicks that come
 * before that. */
static void queues_kick_anew(struct vhost_device *vhost)
{
    for (unsigned i = 0; i < vhost->device.n_queues; i++)
        if (vhost->queues[i].enabled)
            eventfd_write(vhost->queues[i].kick_fd, 1);
}

/* 0 or -errno; nothing runs then. */
static int queues_run(struct vhost_device *vhost)
{
    int rc = queues_start_all(vhost);

    vhost->is_running = true;
    if (rc == 0) {
        queues_kick_anew(vhost);
        return 0;
    }
    if (vu_log_is_due(&vhost->next_log_ns))
        vu_warning("%s: the back-end does not start: %s", vhost->name, g_strerror(-rc));
    queues_halt(vhost);
    return rc;
}

/* The driver has to begin anew, and is told so. */
static void queues_give_up(struct vhost_device *vhost)
{
    pthread_mutex_lock(&vhost->lock);
    vhost->is_wanted = false;
    pthread_mutex_unlock(&vhost->lock);
    vhost_link_tell(vhost, true);
}

/* What the predecessor may have left unsaid, in both directions. */
void vhost_queues_kick(struct vhost_device *vhost)
{
    for (unsigned i = 0; i < vhost->device.n_queues && vhost->is_running; i++) {
        if (!vhost->queues[i].enabled)
            continue;
        eventfd_write(vhost->queues[i].kick_fd, 1);
        eventfd_write(vhost->queues[i].call_fd, 1);
    }
}

void vhost_queues_drop_lost(struct vhost_device *vhost)
{
    uint64_t has = vu_frontend_protocol_features(vhost->frontend);

    if (!vhost->is_running || !(vhost->driver_features >> VU_F_RING_PACKED & 1) ||
        has >> VU_PF_INFLIGHT_SHMFD & 1)
        return;
    vu_error("%s: packed rings without an inflight log: the guest must reset the device",
             vhost->name);
    queues_halt(vhost);
    queues_give_up(vhost);
}

/* --- writes to the configuration space --- */

/* A back-end that has refused leaves things as they were. */
static int queues_carry_out_write(struct vhost_device *vhost, const struct vhost_write *write)
{
    int rc = vu_frontend_set_config(vhost->frontend, write->offset, write->bytes, write->len);

    if (rc < 0)
        return rc;
    VU_LOCK_SCOPE(&vhost->config_lock);

    memcpy(vhost->space + write->offset, write->bytes, write->len);
    return 0;
}

static void queues_write_config(struct vhost_device *vhost)
{
    struct vhost_write write;
    bool is_there, is_late;
    int rc;

    pthread_mutex_lock(&vhost->lock);
    is_there = vhost->has_write;
    write = vhost->write;
    pthread_mutex_unlock(&vhost->lock);
    if (!is_there)
        return;
    rc = queues_carry_out_write(vhost, &write);
    pthread_mutex_lock(&vhost->lock);
    is_late = vhost->is_write_late;
    vhost->has_write = vhost->is_write_late = false;
    pthread_cond_broadcast(&vhost->written);
    pthread_mutex_unlock(&vhost->lock);
    /* Who did not wait for it may have read what was there before. */
    if (rc == 0 && is_late)
        vhost_link_tell(vhost, false);
}

/* --- word from the driver --- */

/* Once it has been told, the driver may start the device again. */
static void queues_tell_stopped(struct vhost_device *vhost, bool is_alive)
{
    pthread_mutex_lock(&vhost->lock);
    vhost->is_alive = is_alive;
    vhost->is_stopping = vhost->is_starting = false;
    if (!is_alive)
        vhost->has_write = false;
    pthread_cond_broadcast(&vhost->written);
    pthread_mutex_unlock(&vhost->lock);
    if (vhost->device.stopped)
        vhost->device.stopped(vhost->device.owner);
}

/* As far as that goes for now. */
static void queues_tell_started(struct vhost_device *vhost)
{
    VU_LOCK_SCOPE(&vhost->lock);

    vhost->is_starting = false;
    pthread_cond_broadcast(&vhost->written);
}

int vhost_queues_settle(struct vhost_device *vhost)
{
    bool is_stopping, is_wanted;
    int rc;

    queues_write_config(vhost);
    pthread_mutex_lock(&vhost->lock);
    is_stopping = vhost->is_stopping;
    is_wanted = vhost->is_wanted;
    pthread_mutex_unlock(&vhost->lock);
    if (is_stopping) {
        queues_halt(vhost);
        queues_tell_stopped(vhost, true);
        return 0;
    }
    if (!is_wanted || vhost->is_running)
        return 0;
    rc = vhost_link_is_there(vhost) ? queues_run(vhost) : 0;
    queues_tell_started(vhost);
    /* One that has gone leaves them to its successor. */
    if (rc == 0 || !vhost_link_is_there(vhost))
        return rc;
    queues_give_up(vhost);
    return 0;
}

void vhost_queues_end(struct vhost_device *vhost)
{
    queues_tell_stopped(vhost, false);
}
