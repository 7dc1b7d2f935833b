/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Why a vCPU left the guest, and what is done about it: a row for each reason. Linux
 * Documentation/virt/kvm/api.rst, section 5.
 */
#include <inttypes.h>
#include <string.h>
#include <sys/ioctl.h>

#include "vhost-user/log.h"
#include "vmm/machine.h"
#include "vmm/x86/pvm.h"
#include "vmm/x86/vcpu-thread.h"

static uint64_t exit_get(const uint8_t *data, unsigned len)
{
    uint64_t value_le = 0;

    memcpy(&value_le, data, len);
    return le64toh(value_le);
}

static void exit_put(uint8_t *data, unsigned len, uint64_t value)
{
    uint64_t value_le = htole64(value);

    memcpy(data, &value_le, len);
}

static void exit_access(struct vmm_bus *bus, uint64_t address, uint8_t *data, unsigned len,
                        bool is_write)
{
    if (is_write)
        vmm_bus_write(bus, address, len, exit_get(data, len));
    else
        exit_put(data, len, vmm_bus_read(bus, address, len));
}

static bool exit_io(struct vmm_vcpu *vcpu)
{
    struct kvm_run *run = vcpu->run;
    uint8_t *data = (uint8_t *)run + run->io.data_offset;
    bool is_write = run->io.direction == KVM_EXIT_IO_OUT;

    /* More than one: a string instruction, all at the same port. */
    for (uint32_t i = 0; i < run->io.count; i++)
        exit_access(&vcpu->machine->ports, run->io.port, data + (size_t)i * run->io.size,
                    run->io.size, is_write);
    return true;
}

static bool exit_mmio(struct vmm_vcpu *vcpu)
{
    struct kvm_run *run = vcpu->run;
    struct vmm_bus *bus = &vcpu->machine->memory;
    unsigned len = run->mmio.len;

    if (len == 1 || len == 2 || len == 4 || len == 8) {
        exit_access(bus, run->mmio.phys_addr, run->mmio.data, len, run->mmio.is_write);
        return true;
    }
    /* A part of an access across pages. */
    for (unsigned i = 0; i < len; i++)
        exit_access(bus, run->mmio.phys_addr + i, &run->mmio.data[i], 1, run->mmio.is_write);
    return true;
}

/* A signal came; KVM_RUN has said so already. */
static bool exit_nothing(struct vmm_vcpu *vcpu)
{
    return true;
}

static bool exit_wrmsr(struct vmm_vcpu *vcpu)
{
    vcpu->run->msr.error = !vmm_pvm_handle_wrmsr(vcpu);
    return true;
}

/* A triple fault is how a PC is reset when nothing else works. */
static bool exit_shutdown(struct vmm_vcpu *vcpu)
{
    if (vu_log_is_due(&vcpu->next_log_ns))
        vu_info("vCPU %u: triple fault", vcpu->index);
    vmm_machine_ask(vcpu->machine, VMM_REQUEST_RESET);
    return false;
}

static void exit_log_registers(const struct vmm_vcpu *vcpu)
{
    struct kvm_regs regs;
    struct kvm_sregs sregs;

    if (ioctl(vcpu->fd, KVM_GET_REGS, &regs) < 0 || ioctl(vcpu->fd, KVM_GET_SREGS, &sregs) < 0)
        return;
    vu_error("vCPU %u: rip %#llx, rsp %#llx, rflags %#llx, cs %#x, cr0 %#llx, cr2 %#llx, "
             "cr3 %#llx, cr4 %#llx, efer %#llx",
             vcpu->index, regs.rip, regs.rsp, regs.rflags, sregs.cs.selector, sregs.cr0, sregs.cr2,
             sregs.cr3, sregs.cr4, sregs.efer);
}

static void exit_log_instruction(const struct kvm_run *run)
{
    char hex[3 * sizeof(run->emulation_failure.insn_bytes) + 1] = "";
    unsigned len = run->emulation_failure.insn_size;

    if (run->internal.suberror != KVM_INTERNAL_ERROR_EMULATION ||
        !(run->emulation_failure.flags & KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES))
        return;
    for (unsigned i = 0; i < len && i < sizeof(run->emulation_failure.insn_bytes); i++)
        g_snprintf(hex + 3 * i, 4, "%02x ", run->emulation_failure.insn_bytes[i]);
    vu_error("KVM cannot emulate: %s", hex);
}

static bool exit_internal_error(struct vmm_vcpu *vcpu)
{
    if (vcpu->machine->vm.is_pvm && vmm_pvm_handle_failure(vcpu))
        return true;
    vu_error("vCPU %u: KVM: internal error %u", vcpu->index, vcpu->run->internal.suberror);
    exit_log_instruction(vcpu->run);
    exit_log_registers(vcpu);
    vmm_machine_ask(vcpu->machine, VMM_REQUEST_ERROR);
    return false;
}

static bool exit_fail_entry(struct vmm_vcpu *vcpu)
{
    vu_error("vCPU %u: the CPU refuses to enter the guest, reason %#llx", vcpu->index,
             vcpu->run->fail_entry.hardware_entry_failure_reason);
    exit_log_registers(vcpu);
    vmm_machine_ask(vcpu->machine, VMM_REQUEST_ERROR);
    return false;
}

static bool exit_system_event(struct vmm_vcpu *vcpu)
{
    uint32_t type = vcpu->run->system_event.type;

    vmm_machine_ask(vcpu->machine, type == KVM_SYSTEM_EVENT_SHUTDOWN ? VMM_REQUEST_SHUTDOWN
                                   : type == KVM_SYSTEM_EVENT_RESET  ? VMM_REQUEST_RESET
                                                                     : VMM_REQUEST_ERROR);
    return false;
}

static bool (*const exit_handlers[])(struct vmm_vcpu *vcpu) = {
    [KVM_EXIT_IO] = exit_io,
    [KVM_EXIT_MMIO] = exit_mmio,
    [KVM_EXIT_INTR] = exit_nothing,
    [KVM_EXIT_SHUTDOWN] = exit_shutdown,
    [KVM_EXIT_FAIL_ENTRY] = exit_fail_entry,
    [KVM_EXIT_INTERNAL_ERROR] = exit_internal_error,
    [KVM_EXIT_SYSTEM_EVENT] = exit_system_event,
    [KVM_EXIT_X86_WRMSR] = exit_wrmsr,
};

bool vmm_vcpu_handle_exit(struct vmm_vcpu *vcpu)
{
    uint32_t reason = vcpu->run->exit_reason;

    if (reason < G_N_ELEMENTS(exit_handlers) && exit_handlers[reason] != NULL)
        return exit_handlers[reason](vcpu);
    vu_error("vCPU %u: exit %u, which is not known here", vcpu->index, reason);
    exit_log_registers(vcpu);
    vmm_machine_ask(vcpu->machine, VMM_REQUEST_ERROR);
    return false;
}
