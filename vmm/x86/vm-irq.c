/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Interrupts and notifications. The table of routes is kept here as the kernel has it: the pins of
 * the I/O APIC first, then a row for each MSI that is routed. KVM takes it only as a whole.
 */
#include "vmm/x86/vm-irq.h"

#include <errno.h>
#include <gio/gio.h>
#include <sys/ioctl.h>

#include "vhost-user/cleanup.h"
#include "vmm/layout.h"
#include "vmm/x86/vm.h"

static int irq_apply_locked(struct vmm_vm *vm)
{
    return ioctl(vm->fd, KVM_SET_GSI_ROUTING, vm->routes) < 0 ? -errno : 0;
}

bool vmm_vm_init_irqs(struct vmm_vm *vm, GError **error)
{
    int rc;

    vm->routes =
        g_malloc0(sizeof(*vm->routes) + VMM_MAX_GSIS * sizeof(struct kvm_irq_routing_entry));
    for (unsigned pin = 0; pin < VMM_N_PINS; pin++) {
        vm->routes->entries[pin] = (struct kvm_irq_routing_entry){
            .gsi = pin,
            .type = KVM_IRQ_ROUTING_IRQCHIP,
            .u.irqchip = {.irqchip = KVM_IRQCHIP_IOAPIC, .pin = pin},
        };
        vm->gsis_taken[0] |= 1ull << pin;
    }
    vm->routes->nr = VMM_N_PINS;
    rc = irq_apply_locked(vm);
    if (rc < 0)
        g_set_error(error, G_IO_ERROR, (int)g_io_error_from_errno(-rc), "KVM_SET_GSI_ROUTING: %s",
                    g_strerror(-rc));
    return rc == 0;
}

int vmm_vm_set_irq(struct vmm_vm *vm, unsigned gsi, bool level)
{
    struct kvm_irq_level line = {.irq = gsi, .level = level};

    return ioctl(vm->fd, KVM_IRQ_LINE, &line) < 0 ? -errno : 0;
}

int vmm_vm_take_gsi(struct vmm_vm *vm, unsigned *ret_gsi)
{
    VU_LOCK_SCOPE(&vm->routes_lock);

    for (unsigned gsi = VMM_N_PINS; gsi < VMM_MAX_GSIS; gsi++) {
        uint64_t *word = &vm->gsis_taken[gsi / 64], bit = 1ull << (gsi % 64);

        if (*word & bit)
            continue;
        *word |= bit;
        *ret_gsi = gsi;
        return 0;
    }
    return -ENOSPC;
}

/* The row of a GSI, or the first free one behind all. */
static struct kvm_irq_routing_entry *irq_find_locked(struct vmm_vm *vm, unsigned gsi)
{
    unsigned i = VMM_N_PINS;

    while (i < vm->routes->nr && vm->routes->entries[i].gsi != gsi)
        i++;
    return &vm->routes->entries[i];
}

void vmm_vm_give_gsi(struct vmm_vm *vm, unsigned gsi)
{
    VU_LOCK_SCOPE(&vm->routes_lock);
    struct kvm_irq_routing_entry *entry = irq_find_locked(vm, gsi);
    struct kvm_irq_routing_entry *end = &vm->routes->entries[vm->routes->nr];

    if (entry != end) {
        *entry = *(end - 1);
        vm->routes->nr--;
        (void)irq_apply_locked(vm); /* nobody signals it any more: it may stay until the next */
    }
    vm->gsis_taken[gsi / 64] &= ~(1ull << (gsi % 64));
}

int vmm_vm_route_msi(struct vmm_vm *vm, unsigned gsi, uint64_t address, uint32_t data)
{
    VU_LOCK_SCOPE(&vm->routes_lock);
    struct kvm_irq_routing_entry *entry = irq_find_locked(vm, gsi), old = *entry;
    unsigned old_nr = vm->routes->nr;
    int rc;

    if (entry == &vm->routes->entries[old_nr])
        vm->routes->nr++;
    else if (old.u.msi.address_lo == (uint32_t)address &&
             old.u.msi.address_hi == (uint32_t)(address >> 32) && old.u.msi.data == data)
        return 0;
    *entry = (struct kvm_irq_routing_entry){
        .gsi = gsi,
        .type = KVM_IRQ_ROUTING_MSI,
        .u.msi = {.address_lo = (uint32_t)address,
                  .address_hi = (uint32_t)(address >> 32),
                  .data = data},
    };
    rc = irq_apply_locked(vm);
    if (rc < 0) {
        *entry = old;
        vm->routes->nr = old_nr;
    }
    return rc;
}

static int irq_set_irqfd(struct vmm_vm *vm, unsigned gsi, int eventfd, uint32_t flags)
{
    struct kvm_irqfd irqfd = {.fd = (uint32_t)eventfd, .gsi = gsi, .flags = flags};

    return ioctl(vm->fd, KVM_IRQFD, &irqfd) < 0 ? -errno : 0;
}

int vmm_vm_add_irqfd(struct vmm_vm *vm, unsigned gsi, int eventfd)
{
    return irq_set_irqfd(vm, gsi, eventfd, 0);
}

int vmm_vm_remove_irqfd(struct vmm_vm *vm, unsigned gsi, int eventfd)
{
    return irq_set_irqfd(vm, gsi, eventfd, KVM_IRQFD_FLAG_DEASSIGN);
}

static int irq_set_ioeventfd(struct vmm_vm *vm, uint64_t gpa, int eventfd, uint32_t flags)
{
    struct kvm_ioeventfd ioeventfd = {.addr = gpa, .fd = eventfd, .flags = flags};

    return ioctl(vm->fd, KVM_IOEVENTFD, &ioeventfd) < 0 ? -errno : 0;
}

int vmm_vm_add_ioeventfd(struct vmm_vm *vm, uint64_t gpa, int eventfd)
{
    return irq_set_ioeventfd(vm, gpa, eventfd, 0);
}

int vmm_vm_remove_ioeventfd(struct vmm_vm *vm, uint64_t gpa, int eventfd)
{
    return irq_set_ioeventfd(vm, gpa, eventfd, KVM_IOEVENTFD_FLAG_DEASSIGN);
}
