/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Completing what KVM's instruction emulator leaves undone. On the vCPU's thread, but for the
 * set-up.
 *
 * SYSCALL. It enters the kernel's handler (LSTAR) with the right registers, but in ring 3, so the
 * first fetch there faults; and a fault does change rings. When the guest writes LSTAR, a stub is
 * put into padding between its functions, and its handler of page faults (IDT entry 14) becomes the
 * stub:
 *
 *     cmpq  $LSTAR, 8(%rsp)      the address that faulted
 *     jne   the guest's own handler
 *     mov   32(%rsp), %rsp       the stack that user code had
 *     jmp   LSTAR
 */
#include "vmm/x86/pvm.h"

#include <cpuid.h>
#include <errno.h>
#include <gio/gio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "vhost-user/log.h"
#include "vmm/machine.h"
#include "vmm/x86/cpu-features.h"
#include "vmm/x86/cpuid.h"
#include "vmm/x86/vcpu-thread.h"

#define PVM_MSR_LSTAR      0xc0000082u
#define PVM_VECTOR_BP      3
#define PVM_VECTOR_PF      14
#define PVM_RFLAGS_AC      (1ull << 18)
#define PVM_MAX_INSN_LEN   15
#define PVM_STUB_LEN       25
#define PVM_STUB_CMP_LEN   9 /* its first instruction */
#define PVM_PADDING        0xcc
#define PVM_SEARCH_LEN     (4u << 20) /* from LSTAR on: padding is near */
#define PVM_PAGE_SIZE      4096
#define PVM_CLOCK_SLOWNESS 30

/* Linux's names; in clearcpuid= about 128 characters count, so the worst come first. */
static const char *const pvm_features[] = {
    "smap",  "smep",   "umip",    "xsave",  "cx16",   "popcnt",   "erms", "fsrm", "pcid", "rdtscp",
    "ssse3", "rdrand", "invpcid", "rdseed", "sse4_2", "fsgsbase", "avx",  "aes",  "bmi1", "bmi2",
};
#define PVM_CLEARCPUID_MAX 128

bool vmm_pvm_is_host(void)
{
    unsigned eax, ebx, ecx, edx;

    if (__get_cpuid(1, &eax, &ebx, &ecx, &edx) && (ecx & 1u << 5) != 0)
        return false;                                                                /* VMX */
    return !__get_cpuid(0x80000001, &eax, &ebx, &ecx, &edx) || (ecx & 1u << 2) == 0; /* SVM */
}

bool vmm_pvm_prepare_vm(struct vmm_vm *vm, GError **error)
{
    static const struct {
        uint32_t cap;
        uint64_t arg;
    } caps[] = {
        {KVM_CAP_EXIT_ON_EMULATION_FAILURE, 1},
        {KVM_CAP_X86_USER_SPACE_MSR, KVM_MSR_EXIT_REASON_FILTER},
    };
    uint8_t bitmap = 0; /* one MSR, not allowed */
    struct kvm_msr_filter filter = {
        .flags = KVM_MSR_FILTER_DEFAULT_ALLOW,
        .ranges =
            {{.flags = KVM_MSR_FILTER_WRITE, .nmsrs = 1, .base = PVM_MSR_LSTAR, .bitmap = &bitmap}},
    };
    int rc = 0;

    for (size_t i = 0; rc >= 0 && i < G_N_ELEMENTS(caps); i++) {
        struct kvm_enable_cap enable = {.cap = caps[i].cap, .args = {caps[i].arg}};

        rc = ioctl(vm->fd, KVM_ENABLE_CAP, &enable);
    }
    if (rc >= 0)
        rc = ioctl(vm->fd, KVM_X86_SET_MSR_FILTER, &filter);
    if (rc >= 0)
        return true;
    g_set_error(error, G_IO_ERROR, (int)g_io_error_from_errno(errno),
                "/dev/kvm: no hardware virtualization, and no help for doing without: %s",
                g_strerror(errno));
    return false;
}

void vmm_pvm_adjust_cpuid(struct kvm_cpuid2 *cpuid)
{
    for (size_t i = 0; i < G_N_ELEMENTS(pvm_features); i++)
        vmm_cpuid_clear(cpuid, vmm_cpu_feature_find(pvm_features[i], strlen(pvm_features[i])));
}

char *vmm_pvm_kernel_args(const struct vmm_vm *vm)
{
    int khz = ioctl(vm->fd, KVM_GET_TSC_KHZ, 0);
    GString *args = g_string_new("clearcpuid=");
    size_t begin = args->len;

    for (size_t i = 0; i < G_N_ELEMENTS(pvm_features); i++)
        if (args->len - begin + strlen(pvm_features[i]) + 1 < PVM_CLEARCPUID_MAX)
            g_string_append_printf(args, "%s%s", i == 0 ? "" : ",", pvm_features[i]);
    g_string_append(args, " nokaslr mitigations=off init_on_alloc=0 cryptomgr.notests rodata=off"
                          " 8250.nr_uarts=1 rcupdate.rcu_expedited=1"
                          " rcupdate.rcu_normal_after_boot=0");
    /* lpj: delays are for hardware, and may be short. */
    if (khz > 0)
        g_string_append_printf(args, " tsc=reliable no-kvmclock tsc_early_khz=%d lpj=%d",
                               khz * PVM_CLOCK_SLOWNESS, khz);
    return g_string_free(args, FALSE);
}

/* Host address of [gva, gva + len) as the vCPU's page tables have it; NULL where it is no RAM, or
 * not of one page. */
static void *pvm_guest_at(const struct vmm_vcpu *vcpu, uint64_t gva, uint64_t len)
{
    struct kvm_translation translation = {.linear_address = gva};

    if (gva % PVM_PAGE_SIZE + len > PVM_PAGE_SIZE ||
        ioctl(vcpu->fd, KVM_TRANSLATE, &translation) < 0 || !translation.valid)
        return NULL;
    return vmm_ram_at(&vcpu->machine->ram, translation.physical_address, len);
}

/* --- SYSCALL --- */

/* A descriptor of an interrupt gate. Intel SDM volume 3, section 6.14.1. */
struct pvm_gate {
    uint16_t offset_low, selector, flags, offset_middle;
    uint32_t offset_high, reserved;
};
G_STATIC_ASSERT(sizeof(struct pvm_gate) == 16);

static uint64_t pvm_gate_target(const struct pvm_gate *gate)
{
    return (uint64_t)gate->offset_high << 32 | (uint32_t)gate->offset_middle << 16 |
           gate->offset_low;
}

static void pvm_gate_set_target(struct pvm_gate *gate, uint64_t target)
{
    gate->offset_low = (uint16_t)target;
    gate->offset_middle = (uint16_t)(target >> 16);
    gate->offset_high = (uint32_t)(target >> 32);
}

/* The first stretch of padding from gva on that holds the stub and leaves a byte on either side. */
static uint8_t *pvm_find_padding(const struct vmm_vcpu *vcpu, uint64_t gva, uint64_t *ret_gva)
{
    uint64_t page = gva & ~(uint64_t)(PVM_PAGE_SIZE - 1);

    for (uint64_t end = page + PVM_SEARCH_LEN; page < end; page += PVM_PAGE_SIZE) {
        uint8_t *bytes = pvm_guest_at(vcpu, page, PVM_PAGE_SIZE);
        unsigned n_padding = 0;

        for (unsigned i = 0; bytes != NULL && i < PVM_PAGE_SIZE; i++) {
            n_padding = bytes[i] == PVM_PADDING ? n_padding + 1 : 0;
            if (n_padding == PVM_STUB_LEN + 2) {
                *ret_gva = page + i - PVM_STUB_LEN;
                return bytes + i - PVM_STUB_LEN;
            }
        }
    }
    return NULL;
}

/* A 32-bit distance from the end of an instruction. False: it does not fit. */
static bool pvm_put_distance(uint8_t *at, uint64_t end_gva, uint64_t target)
{
    int64_t distance = (int64_t)(target - end_gva);
    int32_t short_distance = (int32_t)distance;

    memcpy(at, &short_distance, sizeof(short_distance));
    return distance == short_distance;
}

static bool pvm_make_stub(uint8_t stub[PVM_STUB_LEN], uint64_t gva, uint64_t lstar,
                          uint64_t old_handler)
{
    static const uint8_t code[PVM_STUB_LEN] = {
        0x48, 0x81, 0x7c, 0x24, 0x08, 0, 0, 0, 0, /* cmpq $LSTAR, 8(%rsp) */
        0x0f, 0x85, 0,    0,    0,    0,          /* jne old handler */
        0x48, 0x8b, 0x64, 0x24, 0x20,             /* mov 32(%rsp), %rsp */
        0xe9, 0,    0,    0,    0,                /* jmp LSTAR */
    };

    memcpy(stub, code, sizeof(code));
    return pvm_put_distance(stub + 5, 0, lstar) &&
           pvm_put_distance(stub + 11, gva + 15, old_handler) &&
           pvm_put_distance(stub + 21, gva + 25, lstar);
}

/* Does nothing where there is no handler of page faults yet: what runs then is no Linux. */
static void pvm_hook_syscall(const struct vmm_vcpu *vcpu, uint64_t lstar)
{
    uint8_t stub[PVM_STUB_LEN], *padding;
    struct kvm_sregs sregs;
    struct pvm_gate *gate;
    uint64_t stub_gva = 0;

    if (ioctl(vcpu->fd, KVM_GET_SREGS, &sregs) < 0)
        return;
    gate = pvm_guest_at(vcpu, sregs.idt.base + PVM_VECTOR_PF * sizeof(*gate), sizeof(*gate));
    if (gate == NULL || sregs.idt.limit < (PVM_VECTOR_PF + 1) * sizeof(*gate) - 1)
        return;
    padding = pvm_guest_at(vcpu, pvm_gate_target(gate), PVM_STUB_LEN);
    if (padding != NULL && pvm_make_stub(stub, pvm_gate_target(gate), lstar, lstar) &&
        memcmp(padding, stub, PVM_STUB_CMP_LEN) == 0)
        return; /* another vCPU has the same handlers */
    padding = pvm_find_padding(vcpu, lstar, &stub_gva);
    if (padding == NULL || !pvm_make_stub(stub, stub_gva, lstar, pvm_gate_target(gate))) {
        vu_warning("vCPU %u: no place for what helps its system calls", vcpu->index);
        return;
    }
    memcpy(padding, stub, sizeof(stub));
    pvm_gate_set_target(gate, stub_gva);
}

bool vmm_pvm_handle_wrmsr(struct vmm_vcpu *vcpu)
{
    uint32_t index = vcpu->run->msr.index;
    uint64_t value = vcpu->run->msr.data;

    if (index == PVM_MSR_LSTAR && value != 0)
        pvm_hook_syscall(vcpu, value);
    return vmm_vcpu_set_msr(vcpu, index, value) == 0;
}

/* --- instructions --- */

struct pvm_insn {
    struct vmm_vcpu *vcpu;
    struct kvm_regs regs;
    uint8_t bytes[PVM_MAX_INSN_LEN];
    unsigned len;      /* of all; set by the operation */
    unsigned n_prefix; /* bytes before the opcode */
    unsigned rex;
    uint8_t segment; /* prefix 0x64 or 0x65; 0: none */
};

static bool pvm_do_int3(struct pvm_insn *insn)
{
    struct kvm_vcpu_events events;

    insn->len = insn->n_prefix + 1;
    if (ioctl(insn->vcpu->fd, KVM_GET_VCPU_EVENTS, &events) < 0)
        return false;
    events.exception.injected = 1;
    events.exception.nr = PVM_VECTOR_BP;
    events.exception.has_error_code = 0;
    return ioctl(insn->vcpu->fd, KVM_SET_VCPU_EVENTS, &events) == 0;
}

static bool pvm_do_fwait(struct pvm_insn *insn)
{
    insn->len = insn->n_prefix + 1;
    return true;
}

static bool pvm_do_clac(struct pvm_insn *insn)
{
    insn->len = insn->n_prefix + 3;
    insn->regs.rflags &= ~PVM_RFLAGS_AC;
    return true;
}

static bool pvm_do_stac(struct pvm_insn *insn)
{
    insn->len = insn->n_prefix + 3;
    insn->regs.rflags |= PVM_RFLAGS_AC;
    return true;
}

static uint64_t pvm_register(const struct pvm_insn *insn, unsigned number)
{
    const struct kvm_regs *r = &insn->regs;
    const uint64_t values[16] = {
        r->rax, r->rcx, r->rdx, r->rbx, r->rsp, r->rbp, r->rsi, r->rdi,
        r->r8,  r->r9,  r->r10, r->r11, r->r12, r->r13, r->r14, r->r15,
    };

    return values[number];
}

/* Decodes ModRM, SIB and displacement of 64-bit code, at bytes[at]; sets len. Intel SDM volume 2A,
 * section 2.1.5. UINT64_MAX: no memory operand. */
static uint64_t pvm_operand_address(struct pvm_insn *insn, unsigned at)
{
    uint8_t modrm = insn->bytes[at++];
    unsigned mod = modrm >> 6, rm = modrm & 7;
    bool is_rip_relative = mod == 0 && rm == 5;
    unsigned displacement_len = mod == 1 ? 1 : mod == 2 || is_rip_relative ? 4 : 0;
    uint64_t address = 0;
    int32_t wide = 0;

    if (mod == 3)
        return UINT64_MAX;
    if (rm == 4) {
        uint8_t sib = insn->bytes[at++];
        unsigned base = (sib & 7u) | (insn->rex & 1u) << 3;
        unsigned index = (sib >> 3 & 7u) | (insn->rex & 2u) << 2;

        if (index != 4)
            address = pvm_register(insn, index) << (sib >> 6);
        if (mod == 0 && (sib & 7) == 5)
            displacement_len = 4;
        else
            address += pvm_register(insn, base);
    } else if (!is_rip_relative) {
        address = pvm_register(insn, rm | (insn->rex & 1u) << 3);
    }
    if (at + displacement_len > sizeof(insn->bytes))
        return UINT64_MAX;
    if (displacement_len == 1)
        wide = (int8_t)insn->bytes[at];
    else if (displacement_len == 4)
        memcpy(&wide, insn->bytes + at, sizeof(wide));
    insn->len = at + displacement_len;
    return address + (uint64_t)(int64_t)wide + (is_rip_relative ? insn->regs.rip + insn->len : 0);
}

static uint64_t pvm_segment_base(const struct pvm_insn *insn)
{
    struct kvm_sregs sregs;

    if (insn->segment == 0 || ioctl(insn->vcpu->fd, KVM_GET_SREGS, &sregs) < 0)
        return 0;
    return insn->segment == 0x64 ? sregs.fs.base : sregs.gs.base;
}

/* ldmxcsr and stmxcsr. */
static bool pvm_do_mxcsr(struct pvm_insn *insn)
{
    uint64_t address = pvm_operand_address(insn, insn->n_prefix + 2);
    bool is_store = (insn->bytes[insn->n_prefix + 2] >> 3 & 7) == 3;
    struct kvm_fpu fpu;
    uint32_t *value;

    if (address == UINT64_MAX || ioctl(insn->vcpu->fd, KVM_GET_FPU, &fpu) < 0)
        return false;
    value = pvm_guest_at(insn->vcpu, address + pvm_segment_base(insn), sizeof(*value));
    if (value == NULL)
        return false;
    if (is_store) {
        memcpy(value, &fpu.mxcsr, sizeof(*value));
        return true;
    }
    memcpy(&fpu.mxcsr, value, sizeof(*value));
    return ioctl(insn->vcpu->fd, KVM_SET_FPU, &fpu) == 0;
}

static const struct pvm_operation {
    uint8_t opcode[3], mask[3]; /* after the prefixes */
    bool (*run)(struct pvm_insn *insn);
} pvm_operations[] = {
    {{0xcc, 0, 0}, {0xff, 0, 0}, pvm_do_int3},
    {{0x9b, 0, 0}, {0xff, 0, 0}, pvm_do_fwait},
    {{0x0f, 0x01, 0xca}, {0xff, 0xff, 0xff}, pvm_do_clac},
    {{0x0f, 0x01, 0xcb}, {0xff, 0xff, 0xff}, pvm_do_stac},
    {{0x0f, 0xae, 0x10}, {0xff, 0xff, 0x30}, pvm_do_mxcsr}, /* ModRM says 2 or 3 */
};

static bool pvm_operation_fits(const struct pvm_operation *operation, const uint8_t *bytes)
{
    for (unsigned i = 0; i < sizeof(operation->opcode); i++)
        if ((bytes[i] & operation->mask[i]) != operation->opcode[i])
            return false;
    return true;
}

/* As KVM saw them: another vCPU may have put others there by now. */
static bool pvm_fetch(struct pvm_insn *insn)
{
    const struct kvm_run *run = insn->vcpu->run;

    if (!(run->emulation_failure.flags & KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES))
        return false;
    memcpy(insn->bytes, run->emulation_failure.insn_bytes,
           MIN(run->emulation_failure.insn_size, sizeof(insn->bytes)));
    return true;
}

static void pvm_skip_prefixes(struct pvm_insn *insn)
{
    for (; insn->n_prefix < sizeof(insn->bytes) - 8; insn->n_prefix++) {
        uint8_t byte = insn->bytes[insn->n_prefix];

        if (byte == 0x64 || byte == 0x65)
            insn->segment = byte;
        else if ((byte & 0xf0) == 0x40)
            insn->rex = byte;
        else if (byte != 0x3e && byte != 0x66)
            return;
    }
}

bool vmm_pvm_handle_failure(struct vmm_vcpu *vcpu)
{
    struct pvm_insn insn = {.vcpu = vcpu};

    if (vcpu->run->internal.suberror != KVM_INTERNAL_ERROR_EMULATION ||
        ioctl(vcpu->fd, KVM_GET_REGS, &insn.regs) < 0 || !pvm_fetch(&insn))
        return false;
    pvm_skip_prefixes(&insn);
    for (size_t i = 0; i < G_N_ELEMENTS(pvm_operations); i++) {
        if (!pvm_operation_fits(&pvm_operations[i], insn.bytes + insn.n_prefix) ||
            !pvm_operations[i].run(&insn))
            continue;
        insn.regs.rip += insn.len;
        return ioctl(vcpu->fd, KVM_SET_REGS, &insn.regs) == 0;
    }
    return false;
}
