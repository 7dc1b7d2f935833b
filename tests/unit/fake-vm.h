/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Interrupts and kicks of a VM without KVM: they are written down. In the place of vmm/x86/vm-irq.c
 * for tests of the PCI bus. Not for several threads.
 */
#pragma once

#include "vmm/x86/vm.h"

struct fake_route {
    bool is_taken;
    uint64_t address;
    uint32_t data;
    int irqfd; /* -1: none */
};

struct fake_kick {
    uint64_t gpa;
    int eventfd;
};

struct fake_vm {
    struct vmm_vm vm; /* first */
    bool pins[VMM_MAX_GSIS];
    struct fake_route routes[VMM_MAX_GSIS];
    struct fake_kick kicks[1024];
    unsigned n_kicks;
};

void fake_vm_init(struct fake_vm *fake);
/* The route whose message that is; NULL where there is none. */
struct fake_route *fake_vm_find_route(struct fake_vm *fake, uint64_t address, uint32_t data);
unsigned fake_vm_n_irqfds(const struct fake_vm *fake);
