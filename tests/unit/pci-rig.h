/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A PCI bus without KVM, with one virtio device on it that writes down what the transport asks of
 * it; and its registers as a guest's driver reaches them.
 */
#pragma once

#include <glib.h>
#include <linux/pci_regs.h>
#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>

#include "fake-vm.h"
#include "vmm/layout.h"
#include "vmm/pci/pci-host.h"
#include "vmm/pci/virtio-pci-state.h"

#define N_QUEUES   3
#define QUEUE_SIZE 256
#define CONFIG_LEN 24
#define FEATURES   (UINT64_C(1) << VIRTIO_F_VERSION_1 | UINT64_C(1) << VIRTIO_F_RING_PACKED | 1 << 5)
#define SLOT       5

struct device {
    struct virtio_device virtio; /* first */
    uint8_t space[CONFIG_LEN];
    unsigned n_starts, n_stops, n_destroyed;
    bool is_live;
    bool is_stuck;   /* it does not come to an end of stopping */
    bool tells_last; /* of a change, when it is about to go */
    int start_error;
    uint64_t features;
    struct virtio_queue queues[N_QUEUES];
};

struct rig {
    struct fake_vm fake;
    struct vmm_bus memory, ports;
    struct pci_host *host;
    struct device device;
    uint64_t bar1, bar4;
};

/* Memory of the device is switched on. */
void rig_init(struct rig *rig);
/* Unplugs and ends the device, and checks that nothing of it is left. */
void rig_clear(struct rig *rig);

/* Where the device's configuration space is. */
uint64_t ecam(unsigned offset);
uint32_t config_read(struct rig *rig, unsigned offset, unsigned len);
void config_write(struct rig *rig, unsigned offset, unsigned len, uint32_t value);
/* The common configuration, in BAR 4. */
uint32_t common_read(struct rig *rig, unsigned offset, unsigned len);
void common_write(struct rig *rig, unsigned offset, unsigned len, uint32_t value);

/* Up to FEATURES_OK, as far as the device lets us. */
void negotiate(struct rig *rig, uint64_t features);
void enable_queue(struct rig *rig, unsigned index, unsigned size, unsigned vector);
/* Split rings, queue N on vector N + 1. */
void go_live(struct rig *rig);
