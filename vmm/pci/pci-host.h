/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host bridge: bus 0 with 32 slots of one function each, reached by ECAM (PCI Express Base 5.0
 * section 7.2.2) and by the ports 0xCF8 and 0xCFC.
 *
 * A lock serialises the configuration spaces, which any vCPU reads and writes.
 */
#pragma once

#include <pthread.h>

#include "vmm/pci/pci-device.h"
#include "vmm/x86/vm.h"

#define PCI_N_SLOTS 32

struct pci_host {
    pthread_mutex_t lock;
    struct vmm_bus *memory, *ports;
    struct vmm_bus_range ecam, address_port, data_port;
    uint32_t address;                      /* of 0xCF8; under lock */
    struct pci_device bridge;              /* slot 0 */
    struct pci_device *slots[PCI_N_SLOTS]; /* under lock; not owned */

    pthread_mutex_t pins_lock; /* innermost */
    struct vmm_vm *vm;
    /* Under pins_lock: slots that want INTA, and those whose command register keeps it off. */
    uint32_t pins, pins_off;
};

/* Appears on both buses. NULL where its addresses are taken (a bug). */
struct pci_host *pci_host_create(struct vmm_bus *memory, struct vmm_bus *ports, struct vmm_vm *vm);
/* Calls destroy of what is still plugged. NULL is allowed. */
void pci_host_destroy(struct pci_host *host);

/* slot: 1 to 31, or -1 for the first that is free. The device is the bridge's until it is
 * unplugged. Returns the slot, or -EBUSY (taken), -ENOSPC (none is free). */
int pci_host_plug(struct pci_host *host, struct pci_device *device, int slot);
/* Takes a device off the bus; it is the caller's again, and nobody is inside its BARs. */
void pci_host_unplug(struct pci_host *host, struct pci_device *device);

/* Everything as after power-on. No vCPU runs. */
void pci_host_reset(struct pci_host *host);

/* NULL where the slot is empty. The device may be unplugged by whoever is the main thread only. */
struct pci_device *pci_host_at(struct pci_host *host, unsigned slot);
