/* SPDX-License-Identifier: Apache-2.0 */
/* From the described devices to slots of the bus; see devices.h. */
#include "vmm/devices.h"

#include <errno.h>
#include <gio/gio.h>

#include "vmm/machine.h"
#include "vmm/pci/pci-host.h"
#include "vmm/pci/virtio-pci.h"
#include "vmm/vhost/vhost-device.h"

static bool devices_fail(GError **error, const struct vmm_device_config *config, int rc)
{
    g_set_error(error, G_IO_ERROR, (int)g_io_error_from_errno(-rc), "device on chardev %s: %s",
                config->chardev, rc == -ENOSPC ? "no slot is free" : g_strerror(-rc));
    return false;
}

static bool devices_add(struct vmm_machine *machine, const struct vmm_device_config *config,
                        GError **error)
{
    struct virtio_device *device =
        vhost_device_create(&machine->config, config, &machine->ram, error);
    struct virtio_pci *pci;
    int rc;

    if (!device)
        return false;
    pci = virtio_pci_create(&machine->vm, machine->context, device, config->numa_node, &rc);
    if (!pci)
        return devices_fail(error, config, rc);
    rc = pci_host_plug(machine->pci, virtio_pci_device(pci), config->slot);
    if (rc >= 0)
        return true;
    virtio_pci_device(pci)->ops->destroy(virtio_pci_device(pci));
    return devices_fail(error, config, rc);
}

/* Those that name a slot come first, so that the others find one that is free. */
static bool devices_add_all(struct vmm_machine *machine, bool with_slot, GError **error)
{
    for (unsigned i = 0; i < machine->config.devices->len; i++) {
        const struct vmm_device_config *config = g_ptr_array_index(machine->config.devices, i);

        if ((config->slot >= 0) == with_slot && !devices_add(machine, config, error))
            return false;
    }
    return true;
}

bool vmm_devices_create(struct vmm_machine *machine, GError **error)
{
    machine->pci = pci_host_create(&machine->memory, &machine->ports, &machine->vm);
    if (!machine->pci) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_EXISTS, "the addresses of the PCI bus are taken");
        return false;
    }
    return devices_add_all(machine, true, error) && devices_add_all(machine, false, error);
}

void vmm_devices_destroy(struct vmm_machine *machine)
{
    g_clear_pointer(&machine->pci, pci_host_destroy);
}

void vmm_devices_reset(struct vmm_machine *machine)
{
    pci_host_reset(machine->pci);
}
