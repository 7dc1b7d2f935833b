/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The virtual machine in KVM: memory slots, interrupt controllers, and the shortcuts that keep the
 * data path out of this process: ioeventfd (a guest's write becomes a kick) and irqfd (a back-end's
 * call becomes an interrupt).
 *
 * Any thread may call; changes of interrupt routes are serialised by a lock.
 */
#pragma once

#include <glib.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "vmm/ram.h"

/* Pins of the I/O APIC, then MSIs: all vectors of all slots. As many as KVM routes. */
#define VMM_MAX_GSIS 4096

struct vmm_vm {
    int kvm_fd, fd;
    size_t vcpu_map_len; /* of struct kvm_run */
    unsigned n_slots;
    struct kvm_irqchip *io_apic; /* after power-on; constant */
    bool is_pvm;                 /* no hardware virtualization: see pvm.h */
    pthread_mutex_t routes_lock;
    struct kvm_irq_routing *routes;         /* under routes_lock; as the kernel has it */
    uint64_t gsis_taken[VMM_MAX_GSIS / 64]; /* under routes_lock */
};

/* Opens /dev/kvm, makes the VM with in-kernel APICs and gives it the RAM. False with *error. */
bool vmm_vm_create(struct vmm_vm *vm, const struct vmm_ram *ram, GError **error);
void vmm_vm_destroy(struct vmm_vm *vm);

/* The I/O APIC as after power-on. 0 or -errno. While no vCPU runs. */
int vmm_vm_reset(struct vmm_vm *vm);

/* --- vm-irq.c --- */

/* Raises or lowers a pin of the I/O APIC. 0 or -errno. */
int vmm_vm_set_irq(struct vmm_vm *vm, unsigned gsi, bool level);

/* Takes a GSI for an MSI; -ENOSPC. It is routed nowhere. */
int vmm_vm_take_gsi(struct vmm_vm *vm, unsigned *ret_gsi);
void vmm_vm_give_gsi(struct vmm_vm *vm, unsigned gsi);
/* Routes a taken GSI to a message. Does nothing where it is routed so. */
int vmm_vm_route_msi(struct vmm_vm *vm, unsigned gsi, uint64_t address, uint32_t data);
/*
 * Whenever eventfd is written, the GSI's message is delivered; a count that is there already
 * delivers at once. So taking it off and putting it on again is what masking is.
 */
int vmm_vm_add_irqfd(struct vmm_vm *vm, unsigned gsi, int eventfd);
int vmm_vm_remove_irqfd(struct vmm_vm *vm, unsigned gsi, int eventfd);

/* Guest writes of any length at gpa signal eventfd and do not exit. */
int vmm_vm_add_ioeventfd(struct vmm_vm *vm, uint64_t gpa, int eventfd);
int vmm_vm_remove_ioeventfd(struct vmm_vm *vm, uint64_t gpa, int eventfd);
