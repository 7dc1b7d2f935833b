/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The PCI transport of virtio (virtio 1.3 section 4.1), modern only: registers in BAR 4, MSI-X in
 * BAR 1, laid out as QEMU's devices are.
 *
 *   BAR 4   0x0000  common configuration
 *           0x1000  ISR status
 *           0x2000  the device's configuration
 *           0x3000  notifications, 4 bytes for each queue: an ioeventfd each, which is the queue's
 *                   kick; what nevertheless arrives here is a kick too
 *
 *   RESET --ACKNOWLEDGE, DRIVER, FEATURES_OK--> configured --DRIVER_OK--> LIVE --0--> RESET
 *
 * A live queue's registers are frozen. Without MSI-X the main loop turns the queues' calls into
 * INTA.
 */
#pragma once

#include <glib.h>

#include "vmm/pci/msix.h"
#include "vmm/virtio-device.h"

struct virtio_pci;

/* Takes over the device in any case. NULL with -errno in *ret_error. */
struct virtio_pci *virtio_pci_create(struct vmm_vm *vm, GMainContext *context,
                                     struct virtio_device *device, int *ret_error);
struct pci_device *virtio_pci_device(struct virtio_pci *pci);
