/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vCPUs: a thread each, which runs the guest and answers its exits.
 *
 *   PARKED --resume--> IN GUEST <--> HANDLING AN EXIT --pause--> PARKED
 *
 * The main thread calls these; the state of a vCPU is changed (reset, registers for the kernel)
 * only while all are parked, or have not been let go yet.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "vmm/x86/boot.h"

struct vmm_machine;
struct vmm_vcpus;

/* Makes machine->config.smp.n_cpus of them, parked, with CPUID as the topology and -cpu say, pinned
 * as --vcpu-affinity says. False with *error. */
bool vmm_vcpus_create(struct vmm_machine *machine, GError **error);
/* Ends the threads. NULL is allowed. */
void vmm_vcpus_destroy(struct vmm_vcpus *vcpus);

/* All to the state after power-on, the first one ready to enter the kernel. While parked. */
int vmm_vcpus_reset(struct vmm_vcpus *vcpus, const struct vmm_entry *entry);
/* Returns when all are outside the guest and between exits. */
void vmm_vcpus_pause(struct vmm_vcpus *vcpus);
void vmm_vcpus_resume(struct vmm_vcpus *vcpus);
/* Host thread ids, for query-cpus-fast. */
int vmm_vcpus_thread_id(struct vmm_vcpus *vcpus, unsigned cpu);
