/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MSI-X (PCI Local Bus 3.0 section 6.8.2): each vector has an eventfd, written by a back-end, and
 * while the vector is enabled and not masked, KVM turns that into its message without us.
 *
 * What comes while a vector is masked waits in the eventfd, which is the pending bit. Under a lock
 * of its own, taken by vCPUs in the table, by configuration writes, and by whoever signals.
 */
#pragma once

#include <pthread.h>

#include "vmm/pci/pci-device.h"
#include "vmm/x86/vm.h"

#define MSIX_MAX_VECTORS 128
#define MSIX_BAR_LEN     4096
#define MSIX_PBA_OFFSET  2048
#define MSIX_NO_VECTOR   0xffff

struct msix_vector {
    uint64_t address;
    uint32_t data;
    bool is_masked;
    int eventfd;
    unsigned gsi;
    bool has_gsi, is_attached; /* KVM waits on the eventfd */
};

struct msix {
    pthread_mutex_t lock;
    struct vmm_vm *vm;
    unsigned n_vectors;
    uint8_t capability;         /* offset in the configuration space */
    bool is_enabled, is_masked; /* as the capability's control says */
    uint64_t next_log_ns;
    struct msix_vector vectors[MSIX_MAX_VECTORS];
};

/* Adds the capability at offset, and its table as BAR 1. -errno of eventfd; to be finished then
 * too. */
int msix_init(struct msix *msix, struct pci_device *device, struct vmm_vm *vm, unsigned n_vectors,
              uint8_t capability);
/* Nobody is in the BAR. */
void msix_finish(struct msix *msix);

/* After the guest has written to the configuration space. */
void msix_config_written(struct msix *msix, const struct pci_device *device);
void msix_reset(struct msix *msix);

/* Descriptor that a vector's callers write; lives as long as the msix. -1: no such vector. */
int msix_eventfd(const struct msix *msix, unsigned vector);
/* Signals a vector by ourselves. */
void msix_signal(struct msix *msix, unsigned vector);
bool msix_enabled(struct msix *msix);
