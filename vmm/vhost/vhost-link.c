/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The connection to a back-end. One thread for each device waits for what the back-end says and for
 * its end, and then connects again, with pauses that grow, until there is a successor.
 */
#include "vmm/vhost/vhost-link.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>

#include "vhost-user/cleanup.h"
#include "vhost-user/log.h"
#include "vhost-user/thread.h"
#include "vmm/syscalls.h"

#define RETRY_FIRST_MS 10
#define RETRY_MOST_MS  1000

void vhost_link_learn_features(struct vhost_device *vhost)
{
    uint64_t features =
        vu_frontend_features(vhost->frontend) & ~(UINT64_C(1) << VU_F_PROTOCOL_FEATURES);

    if (vhost->device.virtio_id == VIRTIO_ID_BLOCK && vhost->device.n_queues == 1)
        features &= ~(UINT64_C(1) << VIRTIO_BLK_F_MQ);
    __atomic_store_n(&vhost->features, features, __ATOMIC_RELEASE);
}

/* --- the configuration space --- */

void vhost_link_tell(struct vhost_device *vhost, bool is_broken)
{
    void (*changed)(void *transport, bool is_broken) =
        __atomic_load_n(&vhost->device.changed, __ATOMIC_ACQUIRE);

    if (changed)
        changed(vhost->device.transport, is_broken);
}

int vhost_link_fetch_config(struct vhost_device *vhost)
{
    uint8_t space[VHOST_SPACE_LEN] = {0};
    uint32_t len = vhost->device.config_len;
    int rc;

    if (!vhost->knows_config && len > 0) {
        rc = vu_frontend_get_config(vhost->frontend, 0, space, MIN(len, VU_CONFIG_MAX));
        if (rc < 0)
            return rc;
    }
    vhost_kind_amend_config(vhost->device_config, vhost->device.n_queues, space);
    VU_LOCK_SCOPE(&vhost->config_lock);

    vhost_link_tell(vhost, false);
    memcpy(vhost->space, space, sizeof(space));
    return 0;
}

void vhost_link_config_changed(void *opaque)
{
    struct vhost_device *vhost = opaque;

    __atomic_store_n(&vhost->has_config_changed, true, __ATOMIC_RELEASE);
    eventfd_write(vhost->wake_fd, 1);
}

/* --- the thread --- */

static bool link_is_ending(const struct vhost_device *vhost)
{
    return __atomic_load_n(&vhost->is_ending, __ATOMIC_ACQUIRE);
}

/* Sleeps, or until somebody wakes us. */
static void link_pause(struct vhost_device *vhost, unsigned ms)
{
    struct pollfd poll_fd = {.fd = vhost->wake_fd, .events = POLLIN};
    eventfd_t count;

    if (poll(&poll_fd, 1, (int)ms) > 0)
        eventfd_read(vhost->wake_fd, &count);
}

bool vhost_link_is_there(struct vhost_device *vhost)
{
    int fds[2];
    bool is_there = vu_frontend_get_poll_fds(vhost->frontend, fds) > 0;

    __atomic_store_n(&vhost->is_connected, is_there, __ATOMIC_RELAXED);
    return is_there;
}

/* One attempt to have a successor. 0 or -errno. */
static int link_try_reconnect(struct vhost_device *vhost)
{
    int rc = vu_frontend_reconnect(vhost->frontend, vhost->path, 0);

    if (rc == 0 && !vhost->is_running)
        vhost_link_learn_features(vhost);
    if (rc == 0)
        rc = vhost_queues_settle(vhost);
    if (rc == 0)
        rc = vu_frontend_sync(vhost->frontend);
    if (rc == 0)
        vhost_queues_kick(vhost);
    else
        vu_frontend_disconnect(vhost->frontend);
    return rc;
}

/* Until there is a successor, or nobody wants one. */
static void link_reconnect(struct vhost_device *vhost)
{
    unsigned pause_ms = RETRY_FIRST_MS, most = vhost->retry_ms ? vhost->retry_ms : RETRY_MOST_MS;
    int last = 0;

    if (link_is_ending(vhost))
        return;
    vu_warning("%s: the back-end has gone; its requests wait for another at %s", vhost->name,
               vhost->path);
    vhost_queues_drop_lost(vhost);
    while (!link_is_ending(vhost)) {
        int rc;

        (void)vhost_queues_settle(vhost); /* the driver may have left meanwhile */
        rc = link_try_reconnect(vhost);
        if (rc == 0) {
            __atomic_fetch_add(&vhost->n_reconnects, 1, __ATOMIC_RELAXED);
            vu_info("%s: the back-end is back", vhost->name);
            (void)vhost_link_fetch_config(vhost);
            return;
        }
        if (rc != last && rc != -ENOENT && rc != -ECONNREFUSED && !link_is_ending(vhost))
            vu_warning("%s: connecting again: %s", vhost->name, g_strerror(-rc));
        last = rc;
        link_pause(vhost, MIN(pause_ms, most));
        pause_ms = MIN(2 * pause_ms, most);
    }
}

/* Without its filter it does not connect again: the back-end may well be what has gone wrong. */
static void link_confine(struct vhost_device *vhost)
{
    g_autoptr(GError) error = NULL;

    if (vmm_confine(vhost->config, VMM_THREAD_LINK, &error))
        return;
    vu_error("%s: %s (-sandbox off does without)", vhost->name, error->message);
    __atomic_store_n(&vhost->is_ending, true, __ATOMIC_RELEASE);
}

/* The first connection, where it is this thread's. False: there is none, and will be none. */
static bool link_begin(struct vhost_device *vhost)
{
    GError *error = NULL;
    bool is_open;

    link_confine(vhost);
    if (!vhost->on_opened)
        return true;
    is_open = !link_is_ending(vhost) && vhost_link_open(vhost, &error);
    if (!is_open && !error)
        g_set_error(&error, G_FILE_ERROR, G_FILE_ERROR_PERM, "device %s: it is given up",
                    vhost->name);
    vhost->on_opened(vhost->opened_opaque, error);
    return is_open;
}

/* Until the back-end says something, or somebody wakes us. */
static void link_listen(struct vhost_device *vhost)
{
    struct pollfd poll_fds[3] = {{.fd = vhost->wake_fd, .events = POLLIN}};
    int fds[2];
    unsigned n = vu_frontend_get_poll_fds(vhost->frontend, fds);
    eventfd_t count;

    for (unsigned i = 0; i < n; i++)
        poll_fds[i + 1] = (struct pollfd){.fd = fds[i], .events = POLLIN};
    poll(poll_fds, n + 1, -1);
    if (poll_fds[0].revents)
        eventfd_read(vhost->wake_fd, &count);
    vu_frontend_dispatch(vhost->frontend);
    if (__atomic_exchange_n(&vhost->has_config_changed, false, __ATOMIC_ACQ_REL))
        (void)vhost_link_fetch_config(vhost); /* one that fails has said so */
}

static void *link_run(void *opaque)
{
    struct vhost_device *vhost = opaque;

    if (link_begin(vhost))
        while (!link_is_ending(vhost)) {
            (void)vhost_queues_settle(vhost);
            if (vhost_link_is_there(vhost))
                link_listen(vhost);
            else
                link_reconnect(vhost);
        }
    vhost_queues_end(vhost);
    return NULL;
}

int vhost_link_start(struct vhost_device *vhost)
{
    int rc;

    vhost->is_alive = true; /* nobody else is there yet */
    rc = vu_thread_create("vhost", link_run, vhost, &vhost->thread);
    vhost->has_thread = rc == 0;
    if (rc < 0)
        vhost->is_alive = false;
    return rc;
}

void vhost_link_interrupt(struct vhost_device *vhost)
{
    __atomic_store_n(&vhost->is_ending, true, __ATOMIC_RELEASE);
    vu_frontend_interrupt(vhost->frontend);
    eventfd_write(vhost->wake_fd, 1);
}

void vhost_link_stop(struct vhost_device *vhost)
{
    if (!vhost->has_thread)
        return;
    vhost_link_interrupt(vhost);
    pthread_join(vhost->thread, NULL);
    vhost->has_thread = false;
}
