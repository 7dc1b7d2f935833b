/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtio device whose back-end is another process, reached by vhost-user.
 *
 *   CONNECTED <--start, stop--> RUNNING
 *   any --the back-end dies--> AWAY --it is back: memory, rings, inflight log--> as before
 *
 * The guest's vCPUs start and stop it (virtio-device.h), which a thread of its own ("vhost") does
 * for them: it speaks with the back-end, notices that it has gone, and connects again for as long
 * as it takes. Requests wait in the rings meanwhile. Nobody but the thread ever waits for a
 * back-end (but for a moment where a vCPU starts it or writes to the configuration space).
 */
#pragma once

#include <glib.h>

#include "vmm/config.h"
#include "vmm/ram.h"
#include "vmm/virtio-device.h"

/* How long a back-end may take to appear when the device is made. */
#define VHOST_CONNECT_MS 3000

/* Knows nothing of its back-end yet, and is of no use until it is open. config and ram must outlive
 * the device. */
struct virtio_device *vhost_device_create(const struct vmm_config *config,
                                          const struct vmm_device_config *device_config,
                                          const struct vmm_ram *ram);
/* Connects to the back-end, asks what it is and starts the thread. False with *error, which names
 * the device and the socket. */
bool vhost_device_open(struct virtio_device *device, GError **error);
/* The same on the device's thread: done is called there, with NULL or an error that is its own. */
typedef void (*vhost_device_opened_fn)(void *opaque, GError *error);
bool vhost_device_open_later(struct virtio_device *device, vhost_device_opened_fn done,
                             void *opaque, GError **error);

/* One that is being opened on its thread, and not wanted any more: that fails soon. Any thread. */
void vhost_device_interrupt(struct virtio_device *device);

/* Whether the back-end is there just now. Any thread. */
bool vhost_device_is_connected(struct virtio_device *device);
/* How often it has come back. Any thread. */
unsigned vhost_device_n_reconnects(struct virtio_device *device);
