/* SPDX-License-Identifier: Apache-2.0 */
/* What a kernel is told at its entry: by boot_params (Linux' own protocols) or hvm_start_info
 * (PVH). */
#pragma once

#include <asm/bootparam.h>
#include <stdint.h>

#include "vmm/ram.h"

struct vmm_boot_info {
    const struct vmm_ram *ram;
    const struct setup_header *header; /* of a bzImage; NULL: the kernel is an ELF file */
    uint64_t cmdline_gpa;
    uint64_t initrd_gpa, initrd_len; /* 0: none */
    uint64_t rsdp_gpa;
};

/* Each fills VMM_BOOT_INFO_LEN bytes that lie at VMM_BOOT_INFO. */
void vmm_boot_fill_params(uint8_t *block, const struct vmm_boot_info *info);
void vmm_boot_fill_start_info(uint8_t *block, const struct vmm_boot_info *info);
