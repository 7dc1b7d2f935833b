/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where things lie in a guest, told to it by ACPI.
 *
 *   memory
 *   0x0000000000  RAM, up to VMM_LOW_RAM_END
 *   0x00C0000000  PCI BARs of 32 bits, up to the ECAM: the same for each of the host bridges
 *   0x00E0000000  ECAM: the configuration space of 256 buses, of which a few exist
 *   0x00FEC00000  I/O APIC; 0x00FED00000 what else the chipset has; 0x00FEE00000 local APICs
 *   0x0100000000  RAM above 4 GiB
 *   above it      PCI BARs of 64 bits: VMM_BAR64_LEN, from the next multiple of that, likewise
 *
 *   ports
 *   0x0070 CMOS   0x03F8 COM1   0x0600 reset, sleep, power button, hot-plug
 */
#pragma once

#define VMM_LOW_RAM_END 0xC0000000ull
#define VMM_HIGH_RAM    0x100000000ull
#define VMM_BAR32       0xC0000000ull
#define VMM_BAR32_LEN   0x20000000ull
#define VMM_ECAM        0xE0000000ull
#define VMM_ECAM_LEN    0x10000000ull
#define VMM_IOAPIC      0xFEC00000ull
#define VMM_LOCAL_APIC  0xFEE00000ull
#define VMM_BAR64_LEN   (64ull << 30)
#define VMM_MAX_BRIDGES 16 /* PCI host bridges */

#define VMM_PORT_CMOS   0x70
#define VMM_PORT_COM1   0x3F8
#define VMM_PORT_ACPI   0x600

/* Inputs of the I/O APIC (global system interrupts). Those of MSIs begin behind them. */
#define VMM_GSI_COM1    4
#define VMM_GSI_GED     9
#define VMM_GSI_PCI     16 /* INTA of slot N of any bus is VMM_GSI_PCI + N % VMM_N_PCI_LINES */
#define VMM_N_PCI_LINES 4
#define VMM_N_PINS      24
