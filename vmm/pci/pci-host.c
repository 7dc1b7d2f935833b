/* SPDX-License-Identifier: Apache-2.0 */
/* The host bridge: from an address to a function's configuration space; see pci-host.h. */
#include "vmm/pci/pci-host.h"

#include <errno.h>
#include <glib.h>
#include <linux/pci_regs.h>

#include "vhost-user/cleanup.h"
#include "vmm/config.h"
#include "vmm/layout.h"

#define HOST_PORT_ADDRESS 0xcf8
#define HOST_PORT_DATA    0xcfc
#define HOST_ENABLE       0x80000000u

/* Room for the BARs of a slot, and for one of them. */
#define HOST_SLOT_LEN 0x100000u
#define HOST_BAR_LEN  0x10000u

/* As QEMU's generic bridge. */
static const struct pci_identity bridge_identity = {
    .vendor = 0x1b36,
    .device = 0x0008,
    .subsystem_vendor = 0x1af4,
    .subsystem = 0x1100,
    .class_code = 0x060000,
};

static const struct pci_device_ops bridge_ops = {NULL};

/* --- INTA --- */

/* Slots share four lines, which are high as long as any of theirs is. */
static void host_update_pins(struct pci_host *host, unsigned slot, uint32_t wanted, uint32_t off)
{
    uint32_t sharing = 0x11111111u << slot % VMM_N_PCI_LINES;
    bool was = host->pins & ~host->pins_off & sharing, is = wanted & ~off & sharing;

    host->pins = wanted;
    host->pins_off = off;
    if (was != is)
        vmm_vm_set_irq(host->vm, VMM_GSI_PCI + slot % VMM_N_PCI_LINES, is);
}

static uint32_t host_with_bit(uint32_t bits, unsigned slot, bool value)
{
    return value ? bits | 1u << slot : bits & ~(1u << slot);
}

static void host_set_pin(void *opaque, unsigned slot, bool level)
{
    struct pci_host *host = opaque;

    VU_LOCK_SCOPE(&host->pins_lock);

    host_update_pins(host, slot, host_with_bit(host->pins, slot, level), host->pins_off);
}

/* The command register can keep a pin from the line. */
static void host_obey_command(struct pci_host *host, const struct pci_device *device)
{
    bool is_off = pci_get(device->config + PCI_COMMAND, 2) & PCI_COMMAND_INTX_DISABLE;

    VU_LOCK_SCOPE(&host->pins_lock);

    host_update_pins(host, device->slot, host->pins,
                     host_with_bit(host->pins_off, device->slot, is_off));
}

/* The status register has what the device wants, whether it may or not. */
static void host_show_pin(struct pci_host *host, struct pci_device *device)
{
    VU_LOCK_SCOPE(&host->pins_lock);

    device->config[PCI_STATUS] &= (uint8_t)~PCI_STATUS_INTERRUPT;
    if (host->pins >> device->slot & 1)
        device->config[PCI_STATUS] |= PCI_STATUS_INTERRUPT;
}

/* --- configuration space --- */

/* bdf: bus, device and function as ECAM has them. */
static struct pci_device *host_find(struct pci_host *host, unsigned bdf)
{
    bool is_there = bdf >> 8 == 0 && (bdf & 7) == 0;

    return is_there ? host->slots[bdf >> 3 & 31] : NULL;
}

static uint32_t host_config_read(struct pci_host *host, unsigned bdf, unsigned offset, unsigned len)
{
    struct pci_device *device;

    VU_LOCK_SCOPE(&host->lock);

    device = host_find(host, bdf);
    if (!device)
        return UINT32_MAX;
    host_show_pin(host, device);
    return pci_device_config_read(device, offset, len);
}

static void host_config_write(struct pci_host *host, unsigned bdf, unsigned offset, unsigned len,
                              uint32_t value)
{
    struct pci_device *device;

    VU_LOCK_SCOPE(&host->lock);

    device = host_find(host, bdf);
    if (!device)
        return;
    pci_device_config_write(device, offset, len, value);
    host_obey_command(host, device);
}

/* --- ECAM --- */

static uint64_t ecam_read(void *opaque, uint64_t offset, unsigned len)
{
    unsigned bdf = (unsigned)(offset >> 12), reg = (unsigned)(offset & 0xfff);
    uint64_t value = host_config_read(opaque, bdf, reg, MIN(len, 4));

    if (len == 8)
        value |= (uint64_t)host_config_read(opaque, bdf, reg + 4, 4) << 32;
    return value;
}

static void ecam_write(void *opaque, uint64_t offset, unsigned len, uint64_t value)
{
    unsigned bdf = (unsigned)(offset >> 12), reg = (unsigned)(offset & 0xfff);

    host_config_write(opaque, bdf, reg, MIN(len, 4), (uint32_t)value);
    if (len == 8)
        host_config_write(opaque, bdf, reg + 4, 4, (uint32_t)(value >> 32));
}

static const struct vmm_bus_ops ecam_ops = {ecam_read, ecam_write};

/* --- ports --- */

static uint64_t address_read(void *opaque, uint64_t offset, unsigned len)
{
    struct pci_host *host = opaque;

    VU_LOCK_SCOPE(&host->lock);

    return offset == 0 && len == 4 ? host->address : UINT64_MAX;
}

static void address_write(void *opaque, uint64_t offset, unsigned len, uint64_t value)
{
    struct pci_host *host = opaque;

    VU_LOCK_SCOPE(&host->lock);

    if (offset == 0 && len == 4)
        host->address = (uint32_t)value;
}

static const struct vmm_bus_ops address_ops = {address_read, address_write};

/* False where no register is selected. */
static bool host_selected(struct pci_host *host, uint64_t offset, unsigned len, unsigned *ret_bdf,
                          unsigned *ret_reg)
{
    uint32_t address;

    VU_LOCK_SCOPE(&host->lock);

    address = host->address;
    *ret_bdf = address >> 8 & 0xffff;
    *ret_reg = (address & 0xfc) + (unsigned)offset;
    return (address & HOST_ENABLE) && offset + len <= 4;
}

static uint64_t data_read(void *opaque, uint64_t offset, unsigned len)
{
    unsigned bdf, reg;

    if (!host_selected(opaque, offset, len, &bdf, &reg))
        return UINT64_MAX;
    return host_config_read(opaque, bdf, reg, len);
}

static void data_write(void *opaque, uint64_t offset, unsigned len, uint64_t value)
{
    unsigned bdf, reg;

    if (host_selected(opaque, offset, len, &bdf, &reg))
        host_config_write(opaque, bdf, reg, len, (uint32_t)value);
}

static const struct vmm_bus_ops data_ops = {data_read, data_write};

/* --- life --- */

struct pci_host *pci_host_create(struct vmm_bus *memory, struct vmm_bus *ports, struct vmm_vm *vm)
{
    struct pci_host *host = g_new0(struct pci_host, 1);

    pthread_mutex_init(&host->lock, NULL);
    pthread_mutex_init(&host->pins_lock, NULL);
    host->vm = vm;
    host->memory = memory;
    host->ports = ports;
    host->ecam = (struct vmm_bus_range){VMM_ECAM, VMM_ECAM_LEN, &ecam_ops, host};
    host->address_port = (struct vmm_bus_range){HOST_PORT_ADDRESS, 4, &address_ops, host};
    host->data_port = (struct vmm_bus_range){HOST_PORT_DATA, 4, &data_ops, host};
    pci_device_init(&host->bridge, &bridge_ops, &bridge_identity);
    host->bridge.memory = memory;
    host->slots[0] = &host->bridge;
    if (vmm_bus_add(memory, &host->ecam) < 0 || vmm_bus_add(ports, &host->address_port) < 0 ||
        vmm_bus_add(ports, &host->data_port) < 0) {
        pci_host_destroy(host);
        return NULL;
    }
    return host;
}

void pci_host_destroy(struct pci_host *host)
{
    if (!host)
        return;
    for (unsigned i = 1; i < PCI_N_SLOTS; i++) {
        struct pci_device *device = host->slots[i];

        if (!device)
            continue;
        pci_host_unplug(host, device);
        device->ops->destroy(device);
    }
    vmm_bus_remove(host->memory, &host->ecam);
    vmm_bus_remove(host->ports, &host->address_port);
    vmm_bus_remove(host->ports, &host->data_port);
    pthread_mutex_destroy(&host->pins_lock);
    pthread_mutex_destroy(&host->lock);
    g_free(host);
}

/*
 * What firmware would do, for there is none: the guest finds every BAR in a place of its own, and
 * is free to move it.
 */
static void host_place_bars(struct pci_device *device)
{
    for (unsigned i = 0; i < PCI_N_BARS; i++)
        if (device->bars[i].len)
            pci_device_config_write(
                device, PCI_BASE_ADDRESS_0 + 4 * i, 4,
                (uint32_t)(VMM_BAR32 + device->slot * HOST_SLOT_LEN + i * HOST_BAR_LEN));
}

int pci_host_plug(struct pci_host *host, struct pci_device *device, int slot)
{
    VU_LOCK_SCOPE(&host->lock);

    if (slot < 0)
        for (slot = 1; slot < PCI_N_SLOTS && host->slots[slot]; slot++)
            ;
    else if (host->slots[slot])
        return -EBUSY;
    if (slot >= PCI_N_SLOTS)
        return -ENOSPC;
    device->slot = (unsigned)slot;
    device->memory = host->memory;
    device->set_pin = host_set_pin;
    device->pin_opaque = host;
    host->slots[slot] = device;
    host_obey_command(host, device);
    host_place_bars(device);
    return slot;
}

void pci_host_unplug(struct pci_host *host, struct pci_device *device)
{
    VU_LOCK_SCOPE(&host->lock);

    host->slots[device->slot] = NULL;
    pci_device_unmap(device);
    host_set_pin(host, device->slot, false);
}

void pci_host_reset(struct pci_host *host)
{
    VU_LOCK_SCOPE(&host->lock);

    host->address = 0;
    for (unsigned i = 0; i < PCI_N_SLOTS; i++) {
        if (!host->slots[i])
            continue;
        pci_device_reset(host->slots[i]);
        host_obey_command(host, host->slots[i]);
        host_place_bars(host->slots[i]);
    }
}

struct pci_device *pci_host_at(struct pci_host *host, unsigned slot)
{
    VU_LOCK_SCOPE(&host->lock);

    return slot < PCI_N_SLOTS ? host->slots[slot] : NULL;
}
