/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The VM: what KVM must be able to do, memory slots, interrupt controllers. Main thread; constant
 * afterwards, but for what vm-irq.c does.
 */
#include "vmm/x86/vm.h"

#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "vhost-user/cleanup.h"
#include "vmm/x86/pvm.h"
#include "vmm/x86/vm-irq.h"

/* Three pages and one that old Intel CPUs need for real mode; out of the way of all RAM and ROM. */
#define VM_TSS_GPA          0xFFFBD000ull
#define VM_IDENTITY_MAP_GPA 0xFFFBC000ull

static const struct vm_capability {
    int number;
    const char *name;
} vm_capabilities[] = {
    {KVM_CAP_USER_MEMORY, "KVM_CAP_USER_MEMORY"},
    {KVM_CAP_IRQCHIP, "KVM_CAP_IRQCHIP"},
    {KVM_CAP_IRQ_ROUTING, "KVM_CAP_IRQ_ROUTING"},
    {KVM_CAP_IRQFD, "KVM_CAP_IRQFD"},
    {KVM_CAP_IOEVENTFD, "KVM_CAP_IOEVENTFD"},
    {KVM_CAP_IOEVENTFD_ANY_LENGTH, "KVM_CAP_IOEVENTFD_ANY_LENGTH"},
    {KVM_CAP_EXT_CPUID, "KVM_CAP_EXT_CPUID"},
    {KVM_CAP_IMMEDIATE_EXIT, "KVM_CAP_IMMEDIATE_EXIT"},
    {KVM_CAP_MP_STATE, "KVM_CAP_MP_STATE"},
    {KVM_CAP_VCPU_EVENTS, "KVM_CAP_VCPU_EVENTS"},
};

static void vm_set_error(GError **error, const char *what, int rc)
{
    g_set_error(error, G_IO_ERROR, (int)g_io_error_from_errno(-rc), "%s: %s", what,
                g_strerror(-rc));
}

static int vm_ioctl(int fd, unsigned long request, const void *arg)
{
    int rc = ioctl(fd, request, arg);

    return rc < 0 ? -errno : rc;
}

static bool vm_open_kvm(struct vmm_vm *vm, GError **error)
{
    const char *hint = "";

    vm->kvm_fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    if (vm->kvm_fd >= 0)
        return true;
    if (errno == EACCES)
        hint = " (is this user in the group kvm?)";
    else if (errno == ENOENT || errno == ENODEV || errno == ENXIO)
        hint = " (no KVM on this machine; vmm --probe says more)";
    g_set_error(error, G_IO_ERROR, (int)g_io_error_from_errno(errno), "/dev/kvm: %s%s",
                g_strerror(errno), hint);
    return false;
}

static bool vm_check_kvm(struct vmm_vm *vm, GError **error)
{
    int rc = ioctl(vm->kvm_fd, KVM_GET_API_VERSION, 0);

    if (rc != KVM_API_VERSION) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED,
                    "/dev/kvm: interface %d, expected %d", rc, KVM_API_VERSION);
        return false;
    }
    for (size_t i = 0; i < G_N_ELEMENTS(vm_capabilities); i++) {
        if (ioctl(vm->kvm_fd, KVM_CHECK_EXTENSION, vm_capabilities[i].number) > 0)
            continue;
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED, "/dev/kvm: this kernel lacks %s",
                    vm_capabilities[i].name);
        return false;
    }
    rc = ioctl(vm->kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
    if (rc < (int)sizeof(struct kvm_run)) {
        vm_set_error(error, "KVM_GET_VCPU_MMAP_SIZE", rc < 0 ? -errno : -EPROTO);
        return false;
    }
    vm->vcpu_map_len = (size_t)rc;
    return true;
}

static bool vm_create_vm(struct vmm_vm *vm, GError **error)
{
    uint64_t identity_map = VM_IDENTITY_MAP_GPA;
    int rc;

    do
        vm->fd = ioctl(vm->kvm_fd, KVM_CREATE_VM, 0);
    while (vm->fd < 0 && errno == EINTR);
    if (vm->fd < 0) {
        vm_set_error(error, "/dev/kvm: KVM_CREATE_VM", -errno);
        return false;
    }
    /* Where there is no Intel CPU these are not needed, and not always there. */
    rc = vm_ioctl(vm->fd, KVM_SET_IDENTITY_MAP_ADDR, &identity_map);
    if (rc == 0)
        rc = ioctl(vm->fd, KVM_SET_TSS_ADDR, VM_TSS_GPA) < 0 ? -errno : 0;
    if (rc < 0 && rc != -ENOTTY && rc != -EINVAL) {
        vm_set_error(error, "KVM_SET_TSS_ADDR", rc);
        return false;
    }
    return true;
}

static bool vm_create_irqchip(struct vmm_vm *vm, GError **error)
{
    int rc = vm_ioctl(vm->fd, KVM_CREATE_IRQCHIP, NULL);

    vm->io_apic = g_new0(struct kvm_irqchip, 1);
    vm->io_apic->chip_id = KVM_IRQCHIP_IOAPIC;
    if (rc == 0)
        rc = vm_ioctl(vm->fd, KVM_GET_IRQCHIP, vm->io_apic);
    if (rc < 0)
        vm_set_error(error, "KVM_CREATE_IRQCHIP", rc);
    return rc >= 0;
}

static bool vm_add_ram(struct vmm_vm *vm, const struct vmm_ram *ram, GError **error)
{
    for (unsigned i = 0; i < ram->shmem.n_regions; i++) {
        const struct vu_shmem_region *region = &ram->shmem.regions[i];
        struct kvm_userspace_memory_region slot = {
            .slot = vm->n_slots,
            .guest_phys_addr = region->gpa,
            .memory_size = region->len,
            .userspace_addr = (uintptr_t)region->hva,
        };
        int rc = vm_ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &slot);

        if (rc < 0) {
            vm_set_error(error, "KVM_SET_USER_MEMORY_REGION", rc);
            return false;
        }
        vm->n_slots++;
    }
    return true;
}

bool vmm_vm_create(struct vmm_vm *vm, const struct vmm_ram *ram, GError **error)
{
    *vm = (struct vmm_vm){.kvm_fd = -1, .fd = -1, .is_pvm = vmm_pvm_is_host()};
    pthread_mutex_init(&vm->routes_lock, NULL);
    /* KVM frees old states of the irqchip's buses in the background, and whatever changes the VM
     * after that first waits for it, for some milliseconds: so the irqchip comes last. */
    if (vm_open_kvm(vm, error) && vm_check_kvm(vm, error) && vm_create_vm(vm, error) &&
        (!vm->is_pvm || vmm_pvm_prepare_vm(vm, error)) && vm_add_ram(vm, ram, error) &&
        vm_create_irqchip(vm, error) && vmm_vm_init_irqs(vm, error))
        return true;
    vmm_vm_destroy(vm);
    return false;
}

int vmm_vm_reset(struct vmm_vm *vm)
{
    return vm_ioctl(vm->fd, KVM_SET_IRQCHIP, vm->io_apic);
}

void vmm_vm_destroy(struct vmm_vm *vm)
{
    vu_clear_fd(&vm->fd);
    vu_clear_fd(&vm->kvm_fd);
    g_clear_pointer(&vm->routes, g_free);
    g_clear_pointer(&vm->io_apic, g_free);
    pthread_mutex_destroy(&vm->routes_lock);
}
