/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A PCI function: its configuration space as bytes with a mask of what the guest may write, its
 * capabilities, and BARs that appear on the memory bus where the guest puts them. PCI Local Bus 3.0
 * chapter 6.
 *
 * Configuration space is the host bridge's lock's. BARs are answered without it, so their ops must
 * not take it.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "vmm/bus.h"

#define PCI_CONFIG_LEN 256 /* no extended capabilities: what lies behind reads as zeros */
#define PCI_N_BARS     6

struct pci_device;
struct pci_bus;

struct pci_bar {
    uint64_t len; /* a power of two, from 4096 on; 0: there is none */
    bool is_64;   /* takes the next BAR's place too; then prefetchable */
    const struct vmm_bus_ops *ops;
    void *opaque;
    /* Where it is now, 0: nowhere. With the bridge's lock. NULL: nobody needs to know. */
    void (*moved)(void *opaque, uint64_t gpa);
    struct vmm_bus_range range;
    uint64_t mapped; /* gpa; 0: nowhere */
};

struct pci_device_ops {
    /* The guest has written [offset, offset + len) of the configuration space. */
    void (*config_written)(struct pci_device *device, unsigned offset, unsigned len);
    /* It is about to read there: bytes that are more than that are brought up to date. */
    void (*config_reading)(struct pci_device *device, unsigned offset, unsigned len);
    /* Power-on state of everything behind the configuration space. */
    void (*reset)(struct pci_device *device);
    void (*destroy)(struct pci_device *device);
};

/* What a function is; constant. */
struct pci_identity {
    uint16_t vendor, device, subsystem_vendor, subsystem;
    uint32_t class_code; /* 24 bits */
    uint8_t revision;
    bool has_pin; /* INTA */
};

/* Begins every PCI device. */
struct pci_device {
    const struct pci_device_ops *ops;
    struct vmm_bus *memory; /* where BARs appear */
    struct pci_bus *bus;    /* the one it is plugged into; with the slot, set by the bridge */
    unsigned slot;
    bool is_hidden; /* the bridge's: it has left, but for its slot */
    uint8_t config[PCI_CONFIG_LEN], writable[PCI_CONFIG_LEN];
    /* Set by the bridge: raises or lowers INTA. Any thread. */
    void (*set_pin)(struct pci_bus *bus, unsigned slot, bool level);
    uint8_t last_capability; /* the one the pointer of the header leads to */
    struct pci_bar bars[PCI_N_BARS];
};

void pci_device_init(struct pci_device *device, const struct pci_device_ops *ops,
                     const struct pci_identity *identity);

/* Before the device is on a bus. bars[index] is filled in by the caller but for its state. */
void pci_device_add_bar(struct pci_device *device, unsigned index);
/* Puts a capability of len bytes at offset, before those that were added earlier. Its body is to be
 * written by the caller. */
void pci_device_add_capability(struct pci_device *device, uint8_t id, uint8_t offset, uint8_t len);

/* The rest is for the bridge, with its lock. */
uint32_t pci_device_config_read(struct pci_device *device, unsigned offset, unsigned len);
void pci_device_config_write(struct pci_device *device, unsigned offset, unsigned len,
                             uint32_t value);
/* BARs leave the bus; registers are as after power-on. */
void pci_device_reset(struct pci_device *device);
/* BARs leave the bus. */
void pci_device_unmap(struct pci_device *device);

static inline void pci_put16(uint8_t *at, uint16_t value)
{
    at[0] = (uint8_t)value;
    at[1] = (uint8_t)(value >> 8);
}

static inline void pci_put32(uint8_t *at, uint32_t value)
{
    pci_put16(at, (uint16_t)value);
    pci_put16(at + 2, (uint16_t)(value >> 16));
}

static inline uint32_t pci_get(const uint8_t *at, unsigned len)
{
    uint32_t value = 0;

    for (unsigned i = 0; i < len; i++)
        value |= (uint32_t)at[i] << (8 * i);
    return value;
}
