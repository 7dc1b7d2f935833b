/* SPDX-License-Identifier: Apache-2.0 */
/* The host bridge: from an address to a function's configuration space; see pci-host.h. */
#include "vmm/pci/pci-host.h"

#include <errno.h>
#include <glib.h>
#include <linux/pci_regs.h>

#include "vhost-user/cleanup.h"
#include "vmm/layout.h"

#define HOST_PORT_ADDRESS 0xcf8
#define HOST_PORT_DATA    0xcfc
#define HOST_ENABLE       0x80000000u

/* Room for the BARs of a bus, of a slot, and for one of them. */
#define HOST_BUS_LEN  (VMM_BAR32_LEN / VMM_MAX_BRIDGES)
#define HOST_SLOT_LEN (HOST_BUS_LEN / PCI_N_SLOTS)
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

/* As QEMU's expander bridge. */
static const struct pci_identity expander_identity = {
    .vendor = 0x1b36,
    .device = 0x000b,
    .subsystem_vendor = 0x1af4,
    .subsystem = 0x1100,
    .class_code = 0x060000,
};

static void expander_destroy(struct pci_device *device)
{
    g_free(device);
}

static const struct pci_device_ops expander_ops = {.destroy = expander_destroy};

/* --- INTA --- */

/* Slots of all buses share four lines, which are high as long as any of theirs is. */
static bool host_line_is_high(const struct pci_host *host, unsigned line)
{
    uint32_t sharing = 0x11111111u << line, wanted = 0;

    for (unsigned i = 0; i < host->n_buses; i++)
        wanted |= host->buses[i].pins & ~host->buses[i].pins_off;
    return wanted & sharing;
}

static void host_update_pins(struct pci_bus *bus, unsigned slot, uint32_t wanted, uint32_t off)
{
    struct pci_host *host = bus->host;
    unsigned line = slot % VMM_N_PCI_LINES;
    bool was = host_line_is_high(host, line), is;

    bus->pins = wanted;
    bus->pins_off = off;
    is = host_line_is_high(host, line);
    if (was != is)
        vmm_vm_set_irq(host->vm, VMM_GSI_PCI + line, is);
}

static uint32_t host_with_bit(uint32_t bits, unsigned slot, bool value)
{
    return value ? bits | 1u << slot : bits & ~(1u << slot);
}

static void host_set_pin(struct pci_bus *bus, unsigned slot, bool level)
{
    VU_LOCK_SCOPE(&bus->host->pins_lock);

    host_update_pins(bus, slot, host_with_bit(bus->pins, slot, level), bus->pins_off);
}

/* The command register can keep a pin from the line. */
static void host_obey_command(const struct pci_device *device)
{
    bool is_off = pci_get(device->config + PCI_COMMAND, 2) & PCI_COMMAND_INTX_DISABLE;
    struct pci_bus *bus = device->bus;

    VU_LOCK_SCOPE(&bus->host->pins_lock);

    host_update_pins(bus, device->slot, bus->pins,
                     host_with_bit(bus->pins_off, device->slot, is_off));
}

/* The status register has what the device wants, whether it may or not. */
static void host_show_pin(struct pci_device *device)
{
    VU_LOCK_SCOPE(&device->bus->host->pins_lock);

    device->config[PCI_STATUS] &= (uint8_t)~PCI_STATUS_INTERRUPT;
    if (device->bus->pins >> device->slot & 1)
        device->config[PCI_STATUS] |= PCI_STATUS_INTERRUPT;
}

/* --- configuration space --- */

/* bdf: bus, device and function as ECAM has them. */
static struct pci_device *host_find(struct pci_host *host, unsigned bdf)
{
    for (unsigned i = 0; i < host->n_buses && (bdf & 7) == 0; i++) {
        struct pci_device *device = host->buses[i].slots[bdf >> 3 & 31];

        if (host->buses[i].number == bdf >> 8)
            return device && !device->is_hidden ? device : NULL;
    }
    return NULL;
}

static uint32_t host_config_read(struct pci_host *host, unsigned bdf, unsigned offset, unsigned len)
{
    struct pci_device *device;

    VU_LOCK_SCOPE(&host->lock);

    device = host_find(host, bdf);
    if (!device)
        return UINT32_MAX;
    host_show_pin(device);
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
    host_obey_command(device);
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

void pci_host_add_bus(struct pci_host *host, unsigned number, unsigned n_slots)
{
    struct pci_bus *bus = &host->buses[host->n_buses];

    g_assert(host->n_buses < VMM_MAX_BRIDGES && n_slots <= PCI_N_SLOTS);
    *bus = (struct pci_bus){host, host->n_buses, number, n_slots, {NULL}, 0, 0};
    host->n_buses++;
}

struct pci_device *pci_host_create_expander(void)
{
    struct pci_device *device = g_new(struct pci_device, 1);

    pci_device_init(device, &expander_ops, &expander_identity);
    return device;
}

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
    pci_host_add_bus(host, 0, PCI_N_SLOTS);
    pci_device_init(&host->bridge, &bridge_ops, &bridge_identity);
    pci_host_plug(host, 0, &host->bridge, 0);
    if (vmm_bus_add(memory, &host->ecam) < 0 || vmm_bus_add(ports, &host->address_port) < 0 ||
        vmm_bus_add(ports, &host->data_port) < 0) {
        pci_host_destroy(host);
        return NULL;
    }
    return host;
}

static void host_empty_bus(struct pci_bus *bus)
{
    for (unsigned i = 0; i < PCI_N_SLOTS; i++) {
        struct pci_device *device = bus->slots[i];

        if (!device)
            continue;
        pci_host_unplug(bus->host, device);
        if (device->ops->destroy)
            device->ops->destroy(device);
    }
}

void pci_host_destroy(struct pci_host *host)
{
    if (!host)
        return;
    for (unsigned i = 0; i < host->n_buses; i++)
        host_empty_bus(&host->buses[i]);
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
    uint64_t first = VMM_BAR32 + device->bus->index * HOST_BUS_LEN + device->slot * HOST_SLOT_LEN;

    for (unsigned i = 0; i < PCI_N_BARS; i++)
        if (device->bars[i].len)
            pci_device_config_write(device, PCI_BASE_ADDRESS_0 + 4 * i, 4,
                                    (uint32_t)(first + i * HOST_BAR_LEN));
}

int pci_host_plug(struct pci_host *host, unsigned bus, struct pci_device *device, int slot)
{
    struct pci_device **slots = host->buses[bus].slots;
    int n_slots = (int)host->buses[bus].n_slots;

    VU_LOCK_SCOPE(&host->lock);

    if (slot < 0)
        for (slot = 0; slot < n_slots && slots[slot]; slot++)
            ;
    if (slot >= n_slots)
        return -ENOSPC;
    if (slots[slot])
        return -EBUSY;
    device->bus = &host->buses[bus];
    device->slot = (unsigned)slot;
    device->memory = host->memory;
    device->set_pin = host_set_pin;
    slots[slot] = device;
    host_obey_command(device);
    host_place_bars(device);
    return slot;
}

void pci_host_hide(struct pci_host *host, struct pci_device *device)
{
    struct pci_bus *bus = device->bus;

    VU_LOCK_SCOPE(&host->lock);

    device->is_hidden = true;
    pci_device_unmap(device);
    VU_LOCK_SCOPE(&host->pins_lock);

    host_update_pins(bus, device->slot, bus->pins,
                     host_with_bit(bus->pins_off, device->slot, true));
}

void pci_host_unplug(struct pci_host *host, struct pci_device *device)
{
    VU_LOCK_SCOPE(&host->lock);

    device->bus->slots[device->slot] = NULL;
    pci_device_unmap(device);
    host_set_pin(device->bus, device->slot, false);
}

void pci_host_reset(struct pci_host *host)
{
    VU_LOCK_SCOPE(&host->lock);

    host->address = 0;
    for (unsigned i = 0; i < host->n_buses * PCI_N_SLOTS; i++) {
        struct pci_device *device = host->buses[i / PCI_N_SLOTS].slots[i % PCI_N_SLOTS];

        if (!device)
            continue;
        pci_device_reset(device);
        host_obey_command(device);
        host_place_bars(device);
    }
}

struct pci_device *pci_host_at(struct pci_host *host, unsigned bus, unsigned slot)
{
    VU_LOCK_SCOPE(&host->lock);

    return bus < host->n_buses && slot < PCI_N_SLOTS ? host->buses[bus].slots[slot] : NULL;
}
