/* SPDX-License-Identifier: Apache-2.0 */
/* The registers of acpi-device.h. vCPUs read and write them; events come from any thread. */
#include "vmm/acpi-device.h"

#include <string.h>

#include "vhost-user/cleanup.h"
#include "vmm/machine.h"

#define SLEEP_TYPE(control) ((control) >> 2 & 7)
#define SLEEP_GO            0x20

struct vmm_acpi_device {
    struct vmm_machine *machine;
    struct vmm_bus_range range;
    vmm_acpi_eject_fn on_eject; /* constant once vCPUs run */
    void *eject_opaque;
    pthread_mutex_t lock;
    /* under lock */
    uint32_t events;
    struct {
        uint32_t up, down; /* slots */
    } bridges[VMM_MAX_BRIDGES];
};

static void acpi_update_locked(struct vmm_acpi_device *device)
{
    (void)vmm_vm_set_irq(&device->machine->vm, VMM_GSI_GED, device->events != 0);
}

static void acpi_raise(struct vmm_acpi_device *device, enum vmm_acpi_event event, uint32_t *slots,
                       unsigned slot)
{
    VU_LOCK_SCOPE(&device->lock);

    if (slots != NULL)
        *slots |= 1u << slot;
    device->events |= event;
    acpi_update_locked(device);
}

void vmm_acpi_press_power_button(struct vmm_acpi_device *device)
{
    acpi_raise(device, VMM_ACPI_POWER_BUTTON, NULL, 0);
}

void vmm_acpi_slot_up(struct vmm_acpi_device *device, unsigned bridge, unsigned slot)
{
    acpi_raise(device, VMM_ACPI_SLOTS, &device->bridges[bridge].up, slot);
}

void vmm_acpi_slot_down(struct vmm_acpi_device *device, unsigned bridge, unsigned slot)
{
    acpi_raise(device, VMM_ACPI_SLOTS, &device->bridges[bridge].down, slot);
}

/* --- registers --- */

/* The bridge whose registers offset is in; offset moves to the register among them. */
static unsigned acpi_bridge_at(uint64_t *offset)
{
    unsigned index = (unsigned)(*offset - VMM_ACPI_BRIDGES) / VMM_ACPI_BRIDGE_LEN;

    *offset = (*offset - VMM_ACPI_BRIDGES) % VMM_ACPI_BRIDGE_LEN;
    return index;
}

static uint64_t acpi_read_bridge(struct vmm_acpi_device *device, uint64_t offset)
{
    unsigned bridge = acpi_bridge_at(&offset);

    VU_LOCK_SCOPE(&device->lock);

    switch (offset) {
    case VMM_ACPI_SLOTS_UP:
        return device->bridges[bridge].up;
    case VMM_ACPI_SLOTS_DOWN:
        return device->bridges[bridge].down;
    default:
        return UINT64_MAX;
    }
}

static uint64_t acpi_bus_read(void *opaque, uint64_t offset, unsigned len)
{
    struct vmm_acpi_device *device = opaque;

    if (offset >= VMM_ACPI_BRIDGES)
        return acpi_read_bridge(device, offset);
    VU_LOCK_SCOPE(&device->lock);

    switch (offset) {
    case VMM_ACPI_SLEEP:
    case VMM_ACPI_STATUS:
        return 0;
    case VMM_ACPI_EVENTS:
        return device->events;
    default:
        return UINT64_MAX;
    }
}

static void acpi_end(struct vmm_acpi_device *device, uint32_t *pending, uint32_t which)
{
    VU_LOCK_SCOPE(&device->lock);

    *pending &= ~which;
    acpi_update_locked(device);
}

static void acpi_write_bridge(struct vmm_acpi_device *device, uint64_t offset, uint32_t slots)
{
    unsigned bridge = acpi_bridge_at(&offset);

    switch (offset) {
    case VMM_ACPI_SLOTS_UP:
        acpi_end(device, &device->bridges[bridge].up, slots);
        break;
    case VMM_ACPI_SLOTS_DOWN:
        acpi_end(device, &device->bridges[bridge].down, slots);
        break;
    case VMM_ACPI_EJECT:
        if (device->on_eject != NULL)
            device->on_eject(device->eject_opaque, bridge, slots);
        break;
    default:
        break;
    }
}

static void acpi_bus_write(void *opaque, uint64_t offset, unsigned len, uint64_t value)
{
    struct vmm_acpi_device *device = opaque;

    if (offset >= VMM_ACPI_BRIDGES) {
        acpi_write_bridge(device, offset, (uint32_t)value);
        return;
    }
    switch (offset) {
    case VMM_ACPI_RESET:
        vmm_machine_ask(device->machine, VMM_REQUEST_RESET);
        break;
    case VMM_ACPI_SLEEP:
        if (value & SLEEP_GO && SLEEP_TYPE(value) == VMM_ACPI_SLEEP_OFF)
            vmm_machine_ask(device->machine, VMM_REQUEST_SHUTDOWN);
        break;
    case VMM_ACPI_EVENTS:
        acpi_end(device, &device->events, (uint32_t)value);
        break;
    default:
        break;
    }
}

static const struct vmm_bus_ops acpi_bus_ops = {
    .read = acpi_bus_read,
    .write = acpi_bus_write,
};

bool vmm_acpi_device_create(struct vmm_machine *machine, GError **error)
{
    struct vmm_acpi_device *device = g_new0(struct vmm_acpi_device, 1);

    device->machine = machine;
    pthread_mutex_init(&device->lock, NULL);
    device->range = (struct vmm_bus_range){
        .base = VMM_PORT_ACPI, .len = VMM_ACPI_N_PORTS, .ops = &acpi_bus_ops, .opaque = device};
    machine->acpi = device;
    if (vmm_bus_add(&machine->ports, &device->range) == 0)
        return true;
    g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_EXIST, "the ports of ACPI are taken");
    vmm_acpi_device_destroy(g_steal_pointer(&machine->acpi));
    return false;
}

void vmm_acpi_device_destroy(struct vmm_acpi_device *device)
{
    if (device == NULL)
        return;
    vmm_bus_remove(&device->machine->ports, &device->range);
    pthread_mutex_destroy(&device->lock);
    g_free(device);
}

void vmm_acpi_device_reset(struct vmm_acpi_device *device)
{
    VU_LOCK_SCOPE(&device->lock);

    device->events = 0;
    memset(device->bridges, 0, sizeof(device->bridges));
    acpi_update_locked(device);
}

void vmm_acpi_set_eject(struct vmm_acpi_device *device, vmm_acpi_eject_fn on_eject, void *opaque)
{
    device->on_eject = on_eject;
    device->eject_opaque = opaque;
}
