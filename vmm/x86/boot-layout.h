/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a guest finds in its first MiB when it is entered:
 *
 *   0x01000  page tables and descriptors (boot-tables.h)
 *   0x08000  boot_params, or hvm_start_info and what it points to
 *   0x20000  the kernel's command line
 *   0x9FC00  reserved up to 1 MiB, as on a PC; in it
 *   0xE0000  ACPI tables, the RSDP first
 *   0xFFFF0  where a PC's CPU begins: 16 bytes that reset the machine
 *
 * The kernel lies where it wants to, from 1 MiB on; the initrd as high as it may.
 */
#pragma once

#define VMM_BOOT_TABLES      0x1000u
#define VMM_BOOT_INFO        0x8000u
#define VMM_BOOT_INFO_LEN    0x4000u
#define VMM_BOOT_CMDLINE     0x20000u
#define VMM_BOOT_CMDLINE_MAX 0x10000u /* with its end */
#define VMM_BOOT_LOW_END     0x9FC00u
#define VMM_BOOT_ACPI        0xE0000u
#define VMM_BOOT_ACPI_LEN    0x1FFF0u
#define VMM_BOOT_BIOS        0xFFFF0u
#define VMM_BOOT_KERNEL_MIN  0x100000u
