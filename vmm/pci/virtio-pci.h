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
 *   RESET --ACKNOWLEDGE, DRIVER, FEATURES_OK--> configured --DRIVER_OK--> LIVE
 *   any --0--> stopping, until the device lets its queues go --> RESET
 *
 * The status reads as 0 only then, which is what drivers wait for (4.1.4.3.1); until then registers
 * take nothing. A live queue's registers are frozen. Without MSI-X the main loop turns the queues'
 * calls into INTA.
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
/* As the driver's own reset. */
void virtio_pci_stop(struct virtio_pci *pci);
bool virtio_pci_is_stopped(struct virtio_pci *pci);
