/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A device's connection to its back-end: the thread that keeps it (vhost-link.c), and what runs
 * over it (vhost-queues.c). That thread alone speaks with the back-end once the device is open, so
 * that nobody else ever waits for one. Private to this folder.
 */
#pragma once

#include <linux/virtio_blk.h>
#include <linux/virtio_ids.h>
#include <pthread.h>

#include "vhost-user/frontend.h"
#include "vmm/vhost/vhost-device.h"
#include "vmm/vhost/vhost-kind.h"

#define VHOST_SPACE_LEN 4096

/* To the configuration space. */
struct vhost_write {
    uint32_t offset, len;
    uint8_t bytes[8];
};

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

    /* What the driver wants; under lock, with which nobody waits for the back-end. */
    pthread_mutex_t lock;
    bool is_alive;      /* there is a thread to see to it */
    bool is_wanted;     /* the driver has started the device */
    bool is_starting;   /* and the thread has not seen to it yet */
    bool is_stopping;   /* and has reset it, and waits for the queues to be let go */
    bool has_write;     /* one is on its way */
    bool is_write_late; /* and nobody waits for it any more */
    struct vhost_write write;
    pthread_cond_t written; /* has_write is false, or is_starting */
    /* Set by the driver's start; the thread's from then until it says that it has stopped. */
    struct virtio_queue queues[VIRTIO_MAX_QUEUES];
    uint64_t driver_features;

    pthread_mutex_t config_lock; /* innermost */
    uint8_t space[VHOST_SPACE_LEN];

    pthread_t thread;
    bool has_thread;
    bool is_running; /* the thread's: the front-end has the queues, for any successor too */
    uint64_t next_log_ns;
    vhost_device_opened_fn on_opened; /* the thread opens it first; NULL: it is open */
    void *opened_opaque;
    int wake_fd;             /* eventfd: look at what follows */
    bool is_ending;          /* atomic */
    bool is_connected;       /* atomic; as the thread has found it last */
    bool has_config_changed; /* atomic */
    unsigned n_reconnects;   /* atomic */
};

/* Connects for the first time and asks what the back-end is. False with *error. */
bool vhost_link_open(struct vhost_device *vhost, GError **error);

/* What is offered to the driver from its next reset on. */
void vhost_link_learn_features(struct vhost_device *vhost);

/* Reads the configuration space from the back-end, amends it, and tells of it. 0 or -errno. */
int vhost_link_fetch_config(struct vhost_device *vhost);
/* For struct vu_frontend_ops. */
void vhost_link_config_changed(void *opaque);
/* As `changed` of virtio-device.h has it. Until there is a transport, nobody needs to know. */
void vhost_link_tell(struct vhost_device *vhost, bool is_broken);
/* Whether there is a connection; notes it for others. */
bool vhost_link_is_there(struct vhost_device *vhost);

int vhost_link_start(struct vhost_device *vhost);
/* The thread is to end, whatever it waits for. Any thread. */
void vhost_link_interrupt(struct vhost_device *vhost);
/* Ends the thread, if there is one. */
void vhost_link_stop(struct vhost_device *vhost);

/* --- vhost-queues.c; on the device's thread --- */

/* Carries out what the driver has asked for. -errno: the connection was lost over it. */
int vhost_queues_settle(struct vhost_device *vhost);
/* Wakes both sides of each queue that runs. */
void vhost_queues_kick(struct vhost_device *vhost);
/* The back-end has gone. Only the inflight log says where a packed ring stood: without one a
 * successor would take what is old for new, and the driver has to begin anew. */
void vhost_queues_drop_lost(struct vhost_device *vhost);
/* There is no thread any more to wait for. */
void vhost_queues_end(struct vhost_device *vhost);
