/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loads a kernel into the guest's RAM: bzImage by the 64-bit boot protocol (Linux
 * Documentation/arch/x86/boot.rst), or an ELF file by its PVH note or its 64-bit entry; with an
 * initrd, the command line, the memory map and ACPI tables.
 *
 * A kernel is a file from anywhere: nothing in it is believed without a check.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "vmm/x86/boot-image.h"

struct vmm_config;
struct vmm_machine;

/* What is loaded. Opened at the start, and read again for each boot. */
struct vmm_boot_files {
    struct vmm_image kernel, initrd; /* initrd.path NULL: there is none */
};

enum vmm_entry_mode {
    VMM_ENTRY_64,  /* long mode, identity mapping of 4 GiB; rsi: boot_params */
    VMM_ENTRY_PVH, /* protected mode, no paging; ebx: hvm_start_info */
};

/* How the first vCPU enters what was loaded. */
struct vmm_entry {
    enum vmm_entry_mode mode;
    uint64_t rip;
    uint64_t info_gpa;   /* boot_params or hvm_start_info */
    uint64_t tables_gpa; /* page tables and GDT that 64-bit entry needs */
};

/* Opens what the config names, which outlives it. False with *error, which names the file; to be
 * closed then too. */
bool vmm_boot_open(struct vmm_boot_files *files, const struct vmm_config *config, GError **error);
void vmm_boot_close(struct vmm_boot_files *files);

/* Loads the machine's files. False with *error, which names the file. */
bool vmm_boot_load(struct vmm_machine *machine, struct vmm_entry *ret_entry, GError **error);
