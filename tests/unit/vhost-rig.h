/* SPDX-License-Identifier: Apache-2.0 */
/* One of vmm's vhost-user devices, without a machine or a guest, at a socket of vhost-place.h. */
#pragma once

#include "vhost-place.h"
#include "vmm/vhost/vhost-link.h"

/* A machine with one device on that socket. */
struct rig {
    struct vmm_config config;
    struct vmm_ram ram;
    struct virtio_device *device;
    struct virtio_queue queues[PLACE_N_QUEUES];
};

/* What the transport was told, and what the configuration space began with just then. */
struct told {
    struct vhost_device *vhost;
    unsigned n, n_broken; /* atomic */
    uint8_t first;
};

void rig_init(struct rig *rig, const struct place *place);
void rig_clear(struct rig *rig);

/* Makes the device and connects it. False with *error. */
bool rig_create(struct rig *rig, GError **error);
int rig_start(struct rig *rig);
/* Stops it, and waits for that. */
void rig_stop(struct rig *rig);
void rig_await_stopped(struct rig *rig);
/* Notes what the device tells its transport. */
void rig_listen(struct rig *rig, struct told *told);
/* Until a count, which others write, is not 0. */
void rig_wait_for(const unsigned *n);

/* How many there are from connecting to taking the queues back, which are the last ones. */
unsigned rig_count_messages(void);
