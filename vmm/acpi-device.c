/* SPDX-License-Identifier: Apache-2.0 */
/* The registers of acpi-device.h. vCPUs read and write them; events come from any thread. */
#include "vmm/acpi-device.h"

#include "vhost-user/cleanup.h"
#include "vmm/layout.h"
#include "vmm/machine.h"

#define SLEEP_TYPE(control) ((control) >> 2 & 7)
#define SLEEP_GO            0x20

struct vmm_acpi_device {
    struct vmm_machine *machine;
    struct vmm_bus_range range;
    void (*on_eject)(void *opaque, unsigned slot); /* constant once vCPUs run */
    void *eject_opaque;
    pthread_mutex_t lock;
    /* under lock */
    uint32_t events, slots_up, slots_down;
    int nodes[VMM_ACPI_N_SLOTS];
    unsigned node_slot; /* whose node is read */
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

void vmm_acpi_slot_up(struct vmm_acpi_device *device, unsigned slot)
{
    acpi_raise(device, VMM_ACPI_SLOTS, &device->slots_up, slot);
}

void vmm_acpi_slot_down(struct vmm_acpi_device *device, unsigned slot)
{
    acpi_raise(device, VMM_ACPI_SLOTS, &device->slots_down, slot);
}

void vmm_acpi_set_node(struct vmm_acpi_device *device, unsigned slot, int node)
{
    VU_LOCK_SCOPE(&device->lock);

    device->nodes[slot] = node;
}

static uint64_t acpi_bus_read(void *opaque, uint64_t offset, unsigned len)
{
    struct vmm_acpi_device *device = opaque;
    VU_LOCK_SCOPE(&device->lock);

    switch (offset) {
    case VMM_ACPI_SLEEP:
    case VMM_ACPI_STATUS:
        return 0;
    case VMM_ACPI_EVENTS:
        return device->events;
    case VMM_ACPI_SLOTS_UP:
        return device->slots_up;
    case VMM_ACPI_SLOTS_DOWN:
        return device->slots_down;
    case VMM_ACPI_NODE:
        return (uint32_t)device->nodes[device->node_slot];
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

static void acpi_select_slot(struct vmm_acpi_device *device, uint32_t slot)
{
    VU_LOCK_SCOPE(&device->lock);

    device->node_slot = slot % VMM_ACPI_N_SLOTS;
}

static void acpi_eject(const struct vmm_acpi_device *device, uint32_t slots)
{
    for (unsigned slot = 0; slot < VMM_ACPI_N_SLOTS && device->on_eject != NULL; slot++)
        if (slots & 1u << slot)
            device->on_eject(device->eject_opaque, slot);
}

static void acpi_bus_write(void *opaque, uint64_t offset, unsigned len, uint64_t value)
{
    struct vmm_acpi_device *device = opaque;

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
    case VMM_ACPI_SLOTS_UP:
        acpi_end(device, &device->slots_up, (uint32_t)value);
        break;
    case VMM_ACPI_SLOTS_DOWN:
        acpi_end(device, &device->slots_down, (uint32_t)value);
        break;
    case VMM_ACPI_EJECT:
        acpi_eject(device, (uint32_t)value);
        break;
    case VMM_ACPI_NODE:
        acpi_select_slot(device, (uint32_t)value);
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
    for (unsigned i = 0; i < VMM_ACPI_N_SLOTS; i++)
        device->nodes[i] = VMM_NO_NODE;
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

    device->events = device->slots_up = device->slots_down = 0;
    acpi_update_locked(device);
}

void vmm_acpi_set_eject(struct vmm_acpi_device *device,
                        void (*on_eject)(void *opaque, unsigned slot), void *opaque)
{
    device->on_eject = on_eject;
    device->eject_opaque = opaque;
}
