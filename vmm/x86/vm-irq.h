/* SPDX-License-Identifier: Apache-2.0 */
/* What vm.c asks of vm-irq.c. */
#pragma once

#include <glib.h>
#include <stdbool.h>

struct vmm_vm;

/* Routes each GSI below VMM_N_PINS to its pin of the I/O APIC. False with *error. */
bool vmm_vm_init_irqs(struct vmm_vm *vm, GError **error);
