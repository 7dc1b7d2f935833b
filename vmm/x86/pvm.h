/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hosts whose KVM has no hardware virtualization: user code of the guest runs on the CPU, its
 * kernel is emulated instruction by instruction, a few million a second. Some instructions that
 * Linux uses are not known to that emulator, and SYSCALL does not leave ring 3; what is missing is
 * done here.
 *
 * Nothing of it happens where the CPU has VMX or SVM.
 */
#pragma once

#include <glib.h>
#include <linux/kvm.h>
#include <stdbool.h>

struct vmm_image;
struct vmm_ram;
struct vmm_vcpu;
struct vmm_vm;

/* Whether this CPU has neither VMX nor SVM. */
bool vmm_pvm_is_host(void);

/* Asks KVM to exit where its emulator is at its end, and on writes of LSTAR. False with *error. */
bool vmm_pvm_prepare_vm(struct vmm_vm *vm, GError **error);

/* Takes away features whose instructions a kernel would use in vain. */
void vmm_pvm_adjust_cpuid(struct kvm_cpuid2 *cpuid);

/*
 * What a Linux kernel is to be told on its command line: the same features once more, since KVM
 * shows the CPU's own to some CPUID leaves; a clock that runs thirty times slower, since its ticks
 * would take much of the time, all of it on a busy host, and what makes it wait for fewer of them;
 * and nothing that takes long and that nobody needs. To be freed.
 */
char *vmm_pvm_kernel_args(const struct vmm_vm *vm);

/*
 * pvm-kernel.c: a Linux kernel has been loaded from this unpacked image. What it would do at its
 * start for minutes, and what it can do without, it is made to pass over. Where the image does not
 * tell its symbols nothing happens.
 */
void vmm_pvm_trim_kernel(const struct vmm_image *unpacked, const struct vmm_ram *ram);

/* On the vCPU's thread: completes the instruction at which KVM gave up. False: it is not known
 * here. */
bool vmm_pvm_handle_failure(struct vmm_vcpu *vcpu);
/* The same for a WRMSR that was filtered. False: the guest is to get a fault. */
bool vmm_pvm_handle_wrmsr(struct vmm_vcpu *vcpu);
