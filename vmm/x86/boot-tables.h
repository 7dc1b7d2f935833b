/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a kernel is entered with, in one block of guest memory:
 *
 *   0x0000  PML4, one entry
 *   0x1000  page directory pointers, four entries
 *   0x2000  four page directories of 2 MiB pages: the first 4 GiB, mapped to themselves
 *   0x6000  GDT: null, null, code, data, TSS (16 bytes)
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define VMM_TABLES_LEN     0x7000
#define VMM_TABLES_GDT     0x6000
#define VMM_TABLES_GDT_LEN 48

#define VMM_BOOT_CS        0x10
#define VMM_BOOT_DS        0x18
#define VMM_BOOT_TSS       0x20

/* Fills the block, VMM_TABLES_LEN bytes that lie at gpa. is_long: the code segment is of 64 bits.
 */
void vmm_boot_fill_tables(uint8_t *block, uint64_t gpa, bool is_long);
