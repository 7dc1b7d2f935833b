/* SPDX-License-Identifier: Apache-2.0 */
/* ELF kernels: vmlinux, and other programs that know PVH. */
#pragma once

#include "vmm/x86/boot-image.h"

struct vmm_elf {
    bool has_pvh;
    uint32_t pvh_entry; /* physical */
    uint64_t entry;     /* of 64 bits, physical */
    uint64_t end_gpa;   /* behind all that was loaded */
};

bool vmm_elf_is_one(const struct vmm_image *image);
/* Loads its segments to their physical addresses. False with *error. */
bool vmm_elf_load(const struct vmm_image *image, const struct vmm_ram *ram, struct vmm_elf *ret_elf,
                  GError **error);
