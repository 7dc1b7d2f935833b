/* SPDX-License-Identifier: Apache-2.0 */
/* Configuration space: bytes, a mask, BARs that move; see pci-device.h. */
#include "vmm/pci/pci-device.h"

#include <linux/pci_regs.h>
#include <string.h>

#include "vhost-user/log.h"

/* What the guest may set of the command register. */
#define DEVICE_COMMANDS                                                            \
    (PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_SERR | \
     PCI_COMMAND_PARITY | PCI_COMMAND_INTX_DISABLE)

void pci_device_init(struct pci_device *device, const struct pci_device_ops *ops,
                     const struct pci_identity *identity)
{
    uint8_t *config = device->config;

    memset(device, 0, sizeof(*device));
    device->ops = ops;
    pci_put16(config + PCI_VENDOR_ID, identity->vendor);
    pci_put16(config + PCI_DEVICE_ID, identity->device);
    pci_put32(config + PCI_CLASS_REVISION, identity->class_code << 8 | identity->revision);
    pci_put16(config + PCI_SUBSYSTEM_VENDOR_ID, identity->subsystem_vendor);
    pci_put16(config + PCI_SUBSYSTEM_ID, identity->subsystem);
    config[PCI_INTERRUPT_PIN] = identity->has_pin ? 1 : 0;
    pci_put16(device->writable + PCI_COMMAND, DEVICE_COMMANDS);
    device->writable[PCI_INTERRUPT_LINE] = 0xff;
    device->writable[PCI_CACHE_LINE_SIZE] = 0xff;
}

void pci_device_add_bar(struct pci_device *device, unsigned index)
{
    struct pci_bar *bar = &device->bars[index];
    unsigned offset = PCI_BASE_ADDRESS_0 + 4 * index;

    device->config[offset] = PCI_BASE_ADDRESS_SPACE_MEMORY;
    pci_put32(device->writable + offset, (uint32_t) ~(bar->len - 1) & ~0xfu);
    if (bar->is_64) {
        device->config[offset] |= PCI_BASE_ADDRESS_MEM_TYPE_64 | PCI_BASE_ADDRESS_MEM_PREFETCH;
        pci_put32(device->writable + offset + 4, (uint32_t)(~(bar->len - 1) >> 32));
    }
    bar->range = (struct vmm_bus_range){.len = bar->len, .ops = bar->ops, .opaque = bar->opaque};
}

void pci_device_add_capability(struct pci_device *device, uint8_t id, uint8_t offset, uint8_t len)
{
    device->config[offset] = id;
    device->config[offset + 1] = device->last_capability;
    device->config[PCI_CAPABILITY_LIST] = offset;
    device->config[PCI_STATUS] |= PCI_STATUS_CAP_LIST;
    device->last_capability = offset;
}

/* --- BARs --- */

static uint64_t device_bar_address(const struct pci_device *device, unsigned index)
{
    const uint8_t *at = device->config + PCI_BASE_ADDRESS_0 + 4 * index;
    uint64_t address = pci_get(at, 4) & ~0xfu;

    if (device->bars[index].is_64)
        address |= (uint64_t)pci_get(at + 4, 4) << 32;
    return address;
}

static void device_unmap_bar(struct pci_device *device, struct pci_bar *bar)
{
    if (!bar->mapped)
        return;
    vmm_bus_remove(device->memory, &bar->range);
    bar->mapped = 0;
    if (bar->moved)
        bar->moved(bar->opaque, 0);
}

/* Address 0 is where a BAR is before anybody has placed it. */
static void device_map_bar(struct pci_device *device, struct pci_bar *bar, uint64_t gpa)
{
    if (gpa == 0)
        return;
    bar->range.base = gpa;
    if (vmm_bus_add(device->memory, &bar->range) < 0) {
        vu_debug("pci: slot %x: a BAR has no place at 0x%llx", device->slot,
                 (unsigned long long)gpa);
        return;
    }
    bar->mapped = gpa;
    if (bar->moved)
        bar->moved(bar->opaque, gpa);
}

/* Puts the BARs where their registers say. */
static void device_place_bars(struct pci_device *device)
{
    bool enabled = pci_get(device->config + PCI_COMMAND, 2) & PCI_COMMAND_MEMORY;

    for (unsigned i = 0; i < PCI_N_BARS; i++) {
        struct pci_bar *bar = &device->bars[i];
        uint64_t wanted = enabled && bar->len ? device_bar_address(device, i) : 0;

        if (bar->mapped && bar->mapped != wanted)
            device_unmap_bar(device, bar);
        if (!bar->mapped)
            device_map_bar(device, bar, wanted);
    }
}

void pci_device_unmap(struct pci_device *device)
{
    for (unsigned i = 0; i < PCI_N_BARS; i++)
        device_unmap_bar(device, &device->bars[i]);
}

/* --- access --- */

uint32_t pci_device_config_read(struct pci_device *device, unsigned offset, unsigned len)
{
    if (offset + len > PCI_CONFIG_LEN)
        return 0;
    if (device->ops->config_reading)
        device->ops->config_reading(device, offset, len);
    return pci_get(device->config + offset, len);
}

void pci_device_config_write(struct pci_device *device, unsigned offset, unsigned len,
                             uint32_t value)
{
    if (offset + len > PCI_CONFIG_LEN)
        return;
    for (unsigned i = 0; i < len; i++) {
        uint8_t mask = device->writable[offset + i];
        uint8_t byte = (uint8_t)(value >> (8 * i));

        device->config[offset + i] = (device->config[offset + i] & (uint8_t)~mask) | (byte & mask);
    }
    if (offset < PCI_BASE_ADDRESS_0 + 4 * PCI_N_BARS)
        device_place_bars(device);
    if (device->ops->config_written)
        device->ops->config_written(device, offset, len);
}

void pci_device_reset(struct pci_device *device)
{
    pci_device_unmap(device);
    for (unsigned i = 0; i < PCI_CONFIG_LEN; i++)
        device->config[i] &= (uint8_t)~device->writable[i];
    if (device->ops->reset)
        device->ops->reset(device);
}
