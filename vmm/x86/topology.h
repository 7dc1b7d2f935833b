/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The number by which a vCPU's interrupt controller is known: socket, core and thread, each in as
 * many bits as its count takes. CPUID and the ACPI tables tell the guest the same.
 */
#pragma once

#include "vmm/config.h"

#define VMM_MAX_APIC_ID 254 /* 255 is everyone's; more takes x2APIC tables */

static inline unsigned vmm_topology_bits(unsigned n)
{
    return n <= 1 ? 0 : 32 - (unsigned)__builtin_clz(n - 1);
}

static inline unsigned vmm_topology_thread_bits(const struct vmm_topology *smp)
{
    return vmm_topology_bits(smp->threads);
}

/* Of all that is below the socket. */
static inline unsigned vmm_topology_core_bits(const struct vmm_topology *smp)
{
    return vmm_topology_bits(smp->cores) + vmm_topology_thread_bits(smp);
}

static inline unsigned vmm_topology_apic_id(const struct vmm_topology *smp, unsigned cpu)
{
    unsigned thread = cpu % smp->threads;
    unsigned core = cpu / smp->threads % smp->cores;
    unsigned socket = cpu / smp->threads / smp->cores;

    return socket << vmm_topology_core_bits(smp) | core << vmm_topology_thread_bits(smp) | thread;
}
