/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host bridges: root buses with up to 32 slots of one function each, all reached by one ECAM
 * (PCI Express Base 5.0 section 7.2.2) and by the ports 0xCF8 and 0xCFC. The first one is bus 0 and
 * has itself in slot 0; the others are there so that a device is near a node.
 *
 * A lock serialises the configuration spaces, which any vCPU reads and writes.
 */
#pragma once

#include <pthread.h>

#include "vmm/layout.h"
#include "vmm/pci/pci-device.h"
#include "vmm/x86/vm.h"

#define PCI_N_SLOTS 32

struct pci_host;

/* A root bus. */
struct pci_bus {
    struct pci_host *host;
    unsigned index, number;                /* constant; number is what ECAM and the guest say */
    unsigned n_slots;                      /* constant: the first of these */
    struct pci_device *slots[PCI_N_SLOTS]; /* under the host's lock; not owned */
    /* Under pins_lock: slots that want INTA, and those whose command register keeps it off. */
    uint32_t pins, pins_off;
};

struct pci_host {
    pthread_mutex_t lock;
    struct vmm_bus *memory, *ports;
    struct vmm_bus_range ecam, address_port, data_port;
    uint32_t address;         /* of 0xCF8; under lock */
    struct pci_device bridge; /* slot 0 of bus 0 */
    struct pci_bus buses[VMM_MAX_BRIDGES];
    unsigned n_buses; /* constant once vCPUs run */

    pthread_mutex_t pins_lock; /* innermost */
    struct vmm_vm *vm;
};

/* With bus 0 alone. Appears on both of the machine's buses. NULL where its addresses are taken (a
 * bug). */
struct pci_host *pci_host_create(struct vmm_bus *memory, struct vmm_bus *ports, struct vmm_vm *vm);
/* Calls destroy of what is still plugged. NULL is allowed. */
void pci_host_destroy(struct pci_host *host);

/* Another root bus, of a number that no other has, before a vCPU runs. Its index is the number of
 * those that were there. */
void pci_host_add_bus(struct pci_host *host, unsigned number, unsigned n_slots);
/* A function that does nothing but tell of another root bus; pci_host_plug puts it on bus 0. */
struct pci_device *pci_host_create_expander(void);

/* bus: an index. slot: -1 for the first that is free. The device is the bridge's until it is
 * unplugged. Returns the slot, or -EBUSY (taken), -ENOSPC (none is free, or of that number). */
int pci_host_plug(struct pci_host *host, unsigned bus, struct pci_device *device, int slot);
/* Takes a device out of the guest's sight, until it is unplugged; nobody is inside its BARs. Its
 * slot stays taken, and its interrupt is of no effect. */
void pci_host_hide(struct pci_host *host, struct pci_device *device);
/* Takes a device off the bus; it is the caller's again, and nobody is inside its BARs. */
void pci_host_unplug(struct pci_host *host, struct pci_device *device);

/* Everything as after power-on. No vCPU runs. */
void pci_host_reset(struct pci_host *host);

/* NULL where the slot is empty. The device may be unplugged by whoever is the main thread only. */
struct pci_device *pci_host_at(struct pci_host *host, unsigned bus, unsigned slot);
