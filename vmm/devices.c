/* SPDX-License-Identifier: Apache-2.0 */
/* From the described devices to slots of the bus, and away from there; see devices.h. */
#include "vmm/devices.h"

#include <errno.h>
#include <gio/gio.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>

#include "vmm/acpi-device.h"
#include "vmm/machine.h"
#include "vmm/pci/pci-host.h"
#include "vmm/pci/virtio-pci.h"
#include "vmm/vhost/vhost-device.h"

/* How long back-ends may take to let their queues go when everything ends. */
#define END_MS 2000

static bool devices_fail(GError **error, const struct vmm_device_config *config, int rc)
{
    g_set_error(error, G_IO_ERROR, (int)g_io_error_from_errno(-rc), "device on chardev %s: %s",
                config->chardev, rc == -ENOSPC ? "no such slot is free" : g_strerror(-rc));
    return false;
}

/* Puts an open device into a slot; takes it over in any case. The slot, or -1 with *error. */
static int devices_attach(struct vmm_machine *machine, const struct vmm_device_config *config,
                          struct virtio_device *virtio, GError **error)
{
    struct vmm_device *device;
    int rc;
    struct virtio_pci *pci = virtio_pci_create(&machine->vm, machine->context, virtio, &rc);

    if (!pci) {
        devices_fail(error, config, rc);
        return -1;
    }
    rc = pci_host_plug(machine->pci, config->bridge, virtio_pci_device(pci), config->slot);
    if (rc < 0) {
        virtio_pci_device(pci)->ops->destroy(virtio_pci_device(pci));
        devices_fail(error, config, rc);
        return -1;
    }
    device = g_new(struct vmm_device, 1);
    *device = (struct vmm_device){
        .config = config, .virtio = virtio, .transport = pci, .pci = virtio_pci_device(pci)};
    g_ptr_array_add(machine->devices, device);
    return rc;
}

/* On the device's thread. */
static void devices_on_stopped(void *owner)
{
    vmm_machine_ask(owner, VMM_REQUEST_STOPPED);
}

static struct virtio_device *devices_make(struct vmm_machine *machine,
                                          const struct vmm_device_config *config)
{
    struct virtio_device *virtio = vhost_device_create(&machine->config, config, &machine->ram);

    virtio->stopped = devices_on_stopped;
    virtio->owner = machine;
    return virtio;
}

static bool devices_add(struct vmm_machine *machine, const struct vmm_device_config *config,
                        GError **error)
{
    struct virtio_device *virtio = devices_make(machine, config);

    if (vhost_device_open(virtio, error))
        return devices_attach(machine, config, virtio, error) >= 0;
    virtio->ops->destroy(virtio);
    return false;
}

/* A bridge that the user has named shows as a function of bus 0, too. */
static bool devices_show_bridge(struct vmm_machine *machine, const struct vmm_bridge_config *config,
                                GError **error)
{
    struct pci_device *expander = pci_host_create_expander();
    int rc = pci_host_plug(machine->pci, 0, expander, config->slot);

    if (rc >= 0)
        return true;
    expander->ops->destroy(expander);
    g_set_error(error, G_IO_ERROR, (int)g_io_error_from_errno(-rc), "-device pxb-pcie %s: %s",
                config->id, rc == -ENOSPC ? "no slot is free" : "its slot is taken");
    return false;
}

/* Those that name a slot come first, so that the others find one that is free. */
static bool devices_add_all(struct vmm_machine *machine, bool with_slot, GError **error)
{
    for (unsigned i = 1; i < machine->config.bridges->len; i++) {
        const struct vmm_bridge_config *bridge = vmm_config_bridge(&machine->config, i);

        if (bridge->id && (bridge->slot >= 0) == with_slot &&
            !devices_show_bridge(machine, bridge, error))
            return false;
    }
    for (unsigned i = 0; i < machine->config.devices->len; i++) {
        const struct vmm_device_config *config = g_ptr_array_index(machine->config.devices, i);

        if ((config->slot >= 0) == with_slot && !devices_add(machine, config, error))
            return false;
    }
    return true;
}

/* On the vCPU that lets devices go. */
static void devices_on_eject(void *opaque, unsigned bridge, uint32_t slots)
{
    struct vmm_machine *machine = opaque;

    __atomic_fetch_or(&machine->ejected[bridge], slots, __ATOMIC_ACQ_REL);
    vmm_machine_ask(machine, VMM_REQUEST_EJECT);
}

bool vmm_devices_create(struct vmm_machine *machine, GError **error)
{
    machine->devices = g_ptr_array_new_with_free_func(g_free);
    machine->newcomers = g_ptr_array_new_with_free_func(g_free);
    machine->pci = pci_host_create(&machine->memory, &machine->ports, &machine->vm);
    if (!machine->pci) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_EXISTS, "the addresses of the PCI bus are taken");
        return false;
    }
    for (unsigned i = 1; i < machine->config.bridges->len; i++)
        pci_host_add_bus(machine->pci, vmm_config_bridge(&machine->config, i)->bus_nr,
                         vmm_config_bridge(&machine->config, i)->n_slots);
    vmm_acpi_set_eject(machine->acpi, devices_on_eject, machine);
    return devices_add_all(machine, true, error) && devices_add_all(machine, false, error);
}

/* --- coming and leaving --- */

/* One that is being opened by its thread. */
struct devices_newcomer {
    struct vmm_machine *machine;
    const struct vmm_device_config *config;
    struct virtio_device *virtio;
    GError *error; /* why there is no connection */
    vmm_devices_plugged_fn done;
    void *opaque;
};

/* It is one no more: a device, or nothing. */
static void devices_forget(struct devices_newcomer *newcomer, bool is_device)
{
    if (!is_device)
        vmm_config_remove_device(&newcomer->machine->config, newcomer->config);
    g_ptr_array_remove(newcomer->machine->newcomers, newcomer);
}

/* The thread has had its say. */
static gboolean devices_take_newcomer(gpointer opaque)
{
    struct devices_newcomer *newcomer = opaque;
    struct vmm_machine *machine = newcomer->machine;
    GError *error = newcomer->error;
    vmm_devices_plugged_fn done = newcomer->done;
    void *done_opaque = newcomer->opaque;
    int slot = -1;

    if (error)
        newcomer->virtio->ops->destroy(newcomer->virtio);
    else
        slot = devices_attach(machine, newcomer->config, newcomer->virtio, &error);
    if (slot >= 0)
        vmm_acpi_slot_up(machine->acpi, newcomer->config->bridge, (unsigned)slot);
    devices_forget(newcomer, slot >= 0);
    done(done_opaque, error);
    return G_SOURCE_REMOVE;
}

/* On the device's thread. */
static void devices_on_opened(void *opaque, GError *error)
{
    struct devices_newcomer *newcomer = opaque;

    newcomer->error = error;
    g_main_context_invoke(newcomer->machine->context, devices_take_newcomer, newcomer);
}

bool vmm_devices_plug(struct vmm_machine *machine, vmm_devices_plugged_fn done, void *opaque,
                      GError **error)
{
    GPtrArray *configs = machine->config.devices;
    struct devices_newcomer *newcomer = g_new0(struct devices_newcomer, 1);

    newcomer->machine = machine;
    newcomer->config = g_ptr_array_index(configs, configs->len - 1);
    newcomer->done = done;
    newcomer->opaque = opaque;
    newcomer->virtio = devices_make(machine, newcomer->config);
    g_ptr_array_add(machine->newcomers, newcomer);
    if (vhost_device_open_later(newcomer->virtio, devices_on_opened, newcomer, error)) {
        if (vmm_machine_state(machine) == VMM_STATE_ENDED)
            vmm_devices_abandon(machine);
        return true;
    }
    newcomer->virtio->ops->destroy(newcomer->virtio);
    devices_forget(newcomer, false);
    return false;
}

void vmm_devices_abandon(struct vmm_machine *machine)
{
    for (unsigned i = 0; i < machine->newcomers->len; i++) {
        struct devices_newcomer *newcomer = g_ptr_array_index(machine->newcomers, i);

        vhost_device_interrupt(newcomer->virtio);
    }
}

bool vmm_devices_ask_to_leave(struct vmm_machine *machine, const char *id, GError **error)
{
    for (unsigned i = 0; i < machine->devices->len; i++) {
        struct vmm_device *device = g_ptr_array_index(machine->devices, i);

        if (!device->config->id || strcmp(device->config->id, id) != 0)
            continue;
        device->is_leaving = true;
        if (!device->is_hidden)
            vmm_acpi_slot_down(machine->acpi, device->config->bridge, device->pci->slot);
        return true;
    }
    g_set_error(error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND, "no device has the id %s", id);
    return false;
}

/* The device has stopped, and goes, with all that the config knew of it. */
static void devices_remove(struct vmm_machine *machine, struct vmm_device *device)
{
    g_autofree char *id = g_strdup(device->config->id);

    pci_host_unplug(machine->pci, device->pci);
    device->pci->ops->destroy(device->pci);
    vmm_config_remove_device(&machine->config, device->config);
    g_ptr_array_remove(machine->devices, device);
    vmm_machine_tell(machine, &(struct vmm_event){.name = "DEVICE_DELETED", .device = id});
}

/* Only what was asked to leave may: a guest cannot throw its devices away. */
void vmm_devices_eject(struct vmm_machine *machine)
{
    uint32_t slots[VMM_MAX_BRIDGES];

    for (unsigned i = 0; i < VMM_MAX_BRIDGES; i++)
        slots[i] = __atomic_exchange_n(&machine->ejected[i], 0, __ATOMIC_ACQ_REL);
    for (unsigned i = machine->devices->len; i-- > 0;) {
        struct vmm_device *device = g_ptr_array_index(machine->devices, i);

        if (!device->is_leaving || device->is_hidden ||
            !(slots[device->config->bridge] >> device->pci->slot & 1))
            continue;
        device->is_hidden = true;
        pci_host_hide(machine->pci, device->pci);
        virtio_pci_stop(device->transport);
    }
    vmm_devices_settle(machine);
}

void vmm_devices_settle(struct vmm_machine *machine)
{
    for (unsigned i = machine->devices->len; i-- > 0;) {
        struct vmm_device *device = g_ptr_array_index(machine->devices, i);

        if (device->is_hidden && virtio_pci_is_stopped(device->transport))
            devices_remove(machine, device);
    }
}

/* --- all of them --- */

void vmm_devices_stop(struct vmm_machine *machine)
{
    for (unsigned i = 0; i < machine->devices->len; i++)
        virtio_pci_stop(((struct vmm_device *)g_ptr_array_index(machine->devices, i))->transport);
}

bool vmm_devices_are_stopped(struct vmm_machine *machine)
{
    for (unsigned i = 0; i < machine->devices->len; i++) {
        const struct vmm_device *device = g_ptr_array_index(machine->devices, i);

        if (!virtio_pci_is_stopped(device->transport))
            return false;
    }
    return true;
}

void vmm_devices_reset(struct vmm_machine *machine)
{
    for (unsigned i = 0; i < VMM_MAX_BRIDGES; i++)
        __atomic_store_n(&machine->ejected[i], 0, __ATOMIC_RELEASE);
    for (unsigned i = machine->devices->len; i-- > 0;) {
        struct vmm_device *device = g_ptr_array_index(machine->devices, i);

        if (device->is_leaving)
            devices_remove(machine, device);
    }
    pci_host_reset(machine->pci);
}

/* Until all have stopped; who does not come to that in time is left where it is. */
static void devices_await_stopped(struct vmm_machine *machine)
{
    gint64 end = g_get_monotonic_time() + END_MS * 1000, left;

    while (!vmm_devices_are_stopped(machine) && (left = end - g_get_monotonic_time()) > 0) {
        struct pollfd poll_fd = {.fd = machine->request_fd, .events = POLLIN};
        eventfd_t count;

        if (poll(&poll_fd, 1, (int)(left / 1000) + 1) > 0)
            eventfd_read(machine->request_fd, &count);
    }
}

void vmm_devices_destroy(struct vmm_machine *machine)
{
    if (machine->devices) {
        vmm_devices_stop(machine);
        devices_await_stopped(machine);
    }
    g_clear_pointer(&machine->pci, pci_host_destroy);
    g_clear_pointer(&machine->newcomers, g_ptr_array_unref);
    g_clear_pointer(&machine->devices, g_ptr_array_unref);
}
