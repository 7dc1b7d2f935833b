/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Registers of a vCPU: after power-on, as KVM makes it, and at the entry of a kernel.
 *
 * The 64-bit boot protocol wants long mode, an identity mapping and flat segments; PVH wants
 * protected mode without paging. Linux Documentation/arch/x86/boot.rst, "64-bit boot protocol"; Xen
 * docs/misc/pvh.pandoc.
 */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#include "vmm/x86/boot-tables.h"
#include "vmm/x86/vcpu-thread.h"

#define STATE_CR0_PE              (1u << 0)
#define STATE_CR0_ET              (1u << 4)
#define STATE_CR0_PG              (1u << 31)
#define STATE_CR4_PAE             (1u << 5)
#define STATE_EFER_LME            (1u << 8)
#define STATE_EFER_LMA            (1u << 10)
#define STATE_RFLAGS              2 /* the bit that is always there */

#define STATE_MSR_FEATURE_CONTROL 0x3au

/* Types of a segment. Intel SDM volume 3, section 3.4.5. */
#define STATE_TYPE_DATA 0x3 /* read, write, accessed */
#define STATE_TYPE_CODE 0xb /* execute, read, accessed */
#define STATE_TYPE_TSS  0xb /* 32 or 64 bits, busy */

struct vmm_vcpu_power_on {
    struct kvm_regs regs;
    struct kvm_sregs sregs;
    struct kvm_xcrs xcrs;
    struct kvm_lapic_state lapic;
    struct kvm_debugregs debugregs;
    struct kvm_vcpu_events events;
    struct kvm_xsave xsave; /* the last: its end is open */
};

/* In the order of restoring: sregs before the APIC, whose base address they hold. */
static const struct state_part {
    unsigned long get, set;
    size_t offset;
    bool is_optional; /* KVM has none where the CPU has none */
} state_parts[] = {
    {KVM_GET_SREGS, KVM_SET_SREGS, offsetof(struct vmm_vcpu_power_on, sregs), false},
    {KVM_GET_REGS, KVM_SET_REGS, offsetof(struct vmm_vcpu_power_on, regs), false},
    {KVM_GET_XSAVE, KVM_SET_XSAVE, offsetof(struct vmm_vcpu_power_on, xsave), true},
    {KVM_GET_XCRS, KVM_SET_XCRS, offsetof(struct vmm_vcpu_power_on, xcrs), true},
    {KVM_GET_LAPIC, KVM_SET_LAPIC, offsetof(struct vmm_vcpu_power_on, lapic), false},
    {KVM_GET_DEBUGREGS, KVM_SET_DEBUGREGS, offsetof(struct vmm_vcpu_power_on, debugregs), true},
    {KVM_GET_VCPU_EVENTS, KVM_SET_VCPU_EVENTS, offsetof(struct vmm_vcpu_power_on, events), false},
};

/* What a kernel leaves behind in MSRs that are in none of the parts. One that this host does not
 * have is passed over. */
static const struct state_msr {
    uint32_t index;
    uint64_t value;
} state_msrs[] = {
    {0x10, 0},  /* IA32_TIME_STAMP_COUNTER */
    {0x3b, 0},  /* IA32_TSC_ADJUST */
    {0x174, 0}, /* IA32_SYSENTER_CS, _ESP, _EIP */
    {0x175, 0},      {0x176, 0},      {0x277, 0x0007040600070406}, /* IA32_PAT */
    {0x2ff, 0},                                                    /* IA32_MTRR_DEF_TYPE */
    {0x6e0, 0},                                                    /* IA32_TSC_DEADLINE */
    {0xc0000081, 0}, /* STAR, LSTAR, CSTAR, SYSCALL_MASK */
    {0xc0000082, 0}, {0xc0000083, 0}, {0xc0000084, 0},
    {0xc0000102, 0},                  /* KERNEL_GS_BASE */
    {0xc0000103, 0},                  /* TSC_AUX */
    {0x11, 0},                        /* KVM's: clock of the wall and of the system, old numbers */
    {0x12, 0},       {0x4b564d00, 0}, /* the same, new numbers */
    {0x4b564d01, 0}, {0x4b564d02, 0}, /* asynchronous page faults */
    {0x4b564d03, 0},                  /* stolen time */
    {0x4b564d04, 0},                  /* end of interrupt */
    {0x4b564d05, 1},                  /* polling before halt */
    {0x4b564d06, 0},                  /* interrupt of asynchronous page faults */
};

static void *state_at(const struct vmm_vcpu *vcpu, const struct state_part *part)
{
    return (char *)vcpu->power_on + part->offset;
}

int vmm_vcpu_save_power_on(struct vmm_vcpu *vcpu)
{
    vcpu->power_on = g_new0(struct vmm_vcpu_power_on, 1);
    for (size_t i = 0; i < G_N_ELEMENTS(state_parts); i++)
        if (ioctl(vcpu->fd, state_parts[i].get, state_at(vcpu, &state_parts[i])) < 0 &&
            !state_parts[i].is_optional)
            return -errno;
    /* As they are: no exception or interrupt is on its way. */
    vcpu->power_on->events.flags = KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SHADOW;
    return 0;
}

int vmm_vcpu_set_msr(const struct vmm_vcpu *vcpu, uint32_t index, uint64_t value)
{
    g_autofree struct kvm_msrs *msrs = g_malloc0(sizeof(*msrs) + sizeof(msrs->entries[0]));
    int n;

    msrs->nmsrs = 1;
    msrs->entries[0].index = index;
    msrs->entries[0].data = value;
    n = ioctl(vcpu->fd, KVM_SET_MSRS, msrs);
    return n < 0 ? -errno : n == 1 ? 0 : -ENXIO;
}

int vmm_vcpu_restore_power_on(struct vmm_vcpu *vcpu)
{
    struct kvm_mp_state mp_state = {
        .mp_state = vcpu->index == 0 ? KVM_MP_STATE_RUNNABLE : KVM_MP_STATE_UNINITIALIZED,
    };

    /* First: a hypervisor in the guest is left, whose CR4 could not be changed. */
    (void)vmm_vcpu_set_msr(vcpu, STATE_MSR_FEATURE_CONTROL, 0);
    for (size_t i = 0; i < G_N_ELEMENTS(state_parts); i++)
        if (ioctl(vcpu->fd, state_parts[i].set, state_at(vcpu, &state_parts[i])) < 0 &&
            !state_parts[i].is_optional)
            return -errno;
    for (size_t i = 0; i < G_N_ELEMENTS(state_msrs); i++)
        (void)vmm_vcpu_set_msr(vcpu, state_msrs[i].index, state_msrs[i].value);
    return ioctl(vcpu->fd, KVM_SET_MP_STATE, &mp_state) < 0 ? -errno : 0;
}

static void state_set_flat_segments(struct kvm_sregs *sregs, bool is_long)
{
    struct kvm_segment data = {
        .limit = UINT32_MAX,
        .selector = VMM_BOOT_DS,
        .type = STATE_TYPE_DATA,
        .present = 1,
        .db = 1,
        .s = 1,
        .g = 1,
    };

    sregs->ds = sregs->es = sregs->fs = sregs->gs = sregs->ss = data;
    sregs->cs = data;
    sregs->cs.selector = VMM_BOOT_CS;
    sregs->cs.type = STATE_TYPE_CODE;
    sregs->cs.l = is_long;
    sregs->cs.db = !is_long;
    sregs->tr = (struct kvm_segment){
        .limit = 0x67,
        .selector = VMM_BOOT_TSS,
        .type = STATE_TYPE_TSS,
        .present = 1,
    };
}

int vmm_vcpu_enter(struct vmm_vcpu *vcpu, const struct vmm_entry *entry)
{
    bool is_long = entry->mode == VMM_ENTRY_64;
    struct kvm_sregs sregs = vcpu->power_on->sregs;
    struct kvm_regs regs = {.rip = entry->rip, .rflags = STATE_RFLAGS};

    state_set_flat_segments(&sregs, is_long);
    sregs.cr0 = STATE_CR0_PE | STATE_CR0_ET;
    sregs.gdt.base = entry->tables_gpa + VMM_TABLES_GDT;
    sregs.gdt.limit = VMM_TABLES_GDT_LEN - 1;
    sregs.idt.base = 0;
    sregs.idt.limit = 0;
    if (is_long) {
        sregs.cr0 |= STATE_CR0_PG;
        sregs.cr3 = entry->tables_gpa;
        sregs.cr4 = STATE_CR4_PAE;
        sregs.efer = STATE_EFER_LME | STATE_EFER_LMA;
        regs.rsi = entry->info_gpa;
    } else {
        sregs.cr4 = 0;
        sregs.efer = 0;
        regs.rbx = entry->info_gpa;
    }
    if (ioctl(vcpu->fd, KVM_SET_SREGS, &sregs) < 0 || ioctl(vcpu->fd, KVM_SET_REGS, &regs) < 0)
        return -errno;
    return 0;
}
