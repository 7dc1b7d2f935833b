/* SPDX-License-Identifier: Apache-2.0 */
/* The names that -cpu knows features by (Linux's and QEMU's), and their places in CPUID. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum vmm_cpuid_register { VMM_EAX, VMM_EBX, VMM_ECX, VMM_EDX };

struct vmm_cpu_feature {
    const char *name;
    uint32_t function, index;
    enum vmm_cpuid_register reg;
    unsigned bit;
};

/* '-', '_' and '.' in names are the same. NULL: there is none of that name. */
const struct vmm_cpu_feature *vmm_cpu_feature_find(const char *name, size_t name_len);
