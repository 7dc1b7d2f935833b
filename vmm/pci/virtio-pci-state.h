/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the virtio transport share; private to them. */
#pragma once

#include <pthread.h>

#include "vmm/pci/virtio-pci.h"

#define VIRTIO_PCI_COMMON     0x0000u
#define VIRTIO_PCI_ISR_AT     0x1000u
#define VIRTIO_PCI_CONFIG_AT  0x2000u
#define VIRTIO_PCI_NOTIFY     0x3000u
#define VIRTIO_PCI_BAR_LEN    0x4000u
#define VIRTIO_PCI_PAGE       0x1000u
#define VIRTIO_PCI_MULTIPLIER 4u

/* Bits of the ISR status. */
#define VIRTIO_ISR_QUEUE  1
#define VIRTIO_ISR_CONFIG 2

struct virtio_pci {
    struct pci_device pci; /* first */
    struct msix msix;
    struct vmm_vm *vm;
    GMainContext *context;
    struct virtio_device *device;

    pthread_mutex_t lock; /* everything below, and the calls of the device's ops */
    struct virtio_queue queues[VIRTIO_MAX_QUEUES];
    uint16_t vectors[VIRTIO_MAX_QUEUES];       /* of queues; MSIX_NO_VECTOR: none */
    GSource *pin_calls[VIRTIO_MAX_QUEUES];     /* while live: of a queue that has no vector */
    uint16_t config_vector;                    /* atomic: virtio_pci_changed has no lock */
    uint64_t driver_features, device_features; /* accepted; offered at the last reset */
    uint32_t device_feature_select, driver_feature_select;
    uint16_t queue_select;
    uint8_t status;            /* atomic, likewise */
    bool is_live;              /* the device is started */
    bool is_resetting;         /* it is stopping: registers stay, and take nothing, until it has */
    uint8_t config_generation; /* atomic, likewise */
    uint64_t next_log_ns;
    uint64_t notify_gpa; /* where the ioeventfds are; 0: nowhere. The bridge's lock's */

    pthread_mutex_t isr_lock; /* innermost */
    uint8_t isr;
};

/* --- virtio-pci-common.c: the common configuration; all with the lock --- */

uint64_t virtio_pci_common_read(struct virtio_pci *pci, uint64_t offset, unsigned len);
void virtio_pci_common_write(struct virtio_pci *pci, uint64_t offset, unsigned len, uint64_t value);
/* Stops the device; once it has stopped, registers are as after power-on. */
void virtio_pci_reset_locked(struct virtio_pci *pci);
/* Whether no reset is on its way; ends one whose device has stopped. */
bool virtio_pci_settle_locked(struct virtio_pci *pci);

/* --- virtio-pci-irq.c: interrupts --- */

/* Gives each queue its call_fd: its vector's, or one that the main loop waits on. -errno. */
int virtio_pci_connect_calls(struct virtio_pci *pci);
void virtio_pci_disconnect_calls(struct virtio_pci *pci);

/* Adds to the ISR status and raises INTA, where there is a driver. Any thread. */
void virtio_pci_raise(struct virtio_pci *pci, uint8_t bits);
/* Reads the ISR status, which clears it and lowers INTA. */
uint8_t virtio_pci_take_isr(struct virtio_pci *pci);
/* The device's `changed`. Any thread. */
void virtio_pci_changed(void *opaque, bool is_broken);
