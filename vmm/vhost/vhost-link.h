/* SPDX-License-Identifier: Apache-2.0 */
/* A device's connection to its back-end: running queues over it, and the thread that keeps it.
 * Private to this folder. */
#pragma once

#include <linux/virtio_blk.h>
#include <linux/virtio_ids.h>
#include <pthread.h>

#include "vhost-user/frontend.h"
#include "vmm/vhost/vhost-device.h"
#include "vmm/vhost/vhost-kind.h"

#define VHOST_SPACE_LEN 4096

struct vhost_device {
    struct virtio_device device; /* first */
    const struct vmm_config *config;
    const struct vmm_device_config *device_config;
    const struct vmm_ram *ram;
    struct vu_frontend *frontend;
    char *name, *path; /* constant */
    unsigned retry_ms, reply_ms;
    uint64_t features; /* atomic; what the back-end has that the driver may have */
    bool knows_config; /* the configuration space is all ours */

    pthread_mutex_t lock; /* the queues and whether they run */
    struct virtio_queue queues[VIRTIO_MAX_QUEUES];
    uint64_t driver_features;
    bool is_wanted;  /* the driver has started the device */
    bool is_running; /* the front-end has the queues, and hands them to any successor */
    uint64_t next_log_ns;

    pthread_mutex_t config_lock; /* innermost */
    uint8_t space[VHOST_SPACE_LEN];

    pthread_t thread;
    bool has_thread;
    vhost_device_opened_fn on_opened; /* the thread opens it first; NULL: it is open */
    void *opened_opaque;
    int wake_fd;             /* eventfd: look at what follows */
    bool is_ending;          /* atomic */
    bool has_config_changed; /* atomic */
    unsigned n_reconnects;   /* atomic */
};

/* Connects for the first time and asks what the back-end is. False with *error. */
bool vhost_link_open(struct vhost_device *vhost, GError **error);

/* Has the back-end serve the queues. 0 or -errno; nothing runs then. */
int vhost_link_run_locked(struct vhost_device *vhost);
/* The back-end, or what comes after it, leaves the queues alone. */
void vhost_link_halt_locked(struct vhost_device *vhost);

/* What is offered to the driver from its next reset on. */
void vhost_link_learn_features(struct vhost_device *vhost);

/* Reads the configuration space from the back-end, amends it, and tells of it. 0 or -errno. */
int vhost_link_fetch_config(struct vhost_device *vhost);
/* For struct vu_frontend_ops. */
void vhost_link_config_changed(void *opaque);

int vhost_link_start(struct vhost_device *vhost);
/* Ends the thread, if there is one. */
void vhost_link_stop(struct vhost_device *vhost);
