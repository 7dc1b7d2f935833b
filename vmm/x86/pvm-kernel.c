/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Functions of a Linux kernel that do nothing but return 0 where the kernel is emulated: two
 * instructions are put at their beginning, once the kernel lies in the guest's RAM. On the main
 * thread.
 */
#include <glib.h>
#include <string.h>

#include "vhost-user/log.h"
#include "vmm/x86/boot-image.h"
#include "vmm/x86/kallsyms.h"
#include "vmm/x86/pvm.h"

/* Where its text is mapped. Linux Documentation/arch/x86/x86_64/mm.rst. */
#define TRIM_KERNEL_MAP 0xffffffff80000000ull

static const char *const trim_functions[] = {
    /* Tables of all functions, events and system calls, for tracing. */
    "ftrace_init",
    "ftrace_check_for_weak_functions",
    "trace_event_init",
    "trace_eval_init",
    "trace_eval_sync",
    "tracer_init_tracefs",
    "init_kprobes",
    "init_kprobe_trace",
    "init_kprobe_trace_early",
    "init_uprobe_trace",
    /* What makes the tables of the stack unwinder quicker to use. Without, it guesses. */
    "unwind_init",
    /* Better instructions for those that stand there and work, too. */
    "static_call_init",
    "apply_retpolines",
    "apply_returns",
    /* The kernel's type information, and what is filed by it. */
    "btf_vmlinux_init",
    "btf_module_init",
    "kfunc_init",
    "bpf_rstat_kfunc_init",
    "bpf_key_sig_kfuncs_init",
    "bpf_mptcp_kfunc_init",
    "bpf_prog_test_run_init",
    "bpf_tcp_ca_kfunc_init",
    "cubictcp_register",
    /* Half of all files of sysfs: those of the slab allocator's caches. */
    "slab_sysfs_init",
    /* Self-tests of cryptography; certificates that nobody asks for. */
    "blake2s_mod_init",
    "load_system_certificate_list",
    /* What looks for firmware's tables, and at a clock whose speed the command line says. */
    "dmi_setup",
    "reserve_ibft_region",
    "native_calibrate_cpu_early",
    /* Its memory is new, and zero. */
    "clear_bss",
};

struct trim {
    const struct vmm_ram *ram;
    unsigned n_done;
};

static void trim_symbol(void *opaque, const char *name, uint64_t address)
{
    static const uint8_t code[] = {0x31, 0xc0, 0xc3}; /* xor %eax, %eax; ret */
    struct trim *trim = opaque;
    uint8_t *at;

    for (size_t i = 0; i < G_N_ELEMENTS(trim_functions); i++) {
        if (strcmp(name, trim_functions[i]) != 0)
            continue;
        at = vmm_ram_at(trim->ram, address - TRIM_KERNEL_MAP, sizeof(code));
        if (at != NULL) {
            memcpy(at, code, sizeof(code));
            trim->n_done++;
        }
    }
}

void vmm_pvm_trim_kernel(const struct vmm_image *unpacked, const struct vmm_ram *ram)
{
    struct trim trim = {.ram = ram};

    if (unpacked->bytes == NULL ||
        vmm_kallsyms_foreach(unpacked->bytes, unpacked->len, trim_symbol, &trim) < 0)
        vu_info("the kernel does not tell its symbols; it will take its time");
    else
        vu_debug("%u functions of the kernel are passed over", trim.n_done);
}
