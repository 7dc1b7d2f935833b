/* SPDX-License-Identifier: Apache-2.0 */
/* bzImage: the file that distributions call vmlinuz. Linux Documentation/arch/x86/boot.rst. */
#pragma once

#include <asm/bootparam.h>

#include "vmm/x86/boot-image.h"

struct vmm_bzimage {
    struct setup_header header;
    uint64_t kernel_offset; /* of the part that runs in protected or long mode */
    uint64_t kernel_len;
};

/* Whether it calls itself one. */
bool vmm_bzimage_is_one(const struct vmm_image *image);
/* Checks the header, and that it has a 64-bit entry. False with *error. */
bool vmm_bzimage_read(const struct vmm_image *image, struct vmm_bzimage *ret_bzimage,
                      GError **error);

/* Loads it as it is: it unpacks itself. *ret_end_gpa is behind all that it needs for that. */
bool vmm_bzimage_load(const struct vmm_image *image, const struct vmm_bzimage *bzimage,
                      const struct vmm_ram *ram, uint64_t *ret_entry, uint64_t *ret_end_gpa,
                      GError **error);

/* Unpacks the ELF file in it, on this side. -errno as of vmm_decompress. */
int vmm_bzimage_unpack(const struct vmm_image *image, const struct vmm_bzimage *bzimage,
                       struct vmm_image *ret_image);
