/* SPDX-License-Identifier: Apache-2.0 */
/* CPUID as a vCPU sees it: what KVM can do, less what -cpu takes away, with the topology. */
#pragma once

#include <glib.h>
#include <linux/kvm.h>
#include <stdbool.h>

#include "vmm/config.h"
#include "vmm/x86/cpu-features.h"

/*
 * What KVM supports, with the features of -cpu applied; the same for all vCPUs. To be freed with
 * g_free. NULL with *error, which names a feature that does not exist or that this host lacks.
 */
struct kvm_cpuid2 *vmm_cpuid_create(int kvm_fd, const GPtrArray *features, GError **error);

/*
 * Fills in what differs: the numbers of vCPU `cpu` and those of its neighbours. A socket's cores
 * share its last cache, unless they are on several nodes: no cache is on two of them.
 */
void vmm_cpuid_set_topology(struct kvm_cpuid2 *cpuid, const struct vmm_config *config,
                            unsigned cpu);

/* "-name" takes a feature away, "+name" wants it to be there; "pmu" is one, too. False with *error.
 */
bool vmm_cpuid_apply(struct kvm_cpuid2 *cpuid, const char *word, GError **error);
/* Takes the feature away, where it is there. */
void vmm_cpuid_clear(struct kvm_cpuid2 *cpuid, const struct vmm_cpu_feature *feature);

/* Bits of a physical address. */
unsigned vmm_cpuid_address_bits(struct kvm_cpuid2 *cpuid);

/* NULL where there is no such leaf. */
struct kvm_cpuid_entry2 *vmm_cpuid_find(struct kvm_cpuid2 *cpuid, uint32_t function,
                                        uint32_t index);
